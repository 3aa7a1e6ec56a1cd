"""What all commands share: a user's mistake as one message, folders that can be written, progress, JSON.

Nothing heavy is imported here before it is needed, so that ``--help`` is quick.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

COMMAND_NAMES = {
    "constraints": "constraint",
    "layers": "layer",
    "node_nm": "node",
    "objectives": "objective",
    "storage": "study",
    "which": "write",
}
"""Parameters of the library that commands take by another name."""


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: what is open is closed, what runs is ended, partial files are removed."""


_received: list[type[KeyboardInterrupt]] = []
"""The interruption of this process, once there is one."""


def handle_interruptions() -> None:
    """Has Ctrl-C and SIGTERM raise KeyboardInterrupt and :class:`TerminatedError` in this process alone."""

    def interrupt(number: int, frame: object) -> None:
        kind = TerminatedError if number == signal.SIGTERM else KeyboardInterrupt
        _received.append(kind)
        raise kind

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


@contextmanager
def interruption(remains: str) -> Iterator[None]:
    """Adds what remains to the message of an interruption that has none."""
    try:
        yield
    except BaseException as error:
        if (kind := _interruption(error)) is None:
            raise
        text = str(error) if isinstance(error, KeyboardInterrupt) else ""
        raise kind(text or f"interrupted: {remains}") from None


def _interruption(error: BaseException) -> type[KeyboardInterrupt] | None:
    """The interruption that an error is of. A library that is interrupted as it is imported raises errors of its own."""
    if isinstance(error, KeyboardInterrupt):
        return type(error)
    return _received[-1] if _received and not isinstance(error, SystemExit) else None


@contextmanager
def errors(values: Mapping[str, Any]) -> Iterator[None]:
    """Turns a user's mistake into one message and exit code 2; errors of the library get the command's option added.

    Args:
        values: The command's parameters by name.
    """
    from skipstone.errors import SkipstoneError

    try:
        yield
    except SkipstoneError as error:
        message = str(error)
        if memory_too_small(error):
            if values.get("fit_memories") is False:
                message += "; --fit-memories enlarges the memories to what the network needs"
        elif option := option_of(error.parameter, values):
            message += f" (option {option})"
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        message = f"cannot read or write{where}: {error.strerror or error}"
    except MemoryError:
        message = "not enough memory for this network or input shape"
    except BaseException as error:
        if (kind := _interruption(error)) is None:
            raise
        text = str(error) if isinstance(error, KeyboardInterrupt) else ""
        typer.echo(f"skipstone: {text or 'interrupted: no file is left half written'}", err=True)
        raise typer.Exit(143 if kind is TerminatedError else 130) from None
    else:
        return
    typer.echo(f"skipstone: {printable(message)}", err=True)
    raise typer.Exit(2) from None


def printable(text: str) -> str:
    """``text`` with what is no printable character or newline escaped: names in files may hold a terminal's commands."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def reporting_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Ends a command as :func:`errors` says."""

    @wraps(command)
    def run(**values: Any) -> None:
        with errors(values):
            command(**values)

    return run


def option_of(parameter: str | None, values: Mapping[str, Any]) -> str | None:
    """The option for a parameter of the library; None where the command of these ``values`` has none."""
    name = COMMAND_NAMES.get(parameter, parameter) if parameter is not None else None
    return f"--{name.replace('_', '-')}" if name in values and name is not None else None


def memory_too_small(error: Exception) -> bool:
    """Whether a larger memory of the design would mend ``error``."""
    from skipstone.errors import MappingError
    from skipstone.mapper.lowering.memory_fit import MEMORIES

    return isinstance(error, MappingError) and error.parameter in MEMORIES


@contextmanager
def writable(folder: Path, *files: Path | str | None) -> Iterator[None]:
    """Makes ``folder`` and tries it and the folders of ``files`` out before any long work; what a failed command made
    and left empty is removed again."""
    made = []
    for missing in [*reversed(folder.parents), folder]:
        if not missing.exists():
            missing.mkdir()
            made.append(missing)
    try:
        for file in files:
            if file is not None and Path(file).is_dir():
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        for place in {folder, *(Path(file).parent for file in files if file is not None and str(file) != "-")}:
            probe = place / ".skipstone-probe"
            try:
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(place)) from None
        yield
    except BaseException:
        for empty in reversed(made):
            with suppress(OSError):
                empty.rmdir()
        raise


def console_for(json_file: str | None) -> Console:
    """Where people read: standard output, or standard error while JSON goes to standard output."""
    from rich.console import Console

    return Console(stderr=json_file == "-", width=None if sys.stdout.isatty() else 120)


@contextmanager
def progress_for(json_file: str | None) -> Iterator[Callable[[str], None]]:
    """A spinner on standard error that says what is being done."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: console.print(f"{text} ...", style="dim", highlight=False, markup=False, soft_wrap=True)
        return
    with console.status("starting") as status:
        yield lambda text: status.update(text)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_json(values: dict[str, Any], json_file: str) -> None:
    """``values`` to a file, whole or not at all, or to standard output (``-``)."""
    from skipstone.files import json_text, write_file

    text = json_text(values)
    if json_file == "-":
        sys.stdout.write(text)
    else:
        write_file(json_file, text)
