"""One cost: its parts are those of the functions that it calls, and its memories are those that the caller asked for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from skipstone.errors import MappingError, TechnologyError
from skipstone.mapper import cost as module
from skipstone.mapper.cost import cost, price
from skipstone.mapper.energy.area import area_terms
from skipstone.mapper.energy.clock import timing
from skipstone.mapper.energy.energy import layer_terms
from skipstone.mapper.energy.operands import operands_of
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.mapper.lowering.memory_sizes import memories_needed
from skipstone.mapper.technology.technology import load_technology
from skipstone.mapper.timing.cycles import schedule_cycles
from tests.mapper.lowering.test_compile import DESIGN, residual

NETWORK = residual()
SMALL = DESIGN.replace(weight_entries=16, layers=1)


def images(count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, *NETWORK.tensors[NETWORK.input].shape)).astype(np.float32)


def test_cycles_and_needs_are_those_of_the_program():
    mapped = cost(NETWORK, DESIGN)
    program = compile_network(NETWORK, DESIGN)
    layers = schedule_cycles([layer.schedule for layer in program.layers], DESIGN)
    assert list(mapped.layers) == list(layers)
    assert mapped.cycles == sum(layer.cycles for layer in layers)
    assert mapped.memories_needed == memories_needed(program)
    assert mapped.layer_cycles() == {"first": layers[0].cycles, "second": layers[1].cycles}
    for causes, layer in zip(mapped.causes, layers, strict=True):
        assert sum(causes.values()) == pytest.approx(layer.cycles)
    assert mapped.loaded_words == sum(actions.load_list_reads for actions in mapped.actions)
    assert set(mapped.layer_bounds()) == {"first", "second"}


def test_price_is_the_sum_of_all_terms_at_the_clock():
    technology = load_technology(22, 80.0)
    mapped = cost(NETWORK, DESIGN, technology, operands=operands_of(NETWORK, images()))
    terms = [term for actions in mapped.actions for term in layer_terms(actions, DESIGN, technology)]
    assert mapped.price.energy_pj == pytest.approx(sum(term.energy_pj for term in terms), rel=1e-12)
    assert mapped.price.area_um2 == sum(term.area_um2 for term in area_terms(DESIGN, technology))
    assert mapped.price.frequency_mhz == 80
    assert mapped.price.latency_us == mapped.cycles / 80
    assert mapped.price.power_mw == pytest.approx(mapped.price.energy_pj / mapped.price.latency_us / 1000)
    assert mapped.price == price(mapped.actions, DESIGN, technology)


def test_operands_change_energy_and_no_cycle():
    typical, measured = cost(NETWORK, DESIGN), cost(NETWORK, DESIGN, operands=operands_of(NETWORK, 0 * images()))
    assert typical.layers == measured.layers
    assert sum(actions.activation_bits for actions in measured.actions) < sum(
        actions.activation_bits for actions in typical.actions
    )
    assert measured.price.energy_pj < typical.price.energy_pj


def test_memories_of_the_design_must_do():
    with pytest.raises(MappingError) as caught:
        cost(NETWORK, SMALL)
    assert caught.value.parameter == "layers"


def test_all_memories_that_are_too_small_are_told_at_once():
    needed = memories_needed(compile_network(NETWORK, DESIGN))
    small = DESIGN.replace(layers=1, weight_entries=2, load_entries=2, accumulator_bits=16)
    with pytest.raises(MappingError) as caught:
        cost(NETWORK, small)
    for name in ("layers", "weight_entries", "load_entries"):
        assert f"{name} {needed[name]} (it has {getattr(small, name)})" in str(caught.value)
    assert "accumulator_bits" in str(caught.value)
    assert cost(NETWORK, small, memories="of_design_or_unbounded").design is small


TRAINED = dataclasses.replace(
    NETWORK, layers=tuple(dataclasses.replace(layer, weight_bits=8) for layer in NETWORK.array_layers)
)


def test_dense_is_the_same_network_with_every_weight_nonzero():
    """It is the other side whatever zeros the network has, on the same design, which need not hold it."""
    full = cost(TRAINED, DESIGN)
    assert full.dense.layers == cost(full.dense.network, DESIGN).layers
    halves = tuple(
        dataclasses.replace(
            layer, weights=layer.weights * (np.arange(layer.weights.size) % 2).reshape(layer.weights.shape)
        )
        for layer in TRAINED.array_layers
    )
    half = cost(dataclasses.replace(TRAINED, layers=halves), DESIGN)
    assert half.cycles < half.dense.cycles
    assert half.dense.layers == full.dense.layers
    assert half.dense.price == full.dense.price
    assert half.dense.design is half.design


def test_dense_multipliers_see_the_activations_of_the_network():
    """At every weight: what the dense network's own weights would count, but with the sparse network's tensors."""
    operands = operands_of(TRAINED, images())
    mapped = cost(TRAINED, DESIGN, operands=operands)
    ones = dataclasses.replace(
        TRAINED,
        layers=tuple(dataclasses.replace(each, weights=np.ones_like(each.weights)) for each in TRAINED.array_layers),
    )
    alike = operands_of(ones, images())
    alike._tensors = operands._tensors
    for layer, actions in zip(mapped.dense.program.layers, mapped.dense.actions, strict=True):
        assert actions.activation_bits == alike.bits(layer)


def test_enlarged_memories_are_priced_and_unbounded_ones_are_not():
    """Cycles are the same; enlarged memories belong to the design whose energy and area are computed."""
    fits = cost(NETWORK, DESIGN)
    enlarged, unbounded = (cost(NETWORK, SMALL, memories=memories) for memories in ("enlarged", "unbounded"))
    assert enlarged.layers == unbounded.layers == fits.layers
    assert enlarged.design == enlarged.program.design == with_memories_for(NETWORK, SMALL)
    assert "memories enlarged" in enlarged.design.name
    assert unbounded.design is SMALL
    assert unbounded.price.area_um2 < enlarged.price.area_um2 < fits.price.area_um2
    assert unbounded.actions == enlarged.actions == fits.actions


def test_accumulators_are_widened_with_the_memories():
    narrow = DESIGN.replace(accumulator_bits=16)
    with pytest.raises(MappingError) as caught:
        cost(NETWORK, narrow)
    assert caught.value.parameter == "accumulator_bits"
    need = caught.value.need
    enlarged = cost(NETWORK, narrow, memories="enlarged").design
    assert enlarged.accumulator_bits == need
    assert enlarged.name.endswith(f"(memories enlarged: accumulator_bits 16 -> {need})")
    assert cost(NETWORK, narrow, memories="unbounded").layers == cost(NETWORK, DESIGN).layers


def test_a_clock_out_of_reach_is_refused_before_anything_is_mapped(monkeypatch):
    technology = load_technology()
    fmax = timing(DESIGN, technology).fmax_mhz
    monkeypatch.setattr(module, "compile_network", None)
    with pytest.raises(TechnologyError, match="design 'small' reaches"):
        cost(NETWORK, DESIGN, technology.with_frequency(1.01 * fmax))


def test_cycles_alone_run_neither_reference_nor_energy_model(monkeypatch):
    """Both run only when a figure of theirs is asked for."""
    from skipstone.models.quantization import reference

    for where, name in ((reference, "run"), (module, "network_actions"), (module, "load_technology")):
        monkeypatch.setattr(where, name, None)
    assert cost(NETWORK, DESIGN, operands=operands_of(NETWORK, images())).cycles > 0


def test_a_cost_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        cost(NETWORK, DESIGN).design = SMALL  # type: ignore[misc]
