"""The compressed networks of an exploration: each layer is pruned by itself, once for each method, and combined as a choice says.

``criterion`` says by what ``unstructured`` and N:M pruning choose. Second order solves every layer on the inputs that
it has in the *dense* network, so that what becomes of a layer does not depend on what is chosen for the others;
sequential pruning (``skipstone.models.pruning.second_order`` on a whole network), where each layer makes up for what
those before it lost, keeps more accuracy at large amounts.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.explore.identity import code_digest
from skipstone.explore.space import GIVEN, LAYER, Choice
from skipstone.explore.store import Store, digest
from skipstone.flow.prepare import CompressionOptions, PreparedNetwork, in_integers, prepare_network
from skipstone.models.graph.files import graph_fingerprint
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning import masks, spec
from skipstone.models.pruning.criteria import CRITERIA, Evidence
from skipstone.models.pruning.masks import Pruning
from skipstone.models.pruning.second_order import second_order
from skipstone.models.pruning.statistics import LayerStatistics, measure
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.scheme import INT8, QuantizationScheme, parse_weight_code

Criterion = Literal["auto", "second_order", "magnitude"]


@dataclass(frozen=True)
class Compression:
    """What determines a compressed network. ``layers``: (layer, pruning method) of those that have one of their own; the others
    have ``prune``. ``network``: ``given``, or one that is compressed already, to which nothing else applies."""

    network: str = GIVEN
    prune: str = "none"
    layers: tuple[tuple[str, str], ...] = ()
    criterion: Criterion = "auto"
    scheme: QuantizationScheme = INT8

    @classmethod
    def of(cls, choice: Mapping[str, Choice], options: CompressionOptions) -> Compression:
        """The part of a search space's choice that compresses.

        Args:
            choice: Parameters and their values.
            options: What holds where the choice leaves something open.

        Raises:
            SkipstoneError: The weight code can't be read.
        """
        scheme = options.scheme
        code, entries = scheme.weight_code, scheme.codebook_entries
        if "weight_code" in choice:
            code, entries = parse_weight_code(str(choice["weight_code"]))
        if choice.get("network", GIVEN) != GIVEN:
            return cls(network=str(choice["network"]))
        return cls(
            prune=str(choice.get("prune", options.prune)),
            layers=tuple(
                sorted((name[len(LAYER) :], str(value)) for name, value in choice.items() if name.startswith(LAYER))
            ),
            criterion=cast("Criterion", choice.get("criterion", "auto")),
            scheme=replace(
                scheme,
                weight_bits=int(choice.get("weight_bits", scheme.weight_bits)),
                activation_bits=int(choice.get("activation_bits", scheme.activation_bits)),
                weight_code=code,
                codebook_entries=entries,
            ),
        )


@dataclass(frozen=True, eq=False)
class CompressedNetwork:
    """``network`` in integers; ``digest`` names them. ``options`` have its bits and code, as a design for it must."""

    network: QuantizedNetwork
    digest: str
    options: CompressionOptions


class Compressor:
    """Makes the compressed forms of one network. Each form is made once; solved layers are in ``store`` too."""

    def __init__(self, network: str, options: CompressionOptions, store: Store | None = None) -> None:
        self._options = options
        self._store = store or Store()
        self.given: PreparedNetwork = prepare_network(network, replace(options, prune="none"))
        self._made: dict[Compression, CompressedNetwork | SkipstoneError] = {}
        self._layers: dict[tuple[str, str], Conv] = {}
        self._statistics: dict[str, LayerStatistics] | None = None
        self._dense = digest(
            code_digest(),
            graph_fingerprint(self.graph),
            b"" if self.given.calibration is None else self.given.calibration.tobytes(),
        )

    @property
    def graph(self) -> Graph:
        """The network as it was given."""
        return self.given.graph

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers that can be pruned."""
        return tuple(layer.name for layer in self.graph.convs)

    def compressed(self, choice: Compression) -> CompressedNetwork:
        """The network in a form, made once.

        Raises:
            SkipstoneError: It can't be made; with the same text every time.
        """
        if choice not in self._made:
            try:
                self._made[choice] = self._make(choice)
            except SkipstoneError as error:
                self._made[choice] = error
        compressed_network = self._made[choice]
        if isinstance(compressed_network, SkipstoneError):
            raise SkipstoneError(str(compressed_network))
        return compressed_network

    def _make(self, choice: Compression) -> CompressedNetwork:
        if choice.network != GIVEN:
            open_ = replace(
                CompressionOptions(),
                input_range=self._options.input_range,
                input_shape=self._options.input_shape,
                seed=self._options.seed,
            )
            prepared = prepare_network(choice.network, open_)
            self._check_same_task(choice.network, prepared)
            return CompressedNetwork(prepared.compressed, network_digest(prepared.compressed), prepared.options)
        if self.graph.quantized:
            if choice.prune != "none" or any(text != "none" for _, text in choice.layers):
                raise SkipstoneError(
                    f"network '{self.graph.name}' is quantized already, so pruning can't change its weights; prune the float "
                    "network"
                )
            return CompressedNetwork(self.given.compressed, network_digest(self.given.compressed), self.given.options)
        options = replace(self._options, prune="none", scheme=choice.scheme)
        network = in_integers(self._pruned(choice), options, self.given.calibration)
        return CompressedNetwork(network, network_digest(network), options)

    def _check_same_task(self, name: str, other: PreparedNetwork) -> None:
        mine, theirs = (
            [graph.shapes[tensor] for tensor in (graph.input, *graph.outputs)] for graph in (self.graph, other.graph)
        )
        if mine != theirs:
            raise SkipstoneError(
                f"network '{name}' has inputs and outputs of shapes {theirs}, '{self.graph.name}' {mine}: it is not another "
                "form of the same network"
            )

    # Pruning --------------------------------------------------------------------------------------------------------

    def _pruned(self, choice: Compression) -> Graph:
        layer_prunings = dict(choice.layers)
        unknown = sorted(set(layer_prunings) - set(self.layer_names))
        if unknown:
            raise SkipstoneError(f"network '{self.graph.name}' has no prunable layer '{unknown[0]}'")
        pruning = spec.parse(choice.prune)
        method = self._criterion(choice)
        if pruning is not None and pruning.scope == "network":
            competing = replace(pruning, skip=tuple(layer_prunings))
            pruned = masks.prune(self.graph, competing, self._evidence(pruning), self._options.seed).graph
            base = {layer.name: layer for layer in pruned.convs}
        else:
            base = {
                name: self._layer(name, choice.prune, method) for name in self.layer_names if name not in layer_prunings
            }
        layers = {**base, **{name: self._layer(name, text, method) for name, text in layer_prunings.items()}}
        if all(layers[layer.name] is layer for layer in self.graph.convs):
            return self.graph
        return replace(self.graph, layers=tuple(layers.get(layer.name, layer) for layer in self.graph.layers))

    def _evidence(self, pruning: Pruning) -> Evidence | None:
        """What criteria that look at activations need: those of the dense network."""
        if CRITERIA[pruning.criterion].needs == "statistics" and self.given.calibration is not None:
            if self._statistics is None:
                self._statistics = measure(self.graph, self.given.calibration)
            return Evidence(statistics=self._statistics)
        return None

    def _criterion(self, choice: Compression) -> Criterion:
        if choice.criterion == "auto":
            return "magnitude" if self.given.calibration is None else "second_order"
        if choice.criterion == "second_order" and self.given.calibration is None:
            raise SkipstoneError(
                "criterion second_order needs calibration images; name some, or take criterion magnitude",
                parameter="calibration",
            )
        return choice.criterion

    def _layer(self, name: str, text: str, criterion: Criterion) -> Conv:
        """One layer pruned by itself, all others as they are."""
        layer = self.graph.layer(name)
        assert isinstance(layer, Conv)
        pruning = spec.parse(text)
        if pruning is None:
            return layer
        solved = criterion == "second_order" and pruning.criterion == "l1" and pruning.granularity in ("weight", "nm")
        description = f"{'second_order ' if solved else ''}{spec.describe(pruning)}"
        if (name, description) not in self._layers:
            self._layers[name, description] = (
                self._solved(layer, pruning, description) if solved else self._masked(layer, pruning)
            )
        return self._layers[name, description]

    def _others(self, layer: Conv) -> tuple[str, ...]:
        return tuple(name for name in self.layer_names if name != layer.name)

    def _masked(self, layer: Conv, pruning: Pruning) -> Conv:
        alone = replace(pruning, skip=self._others(layer))
        pruned = masks.prune(self.graph, alone, self._evidence(pruning), self._options.seed).graph.layer(layer.name)
        assert isinstance(pruned, Conv)
        return pruned

    def _solved(self, layer: Conv, pruning: Pruning, description: str) -> Conv:
        key = digest("layer", self._dense, layer.name, description)
        stored = self._store.get(key)
        if stored is None:
            images = self.given.calibration
            assert images is not None
            alone = replace(pruning, skip=self._others(layer))
            solved_layer = second_order(self.graph, alone, images, correction=0.0).graph.layer(layer.name)
            assert isinstance(solved_layer, Conv)
            self._store.put(key, _packed(solved_layer.weights, solved_layer.bias))
            return solved_layer
        weights, bias = _unpacked(stored)
        return replace(layer, weights=weights, bias=bias)


def network_digest(network: QuantizedNetwork) -> str:
    """Names the integers of a network: equal ones give equal outputs, programs and cycles on any design."""
    parts: list[bytes | str] = [
        repr((network.input, network.outputs, network.tensors, network.concats, network.activation_bits)),
        repr(network.weight_code),
    ]
    for layer in network.layers:
        for field in fields(layer):
            value = getattr(layer, field.name)
            parts.append(repr((value.shape, value.dtype.str)) + "" if isinstance(value, np.ndarray) else repr(value))
            if isinstance(value, np.ndarray):
                parts.append(value.tobytes())
    return digest(*parts)


def _packed(weights: NDArray[np.float32], bias: NDArray[np.float32]) -> bytes:
    with io.BytesIO() as file:
        np.savez_compressed(file, weights=weights, bias=bias)
        return file.getvalue()


def _unpacked(packed: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return arrays["weights"], arrays["bias"]
