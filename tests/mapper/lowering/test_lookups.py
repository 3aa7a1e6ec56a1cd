"""Codes stand for the weights that they were made from; equal tables and codebooks are stored once. Refusals:
test_compile.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.hw.design import Design
from skipstone.mapper.lowering.lookups import codes_of, collect_lookups
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.weight_codes import weight_levels
from tests.sim.networks import layer, tensor

DESIGN = Design("lookups", 2, 4, 18, 2, 3, 2, 2, codebook_entries=4, codebooks=2, tables=2)


def network(*weights: list[int], tables: tuple[np.ndarray | None, ...] | None = None) -> QuantizedNetwork:
    """A chain of 1x1 layers of one input channel, with these weights and tables."""
    rng = np.random.default_rng(0)
    tensors = {"t0": tensor("t0", (1, 2, 2), 8)}
    layers = []
    for index, values in enumerate(weights):
        tensors[f"t{index + 1}"] = tensor(f"t{index + 1}", (len(values), 2, 2), 8)
        pointwise = layer(f"l{index}", "t0", f"t{index + 1}", np.array(values).reshape(-1, 1, 1, 1), rng, 8)
        layers.append(replace(pointwise, table=tables[index] if tables else None))
    return QuantizedNetwork("n", "t0", (f"t{len(weights)}",), tensors, tuple(layers), (), 8, 8, "none")


@settings(max_examples=100)
@given(st.data())
def test_a_code_is_the_place_of_its_weight(data):
    values = data.draw(st.lists(st.integers(-300, 300), min_size=1, max_size=20, unique=True))
    weights = data.draw(st.lists(st.sampled_from(values), max_size=30))
    codes = codes_of(values, np.array(weights, np.int64))
    assert [values[code] for code in codes.tolist()] == weights


@pytest.mark.parametrize("kind", ["linear", "shift", "additive", "sign", "codebook"])
def test_codes_name_the_values_of_the_multiplier(kind):
    design = DESIGN.replace(multiplier=kind, weight_bits={"shift": 4, "additive": 5}.get(kind, 8))
    weights = {
        "linear": [7, -128, 0, 127],
        "shift": [1, -128, 64, -2],
        "additive": [1, -48, 33, 0, -2, 9],
        "sign": [1, -1, 0, 1],
        "codebook": [9, -7, 0, 9],
    }[kind]
    quantized = network(weights)
    lookups = collect_lookups(quantized, design)
    nonzero = np.array([value for value in weights if value])
    codes = lookups.codes(quantized.array_layers[0], nonzero)
    if kind == "linear":
        assert codes.tolist() == nonzero.tolist()
        return
    values = lookups.codebooks[0] if kind == "codebook" else design.products.values
    assert [values[code] for code in codes.tolist()] == nonzero.tolist()


@pytest.mark.parametrize("bits", [3, 5, 7])
def test_additive_multipliers_have_the_levels_of_the_weight_code(bits):
    """Every level under either sign, and nothing else; zero under both."""
    values = DESIGN.replace(multiplier="additive", weight_bits=bits).products.values
    levels = weight_levels("additive_power_of_two", bits)
    assert sorted(values) == sorted([*levels, *-levels])


def test_equal_codebooks_are_one():
    lookups = collect_lookups(network([3, -5], [-5, 3, 0], [3]), DESIGN.replace(multiplier="codebook"))
    assert lookups.codebooks == ((-5, 3, 0, 0), (3, 0, 0, 0))
    assert lookups.codebook_of == {"l0": 0, "l1": 0, "l2": 1}


def test_equal_tables_are_one_and_layers_without_a_table_are_marked():
    up, down = np.arange(-128, 128), np.arange(127, -129, -1)
    quantized = network([1], [1], [1], [1], tables=(None, down, up, down.copy()))
    lookups = collect_lookups(quantized, DESIGN)
    assert lookups.tables == (tuple(down.tolist()), tuple(up.tolist()))
    fields = [lookups.parameter(layer) for layer in quantized.array_layers]
    assert fields == [{"table": 0, "use_table": 0}, *({"table": number, "use_table": 1} for number in (0, 1, 0))]
    assert collect_lookups(network([1]), DESIGN.replace(tables=0)).parameter(quantized.array_layers[0]) == {}
