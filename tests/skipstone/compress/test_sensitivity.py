"""Sensitivity on a design: cycles are those of the compiled network, and three files hold the same result."""

import csv
import json

import numpy as np
import pytest

from skipstone.compress.sensitivity import FILES, run_sensitivity
from skipstone.errors import SkipstoneError
from skipstone.hw.design import parse_design
from skipstone.mapper.pruning.sensitivity import magnitude
from skipstone.mapper.pruning.target import target_for
from skipstone.models.data.datasets import load_dataset
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from tests.reports.pages import Page
from tests.skipstone.builders import TINY_DESIGN, small_data, small_network

DESIGN = parse_design(TINY_DESIGN, "tiny", "test")


def test_three_files_hold_one_result(tmp_path):
    network, data = small_network(tmp_path / "small.onnx"), small_data(tmp_path / "data.npz")
    messages = []
    result = run_sensitivity(
        str(network), str(data), DESIGN, (0.5, 0.9), (4,), out=tmp_path / "out", progress=messages.append
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert result.network == "small"
    assert [layer.name for layer in result.layers] == ["first", "second", "dense"]
    assert len(result.points) == 3 * 3
    written = json.loads((tmp_path / "out" / FILES[0]).read_text())
    assert written == json.loads(json.dumps(result.to_dict()))
    lines = list(csv.DictReader((tmp_path / "out" / FILES[1]).open()))
    assert [(line["layer"], float(line["value"]), int(line["cycles"])) for line in lines] == [
        (point.layer, point.value, point.cycles) for point in result.points
    ]
    figures = Page(tmp_path / "out" / FILES[2]).figures()
    assert set(figures) == {"sparsity-accuracy", "sparsity-cycles", "bits-accuracy", "bits-cycles"}
    assert messages[-1] == "writing"
    graph = load(str(network))
    target = target_for(graph, DESIGN, load_dataset(str(data)).testing()[0])
    assert result.cycles == target.cycles(graph)
    (point,) = (p for p in result.of("second", "sparsity") if p.value == 0.9)
    assert point.cycles == target.cycles(magnitude(graph, "second", 0.9)) == result.cycles - point.cycles_saved


def test_labelled_test_images_are_required(tmp_path):
    network = small_network(tmp_path / "small.onnx")
    with pytest.raises(SkipstoneError, match="carries no images"):
        run_sensitivity(str(network), None, DESIGN, out=tmp_path)
    data = small_data(tmp_path / "data.npz", labels=False)
    with pytest.raises(SkipstoneError, match="has no labelled test images"):
        run_sensitivity(str(network), str(data), DESIGN, out=tmp_path)


@pytest.mark.parametrize("amount", [-0.1, 1.0, float("nan")])
def test_sparsities_must_be_from_0_to_below_1(tmp_path, amount):
    network = small_network(tmp_path / "small.onnx")
    with pytest.raises(SkipstoneError, match=rf"each from 0 to below 1, not {amount:g}"):
        run_sensitivity(str(network), "none", DESIGN, (0.5, amount), out=tmp_path)


def test_a_quantized_network_is_refused(tmp_path):
    graph = load(str(small_network(tmp_path / "small.onnx")))
    images = np.random.default_rng(1).random((4, 2, 9, 7), dtype=np.float32)
    (tmp_path / "int8.onnx").write_bytes(to_qdq(quantize(graph, calibrate(graph, images))).SerializeToString())
    with pytest.raises(SkipstoneError, match="is quantized already; compress the float network it was made from"):
        run_sensitivity(str(tmp_path / "int8.onnx"), "none", DESIGN, out=tmp_path)


def test_a_failed_write_keeps_the_former_files(tmp_path):
    network, data = small_network(tmp_path / "small.onnx"), str(small_data(tmp_path / "data.npz"))
    (tmp_path / FILES[0]).write_text("before")
    (tmp_path / FILES[1]).mkdir()
    with pytest.raises(IsADirectoryError):
        run_sensitivity(str(network), data, DESIGN, (0.5,), (4,), out=tmp_path)
    assert (tmp_path / FILES[0]).read_text() == "before"
