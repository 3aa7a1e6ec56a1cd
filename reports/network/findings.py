"""A result in plain words: what was computed, how fast, at what cost, how accurately, what limits it and what to change next.

Every sentence is derived from the result's numbers; a sentence whose numbers the result lacks is left out.
"""

from __future__ import annotations

from skipstone.mapper.results.network import LayerResult, NetworkResult
from skipstone.reports.network.compression import accuracies, interval
from skipstone.reports.network.summary import (
    CAUSE_DEFINITIONS,
    bound_layers,
    cause_cycles,
    count,
    energy_by_part,
    macs,
    microseconds,
    nanojoules,
    percent,
    share,
    speedup,
    square_millimetres,
    utilization,
    verified,
)

WORTH = 0.03
"""Causes that take less of the cycles than this are not advised on."""
POINTS_TO_MEND = 1.0
ADVICE = {
    "edge": "tiles reach beyond the image: a number of columns whose tile shapes divide the layers' outputs",
    "filler": "more leave_bits (or delta_bits, with delta indices)",
    "balance": "pruning that gives rows equal work (prune by exact cycles), or more windows, so that rows drift further apart",
    "load": "a larger load_width, or more rows and accumulators, so that each loaded word serves more output channels",
    "drain": "more requantizer_lanes",
    "fill": "deeper layers, or more layers that run together: the start and end of each layer cost the same for any size",
}
"""What makes each cause of lost cycles smaller."""


def findings(result: NetworkResult) -> list[tuple[str, tuple[str, ...]]]:
    """Questions with their answers, in reading order."""
    rows = [
        ("What was computed", (_what(result),)),
        ("How fast", (_speed(result),)),
        ("At what cost", (_cost(result),)),
        ("How accurately", (_accuracy(result),)),
        ("How sure", (_verified(result),)),
        ("What limits it", _limits(result)),
        ("What to change next", _next(result)),
    ]
    return [(question, answers) for question, answers in rows if answers]


def _what(result: NetworkResult) -> str:
    layers = [layer for layer in result.layers if layer.trained]
    weights = sum(layer.weights for layer in layers)
    nonzero = percent(share(sum(layer.nnz for layer in layers), weights), 0)
    rows, cols = result.parameters["rows"], result.parameters["cols"]
    return (
        f"One input through {result.network} ({count(macs(result.layers))} multiply-accumulates, {count(weights)} weights, of "
        f"which {nonzero} are not zero; pruning: {result.pruning}) on the array {result.design_name} "
        f"of {rows} x {cols} processing elements."
    )


def _speed(result: NetworkResult) -> str:
    if not result.total_cycles:
        return "The array has nothing to do: all layers run on the host."
    text = f"{count(result.total_cycles)} clock cycles"
    if result.latency_us and result.frequency_mhz:
        inputs = count(1e6 / result.latency_us)
        text += f": {microseconds(result.latency_us)} at {result.frequency_mhz:g} MHz, {inputs} inputs a second"
    factor = speedup(result)
    if factor is not None and result.dense_total_cycles != result.total_cycles:
        text += f"; {factor:.2f} times as fast as the same network without zeros on the same array"
    if result.fmax_mhz and result.frequency_mhz and result.frequency_mhz > result.fmax_mhz:
        text += f". The frequency is above what synthesis allows ({result.fmax_mhz:,.0f} MHz)"
    return f"{text}."


def _cost(result: NetworkResult) -> str:
    parts = energy_by_part(result)
    text = f"{nanojoules(result.total_energy_pj)} nJ for one input"
    useful = sum(layer.actions.get("useful_macs", 0) for layer in result.layers)
    if useful:
        text += f" ({result.total_energy_pj / useful:.2f} pJ for each useful multiply-accumulate)"
    if parts and result.total_energy_pj:
        first = next(iter(parts))
        text += f", of which the largest part, {first}, is {percent(share(parts[first], result.total_energy_pj), 0)}"
    if result.power_mw is not None:
        text += f"; {result.power_mw:,.3g} mW on average while it runs"
    if result.area_um2:
        node = f" at {result.node_nm} nm" if result.node_nm else ""
        text += f". The design takes {square_millimetres(result.area_um2)} mm²{node}"
        if result.area_terms:
            largest = max(result.area_terms, key=lambda term: term.area_um2)
            text += f", {percent(share(largest.area_um2, result.area_um2), 0)} of it {largest.component}"
    return f"{text}."


def _accuracy(result: NetworkResult) -> str:
    measured = accuracies(result)
    if not measured:
        return "Not measured: the run had no labelled images."
    (first, before), (last, after) = measured[0], measured[-1]
    text = f"{percent(after, 2)} of {result.accuracy.images:,} images ({last})"
    if len(measured) > 1:
        lost = 100 * (before - after)
        direction = "fewer" if lost > 0 else "more"
        text += f", {abs(lost):.2f} percentage points {direction} than {first}" if lost else f", as many as {first}"
    if result.accuracy.images:
        low, high = interval(after, result.accuracy.images)
        text += f"; with so many images the 95% interval is {percent(low)} to {percent(high)}"
    return f"{text}."


def _verified(result: NetworkResult) -> str:
    verdict = verified(result)
    if verdict is None:
        return "Cycles come from a model that equals the RTL; here the RTL did not run on all layers (skipstone verify runs it)."
    if verdict:
        return "The RTL ran the whole network in simulation: every cycle and every output bit equals the model's."
    return "The RTL does NOT agree with the model: do not rely on any of these numbers."


def _limits(result: NetworkResult) -> tuple[str, ...]:
    cycles = cause_cycles(result)
    if not result.total_cycles:
        return ()
    text = f"Processing elements do useful work in {percent(utilization(result))} of their cycles. "
    losses = [
        (name, value)
        for name, value in sorted(cycles.items(), key=lambda item: -item[1])
        if name != "compute" and value > 0
    ]
    if losses and losses[0][1] >= 0.001 * result.total_cycles:
        text += "Most of the rest: " + "; ".join(
            f"{percent(share(value, result.total_cycles))} {name} ({CAUSE_DEFINITIONS[name]})"
            for name, value in losses[:2]
        )
        text += ". "
    slowest = max(result.layers, key=lambda layer: layer.model_cycles or 0)
    bounds = bound_layers(result)
    text += (
        f"The longest layer is {slowest.name} with {percent(share(slowest.model_cycles, result.total_cycles))} of the cycles, "
        f"bound by {slowest.bound}. Of the cycles, "
        + ", ".join(
            f"{percent(share(value, result.total_cycles), 0)} are in layers bound by {name}"
            for name, value in bounds.items()
        )
        + "."
    )
    return (text,)


def _next(result: NetworkResult) -> tuple[str, ...]:
    cycles = cause_cycles(result)
    if not result.total_cycles:
        return ()
    advice = []
    losses = sorted(((value, name) for name, value in cycles.items() if name in ADVICE), reverse=True)
    if losses and losses[0][0] >= WORTH * result.total_cycles:
        value, name = losses[0]
        worst = max(result.layers, key=lambda layer: layer.cycles_by_cause.get(name, 0.0))
        advice.append(
            f"Lose less to {name}: {ADVICE[name]}; worth at most {percent(share(value, result.total_cycles))} of the "
            f"cycles, most of it in {worst.name}"
        )
    dense = _densest(result)
    if dense is not None and cycles.get("compute", 0.0) >= 0.5 * result.total_cycles:
        advice.append(
            f"Most cycles are useful work, so fewer nonzero weights make it faster: {dense.name} takes the most of it, "
            f"with {percent(dense.nnz / dense.weights, 0)} of its weights left"
        )
    measured = accuracies(result)
    if len(measured) > 1 and 100 * (measured[0][1] - measured[-1][1]) > POINTS_TO_MEND:
        advice.append(
            "Accuracy was lost: a recipe that prunes by second order or trains keeps more of it (skipstone compress)"
        )
    spare = [
        memory
        for memory in result.memories
        if memory.words >= 4 * memory.used_words and memory.name in ("weights", "activations")
    ]
    if spare:
        advice.append(
            "Memories are larger than this network needs: "
            + ", ".join(f"{memory.name} {percent(memory.used_words / memory.words, 0)} used" for memory in spare)
        )
    return tuple(f"{text}." for text in advice)


def _densest(result: NetworkResult) -> LayerResult | None:
    """The layer with weights that computes longest."""
    layers = [layer for layer in result.layers if layer.trained]
    return max(layers, key=lambda layer: layer.cycles_by_cause.get("compute", 0.0), default=None)
