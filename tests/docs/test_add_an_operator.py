"""The guide's scripts, run as a reader would, print what the guide shows; its entry point works on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from skipstone.models.onnx_io.registry import GUIDE as NAMED_IN_MESSAGES
from tests.docs.blocks import DOCS, ROOT, blocks

GUIDE = blocks(DOCS / "tutorials" / "add-an-operator.md")
FILES = {block.title: block.text for block in GUIDE if block.title}
PRINTED = [block.text for block in GUIDE if block.language == "text"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), str(folder)])
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )


def test_the_network_is_evaluated(folder: Path) -> None:
    result = run(folder, "run.py")
    assert (result.stdout, result.returncode) == (PRINTED[0], 0), result.stderr


@pytest.mark.rtl
def test_floats_integers_and_rtl(folder: Path) -> None:
    run(folder, "make_network.py")
    result = run(folder, "check.py")
    assert (result.stdout, result.returncode) == (PRINTED[1], 0), result.stderr


def test_an_installed_package(folder: Path) -> None:
    """The entry point, as pip writes it, makes the command line know the operators."""
    run(folder, "make_network.py")
    (folder / "gated.toml").write_text((ROOT / "hw/designs/tiny.toml").read_text() + "\ntables = 1\n")
    command = ["-m", "skipstone", "run", "custom.onnx", "--design", "gated.toml", "--out", "out"]
    refusal = run(folder, *command)
    assert refusal.returncode == 2
    assert "MyDomain.ScaledRelu (node 'act'), MyDomain.Gate (node 'gate')" in " ".join(refusal.stderr.split())
    assert NAMED_IN_MESSAGES in " ".join(refusal.stderr.split())
    (heading,) = [line for line in (ROOT / "mkdocs.yml").read_text().splitlines() if "add-an-operator.md" in line]
    assert heading.strip(" -").split(":")[0] in NAMED_IN_MESSAGES

    (text,) = [block.text for block in GUIDE if block.language == "toml"]
    points = tomllib.loads(text)["project"]["entry-points"]["skipstone.operators"]
    package = folder / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (package / "entry_points.txt").write_text("\n".join(["[skipstone.operators]", *lines, ""]))
    result = run(folder, *command)
    assert result.returncode == 0, result.stderr
