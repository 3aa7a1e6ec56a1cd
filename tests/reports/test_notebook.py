"""Results in a notebook: their frames against their fields, and their HTML."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from typing import Any

import pytest

from skipstone.flow.verify import Difference, Verification
from skipstone.mapper.results.compression import CompressionResult, LayerSize, StepResult
from skipstone.mapper.results.network import CAUSES
from skipstone.mapper.results.sensitivity import SensitivityLayer, SensitivityPoint, SensitivityResult
from tests.reports.explorations import exploration, impossible, without_accuracy
from tests.reports.networks import host_layer, layer, network, resnet8

RESULT = resnet8()
COMPRESSION = CompressionResult(
    network="lenet5",
    recipe="<recipe>",
    seed=0,
    data="fashion",
    test_images=100,
    float_accuracy=0.91,
    accuracy=0.9,
    steps=(StepResult("prune", {"amount": 0.5}, 0.91, 0.9, 0.5, 1000, 20_000, 1.5),),
    layers=(LayerSize("conv1", "conv", 100, 50, "linear", 8, 63),),
    float_bytes=400,
    weight_code="linear",
    weight_bits=8,
    activation_bits=8,
    calibration="none",
)
SENSITIVITY = SensitivityResult(
    "lenet5",
    "edge",
    "magnitude",
    100,
    0.91,
    5000,
    (SensitivityLayer("conv1", "conv", 100, 1000),),
    (
        SensitivityPoint("conv1", "sparsity", 0.5, 0.5, 0.9, 0.01, 4000, 1000),
        SensitivityPoint("conv1", "bits", 4, 1.0, 0.88, 0.03),
    ),
    (),
)
VERIFICATION = Verification(RESULT, {"conv1": Difference("conv1", 0, (1, 2, 3), 4, 5, 6)}, 1e5, None)
EVERYTHING: list[Any] = [
    RESULT,
    RESULT.layers[0],
    network((host_layer(),)),
    COMPRESSION,
    SENSITIVITY,
    VERIFICATION,
    exploration(),
    impossible(),
    without_accuracy(0),
]


class Balanced(HTMLParser):
    """Fails where a closing tag does not match the open one."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_layers_are_rows() -> None:
    frame = RESULT.to_frame()
    assert frame["name"].tolist() == [each.name for each in RESULT.layers]
    on_array = frame[~frame["on_host"]]
    assert on_array["model_cycles"].sum() == RESULT.total_cycles
    assert on_array["energy_pj"].sum() == pytest.approx(RESULT.total_energy_pj)
    causes = on_array[[f"{cause}_cycles" for cause in CAUSES]].sum(axis=1)
    assert causes.tolist() == pytest.approx(on_array["model_cycles"].tolist())
    parts = on_array[[name for name in frame if name.endswith("_energy_pj")]].sum(axis=1)
    assert parts.tolist() == pytest.approx(on_array["energy_pj"].tolist())
    assert frame.loc[0, ["tile_height", "tile_width"]].tolist() == [4, 8]
    assert all(name.replace("_", "").isalnum() for name in frame)
    assert RESULT.layers[0].to_frame()["model_cycles"].tolist() == [RESULT.layers[0].model_cycles]


def test_points_are_rows() -> None:
    result = exploration()
    frame = result.to_frame()
    assert len(frame) == len(result.points)
    assert frame["on_front"].sum() == sum(point.on_front for point in result.points)
    cheap = frame[frame["feasible"] & (frame["rows"] == 8)]
    assert cheap["number"].tolist() == [p.number for p in result.points if p.feasible and p.parameters["rows"] == 8]
    assert frame["energy_pj"].tolist() == [point.metrics["energy_pj"] for point in result.points]


def test_layers_and_steps_of_a_compression() -> None:
    assert COMPRESSION.to_frame()["sparsity"].tolist() == [0.5]
    assert COMPRESSION.to_frame("steps")["settings"].tolist() == [{"amount": 0.5}]
    with pytest.raises(ValueError, match="frames of 'layers' and of 'steps', not of 'nets'"):
        COMPRESSION.to_frame("nets")  # type: ignore[arg-type]


def test_points_of_a_sensitivity() -> None:
    frame = SENSITIVITY.to_frame()
    assert frame[frame["what"] == "sparsity"]["cycles_saved"].tolist() == [1000]


def test_differences_of_a_verification() -> None:
    frame = VERIFICATION.to_frame()
    assert "expected 4, got 5" in frame.set_index("name").loc["conv1", "difference"]
    assert "DIFFERS" not in VERIFICATION._repr_html_()
    wrong = dataclasses.replace(RESULT, layers=(layer("conv1", outputs_equal=False),))
    assert "DIFFER" in dataclasses.replace(VERIFICATION, result=wrong)._repr_html_()


@pytest.mark.parametrize("result", EVERYTHING, ids=lambda result: type(result).__name__)
def test_html_is_well_formed_and_has_the_names(result: Any) -> None:
    text = result._repr_html_()
    Balanced(text)
    assert "<script" not in text
    assert "<recipe>" not in text
    assert len(text) < 60_000


def test_key_figures_are_in_the_html() -> None:
    text = RESULT._repr_html_()
    for part in (
        f"{RESULT.total_cycles:,}",
        f"{RESULT.speedup:.2f}x",
        "91.70%",
        "resnet8_fashion on wide",
        "RTL cycles",
    ):
        assert part in text
