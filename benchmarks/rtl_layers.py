"""Runs single layers of a large network through the RTL: each becomes a network of its own, on one compiled design."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skipstone.hw.design import Design
from skipstone.mapper.cost import cost
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedLayer, QuantizedNetwork
from skipstone.sim.session import RtlSession

OTHER = "other"
"""Name of the tensor that a layer which adds one finds in its place, and of the layer that makes it."""


@dataclass(frozen=True)
class LayerRun:
    """One layer alone: its cycles by the model and in the RTL, and whether all its outputs equal the reference's."""

    name: str
    model_cycles: int
    rtl_cycles: int
    outputs: int
    outputs_equal: bool
    cycles_per_second: float

    @property
    def cycles_equal(self) -> bool:
        return self.model_cycles == self.rtl_cycles


def spread(names: Sequence[str], count: int) -> list[str]:
    """``count`` of the names, evenly spread from the first to the last; all of them if there are no more."""
    if count >= len(names):
        return list(names)
    return [names[round(index * (len(names) - 1) / max(1, count - 1))] for index in range(count)]


def alone(network: QuantizedNetwork, name: str) -> QuantizedNetwork:
    """The layer ``name`` as a network of its own, whose input is the layer's.

    A tensor that it adds is made by one more layer of the same geometry, with a single weight for each output channel.
    """
    layer = next(candidate for candidate in network.array_layers if candidate.name == name)
    tensors = {tensor: network.tensors[tensor] for tensor in (layer.input, layer.output)}
    layers: tuple[QuantizedLayer, ...] = (layer,)
    if layer.other is not None:
        tensors[OTHER] = replace(network.tensors[layer.output], name=OTHER)
        layers = (_copying(layer), replace(layer, other=OTHER))
    return replace(
        network,
        name=name,
        input=layer.input,
        outputs=(layer.output,),
        tensors=tensors,
        layers=layers,
        host_layers=(),
        results=(),
        file_ends=None,
        concats={},
    )


def _copying(layer: QuantizedLayer) -> QuantizedLayer:
    """One input channel under the middle tap for each output channel."""
    outputs, inputs, height, width = layer.weights.shape
    weights = np.zeros_like(layer.weights)
    channel = np.arange(outputs)
    weights[channel, channel % inputs, height // 2, width // 2] = 1
    ones = np.ones(outputs, np.int64)
    low = -(1 << 7)
    return replace(
        layer,
        name=OTHER,
        output=OTHER,
        operation="multiply_add",
        weights=weights,
        bias=0 * ones,
        multiplier=(1 << 15) * ones,
        shift=15 * ones,
        zero_point=0,
        low=low,
        high=-low - 1,
        other=None,
        other_zero_point=0,
        other_multiplier=0 * ones,
    )


def run_layers(
    network: QuantizedNetwork, names: Sequence[str], design: Design, progress: Callable[[str], None] = lambda _: None
) -> list[LayerRun]:
    """Runs each of the layers on random inputs of the full range, with a fixed seed."""
    rng = np.random.default_rng(0)
    runs = []
    with RtlSession(design) as session:
        for name in names:
            single = alone(network, name)
            tensor = single.tensors[single.input]
            half = 1 << (tensor.bits - 1)
            x = rng.integers(-half, half, tensor.shape)
            mapped = cost(single, design)
            cycles = [layer.cycles for layer in mapped.layers]
            progress(f"{name} in the RTL: {sum(cycles):,} cycles")
            expected = reference.run(single, x[None])
            session.load(mapped.program)
            result = session.run(x, sum(cycles))
            finished = result.done and len(result.cycles) == len(cycles)
            runs.append(
                LayerRun(
                    name=name,
                    model_cycles=sum(cycles),
                    rtl_cycles=sum(result.cycles),
                    outputs=int(expected[single.outputs[0]].size),
                    outputs_equal=finished and all((result.tensors[key] == expected[key][0]).all() for key in expected),
                    cycles_per_second=sum(result.cycles) / result.seconds if result.seconds else 0.0,
                )
            )
    return runs
