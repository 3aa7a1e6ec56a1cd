"""Results as JSON: reading gives back the written result, and other files are refused with a message that says what they
are."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import ResultError
from skipstone.mapper.results.characterization import CharacterizationResult
from skipstone.mapper.results.document import HEADER, KINDS, Document, plain
from skipstone.mapper.results.network import Accuracy, NetworkResult
from skipstone.mapper.results.sensitivity import SensitivityLayer, SensitivityPoint, SensitivityResult
from tests.mapper.results.test_compression import RESULT as COMPRESSION
from tests.reports.explorations import exploration
from tests.reports.networks import host_layer, layer, network, resnet8

SENSITIVITY = SensitivityResult(
    "n", "edge", "second order", 10, 0.9, 100, (SensitivityLayer("a", "conv", 9, 81),),
    (SensitivityPoint("a", "bits", 4, 1.0, 0.1 + 0.2, 5e-324, 90, 10), SensitivityPoint("a", "sparsity", 0.5, 0.5, 0, 1)),
    ("a note",),
)  # fmt: skip
RESULTS: list[Document] = [
    resnet8(),
    resnet8(rtl=False, fmax_mhz=None),
    network((layer(folds=((2, 2), (1, 1))), host_layer())),
    COMPRESSION,
    replace(COMPRESSION, cost=None, steps=(), accuracy=None),
    exploration(),
    SENSITIVITY,
    CharacterizationResult({"fpga.json": {"runs": [1, 0.5, "é𝄞"]}}),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.KIND)
def test_json_and_back(result: Document, tmp_path: Path) -> None:
    """Equal results, and the same text when they are written again."""
    text = json.dumps(result.to_dict(), allow_nan=False)
    again = type(result).from_dict(json.loads(text))
    assert again == result
    assert json.dumps(again.to_dict()) == text
    (tmp_path / "r.json").write_text(text)
    assert type(result).read(tmp_path / "r.json") == result


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))
def test_every_number_comes_back(real: float, integer: int) -> None:
    result = network((layer(energy_pj=real, cycles_by_cause={"compute": integer, "load": real}),), total_cycles=integer)
    again = NetworkResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again == result
    assert [type(each) for each in again.layers[0].cycles_by_cause.values()] == [int, float]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: result.KIND)
def test_the_file_says_what_it_is(result: Document) -> None:
    values = result.to_dict()
    assert tuple(values)[:3] == HEADER
    assert (values["kind"], values["schema"]) == (result.KIND, result.SCHEMA)
    assert values["kind"] in KINDS
    assert values["skipstone"].startswith("0.")


NETWORK = "a network's result (run --json, verify --json)"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"kind": None, "skipstone": None},
            f"^not {NETWORK}: it has no key 'kind'; if an older Skipstone wrote it, make it",
        ),
        (
            {"kind": None, "skipstone": "network 1"},
            "^written by another version of Skipstone ('network 1'); make it again",
        ),
        ({"kind": "program"}, f"^a program (program.json of export), not {NETWORK}"),
        ({"kind": "poem"}, f"^of an unknown kind, 'poem', not {NETWORK}"),
        ({"kind": [1]}, f"^of an unknown kind, [1], not {NETWORK}"),
        (
            {"schema": 1, "skipstone": "0.0.1"},
            "^written by another version of Skipstone (0.0.1, schema 1; this one is 0.",
        ),
        ({"schema": None}, "schema None; this one is"),
        ({"layers": None}, "^damaged: layers: Field required"),
        ({"layers": [{"name": "conv1"}]}, "^damaged: layers.0.kind: Field required"),
        ({"total_cycles": "many"}, "^damaged: total_cycles: Input should be a valid integer"),
        ({"total_cycles": "1"}, "^damaged: total_cycles: not as it was written"),
        ({"accuracy": {"best": 1}}, "^damaged: accuracy: not as it was written"),
        ({"colour": "blue"}, "^damaged: colour: not as it was written"),
        ({"tensors": None}, "^damaged: tensors: not as it was written"),
    ],
)
def test_values_that_are_no_result_are_refused(changes: dict[str, Any], text: str) -> None:
    values = {**json.loads(json.dumps(resnet8().to_dict())), **changes}
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(ResultError) as caught:
        NetworkResult.from_dict(values)
    assert text.removeprefix("^") in str(caught.value)
    assert str(caught.value).startswith(text[1:]) or not text.startswith("^")


def test_computed_values_must_agree() -> None:
    values = COMPRESSION.to_dict()
    with pytest.raises(ResultError, match=r"^damaged: ratio: not as it was written$"):
        type(COMPRESSION).from_dict({**values, "ratio": 7.0})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for content, text in (
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "holds no result: it is not a JSON object"),
        (b"{}", f": not {NETWORK}"),
    ):
        path.write_bytes(content)
        with pytest.raises(ResultError) as caught:
            NetworkResult.read(path)
        assert str(caught.value).startswith(f"{path}")
        assert text in str(caught.value)
    with pytest.raises(FileNotFoundError):
        NetworkResult.read(tmp_path / "none.json")


def test_plain_values() -> None:
    mixed = {"a": (1, np.int64(2)), 3: np.array([1.5, np.nan]), "b": float("inf"), "c": np.float32(0.5), "d": True}
    assert plain(mixed) == {"a": [1, 2], "3": [1.5, None], "b": None, "c": 0.5, "d": True}
    assert resnet8(accuracy=Accuracy(float("nan"))).to_dict()["accuracy"]["float"] is None


def test_importing_results_makes_no_adapter() -> None:
    """Making one takes longer than reading a file."""
    code = (
        "from skipstone.mapper.results import document, network, exploration;"
        "assert document._adapter_of.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
