"""Activations of a network at some tensors: of the float network, or of the integer network as floats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipstone.models.data.float_execution import run_onnx
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Select
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import Ranges
from skipstone.models.quantization.scheme import INT8, QuantizationScheme


def float_tensors(graph: Graph, images: Images, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Computes tensors of a graph by ONNX Runtime.

    Args:
        graph: The float graph.
        images: N x C x H x W.
        names: The tensors; the graph's input is the images.
    """
    tensors = tuple(dict.fromkeys(names))
    computed = tuple(name for name in tensors if name != graph.input)
    outputs = run_onnx(to_onnx(graph.with_outputs(computed)), {graph.input: images}) if computed else {}
    return {name: images if name == graph.input else outputs[name].astype(np.float32) for name in tensors}


@dataclass(eq=False)
class QuantizedInputs:
    """The inputs of layers when all layers before them are quantized.

    Without ``ranges`` only weights are quantized. With them the inputs are those of the integer network, whose layers
    without a grid are quantized as ``scheme`` says.

    Tensors must be asked for layer by layer, in execution order, with graphs in which only layers from there on change
    later: results of the integer network are reused.
    """

    images: Images
    ranges: Ranges | None = None
    scheme: QuantizationScheme = INT8
    _known: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def tensor(self, graph: Graph, name: str) -> NDArray[np.float32]:
        """Tensor ``name`` of ``graph``, N x C x H x W, in floats."""
        if self.ranges is None:
            return float_tensors(graph, self.images, [name])[name]
        network = quantize(graph, self.ranges, self.scheme)
        if name not in network.tensors and isinstance(select := graph.layer(name), Select):
            return self.tensor(graph, select.inputs[0])[:, select.channels]
        if network.input not in self._known:
            self._known[network.input] = reference.quantize_input(network, self.images)
        parts = network.leaves(name)
        last = max((at for at, layer in enumerate(network.layers) if layer.output in parts), default=-1)
        waiting = [layer for layer in network.layers[: last + 1] if layer.output not in self._known]
        self._known = reference.run_layers(network, waiting, self._known)
        tensor = network.tensors[name]
        integers = np.concatenate([self._known[part] for part in parts], axis=1)
        return (tensor.scale * (integers - tensor.zero_point)).astype(np.float32)
