"""Sensitivity of every layer on a design: accuracy and exact cycles when that layer alone is compressed, and the files of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from skipstone.compress.checks import check_float
from skipstone.compress.defaults import BITS, SPARSITIES
from skipstone.compress.run import dataset_for
from skipstone.errors import SkipstoneError
from skipstone.files import json_text, write_files
from skipstone.flow.prepare import Progress, short_name
from skipstone.hw.design import Design
from skipstone.mapper.pruning.sensitivity import PruneLayer, magnitude, measure
from skipstone.mapper.pruning.target import target_for
from skipstone.mapper.results.sensitivity import SensitivityLayer, SensitivityPoint, SensitivityResult
from skipstone.models.data import zoo
from skipstone.models.data.images import Images, Labels, check_images, check_labels
from skipstone.models.graph.graph import Graph
from skipstone.models.onnx_io import reader as onnx_import
from skipstone.models.quantization.scheme import INT8, QuantizationScheme
from skipstone.reports.compression.sensitivity import sensitivity_html
from skipstone.reports.web.csv_files import csv_text
from skipstone.reports.web.figures import Numbers

RANGE_IMAGES = 64
"""Images that give the activation ranges; cycles hardly depend on them."""
FILES = ("sensitivity.json", "sensitivity.csv", "sensitivity.html")


def sensitivity(
    graph: Graph,
    images: Images,
    labels: Labels,
    design: Design,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = BITS,
    progress: Progress = lambda _: None,
    *,
    prune_layer: PruneLayer = magnitude,
    method: str = "magnitude",
    scheme: QuantizationScheme = INT8,
) -> SensitivityResult:
    """Accuracy and cycles when a single layer is pruned, or rounded to fewer bits: each layer, each amount.

    Accuracy (top-1) is that of the *float* network in which only that layer is changed. Cycles are exact, of the whole network
    quantized as ``scheme`` says: fewer bits save cycles only where weights round to zero, which the result's notes say.

    Args:
        graph: The float network.
        images: N x C x H x W.
        labels: A class for each image.
        design: The array.
        sparsities: Shares of zeros, from 0 to below 1.
        bits: Widths of weights.
        progress: Called with a few words before each stage.
        prune_layer: Prunes a layer; the smallest magnitudes by default.
        method: What ``prune_layer`` does, in words, for the result.
        scheme: How the network is quantized for its cycles.

    Raises:
        SkipstoneError: The data don't fit, the network is quantized, or a sparsity is out of range.
        MappingError: The design can't run the network.
    """
    _check_sparsities(sparsities)
    check_float(graph)
    shown = check_images(graph, images)
    check_labels(labels, len(shown), 1 << 30)
    target = target_for(graph, design, shown[:RANGE_IMAGES], scheme)
    progress("mapping the network as it is")
    bounds = target.cost(graph).layer_bounds()
    accuracy, cycles, points = measure(graph, shown, labels, sparsities, bits, prune_layer, target.cycles, progress)
    notes = [
        f"accuracy: the float network's under ONNX Runtime, on {len(shown)} images; only one layer is changed at a time",
        f"bits: the layer's weights rounded to integers of so many bits, as floats again; its cycles are counted with "
        f"{scheme.weight_bits}-bit multipliers, so that only weights that round to zero save any",
    ]
    misfit = target.misfit(graph)
    if misfit is not None:
        notes.append(f"cycles are counted with larger memories: {misfit}")
    layers = tuple(
        SensitivityLayer(layer.name, layer.kind, layer.weights.size, graph.macs[layer.name], bounds.get(layer.name, ""))
        for layer in graph.convs
    )
    return SensitivityResult(
        graph.name, design.name, method, len(shown), accuracy, cycles, layers, points, tuple(notes)
    )


def run_sensitivity(
    network: str,
    data: str | None,
    design: Design,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = BITS,
    *,
    out: Path,
    images: int = 1000,
    input_shape: tuple[int, ...] | None = None,
    progress: Progress = lambda _: None,
    prune_layer: PruneLayer = magnitude,
    method: str = "magnitude",
    scheme: QuantizationScheme = INT8,
) -> SensitivityResult:
    """Accuracy against zeros and bits, one layer at a time, beside the cycles that the design saves.

    Args:
        network: An ONNX file (float), or the name of a carried network.
        data: The name of a data set (see ``load_dataset``). None: the images that a carried network brings.
        design: Whose cycles are counted.
        sparsities: Shares of zeros to try on each layer, 0 to below 1.
        bits: Weight bits to try on each layer.
        out: Folder for ``sensitivity.json``, ``.csv`` and ``.html``.
        images: Labelled test images to measure on, the first ones.
        input_shape: N, C, H, W, where the file leaves a dimension open.
        progress: Called with a few words before each measurement.
        prune_layer: Sets a share of a layer's weights to zero.
        method: Name of ``prune_layer`` for the result.
        scheme: How the network is quantized to count its cycles.

    Returns:
        A point for each layer and value: accuracy of the float network and cycles saved.

    Raises:
        SkipstoneError: There are no labelled images, or a value is out of range.
        OSError: ``out`` cannot be written.
    """
    _check_sparsities(sparsities)
    progress("reading the network")
    graph = onnx_import.load(network, input_shape)
    check_float(graph)
    if data is None and network not in zoo.carried_networks():
        raise SkipstoneError(f"network '{network}' carries no images; name labelled ones", parameter="data")
    pictures, labels = dataset_for(graph, data or network).testing()
    pictures, labels = pictures[:images], labels[:images]
    result = sensitivity(
        graph,
        pictures,
        labels,
        design,
        sparsities,
        bits,
        progress,
        prune_layer=prune_layer,
        method=method,
        scheme=scheme,
    )
    result = replace(result, network=short_name(network))
    progress("writing")
    out.mkdir(parents=True, exist_ok=True)
    texts = (json_text(result.to_dict()), csv_text(_numbers(result.points)), sensitivity_html(result))
    write_files({out / name: text for name, text in zip(FILES, texts, strict=True)})
    return result


def _check_sparsities(sparsities: Sequence[float]) -> None:
    for amount in sparsities:
        if not 0 <= amount < 1:
            raise SkipstoneError(f"sparsities must be shares of zeros, each from 0 to below 1, not {amount:g}")


def _numbers(points: Sequence[SensitivityPoint]) -> Numbers:
    names = tuple(SensitivityPoint.__dataclass_fields__)
    return Numbers(names, tuple(tuple(getattr(point, name) for name in names) for point in points))
