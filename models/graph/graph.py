"""The float network: layers in the array's terms, wired as a networkx graph, with shapes and work derived from them.

The ONNX importer makes a graph, pruning makes another one with other weights, calibration and quantization read it.
Nothing here changes after construction. A layer has one output tensor, which carries the layer's name; tensors are
(channels, height, width), without the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.graph.ends import Arrangement, End, Ends, FileShape
from skipstone.models.graph.grids import ActivationGrid, WeightGrid
from skipstone.models.graph.layers import Affine, ArgMax, Conv, Join, Layer, OnHost, Shape
from skipstone.models.graph.names import Names


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: one input tensor named ``input`` of ``input_shape``, ``layers``, and the names of its output tensors.

    ``layers`` may come in any order without a cycle; :attr:`order` is the execution order. A tensor may be several outputs, and
    the input an output. ``grids`` has the tensors whose quantization is fixed, and ``grids_from`` where it comes from, in words
    for reports. ``file_ends`` is how the network's file sees the input and each output; None: as they are, under our names.
    Raises SkipstoneError for a cycle, a name used twice, a tensor that no layer makes, or shapes that don't fit.
    """

    name: str
    input: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    grids: Mapping[str, ActivationGrid] = field(default_factory=dict)
    grids_from: str = ""
    file_ends: Ends | None = None

    def __post_init__(self) -> None:
        names = [self.input, *(layer.name for layer in self.layers)]
        tensors = set(names)
        if len(tensors) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise SkipstoneError(f"network '{self.name}': layer names used twice: {', '.join(twice)}")
        read = {tensor for layer in self.layers for tensor in layer.inputs} | set(self.outputs)
        if read - tensors:
            raise SkipstoneError(f"network '{self.name}': no layer makes {', '.join(sorted(read - tensors))}")
        if self.grids.keys() - tensors:
            strangers = ", ".join(sorted(self.grids.keys() - tensors))
            raise SkipstoneError(f"network '{self.name}': grids for tensors that it does not have, {strangers}")
        if not nx.is_directed_acyclic_graph(self.network):
            raise SkipstoneError(f"network '{self.name}' has a cycle")
        self.shapes  # noqa: B018  (computed here so that a misfit is refused at construction)
        if self.file_ends is not None:
            self._check_ends(self.file_ends)

    def _check_ends(self, ends: Ends) -> None:
        if len(ends.outputs) != len(self.outputs):
            raise SkipstoneError(f"network '{self.name}': {len(ends.outputs)} ends of {len(self.outputs)} outputs")
        for tensor, end in zip((self.input, *self.outputs), (ends.input, *ends.outputs), strict=True):
            order, size = end.arrangement.order, math.prod(self.shapes[tensor])
            if order.max(initial=0) >= size or order.min(initial=0) < 0:
                raise SkipstoneError(f"network '{self.name}': '{end.name}' has elements that '{tensor}' does not have")
        seen = ends.input.arrangement
        if seen.order.size != math.prod(self.input_shape) or not seen.permutes:
            raise SkipstoneError(
                f"network '{self.name}': '{ends.input.name}' does not have all elements of '{self.input}'"
            )

    @cached_property
    def network(self) -> nx.DiGraph:
        """The layers as a frozen networkx graph: a node for the input and each layer (attribute ``layer``), an edge for
        each tensor read."""
        network = nx.DiGraph()
        network.add_node(self.input, layer=None)
        network.add_nodes_from((layer.name, {"layer": layer}) for layer in self.layers)
        network.add_edges_from((tensor, layer.name) for layer in self.layers for tensor in layer.inputs)
        return nx.freeze(network)

    @cached_property
    def order(self) -> tuple[Layer, ...]:
        """The layers in execution order; where there is a choice, in the order of ``layers``."""
        place = {name: index for index, name in enumerate(self.network)}
        names = nx.lexicographical_topological_sort(self.network, key=place.__getitem__)
        return tuple(self.network.nodes[name]["layer"] for name in names if name != self.input)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor, the input's first."""
        shapes: dict[str, Shape] = {self.input: self.input_shape}
        for layer in self.order:
            shapes[layer.name] = layer.output_shape(tuple(shapes[tensor] for tensor in layer.inputs))
        return shapes

    @cached_property
    def ends(self) -> Ends:
        """How the network's file sees the input and each output."""
        if self.file_ends is not None:
            return self.file_ends
        names = Names()
        outputs = (End(names.take(name), Arrangement(self.file_shape(name))) for name in self.outputs)
        return Ends(End(self.input, Arrangement((1, *self.input_shape))), tuple(outputs))

    def file_shape(self, tensor: str) -> FileShape:
        """ONNX's shape of a tensor as it is: 1 x channels x height x width, but for what the host makes of other shapes."""
        layer = None if tensor == self.input else self.layer(tensor)
        if isinstance(layer, OnHost):
            return layer.result_shape(tuple(self.shapes[name] for name in layer.inputs))
        return (1, *self.shapes[tensor])

    def on_host(self, tensor: str) -> bool:
        """Whether the host computes ``tensor`` in floats."""
        return tensor != self.input and isinstance(self.layer(tensor), OnHost)

    def needed(self, tensors: Iterable[str]) -> frozenset[str]:
        """``tensors`` and all that they are made of."""
        names = set(tensors)
        return frozenset(names.union(*(nx.ancestors(self.network, name) for name in names)))

    def mixes_batch(self, tensor: str) -> bool:
        """Whether the host mixes the images of a batch on the way to ``tensor``."""
        hosts = (self.layer(name) for name in self.needed([tensor]) if self.on_host(name))
        return any(isinstance(host, OnHost) and not host.batched for host in hosts)

    def is_integer(self, tensor: str) -> bool:
        """Whether the host makes integers of ``tensor``: classes, or several side by side."""
        layer = None if tensor == self.input else self.layer(tensor)
        return isinstance(layer, ArgMax) or (isinstance(layer, Join) and self.is_integer(layer.inputs[0]))

    @cached_property
    def scores(self) -> tuple[str, NDArray[np.int64] | None]:
        """The tensor whose values are the scores of classes, and the order in which the file has them (None for their own): the
        first output that is not the input, or what the host makes a class or a list of heads of."""
        chosen = next((number for number, name in enumerate(self.outputs) if name != self.input), 0)
        tensor, order = self.outputs[chosen], self.ends.outputs[chosen].arrangement.index
        while tensor != self.input and isinstance(layer := self.layer(tensor), ArgMax | Join):
            tensor, order = layer.scored(order)
        return tensor, order

    @property
    def scores_output(self) -> int | None:
        """The number of the output that is the scores of classes; None where they are not an output themselves."""
        return next((number for number, name in enumerate(self.outputs) if name == self.scores[0]), None)

    @property
    def classes(self) -> int:
        """How many scores there are."""
        tensor, order = self.scores
        return math.prod(self.shapes[tensor]) if order is None else order.size

    def with_outputs(self, tensors: Iterable[str]) -> Graph:
        """The network with ``tensors`` as its outputs, all ends as they are."""
        return replace(self, outputs=tuple(tensors), file_ends=None)

    @cached_property
    def macs(self) -> Mapping[str, int]:
        """Multiplications by a trained weight of every layer (dense, one image), in execution order."""
        return {layer.name: layer.macs(self.shapes[layer.name]) for layer in self.order}

    def layer(self, name: str) -> Layer:
        """The layer called ``name``."""
        if name == self.input or name not in self.network:
            names = ", ".join(layer.name for layer in self.layers)
            raise SkipstoneError(f"network '{self.name}' has no layer '{name}'; it has {names}")
        layer: Layer = self.network.nodes[name]["layer"]
        return layer

    def readers(self, tensor: str) -> tuple[str, ...]:
        """Names of the layers that read ``tensor``; a layer that reads it twice is named twice."""
        return tuple(layer.name for layer in self.order for name in layer.inputs if name == tensor)

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The layers with trained weights (Conv and Gemm), in execution order."""
        return tuple(layer for layer in self.order if isinstance(layer, Conv))

    @property
    def quantized(self) -> bool:
        """Whether the weights of any layer, or any tensor, are quantized already."""
        return bool(self.grids) or any(
            isinstance(layer, Conv | Affine) and layer.grid is not None for layer in self.layers
        )

    def with_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> Graph:
        """A new graph in which the named Conv and Gemm layers have other weights of the same shape, and no grid."""
        for name, array in weights.items():
            old = self._with_trained_weights(name)
            if array.shape != old.weights.shape:
                raise SkipstoneError(
                    f"layer '{name}': weights of shape {array.shape} can't replace {old.weights.shape}"
                )
        layers = tuple(
            replace(layer, weights=np.asarray(weights[layer.name], dtype=np.float32), grid=None)
            if isinstance(layer, Conv) and layer.name in weights
            else layer
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def with_grids(self, grids: Mapping[str, WeightGrid]) -> Graph:
        """A new graph in which the named Conv and Gemm layers have the weights of these grids, and the grids themselves."""
        for name, grid in grids.items():
            old = self._with_trained_weights(name)
            if grid.integers.shape != old.weights.shape:
                raise SkipstoneError(
                    f"layer '{name}': a grid of shape {grid.integers.shape} can't replace weights of {old.weights.shape}"
                )
        layers = tuple(
            replace(layer, weights=grids[layer.name].weights, grid=grids[layer.name])
            if isinstance(layer, Conv) and layer.name in grids
            else layer
            for layer in self.layers
        )
        return replace(self, layers=layers)

    def _with_trained_weights(self, name: str) -> Conv:
        layer = self.layer(name)
        if not isinstance(layer, Conv):
            raise SkipstoneError(f"layer '{name}' ({layer.kind}) has no weights to replace")
        return layer
