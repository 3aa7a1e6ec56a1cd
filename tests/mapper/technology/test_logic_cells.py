"""The carried characterization: every number comes from the file's coefficients, and the errors it states from its own runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import TechnologyError
from skipstone.hw.design import Design, built_in_designs, load_design
from skipstone.mapper.counters import Actions
from skipstone.mapper.technology.logic_cells import COMPONENTS, load_gateware

GATEWARE = load_gateware()
DOCUMENT: dict[str, Any] = GATEWARE.table.to_dict()
TINY = load_design("tiny")


def test_components_and_their_counts() -> None:
    design = load_design("wide")
    counts = {component.name: component.count for component in GATEWARE.components(design)}
    assert counts == {"pe": 256, "row": 8, "loader": 1, "drain": 1, "requantizer": 32, "controller": 1}
    assert tuple(counts) == COMPONENTS


@pytest.mark.parametrize("design", built_in_designs().values(), ids=lambda design: design.name)
def test_every_number_is_there_and_positive(design: Design) -> None:
    for component in GATEWARE.components(design):
        assert GATEWARE.area_um2(component.name, design) > 0
        assert GATEWARE.leakage_nw(component.name, design) > 0
        assert GATEWARE.clock_pj(component.name, design) > 0
    names = {field.name for field in dataclasses.fields(Actions)}
    for action in GATEWARE.actions(design):
        assert action.counter in names
        assert GATEWARE.action_pj(action.component, action.name, design) >= 0
    assert GATEWARE.min_period_ns(design) > 1


@settings(max_examples=30)
@given(
    st.sampled_from([("linear", 8), ("linear", 2), ("shift", 4), ("additive", 5), ("sign", 8), ("codebook", 8)]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 2, 6]),
    st.integers(2, 12),
)
def test_any_design_has_numbers(kind: tuple[str, int], rows: int, cols: int, width: int, bits: int) -> None:
    design = TINY.replace(
        multiplier=kind[0],
        weight_bits=kind[1],
        rows=rows,
        cols=cols,
        load_width=width,
        requantizer_lanes=1,
        activation_bits=bits,
        accumulator_bits=32,
    )
    assert all(GATEWARE.area_um2(component.name, design) > 0 for component in GATEWARE.components(design))
    assert GATEWARE.min_period_ns(design) > 0


def test_a_wider_pe_takes_more() -> None:
    wide = TINY.replace(weight_bits=16, accumulator_bits=32)
    assert GATEWARE.area_um2("pe", wide) > GATEWARE.area_um2("pe", TINY)
    assert GATEWARE.clock_pj("pe", wide) > GATEWARE.clock_pj("pe", TINY)


def changed(row: dict[str, Any]) -> Design:
    return TINY.replace(name=row["name"], description="", **row["differs_from_tiny"])


DESIGNS = {row["name"]: changed(row) for row in DOCUMENT["designs"]}


def test_the_held_out_errors_follow_from_the_runs() -> None:
    """Model energy, computed again from the runs' counts through the public interface."""
    runs = {(row["layer"], row["design"]): row for row in DOCUMENT["runs"]}
    assert len(DOCUMENT["held_out"]) >= 6
    for row in DOCUMENT["held_out"]:
        run, design = runs[row["layer"], row["design"]], DESIGNS[row["design"]]
        assert run["held_out"]
        gate = run["switching_pj"]["pe"] + run["switching_pj"]["row"]
        model = sum(
            run["actions"][action.counter] * GATEWARE.action_pj(action.component, action.name, design)
            for action in GATEWARE.actions(design)
            if action.component in ("pe", "row")
        )
        assert row["gate_pj"] == pytest.approx(gate, rel=1e-4)
        assert row["model_pj"] == pytest.approx(model, rel=1e-4)
        assert row["error"] == pytest.approx(model / gate - 1, abs=1e-4)


def test_no_layer_is_both_seen_and_held_out() -> None:
    seen = {(row["layer"], row["design"]) for row in DOCUMENT["runs"] if not row["held_out"]}
    assert not seen & {(row["layer"], row["design"]) for row in DOCUMENT["held_out"]}
    assert all(row["equal"] for row in DOCUMENT["runs"])


def test_area_is_within_the_stated_error() -> None:
    for row in DOCUMENT["designs"]:
        design = DESIGNS[row["name"]]
        for name in ("pe", "row", "loader", "requantizer", "controller"):
            error = GATEWARE.area_um2(name, design) / row["blocks"][name]["area_um2"] - 1
            assert abs(error) <= DOCUMENT["fits"][name]["area_um2"]["largest_error"] + 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: .*make a characterization with skipstone characterize"),
        ("[]", "it is not a JSON object; make a characterization"),
        ("{}", "not a characterization of the gateware .*no key 'kind'"),
        (json.dumps(DOCUMENT).replace("accumulator_bits", "elbows"), "unknown features or counters elbows"),
        (json.dumps(DOCUMENT | {"schema": 0}), r"another version of Skipstone .* make a characterization"),
        (json.dumps(DOCUMENT | {"components": {}}), "has no component pe, row, loader"),
        (json.dumps(DOCUMENT | {"voltage": "high"}), "damaged: voltage"),
        (json.dumps(DOCUMENT).replace("weight_reads", "elbows"), "unknown features or counters elbows"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(TechnologyError, match=message):
        load_gateware(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TechnologyError, match="cannot read the characterization file"):
        load_gateware(tmp_path / "absent.json")
