"""Checks before the first step refuse blocks that cannot be removed, bits for layers without weights, and pixels outside 0 to
1."""

from __future__ import annotations

import numpy as np
import pytest

from skipstone.compress.checks import check_names, check_recipe
from skipstone.compress.recipe import parse_recipe
from skipstone.compress.run import compress
from skipstone.compress.state import Context
from skipstone.errors import SkipstoneError
from skipstone.models.graph.layers import Affine
from tests.models.builders import conv_layer, graph_of
from tests.skipstone.compress.small import dataset, labelled_data, run, small_place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return small_place(tmp_path_factory.mktemp("checks"))


def test_blocks_are_checked_before_the_first_step(place):
    for name, message in (("third", "third"), ("first", "'first' can't be removed: it changes the shape")):
        with pytest.raises(SkipstoneError, match=rf"step 2 \(remove_blocks\): .*{message}"):
            run(place, {"do": "prune", "amount": 0.5}, {"do": "remove_blocks", "blocks": [name]}, out="blocks")
    assert not (place / "blocks").exists()


def test_blocks_that_an_earlier_step_makes_removable_are_accepted(place):
    """An earlier step leaves two of four filters, as many as the layer's input has channels."""
    layers = (conv_layer("a", "x", (4, 2, 3, 3), padding=(1, 1, 1, 1)), conv_layer("b", "a", (3, 4, 1, 1)))
    context = Context(graph_of(*layers, shape=(2, 9, 7)), dataset(place), None, 1, lambda _: None)
    block = {"do": "remove_blocks", "blocks": ["a"]}
    check_recipe(parse_recipe({"step": [{"do": "remove_filters", "amount": 0.5, "scope": "layer"}, block]}), context)
    with pytest.raises(SkipstoneError, match="'a' can't be removed: it changes the shape"):
        check_recipe(parse_recipe({"step": [{"do": "prune", "amount": 0.5}, block]}), context)


def test_layer_bits_of_training_must_name_layers_with_weights():
    affine = Affine(name="scale", inputs=("a",), scale=np.ones(4, np.float32), bias=np.zeros(4, np.float32))
    graph = graph_of(conv_layer("a", "x", (4, 3, 1, 1)), affine, shape=(3, 2, 2))
    for do, allowed in (("quantize", True), ("quantization_aware_training", False)):
        (step,) = parse_recipe({"step": [{"do": do, "layer_bits": {"scale": 4}}]}).step
        if allowed:
            check_names(step, graph)
        else:
            with pytest.raises(SkipstoneError, match="layer_bits names 'scale', which is no layer with weights"):
                check_names(step, graph)


def test_an_attack_needs_pixels_from_0_to_1(place):
    pytest.importorskip("torch")
    images = np.full((40, 2, 9, 7), 0.5, np.float32)
    images[3, 0, 0, 0] = 1.5
    data = str(labelled_data(place / "bright.npz", test_images=images))
    recipe = parse_recipe({"step": [{"do": "equalize"}, {"do": "robust_accuracy", "steps": 1}]})
    with pytest.raises(SkipstoneError, match=r"step 2 \(robust_accuracy\): .* lie from 0\.5 to 1\.5"):
        compress(place / "small.onnx", recipe, data, out=place / "bright")
    assert not (place / "bright").exists()
    few = parse_recipe({"step": [{"do": "robust_accuracy", "steps": 1, "images": 3}]})
    compress(place / "small.onnx", few, data, out=place / "few")
