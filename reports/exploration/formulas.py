"""How each figure of an exploration is computed, in words: for the page's cards, the headings of its tables, and its definitions.

The formulas are those of ``skipstone.explore.evaluate``, in words; the result's sources say what they rest on.
"""

from __future__ import annotations

from collections.abc import Iterable

from skipstone.mapper.results.exploration import ExplorationPoint, ExplorationResult
from skipstone.reports.exploration.summary import Metric, metrics

FPGA = (
    "from a model fitted to what Yosys reports for complete arrays on this FPGA; the sources list device, tool, designs "
    "and errors"
)
FORMULAS = {
    "cycles": "clock cycles of the array for one input, the sum of the layers', from a model that equals the RTL cycle for cycle",
    "frequency_mhz": "the clock for which latency, energy and power are computed: the one requested or chosen; without one, the "
    "node's own, or the highest in whole MHz that the design reaches where it does not reach that",
    "latency_us": "cycles / frequency_mhz",
    "energy_pj": "for one input, the sum of counts x energies: actions counted by the cycle model, x pJ each, see the sources; "
    "'skipstone run' with this design and frequency lists every term",
    "power_mw": "energy_pj / latency_us / 1000, while it runs",
    "area_um2": "the sum over the design's components of count x um2 each, see the sources; 'skipstone run' with this design "
    "lists every term",
    "clock_reached": "frequency_mhz / the clock that was asked for",
    "inputs_per_second": "1e6 / latency_us: inferences one after the other",
    "tops_per_watt": "2 x multiply-accumulates that are done (nonzero weights at pixels of the image) / energy_pj",
    "accuracy": "images whose largest output is the label's / images",
    "dsps": FPGA,
    "block_rams": FPGA,
    "luts": FPGA,
}
"""By metric, in the units of ``skipstone.mapper.results.exploration.METRICS``."""


def column_formulas(shown: Iterable[Metric]) -> dict[str, str]:
    """Formulas by the metrics' titles, which head the columns of tables."""
    return {metric.title: FORMULAS[metric.name] for metric in shown if metric.name in FORMULAS}


def card_formula(result: ExplorationResult, name: str, point: ExplorationPoint | None) -> str:
    """The formula of a metric, with its numbers at ``point``; empty for a metric without a formula."""
    formula = FORMULAS.get(name, "")
    return f"{formula}{'' if point is None else _numbers(result, name, point)}." if formula else ""


def _numbers(result: ExplorationResult, name: str, point: ExplorationPoint) -> str:
    values = point.metrics
    clock = values.get("frequency_mhz")
    match name:
        case "latency_us" if clock is not None and "cycles" in values:
            return f" = {values['cycles']:,.0f} / {clock:,.10g}"
        case "power_mw" if "latency_us" in values and "energy_pj" in values:
            return f": {values['energy_pj']:,.0f} / {values['latency_us']:,.10g} / 1000"
        case "energy_pj":
            return f": {values[name]:,.0f} pJ" + ("" if clock is None else f" at {clock:,.10g} MHz")
        case "area_um2":
            return f": {values[name]:,.0f} um2"
        case "accuracy" if result.accuracy_images:
            return f" = {values[name] * result.accuracy_images:,.10g} / {result.accuracy_images:,}"
    return ""


def definitions(result: ExplorationResult) -> tuple[tuple[str, str], ...]:
    """The metrics that some point has, each with its formula."""
    return tuple((metric.name, FORMULAS[metric.name]) for metric in metrics(result) if metric.name in FORMULAS)
