"""The command line as a whole: version, start-up time, and messages that all commands share."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import skipstone
from tests.skipstone.builders import TINY_DESIGN
from tests.skipstone.cli.place import invoke, mistake, place

__all__ = ["place"]


def test_version():
    assert invoke("--version").output == f"skipstone {skipstone.__version__}\n"


@pytest.mark.parametrize("command", ["verify", "export", "trace"])
def test_commands_that_can_enlarge_memories_name_the_option(place, command):
    (place / "little.toml").write_text(TINY_DESIGN.replace("layers = 8", "layers = 1"))
    message = mistake(place, command, "small.onnx", "--design", "little.toml", "--out", "o")
    assert message.endswith("; --fit-memories enlarges the memories to what the network needs")


def test_start_up_is_quick():
    """``--help`` imports nothing heavy: not NumPy, not ONNX, not Amaranth, not plotly."""
    code = (
        "import sys; from typer.testing import CliRunner; from skipstone.cli.main import app;"
        "CliRunner().invoke(app, ['--help']);"
        "print([m for m in ('numpy', 'onnx', 'amaranth', 'plotly', 'optuna', 'torch', 'cocotb') if m in sys.modules])"
    )
    started = time.monotonic()
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert imported.strip() == "[]"
    assert time.monotonic() - started < 2
