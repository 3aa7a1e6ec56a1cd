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

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.export import array_verilog
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing import cycles
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.sim.session import RtlSession
from tests.sim.networks import layer, tensor

DESIGN = Design(
    "small", 2, 4, 18, 2, 3, 2, 2,
    activation_words=1024, weight_entries=2048, load_entries=512, parameter_words=64, layers=12, max_stride=2,
)  # fmt: skip

SHAPES = {
    "x": (5, 6, 7), "a": (5, 6, 7), "b": (6, 6, 7), "c": (2, 2, 2), "d": (2, 6, 4), "e": (18, 2, 2), "f": (5, 6, 7),
    "g": (4, 6, 7), "h": (3, 1, 7), "i": (4, 1, 1), "j": (6, 6, 7), "k": (3, 1, 7), "p": (6, 6, 7),
}  # fmt: skip


def network() -> QuantizedNetwork:
    """Layers that between them wait for every cause there is.

    The first keeps loader and rows about equally busy; the second reads it tile by tile and waits for its own drain.
    The third is so short that the fourth waits until the loader may run ahead again. The fifth has three passes of
    one tile and window, and the maximum is begun while the rows still work on it; the sixth adds ``a``. The seventh
    waits for banks; the eighth begins on parts of its results, and waits for the rest in its second tile; the ninth
    waits for all of the eighth. The eleventh waits for all but the last tile of the tenth.
    """
    rng = np.random.default_rng(5)
    tensors = {name: tensor(name, shape, 8) for name, shape in SHAPES.items()}

    def weights(*shape: int, density: float = 1.0) -> np.ndarray:
        return rng.integers(1, 128, shape) * rng.choice((-1, 1), shape) * (rng.random(shape) < density)

    def inputs(count: int, of: int) -> np.ndarray:
        """Keeps the first ``count`` input channels."""
        return (np.arange(of) < count)[:, None, None]

    ends = np.isin(np.arange(6), (0, 5))[:, None]
    same = {"padding": (1, 1, 1, 1)}
    layers = (
        layer("first", "x", "a", weights(5, 5, 3, 3, density=0.3), rng, 8, **same),
        layer("second", "a", "b", weights(6, 5, 1, 1) * inputs(1, 5), rng, 8),
        layer("third", "a", "c", weights(2, 5, 1, 1, density=0.3), rng, 8, stride=(2, 2), padding=(0, 0, -2, -3)),
        layer("fourth", "a", "d", weights(2, 5, 1, 1, density=0.5), rng, 8, stride=(1, 2)),
        layer("fifth", "x", "e", weights(18, 5, 2, 2) * inputs(4, 5), rng, 8, stride=(2, 2), padding=(0, 0, -2, -3)),
        layer("pool", "b", "p", np.ones((6, 1, 3, 3)), rng, 8, groups=6, maximum=True, **same),
        layer("sixth", "p", "f", weights(5, 6, 3, 3, density=0.3), rng, 8, other="a", **same),
        layer("seventh", "f", "g", weights(4, 5, 1, 1) * inputs(2, 5), rng, 8),
        layer("eighth", "g", "h", weights(3, 4, 6, 1) * inputs(1, 4) * ends, rng, 8),
        layer("ninth", "h", "i", weights(4, 3, 1, 7, density=0.5), rng, 8),
        layer("tenth", "f", "j", weights(6, 5, 1, 1) * inputs(1, 5), rng, 8),
        layer("eleventh", "j", "k", weights(3, 6, 6, 1, density=0.5), rng, 8),
    )
    return QuantizedNetwork("mutant", "x", ("k",), tensors, layers, (), 8, 8, "none")


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
    outputs = set(result.tensors) == set(SHAPES) and all(
        bool((got == expected[name][0]).all()) for name, got in result.tensors.items()
    )
    return list(result.cycles) == cycles, outputs


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
@pytest.mark.parametrize("constant", [name for name in vars(timing) if name.isupper()])
def test_skipped_pipeline_stage_in_the_model_is_noticed(monkeypatch, constant):
    """One cycle less in any latency of the model makes cycles differ somewhere (PE_LATENCY through the drain's start)."""
    verilog = array_verilog(DESIGN)
    broken = types.SimpleNamespace(**{k: v for k, v in vars(timing).items() if k.isupper()})
    setattr(broken, constant, getattr(broken, constant) - 1)
    if constant == "PE_LATENCY":
        broken.DRAIN_START_LATENCY = broken.PE_LATENCY + 1
    monkeypatch.setattr(cycles, "timing", broken)
    monkeypatch.setattr(cycles, "WRITTEN", broken.REQUANTIZER_LATENCY + broken.TILE_DONE_LATENCY)
    assert compare(verilog) == (False, True)


GATEWARE_BREAKS = [
    pytest.param(
        "skipstone.hw.loader", "x1.eq(x + entry.x)", "x1.eq(x + entry.x + 1)",
        ("skipstone.hw.array.Loader",),
        id="loader is off by one column",
    ),
    pytest.param(
        "skipstone.hw.requantizer", "half2.eq((1 << shift1) >> 1)", "half2.eq((1 << shift1) >> 2)",
        ("skipstone.hw.drain.Requantizer",),
        id="requantizer rounds by a quarter",
    ),
    pytest.param(
        "skipstone.hw.array", "row.held < design.windows", "row.held < design.windows - 1",
        ("skipstone.hw.export.SkipstoneArray",),
        id="one window slot is lost",
    ),
    pytest.param(
        "skipstone.hw.array", "row.held < design.windows", "row.held <= design.windows",
        ("skipstone.hw.export.SkipstoneArray",),
        id="one window slot too many",
    ),
    pytest.param(
        "skipstone.hw.row", "(open_tiles < 2)", "(open_tiles < 3)",
        ("skipstone.hw.array.Row",),
        id="a bank is used before it is drained",
    ),
    pytest.param(
        "skipstone.hw.loader", "self.tiles_written >= config.wait_tiles", "self.tiles_written >= 0",
        ("skipstone.hw.array.Loader",),
        id="loader does not wait for the first tiles it needs",
    ),
    pytest.param(
        "skipstone.hw.loader", "(first_tiles_written & (free_tiles_left != 0))", "first_tiles_written",
        ("skipstone.hw.array.Loader",),
        id="loader does not wait for the last tiles it needs",
    ),
    pytest.param(
        "skipstone.hw.row",
        "list_start.eq(address + 1), tiles_left.eq(tiles)",
        "list_start.eq(address + 1), tiles_left.eq(self.tiles)",
        ("skipstone.hw.array.Row",),
        id="row takes its number of tiles from the layer that the loader is at",
    ),
    pytest.param(
        "skipstone.hw.row", "x_control.maximum.eq(maximum)", "x_control.maximum.eq(self.maximum)",
        ("skipstone.hw.array.Row",),
        id="row takes its operation from the layer that the loader is at",
    ),
    pytest.param(
        "skipstone.hw.drain",
        'walker.base.eq(config[f"{name}_base"])',
        'walker.base.eq(config[f"{name}_base"] + (name == "other"))',
        ("skipstone.hw.array.Drain",),
        id="drain adds the word beside",
    ),
    pytest.param(
        "skipstone.hw.controller", "loader_busy | self.ahead | run_ends", "loader_busy | run_ends",
        ("skipstone.hw.array.Controller",),
        id="loader runs two layers ahead",
    ),
]  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize(("module", "old", "new", "users"), GATEWARE_BREAKS)
def test_broken_gateware_is_noticed(monkeypatch, module, old, new, users):
    assert compare(mutated(monkeypatch, module, old, new, users)) != (True, True)
