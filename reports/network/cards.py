"""The large figures at the head of a network's report, each with the formula and the numbers it was computed from."""

from __future__ import annotations

from skipstone.mapper.results.network import NetworkResult
from skipstone.reports.network.compression import accuracies
from skipstone.reports.network.summary import (
    NONE,
    count,
    microseconds,
    nanojoules,
    percent,
    speedup,
    square_millimetres,
    utilization,
    verification_text,
    verified,
)
from skipstone.reports.web.page import Card


def cards(result: NetworkResult) -> list[Card]:
    """The cards in reading order; time, power and area only where the result has them."""
    return [
        Card(
            "cycles",
            count(result.total_cycles),
            f"dense: {count(result.dense_total_cycles)}",
            "",
            "The sum of the layers' cycles in the table below, from a model that equals the RTL cycle for cycle.",
        ),
        *_time(result),
        _speedup(result),
        _utilization(result),
        Card(
            "energy",
            f"{nanojoules(result.total_energy_pj)} nJ",
            "for one input"
            + (
                ""
                if result.dense_total_energy_pj is None
                else f"; dense: {nanojoules(result.dense_total_energy_pj)} nJ"
            ),
            "",
            f"The sum over all layers of actions counted by the cycle model x pJ each: {result.total_energy_pj:,.0f} pJ. Each "
            "product with its source is under energy.",
        ),
        *_power(result),
        *_rates(result),
        *_area(result),
        _accuracy(result),
        _verified(result),
    ]


def _time(result: NetworkResult) -> list[Card]:
    if not (result.latency_us and result.frequency_mhz):
        return []
    limit = f" Synthesis allows up to {result.fmax_mhz:,.0f} MHz." if result.fmax_mhz else ""
    return [
        Card(
            "time",
            microseconds(result.latency_us),
            f"at {result.frequency_mhz:g} MHz",
            "bad" if result.fmax_mhz and result.frequency_mhz > result.fmax_mhz else "",
            f"cycles / frequency = {count(result.total_cycles)} / {result.frequency_mhz:g} MHz.{limit}",
        )
    ]


def _speedup(result: NetworkResult) -> Card:
    factor = speedup(result)
    return Card(
        "speed-up",
        NONE if factor is None else f"{factor:.2f}x",
        "over dense, same array",
        "",
        f"dense cycles / cycles = {count(result.dense_total_cycles)} / {count(result.total_cycles)}.",
    )


def _utilization(result: NetworkResult) -> Card:
    pes = result.parameters["rows"] * result.parameters["cols"]
    useful = sum(layer.actions.get("useful_macs", 0) for layer in result.layers)
    numbers = f" = {count(useful)} / ({pes} x {count(result.total_cycles)})" if useful else ""
    return Card(
        "utilization",
        percent(utilization(result)),
        "of the PEs' cycles",
        "",
        f"useful multiply-accumulates / (PEs x cycles){numbers}. Useful: the weight is not zero and the pixel is in the image.",
    )


def _power(result: NetworkResult) -> list[Card]:
    if result.power_mw is None or not result.latency_us:
        return []
    return [
        Card(
            "power",
            f"{result.power_mw:,.3g} mW",
            "while it runs",
            "",
            f"energy / time = {nanojoules(result.total_energy_pj)} nJ / {microseconds(result.latency_us)}.",
        )
    ]


def _rates(result: NetworkResult) -> list[Card]:
    if result.effective is None or result.dense_equivalent is None or result.inputs_per_second is None:
        return []
    return [
        Card(
            name,
            f"{effective:,.3g}",
            f"{dense:,.3g} if zeros count",
            "",
            f"2 x useful multiply-accumulates (or, second figure, all with zeros) / {unit}.",
        )
        for name, effective, dense, unit in (
            ("TOPS", result.effective.tops, result.dense_equivalent.tops, "time"),
            ("TOPS/W", result.effective.tops_per_watt, result.dense_equivalent.tops_per_watt, "energy, DRAM included"),
            ("TOPS/mm²", result.effective.tops_per_mm2, result.dense_equivalent.tops_per_mm2, "time / area"),
        )
    ]


def _area(result: NetworkResult) -> list[Card]:
    if not result.area_um2:
        return []
    node = f"at {result.node_nm} nm" if result.node_nm else "cells and memories, no layout"
    formula = "The sum over components of count x um2 each, listed under area." if result.area_terms else ""
    return [Card("area", f"{square_millimetres(result.area_um2)} mm²", node, "", formula)]


def _accuracy(result: NetworkResult) -> Card:
    measured = accuracies(result)
    if not measured:
        return Card("accuracy", NONE, "no data")
    name, value = measured[-1]
    images = result.accuracy.images
    return Card(
        "accuracy",
        percent(value, 2),
        f"{name}, {images:,} images",
        "",
        f"images whose largest output is the label's / images = {count(value * images)} / {count(images)}.",
    )


def _verified(result: NetworkResult) -> Card:
    verdict = verified(result)
    value = "yes" if verdict else "NO" if verdict is False else "not run"
    if verdict is None and verification_text(result).startswith("in"):
        value = "in part"
    images = f"{result.images_verified:,} image" + ("" if result.images_verified == 1 else "s")
    return Card(
        "verified against RTL",
        value,
        images if result.images_verified else "model only",
        {True: "good", False: "bad", None: ""}[verdict],
        verification_text(result),
    )
