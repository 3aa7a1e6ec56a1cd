"""From a network's name or file to its quantized forms: float graph, pruned graph, ranges, integers, accuracy. A file that
is quantized already runs as it is, and options that contradict it are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.mapper.results.network import Accuracy
from skipstone.models.data import zoo
from skipstone.models.data.float_execution import float_scores, top_1
from skipstone.models.data.images import fit_images, load_images
from skipstone.models.graph.graph import Graph
from skipstone.models.onnx_io import reader as onnx_import
from skipstone.models.onnx_io.source import Source
from skipstone.models.pruning import spec
from skipstone.models.pruning.masks import weight_density
from skipstone.models.quantization import ranges as calibrate
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import materialized, quantize
from skipstone.models.quantization.scheme import INT8, QuantizationScheme, scheme_of

Progress = Callable[[str], None]

PROOF_IMAGES = 4
"""Calibration images on which the imported network must compute what its file does."""


@dataclass(frozen=True)
class CompressionOptions:
    """How a network is compressed and with which data.

    For a network that is quantized already these hold as far as it leaves something open: a value that is not the default
    one must be the network's own.

    Args:
        prune: METHOD:AMOUNT, as ``unstructured:0.8`` or ``2:4`` (``skipstone.models.pruning.spec``), or ``none``.
        scheme: Bits and code of weights, bits and ranges of activations.
        calibration: File of the images that activation ranges are measured on. None: those that a carried network brings,
            else seeded random input in ``input_range``.
        evaluation: File of labelled images to measure accuracy on. None: those that a carried network brings, else none.
        input_range: Lowest and highest value of random input.
        input_shape: N, C, H, W, where the network's file leaves it open.
        seed: Of random input and of random pruning.

    Example:
        ``CompressionOptions(prune="2:4", scheme=QuantizationScheme(weight_bits=4))``
    """

    prune: str = "none"
    scheme: QuantizationScheme = INT8
    calibration: str | None = None
    evaluation: str | None = None
    input_range: tuple[float, float] = (0.0, 1.0)
    input_shape: tuple[int, ...] | None = None
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PreparedNetwork:
    """A network in its forms, with the images that belong to it.

    Attributes:
        options: As asked for; bits and code are the network's own where its file has them.
        graph: The float network.
        dense: The quantized network without pruning.
        compressed: The quantized network that runs.
        pruning: What was pruned, in words.
        density: Share of the weights that are not zero.
        images: Evaluation images where there are any, else calibration images; N x C x H x W.
        evaluation: Evaluation images and labels.
        calibration: Calibration images.
        source: The file that ``graph`` was read from.
    """

    options: CompressionOptions
    graph: Graph
    dense: QuantizedNetwork
    compressed: QuantizedNetwork
    pruning: str
    density: float
    images: NDArray[np.float32] | None
    evaluation: tuple[NDArray[np.float32], NDArray[np.int64]] | None = field(default=None)
    calibration: NDArray[np.float32] | None = None
    source: Source | None = None


def prepare_network(network: str, options: CompressionOptions, progress: Progress = lambda _: None) -> PreparedNetwork:
    """Imports, prunes, calibrates and quantizes a network.

    Args:
        network: An ONNX file, or the name of a carried network.
        options: Pruning, quantization and data.
        progress: Called with a few words before each stage.

    Returns:
        The network in its forms: float, quantized, compressed.

    Raises:
        SkipstoneError: Something about the network, the data or the options is wrong; the message says what to do.
    """
    pruning = spec.parse(options.prune)
    progress("reading the network")
    imported = onnx_import.read_network(network, options.input_shape)
    graph = imported.graph
    if graph.quantized:
        _check_stored(graph, options)
    carried = zoo.carried_networks().get(network)
    calibration_path = options.calibration or (str(carried.calibration) if carried else None)
    evaluation_path = options.evaluation or (str(carried.evaluation) if carried else None)
    images = None
    if calibration_path:
        images = fit_images(graph, load_images(calibration_path)[0])
        imported.prove(images[:PROOF_IMAGES])
    evaluation = None
    if evaluation_path:
        evaluation_images, labels = load_images(evaluation_path)
        evaluation_images = fit_images(graph, evaluation_images)
        if labels is None:
            raise SkipstoneError(
                f"{evaluation_path} has no array 'labels'; without them there is no accuracy to measure"
            )
        evaluation = evaluation_images, labels
    if missing_ranges(graph):
        progress("calibrating")
    pruned = spec.prune_as(graph, options.prune, images, options.seed).graph
    dense = in_integers(graph, options, images)
    compressed = dense if pruning is None else in_integers(pruned, options, images)
    shown = evaluation_images if evaluation_path else images
    if graph.quantized:
        options = _options_of(compressed, options)
    return PreparedNetwork(
        options,
        graph,
        dense,
        compressed,
        spec.describe(pruning),
        weight_density(pruned),
        shown,
        evaluation,
        images,
        imported.source,
    )


def in_integers(graph: Graph, options: CompressionOptions, images: NDArray[np.float32] | None) -> QuantizedNetwork:
    """A float network in integers.

    Args:
        graph: The network, which may be pruned. Grids that it has stay.
        options: How it is quantized.
        images: What ranges that are missing are measured on (float32, N x C x H x W); None: seeded random input.

    Raises:
        SkipstoneError: The images or the options don't go with the network.
    """
    ranges = None
    low, high = options.input_range
    scheme = replace(options.scheme, activation_bits=_activation_bits(graph, options))
    if missing_ranges(graph):
        ranges = calibrate.calibrate(graph, images, scheme, seed=options.seed, low=low, high=high)
    return quantize(graph, ranges, scheme)


def stored_options(network: str, options: CompressionOptions) -> CompressionOptions:
    """The options with the bits and code of a network's file, if that is quantized: what a design for it must have.

    Args:
        network: An ONNX file, or the name of a carried network.
        options: The options as asked for.

    Raises:
        SkipstoneError: The network can't be read.
    """
    if not onnx_import.is_quantized(network):
        return options
    return prepare_network(network, replace(options, evaluation=None)).options


def missing_ranges(graph: Graph) -> bool:
    """Whether a tensor's quantization is left to calibration."""
    return not materialized(graph) <= graph.grids.keys()


def _activation_bits(graph: Graph, options: CompressionOptions) -> int:
    return max((grid.bits for grid in graph.grids.values()), default=options.scheme.activation_bits)


def _check_stored(graph: Graph, options: CompressionOptions) -> None:
    """Refuses what contradicts a quantized network."""
    scheme, default = options.scheme, CompressionOptions()
    grids = [layer.grid for layer in graph.convs if layer.grid is not None]
    bits = max((grid.bits for grid in grids), default=scheme.weight_bits)
    codes = {grid.code for grid in grids} or {scheme.weight_code}
    stored = f"network '{graph.name}' is quantized already"
    if options.prune != default.prune:
        raise SkipstoneError(
            f"{stored}, so prune {options.prune} can't change its weights; prune the float network", parameter="prune"
        )
    for name, requested, usual, stored_values in (
        ("weight_bits", scheme.weight_bits, INT8.weight_bits, {bits}),
        ("activation_bits", scheme.activation_bits, INT8.activation_bits, {_activation_bits(graph, options)}),
        ("weight_code", scheme.weight_code, INT8.weight_code, codes),
    ):
        if requested != usual and stored_values != {requested}:
            values = ", ".join(map(str, sorted(stored_values)))
            raise SkipstoneError(
                f"{stored}, with {name} {values}; leave {name} {requested} out, or quantize the float network",
                parameter=name,
            )
    if missing_ranges(graph):
        return
    for name, text, unset in (
        ("calibration", options.calibration, default.calibration),
        ("calibration_method", scheme.calibration_method, INT8.calibration_method),
    ):
        if text != unset:
            raise SkipstoneError(
                f"{stored}, and needs no ranges; leave {name} {text} out, or quantize the float network", parameter=name
            )


def _options_of(network: QuantizedNetwork, options: CompressionOptions) -> CompressionOptions:
    """``options`` with the bits and code of a quantized network."""
    scheme = replace(scheme_of(network), calibration_method=options.scheme.calibration_method)
    return replace(options, scheme=scheme)


def measure_accuracy(prepared: PreparedNetwork, progress: Progress = lambda _: None) -> Accuracy:
    """Top-1 accuracy of the three forms of a network on its evaluation images.

    Args:
        prepared: The network in its forms.
        progress: Called with a few words before each form.

    Returns:
        Shares, 0 to 1. All are None without labelled images; the float network's is where only the quantized one is there.
    """
    if prepared.evaluation is None:
        return Accuracy()
    images, labels = prepared.evaluation
    float_share = None
    if not prepared.graph.quantized:
        progress(f"accuracy on {len(labels)} images: float")
        # The float network is what the user's file is, not what we made of it.
        file = prepared.source if prepared.source is not None and prepared.source.is_runnable else None
        output = prepared.graph.scores_output
        scores = float_scores(prepared.graph, images) if file is None or output is None else file.scores(images, output)
        float_share = top_1(scores, labels, prepared.graph.name)
    progress(f"accuracy on {len(labels)} images: quantized")
    quantized = reference.accuracy(prepared.dense, images, labels)
    progress(f"accuracy on {len(labels)} images: compressed")
    same = prepared.compressed is prepared.dense
    compressed = quantized if same else reference.accuracy(prepared.compressed, images, labels)
    return Accuracy(float_share, quantized, compressed, len(labels))


def sample_inputs(prepared: PreparedNetwork, count: int) -> NDArray[np.float32]:
    """Inputs for the RTL: the evaluation (or calibration) images in order, over again if they are too few.

    Args:
        prepared: The network in its forms. Without images, inputs are random, by its options' seed.
        count: How many.

    Returns:
        float32, ``count`` x channels x height x width.
    """
    if prepared.images is not None:
        return prepared.images[np.arange(count) % len(prepared.images)]
    low, high = prepared.options.input_range
    rng = np.random.default_rng(prepared.options.seed)
    shape = prepared.compressed.tensors[prepared.compressed.input].shape
    return rng.uniform(low, high, (count, *shape)).astype(np.float32)


def short_name(network: str) -> str:
    """What reports and folders call a network: a carried name as it is, a path without folder and ending."""
    return Path(network).stem if network.endswith(".onnx") else network
