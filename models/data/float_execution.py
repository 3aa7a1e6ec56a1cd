"""Float inference and accuracy under ONNX Runtime, of the graph as it is now (so pruned weights count)."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images, Labels, check_images, check_labels
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import OnHost
from skipstone.models.graph.to_onnx import to_onnx

Array = NDArray[np.generic]

BATCH = 64
"""Images that ONNX Runtime sees at a time, which bounds memory."""


def run_onnx(
    model: onnx.ModelProto, feeds: dict[str, Array], optimize: bool = True, batch: int = BATCH
) -> dict[str, Array]:
    """All outputs of an ONNX model by name; ``feeds`` are its inputs by name, each with all images, which go in batches of
    ``batch``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    images = len(next(iter(feeds.values())))
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        batches = [
            session.run(None, {name: array[start : start + batch] for name, array in feeds.items()})
            for start in range(0, images, batch)
        ]
    except Exception as error:  # its errors have no base class of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SkipstoneError(f"ONNX Runtime cannot run the network: {reason}") from None
    return {name: np.concatenate([batch[index] for batch in batches]) for index, name in enumerate(names)}


def float_scores(graph: Graph, images: Images) -> Array:
    """The scores of classes (``graph.scores``) for images of N x channels x height x width: N x classes in the order of the
    network's file."""
    return _values(graph, *graph.scores, images)


def float_array_scores(graph: Graph, images: Images) -> Array:
    """As :func:`float_scores`, of what the array computes: before a Softmax and whatever else the host does."""
    name, order = graph.scores
    while name != graph.input and isinstance(layer := graph.layer(name), OnHost):
        name, order = layer.scored(order)
    return _values(graph, name, order, images)


def _values(graph: Graph, name: str, order: NDArray[np.int64] | None, images: Images) -> Array:
    scores = run_onnx(to_onnx(graph.with_outputs((name,))), {graph.input: check_images(graph, images)})[name]
    flat = scores.reshape(len(images), -1)
    return flat if order is None else flat[:, order]


def float_accuracy(graph: Graph, images: Images, labels: Labels) -> float:
    """Top-1 accuracy, 0 to 1."""
    return top_1(float_scores(graph, images), labels, graph.name)


def top_1(scores: Array, labels: Labels, network: str) -> float:
    """Top-1 accuracy, 0 to 1.

    Args:
        scores: N x elements.
        labels: A class for each.
        network: Its name, for messages.

    Raises:
        SkipstoneError: There are other numbers of labels or classes, or only one element.
    """
    check_labels(labels, len(scores), scores.shape[1])
    if scores.shape[1] < 2:
        raise SkipstoneError(f"network '{network}' has one output value, so it has no top-1 accuracy")
    return float(np.mean(scores.argmax(axis=1) == labels))
