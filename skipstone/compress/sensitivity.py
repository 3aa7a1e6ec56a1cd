"""Sensitivity of every layer on a design: accuracy and exact cycles when that layer alone is compressed, and the files of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hw.design import Design
from mapper.pruning.target import target_for
from models import onnx_import, zoo
from models.errors import SkipstoneError
from models.graph import Graph
from models.images import Images, Labels, check_labels, fit_images, load_images
from models.sensitivity import PruneLayer, SensitivityLayer, SensitivityPoint, SensitivityResult, magnitude, measure
from reports.page import write_whole
from reports.sensitivity import write_sensitivity
from skipstone.prepare import Progress, short_name

SPARSITIES = (0.25, 0.5, 0.75, 0.9)
BITS = (8, 6, 4, 3, 2)
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
    weight_bits: int = 8,
    activation_bits: int = 8,
) -> SensitivityResult:
    """For every layer with trained weights, each sparsity and each number of bits: top-1 accuracy of the *float* network in which
    only that layer is pruned, or has its weights rounded to so many bits; and exact cycles of the whole network on ``design``.

    Cycles are those of the network quantized to ``weight_bits`` and ``activation_bits``: fewer bits save cycles only where
    weights round to zero, which the result's notes say. ``images`` are N x C x H x W with a class for each in ``labels``.
    SkipstoneError for data that don't fit; MappingError for a network that the design can't run.
    """
    shown = fit_images(graph, images)
    check_labels(labels, len(shown), 1 << 30)
    if not graph.convs:
        raise SkipstoneError(f"network '{graph.name}' has no layer with trained weights")
    target = target_for(graph, design, shown[:RANGE_IMAGES], weight_bits=weight_bits, activation_bits=activation_bits)
    progress("mapping the network as it is")
    bounds = target.cost(graph).bounds()
    accuracy, cycles, points = measure(graph, shown, labels, sparsities, bits, prune_layer, target.cycles, progress)
    notes = [
        f"accuracy: the float network's under ONNX Runtime, on {len(shown)} images; only one layer is changed at a time",
        f"bits: the layer's weights rounded to integers of so many bits, as floats again; its cycles are counted with "
        f"{weight_bits}-bit multipliers, so that only weights that round to zero save any",
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
    data: str | Path | None,
    design: Design,
    sparsities: Sequence[float] = SPARSITIES,
    bits: Sequence[int] = BITS,
    *,
    out: Path,
    progress: Progress = lambda _: None,
    prune_layer: PruneLayer = magnitude,
    method: str = "magnitude",
    weight_bits: int = 8,
    activation_bits: int = 8,
) -> SensitivityResult:
    """Sensitivity of ``network`` (an ONNX file or a carried network's name) on the labelled images of ``data`` (an ``.npz``;
    None: those that the network carries), written to ``out`` as ``sensitivity.json``, ``.csv`` and ``.html``. SkipstoneError
    where there are no labelled images; OSError where ``out`` can't be written."""
    progress("reading the network")
    graph = onnx_import.load(network)
    carried = zoo.carried_networks().get(network)
    path = data if data is not None else carried.evaluation if carried is not None else None
    if path is None:
        raise SkipstoneError(f"network '{network}' carries no images; sensitivity needs labelled ones, in an .npz file")
    images, labels = load_images(path)
    if labels is None:
        raise SkipstoneError(f"{path} has no array 'labels'; without them there is no accuracy to measure")
    result = sensitivity(
        graph,
        images,
        labels,
        design,
        sparsities,
        bits,
        progress,
        prune_layer=prune_layer,
        method=method,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
    )
    result = replace(result, network=short_name(network))
    progress("writing")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / FILES[0], json.dumps(result.to_dict(), indent=1) + "\n")
    write_whole(out / FILES[1], csv_text(result.points))
    write_sensitivity(result, out / FILES[2])
    return result


def csv_text(points: Sequence[SensitivityPoint]) -> str:
    """One line a point, with a header."""
    text = io.StringIO()
    names = list(SensitivityPoint.__dataclass_fields__)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(point, name) for name in names] for point in points)
    return text.getvalue()
