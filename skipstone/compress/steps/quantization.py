"""Steps that turn weights and activations into integers after training."""

from __future__ import annotations

from dataclasses import replace

from skipstone.compress.state import Context, State, activation_ranges
from skipstone.compress.step_keys import Equalize, Quantize
from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.quantization.scheme import QuantizationScheme


def apply_equalize(step: Equalize, state: State, context: Context) -> State:
    """Equalizes the ranges of channels across pairs of layers."""

    from skipstone.models.ptq.equalize import equalize

    equalized = equalize(state.graph)
    pairs = [" and ".join(pair) for pair in equalized.pairs]
    return replace(state, graph=equalized.graph, notes=equalized.notes, measured={"pairs": pairs})


def apply_quantize(step: Quantize, state: State, context: Context) -> State:
    """Quantizes: weights first (bits, ranges, rounding), then biases; activation ranges are measured on what comes out.

    Raises:
        SkipstoneError: The network is in integers already, or what was asked for does not go together.
    """
    original = state.graph
    scheme = step.scheme()
    if original.grids:
        raise SkipstoneError(
            "the network's weights and activations are integers already, by the step that trained them; leave this one out"
        )
    fixed = [layer.name for layer in original.convs if layer.grid is not None]
    if fixed and step.mean_bits is not None:
        raise SkipstoneError(f"mean_bits comes too late: the weights of {', '.join(fixed)} are integers already")
    measured: dict[str, object] = {}
    if step.mean_bits is not None:
        chosen = _mixed(step, original, context)
        scheme = replace(scheme, layer_bits=chosen | dict(step.layer_bits))
        measured["layer_bits"] = dict(scheme.layer_bits)
    graph, notes = _rounded(step, original, scheme, context)
    if fixed:
        notes = (f"integers already, which stay as they are: the weights of {', '.join(fixed)}", *notes)
    if step.bias_correction:
        from skipstone.models.ptq.bias_correction import correct_biases

        images = context.dataset.calibration()
        ranges = activation_ranges(original, scheme, context.dataset)
        graph = correct_biases(
            _gridded(graph, scheme),
            original,
            images,
            ranges,
            scheme,
        ).graph
    return replace(state, graph=graph, scheme=scheme, notes=notes, measured=measured)


def _bits(graph: Graph, scheme: QuantizationScheme) -> dict[str, int]:
    return {layer.name: scheme.bits_of(layer.name) for layer in graph.convs}


def _rounded(
    step: Quantize, graph: Graph, scheme: QuantizationScheme, context: Context
) -> tuple[Graph, tuple[str, ...]]:
    """The graph with grids where rounding is more than the nearest step of the largest weight's scale."""
    if step.rounding == "adaptive":
        from skipstone.models.ptq.adaround import adaround

        rounded = adaround(
            graph,
            context.dataset.calibration(),
            scheme,
            weight_range=step.weight_range,
            ranges=activation_ranges(graph, scheme, context.dataset),
            seed=context.seed,
            progress=context.progress,
        )
        return rounded.graph, rounded.notes
    if step.weight_range == "mse":
        from skipstone.models.ptq.weight_range import with_weight_range

        return with_weight_range(graph, _bits(graph, scheme), "mse"), ()
    return graph, ()


def _gridded(graph: Graph, scheme: QuantizationScheme) -> Graph:
    """``graph`` with the integers that ``scheme`` would give its weights as grids."""
    from skipstone.models.ptq.codes import coded

    missing = [layer.name for layer in graph.convs if layer.grid is None]
    return coded(graph, scheme, layers=missing)


def _mixed(step: Quantize, graph: Graph, context: Context) -> dict[str, int]:
    from skipstone.models.ptq.mixed_precision import choose_bits, sensitivities

    choices = tuple(bits for bits in (2, 3, 4, 5, 6, 8) if bits <= step.weight_bits)
    context.progress("sensitivity of each layer to its bits")
    losses = sensitivities(graph, context.dataset.calibration(), choices, weight_range=step.weight_range)
    sizes = {layer.name: layer.weights.size for layer in graph.convs}
    assert step.mean_bits is not None
    return dict(choose_bits(losses, sizes, mean_bits=step.mean_bits).bits)
