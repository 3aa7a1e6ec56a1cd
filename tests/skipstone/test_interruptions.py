"""Ctrl-C and SIGTERM: put off while files are renamed; a command ends with one line and leaves nothing half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from skipstone.files import write_files
from skipstone.interruptions import uninterrupted
from tests.skipstone.builders import TINY_DESIGN, small_network


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run in the background of a shell, which ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    done = []

    def interrupted() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append("block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_files_that_belong_together_are_all_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes between the first and the second of three files."""
    replace = Path.replace

    def interrupted(source: Path, target: Path) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_files({tmp_path / name: name for name in "abc"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("signal.raise_signal(number)", "interrupted: nothing was written"),
        # A library that is interrupted as it is imported raises an error of its own.
        (
            "exec('try:\\n signal.raise_signal(number)\\nfinally: raise ImportError')",
            "interrupted: nothing was written",
        ),
    ],
)
def test_a_command_says_that_it_was_interrupted(
    tmp_path: Path, number: signal.Signals, code: int, program: str, message: str
) -> None:
    small_network(tmp_path / "small.onnx")
    (tmp_path / "small.toml").write_text(TINY_DESIGN)
    script = (
        "import signal, sys; from skipstone.cli.main import main; import skipstone.flow.evaluate as flow\n"
        f"number = {int(number)}\n"
        f"flow.evaluate = lambda *arguments, **options: {program}\n"
        "sys.argv = ['skipstone', 'run', 'small.onnx', '--design', 'small.toml']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert [line for line in done.stderr.splitlines() if "..." not in line] == [f"skipstone: {message}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.onnx", "small.toml"]
