"""The digest of our code changes with all that figures come from, and with nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from skipstone.explore import identity
from skipstone.explore.identity import SOURCES

ROOT = Path(identity.__file__).parents[1]
WITHOUT_INFLUENCE = {
    "files.py": "writes bytes as they are",
    "interruptions.py": "puts signals off",
    "templates.py": "renders notebooks and pages",
    "sim": "verifies, and exports; explorations run no RTL",
    "reports": "shows results and picks points of them, when all are there",
}
"""What the sources import, and why it does not count."""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a file for each source, in the place of ours."""
    for source in (*SOURCES, *WITHOUT_INFLUENCE):
        path = tmp_path / source if source.endswith(".py") else tmp_path / source / "inner" / "code.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    monkeypatch.setattr(identity, "__file__", str(tmp_path / "explore" / "identity.py"))
    return tmp_path


def code_digest() -> str:
    """Without the memory of the one before."""
    return identity.code_digest.__wrapped__()


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_counts(tree: Path, source: str) -> None:
    before = code_digest()
    path = tree / source if source.endswith(".py") else tree / source / "inner" / "code.py"
    path.write_text("after")
    assert code_digest() != before


def test_other_files_and_compiled_ones_do_not_count(tree: Path) -> None:
    before = code_digest()
    (tree / "files.py").write_text("after")
    (tree / "reports" / "inner" / "code.py").write_text("after")
    (tree / "hw" / "__pycache__").mkdir()
    (tree / "hw" / "__pycache__" / "code.pyc").write_text("after")
    assert code_digest() == before


def test_all_that_sources_import_counts_or_says_why_not() -> None:
    """A module of ours that a source begins to use must go into ``SOURCES``, or above."""
    assert all((ROOT / source).exists() for source in (*SOURCES, *WITHOUT_INFLUENCE))
    used = set()
    for source in SOURCES:
        place = (ROOT / source).resolve()
        for path in place.rglob("*.py") if place.is_dir() else [place]:
            for module in _imported(ast.parse(path.read_text())):
                package, _, rest = module.partition(".")
                if package == "skipstone" and rest:
                    name = rest.partition(".")[0]
                    used.add(name if (ROOT / name).is_dir() else f"{name}.py")
    assert used == {*SOURCES, *WITHOUT_INFLUENCE}


def _imported(tree: ast.Module) -> set[str]:
    """Modules of a file's imports; with ``from skipstone import hw`` also ``skipstone.hw``."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            modules.add(node.module)
            if node.module == "skipstone":
                modules |= {f"skipstone.{alias.name}" for alias in node.names}
    return modules
