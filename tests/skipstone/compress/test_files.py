"""Files are there whole or as they were; checkpoints give back what was saved, or say why they can't."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from skipstone.compress.files import MAGIC, Checkpoint, step_key, write_all_atomically, write_atomically
from skipstone.errors import SkipstoneError
from skipstone.models.graph.files import graph_fingerprint, pack_graph
from skipstone.models.graph.graph import Graph
from tests.models.builders import conv_layer, graph_of

KEY = "0" * 64


def network(value: float = 1.0) -> Graph:
    graph = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 2, 2))
    return graph.with_weights({"c": np.full((2, 3, 1, 1), value, np.float32)})


def test_write(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"\0\r\n")
    assert path.read_bytes() == b"\0\r\n"
    write_atomically(str(path), "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    path = tmp_path / "a"
    path.write_text("before")

    def fail(*_: object) -> None:
        raise failure

    if name == "write":
        opened = Path.open

        def open_full(self: Path, *arguments: object) -> object:
            file = opened(self, *arguments)  # type: ignore[call-overload]
            file.write(b"half")

            class Full:
                def __enter__(self) -> Full:
                    return self

                def __exit__(self, *_: object) -> None:
                    file.close()

                write = fail

            return Full()

        monkeypatch.setattr(Path, "open", open_full)
    elif name == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(type(failure)) as error:
        write_atomically(path, "after")
    monkeypatch.undo()
    if isinstance(error.value, OSError):
        assert str(error.value) == f"[Errno 28] No space left on device: '{path}'"
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]


def test_files_of_one_result_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_all_atomically({one: "1", two: b"2"})
    assert (one.read_text(), two.read_text()) == ("1", "2")
    calls: list[int] = []

    def fail_at_the_second(_: int) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail_at_the_second)
    with pytest.raises(OSError, match=r"No space left on device: '.*/two'"):
        write_all_atomically({one: "new", two: "new"})
    monkeypatch.undo()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_all_atomically({one: "new", tmp_path / "folder": "new"})
    assert (one.read_text(), two.read_text()) == ("1", "2")
    assert sorted(os.listdir(tmp_path)) == ["folder", "one", "two"]


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """/dev/full is a device: it is written to, never replaced."""
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_atomically("/dev/full", "text")
    assert Path("/dev/full").is_char_device()
    write_atomically("/dev/null", "text")
    assert Path("/dev/null").is_char_device()


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "no" / "a")):
        write_atomically(tmp_path / "no" / "a", "text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        write_atomically(tmp_path / "folder", "text")
    path = tmp_path / "a"
    path.write_text("before")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to anything
    with pytest.raises(PermissionError, match=str(path)):
        write_atomically(path, "after")
    assert path.read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["a", "folder"]


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    (tmp_path / "target").chmod(0o640)
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", "after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "after"
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640
    long = tmp_path / ("é" * 120)
    write_atomically(long, "text")
    assert long.read_text() == "text"


def test_a_reader_never_sees_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a"
    texts = [b"a" * 100_000, b"b" * 200_000]
    write_atomically(path, texts[0])

    def write() -> None:
        for index in range(30):
            write_atomically(path, texts[index % 2])

    writers = [Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in texts
    assert os.listdir(tmp_path) == ["a"]


def test_keys() -> None:
    base = {"previous": "p", "step": {"prune": "2:4", "amount": 0.5}, "data": "d", "seed": 1, "code": "1"}
    changes = [
        {"previous": "q"},
        {"step": {"prune": "2:4", "amount": 0.25}},
        {"step": {"prune": "2:4"}},
        {"data": "e"},
        {"seed": 2},
        {"code": "2"},
    ]
    keys = [step_key(**{**base, **change}) for change in ({}, *changes)]  # type: ignore[arg-type]
    assert len(set(keys)) == len(keys)
    assert keys[0] == step_key(**{**base, "step": {"amount": 0.5, "prune": "2:4"}})  # type: ignore[arg-type]
    with pytest.raises(SkipstoneError, match=r"^a recipe's step must be plain JSON: "):
        step_key("p", {"layers": {1, 2}}, data="d", seed=1, code="1")


def test_checkpoint(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path / "new" / "folder")
    assert (store.load(KEY).graph, store.load(KEY).note) == (None, "")
    record = {"notes": ["layer 'c': é"], "accuracy": 0.1, "shares": [1, None, True]}
    returned = store.save(KEY, network(), record)
    other = step_key(KEY, {}, data="", seed=0, code="")
    store.save(other, network(2.0))
    found = store.load(KEY)
    assert found.graph is not None
    assert graph_fingerprint(found.graph) == graph_fingerprint(returned) == graph_fingerprint(network())
    assert (found.record, found.note) == (record, "")
    assert store.load(other).graph is not None
    assert store.load(other).record == {}
    assert sorted(os.listdir(store.folder)) == sorted([f"{KEY}.step", f"{other}.step"])


def test_damaged_checkpoints_are_left_aside_with_a_note(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path)
    store.save(KEY, network(), {"a": 1})
    path = store.path(KEY)
    whole = path.read_bytes()
    note = f"checkpoint {path}: it is damaged; the step is done again"
    for place in [*range(0, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert (store.load(KEY).graph, store.load(KEY).note) == (None, note)
        path.write_bytes(whole[:place])
        assert (store.load(KEY).graph, store.load(KEY).note) == (None, note)
    store.save(KEY, network(), {"a": 2})
    assert store.load(KEY).record == {"a": 2}


def test_checkpoints_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoint(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("skipstone.models.graph.files.VERSION", 2)
        store.save(KEY, network())
    note = store.load(KEY).note
    assert note == (
        f"checkpoint {store.path(KEY)}: can't read the stored network: its format is version 2, "
        "this Skipstone reads version 1; the step is done again"
    )


def test_a_checkpoint_that_can_not_be_read(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path)
    store.path(KEY).mkdir()
    assert store.load(KEY).note == f"checkpoint {store.path(KEY)}: Is a directory; the step is done again"
    with pytest.raises(OSError, match="Is a directory"):
        store.save(KEY, network())


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_keys_can_not_lead_elsewhere(tmp_path: Path, key: str) -> None:
    with pytest.raises(SkipstoneError, match=r"is not a step's key \(64 hexadecimal digits\)$"):
        Checkpoint(tmp_path).load(key)


def test_records_are_plain_json(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match=r"^what is recorded with a step must be plain JSON: "):
        Checkpoint(tmp_path).save(KEY, network(), {"a": object()})  # type: ignore[dict-item]
    assert os.listdir(tmp_path) == []
    assert MAGIC not in pack_graph(network())
