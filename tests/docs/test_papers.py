"""The project's papers agree with the project: the version, the licence, and the lint before a commit."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.blocks import ROOT

yaml = pytest.importorskip("yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


def test_a_commit_is_checked_by_what_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = {hook["entry"].replace(" --force-exclude", "").replace(" .", "") for hook in hooks}
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert entries == {line.split("/")[1].removesuffix(" .") for line in recipe[1].splitlines()}


@pytest.mark.parametrize("name", ["bug", "network", "feature"])
def test_issue_forms_are_well_formed(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_the_changelog_has_the_sections_of_a_change() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    unreleased = text[text.index("## Unreleased") : text.index("## 0.1.0")]
    assert re.findall(r"^### (\w+)$", unreleased, re.MULTILINE) == ["Breaking", "Added", "Changed"]
