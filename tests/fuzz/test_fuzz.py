"""Every kind of damaged file is read or refused with one message; nothing else happens. Campaigns: ``python -m tests.fuzz``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from skipstone.errors import SkipstoneError
from tests.fuzz.kinds import KINDS, Kind, run, special_places

CASES = {name: 2 * kind.weight for name, kind in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_valid_files_are_accepted(name: str) -> None:
    """A reader that refuses everything would pass every other test. Of results only networks can be compared."""
    outcomes = []
    for content in KINDS[name].seeds():
        outcomes.append(KINDS[name].outcome(content))
    assert set(outcomes) == ({"accepted", "refused"} if name == "result" else {"accepted"})


@pytest.mark.parametrize("name", KINDS)
def test_mutated_files(name: str) -> None:
    for number in range(CASES[name]):
        assert KINDS[name].outcome(KINDS[name].case((0, name, number))) in ("accepted", "refused")


def test_equal_seeds_give_equal_files() -> None:
    for name, kind in KINDS.items():
        assert kind.case((7, name, 1)) == kind.case((7, name, 1))
        assert len({kind.case((7, name, number)) for number in range(8)}) > 1


HEX, DIGITS = "0x" + "f" * 4300, "9" * 5000
DESIGN = "rows = 2\ncols = 3\nwindow_depth = 18\nwindows = 2\naccumulators = 2\nload_width = 2\nrequantizer_lanes = "
TEXTS = {
    "deep list": "a = " + "[" * 20_000,
    "deep table": "a = " + "{a=" * 20_000,
    "deep but closed": "a = " + "[" * 200 + "]" * 200,
    "deep key": "a." * 100_000 + "b = 1",
    "deep header": "[" + "a." * 200_000 + "b]",
    "many digits": "rows = " + DIGITS,
    "hexadecimal": DESIGN + HEX,
    "beyond 64 bits": DESIGN + str(1 << 63),
    "large float": DESIGN + "1e31",
    "zero byte": 'name = "a\\u0000b"',
    "many keys": "".join(f"key{number} = 1\n" for number in range(60_000)),
    "many tables": "[[step]]\n" * 20_000,
    "long key": "k" * 1_000_000 + " = 1",
    "long value": 'rows = "' + "v" * 1_000_000 + '"',
    "large": "#" * (1 << 20) + "#",
    "escape": '"\\u001b[2J" = 1',
}


@pytest.mark.parametrize("kind", ["design", "technology", "recipe", "space"])
@pytest.mark.parametrize("text", TEXTS)
def test_hostile_toml(kind: str, text: str) -> None:
    assert KINDS[kind].outcome(TEXTS[text].encode()) == "refused"


JSON = {
    "nested": b'{"a":' * 100_000,
    "nested a little": b'{"a":' * 200 + b"1" + b"}" * 200,
    "many digits": b'{"a": ' + DIGITS.encode() + b"}",
    "infinity": b'{"kind": "network", "total_cycles": Infinity}',
    "half a surrogate": b'{"kind": "network", "network": "\\ud800"}',
    "empty": b"",
    "not text": b"\xff\xfe",
}


@pytest.mark.parametrize("text", JSON)
def test_hostile_results(text: str) -> None:
    assert KINDS["result"].outcome(JSON[text]) == "refused"


VALUES = ["NaN", "Infinity", "1e300", "-1e308", "1e400", str(10**400), str(10**30), '"1"', "[1]", "{}", "true"]
KEYS = ["total_cycles", "drain", "clock", "on_host", "parameters", "component"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:6])
def test_odd_values_in_a_result(key: str, value: str) -> None:
    """NaN, infinity, huge numbers and other types in the place of a figure, a flag, a text and a table."""
    text = KINDS["result"].seeds()[0].decode()
    content = re.sub(rf'"{key}": ([^{{\n]*?)(,?)$', rf'"{key}": {value}\2', text, count=1, flags=re.MULTILINE)
    if key == "parameters":
        content = text.replace('"parameters": {', f'"parameters": {value}, "other": {{', 1)
    assert content != text
    is_its_type = (key, value) in (("on_host", "true"), ("component", '"1"'))
    assert KINDS["result"].outcome(content.encode()) == "refused" or is_its_type


READERS: dict[str, Callable[[Path, Path], None]] = {
    **{name: kind.read for name, kind in KINDS.items() if name not in ("store", "study", "idx", "checkpoint")},
    "evaluation": run("--evaluation"),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    """A folder, an empty file, a loop of links, a link to nothing, and a file that never ends."""
    out = tmp_path / "out"
    out.mkdir()
    for path in special_places(tmp_path):
        if path.name == "endless" and name in ("onnx", "calibration", "evaluation", "dataset"):
            continue  # which are read as large as they are
        with pytest.raises((SkipstoneError, OSError)):
            READERS[name](path, out)
        assert not any(out.iterdir())


DAMAGED = sorted((Path(__file__).parents[1] / "data" / "fuzz").iterdir())
SUFFIXES = {
    ".onnx": ("onnx",), ".json": ("result",),
    ".toml": ("design", "technology", "recipe", "space"), ".npz": ("calibration", "dataset"),
}  # fmt: skip


@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: path.stem)
def test_files_that_once_ended_in_a_traceback(path: Path) -> None:
    for kind in SUFFIXES[path.suffix]:
        outcome = KINDS[kind].outcome(path.read_bytes())
        assert outcome == "refused" or path.suffix == ".onnx"


def test_a_finding_is_found() -> None:
    """The harness tells a traceback, a change and an empty message from a refusal."""

    def broken(path: Path, out: Path) -> None:
        raise KeyError("a")

    def changes(path: Path, out: Path) -> None:
        path.write_bytes(b"")
        raise SkipstoneError("no")

    for read in (broken, changes):
        with pytest.raises(Exception, match=r"a|changed"):
            Kind(lambda: [b"x"], lambda content, rng: content, read).outcome(b"x")
