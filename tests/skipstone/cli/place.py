"""A folder to run commands in, commands run in this process, and the check of a user's mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from skipstone.cli.main import app
from tests.skipstone.builders import TINY_DESIGN, small_data, small_network


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a network, data and a design, and the current folder there."""
    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "small.onnx")
    small_data(tmp_path / "data.npz")
    (tmp_path / "small.toml").write_text(TINY_DESIGN)
    return tmp_path


def invoke(*arguments: str):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def mistake(place: Path, *arguments: str) -> str:
    """Runs the command, checks exit code 2, one line, nothing new on disk, and returns the message."""
    before = sorted(path for path in place.rglob("*") if path.is_file())
    done = invoke(*arguments)
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    message = [line for line in done.stderr.splitlines() if line.startswith("skipstone: ")]
    assert len(message) == 1, done.stderr
    assert "Traceback" not in done.output
    assert sorted(path for path in place.rglob("*") if path.is_file()) == before
    return message[0].removeprefix("skipstone: ")
