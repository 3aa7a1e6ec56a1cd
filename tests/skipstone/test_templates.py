"""Templates: values are escaped, a missing value is an error, and all templates are valid and in the wheel."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from skipstone import templates
from skipstone.templates import render

ROOT = Path(templates.__file__).parent
ROOMS = ("flow", "mapper", "reports")
FILES = sorted(str(file.relative_to(ROOT)) for room in ROOMS for file in (ROOT / room).rglob("*.j2"))
EMBEDDED = sorted(str(f.relative_to(ROOT)) for f in (ROOT / "reports").rglob("*") if f.suffix in (".css", ".js"))


@pytest.mark.parametrize("name", FILES)
def test_a_template_compiles_and_marks_nothing_as_safe(name: str) -> None:
    templates._environment().get_template(name)
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe|autoescape|Markup", text)


def test_values_are_escaped_and_json_cannot_end_its_script() -> None:
    name = "</script><script>alert(1)</script>"
    html = render("reports/exploration/templates/points.html.j2", content={"name": name})
    assert html.count("</script>") == 1
    assert "\\u003c/script\\u003e" in html
    assert "<script>" not in render("reports/network/templates/explanation.html.j2", content=name)


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render("reports/exploration/templates/points.html.j2", content=float("nan"))


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="content"):
        render("reports/network/templates/explanation.html.j2")


def test_all_files_are_in_the_wheel() -> None:
    project = ROOT.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("an installed package has no pyproject.toml")
    data = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    packed = {
        str(file.relative_to(ROOT))
        for package, patterns in data.items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")[1:]).glob(pattern)
    }
    assert FILES
    assert EMBEDDED
    assert set(FILES) | set(EMBEDDED) <= packed
