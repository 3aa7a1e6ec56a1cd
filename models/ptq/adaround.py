"""AdaRound: learns from images whether each weight is rounded up or down, layer by layer, so that outputs stay.

It makes grids of the linear code, which the quantizer uses as they are. Zeros stay zeros, and no layer is further from
its float outputs than with rounding to nearest. Source: Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down?
Adaptive Rounding for Post-Training Quantization", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images, check_images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import WeightGrid
from skipstone.models.graph.layers import Conv
from skipstone.models.ptq.activations import QuantizedInputs, float_tensors
from skipstone.models.ptq.chosen import chosen_layers
from skipstone.models.ptq.taps import sampled_taps
from skipstone.models.ptq.weight_range import WeightRange, weight_scales
from skipstone.models.quantization.ranges import Ranges
from skipstone.models.quantization.scheme import QuantizationScheme

Floats = NDArray[np.float32]

STRETCH = (-0.1, 1.1)
"""The sigmoid is stretched to these and cut to 0 to 1, so that it can reach both (gamma and zeta of the paper)."""
MOST_BITS = 8
SAMPLE_BYTES = 1 << 27
"""Memory for the inputs that a layer learns from."""
_MOMENTS = (0.9, 0.999)
"""Adam's (Kingma and Ba, 2015)."""


@dataclass(frozen=True)
class AdaRoundOptions:
    """How rounding is learned.

    After the first ``warm_up`` share of the steps, the regularizer ``regularization * sum(1 - |2h - 1|**beta)`` pushes
    every rounding h to 0 or 1, while beta falls from ``beta[0]`` to ``beta[1]``.

    Attributes:
        steps: Steps of Adam for each layer.
        pixels: Random output pixels of each step.
        learning_rate: Adam's learning rate.
        regularization: Weight of the regularizer.
        warm_up: Share of the steps without the regularizer.
        beta: Exponent of the regularizer at its first and at its last step.
    """

    steps: int = 2000
    pixels: int = 512
    learning_rate: float = 0.01
    regularization: float = 0.01
    warm_up: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)


@dataclass(frozen=True)
class LayerError:
    """Mean squared difference of one layer's outputs, after its clamp, from the float network's.

    Attributes:
        name: The layer's name.
        nearest: With rounding to nearest.
        learned: With the rounding that was learned.
    """

    name: str
    nearest: float
    learned: float


@dataclass(frozen=True, eq=False)
class AdaRounded:
    """A graph with learned rounding.

    Attributes:
        graph: The graph, whose layers have grids.
        errors: Errors of its layers on the pixels that they learned from.
        notes: Remarks.
    """

    graph: Graph
    errors: tuple[LayerError, ...]
    notes: tuple[str, ...]


def adaround(
    graph: Graph,
    images: Images,
    scheme: QuantizationScheme,
    *,
    weight_range: WeightRange = "mse",
    layers: Iterable[str] | None = None,
    ranges: Ranges | None = None,
    options: AdaRoundOptions = AdaRoundOptions(),
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> AdaRounded:
    """Learns the rounding of layers' weights.

    A layer's target is the float network's output, after the layer's clamp. Its inputs are what the layers before it
    make once they are rounded; with ``ranges``, in the integer network with the scheme's activations. Only as many
    output pixels are used as fit 128 MiB of inputs. A layer that does not gain keeps nearest rounding, with a note.

    Args:
        graph: The float graph.
        images: N x C x H x W; they need no labels.
        scheme: Bits of weights, 2 to 8, and of activations.
        weight_range: How scales are chosen (:func:`skipstone.models.ptq.weight_range.weight_scales`).
        layers: Names of the layers; None for all that have weights and no grid.
        ranges: Activation ranges of the integer network; None for float activations.
        options: How rounding is learned.
        seed: The same seed gives the same grids.
        progress: Called with a line of text for each layer.

    Raises:
        SkipstoneError: Bits are out of range, or a layer has no weights.
    """
    images = check_images(graph, images)
    chosen = chosen_layers(graph, layers)
    for layer in chosen:
        if (bits := scheme.bits_of(layer.name)) > MOST_BITS:
            raise SkipstoneError(f"layer '{layer.name}': learned rounding takes up to {MOST_BITS} bits, not {bits}")
    rng = np.random.default_rng(seed)
    quantized = QuantizedInputs(
        images, ranges, QuantizationScheme(MOST_BITS, scheme.activation_bits, symmetric=scheme.symmetric)
    )
    original, errors, notes = graph, [], []
    for index, layer in enumerate(chosen):
        progress(f"learning to round layer {index + 1} of {len(chosen)}, {layer.name}")
        x = quantized.tensor(graph, layer.inputs[0])
        target = float_tensors(original, images, [layer.name])[layer.name]
        problem = _sample(layer, x, target, rng)
        nearest, learned = _round(layer, problem, scheme.bits_of(layer.name), weight_range, options)
        error = LayerError(layer.name, problem.error(nearest.weights), problem.error(learned.weights))
        errors.append(error)
        if error.learned >= error.nearest:
            notes.append(f"layer '{layer.name}': learned rounding gains nothing, nearest rounding stays")
        graph = graph.with_grids({layer.name: learned if error.learned < error.nearest else nearest})
    return AdaRounded(graph, tuple(errors), tuple(notes))


@dataclass(frozen=True, eq=False)
class _Problem:
    """One layer at sampled pixels, in random order.

    Attributes:
        inputs: Groups x pixels x taps.
        targets: Groups x pixels x K/groups.
        bias: Groups x 1 x K/groups.
    """

    layer: Conv
    inputs: Floats
    targets: Floats
    bias: Floats

    def outputs(self, matrix: Floats, pixels: slice) -> tuple[Floats, NDArray[np.bool_] | None]:
        """The difference from the targets, and where the clamp lets a gradient through (None: everywhere)."""
        made = np.matmul(self.inputs[:, pixels], matrix.swapaxes(1, 2)) + self.bias
        if self.layer.clamp is None:
            return made - self.targets[:, pixels], None
        low, high = self.layer.clamp
        through = (made > low) & (made < high)
        difference: Floats = np.clip(made, np.float32(low), np.float32(high)) - self.targets[:, pixels]
        return difference, through

    def error(self, weights: Floats) -> float:
        """Mean squared difference over all sampled pixels."""
        matrix = weights.reshape(self.layer.groups, -1, self.inputs.shape[2])
        size = self.inputs.shape[1]
        parts = [self.outputs(matrix, slice(start, start + 8192))[0] for start in range(0, size, 8192)]
        return sum(float(np.square(part, dtype=np.float64).sum()) for part in parts) / self.targets.size


def _sample(layer: Conv, x: Floats, target: Floats, rng: np.random.Generator) -> _Problem:
    outputs = len(layer.weights)
    total = len(target) * target.shape[2] * target.shape[3]
    taps = layer.groups * layer.weights[0].size
    pixels = rng.permutation(total)[: max(1, SAMPLE_BYTES // (4 * taps))]
    image, row, column = np.unravel_index(pixels, (len(target), *target.shape[2:]))
    targets = target[image, :, row, column].reshape(len(pixels), layer.groups, outputs // layer.groups)
    bias = layer.bias.reshape(layer.groups, 1, -1)
    return _Problem(layer, sampled_taps(layer, x, pixels), np.ascontiguousarray(targets.swapaxes(0, 1)), bias)


def _round(
    layer: Conv, problem: _Problem, bits: int, weight_range: WeightRange, options: AdaRoundOptions
) -> tuple[WeightGrid, WeightGrid]:
    """The grids of nearest and of learned rounding."""
    limit = (1 << (bits - 1)) - 1
    scale = weight_scales(layer.weights, bits, weight_range)
    steps = layer.weights / scale.reshape(-1, 1, 1, 1)
    floor = np.clip(np.floor(steps), -limit, limit)
    # Both neighbours of a weight lie on the grid, or it is beyond the end and has one.
    free = (layer.weights != 0) & (steps > -limit) & (steps < limit)
    up = _learn(problem, floor, steps - floor, free, scale, options)

    def grid(integers: NDArray[np.float64]) -> WeightGrid:
        inside = np.clip(integers, -limit, limit).astype(np.int64)
        return WeightGrid(integers=np.where(layer.weights != 0, inside, 0), scale=scale, code="linear", bits=bits)

    return grid(np.rint(steps)), grid(np.where(free, floor + up, np.rint(steps)))


def _learn(
    problem: _Problem,
    floor: NDArray[np.float64],
    fraction: NDArray[np.float64],
    free: NDArray[np.bool_],
    scale: NDArray[np.float64],
    options: AdaRoundOptions,
) -> NDArray[np.bool_]:
    """Which weights round up, by Adam on the sigmoid's arguments."""
    shape = (problem.layer.groups, -1, problem.inputs.shape[2])
    low, high = (np.float32(bound) for bound in STRETCH)
    base = floor.astype(np.float32).reshape(shape)
    step = np.repeat(scale.astype(np.float32), floor[0].size).reshape(shape)
    movable = free.reshape(shape)
    start = (np.clip(fraction, 0, 1).astype(np.float32).reshape(shape) - low) / (high - low)
    v = np.log(start / (1 - start))
    fixed = np.where(movable, 0, start * (high - low) + low)
    mean, square = np.zeros_like(v), np.zeros_like(v)
    size, at = problem.inputs.shape[1], 0
    warm = round(options.warm_up * options.steps)
    for count in range(1, options.steps + 1):
        pixels = slice(at, min(at + options.pixels, size))
        at = pixels.stop if pixels.stop < size else 0
        sigmoid = 1 / (1 + np.exp(-v))
        stretched = sigmoid * (high - low) + low
        h = np.where(movable, np.clip(stretched, 0, 1), fixed)
        difference, through = problem.outputs(step * (base + h), pixels)
        if through is not None:
            difference = difference * through
        gradient = np.matmul(difference.swapaxes(1, 2), problem.inputs[:, pixels]) * (2 / difference.shape[1]) * step
        if count > warm:
            beta = _beta(options, (count - warm) / max(1, options.steps - warm))
            centred = 2 * h - 1
            push = -2 * beta * np.abs(centred) ** (beta - 1) * np.sign(centred)
            gradient = gradient + np.float32(options.regularization) * push
        inside = movable & (stretched > 0) & (stretched < 1)
        gradient = np.where(inside, gradient * sigmoid * (1 - sigmoid) * (high - low), 0).astype(np.float32)
        mean = _MOMENTS[0] * mean + (1 - _MOMENTS[0]) * gradient
        square = _MOMENTS[1] * square + (1 - _MOMENTS[1]) * np.square(gradient)
        unbiased = mean / (1 - _MOMENTS[0] ** count)
        v = v - options.learning_rate * unbiased / (np.sqrt(square / (1 - _MOMENTS[1] ** count)) + 1e-8)
    up: NDArray[np.bool_] = (v >= 0).reshape(floor.shape)
    return up


def _beta(options: AdaRoundOptions, share: float) -> float:
    """Falls linearly over the ``share`` of the steps after the warm-up (Nagel et al. leave the schedule open)."""
    first, last = options.beta
    return last + (first - last) * max(0.0, 1 - share)
