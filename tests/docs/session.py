"""Runs what a page tells its reader to do, in a folder, and holds the output against what the page shows.

``console`` blocks are run command by command; ``python`` blocks run one after the other as one program; a block with a
``title`` is written to a file of that name; a ``text`` block behind a ``python`` block is what that one prints. A line
``...`` in an output stands for any lines. Times, speeds, energies and accuracies are not compared: they may depend on
the machine; cycles, counts and everything else must be equal.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.compress.recipe import step_kinds
from tests.docs.blocks import ROOT, Command, blocks, commands

COLUMNS = "100"
"""Width of the terminal that pages show."""

_MASKS = (
    (re.compile(r"-?\d[\d,.]*(e[+-]\d+)?(?= ?(cycles/s|points/s|ms|us|s|nJ|mW|MB|points lost|MHz)\b)"), "#"),
    (re.compile(r"-?\d+(\.\d+)?%"), "#%"),
    (re.compile(r"(synthesis allows) [\d.]+"), r"\1 #"),
    (re.compile(r"-?\d[\d.]*(?= +#%)"), "#"),
    (re.compile(rf"^ ?(({'|'.join(step_kinds())}) .*) \d+ *$"), r"\1 #"),
)


class PageError(AssertionError):
    """A page shows something else than its commands print."""


def run_page(page: Path, folder: Path) -> int:
    """Runs the commands and programs of ``page`` in ``folder``.

    Returns:
        How many commands and programs ran.

    Raises:
        PageError: a command failed, or printed something else than the page shows.
    """
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed: str | None = None
    count = 0
    with _reader(folder):
        for block in blocks(page):
            where = f"{page.relative_to(ROOT)}, line {block.line}"
            if block.title is not None:
                (folder / block.title).write_text(block.text)
            elif block.language == "console":
                status = 0
                for command in commands(block):
                    status = _run(command, status, where)
                    count += 1
                if status:
                    raise PageError(f"{where}: the last command ends with exit code {status}")
            elif block.language == "python":
                printed = _execute(block.text, namespace, where)
                count += 1
                continue
            elif block.language == "text" and printed is not None:
                _compare(block.text, printed, where)
            printed = None
    return count


@contextlib.contextmanager
def _reader(folder: Path) -> Iterator[None]:
    """Where the reader works: in ``folder``, with ``skipstone`` and ``python`` of this environment, in a plain terminal."""
    environment = dict(os.environ)
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    os.environ.update(COLUMNS=COLUMNS, NO_COLOR="1", PATH=path, PYTHONPATH=str(ROOT))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _run(command: Command, last_status: int, where: str) -> int:
    """The exit code of a command whose output is as shown; ``$ echo $?`` shows that of the command before."""
    if command.command == "echo $?":
        if command.output.split() != [str(last_status)]:
            raise PageError(f"{where}: the exit code is {last_status}, not {command.output.strip()}")
        return 0
    if last_status:
        raise PageError(f"{where}: the command before '{command.command}' ends with exit code {last_status}")
    words = shlex.split(command.command)
    if words[0] == "skipstone":
        result = CliRunner().invoke(app, words[1:])
        status, output = result.exit_code, result.stdout
        if status:
            output += "".join(line for line in result.stderr.splitlines(keepends=True) if not line.endswith(" ...\n"))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise PageError(f"{where}: '{command.command}' raises {result.exception!r}") from result.exception
    else:
        done = subprocess.run(command.command, shell=True, capture_output=True, text=True)
        status, output = done.returncode, done.stdout
    if status not in (0, 2):
        raise PageError(f"{where}: '{command.command}' ends with exit code {status}:\n{output}")
    _compare(command.output, output, f"{where}: '{command.command}'")
    return status


def _execute(text: str, namespace: dict[str, object], where: str) -> str:
    """What a program prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(text, where, "exec"), namespace)
    return output.getvalue()


def _compare(shown: str, output: str, where: str) -> None:
    """Raises PageError unless ``output`` matches ``shown``; an empty ``shown`` matches everything."""
    if not shown.strip():
        return
    lines = _normalized(output)
    parts: list[list[str]] = [[]]
    for line in _normalized(shown):
        if line.strip() == "...":
            parts.append([])
        else:
            parts[-1].append(line)
    begin = 0
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        places = [len(lines) - len(part)] if last else [begin] if index == 0 else range(begin, len(lines) + 1)
        place = next((place for place in places if place >= begin and lines[place : place + len(part)] == part), None)
        if place is None:
            text, instead = "\n".join(part), "\n".join(lines[begin:])
            raise PageError(f"{where}\n--- the page shows\n{text}\n--- it prints (after what was equal)\n{instead}")
        begin = place + len(part)


def _normalized(text: str) -> list[str]:
    """The lines without what depends on the machine, on the width of columns, and without empty lines."""
    lines = []
    for line in text.splitlines():
        for pattern, replacement in _MASKS:
            line = pattern.sub(replacement, line)
        line = " ".join(re.sub(r"[─━]+", "─", line).split())
        if line:
            lines.append(line)
    return lines
