"""Liberty files: numbers in our units, linear interpolation in tables, and other files refused by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from skipstone.characterize.liberty import Library, Table, read_liberty
from skipstone.errors import SkipstoneError
from tests.skipstone.characterize.cells import library, write_library


def test_cells_and_pins(tmp_path: Path) -> None:
    parsed = read_liberty(write_library(tmp_path))
    assert (parsed.name, parsed.voltage, sorted(parsed.cells)) == ("four", 2.0, ["BUF", "DFF", "INV", "NAND2", "NOR2"])
    nand = parsed.cells["NAND2"]
    assert (nand.area_um2, nand.leakage_nw, nand.flip_flop) == (2.0, 1.0, None)
    assert nand.pins["A"].capacitance_pf == 0.002
    assert nand.pins["Y"].function == "!(A & B)"
    assert parsed.cells["DFF"].flip_flop == ("C", "D", "Q", "QN")


def test_energy_and_delay_rise_with_the_load(tmp_path: Path) -> None:
    output = read_liberty(write_library(tmp_path)).cells["INV"].pins["Y"]
    assert output.transition_pj(0.1, 0.0) == pytest.approx(0.010)
    assert output.transition_pj(0.1, 0.1) == pytest.approx(0.030)
    assert output.transition_pj(0.1, 0.05) == pytest.approx(0.020)
    assert output.transition_pj(0.1, 0.2) == pytest.approx(0.050)  # beyond the table, along its line
    assert output.delay_ns(0.1, 0.05) == pytest.approx(0.2)


def test_units_are_converted(tmp_path: Path) -> None:
    text = library().replace("capacitive_load_unit (1, pf)", "capacitive_load_unit (1, ff)").replace('"1ns"', '"10ps"')
    path = tmp_path / "scaled.lib"
    path.write_text(text.replace('"1nW"', '"1uW"'))
    inverter = read_liberty(path).cells["INV"]
    assert inverter.pins["A"].capacitance_pf == pytest.approx(0.002e-3)
    assert inverter.leakage_nw == pytest.approx(500)
    # Loads are in fF now: 0.05 fF is the middle of the table. Energy goes with the capacitance unit, delay with the time unit.
    assert inverter.pins["Y"].transition_pj(0.1, 0.05e-3) == pytest.approx(0.020e-3)
    assert inverter.pins["Y"].delay_ns(0.1, 0.05e-3) == pytest.approx(0.2 * 0.01)


def test_two_axes() -> None:
    table = Table(((0.0, 1.0), (0.0, 10.0)), (0.0, 10.0, 100.0, 110.0))
    assert table.at(0.5, 5.0) == pytest.approx(55.0)
    assert table.at(1.0, 0.0) == pytest.approx(100.0)


def test_wire_lengths_never_fall() -> None:
    loaded = Library("x", 1.0, {}, (((1.0, 10.0), (2.0, 30.0), (3.0, 20.0)), 5.0))
    assert [loaded.wire_um(fanout) for fanout in (1, 2, 3, 5)] == [10, 30, 30, 40]
    assert Library("x", 1.0, {}, None).wire_um(3) is None


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "four.lib.gz"
    path.write_bytes(gzip.compress(library().encode()))
    assert read_liberty(path).name == "four"


@pytest.mark.parametrize(
    "text", ["", "no liberty", "library (x) { cell (a) { area : 1;", "library (x) { time_unit : 3; }"]
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.lib"
    path.write_text(text)
    with pytest.raises(SkipstoneError, match=r"wrong\.lib is not a Liberty file"):
        read_liberty(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match="cannot read the Liberty file"):
        read_liberty(tmp_path / "absent.lib")
