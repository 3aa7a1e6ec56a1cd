"""The checks can fail: each break of the model or of the gateware is noticed by the comparison that the project rests on.

The gateware's source is changed in one place, exported and simulated; the unchanged source passes the same comparison.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import types

import numpy as np
import pytest

import mapper.cycles
from hw.design import Design
from hw.export import array_verilog
from mapper.compile import compile_network
from mapper.cycles import network_cycles
from models import reference
from models.quantized import QuantizedNetwork
from sim.session import RtlSession
from tests.sim.networks import layer, tensor

DESIGN = Design(
    "small", 2, 4, 18, 2, 3, 2, 2,
    activation_words=512, weight_entries=512, load_entries=256, parameter_words=16, layers=2, max_stride=2,
)  # fmt: skip


def network() -> QuantizedNetwork:
    """A padded 3x3 convolution that keeps loader and rows about equally busy, then a 1x1 that waits for the drain; every
    output is spread widely."""
    rng = np.random.default_rng(5)
    tensors = {"x": tensor("x", (5, 6, 7), 8), "a": tensor("a", (5, 6, 7), 8), "b": tensor("b", (6, 6, 7), 8)}
    sparse = rng.integers(-127, 128, (5, 5, 3, 3)) * (rng.random((5, 5, 3, 3)) < 0.3)
    few = rng.integers(1, 128, (6, 5, 1, 1)) * (np.arange(5) == 0)[:, None, None]
    first = layer("first", "x", "a", sparse, rng, 8, padding=(1, 1, 1, 1))
    second = layer("second", "a", "b", few, rng, 8)
    return QuantizedNetwork("mutant", "x", ("b",), tensors, (first, second), (), 8, 8, "none")


def compare(verilog: str) -> tuple[bool, bool]:
    """(cycles equal, outputs equal) of the RTL in ``verilog`` against the model and the reference as they stand."""
    quantized = network()
    program = compile_network(quantized, DESIGN)
    cycles = [layer.cycles for layer in network_cycles(program)]
    x = np.random.default_rng(6).integers(-128, 128, quantized.tensors["x"].shape)
    expected = reference.run(quantized, x[None])
    with RtlSession(DESIGN, verilog=verilog) as session:
        session.load(program)
        result = session.run(x, sum(cycles))
    outputs = [
        all(bool((got == expected[name][0]).all()) for name, got in tensors.items()) for tensors in result.layers
    ]
    return list(result.cycles) == cycles, outputs == [True, True]


def mutated(monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str, users: tuple[str, ...]) -> str:
    """Verilog of the array with ``old`` replaced by ``new`` in the source of ``module``; ``users`` import the class."""
    original = importlib.import_module(module)
    source = inspect.getsource(original)
    assert source.count(old) == 1, f"{module} no longer holds the line that is to be broken: {old}"
    broken = types.ModuleType(f"{module}_broken")
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    exec(compile(source.replace(old, new), f"{module}_broken.py", "exec"), broken.__dict__)
    for user in users:
        where, name = user.rsplit(".", 1)
        monkeypatch.setattr(importlib.import_module(where), name, getattr(broken, name))
    return array_verilog(DESIGN)


@pytest.mark.rtl
def test_unbroken_passes():
    assert compare(array_verilog(DESIGN)) == (True, True)


@pytest.mark.rtl
@pytest.mark.parametrize(
    "constant",
    [
        "PE_LATENCY",
        "ISSUE_LATENCY",
        "LOAD_LATENCY",
        "DRAIN_START_LATENCY",
        "BANK_LATENCY",
        "REQUANTIZER_LATENCY",
        "LAYER_SETUP_LATENCY",
        "START_LATENCY",
    ],
)
def test_skipped_pipeline_stage_in_the_model_is_noticed(monkeypatch, constant):
    """One cycle less in any latency of the model makes cycles differ somewhere (PE_LATENCY through the drain's start)."""
    verilog = array_verilog(DESIGN)
    timing = types.SimpleNamespace(**{k: v for k, v in vars(mapper.cycles.timing).items() if k.isupper()})
    setattr(timing, constant, getattr(timing, constant) - 1)
    if constant == "PE_LATENCY":
        timing.DRAIN_START_LATENCY = timing.PE_LATENCY + 1
    monkeypatch.setattr(mapper.cycles, "timing", timing)
    assert compare(verilog) == (False, True)


GATEWARE_BREAKS = [
    pytest.param(
        "hw.loader", "x1.eq(x + entry.x)", "x1.eq(x + entry.x + 1)", ("hw.array.Loader",),
        id="loader is off by one column",
    ),
    pytest.param(
        "hw.requantizer", "half2.eq((1 << shift1) >> 1)", "half2.eq((1 << shift1) >> 2)", ("hw.drain.Requantizer",),
        id="requantizer rounds by a quarter",
    ),
    pytest.param(
        "hw.array", "row.held < design.windows", "row.held < design.windows - 1", ("hw.export.SkipstoneArray",),
        id="one window slot is lost",
    ),
    pytest.param(
        "hw.array", "row.held < design.windows", "row.held <= design.windows", ("hw.export.SkipstoneArray",),
        id="one window slot too many",
    ),
    pytest.param(
        "hw.row", "(~tile_start | (open_tiles < 2))", "(~tile_start | (open_tiles < 3))", ("hw.array.Row",),
        id="a bank is used before it is drained",
    ),
]  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize(("module", "old", "new", "users"), GATEWARE_BREAKS)
def test_broken_gateware_is_noticed(monkeypatch, module, old, new, users):
    assert compare(mutated(monkeypatch, module, old, new, users)) != (True, True)
