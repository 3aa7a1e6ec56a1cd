"""Technology files: one message for every mistake that says where it is and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipstone.errors import TechnologyError
from skipstone.mapper.technology.files import parse_technology_file, read_technology_file

DATA = Path(__file__).parents[3] / "mapper" / "technology" / "data"
TEXT = (DATA / "technology_130nm.toml").read_text()


def refusal(text: str) -> str:
    with pytest.raises(TechnologyError) as caught:
        parse_technology_file(text, "F")
    message = str(caught.value)
    assert message.startswith("F")
    assert "\n" not in message
    return message.removeprefix("F: ")


def without(line: str) -> str:
    assert line in TEXT
    return TEXT.replace(line, "", 1)


def test_the_carried_files_are_read() -> None:
    for node in (22, 45, 65, 130):
        technology = read_technology_file(DATA / f"technology_{node}nm.toml")
        assert technology.node_nm == node
        assert technology.memory.node_nm == min(node, 90)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (without("node_nm = 130\n"), "key 'node_nm' is missing"),
        (without("mhz = 45.0\n"), "[frequency] key 'mhz' is missing"),
        (without('device = "itrs-lstp"\n'), "[memory] key 'device' is missing"),
        (
            TEXT.replace("[logic]", '[[action]]\ncomponent = "pe"\naction = "mac"\npj = 1.0\n[logic]'),
            "action 1: key 'source' is missing",
        ),
        (TEXT.replace("mhz = 45.0", "mhz = 0.0"), "[frequency] mhz must be above 0, not 0.0"),
        (TEXT.replace("mhz = 45.0", 'mhz = "fast"'), "[frequency] mhz must be a number, not 'fast'"),
        (TEXT.replace("mhz = 45.0", "mhz = nan"), "[frequency] mhz must be a finite number, not nan"),
        (
            TEXT.replace("mhz = 45.0", "mhz = 50.0\nhmz = 1"),
            "[frequency] unknown key 'hmz' (do you mean 'mhz'?); it takes source, mhz",
        ),
        (
            "clock = 5\n" + TEXT,
            "unknown key 'clock'; it takes node_nm, name, frequency, memory, register_file, logic, off_chip, action, "
            "component",
        ),
        (TEXT.replace('"HP"', '"XP"'), "[logic] transistors must be 'HP' or 'LP', not 'XP'"),
        (TEXT.replace("node_nm = 130", "node_nm = 13.5"), "node_nm must be a whole number, not 13.5"),
        (TEXT.replace("A mobile DRAM beside the chip", ""), "[off_chip] source must not be empty"),
        (
            without('device = "lpddr3-1600"\n'),
            "[off_chip] takes either device, or read_pj_per_bit and write_pj_per_bit",
        ),
        (
            TEXT.replace('device = "lpddr3-1600"\n', "read_pj_per_bit = 1.0\n"),
            "[off_chip] takes either device, or read_pj_per_bit and write_pj_per_bit",
        ),
        (
            without("supply_v = 1.3\n"),
            "[memory] needs supply_v, the supply of the table's 90 nm memories, to be scaled to 130 nm",
        ),
        ("action = 1\n" + TEXT, "action must be written as [[action]], each with its keys below, not 1"),
    ],
)
def test_a_mistake_in_words(text: str, message: str) -> None:
    assert refusal(text) == message


def test_all_mistakes_at_once() -> None:
    text = TEXT.replace("mhz = 45.0\n", "").replace('"HP"', '"XP"')
    assert refusal(text) == "[frequency] key 'mhz' is missing; [logic] transistors must be 'HP' or 'LP', not 'XP'"


def test_files_that_are_not_toml_are_refused(tmp_path: Path) -> None:
    assert refusal("node_nm = ").startswith("F is not TOML: ")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TechnologyError, match=r"^technology file .*binary.toml is not text$"):
        read_technology_file(path)
    with pytest.raises(TechnologyError, match=r"^can't read technology file .*: Is a directory$"):
        read_technology_file(tmp_path)
