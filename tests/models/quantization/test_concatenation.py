"""Where the parts of a Concat lie, which of them are copied, and that all of them have one scale."""

from __future__ import annotations

import numpy as np

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.layers import Add, Concat, MaxPool, Upsample
from skipstone.models.quantization import reference
from skipstone.models.quantization.concatenation import shared_grids, with_copies
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges, calibrate
from tests.models.builders import conv_layer, graph_of, random_images

SHAPE = (3, 4, 4)


def conv(name: str, source: str = "x") -> object:
    return conv_layer(name, source, (3, 3, 1, 1))


def concat(name: str, *inputs: str) -> Concat:
    return Concat(name=name, inputs=inputs)


def check_placement(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Quantizes ``graph``, checks the rules of ``concats``, and returns them."""
    images = random_images(graph, 4)
    network = quantize(graph, calibrate(graph, images))
    parts = [part for joined in network.concats.values() for part in joined]
    assert len(parts) == len(set(parts)), "a tensor in two places"
    assert network.input not in parts
    for joined, inner in network.concats.items():
        for part in inner:
            assert network.tensors[part].scale == network.tensors[joined].scale
            assert network.tensors[part].zero_point == network.tensors[joined].zero_point
        assert network.tensors[joined].shape[0] == sum(network.tensors[part].shape[0] for part in inner)
    made = {layer.output for layer in network.layers}
    assert made | {network.input} | set(network.concats) == set(network.tensors)
    tensors = reference.run(network, reference.quantize_input(network, images))
    for joined, inner in network.concats.items():
        np.testing.assert_array_equal(tensors[joined], np.concatenate([tensors[part] for part in inner], axis=1))
    return network.concats


def test_parts_that_need_no_copy() -> None:
    graph = graph_of(conv("a"), conv("b"), concat("w", "a", "b"), conv_layer("c", "w", (2, 6, 1, 1)), shape=SHAPE)
    assert check_placement(graph) == {"w": ("a", "b")}


def test_the_input_a_part_of_two_and_a_part_twice_are_copied() -> None:
    graph = graph_of(conv("a"), concat("w", "x", "a"), concat("v", "a", "a"), shape=SHAPE, outputs=("w", "v"))
    assert check_placement(graph) == {"w": ("w.copy1", "a"), "v": ("v.copy1", "v.copy2")}
    assert [layer.kind for layer in with_copies(graph).order] == ["conv", "copy", "concat", "copy", "copy", "concat"]


def test_a_concatenation_that_is_added_is_copied() -> None:
    """Only once, even as both operands."""
    for operands in (("w", "c"), ("c", "w"), ("w", "w")):
        graph = graph_of(
            conv("a"), conv("b"), concat("w", "a", "b"), conv_layer("c", "w", (6, 6, 1, 1)),
            Add(name="s", inputs=operands), shape=SHAPE,
        )  # fmt: skip
        assert check_placement(graph) == {"w": ("a", "b")}
        added = with_copies(graph).layer("s")
        assert added.inputs == tuple("s.copy1" if name == "w" else name for name in operands)


def test_a_concatenation_in_two_others() -> None:
    """It lies in the first one, and is copied into the second."""
    graph = graph_of(
        conv("a"), conv("b"), concat("w", "a", "b"), conv("c"), concat("v", "w", "c"), concat("u", "c", "w"),
        shape=SHAPE, outputs=("v", "u"),
    )  # fmt: skip
    assert check_placement(graph) == {"w": ("a", "b"), "v": ("w", "c"), "u": ("u.copy1", "u.copy2")}


def test_a_copy_takes_a_free_name() -> None:
    graph = graph_of(conv("w.copy1"), concat("w", "x", "w.copy1"), shape=SHAPE)
    assert check_placement(graph) == {"w": ("w.copy2", "w.copy1")}


def test_ranges_are_united_through_maxima_and_upsamplings() -> None:
    """The range of b reaches a through the concatenation, the upsampling and the maximum; c and s keep ranges of their own."""
    graph = graph_of(
        conv("a"),
        MaxPool(name="m", inputs=("a",), kernel=(2, 2), stride=(2, 2)),
        Upsample(name="u", inputs=("m",), factor=(2, 2)),
        conv("b"),
        concat("w", "u", "b"),
        conv_layer("c", "w", (6, 6, 1, 1)),
        Add(name="s", inputs=("w", "c")),
        shape=SHAPE,
    )
    limits = {"x": (0.0, 1.0), "a": (-1.0, 2.0), "m": (-9.0, 9.0), "u": (-9.0, 9.0), "b": (-3.0, 1.0), "c": (-5.0, 5.0)}
    asked = []

    def grid_of(low: float, high: float) -> ActivationGrid:
        asked.append((low, high))
        return ActivationGrid(float(len(asked)), 0)

    ranges = Ranges({**limits, "w": (-9.0, 9.0), "s": (-7.0, 7.0)}, "by hand")
    united = shared_grids(graph, ranges, grid_of)
    assert asked == [(0.0, 1.0), (-3.0, 2.0), (-5.0, 5.0), (-7.0, 7.0)]
    assert len({united[name] for name in "amubw"}) == 1
    assert shared_grids(graph, ranges, grid_of, ("c",)).keys() == set("xamubws")
