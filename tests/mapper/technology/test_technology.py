"""Technologies from carried files and from a user's: factors, memories, DRAM, and the numbers that replace them."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipstone.errors import TechnologyError
from skipstone.mapper.technology.scaling import Factors, Process, load_scaling
from skipstone.mapper.technology.technology import DEFAULT_NODE_NM, load_technology, technology_files

DATA = Path(__file__).parents[3] / "mapper" / "technology" / "data"
NODES = tuple(technology_files(DATA))
TEXT = (DATA / "technology_45nm.toml").read_text()


def file_of(folder: Path, text: str) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_the_carried_nodes() -> None:
    assert NODES == (22, 45, 65, 130)
    assert load_technology().node_nm == DEFAULT_NODE_NM == 45
    assert [load_technology(node).node_nm for node in NODES] == list(NODES)


def test_the_same_object_every_time() -> None:
    assert load_technology(45) is load_technology(45) is load_technology("45") is load_technology("45nm")
    assert load_technology(45, 100.0) is load_technology(45, 100.0)


def test_smaller_nodes_cost_less() -> None:
    """Logic and memories; leakage does not fall with the node."""
    for small, large in zip(map(load_technology, NODES), map(load_technology, NODES[1:]), strict=False):
        assert small.logic.energy < large.logic.energy
        assert small.logic.area < large.logic.area
        assert small.logic.delay < large.logic.delay
        assert small.sram(4096, 32).read_pj < large.sram(4096, 32).read_pj
        assert small.sram(4096, 32).area_um2 < large.sram(4096, 32).area_um2


def test_logic_is_as_synthesized_at_130_nm() -> None:
    assert load_technology(130).logic == Factors()


def test_logic_follows_the_scaling_table() -> None:
    expected = load_scaling().factors(Process(130, 1.8), Process(45, 0.9))
    logic = load_technology(45).logic
    assert (logic.area, logic.delay, logic.energy) == (expected.area, expected.delay, expected.energy)


def test_logic_leaks_as_memories_do() -> None:
    leakage_45, leakage_130 = (
        load_technology(45).sram(4096, 32).leakage_mw,
        load_technology(130).sram(4096, 32).leakage_mw,
    )
    assert load_technology(45).logic.leakage == pytest.approx(leakage_45 / leakage_130)


def test_memories_at_130_nm_are_scaled_from_90() -> None:
    """CACTI has no 130 nm. Its point of 4,096 words of 32 bits at 90 nm, by hand: 2.27 times the area (0.34 / 0.15), 3.58 times
    the energy and 1.14 times the access time by the polynomials at 1.3 and 1.8 V; leakage 130 / 90 by width, 1.8 / 1.3 by
    supply."""
    bank = load_technology(130).sram_table.bank(4096, 32)
    energy = (7.171 * 1.8**2 - 6.709 * 1.8 + 2.904) / (4.762 * 1.3**2 - 4.781 * 1.3 + 2.092)
    assert energy == pytest.approx(3.583, abs=5e-4)
    assert bank.read_pj == pytest.approx(18.057 * energy)
    assert bank.area_um2 == pytest.approx(200260 * 0.34 / 0.15)
    assert bank.access_ns == pytest.approx(3.5454 * 1.1438, rel=1e-4)
    assert bank.leakage_mw == pytest.approx(0.0043135 * 130 / 90 * 1.8 / 1.3)


def test_dram_is_the_same_at_every_node() -> None:
    assert len({load_technology(node).dram for node in NODES}) == 1


def test_every_part_has_a_source() -> None:
    for node in NODES:
        sources = dict(load_technology(node).sources)
        assert list(sources) == ["frequency", "memory", "register_file", "logic", "off_chip"]
        assert all(len(text) > 40 for text in sources.values())
        assert "energydram" in sources["off_chip"]


def test_another_frequency() -> None:
    technology = load_technology(45, 123.0)
    assert technology.frequency_mhz == 123
    assert dict(technology.sources)["frequency"] == "123 MHz, as asked for"
    assert technology.logic == load_technology(45).logic
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(TechnologyError, match="the frequency must be above 0 MHz"):
            load_technology(45).with_frequency(wrong)


# Files of one's own ---------------------------------------------------------------------------------------------------


def test_a_copied_file_gives_the_same_technology(tmp_path: Path) -> None:
    carried, copy = load_technology(45), load_technology(file_of(tmp_path, TEXT))
    assert copy.name == carried.name
    assert (copy.logic, copy.dram, copy.sources) == (carried.logic, carried.dram, carried.sources)
    assert copy.sram(1000, 24) == carried.sram(1000, 24)
    assert load_technology(str(tmp_path / "own.toml"), 77.0).frequency_mhz == 77


def test_factors_in_a_file_replace_the_scaling(tmp_path: Path) -> None:
    factors = "energy_factor = 0.5\narea_factor = 0.25\ndelay_factor = 0.75\nleakage_factor = 2.0\n"
    technology = load_technology(file_of(tmp_path, TEXT.replace('transistors = "HP"\n', factors)))
    assert technology.logic == Factors(area=0.25, delay=0.75, energy=0.5, leakage=2.0)
    energy_only = load_technology(file_of(tmp_path, TEXT.replace('transistors = "HP"\n', "energy_factor = 0.5\n")))
    assert (energy_only.logic.energy, energy_only.logic.area) == (0.5, load_technology(45).logic.area)


def test_a_missing_characterization_is_named(tmp_path: Path) -> None:
    text = TEXT.replace('transistors = "HP"', 'characterization = "mine.json"')
    with pytest.raises(
        TechnologyError, match=r"^\[logic\] characterization: cannot read the characterization file .*mine\.json"
    ):
        load_technology(file_of(tmp_path, text))


def test_a_node_that_cacti_lacks(tmp_path: Path) -> None:
    """Memories of 28 nm are scaled from 22 nm; a node that the scaling lacks needs factors in the file."""
    text = TEXT.replace("node_nm = 45", "node_nm = 28", 1).replace(
        "node_nm = 45\ndevice", "node_nm = 22\nsupply_v = 0.8\ndevice"
    )
    technology = load_technology(file_of(tmp_path, text))
    assert load_technology(22).sram(512, 16).area_um2 < technology.sram(512, 16).area_um2
    with pytest.raises(TechnologyError, match="no scaling to 5 nm"):
        load_technology(file_of(tmp_path, text.replace("node_nm = 28", "node_nm = 5")))


def test_energies_of_dram_bits_in_a_file(tmp_path: Path) -> None:
    text = TEXT.replace('device = "lpddr3-1600"', "read_pj_per_bit = 20.0\nwrite_pj_per_bit = 21.5")
    assert load_technology(file_of(tmp_path, text)).dram.write_pj_per_bit == 21.5


def test_a_memory_table_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text((DATA / "sram_cacti7.json").read_text())
    text = TEXT.replace("sram_cacti7.json", "mine.json", 1)
    assert load_technology(file_of(tmp_path, text)).sram(512, 16) == load_technology(45).sram(512, 16)
    (tmp_path / "mine.json").write_text('{"memories": []}')
    with pytest.raises(
        TechnologyError,
        match=r"^/.*/mine\.json: not a memory table .*make a memory table with skipstone characterize$",
    ):
        load_technology(file_of(tmp_path, text))


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (28, "no technology for a node of 28 nm; carried: 22 nm, 45 nm, 65 nm, 130 nm; or name a .toml file"),
        ("sky130", "a technology is a node in nm (22 nm, 45 nm, 65 nm, 130 nm) or a .toml file, not 'sky130'"),
        ("no/such.toml", "can't read technology file no/such.toml: No such file or directory"),
    ],
)
def test_unknown_technologies_are_refused(which: int | str, message: str) -> None:
    with pytest.raises(TechnologyError) as caught:
        load_technology(which)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lpddr3-1600", "lpddr9", "[off_chip] device 'lpddr9' is not known; known are lpddr3-1600, ddr3-1600"),
        ("sram_cacti7.json", "none.json", "can't read the memory table 'none.json': No such file or directory"),
        ("itrs-lstp", "finfet", "no memories for 45 nm finfet; the table has 22 nm itrs-lstp, 22 nm itrs-hp"),
    ],
)
def test_unknown_names_in_a_file_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(TechnologyError) as caught:
        load_technology(file_of(tmp_path, TEXT.replace(old, new, 1)))
    assert str(caught.value).startswith(message)
