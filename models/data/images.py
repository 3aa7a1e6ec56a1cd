"""Images from a ``.npz`` file, and their shapes against a network's: the gate through which all user data comes."""

from __future__ import annotations

import logging
import math
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.input_files import shortened
from skipstone.models.graph.ends import Arrangement
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Shape

_log = logging.getLogger(__name__)

ZIP, NPY = b"PK\3\4", b"\x93NUMPY"
"""What files of several arrays and of a single one begin with."""
SMALL, LARGEST_RATIO = 1 << 30, 100
"""An array of more bytes must not be packed more tightly than this: images aren't, and a small file would fill any memory."""

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Targets = NDArray[np.int64] | NDArray[np.float32]
"""Labels that are classes (N), or values that the network's outputs should have (first axis N)."""


def load_images(path: str | Path) -> tuple[Images, Labels | None]:
    """``images`` (floats, first axis the image) and ``labels`` (a class index an image, or None) of a ``.npz`` file."""
    arrays = read_arrays(path, ("images", "labels"))
    if "images" not in arrays:
        raise SkipstoneError(f"{path} has no array 'images'; it has {', '.join(arrays) or 'none'}")
    images = checked_images(path, "images", arrays["images"])
    if "labels" not in arrays:
        return images, None
    return images, checked_labels(path, "labels", arrays["labels"], len(images))


def read_arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    """The arrays called ``names`` that a ``.npz`` file has; all of its arrays if it has none of these."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(ZIP))
            if start == NPY[: len(ZIP)]:
                raise SkipstoneError(
                    f"{path} is a single array; write it with numpy.savez(path, images=..., labels=...)"
                )
            with _archive(path, file) as archive:
                entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
                present = [name for name in entries if name in names] or list(entries)
                return {name: _array(path, archive, entries[name]) for name in present}
    except FileNotFoundError:
        raise SkipstoneError(f"no file '{path}'") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror or error}") from None


def _archive(path: str | Path, file: IO[bytes]) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except OSError:
        raise
    except Exception:  # of any kind, as the damage is
        raise SkipstoneError(
            f"{path} is not an .npz file; write it with numpy.savez(path, images=..., labels=...)"
        ) from None


def _array(path: str | Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.generic]:
    """An array of an archive. What its header says is held against the bytes that there are before anything is allocated."""
    if entry.file_size > max(SMALL, LARGEST_RATIO * entry.compress_size):
        raise SkipstoneError(
            f"{path}: '{entry.filename}' would unpack {entry.compress_size:,} bytes to {entry.file_size:,}; is it damaged?"
        )
    try:
        with archive.open(entry) as content:
            shape, fortran_order, dtype = _npy_header(content)
            count = math.prod(shape)
            if dtype.hasobject:
                raise ValueError("it holds Python objects, not numbers")
            values = content.read(entry.file_size)
            if len(values) != count * dtype.itemsize:
                raise ValueError(f"its header says {count * dtype.itemsize:,} bytes, it has {len(values):,}")
    except Exception as error:  # zipfile, its unpackers and NumPy's parser raise errors of any kind, as the damage is
        reason = shortened(" ".join(str(error).split()), 200) or type(error).__name__
        raise SkipstoneError(f"{path}: can't read its array '{entry.filename}' ({reason}); is it truncated?") from None
    array = np.frombuffer(values, dtype) if count and dtype.itemsize else np.empty(count, dtype)
    return array.reshape(shape, order="F" if fortran_order else "C")


def _npy_header(content: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of the array whose values come next."""
    version = np.lib.format.read_magic(content)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("its header is of another version than 1 or 2")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(content)
    if any(type(size) is not int or size < 0 for size in shape) or math.prod(shape) > sys.maxsize:
        raise ValueError("its header has no shape of an array")
    return shape, fortran_order, dtype


def checked_images(path: str | Path, name: str, images: NDArray[np.generic]) -> Images:
    """Array ``name`` of the file ``path`` as images; refused unless it holds finite floats, one image or more."""
    if not np.issubdtype(images.dtype, np.floating):
        raise SkipstoneError(f"{path}: '{name}' must be floats as the network expects them, not {images.dtype}")
    if images.ndim < 2 or not images.size:
        raise SkipstoneError(
            f"{path}: '{name}' must hold at least one image along its first axis, its shape is {images.shape}"
        )
    if not np.isfinite(images).all():
        raise SkipstoneError(f"{path}: '{name}' contain NaN or infinity")
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite
        result = images.astype(np.float32, copy=False)
    if not np.isfinite(result).all():
        raise SkipstoneError(f"{path}: '{name}' contain numbers beyond the range of 32-bit floats")
    return result


def checked_labels(path: str | Path, name: str, labels: NDArray[np.generic], images: int) -> Labels:
    """Array ``name`` of the file ``path`` as labels; refused unless it holds one integer for each of ``images``."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise SkipstoneError(f"{path}: '{name}' must be integers, not {labels.dtype}")
    if labels.shape != (images,):
        raise SkipstoneError(
            f"{path}: '{name}' must have one entry for each of {images} images, its shape is {labels.shape}"
        )
    return labels.astype(np.int64, copy=False)


def checked_targets(path: str | Path, name: str, labels: NDArray[np.generic], images: int) -> Targets:
    """As :func:`checked_labels`, or values: finite floats whose first axis has ``images`` entries."""
    if not np.issubdtype(labels.dtype, np.floating):
        return checked_labels(path, name, labels, images)
    if labels.shape[:1] != (images,) or not labels.size:
        raise SkipstoneError(
            f"{path}: '{name}' must have values for each of {images} images, its shape is {labels.shape}"
        )
    if not np.isfinite(labels).all():
        raise SkipstoneError(f"{path}: '{name}' contain NaN or infinity")
    return labels.astype(np.float32, copy=False)


def fit_images(graph: Graph, images: NDArray[np.floating]) -> Images:
    """Brings a user's images into the shape of the graph's input, N x channels x height x width.

    Args:
        graph: The network.
        images: Images as the network's file has its input (for example N x height x width x channels), or else in our shape.
            Where both are of one shape, they are taken as the file's.

    Raises:
        SkipstoneError: Any other shape (the text has both), or NaN or infinity.
    """
    return fit_to_input(images, graph.input_shape, graph.ends.input.arrangement, f"network '{graph.name}'")


def check_images(graph: Graph, images: NDArray[np.floating]) -> Images:
    """Images of N x channels x height x width (N x K or N x rows x K for a matrix) for ``graph``; SkipstoneError for others."""
    return _fit_to_shape(images, graph.input_shape, f"network '{graph.name}'")


def fit_to_input(images: NDArray[np.floating], shape: Shape, arrangement: Arrangement | None, whose: str) -> Images:
    """As :func:`fit_images`, for an input of ``shape`` that its file sees in an ``arrangement`` and messages call ``whose``."""
    if arrangement is None or arrangement.index is None or images.shape[1:] != arrangement.sample_shape:
        in_file = arrangement.sample_shape if arrangement is not None and arrangement.sample_shape != shape else None
        if in_file is not None and images.shape[1:] == shape:
            _log.info(
                "images are %s (channels, height, width), the input of %s is %s", _sizes(shape), whose, _sizes(in_file)
            )
        flat = in_file is not None and images.shape[1:] == in_file
        return _fit_to_shape(images.reshape(-1, *shape) if flat else images, shape, whose, in_file)
    _log.info("images are %s, as the input of %s", _sizes(images.shape[1:]), whose)
    return _fit_to_shape(arrangement.from_file(images).reshape(-1, *shape), shape, whose)


def _sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _fit_to_shape(
    images: NDArray[np.floating], shape: Shape, whose: str, in_file: tuple[int, ...] | None = None
) -> Images:
    channels, height, width = shape
    result = np.asarray(images, dtype=np.float32)
    if result.shape[1:] == (width, channels) and height == 1:
        result = result.transpose(0, 2, 1)[:, :, None]
    elif result.shape[1:] == (channels,) and height == width == 1:
        result = result[:, :, None, None]
    if result.shape[1:] != shape:
        raise SkipstoneError(
            f"images of shape {_sizes(images.shape[1:])} don't fit {whose}, whose input is {_sizes(shape)}"
            + (f", or {_sizes(in_file)} in its file" if in_file is not None else "")
        )
    if not len(result):
        raise SkipstoneError("there are no images")
    if not np.isfinite(result).all():
        raise SkipstoneError("images contain NaN or infinity")
    return np.ascontiguousarray(result)


def check_labels(labels: Labels, images: int, classes: int) -> None:
    """Refuses labels that are not one for each image, each from 0 to ``classes`` - 1."""
    if labels.shape != (images,):
        raise SkipstoneError(f"{images} images need {images} labels, there are {labels.size} of shape {labels.shape}")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise SkipstoneError(
            f"label {int(wrong[0])} is out of range; the network has {classes} classes, 0 to {classes - 1}"
        )
