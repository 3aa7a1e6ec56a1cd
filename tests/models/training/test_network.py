"""Float networks in PyTorch compute what ONNX Runtime computes, and return from it unchanged, zeros included."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_scores, run_onnx
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Layer,
    MaxPool,
    Product,
    Softmax,
    Upsample,
)
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.reader import load
from tests.models.builders import conv_layer, floats, graph_of, random_images
from tests.models.onnx_io.test_qdq_import import float_graphs

torch = pytest.importorskip("torch")

from skipstone.models.training.network import ConvModule, GraphModule, Normalization, WeightQuantizer

RELU = (0.0, math.inf)


def tensors_of_onnx(graph: Graph, images: np.ndarray) -> dict[str, np.ndarray]:
    return run_onnx(to_onnx(graph, all_tensors=True), {graph.input: images}, optimize=False)


def assert_computes(graph: Graph, count: int = 2) -> GraphModule:
    """Checks that every tensor of the module except a Softmax is that of ONNX Runtime, up to the order of float sums."""
    images = random_images(graph, count)
    module = GraphModule(graph).eval()
    with torch.no_grad():
        tensors = module.tensors(torch.from_numpy(images))
    for name, expected in tensors_of_onnx(graph, images).items():
        if not isinstance(graph.layer(name), Softmax):
            scale = max(1.0, float(np.abs(expected).max()))
            np.testing.assert_allclose(tensors[name].numpy(), expected, rtol=1e-4, atol=1e-5 * scale, err_msg=name)
    with torch.no_grad():
        scores = module(torch.from_numpy(images))
    np.testing.assert_array_equal(scores.numpy(), tensors[graph.outputs[0]].flatten(1).numpy())
    return module


@settings(max_examples=30)
@given(float_graphs())
def test_random_networks(graph: Graph) -> None:
    assume(max(math.prod(shape) for shape in graph.shapes.values()) < 1 << 14)
    module = assert_computes(graph)
    back = module.to_graph()
    for first, second in zip(graph.convs, back.convs, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)
        np.testing.assert_array_equal(first.bias, second.bias)


@st.composite
def windows(draw: Any, kinds: tuple[type[Layer], ...] = (Conv, ConvTranspose, AveragePool, MaxPool)) -> Graph:
    """One layer with a window of any shape."""
    groups, inputs, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    kernel, stride, dilation = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(3))
    padding = tuple(draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4))
    shared: dict[str, Any] = {"name": "c", "inputs": ("x",), "stride": stride, "padding": padding, "dilation": dilation}
    kind = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (groups * inputs, draw(st.integers(7, 9)), draw(st.integers(7, 9)))
    if issubclass(kind, Conv):
        weights = rng.normal(size=(groups * outputs, inputs, *kernel)).astype(np.float32)
        weights *= rng.random(weights.shape) < draw(st.sampled_from([0.3, 1.0]))
        shared |= {"weights": weights, "bias": rng.normal(size=len(weights)).astype(np.float32), "groups": groups}
    else:
        shared["kernel"] = kernel
    if kind is ConvTranspose:
        shared["output_padding"] = tuple(
            draw(st.integers(0, max(a, b) - 1)) for a, b in zip(stride, dilation, strict=True)
        )
    if kind is AveragePool:
        shared["uncounted"] = tuple(draw(st.sampled_from([0, pixels])) for pixels in padding)
    return graph_of(kind(**shared), shape=shape)


@settings(max_examples=60)
@given(windows())
def test_windows(graph: Graph) -> None:
    """One-sided padding, strides, dilation, groups, output padding, padding that does not count."""
    layer = graph.layers[0]
    if isinstance(layer, ConvTranspose) and any(layer.output_padding):
        # ONNX Runtime wants output padding below the stride or the dilation, as PyTorch does.
        assume(all(p < s for p, s in zip(layer.output_padding, layer.stride, strict=True)))
    if isinstance(layer, AveragePool):
        assume(not np.isnan(tensors_of_onnx(graph, random_images(graph, 1))["c"]).any())
    assert_computes(graph)


def test_the_other_kinds() -> None:
    graph = graph_of(
        conv_layer("a", "x", (4, 3, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        AveragePool(name="squeeze", inputs=("a",), kernel=(6, 5)),
        conv_layer("gate", "squeeze", (4, 4, 1, 1), clamp=(0.0, 1.0)),
        Product(name="scaled", inputs=("a", "gate"), clamp=(-math.inf, 0.5)),
        Affine(name="norm", inputs=("scaled",), scale=floats(4), bias=floats(4, seed=2)),
        Concat(name="both", inputs=("norm", "a", "norm")),
        Upsample(name="large", inputs=("both",), factor=(2, 3)),
        Add(name="twice", inputs=("large", "large")),
        conv_layer("image", "twice", (5, 12, 12, 15), gemm=True),
        Softmax(name="shares", inputs=("image",)),
        shape=(3, 6, 5),
        outputs=("image", "both"),
    )
    assert_computes(graph)
    with_softmax = replace(graph, outputs=("shares",))
    images = random_images(with_softmax, 8)
    with torch.no_grad():
        scores = GraphModule(with_softmax)(torch.from_numpy(images)).numpy()
    shares = np.exp(scores - scores.max(1, keepdims=True))
    # The scores are some hundreds, which differ by their last bits.
    np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), float_scores(with_softmax, images), atol=1e-3)


def test_a_softmax_that_others_read_is_refused() -> None:
    graph = graph_of(Softmax(name="s", inputs=("x",)), conv_layer("c", "s", (2, 3, 1, 1)), shape=(3, 2, 2))
    with pytest.raises(SkipstoneError) as error:
        GraphModule(graph)
    assert str(error.value) == (
        "layer 's': training can't go through a Softmax that other layers read; "
        "compress this network with post-training steps"
    )


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 1, 1)])
def test_gemm_over_an_image(shape: tuple[int, int, int]) -> None:
    """A matrix product over the whole image, or over one pixel; never normalized."""
    graph = graph_of(conv_layer("g", "x", (7, *shape), gemm=True), shape=shape)
    module = assert_computes(graph)
    module.normalize(random_images(graph, 4))
    assert module.convs["g"].norm is None
    np.testing.assert_array_equal(module.to_graph().convs[0].weights, graph.convs[0].weights)


@settings(max_examples=15)
@given(float_graphs(), st.integers(1, 5))
def test_normalization_changes_nothing_at_first(graph: Graph, count: int) -> None:
    """Neither the module's scores nor the graph made from it change; a masked weight returns as +0."""
    assume(max(math.prod(shape) for shape in graph.shapes.values()) < 1 << 14)
    images, others = random_images(graph, count), random_images(graph, 3, seed=9)
    module = GraphModule(graph).eval()
    with torch.no_grad():
        before = module(torch.from_numpy(others)).numpy()
        module.normalize(images)
        after = module(torch.from_numpy(others)).numpy()
    scale = max(1.0, float(np.abs(before).max()))
    # Other images may lie several deviations away from those measured: float32 errors of a few units.
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * scale)
    for first, second in zip(graph.convs, module.to_graph().convs, strict=True):
        np.testing.assert_allclose(first.weights, second.weights, rtol=1e-5)
        np.testing.assert_array_equal(first.weights == 0, second.weights == 0)
        assert not np.signbit(second.weights[second.weights == 0]).any()
        assert np.abs(first.bias - second.bias).max() <= 1e-5 * max(1.0, scale)


def test_training_steps_keep_zeros_and_move_the_rest() -> None:
    graph = load("resnet8_fashion")
    weights = {layer.name: np.where(np.abs(layer.weights) < 0.05, 0, layer.weights) for layer in graph.convs}
    graph = graph.with_weights(weights)
    images = np.random.default_rng(0).random((8, *graph.input_shape), dtype=np.float32)
    module = GraphModule(graph)
    module.normalize(images)
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(images)), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = module.eval().to_graph()
    for before, after in zip(graph.convs, trained.convs, strict=True):
        np.testing.assert_array_equal(before.weights == 0, after.weights == 0)
        assert (before.weights != after.weights).any()
        assert after.weights.flags.c_contiguous
    with torch.no_grad():
        scores = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(float_scores(trained, images), scores, rtol=1e-4, atol=1e-4)


def trained_normalization(channels: int, seed: int) -> tuple[Normalization, Any]:
    """A normalization with random statistics, and PyTorch's own with the same."""
    torch.manual_seed(seed)
    norm = Normalization(channels, torch.zeros(channels))
    reference = torch.nn.BatchNorm2d(channels)
    for normalization in (norm.inner, reference):
        generator = torch.Generator().manual_seed(seed)
        normalization.running_mean.copy_(torch.randn(channels, generator=generator))
        normalization.running_var.copy_(torch.rand(channels, generator=generator) + 0.1)
        with torch.no_grad():
            normalization.weight.copy_(torch.rand(channels, generator=generator) + 0.1)
            normalization.bias.copy_(torch.randn(channels, generator=generator))
    return norm, reference.eval()


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
def test_folding_is_that_of_pytorch(groups: int, inputs: int, outputs: int, seed: int) -> None:
    layer = conv_layer("c", "x", (groups * outputs, inputs, 3, 2), groups=groups)
    conv = ConvModule(layer)
    conv.norm, batch_norm = trained_normalization(len(layer.weights), seed)
    theirs = torch.nn.Conv2d(groups * inputs, groups * outputs, (3, 2), groups=groups, bias=False).eval()
    theirs.weight.data.copy_(torch.from_numpy(layer.weights))
    fused = torch.nn.utils.fusion.fuse_conv_bn_eval(theirs, batch_norm)
    folded = conv.to_layer()
    np.testing.assert_allclose(folded.weights, fused.weight.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(folded.bias, fused.bias.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_negative_scale_of_normalization_keeps_the_weights_signs() -> None:
    layer = conv_layer("c", "x", (2, 3, 1, 1))
    conv = ConvModule(layer).eval()
    conv.norm, _ = trained_normalization(2, 1)
    with torch.no_grad():
        conv.norm.inner.weight.neg_()
    folded = conv.eval().to_layer()
    np.testing.assert_array_equal(np.sign(folded.weights), np.sign(layer.weights))
    x = torch.randn(2, 3, 4, 4)
    expected = torch.nn.functional.conv2d(x, torch.from_numpy(folded.weights), torch.from_numpy(folded.bias))
    torch.testing.assert_close(conv(x), expected)


def test_one_value_a_channel_can_be_trained() -> None:
    """A batch of one image at one pixel has no deviation, so the running one is used."""
    graph = graph_of(conv_layer("a", "x", (4, 3, 1, 1)), conv_layer("b", "a", (2, 4, 1, 1), gemm=True), shape=(3, 1, 1))
    module = GraphModule(graph)
    module.normalize(random_images(graph, 4))
    module.train()
    module(torch.from_numpy(random_images(graph, 1))).sum().backward()
    assert float(module.convs["a"].weight.grad.abs().max()) > 0


class Halves(WeightQuantizer):
    def forward(self, weights: Any) -> Any:
        return (weights * 2).round() / 2

    def grid(self, weights: Any) -> WeightGrid:
        return WeightGrid((weights * 2).round().numpy().astype(np.int64), np.full(len(weights), 0.5))


def test_quantized_weights_fold_into_a_grid() -> None:
    """The normalization's factor goes into the scales; the integers stay."""
    layer = conv_layer("c", "x", (4, 3, 3, 3))
    graph = graph_of(layer, shape=(3, 5, 5))
    module = GraphModule(graph)
    module.normalize(random_images(graph, 4))
    module.convs["c"].quantizer = Halves()
    back = module.eval().to_graph()
    grid = back.convs[0].grid
    assert grid is not None
    np.testing.assert_array_equal(grid.integers, np.rint(layer.weights * 2))
    images = random_images(graph, 2)
    with torch.no_grad():
        scores = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(float_scores(back, images), scores, rtol=1e-4, atol=1e-5)


def test_an_affine_layer_on_a_grid_can_be_trained() -> None:
    grid = WeightGrid(np.array([2, -3]).reshape(-1, 1, 1, 1), np.full(2, 0.5), bits=4)
    affine = Affine(name="a", inputs=("x",), scale=grid.weights.ravel(), bias=floats(2), grid=grid)
    module = GraphModule(graph_of(affine, shape=(2, 3, 3)))
    module(torch.ones(1, 2, 3, 3)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    trained = module.to_graph().layers[0]
    assert isinstance(trained, Affine)
    assert trained.grid is None
    # Nine pixels of 1 each: the gradient is 9 for scale and bias alike.
    np.testing.assert_allclose(trained.scale, affine.scale - 0.9, rtol=1e-6)
    np.testing.assert_allclose(trained.bias, affine.bias - 0.9, rtol=1e-6)
