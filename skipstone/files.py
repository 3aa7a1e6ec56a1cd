"""Files that hold all of a result or what they held before, whenever the program ends: every writer of Skipstone uses these.

A file is written complete beside its place, flushed to the disk and then renamed. A link is followed, an existing file keeps its
permissions, a new one gets those of the umask. What is no file is written to directly: a device, a pipe, or an open descriptor
such as ``/dev/stdout``. OSErrors (no such folder, no permission, disk full) name the path that was asked for; the caller handles
them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from skipstone.interruptions import uninterrupted

LONGEST_NAME = 200
"""Bytes of a name that leave room, within the 255 of a file system, for what a partial file's name adds."""

FLUSHES = 16
"""Files that are flushed to the disk at the same time."""


def write_file(path: str | Path, content: str | bytes | memoryview) -> None:
    """Writes one file whole or not at all.

    Args:
        path: The file, device, pipe or open descriptor.
        content: Text, written as UTF-8 with its newlines as they are, or bytes.

    Raises:
        OSError: It could not be written; the file holds what it held before.
    """
    write_files({path: content})


def write_files(contents: Mapping[str | Path, str | bytes | memoryview]) -> None:
    """Writes several files that belong together: none is renamed to its place before all lie complete beside theirs.

    Args:
        contents: Path to text or bytes. Files are renamed in this order, so put last what says that the others are there.

    Raises:
        OSError: One of them could not be written; all files hold what they held before.
    """
    with contextlib.ExitStack() as partials:
        renames: list[tuple[str | Path, Path, Path]] = []
        streams: list[tuple[str | Path, bytes | memoryview]] = []
        for path, content in contents.items():
            encoded = content.encode() if isinstance(content, str) else content
            with _naming(path):
                if _is_stream(path):
                    streams.append((path, encoded))
                    continue
                target = _target(path)
                partial = _beside(target)
                partials.callback(_remove, partial)
                partial.write_bytes(encoded)
                renames.append((path, partial, target))
        _finish_all(renames)
        for path, encoded in streams:
            with _naming(path):
                _write_stream(path, encoded)
        with uninterrupted():
            for path, partial, target in renames:
                with _naming(path):
                    partial.replace(target)
        for folder in {target.parent for _, _, target in renames}:
            _synchronize_folder(folder)


def write_json(path: str | Path, values: Any, indent: int | None = 1) -> None:
    """Writes ``values`` as a JSON file, whole or not at all; see :func:`write_file` and :func:`json_text`."""
    write_file(path, json_text(values, indent))


def json_text(values: Any, indent: int | None = 1) -> str:
    """The text of a JSON file: ``values`` in their own order and a newline at the end."""
    return json.dumps(values, indent=indent) + "\n"


def table_text(values: Any, depth: int) -> str:
    """The text of a JSON file of a table: one line for each entry, so that a change can be read.

    Args:
        values: An object or a list.
        depth: How deep objects and lists are spread over lines; those within them take one line.
    """
    return _spread(values, depth + 1, "") + "\n"


def _spread(value: Any, depth: int, indent: str) -> str:
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, dict):
        entries = [f"{json.dumps(key)}: {_spread(each, depth - 1, inner)}" for key, each in value.items()]
    else:
        entries = [_spread(each, depth - 1, inner) for each in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(entries) + f"\n{indent}{last}"


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A path to write to, for libraries that write files themselves; when the block ends well the file gets its place.

        with atomic_file("network.onnx") as partial:
            onnx.save(model, partial)

    Args:
        path: The file, device, pipe or open descriptor.

    Yields:
        A path of the same name, where nothing is yet, in a new folder beside the file.

    Raises:
        OSError: It could not be written; the file holds what it held before.
    """
    with contextlib.ExitStack() as cleanup:
        with _naming(path):
            stream = _is_stream(path)
            if stream:
                folder = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="skipstone-"))
                partial = Path(folder) / Path(path).name
            else:
                target = _target(path)
                place = _beside(target)
                place.mkdir(mode=0o700)
                cleanup.callback(shutil.rmtree, place, ignore_errors=True)
                partial = place / target.name
        with _naming(path, partial):
            yield partial
        with _naming(path):
            if stream:
                _write_stream(path, partial.read_bytes())
            else:
                _finish(partial, target)
                partial.replace(target)
                _synchronize_folder(target.parent)


# Files ---------------------------------------------------------------------------------------------------------------


def _target(path: str | Path) -> Path:
    """The file behind links. OSError where it can't be written."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target


def _beside(target: Path) -> Path:
    """A new name beside ``target`` that no pattern of its suffix matches."""
    name = target.name if len(os.fsencode(target.name)) <= LONGEST_NAME else ""
    return target.with_name(f".{name}.{secrets.token_hex(8)}.partial")


def _remove(partial: Path) -> None:
    """Removes a partial file that got no place. A second error is kept back: the first is the one to tell."""
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)


def _finish_all(renames: Sequence[tuple[str | Path, Path, Path]]) -> None:
    """Makes written files, (path, partial, target) each, ready to be renamed, all at once: a file system that is asked to flush
    many files at a time does it in one go."""

    def finish(path: str | Path, partial: Path, target: Path) -> None:
        with _naming(path):
            _finish(partial, target)

    if len(renames) < 2:
        for files in renames:
            finish(*files)
        return
    with ThreadPoolExecutor(min(len(renames), FLUSHES)) as threads:
        for flush in [threads.submit(finish, *files) for files in renames]:
            flush.result()


def _finish(partial: Path, target: Path) -> None:
    """Makes a written file ready to be renamed: on the disk, and with the permissions of the one it replaces."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    if target.exists():
        shutil.copymode(target, partial)


def _synchronize_folder(folder: Path) -> None:
    """Puts the renames in ``folder`` on the disk, where its file system can."""
    with contextlib.suppress(OSError):  # the files are complete and in place; some file systems can't flush folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _naming(path: str | Path, partial: Path | None = None) -> Iterator[None]:
    """OSErrors name the file that was asked for, not the one beside it. With ``partial``, errors of other files pass."""
    try:
        yield
    except OSError as error:
        if partial is not None and error.filename not in (None, partial, str(partial)):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


# Devices, pipes and descriptors --------------------------------------------------------------------------------------


def _is_stream(path: str | Path) -> bool:
    """Whether ``path`` is something that is written to and never replaced."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if _descriptor(path) is not None:
        return True
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _descriptor(path: str | Path) -> int | None:
    """The open descriptor that an existing ``path`` stands for, as ``/dev/stdout`` and ``/dev/fd/3`` do."""
    descriptors = os.path.realpath("/proc/self/fd")
    path = Path(os.path.abspath(path))
    while path.is_symlink():
        if os.path.realpath(path.parent) == descriptors:
            return int(path.name)
        path = path.parent / path.readlink()
    return None


def _write_stream(path: str | Path, content: bytes | memoryview) -> None:
    descriptor = _descriptor(path)
    if descriptor is None:
        Path(path).write_bytes(content)
        return
    for stream in (sys.stdout, sys.stderr):  # what was printed before comes before
        stream.flush()
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
