"""Energy is counts times energies: each term depends on its own count alone, and is checked against numbers worked out by hand
from the technology and the gateware."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import TechnologyError
from skipstone.hw.design import Design, built_in_designs
from skipstone.mapper.counters import COUNTERS, Actions
from skipstone.mapper.energy.energy import PARTS, energy_by_part, energy_sources, layer_terms, network_energy, rates
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.technology.logic_cells import load_gateware
from skipstone.mapper.technology.technology import Technology, load_technology

TECHNOLOGY = load_technology()
GATEWARE = load_gateware()
NOTHING = Actions(**dict.fromkeys(COUNTERS, 0))
DESIGN = Design(
    "d", rows=4, cols=4, window_depth=36, windows=3, accumulators=8, load_width=4, requantizer_lanes=2, tables=3
)
ROUNDING = 1e-9  # of the order of summation
CARRIED = Path(__file__).parents[3] / "mapper" / "technology" / "data" / "technology_45nm.toml"


def spent(design: Design = DESIGN, technology: Technology = TECHNOLOGY, **counts: int) -> dict[tuple[str, str], float]:
    """pJ of each component and action."""
    actions = dataclasses.replace(NOTHING, **counts)
    return {(term.component, term.action): term.energy_pj for term in layer_terms(actions, design, technology)}


def close(value: float) -> Any:
    return pytest.approx(value, rel=ROUNDING)


def test_no_events_cost_no_energy() -> None:
    assert layer_terms(NOTHING, DESIGN, TECHNOLOGY) == ()
    assert energy_by_part(layer_terms(NOTHING, DESIGN, TECHNOLOGY)) == dict.fromkeys(PARTS, 0.0)
    assert network_energy([], DESIGN, TECHNOLOGY) == 0


def test_memories_by_hand() -> None:
    """3 windows of 9 words of 4 activations, 2 banks of 8 accumulators of 24 bits, and the others as named in the design."""
    sram = TECHNOLOGY.sram
    assert spent(window_reads=7)["windows", "read"] == close(7 * sram(108, 8).read_pj)
    assert spent(window_writes=7)["windows", "write"] == close(7 * sram(27, 32).write_pj)
    assert spent(accumulator_reads=7)["accumulators", "read"] == close(7 * sram(16, 24).read_pj)
    assert spent(accumulator_writes=7)["accumulators", "write"] == close(7 * sram(16, 24).write_pj)
    assert spent(drain_reads=7) == {("accumulators", "read for the drain"): close(7 * sram(16, 24).read_pj)}
    assert spent(activation_writes=7)["activations", "write"] == close(7 * sram(16384, 16).write_pj)
    assert spent(host_writes=7) == {("activations", "host write"): close(7 * sram(8192, 32).write_pj)}
    assert spent(host_reads=7) == {("activations", "host read"): close(7 * sram(8192, 32).read_pj)}
    assert spent(table_reads=7)["tables", "read"] == close(7 * sram(768, 8).read_pj)


def test_ports_without_an_enable_read_in_every_cycle() -> None:
    """Each of 4 rows its weights, the activation memory twice, and the three lists once."""
    sram, every = TECHNOLOGY.sram, spent(cycles=100)
    assert every["weights", "read, every cycle"] == close(400 * sram(16384, 8 + 4 + 2 + 3 + 3 + 1).read_pj)
    assert every["activations", "read, every cycle"] == close(200 * sram(8192, 32).read_pj)
    parameter = 2 * (24 + 16 + 6 + 32 + 3 * 8 + 3)
    assert every["parameters", "read, every cycle"] == close(100 * sram(256, parameter).read_pj)
    assert every["load_lists", "read, every cycle"] == close(100 * sram(4096, DESIGN.load_entry.width).read_pj)
    assert every["descriptors", "read, every cycle"] == close(100 * sram(64, DESIGN.descriptor.width).read_pj)
    looked_up = DESIGN.replace(multiplier="codebook", codebooks=5, tables=0)
    assert spent(looked_up, cycles=100)["codebooks", "read, every cycle"] == close(400 * sram(80, 8).read_pj)


def test_useful_reads_of_such_ports_cost_nothing_more() -> None:
    for counter in ("activation_reads", "parameter_reads", "useful_macs"):
        assert not any(component in ("activations", "parameters") for component, _ in spent(**{counter: 5}))


def test_logic_by_hand() -> None:
    """What gate-level simulation measured at 130 nm, times the node's factor."""
    for action in GATEWARE.actions(DESIGN):
        at_130 = GATEWARE.action_pj(action.component, action.name, DESIGN)
        spent_pj = spent(**{action.counter: 11}).get((action.component, action.name), 0.0)
        assert spent_pj == close(11 * at_130 * TECHNOLOGY.logic.energy)
        native = spent(technology=load_technology(130), **{action.counter: 11})
        assert native.get((action.component, action.name), 0.0) == close(11 * at_130)


def test_the_clock_runs_in_every_component_and_cycle() -> None:
    every = spent(cycles=100)
    for component in GATEWARE.components(DESIGN):
        clock = GATEWARE.clock_pj(component.name, DESIGN) * TECHNOLOGY.logic.energy
        assert every[component.name, "clock"] == close(100 * component.count * clock)


def test_leakage_by_hand() -> None:
    """1 mW for 1 us is 1 nJ: f MHz take f cycles for that."""
    technology = TECHNOLOGY.with_frequency(200.0)
    milliwatts = sum(m.count * technology.sram(m.words, m.bits).leakage_mw for m in chip_memories(DESIGN))
    logic = sum(
        component.count * GATEWARE.leakage_nw(component.name, DESIGN) for component in GATEWARE.components(DESIGN)
    )
    milliwatts += logic * 1e-6 * technology.logic.leakage
    leakage = energy_by_part(layer_terms(dataclasses.replace(NOTHING, cycles=200), DESIGN, technology))["leakage"]
    assert leakage == close(1000 * milliwatts)
    half = TECHNOLOGY.with_frequency(100.0)
    assert energy_by_part(layer_terms(dataclasses.replace(NOTHING, cycles=200), DESIGN, half))["leakage"] == close(
        2 * leakage
    )


def test_dram_by_the_bit() -> None:
    dram = TECHNOLOGY.dram
    assert spent(off_chip_read_bits=8) == {("dram", "read a bit"): close(8 * dram.read_pj_per_bit)}
    assert spent(off_chip_write_bits=8) == {("dram", "write a bit"): close(8 * dram.write_pj_per_bit)}


designs = st.builds(
    lambda rows, cols, width, lanes, slots, windows, accumulators, weight, activation, words: Design(
        "random",
        rows=rows,
        cols=cols,
        load_width=width * lanes,
        requantizer_lanes=lanes,
        window_depth=width * lanes * slots,
        windows=windows,
        accumulators=accumulators,
        weight_bits=weight,
        activation_bits=activation,
        accumulator_bits=32,
        activation_words=words,
    ),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 9),
    st.integers(2, 5),
    st.integers(1, 9),
    st.integers(2, 12),
    st.integers(2, 12),
    st.integers(16, 5000),
)
some_actions = st.lists(st.integers(0, 1 << 30), min_size=len(COUNTERS), max_size=len(COUNTERS)).map(
    lambda values: Actions(*values)
)


@settings(max_examples=15)
@given(designs, st.lists(some_actions, min_size=1, max_size=3), st.sampled_from((22, 45, 130)))
def test_terms_add_up_to_the_energy(design: Design, layers: list[Actions], node_nm: int) -> None:
    """By the terms, by the parts and by all of a network at once."""
    technology = load_technology(node_nm)
    total = 0.0
    for actions in layers:
        terms = layer_terms(actions, design, technology)
        by_part = energy_by_part(terms)
        assert network_energy([actions], design, technology) == pytest.approx(sum(by_part.values()), rel=ROUNDING)
        assert sum(term.energy_pj for term in terms) == close(sum(by_part.values()))
        assert tuple(by_part) == PARTS
        total += sum(by_part.values())
    assert network_energy(layers, design, technology) == close(total)


@settings(max_examples=15)
@given(designs, some_actions, st.integers(2, 9))
def test_linear_in_the_counts(design: Design, actions: Actions, times: int) -> None:
    many = Actions(*(value * times for value in dataclasses.astuple(actions)))
    once = network_energy([actions], design, TECHNOLOGY)
    assert network_energy([many], design, TECHNOLOGY) == pytest.approx(times * once, rel=1e-9)


@settings(max_examples=15)
@given(
    designs,
    some_actions,
    st.sampled_from(
        ("weight_bits", "activation_bits", "windows", "accumulators", "activation_words", "weight_entries")
    ),
)
def test_more_bits_and_words_never_cost_less(design: Design, actions: Actions, grown: str) -> None:
    """Memories only: the energy of logic is measured and need not be monotone."""
    more = design.replace(**{grown: getattr(design, grown) + 1})

    def memory_energy(candidate: Design) -> float:
        names = {memory.name for memory in chip_memories(candidate)}
        terms = layer_terms(actions, candidate, TECHNOLOGY)
        return sum(term.energy_pj for term in terms if term.component in names and term.part != "leakage")

    assume(more.dimension_bits == design.dimension_bits)
    assert memory_energy(more) >= memory_energy(design) * (1 - 1e-9)


@pytest.mark.parametrize("name", list(built_in_designs()))
def test_every_term_has_a_source(name: str) -> None:
    sources = dict(energy_sources(TECHNOLOGY))
    assert all(sources.values())
    for rate in rates(built_in_designs()[name], TECHNOLOGY):
        assert rate.source in sources
        assert rate.part in PARTS
        assert rate.counter in COUNTERS
        assert rate.pj >= 0
    small = {rate.component for rate in rates(DESIGN, TECHNOLOGY) if rate.source == "register_file"}
    assert small == {"windows", "accumulators"}


# Numbers of one's own -------------------------------------------------------------------------------------------------


def technology_of(folder: Path, text: str) -> Technology:
    path = folder / "own.toml"
    path.write_text(CARRIED.read_text() + text)
    return load_technology(path)


def test_numbers_of_a_technology_file_replace_the_models(tmp_path: Path) -> None:
    technology = technology_of(
        tmp_path,
        '[[action]]\ncomponent = "windows"\naction = "read"\npj = 0.125\nsource = "my silicon"\n'
        '[[component]]\nname = "weights"\num2 = 1e4\nleakage_nw = 1e3\nsource = "my macro"\n',
    )
    assert spent(technology=technology, window_reads=8)["windows", "read"] == 1.0
    leaked = spent(technology=technology, cycles=100)["weights", "leakage"]
    assert leaked == close(100 * 4 * 1e3 * 1e-3 / technology.frequency_mhz)
    sources = {(rate.component, rate.action): rate.source for rate in rates(DESIGN, technology)}
    assert sources["windows", "read"] == "action windows.read"
    assert dict(energy_sources(technology))["action windows.read"] == "my silicon"
    assert dict(energy_sources(technology))["component weights"] == "my macro"


def test_numbers_for_unknown_actions_and_components_are_refused(tmp_path: Path) -> None:
    action = technology_of(tmp_path, '[[action]]\ncomponent = "pe"\naction = "jump"\npj = 1.0\nsource = "s"\n')
    with pytest.raises(
        TechnologyError, match=r"^the technology has an \[\[action\]\] 'jump' of 'pe', which the array does"
    ):
        rates(DESIGN, action)
    component = technology_of(tmp_path, '[[component]]\nname = "cpu"\num2 = 1.0\nleakage_nw = 1.0\nsource = "s"\n')
    with pytest.raises(
        TechnologyError, match=r"^the technology has a \[\[component\]\] 'cpu', which the array does not; "
    ):
        rates(DESIGN, component)
    tables = technology_of(tmp_path, '[[component]]\nname = "tables"\num2 = 1.0\nleakage_nw = 1.0\nsource = "s"\n')
    assert rates(DESIGN.replace(tables=0), tables)
