"""Costs of a network's layers, compared with the best that the array could do: one useful multiply-accumulate a PE and
cycle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skipstone.hw.design import Design
from skipstone.mapper.cost import cost
from skipstone.mapper.program import LayerProgram
from skipstone.models.quantization.network import QuantizedNetwork

WEIGHTED = ("conv", "depthwise", "gemm")
"""Kinds of layers with trained weights, which tables call Conv and Gemm layers."""


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer.

    ``ideal_cycles`` are useful multiply-accumulates over PEs. ``loss`` is the cause that takes most of the other
    cycles, and ``loss_share`` its share of all of the layer's cycles.
    """

    name: str
    kind: str
    shape: str
    nnz: int
    cycles: int
    useful_macs: int
    ideal_cycles: float
    loaded_bytes: int
    bound: str
    loss: str
    loss_share: float

    @property
    def busy(self) -> float:
        return self.ideal_cycles / self.cycles


def layer_costs(network: QuantizedNetwork, design: Design) -> list[LayerCost]:
    """Costs of every layer of ``network``, with memories enlarged to what it needs."""
    mapped = cost(network, design, memories="enlarged")
    costs = []
    for layer, cycles, causes, actions, bound in zip(
        mapped.program.layers, mapped.layers, mapped.causes, mapped.actions, mapped.bounds, strict=True
    ):
        loss = max((cause for cause in causes if cause != "compute"), key=lambda cause: causes[cause])
        costs.append(
            LayerCost(
                name=layer.name,
                kind=layer.kind,
                shape=shape_text(layer, network),
                nnz=layer.nnz,
                cycles=cycles.cycles,
                useful_macs=actions.useful_macs,
                ideal_cycles=actions.useful_macs / design.pes,
                loaded_bytes=actions.load_list_reads * design.activation_word_bits // 8,
                bound=bound,
                loss=loss,
                loss_share=causes[loss] / cycles.cycles,
            )
        )
    return costs


def shape_text(layer: LayerProgram, network: QuantizedNetwork) -> str:
    """Input channels, kernel, stride, output channels and output pixels, as ``64 3x3/2 128 @ 28x28``."""
    quantized = next(candidate for candidate in network.array_layers if candidate.name == layer.layers[0])
    kernel = "x".join(str(size) for size in quantized.weights.shape[2:])
    stride = f"/{max(quantized.stride)}" if max(quantized.stride) > 1 else ""
    height, width = network.size_of(quantized)
    outputs = sum(placed.channels for placed in layer.outputs)
    return f"{layer.input.channels} {kernel}{stride} {outputs} @ {height}x{width}"


@dataclass(frozen=True)
class Total:
    """Cycles of some layers and the least they could take."""

    cycles: int
    ideal_cycles: float

    @property
    def busy(self) -> float:
        return self.ideal_cycles / self.cycles


def weighted_total(costs: Iterable[LayerCost]) -> Total:
    """The Conv and Gemm layers."""
    weighted = [cost for cost in costs if cost.kind in WEIGHTED]
    return Total(sum(cost.cycles for cost in weighted), sum(cost.ideal_cycles for cost in weighted))


def network_total(costs: Iterable[LayerCost]) -> Total:
    """The total of all layers. The ideal is that of the Conv and Gemm layers: pools and Adds without a layer count as
    loss."""
    costs = list(costs)
    return Total(sum(cost.cycles for cost in costs), weighted_total(costs).ideal_cycles)
