"""The proof of every import: the graph computes what the file computes in ONNX Runtime, or the message names where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.zoo import find
from skipstone.models.graph.layers import Conv
from skipstone.models.onnx_io import reader
from skipstone.models.onnx_io.reader import load, read_network
from tests.models.builders import floats, node, onnx_model, save

IMAGE = (1, 4, 9, 8)


@pytest.mark.parametrize("name", ["resnet8_fashion", "resnet8_fashion_w4a8", "resnet8_fashion_ternary"])
def test_a_wrong_weight_is_noticed_with_its_layer(name: str) -> None:
    """The first wrong tensor is named, though those after it differ, too. So it is for quantized files, to the digits that
    their rounding leaves."""
    network = read_network(name)
    images = np.random.default_rng(1).uniform(0, 1, (3, *network.graph.input_shape)).astype(np.float32)
    network.prove(images)
    layers = list(network.graph.layers)
    place = [number for number, layer in enumerate(layers) if isinstance(layer, Conv)][3]
    conv = layers[place]
    assert isinstance(conv, Conv)
    layers[place] = replace(conv, weights=conv.weights[::-1].copy(), grid=None)
    wrong = replace(network, graph=replace(network.graph, layers=tuple(layers)))
    with pytest.raises(SkipstoneError, match="does not compute what the file does") as error:
        wrong.prove(images)
    tensors = [tensor for tensor, view in network.views.items() if view.tensor == conv.name]
    assert any(f"'{tensor}' on" in str(error.value) for tensor in tensors)


@pytest.mark.parametrize("operator", ["Mul", "Add"])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_constant_along_the_width_is_not_one_of_the_channels(tmp_path: Path, operator: str, transposed: bool) -> None:
    """As wide as there are channels, it may not be folded into the convolution before."""
    nodes = [node("ConvTranspose" if transposed else "Conv", ["x", "w"], "c"), node(operator, ["c", "k"])]
    path = save(
        onnx_model(
            nodes, (1, 4, 9, 8), {"w": floats(4 if transposed else 8, 8 if transposed else 4, 1, 1), "k": floats(8)}
        ),
        tmp_path,
    )
    with pytest.raises(SkipstoneError, match="its constant is not one value for each channel"):
        load(path)


def test_what_is_not_finite_is_refused(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Mul", ["c", "k"])]
    path = save(onnx_model(nodes, IMAGE, {"w": 1e38 * floats(4, 4, 1, 1), "k": np.float32(1e38)}), tmp_path)
    with pytest.raises(SkipstoneError, match="NaN or infinite"):
        load(path)


def test_a_division_by_zero_is_named(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c"), node("Div", ["c", "k"])]
    path = save(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1), "k": np.float32(0)}), tmp_path)
    with pytest.raises(SkipstoneError, match=r"Div \(node '.*': it divides by 0\)"):
        load(path)


def test_the_accuracy_of_a_file_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file runs, not the graph: batches of any size, and one image at a time, give the same."""
    network = read_network(find("resnet8_fashion"))
    images = np.random.default_rng(1).uniform(0, 1, (5, *network.graph.input_shape)).astype(np.float32)
    together = next(iter(network.source.run(images).values()))
    singly = next(iter(replace(network.source, batch=1).run(images).values()))
    assert together.shape == singly.shape == (5, 10)
    np.testing.assert_allclose(together, singly, atol=1e-5)


def test_batches_of_a_fixed_size_are_filled(tmp_path: Path) -> None:
    path = save(onnx_model([node("Conv", ["x", "w"])], (3, *IMAGE[1:]), {"w": floats(2, 4, 1, 1)}), tmp_path)
    source = reader.read_network(path).source
    images = floats(4, *IMAGE[1:])
    (result,) = source.run(images).values()
    assert result.shape == (4, 2, 9, 8)
    np.testing.assert_allclose(result, np.einsum("nchw,kc->nkhw", images, floats(2, 4)), atol=1e-5)


def test_two_nodes_of_one_name_are_no_hindrance(tmp_path: Path) -> None:
    nodes = [node("Conv", ["x", "w"], "c", name="same"), node("Relu", ["c"], name="same")]
    assert len(load(save(onnx_model(nodes, IMAGE, {"w": floats(4, 4, 1, 1)}), tmp_path)).layers) == 1
