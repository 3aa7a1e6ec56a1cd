"""The example notebook runs from the first cell to the last, and says what it says in the file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "explore.ipynb"


def said(notebook: Any) -> dict[str, str]:
    """The text of the cells tagged ``checked``."""
    return {
        cell.id: "".join(output.get("text", "") for output in cell.outputs)
        for cell in notebook.cells
        if "checked" in cell.metadata.get("tags", ())
    }


def test_it_runs_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    written = nbformat.read(NOTEBOOK, 4)
    run = copy.deepcopy(written)
    for cell in run.cells:
        cell["outputs"] = []
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(run, timeout=120, kernel_name="python3", resources=resources).execute()
    assert said(run) == said(written)
    assert len(said(written)) == 3
    assert all(said(written).values())


def test_it_holds_what_it_printed() -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output.get("data", {}) for cell in cells for output in cell.outputs]
    assert sum("image/png" in each for each in shown) == 2
    assert sum("text/html" in each for each in shown) >= 3
