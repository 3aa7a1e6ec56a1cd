"""Which blocks can be removed, and what is computed without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.layers import Add, ClampLayer, Conv
from skipstone.models.onnx_io.reader import load
from skipstone.models.surgery.blocks import removable_blocks, remove_blocks
from tests.models.builders import conv_layer, graph_of
from tests.models.surgery.networks import RELU, assert_same


def residual(clamp: tuple[float, float] | None = RELU, outputs: tuple[str, ...] = ("g",)) -> Graph:
    """Two blocks with identity shortcuts; the inner one lies in the branch of the outer one."""
    return graph_of(
        conv_layer("a", "x", (3, 2, 1, 1)),
        conv_layer("b", "a", (3, 3, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        conv_layer("c", "b", (5, 3, 1, 1)),
        conv_layer("d", "c", (3, 5, 1, 1)),
        Add(name="inner", inputs=("d", "b")),
        Add(name="outer", inputs=("a", "inner"), clamp=clamp),
        conv_layer("g", "outer", (2, 3, 4, 4), gemm=True),
        shape=(2, 4, 4),
        outputs=outputs,
    )


def with_zeros(graph: Graph, *names: str) -> Graph:
    """``graph`` whose layers ``names`` give zeros: what a residual block computes without its branch."""
    layers = [
        replace(layer, weights=layer.weights * 0, bias=layer.bias * 0, clamp=None)
        if isinstance(layer, Conv) and layer.name in names
        else layer
        for layer in graph.layers
    ]
    return replace(graph, layers=tuple(layers))


def test_removable_blocks_of_resnet8() -> None:
    blocks = removable_blocks(load("resnet8_fashion"))
    kinds = {block.name: (block.kind, block.layers, block.source) for block in blocks.removable}
    assert kinds["add1"] == ("residual", ("blocks.0.conv1", "blocks.0.conv2"), "stem")
    assert [name for name, (kind, _, _) in kinds.items() if kind == "layer"] == [
        "blocks.0.conv1",
        "blocks.0.conv2",
        "blocks.1.conv2",
        "blocks.2.conv2",
    ]
    assert blocks.fixed["add2"] == "its shortcut is not the identity"
    assert blocks.fixed["stem"] == "it changes the shape from 1x28x28 to 16x28x28"


def test_a_block_without_its_branch_is_its_shortcut_and_the_clamp() -> None:
    graph = residual()
    inner = remove_blocks(graph, ["inner"])
    assert_same(inner.graph, with_zeros(graph, "d"))
    assert [layer.name for layer in inner.graph.order] == ["a", "b", "outer", "g"]
    assert [(change.name, change.macs_after, change.parts) for change in inner.layers] == [("c", 0, ()), ("d", 0, ())]
    outer = remove_blocks(graph, ["outer"])
    assert_same(outer.graph, with_zeros(graph, "b", "d"))
    assert isinstance(outer.graph.layer("outer"), ClampLayer)
    plain = remove_blocks(residual(clamp=None), ["outer"])
    assert [layer.name for layer in plain.graph.order] == ["a", "g"]
    assert_same(plain.graph, with_zeros(residual(clamp=None), "b", "d"))


def test_a_clamp_that_holds_already_goes_too_but_an_output_keeps_its_name() -> None:
    graph = load("resnet8_fashion")
    assert "add1" not in remove_blocks(graph, ["add1"]).graph.network
    seen = graph.with_outputs(("classifier", "add1"))
    smaller = remove_blocks(seen, ["add1"]).graph
    assert isinstance(smaller.layer("add1"), ClampLayer)
    assert_same(smaller, with_zeros(seen, "blocks.0.conv2"))


def test_a_single_layer_goes_with_its_clamp() -> None:
    graph = residual()
    result = remove_blocks(graph, ["b"]).graph
    assert result.layer("inner").inputs == ("d", "a")
    assert result.layer("c").inputs == ("a",)


def test_blocks_inside_a_removed_block_are_noted() -> None:
    result = remove_blocks(residual(), ["inner", "outer"])
    assert result.notes == ("block 'inner' went with a block around it",)
    assert result.graph.outputs == ("g",)


def test_a_branch_with_other_readers_keeps_its_block() -> None:
    blocks = removable_blocks(residual(outputs=("g", "c")))
    assert blocks.fixed["inner"] == blocks.fixed["outer"] == "'c' of its branch has other readers"
    assert removable_blocks(residual(None, ("outer",))).fixed["outer"] == "it is an output of the network"
    twice = graph_of(conv_layer("a", "x", (2, 2, 1, 1)), Add(name="s", inputs=("a", "a")), shape=(2, 2, 2))
    assert removable_blocks(twice).fixed["s"] == "it adds a tensor to itself"


def test_a_branch_that_reads_more_than_its_shortcut_stays() -> None:
    graph = graph_of(
        conv_layer("a", "x", (2, 2, 1, 1)),
        conv_layer("b", "a", (2, 2, 1, 1)),
        conv_layer("e", "x", (2, 2, 1, 1)),
        Add(name="t", inputs=("b", "e")),
        Add(name="s", inputs=("a", "t")),
        conv_layer("g", "s", (1, 2, 1, 1)),
        shape=(2, 2, 2),
    )
    assert removable_blocks(graph).fixed["s"] == "its branch also reads 'e'"


def test_the_lowest_score_goes_first() -> None:
    graph = load("resnet8_fashion")
    equal_scores = {conv.name: np.ones(len(conv.weights)) for conv in graph.convs}
    result = remove_blocks(graph, amount=1 / 3, scores={**equal_scores, "blocks.1.conv2": 0.5})
    assert [change.name for change in result.layers] == ["blocks.1.conv2"]
    # add1 is one block, so three can go; of equal scores the earliest.
    first = remove_blocks(graph, amount=1 / 3, scores=equal_scores)
    assert [change.name for change in first.layers] == ["blocks.0.conv1", "blocks.0.conv2"]
    assert "layer 'add2' stays: its shortcut is not the identity" in first.notes
    without = remove_blocks(graph, amount=1.0, scores={"add1": 3.0})
    assert "block 'blocks.1.conv2' stays: it has no score" in without.notes
    assert without.notes[-1] == "1 of 3 blocks were removed: no others can go"


def test_grids_of_removed_tensors_are_removed() -> None:
    grid = ActivationGrid(0.5, 0)
    graph = replace(residual(), grids={"a": grid, "inner": grid})
    assert set(remove_blocks(graph, ["inner"]).graph.grids) == {"a"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a", "layer 'a' can't be removed: it changes the shape from 2x4x4 to 3x4x4"),
        ("c", "layer 'c' can't be removed: it changes the shape from 3x4x4 to 5x4x4"),
    ],
)
def test_errors(name: str, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        remove_blocks(residual(), [name])
    assert str(error.value) == message
