"""Checkpoints give back what was saved, or say why they cannot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from skipstone.compress.files import MAGIC, Checkpoint, step_key
from skipstone.errors import SkipstoneError
from skipstone.models.graph.files import graph_fingerprint, pack_graph
from skipstone.models.graph.graph import Graph
from tests.models.builders import conv_layer, graph_of

KEY = "0" * 64


def network(value: float = 1.0) -> Graph:
    graph = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 2, 2))
    return graph.with_weights({"c": np.full((2, 3, 1, 1), value, np.float32)})


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
    restored = store.load(KEY)
    assert restored.graph is not None
    assert graph_fingerprint(restored.graph) == graph_fingerprint(returned) == graph_fingerprint(network())
    assert (restored.record, restored.note) == (record, "")
    assert store.load(other).graph is not None
    assert store.load(other).record == {}
    assert sorted(os.listdir(store.folder)) == sorted([f"{KEY}.step", f"{other}.step"])


def test_damaged_checkpoints_are_ignored_with_a_note(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path)
    store.save(KEY, network(), {"a": 1})
    path = store.path(KEY)
    contents = path.read_bytes()
    note = f"checkpoint {path}: it is damaged; the step is done again"
    for place in [*range(0, len(contents), 37), len(contents) - 1]:
        path.write_bytes(contents[:place] + bytes([contents[place] ^ 1]) + contents[place + 1 :])
        assert (store.load(KEY).graph, store.load(KEY).note) == (None, note)
        path.write_bytes(contents[:place])
        assert (store.load(KEY).graph, store.load(KEY).note) == (None, note)
    store.save(KEY, network(), {"a": 2})
    assert store.load(KEY).record == {"a": 2}


def test_checkpoints_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Checkpoint(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("skipstone.models.graph.files.VERSION", 3)
        store.save(KEY, network())
    note = store.load(KEY).note
    assert note == (
        f"checkpoint {store.path(KEY)}: can't read the stored network: its format is version 3, "
        "this Skipstone reads version 2; the step is done again"
    )


def test_a_checkpoint_that_can_not_be_read(tmp_path: Path) -> None:
    store = Checkpoint(tmp_path)
    store.path(KEY).mkdir()
    assert store.load(KEY).note == f"checkpoint {store.path(KEY)}: Is a directory; the step is done again"
    with pytest.raises(OSError, match="Is a directory"):
        store.save(KEY, network())


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_keys_that_lead_out_of_the_folder_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(SkipstoneError, match=r"is not a step's key \(64 hexadecimal digits\)$"):
        Checkpoint(tmp_path).load(key)


def test_records_are_plain_json(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match=r"^what is recorded with a step must be plain JSON: "):
        Checkpoint(tmp_path).save(KEY, network(), {"a": object()})  # type: ignore[dict-item]
    assert os.listdir(tmp_path) == []
    assert MAGIC not in pack_graph(network())
