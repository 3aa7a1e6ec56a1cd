"""TOML files: an unreadable file gives one message, every wrong key is named with its place, written tables are read back."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from skipstone.errors import DesignError, SkipstoneError
from skipstone.toml_files import file_or_carried, parse_toml, read_toml, toml_text, validated


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Cut(Table):
    do: Literal["cut"]
    amount: Annotated[float, Field(gt=0, le=1)] = 0.5
    lengths: dict[str, int] = Field(default_factory=dict)


class Paint(Table):
    do: Literal["paint"]
    colour: Literal["red", "green", "blue"]


class Clock(Table):
    mhz: Annotated[float, Field(gt=0)]
    source: Annotated[str, Field(min_length=1)]


class Wire(Table):
    width: Annotated[int, Field(ge=1, lt=2**40)]


class File(Table):
    name: str = ""
    clock: Clock
    spare: Clock | None = None
    wire: Annotated[tuple[Wire, ...], Field(strict=False)] = ()
    step: Annotated[tuple[Annotated[Cut | Paint, Field(discriminator="do")], ...], Field(strict=False, min_length=1)]


RIGHT: dict[str, Any] = {"clock": {"mhz": 1, "source": "s"}, "step": [{"do": "cut"}]}


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(SkipstoneError) as caught:
        validated(File, values, "F")
    message = str(caught.value)
    assert message.startswith("F: ")
    assert "\n" not in message
    return message.removeprefix("F: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nam": "x"}, "unknown key 'nam' (do you mean 'name'?); it takes name, clock, spare, wire, step"),
        ({"q": 1, "z": 2}, "unknown keys 'q', 'z'; it takes name, clock, spare, wire, step"),
        ({"name": 3}, "name must be text in quotes, not 3"),
        ({"clock": None}, "there is no [clock]"),
        ({"clock": 3}, "clock must be a table of keys, not 3"),
        ({"clock": {}}, "[clock] keys 'mhz', 'source' are missing"),
        ({"clock": {"mhz": 0, "source": ""}}, "[clock] mhz must be above 0, not 0; [clock] source must not be empty"),
        ({"spare": {"mhz": 1.0, "sauce": "s"}}, "[spare] key 'source' is missing; "
         "[spare] unknown key 'sauce' (do you mean 'source'?); it takes mhz, source"),
        ({"wire": {"width": 1}}, "wire must be written as [[wire]], each with its keys below, not {'width': 1}"),
        ({"wire": [{"width": 1}, {"width": 0}]}, "wire 2: width must be at least 1, not 0"),
        ({"wire": [{"width": 2**40}]}, "wire 1: width must be below 1099511627776, not 1099511627776"),
        ({"wire": [{"width": 1.0}]}, "wire 1: width must be a whole number, not 1.0"),
        ({"wire": [7]}, "wire 1: it must be a table of keys, not 7"),
        ({"step": None}, "there is no [[step]]"),
        ({"step": []}, "there is no [[step]]"),
        ({"step": [{"do": "cuts"}]}, "step 1: there is no step 'cuts' (do you mean 'cut'?); the steps are cut, paint"),
        ({"step": [{}]}, "step 1: it has no key 'do', which says what the step does: cut, paint"),
        ({"step": [{"do": "paint"}]}, "step 1 (paint): key 'colour' is missing"),
        ({"step": [{"do": "paint", "colour": "gren"}]},
         "step 1 (paint): colour must be 'red', 'green' or 'blue', not 'gren' (do you mean 'green'?)"),
        ({"step": [{"do": "cut"}, {"do": "cut", "amount": 1.5}]}, "step 2 (cut): amount must be at most 1, not 1.5"),
        ({"step": [{"do": "cut", "amount": float("nan")}]}, "step 1 (cut): amount must be a finite number, not nan"),
        ({"step": [{"do": "cut", "lengths": {"a": "x"}}]}, "step 1 (cut): lengths of 'a' must be a whole number, not 'x'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(change: dict[str, Any], message: str) -> None:
    values = {key: value for key, value in {**RIGHT, **change}.items() if value is not None}
    assert refusal(values) == message


def test_a_valid_table_gives_the_model() -> None:
    assert validated(File, RIGHT, "F") == File.model_validate(RIGHT)


@dataclass(frozen=True)
class Array:
    name: str
    rows: int
    cols: int = 4

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise DesignError(f"rows must be 1 or more, not {self.rows}")


def test_a_dataclass_of_plain_fields() -> None:
    """The types of values are strict, and the dataclass's checks run."""
    assert validated(Array, {"name": "a", "rows": 2}, "F", DesignError) == Array("a", 2)
    for values, message in (
        ({"name": "a", "rows": True, "row": 1}, "F: rows must be a whole number, not True; "
         "unknown key 'row' (do you mean 'rows'?); it takes name, rows, cols"),
        ({"cols": 2}, "F: keys 'name', 'rows' are missing"),
        ({"name": "a", "rows": 0}, "F: rows must be 1 or more, not 0"),
    ):  # fmt: skip
        with pytest.raises(DesignError) as caught:
            validated(Array, values, "F", DesignError)
        assert str(caught.value) == message


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for prepare, message in (
        (lambda: None, f"can't read design file {path}: No such file or directory"),
        (lambda: path.write_bytes(b"\xff\xfe"), f"design file {path} is not text"),
        (lambda: path.write_text("a = "), f"design file {path} is not TOML: Invalid value (at end of document)"),
        (lambda: path.write_text("a = 1\na = 2"), f"design file {path} is not TOML: Cannot overwrite a value"),
        (lambda: path.write_text("a = " + "[" * 100_000), f"design file {path} is not TOML: "),
        (lambda: (path.unlink(), path.mkdir()), f"can't read design file {path}: Is a directory"),
    ):
        prepare()
        with pytest.raises(DesignError) as caught:
            read_toml(path, "design file", DesignError)
        assert str(caught.value).startswith(message)
    with pytest.raises(SkipstoneError, match=r"^F is not TOML: "):
        parse_toml("[", "F")
    path.rmdir()
    path.write_text("a = 1\r\nb = 'é𝄞'\n", encoding="utf-8")
    assert read_toml(path, "file") == {"a": 1, "b": "é𝄞"}


def test_a_file_or_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file takes precedence over a name, and a name over a folder of that name."""
    carried = {"default": tmp_path / "carried.toml"}
    monkeypatch.chdir(tmp_path)
    assert file_or_carried("default", carried, "space") == carried["default"]
    (tmp_path / "default").mkdir()
    assert file_or_carried("default", carried, "space") == carried["default"]
    (tmp_path / "default").rmdir()
    (tmp_path / "default").write_text("")
    assert file_or_carried("default", carried, "space") == Path("default")
    with pytest.raises(SkipstoneError) as caught:
        file_or_carried("defalt", carried, "space", ["auto"])
    assert str(caught.value) == (
        "no space file 'defalt', and no space of that name (there are: auto, default); do you mean 'default'?"
    )


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(),
    st.sampled_from(["𝄞", '"\\']),
)


@given(st.dictionaries(st.text(min_size=1), st.one_of(scalars, st.lists(scalars, max_size=3)), max_size=5))
def test_written_tables_are_read_back(values: dict[str, Any]) -> None:
    """Also characters beyond the basic plane and control characters, which JSON escapes differently."""
    assert tomllib.loads(toml_text(values)) == values


def test_reading_a_design_imports_no_amaranth() -> None:
    code = (
        "import sys; from skipstone.hw.design import load_design; assert 'pydantic' not in sys.modules;"
        "load_design('edge'); assert 'amaranth' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
