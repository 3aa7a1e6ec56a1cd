"""The oldest versions that continuous integration installs are the lower bounds that pyproject.toml says."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CI = Path(__file__).parents[2] / ".ci"
oldest_versions: Any = runpy.run_path(str(CI / "oldest.py"))["oldest_versions"]


def project(*dependencies: str, **extras: list[str]) -> dict[str, object]:
    return {"name": "mine", "dependencies": list(dependencies), "optional-dependencies": extras}


def test_lower_bounds_of_all_extras_by_name() -> None:
    table = project(
        "numpy>=2.0,<3", train=["torch==2.13.0", "Moo_Core~=0.1"], test=["mine[train]", "docs[python]>=1.2"]
    )
    assert oldest_versions(table) == {"docs": "1.2", "moo-core": "0.1", "numpy": "2.0", "torch": "2.13.0"}


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy!=2.1"])
def test_a_requirement_without_a_lower_bound(requirement: str) -> None:
    with pytest.raises(ValueError, match=rf"^'{requirement}' needs one lower bound: numpy>=VERSION$"):
        oldest_versions(project(requirement))


def test_the_constraints_are_those_of_the_project() -> None:
    command = [sys.executable, CI / "oldest.py"]
    written = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert (CI / "constraints-oldest.txt").read_text() == written, "python .ci/oldest.py > .ci/constraints-oldest.txt"
