"""Checks of a user's data: what is accepted, and the message for everything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import check_images, check_labels, fit_images, load_images
from skipstone.models.graph.ends import Arrangement, End, Ends
from skipstone.models.graph.graph import Graph
from tests.models.builders import conv_layer, graph_of

IMAGES = np.zeros((3, 1, 4, 4), np.float32)


def refusal(path: Path) -> str:
    with pytest.raises(SkipstoneError) as error:
        load_images(path)
    return str(error.value).replace(str(path), "FILE")


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=IMAGES.astype(np.float64), labels=np.array([1, 2, 3], np.uint8))
    images, labels = load_images(path)
    assert labels is not None
    assert (images.dtype, labels.dtype, images.shape, labels.tolist()) == (
        np.float32,
        np.int64,
        (3, 1, 4, 4),
        [1, 2, 3],
    )
    np.savez(path, images=IMAGES)
    assert load_images(path)[1] is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, "FILE has no array 'images'; it has pictures"),
        ({"images": IMAGES.astype(np.uint8)}, "FILE: 'images' must be floats as the network expects them, not uint8"),
        (
            {"images": IMAGES[:0]},
            "FILE: 'images' must hold at least one image along its first axis, its shape is (0, 1, 4, 4)",
        ),
        ({"images": IMAGES * np.nan}, "FILE: 'images' contain NaN or infinity"),
        ({"images": IMAGES, "labels": np.zeros(3)}, "FILE: 'labels' must be integers, not float64"),
        (
            {"images": IMAGES, "labels": np.zeros(2, int)},
            "FILE: 'labels' must have one entry for each of 3 images, its shape is (2,)",
        ),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    assert refusal(path) == message


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert refusal(path) == "no file 'FILE'"
    path.write_bytes(b"text")
    assert refusal(path) == "FILE is not an .npz file; write it with numpy.savez(path, images=..., labels=...)"
    with path.open("wb") as file:
        np.save(file, IMAGES)
    assert refusal(path) == "FILE is a single array; write it with numpy.savez(path, images=..., labels=...)"
    np.savez(path, images=IMAGES)
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal(path).startswith("FILE is not an .npz file")


def test_fit() -> None:
    graph = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 1, 5))
    rows = np.arange(2 * 15, dtype=np.float64).reshape(2, 5, 3)
    fitted = fit_images(graph, rows)
    assert fitted.shape == (2, 3, 1, 5)
    assert fitted[1, 2, 0, 3] == rows[1, 3, 2]
    vector = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 1, 1))
    assert fit_images(vector, np.zeros((7, 3))).shape == (7, 3, 1, 1)


def channels_last(shape: tuple[int, int, int]) -> Graph:
    """A network whose file has channels last."""
    channels, height, width = shape
    places = np.arange(channels * height * width).reshape(shape).transpose(1, 2, 0)[None]
    plain = graph_of(conv_layer("c", "x", (2, channels, 1, 1)), shape=shape)
    return replace(plain, file_ends=Ends(End("image", Arrangement.of_index(places)), plain.ends.outputs))


def test_images_come_as_the_file_has_its_input_or_as_ours() -> None:
    images = np.random.default_rng(0).normal(size=(5, 3, 4, 6)).astype(np.float32)
    graph = channels_last((3, 4, 6))
    np.testing.assert_array_equal(fit_images(graph, images), images)
    np.testing.assert_array_equal(fit_images(graph, images.transpose(0, 2, 3, 1)), images)
    np.testing.assert_array_equal(check_images(graph, images), images)
    with pytest.raises(SkipstoneError) as error:
        fit_images(graph, np.zeros((2, 6, 4, 3)))
    assert (
        str(error.value) == "images of shape 6x4x3 don't fit network 'test', whose input is 3x4x6, or 4x6x3 in its file"
    )


def test_where_both_are_of_one_shape_images_are_as_the_file_s() -> None:
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 4)).astype(np.float32)
    graph = channels_last((4, 4, 4))
    np.testing.assert_array_equal(fit_images(graph, images), images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(check_images(graph, images), images)


def test_a_flat_vector_is_an_image() -> None:
    plain = graph_of(conv_layer("c", "x", (2, 1, 1, 1)), shape=(1, 4, 6))
    graph = replace(plain, file_ends=Ends(End("image", Arrangement((1, 24))), plain.ends.outputs))
    images = np.random.default_rng(0).normal(size=(5, 1, 4, 6)).astype(np.float32)
    np.testing.assert_array_equal(fit_images(graph, images.reshape(5, 24)), images)
    np.testing.assert_array_equal(fit_images(graph, images), images)


def test_fit_errors() -> None:
    graph = graph_of(conv_layer("c", "x", (2, 3, 1, 1)), shape=(3, 4, 5))
    with pytest.raises(SkipstoneError) as error:
        fit_images(graph, np.zeros((2, 4, 5, 3)))
    assert str(error.value) == "images of shape 4x5x3 don't fit network 'test', whose input is 3x4x5"
    with pytest.raises(SkipstoneError, match=r"^images contain NaN or infinity$"):
        fit_images(graph, np.full((1, 3, 4, 5), np.nan))
    with pytest.raises(SkipstoneError, match=r"^there are no images$"):
        fit_images(graph, np.zeros((0, 3, 4, 5)))


def test_labels() -> None:
    check_labels(np.array([0, 9]), 2, 10)
    with pytest.raises(SkipstoneError, match=r"^label 10 is out of range; the network has 10 classes, 0 to 9$"):
        check_labels(np.array([0, 10]), 2, 10)
    with pytest.raises(SkipstoneError, match=r"^3 images need 3 labels, there are 2 of shape \(2,\)$"):
        check_labels(np.array([0, 1]), 3, 10)
