"""Shapes, order and work of float graphs, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    AveragePool,
    ClampLayer,
    Concat,
    ConvTranspose,
    MaxPool,
    Product,
    Upsample,
)
from tests.models.builders import conv_layer, floats, graph_of


def residual() -> Graph:
    """Layers in reverse order, which the graph must sort."""
    return graph_of(
        Add(name="sum", inputs=("b", "a")),
        conv_layer("b", "a", (4, 4, 3, 3), padding=(1, 1, 1, 1)),
        conv_layer("a", "x", (4, 3, 3, 3), stride=(2, 2), padding=(0, 0, 1, 1)),
        shape=(3, 8, 6),
        outputs=("sum",),
    )


def test_order_is_topological() -> None:
    assert [layer.name for layer in residual().order] == ["a", "b", "sum"]


def test_shapes() -> None:
    # (8 + 0 + 1 - 3) // 2 + 1 = 4 rows, (6 + 1 - 3) // 2 + 1 = 3 columns.
    assert residual().shapes == {"x": (3, 8, 6), "a": (4, 4, 3), "b": (4, 4, 3), "sum": (4, 4, 3)}


def test_macs_count_weights_only() -> None:
    # a: 4 * 4 * 3 outputs of 3 * 9 weights; b the same outputs of 4 * 9; an Add multiplies by nothing trained.
    assert residual().macs == {"a": 48 * 27, "b": 48 * 36, "sum": 0}


def test_depthwise_macs_do_not_count_other_channels() -> None:
    graph = graph_of(conv_layer("d", "x", (6, 1, 3, 3), groups=6), shape=(6, 5, 5))
    assert graph.layer("d").kind == "depthwise"
    assert graph.macs == {"d": 6 * 3 * 3 * 9}


def test_readers_count_a_tensor_read_twice_twice() -> None:
    graph = graph_of(Add(name="double", inputs=("x", "x")), shape=(1, 2, 2))
    assert graph.readers("x") == ("double", "double")


def test_network_is_frozen_and_wired() -> None:
    network = residual().network
    assert set(network.edges) == {("x", "a"), ("a", "b"), ("b", "sum"), ("a", "sum")}
    with pytest.raises(Exception, match=r"[Ff]rozen"):
        network.add_node("c")


def test_shapes_of_layers_that_join_and_spread() -> None:
    """(5 - 1) * 2 + 2 * (3 - 1) + 1 + 1 - 1 is 13 rows; the multiplications are 5 * 7 pixels times 3 * 4 * 9 weights."""
    graph = graph_of(
        ConvTranspose(
            name="d", inputs=("x",), weights=floats(4, 3, 3, 3), bias=floats(4), stride=(2, 1), dilation=(2, 1),
            padding=(1, 0, 0, 2), output_padding=(1, 0),
        ),
        Upsample(name="u", inputs=("d",), factor=(1, 3)),
        Concat(name="c", inputs=("u", "u", "u")),
        AveragePool(name="g", inputs=("c",), kernel=(13, 21)),
        Product(name="p", inputs=("c", "g")),
        shape=(3, 5, 7),
    )  # fmt: skip
    assert graph.shapes == {
        "x": (3, 5, 7), "d": (4, 13, 7), "u": (4, 13, 21), "c": (12, 13, 21), "g": (12, 1, 1), "p": (12, 13, 21),
    }  # fmt: skip
    assert graph.macs == {"d": 5 * 7 * 3 * 4 * 9, "u": 0, "c": 0, "g": 0, "p": 0}
    assert [layer.name for layer in graph.convs] == ["d"]


def test_with_weights_leaves_the_old_graph_alone() -> None:
    graph = residual()
    zeros = np.zeros((4, 3, 3, 3), np.float32)
    changed = graph.with_weights({"a": zeros})
    assert not changed.convs[0].weights.any()
    assert graph.convs[0].weights.all()
    assert changed.convs[1] is graph.convs[1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: residual().with_weights({"a": floats(4, 4, 3, 3)}),
            "layer 'a': weights of shape (4, 4, 3, 3) can't replace (4, 3, 3, 3)",
        ),
        (lambda: residual().with_weights({"sum": floats(1)}), "layer 'sum' (add) has no weights to replace"),
        (lambda: residual().layer("z"), "network 'test' has no layer 'z'; it has sum, b, a"),
        (
            lambda: graph_of(conv_layer("a", "x", (4, 2, 3, 3)), shape=(3, 8, 8)),
            "layer 'a': weights for 2 input channels, input has 3",
        ),
        (
            lambda: graph_of(conv_layer("a", "x", (4, 1, 3, 3), groups=3), shape=(3, 8, 8)),
            "layer 'a': 4 output channels are not divisible into 3 groups",
        ),
        (
            lambda: graph_of(MaxPool(name="m", inputs=("x",), kernel=(3, 3), dilation=(2, 2)), shape=(1, 4, 9)),
            "layer 'm': a 3x3 kernel with dilation 2x2 does not fit its 4x9 input with padding (0, 0, 0, 0)",
        ),
        (
            lambda: graph_of(
                AveragePool(name="p", inputs=("x",), kernel=(2, 2)), Add(name="s", inputs=("x", "p")), shape=(1, 4, 4)
            ),
            "layer 's': can't add tensors of shapes (1, 4, 4) and (1, 3, 3)",
        ),
        (
            lambda: graph_of(
                AveragePool(name="p", inputs=("x",), kernel=(2, 2)),
                Product(name="s", inputs=("x", "p")),
                shape=(1, 4, 4),
            ),
            "layer 's': can't multiply tensors of shapes (1, 4, 4) and (1, 3, 3)",
        ),
        (
            lambda: graph_of(
                AveragePool(name="p", inputs=("x",), kernel=(2, 2)),
                Concat(name="s", inputs=("x", "p")),
                shape=(1, 4, 4),
            ),
            "layer 's': can't put tensors of shapes ((1, 4, 4), (1, 3, 3)) side by side",
        ),
        (
            lambda: graph_of(
                ConvTranspose(name="a", inputs=("x",), weights=floats(4, 2, 3, 3), bias=floats(4)), shape=(3, 8, 8)
            ),
            "layer 'a': weights for 2 input channels, input has 3",
        ),
        (
            lambda: graph_of(ClampLayer(name="x", inputs=("x",)), shape=(1, 4, 4)),
            "network 'test': layer names used twice: x",
        ),
        (lambda: graph_of(ClampLayer(name="c", inputs=("q",)), shape=(1, 4, 4)), "network 'test': no layer makes q"),
        (
            lambda: graph_of(ClampLayer(name="c", inputs=("d",)), ClampLayer(name="d", inputs=("c",)), shape=(1, 4, 4)),
            "network 'test' has a cycle",
        ),
    ],
)
def test_errors(build, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SkipstoneError) as error:
        build()
    assert str(error.value) == message
