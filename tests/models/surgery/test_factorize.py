"""Full rank gives the layer back; the energy that is kept, the cost, and the layers that are not factored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv, ConvTranspose
from skipstone.models.onnx_io.reader import load
from skipstone.models.surgery.factorize import cp, svd, tucker, tucker_ranks
from skipstone.models.surgery.result import Surgery
from tests.models.builders import conv_layer, floats, graph_of
from tests.models.surgery.networks import RELU, assert_same


@st.composite
def single_layers(draw: st.DrawFn) -> Graph:
    """One convolution, of any window, after a 1x1 one."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 3), (3, 1), (2, 3)]))
    stride, dilation = (draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2))
    padding = tuple(draw(st.integers(0, 1)) for _ in range(4))
    outputs, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    options: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
    return graph_of(
        conv_layer("a", "x", (inputs, 2, 1, 1)),
        conv_layer("b", "a", (outputs, inputs, *kernel), clamp=draw(st.sampled_from([None, RELU])), **options),
        conv_layer("c", "b", (2, outputs, 1, 1)),
        shape=(2, 6, 7),
    )


def full_svd(graph: Graph) -> Surgery:
    b = graph.convs[1].weights
    return svd(graph, {"b": min(len(b), b[0].size)}, only_savings=False)


def full_tucker(graph: Graph) -> Surgery:
    outputs, inputs, *_ = graph.convs[1].weights.shape
    return tucker(graph, {"b": (inputs, outputs)}, only_savings=False)


def full_cp(graph: Graph) -> Surgery:
    shape = graph.convs[1].weights.shape
    return cp(graph, {"b": int(np.prod(shape)) // max(shape)}, only_savings=False)


@pytest.mark.parametrize("method", [full_svd, full_tucker, full_cp])
@settings(max_examples=25)
@given(graph=single_layers())
def test_full_rank_computes_the_same(method: Callable[[Graph], Surgery], graph: Graph) -> None:
    result = method(graph)
    if graph.convs[1].weights.shape[2:] == (1, 1) and method is not full_svd:
        assert result.graph.layers == graph.layers
        assert result.notes == (f"layer 'b': {method.__name__[5:]} leaves it as it is: its kernel is 1x1; svd fits it",)
        return
    assert_same(result.graph, graph)
    (change,) = result.layers
    assert change.energy == pytest.approx(1)
    assert change.parts[-1] == "b"
    assert change.macs_before == graph.macs["b"]
    assert change.macs_after == sum(result.graph.macs[part] for part in change.parts)
    last = result.graph.layer("b")
    assert isinstance(last, Conv)
    assert (last.clamp, last.bias.tolist()) == (graph.convs[1].clamp, graph.convs[1].bias.tolist())


def test_names_and_windows_of_the_factors() -> None:
    window: dict[str, Any] = {"stride": (2, 3), "padding": (1, 0, 2, 1), "dilation": (1, 2)}
    graph = graph_of(conv_layer("b", "x", (8, 6, 3, 3), **window), shape=(6, 9, 12))
    got = {layer.name: layer for layer in cp(graph, {"b": 2}).graph.convs}
    assert list(got) == ["b.reduce", "b.vertical", "b.horizontal", "b"]
    assert [layer.weights.shape for layer in got.values()] == [(2, 6, 1, 1), (2, 1, 3, 1), (2, 1, 1, 3), (8, 2, 1, 1)]
    vertical, horizontal = got["b.vertical"], got["b.horizontal"]
    assert (vertical.stride, vertical.padding, vertical.dilation, vertical.groups) == ((2, 1), (1, 0, 2, 0), (1, 1), 2)
    assert (horizontal.stride, horizontal.padding, horizontal.dilation) == ((1, 3), (0, 0, 0, 1), (1, 2))
    core = tucker(graph, {"b": (2, 3)}).graph.layer("b.core")
    assert isinstance(core, Conv)
    assert (core.weights.shape, core.stride, core.padding) == ((3, 2, 3, 3), (2, 3), (1, 0, 2, 1))


def test_a_name_that_is_taken_gets_a_number() -> None:
    graph = graph_of(
        conv_layer("b.reduce", "x", (8, 8, 1, 1)), conv_layer("b", "b.reduce", (8, 8, 1, 1)), shape=(8, 2, 2)
    )
    assert [layer.name for layer in svd(graph, {"b": 1}).graph.order] == ["b.reduce", "b.reduce_2", "b"]


@settings(max_examples=20)
@given(single_layers(), st.floats(0.3, 1))
def test_the_requested_energy_is_kept(graph: Graph, energy: float) -> None:
    for method in (svd, tucker):
        for change in method(graph, layers=["b"], energy=energy, only_savings=False).layers:
            assert change.energy >= energy - 1e-6


def test_svd_is_the_best_of_its_rank() -> None:
    graph = graph_of(conv_layer("b", "x", (6, 5, 2, 2), gemm=True), shape=(5, 2, 2))
    singular = np.linalg.svd(graph.convs[0].weights.reshape(6, -1), compute_uv=False)
    (change,) = svd(graph, {"b": 2}).layers
    assert change.energy == pytest.approx((singular[:2] ** 2).sum() / (singular**2).sum(), rel=1e-5)
    assert (change.macs_before, change.macs_after) == (120, 2 * 20 + 6 * 2)


def test_low_rank_weights_are_found() -> None:
    """Weights that are a sum of two products need rank 2, and (2, 2) of Tucker."""
    k, c, i, j = (floats(size, 2, seed=size + place) for place, size in enumerate((12, 10, 3, 3)))
    weights = np.einsum("kr,cr,ir,jr->kcij", k, c, i, j)
    graph = graph_of(replace(conv_layer("b", "x", (12, 10, 3, 3)), weights=weights), shape=(10, 8, 8))
    assert tucker_ranks(graph, graph.convs[0], 0.9999) == (2, 2)
    (change,) = cp(graph, energy=0.999).layers
    assert change.ranks == (2,)
    assert_close(cp(graph, {"b": 2}), 0.999)
    assert_close(tucker(graph, {"b": (2, 2)}), 0.99999)


def assert_close(result: Surgery, energy: float) -> None:
    assert result.layers[0].energy >= energy


def test_resnet8_keeps_nine_tenths_with_fewer_multiplications() -> None:
    graph = load("resnet8_fashion")
    for method in (svd, tucker):
        result = method(graph)
        assert result.layers
        assert all(0.9 <= change.energy < 1 for change in result.layers)
        saved = sum(change.macs_before - change.macs_after for change in result.layers)
        assert result.macs == sum(graph.macs.values()) - saved < sum(graph.macs.values())


def test_zero_weights_and_one_channel() -> None:
    graph = graph_of(conv_layer("b", "x", (1, 1, 3, 3)), shape=(1, 5, 5))
    zero = graph.with_weights({"b": np.zeros((1, 1, 3, 3), np.float32)})
    for method in (svd, tucker, cp):
        for network in (graph, zero):
            result = method(network, layers=["b"], energy=1.0, only_savings=False)
            assert_same(result.graph, network)


def test_layers_that_cannot_be_factored_are_noted() -> None:
    transposed = ConvTranspose(name="t", inputs=("d",), weights=floats(4, 4, 2, 2), bias=floats(4))
    graph = graph_of(
        conv_layer("d", "x", (4, 1, 3, 3), groups=4),
        transposed,
        conv_layer("p", "t", (4, 4, 1, 1)),
        conv_layer("s", "p", (1, 4, 3, 3)),
        shape=(4, 6, 6),
    )
    # A rank of s costs 4 * 25 + 3 * 15 + 3 * 9 + 9 = 181 multiplications, s itself 36 * 9 = 324.
    assert cp(graph, energy=1.0).notes == (
        "layer 'd': cp leaves it as it is: its 4 groups mix few channels each",
        "layer 't': cp leaves it as it is: it is a transposed convolution",
        "layer 'p': cp leaves it as it is: its kernel is 1x1; svd fits it",
        "layer 's': cp leaves it as it is: rank 1, the highest that saves multiplications, keeps less than 1 of the energy",
    )
    assert svd(graph, {"p": 4}).notes == (
        "layer 'p': svd leaves it as it is: rank 4 would need 800 multiplications, not 400",
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: svd(g, {"b": 9}), "layer 'b': the rank must be from 1 to 8, not 9"),
        (lambda g: tucker(g, {"b": (9, 1)}), "layer 'b': the rank must be from 1 to 8, not 9"),
        (lambda g: cp(g, energy=0.0), "the share of energy to keep must be above 0 and at most 1, not 0"),
        (
            lambda g: svd(g, {"b": 1}, layers=["b"]),
            "give the ranks of layers, or the layers whose rank is to be found, not both",
        ),
    ],
)
def test_errors(call: Callable[[Graph], Surgery], message: str) -> None:
    graph = graph_of(conv_layer("b", "x", (8, 8, 3, 3)), shape=(8, 5, 5))
    with pytest.raises(SkipstoneError) as error:
        call(graph)
    assert str(error.value) == message
