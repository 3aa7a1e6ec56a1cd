"""The carried networks are complete, and their cards are correct."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks, find
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize
from tests.models.onnx_runtimes import ends_of, open_at_all_levels


@pytest.mark.parametrize("name", carried_networks())
def test_card(name: str) -> None:
    carried = carried_networks()[name]
    card = json.loads(carried.card.read_text())
    images, labels = load_images(carried.evaluation)
    assert labels is not None
    graph = load(name)
    if graph.quantized:
        assert reference.accuracy(quantize(graph, None), images, labels) == card["accuracy_evaluation_1000"]
        return
    # One image in a thousand may fall to the other side in another float implementation.
    assert float_accuracy(graph, images, labels) == pytest.approx(card["accuracy_evaluation_1000"], abs=0.001)


@pytest.mark.parametrize("name", carried_networks())
def test_it_opens_everywhere(name: str) -> None:
    """ONNX's checker and ONNX Runtime take it at every level, and it has the ends of the network it was made from."""
    model = onnx.load(carried_networks()[name].network)
    sessions = open_at_all_levels(carried_networks()[name].network)
    assert len(sessions) == 4
    assert ends_of(model) == (["image"], ["scores"])


@pytest.mark.parametrize("name", carried_networks())
def test_calibration_images_are_not_evaluation_images(name: str) -> None:
    carried = carried_networks()[name]
    calibration, evaluation = load_images(carried.calibration)[0], load_images(carried.evaluation)[0]
    assert not {image.tobytes() for image in calibration} & {image.tobytes() for image in evaluation}


def test_find_prefers_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("resnet8_fashion").parent.name == "carried"
    (tmp_path / "resnet8_fashion").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert find("resnet8_fashion") == Path("resnet8_fashion")


def test_unknown() -> None:
    with pytest.raises(SkipstoneError, match=r"^no file 'resnet9', and no carried network of that name \(carried: "):
        find("resnet9")
