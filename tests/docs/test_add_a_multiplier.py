"""The guide's change, applied to a copy of ``hw/``, gives a kind that runs a whole network through the RTL, exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import DOCS, ROOT, blocks

GUIDE = blocks(DOCS / "tutorials" / "add-a-multiplier.md")


def block(language: str) -> str:
    (text,) = [block.text for block in GUIDE if block.language == language]
    return text


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the guide's change: ``hw`` and ``tests/hw`` are copies, the other folders links."""
    folder = tmp_path_factory.mktemp("changed")
    shutil.copytree(ROOT / "hw", folder / "hw")
    shutil.copytree(ROOT / "skipstone", folder / "skipstone", symlinks=True)
    for name in ("mapper", "models", "reports", "sim"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "tests" / "hw").mkdir(parents=True)
    shutil.copy(ROOT / "tests/hw/test_multipliers.py", folder / "tests/hw")
    subprocess.run(["git", "apply", "-"], cwd=folder, input=block("diff"), text=True, check=True)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


@pytest.mark.rtl
def test_the_network_runs_exactly(changed: Path) -> None:
    result = run(changed, "-c", block("python"))
    assert (result.stdout, result.returncode) == (block("text"), 0), result.stderr


def test_every_product(changed: Path) -> None:
    """With the row that the guide asks for in ``tests/hw/test_multipliers.py``."""
    path = changed / "tests/hw/test_multipliers.py"
    text = path.read_text()
    path.write_text(
        text.replace('("sign", 2, 2),', '("sign", 2, 2), ("sign_magnitude", 6, 5), ("sign_magnitude", 2, 2),')
    )
    result = run(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path), "-k", "SignMagnitude")
    assert "4 passed" in result.stdout, result.stdout


def test_figures(changed: Path) -> None:
    """15 bits of product of 8 by 8, an 8-bit code, 7 x 8 partial products; refused weights are told with the kind's range."""
    code = """
from skipstone import load_design
from skipstone.mapper.fpga.resources import dsps
from skipstone.mapper.technology.logic_cells import FEATURES
design = load_design("tiny").replace(multiplier="sign_magnitude")
kind = design.products
print(kind.product_bits, design.weight_entry.width - load_design("tiny").weight_entry.width)
print(FEATURES["partial_products"](design), FEATURES["product_adder_bits"](design))
print(dsps(design) == dsps(load_design("tiny")), kind.values_text)
"""
    assert run(changed, "-c", code).stdout.splitlines() == ["15 0", "56 9", "True integers from -127 to 127"]
