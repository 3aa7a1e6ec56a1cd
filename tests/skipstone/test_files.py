"""A file holds a complete result or its old content, whatever fails; devices, pipes and descriptors are written to directly."""

from __future__ import annotations

import errno
import gzip
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from skipstone.files import atomic_file, json_text, table_text, write_file, write_files, write_json

FULL = OSError(errno.ENOSPC, "No space left on device")


def test_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, b"\0\r\n")
    assert path.read_bytes() == b"\0\r\n"
    write_file(str(path), "é\r\n")
    assert path.read_bytes() == "é\r\n".encode()
    write_file(path, memoryview(b"12"))
    assert path.read_bytes() == b"12"
    assert os.listdir(tmp_path) == ["a"]


def test_json(tmp_path: Path) -> None:
    values = {"b": [1, 0.1], "a": "é𝄞"}
    write_json(tmp_path / "a.json", values)
    text = (tmp_path / "a.json").read_text()
    assert text == json_text(values) == json.dumps(values, indent=1) + "\n"
    assert json.loads(text) == values
    write_json(tmp_path / "a.json", values, indent=None)
    assert len((tmp_path / "a.json").read_text().splitlines()) == 1


def test_a_table_has_a_line_for_each_entry() -> None:
    values = {"a": 1, "rows": [[1, 2], {"b": [3]}], "none": [], "c": {"d": {"e": 4}}}
    assert (
        table_text(values, 1)
        == """{
 "a": 1,
 "rows": [
  [1, 2],
  {"b": [3]}
 ],
 "none": [],
 "c": {
  "d": {"e": 4}
 }
}
"""
    )


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [FULL, KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise failure

    if name == "write":

        def write_half(self: Path, content: bytes) -> int:
            with self.open("wb") as file:
                file.write(content[:2])
            raise failure

        monkeypatch.setattr(Path, "write_bytes", write_half)
    elif name == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(failure)) as error:
        write_file(path, "after")
    monkeypatch.undo()
    if isinstance(error.value, OSError):
        assert str(error.value) == f"[Errno 28] No space left on device: '{path}'"
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_the_file_then_its_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is flushed before the rename, the folder with its new name after it."""
    calls: list[str] = []
    flush, replace = os.fsync, Path.replace

    def record_flush(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        flush(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        calls.append("replace")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_flush)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_file(tmp_path / "a", "text")
    assert calls == ["file", "replace", "folder"]
    calls.clear()
    write_files({tmp_path / "a": "1", tmp_path / "b": "2"})
    assert calls == ["file", "file", "replace", "replace", "folder"]
    calls.clear()
    with atomic_file(tmp_path / "a") as partial:
        partial.write_text("text")
    assert calls == ["file", "replace", "folder"]


def test_files_of_one_result_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_files({first: "1", second: b"2"})
    assert (first.read_text(), second.read_text()) == ("1", "2")
    calls: list[int] = []

    def fail_at_the_second(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise FULL

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(OSError, match=r"No space left on device: '.*/second'"):
        write_files({first: "new", second: "new"})
    monkeypatch.undo()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_files({first: "new", tmp_path / "folder": "new"})
    assert (first.read_text(), second.read_text()) == ("1", "2")
    assert sorted(os.listdir(tmp_path)) == ["first", "folder", "second"]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """/dev/full is a device: it is written to, never replaced. If a device fails, the other files are not written."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_file("/dev/full", "text")
    with pytest.raises(OSError, match="No space left"):
        write_files({tmp_path / "a": "text", "/dev/full": "text"})
    with pytest.raises(OSError, match="No space left"), atomic_file("/dev/full") as partial:
        partial.write_text("text")
    assert Path("/dev/full").is_char_device()
    write_file("/dev/null", "text")
    assert Path("/dev/null").is_char_device()
    assert os.listdir(tmp_path) == []


def test_unwritable_paths_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "no" / "a")):
        write_file(tmp_path / "no" / "a", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        write_file(tmp_path / "folder", "text")
    with pytest.raises(IsADirectoryError, match="folder"), atomic_file(tmp_path / "folder"):
        pytest.fail("the block must not begin")
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(NotADirectoryError, match=str(path / "b")):
        write_file(path / "b", "text")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        write_file(tmp_path / "loop", "text")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to anything
    with pytest.raises(PermissionError, match=str(path)):
        write_file(path, "after")
    assert path.read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["a", "folder", "loop"]


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    (tmp_path / "target").chmod(0o640)
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "after"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    with atomic_file(tmp_path / "link") as partial:
        partial.write_text("again")
    assert (tmp_path / "target").read_text() == "again"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    (tmp_path / "new").symlink_to("missing")
    write_file(tmp_path / "new", "text")
    assert (tmp_path / "missing").read_text() == "text"
    long = tmp_path / ("é" * 120)
    write_file(long, "text")
    assert long.read_text() == "text"
    with atomic_file(long) as partial:
        partial.write_text("more")
    assert long.read_text() == "more"


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_file(tmp_path / "a", "text")
        with atomic_file(tmp_path / "b") as partial:
            partial.write_text("text")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o640]


def test_a_library_writes_by_path(tmp_path: Path) -> None:
    """numpy appends .npz to any other suffix, so the partial file has the final name; patterns in the folder do not match it."""
    with atomic_file(tmp_path / "a.npz") as partial:
        assert partial.name == "a.npz"
        assert not partial.exists()
        np.savez(partial, x=np.arange(3))
        assert list(tmp_path.glob("*.npz")) == []
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["x"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("failure", [ValueError("no such layer"), KeyboardInterrupt(), FULL])
def test_a_library_that_fails_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def write_half() -> None:
        with atomic_file(path) as partial:
            partial.write_text("half")
            raise failure

    with pytest.raises(type(failure)) as error:
        write_half()
    if isinstance(error.value, OSError):
        assert error.value.filename == str(path)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, atomic_file(tmp_path / "a"):
        (tmp_path / "other").read_text()
    assert error.value.filename == str(tmp_path / "other") or error.value.filename == tmp_path / "other"
    with pytest.raises(FileNotFoundError) as error, atomic_file(tmp_path / "a"):
        pass  # nothing was written
    assert error.value.filename == str(tmp_path / "a")


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    texts = [b"a" * 100_000, b"b" * 200_000]
    write_file(path, texts[0])

    def write() -> None:
        for index in range(30):
            write_file(path, texts[index % 2])

    writers = [Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in texts
    assert os.listdir(tmp_path) == ["a"]


PRINTS_AND_WRITES = """
import sys
from skipstone.files import atomic_file, write_file
print("before")
write_file(sys.argv[1], "text\\n")
with atomic_file(sys.argv[1]) as partial:
    partial.write_text("more\\n")
print("after")
"""


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into", ["pipe", "file"])
def test_standard_output(tmp_path: Path, place: str, into: str) -> None:
    """A pipe receives the writes in order; a file to which standard output is redirected is not replaced."""
    if not Path(place).exists():
        pytest.skip(f"no {place}")
    command = [sys.executable, "-c", PRINTS_AND_WRITES, place]
    if into == "pipe":
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    else:
        with (tmp_path / "log").open("w") as log:
            subprocess.run(command, check=True, stdout=log)
        text = (tmp_path / "log").read_text()
    assert text == "before\ntext\nmore\nafter\n"


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gz"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    with atomic_file(path) as partial:
        assert partial.suffix == ".gz"
        partial.write_bytes(gzip.compress(b"text"))
    reader.join()
    assert gzip.decompress(received[0]) == b"text"
    assert path.is_fifo()
