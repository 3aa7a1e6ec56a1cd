"""A result in words: definitions, formats and verdicts that the terminal and the pages share.

All functions are pure, from a result to text or numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult

NONE = "\u2013"

CAUSE_DEFINITIONS = {
    "compute": "useful multiply-accumulates",
    "edge": "columns of a tile that lie outside the image",
    "filler": "filler entries of the weight lists",
    "balance": "rows waiting for a slower row",
    "load": "waiting for the loader",
    "drain": "waiting for the drain (requantizer)",
    "fill": "filling and emptying the pipeline at the layer's start and end",
    "overlap": "negative: work done while the layer before still ran, in cycles counted for that layer",
}
"""One line for each of ``skipstone.mapper.results.network.CAUSES``."""

CHANGE_DEFINITIONS = {
    "weights": "half of the nonzero weights (no load word less)",
    "load": "two load words a cycle",
    "rows": "twice the rows",
    "drain": "twice the requantizer lanes",
}
"""What each of ``skipstone.mapper.results.network.CHANGES`` changes."""

BOUND_DEFINITIONS = {
    "compute": f"what would save most is {CHANGE_DEFINITIONS['weights']}",
    "load": f"what would save most is {CHANGE_DEFINITIONS['load']}",
    "drain": f"what would save most is {CHANGE_DEFINITIONS['drain']}",
    "edge": "none of these would save 5% of the cycles: they go to latencies at the start and end of layers and tiles",
    "host": "runs on the host: no cycles and no energy are counted",
}


def count(value: int | float | None) -> str:
    """A whole number with thousands separators."""
    return NONE if value is None else f"{value:,.0f}"


def decimals(value: float | None, places: int = 2) -> str:
    return NONE if value is None else f"{value:,.{places}f}"


def percent(fraction: float | None, places: int = 1) -> str:
    return NONE if fraction is None else f"{100 * fraction:.{places}f}%"


def nanojoules(energy_pj: float | None) -> str:
    """Energy in nJ, with more decimals for smaller values."""
    if energy_pj is None:
        return NONE
    value = energy_pj / 1000
    return f"{value:,.{0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 0.1 or not value else 4}f}"


def square_millimetres(area_um2: float) -> str:
    return f"{area_um2 / 1e6:,.3f}"


def microseconds(latency_us: float) -> str:
    """A time in us, from 1000 us on in ms."""
    return f"{latency_us / 1000:,.3g} ms" if latency_us >= 1000 else f"{latency_us:,.4g} us"


def density(*layers: LayerResult) -> float | None:
    """Nonzeros over weights of the network's own weights; None for layers without any."""
    weights = sum(layer.weights for layer in layers if layer.trained)
    return nonzeros(layers) / weights if weights else None


def nonzeros(layers: Iterable[LayerResult]) -> int:
    """Nonzero weights, the taps of pools and copies left out."""
    return sum(layer.nnz for layer in layers if layer.trained)


def share(part: float | None, total: float | None) -> float | None:
    """``part / total``; None where either is None or the total is 0."""
    return None if part is None or not total else part / total


def skipped_words_share(layer: LayerResult) -> float | None:
    """Skipped words over the words that the layer would load if no weight were zero; None where they are not counted."""
    if layer.skipped_words is None or layer.loaded_words is None:
        return None
    return share(layer.skipped_words, layer.skipped_words + layer.loaded_words)


def tile_text(layer: LayerResult) -> str:
    return NONE if layer.tile is None else f"{layer.tile[0]}x{layer.tile[1]}"


def outputs_text(layer: LayerResult) -> str:
    """Whether the RTL's outputs equal the reference's; a dash where the RTL did not run."""
    return NONE if layer.outputs_equal is None else "equal" if layer.outputs_equal else "DIFFER"


def speedup(result: NetworkResult) -> float | None:
    """Cycles of the dense network over cycles of this one; None where the array does nothing."""
    return result.speedup if result.total_cycles else None


def utilization(result: NetworkResult) -> float | None:
    """Useful multiply-accumulates of all layers over PEs times the network's cycles; None where the array does nothing."""
    if not result.total_cycles:
        return None
    pes = int(result.parameters["rows"]) * int(result.parameters["cols"])
    return sum(layer.actions.get("useful_macs", 0) for layer in result.layers) / (pes * result.total_cycles)


def macs(layers: Iterable[LayerResult]) -> int:
    return sum(layer.macs for layer in layers)


def skipped_text(result: NetworkResult) -> str:
    """Multiply-accumulates and load words of the network that zeros save; empty where there are none."""
    on_array = [layer for layer in result.layers if not layer.on_host]
    all_macs, skipped_macs = macs(on_array), sum(layer.skipped_macs or 0 for layer in on_array)
    skipped_words = sum(layer.skipped_words or 0 for layer in on_array)
    all_words = skipped_words + sum(layer.loaded_words or 0 for layer in on_array)
    if not (all_macs and all_words):
        return ""
    return (
        f"{count(skipped_macs)} MACs ({percent(skipped_macs / all_macs)}), "
        f"{count(skipped_words)} load words ({percent(skipped_words / all_words)})"
    )


def search_text(result: NetworkResult) -> str:
    """How many mappings the mapper compared; empty where the result does not tell."""
    if not result.search:
        return ""
    return (
        f"foldings bounded: {count(result.search['foldings'])}; counted exactly: schedules "
        f"{count(result.search['schedules'])}, programs {count(result.search['programs'])}"
    )


def weights_text(result: NetworkResult) -> str:
    """The code and width of the weights, and the multiplier unless both are linear."""
    multiplier = result.parameters.get("multiplier", "linear")
    if result.weight_code == multiplier == "linear":
        return f"weights {result.weight_bits} bits"
    wide = f", codes of {result.parameters['weight_bits']} bits"
    bits = {"shift": wide, "additive": wide, "sign": ", codes of 1 bit"}
    values = f" of {result.weight_bits} bits" if result.weight_code in ("linear", "codebook") else ""
    return f"weights {result.weight_code}{values} ({multiplier} multipliers{bits.get(multiplier, '')})"


def ratio(before: float | None, after: float | None) -> str:
    """How many times ``before`` is ``after``; a dash where either is missing."""
    return f"{before / after:.2f}x" if before and after else NONE


def rates_text(result: NetworkResult, of: Literal["tops", "tops_per_watt", "tops_per_mm2"]) -> str:
    """A rate by the operations that are done, and by those that a dense array of the same speed would do."""
    if result.effective is None or result.dense_equivalent is None:
        return ""
    effective, dense = getattr(result.effective, of), getattr(result.dense_equivalent, of)
    return f"{effective:,.3g} of operations done; {dense:,.3g} if zeros count as done"


def storage_text(result: NetworkResult) -> str:
    """Bytes of the weights on the array beside those of a dense array, and why; empty where entries are not known."""
    if not (result.entry_bits and result.value_bits):
        return ""
    layers = [layer for layer in result.layers if not layer.on_host]
    encoded = sum(layer.encoded_bits or 0 for layer in layers)
    dense = sum(layer.weights for layer in layers if layer.trained) * result.weight_bits
    return (
        f"{count(-(-encoded // 8))} bytes: {result.entry_bits} bits for each nonzero or filler, {result.value_bits} of them its "
        f"value, the rest its place; a dense array would take {count(-(-dense // 8))}"
    )


def savings_text(result: NetworkResult) -> str:
    """What each change would save the network, most first; empty where it is not known."""
    ordered = sorted(result.savings.items(), key=lambda item: -item[1])
    return "; ".join(
        f"{CHANGE_DEFINITIONS[change]} {percent(share(saved, result.total_cycles))}" for change, saved in ordered
    )


def stall_cycles(result: NetworkResult) -> float:
    return sum(layer.stall_cycles or 0.0 for layer in result.layers)


def energy_by_part(result: NetworkResult) -> dict[str, float]:
    """Energy of the network by part in pJ, the largest part first."""
    parts: dict[str, float] = {}
    for layer in result.layers:
        for part, energy_pj in layer.energy_by_part.items():
            parts[part] = parts.get(part, 0.0) + energy_pj
    return dict(sorted(parts.items(), key=lambda item: (-item[1], item[0])))


def cause_cycles(result: NetworkResult) -> dict[str, float]:
    """Cycles of the network by cause."""
    return {cause: sum(layer.cycles_by_cause.get(cause, 0.0) for layer in result.layers) for cause in CAUSES}


def bound_layers(result: NetworkResult) -> dict[str, int]:
    """Cycles of the array's layers by their bound, most cycles first."""
    cycles: dict[str, int] = {}
    for layer in result.layers:
        if not layer.on_host:
            cycles[layer.bound] = cycles.get(layer.bound, 0) + (layer.model_cycles or 0)
    return dict(sorted(cycles.items(), key=lambda item: (-item[1], item[0])))


def verified(result: NetworkResult) -> bool | None:
    """Whether the RTL agrees with the model.

    Returns:
        True: cycles and outputs are equal on every layer of the array. False: they differ on some layer or in total. None: the
        RTL did not run on every layer, and is equal where it ran.
    """
    on_array = [layer for layer in result.layers if not layer.on_host]
    if any(layer.outputs_equal is False or layer.rtl_cycles not in (None, layer.model_cycles) for layer in on_array):
        return False
    if not on_array or any(layer.rtl_cycles is None for layer in on_array):
        return None
    if result.rtl_total_cycles not in (None, result.total_cycles):
        return False
    return True if result.images_verified and all(layer.outputs_equal for layer in on_array) else None


def verification_text(result: NetworkResult) -> str:
    """The verdict of :func:`verified` in words, with the layers that differ."""
    on_array = [layer for layer in result.layers if not layer.on_host]
    images = f"{result.images_verified} image" + ("s" if result.images_verified != 1 else "")
    verdict = verified(result)
    if verdict is None:
        ran = sum(layer.rtl_cycles is not None for layer in on_array)
        if not ran and not result.images_verified:
            return "no: the RTL did not run"
        return f"in part: the RTL ran on {ran} of {len(on_array)} layers ({images}), equal where it ran"
    if verdict:
        return f"yes: RTL cycles and outputs equal the model's on all {len(on_array)} layers ({images})"
    cycles = [layer.name for layer in on_array if layer.rtl_cycles not in (None, layer.model_cycles)]
    outputs = [layer.name for layer in on_array if layer.outputs_equal is False]
    faults = [
        *([f"cycles differ in {', '.join(cycles)}"] if cycles else []),
        *([f"outputs differ in {', '.join(outputs)}"] if outputs else []),
    ] or [f"total cycles differ: RTL {count(result.rtl_total_cycles)}, model {count(result.total_cycles)}"]
    return f"NO: {'; '.join(faults)} ({images})"


def host_text(result: NetworkResult) -> str:
    """The layers on the host by name, with their share of the network's multiply-accumulates."""
    on_host = [layer for layer in result.layers if layer.on_host]
    if not on_host:
        return "nothing"
    total = macs(result.layers)
    share = percent(macs(on_host) / total, 2) if total else NONE
    names = ", ".join(f"{layer.name} ({layer.kind})" for layer in on_host)
    return f"{names}: {share} of the MACs, not in cycles or energy"


def accuracy_text(result: NetworkResult) -> str:
    """The measured accuracies in the order float, quantized, compressed; empty where there are none."""
    accuracy = result.accuracy
    measured = [
        f"{name} {percent(value, 2)}"
        for name, value in (
            ("float", accuracy.float),
            ("quantized", accuracy.quantized),
            ("compressed", accuracy.compressed),
        )
        if value is not None
    ]
    return f"{', '.join(measured)} (top-1, {accuracy.images:,} images)" if measured else ""


def energy_text(result: NetworkResult) -> str:
    """The energy of one input, beside that of the dense network on the same array where it is known."""
    text = f"{nanojoules(result.total_energy_pj)} nJ for one input"
    dense = result.dense_total_energy_pj
    if dense is None:
        return text
    return f"{text}; dense {nanojoules(dense)} nJ on the same array: {ratio(dense, result.total_energy_pj)} less"


def time_text(result: NetworkResult) -> str:
    """The time of one input, its clock, and the clock that synthesis allows; empty where there is none."""
    if result.latency_us is None or result.frequency_mhz is None:
        return ""
    limit = "" if result.fmax_mhz is None else f" (synthesis allows {result.fmax_mhz:,.4g})"
    return f"{microseconds(result.latency_us)} for one input at {result.frequency_mhz:,.4g} MHz{limit}"


def summary_rows(result: NetworkResult) -> list[tuple[str, str]]:
    """The summary as names and values, in reading order. Values that the result lacks are left out, except the
    calibration."""
    factor = speedup(result)
    rows = [
        ("network", result.network),
        (
            "design",
            f"{result.design_name}: {result.parameters['rows']} rows x {result.parameters['cols']} columns of PEs"
            + (f"; memories enlarged: {result.enlarged}" if result.enlarged else ""),
        ),
        ("pruning", f"{result.pruning} (density {percent(result.density)})"),
        ("number formats", f"{weights_text(result)}, activations {result.activation_bits} bits"),
        ("MACs", f"{count(macs(result.layers))} (dense, for one input)"),
        ("cycles", count(result.total_cycles)),
        ("dense cycles", f"{count(result.dense_total_cycles)} (the same network with every weight nonzero)"),
        ("speed-up over dense", NONE if factor is None else f"{factor:.2f}x, same array"),
        ("would save cycles", savings_text(result)),
        ("skipped", skipped_text(result)),
        ("utilization", percent(utilization(result))),
        ("mapper", search_text(result)),
        ("stalled", f"{percent(share(stall_cycles(result), result.total_cycles))} of the cycles"),
        ("energy", energy_text(result)),
        ("area", f"{square_millimetres(result.area_um2)} mm²"),
        ("weights on the array", storage_text(result)),
        ("time", time_text(result)),
        ("inputs a second", "" if result.inputs_per_second is None else f"{result.inputs_per_second:,.4g}"),
        ("power", "" if result.power_mw is None else f"{result.power_mw:,.3g} mW on average"),
        ("TOPS", rates_text(result, "tops")),
        ("TOPS/W", rates_text(result, "tops_per_watt")),
        ("TOPS/mm²", rates_text(result, "tops_per_mm2")),
        ("accuracy", accuracy_text(result)),
        ("verified against RTL", verification_text(result)),
        ("RTL cycles", "" if result.rtl_total_cycles is None else count(result.rtl_total_cycles)),
        ("on the host", host_text(result)),
        ("calibration", result.calibration or "not stated"),
        ("technology", result.technology or "not stated"),
    ]
    return [(name, value) for name, value in rows if value]
