"""The integer reference against ONNX Runtime on the QDQ file: the outside check of what our integers mean.

Layer by layer from the same integer inputs, and end to end in top-1. Graph optimizations are off, so that ONNX Runtime
does in float exactly what the file says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.graph.onnx_writer import BATCH
from skipstone.models.onnx_io.qdq_export import (
    Group,
    QdqWriter,
    activation_type,
    by_output,
    inputs_of,
    integer_name,
    table_input,
    to_qdq,
)
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import HostProduct, QuantizedLayer, QuantizedNetwork, QuantizedTensor

NEAR_TIE_STEPS = 2
"""Top-1 may differ where the two best scores of the reference are at most this many steps apart: each of the two may
be off by one."""


@dataclass(frozen=True)
class LayerComparison:
    """One layer (or all that write one tensor) on the same integer inputs: the largest difference in output steps, and the
    share of equal elements."""

    layer: str
    elements: int
    max_steps: int
    equal_fraction: float


@dataclass(frozen=True)
class Comparison:
    """Every layer alone, and top-1 end to end: the number of images, of those that agree, and of near-ties among the rest."""

    layers: tuple[LayerComparison, ...]
    images: int
    agreeing: int
    near_ties: int

    @property
    def max_steps(self) -> int:
        """Largest difference of any layer, in output steps."""
        return max(layer.max_steps for layer in self.layers)

    @property
    def min_equal_fraction(self) -> float:
        """Smallest share of equal elements of any layer."""
        return min(layer.equal_fraction for layer in self.layers)

    @property
    def unexplained(self) -> int:
        """Images whose top-1 differs and is no near-tie; 0 for a sound quantizer."""
        return self.images - self.agreeing - self.near_ties


def compare_with_onnxruntime(network: QuantizedNetwork, images: reference.Integers) -> Comparison:
    """Compares on quantized ``images`` (from :func:`skipstone.models.quantization.reference.quantize_input`)."""
    layers = compare_layers(network, images)
    agree, near = _top1(network, images, reference.run(network, images)[network.outputs[0]])
    return Comparison(layers, len(images), int(agree.sum()), int((near & ~agree).sum()))


def compare_layers(network: QuantizedNetwork, images: reference.Integers) -> tuple[LayerComparison, ...]:
    """Compares every layer alone on quantized ``images``."""
    tensors = reference.run(network, images)
    return tuple(_compare(network, group, tensors) for group in by_output(network).values())


def layer_to_qdq(network: QuantizedNetwork, layer: QuantizedLayer | HostProduct) -> onnx.ModelProto:
    """A layer alone (with those that write the same tensor), integers in and integers out, named by ``integer_name``.

    Where there is a table, the integers that it is looked up with are an output, too (``table_input``).
    """
    writer = QdqWriter(network)
    group = by_output(network)[layer.output]
    writer.group(group)
    outputs = [network.tensors[layer.output]]
    if (before := table_input(network, group)) is not None:
        outputs.append(before)
    return writer.model(
        network.name,
        [_integer_info(network, network.tensors[name]) for name in inputs_of(group[0])],
        [_integer_info(network, tensor) for tensor in outputs],
    )


def _compare(network: QuantizedNetwork, group: Group, tensors: dict[str, reference.Integers]) -> LayerComparison:
    """Compares the layers that write one tensor. A table is compared twice, by its input and by its output for ONNX Runtime's
    input; otherwise one step of the input could be several of the output."""
    first = group[0]
    inputs = {name: tensors[name] for name in inputs_of(first)}
    feeds = {integer_name(name): array.astype(activation_type(network)) for name, array in inputs.items()}
    theirs = {
        name: array.astype(np.int64)
        for name, array in run_onnx(layer_to_qdq(network, first), feeds, optimize=False).items()
    }
    ours = tensors[first.output]
    steps = []
    before = table_input(network, group)
    if before is not None and isinstance(first, QuantizedLayer) and first.table is not None:
        bare = [replace(layer, table=None) for layer in group if isinstance(layer, QuantizedLayer)]
        looked_up = theirs[integer_name(before.name)]
        steps.append(np.abs(looked_up - reference.run_layers(network, bare, inputs)[first.output]))
        ours = first.table[looked_up + len(first.table) // 2]
    steps.append(np.abs(theirs[integer_name(first.output)] - ours))
    worst = np.maximum.reduce(steps)
    partial = isinstance(first, QuantizedLayer) and first.lattice is not None
    name = first.sources[0] if partial else first.name
    return LayerComparison(name, worst.size, int(worst.max()), float(np.mean(worst == 0)))


def _top1(
    network: QuantizedNetwork, images: reference.Integers, scores: reference.Integers
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each image, whether top-1 agrees, and whether the reference calls it a near-tie."""
    source = network.tensors[network.input]
    real = ((images - source.zero_point) * source.scale).astype(np.float32)
    theirs = next(iter(run_onnx(to_qdq(network), {network.input: real}, optimize=False).values()))
    ours = scores.reshape(len(scores), -1)
    best = np.sort(ours, axis=1)
    near = best[:, -1] - best[:, -2] <= NEAR_TIE_STEPS if ours.shape[1] > 1 else np.zeros(len(ours), dtype=np.bool_)
    return ours.argmax(axis=1) == theirs.reshape(len(theirs), -1).argmax(axis=1), near


def _integer_info(network: QuantizedNetwork, tensor: QuantizedTensor) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(activation_type(network)))
    return helper.make_tensor_value_info(integer_name(tensor.name), kind, [BATCH, *tensor.shape])
