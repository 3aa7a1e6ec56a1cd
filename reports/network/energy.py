"""Where energy and area go: by layer and part, and every product of the sums with its count, its energy and its source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skipstone.mapper.results.network import EnergyTerm, NetworkResult
from skipstone.reports.network.definitions import AREA_COLUMNS, TERM_COLUMNS
from skipstone.reports.network.layer_keys import labels, none_on_host
from skipstone.reports.network.summary import count, energy_by_part, nanojoules, percent, share, square_millimetres
from skipstone.reports.web.figures import (
    COLOURS,
    Figure,
    Grid,
    Key,
    Numbers,
    bar_height,
    bar_layout,
    plot_text,
    stacked_bars,
)


@dataclass(frozen=True)
class PartTerms:
    """A part of the energy: what it adds up to, in words, and its products."""

    name: str
    total: str
    terms: Grid


@dataclass(frozen=True)
class Costs:
    """Where energy or area goes: plots, the products of each part of the energy, and the sources (key, text) of the numbers."""

    figures: tuple[Figure, ...]
    products: tuple[PartTerms, ...]
    sources: tuple[tuple[str, str], ...]


def energy_costs(result: NetworkResult) -> Costs:
    """Plots, products and sources of the energy; only a result with terms has products and sources."""
    components = component_figure(result)
    return Costs(
        (energy_figure(result), *([] if components is None else [components])),
        _part_terms(result),
        _sources(result, {term.source for layer in result.layers for term in layer.energy_terms}),
    )


def area_costs(result: NetworkResult) -> Costs:
    """Plot and sources of the area; nothing where the result has no terms."""
    figure = area_figure(result)
    return Costs(() if figure is None else (figure,), (), _sources(result, {term.source for term in result.area_terms}))


def energy_figure(result: NetworkResult) -> Figure:
    """Energy of each layer by part, stacked, the network's largest part first."""
    names = labels(result)
    parts = tuple(energy_by_part(result))
    series = [(part, [layer.energy_by_part.get(part, 0.0) / 1000 for layer in result.layers]) for part in parts]
    notes = [
        (sum(layer.energy_by_part.values()) / 1000, "host" if layer.on_host else nanojoules(layer.energy_pj))
        for layer in result.layers
    ]
    rows = tuple(
        (
            layer.name,
            *(none_on_host(layer, nanojoules(layer.energy_by_part.get(part, 0.0))) for part in parts),
            nanojoules(layer.energy_pj),
        )
        for layer in result.layers
    )
    return Figure(
        name="energy",
        title="Energy of each layer, by part",
        caption="Energy for one input in nJ: actions counted by the cycle model times energy per action "
        f"({result.technology}).",
        height=bar_height(names),
        traces=stacked_bars(names, series, "nJ"),
        layout=bar_layout(names, "energy, nJ", notes),
        keys=tuple(Key(part, index % COLOURS, (index,)) for index, part in enumerate(parts)),
        table=Grid(("layer (nJ)", *parts, "total"), rows),
        numbers=Numbers(
            ("layer", *(f"{part}_pj" for part in parts), "energy_pj"),
            tuple(
                (layer.name, *(layer.energy_by_part.get(part) for part in parts), layer.energy_pj)
                for layer in result.layers
            ),
        ),
    )


def terms(result: NetworkResult) -> list[EnergyTerm]:
    """The products of the network's energy: those of all layers with the same energy per action added up, the largest first."""
    counts: dict[tuple[str, str, str, float, str], float] = {}
    for layer in result.layers:
        for term in layer.energy_terms:
            key = (term.part, term.component, term.action, term.pj, term.source)
            counts[key] = counts.get(key, 0) + term.count
    summed = [
        EnergyTerm(part, component, action, times, pj, source)
        for (part, component, action, pj, source), times in counts.items()
    ]
    return sorted(summed, key=lambda term: (-term.energy_pj, term.part, term.component, term.action))


def component_figure(result: NetworkResult) -> Figure | None:
    """Energy of the network by component, each bar made of parts of the sum; None where the result has no terms."""
    summed = terms(result)
    if not summed:
        return None
    components: dict[str, float] = {}
    for term in summed:
        components[term.component] = components.get(term.component, 0.0) + term.energy_pj
    ordered = sorted(components, key=lambda name: (-components[name], name))
    parts = tuple(part for part in energy_by_part(result) if any(term.part == part for term in summed))
    series = [
        (
            part,
            [
                sum(term.energy_pj for term in summed if (term.component, term.part) == (component, part)) / 1000
                for component in ordered
            ],
        )
        for part in parts
    ]
    total = sum(components.values())
    notes = [
        (components[name] / 1000, f"{nanojoules(components[name])} ({percent(share(components[name], total))})")
        for name in ordered
    ]
    layout = bar_layout(ordered, "energy, nJ", notes)
    layout["xaxis"]["range"] = [0, 1.25 * max(components.values()) / 1000]
    layout["meta"]["narrow"]["xaxis"]["range"] = [0, 1.7 * max(components.values()) / 1000]
    return Figure(
        name="components",
        title="Energy by component",
        caption="The energy of one input by component, coloured by the part of the sum it belongs to. Every piece is a sum of "
        "counts times energies: the tables below list each of them with its source.",
        height=bar_height(ordered),
        traces=stacked_bars(ordered, series, "nJ"),
        layout=layout,
        keys=tuple(Key(part, index % COLOURS, (index,)) for index, part in enumerate(parts)),
        table=_term_grid(summed, total),
        numbers=Numbers(
            ("layer", "part", "component", "action", "count", "pj_each", "energy_pj", "source"),
            tuple(
                (layer.name, term.part, term.component, term.action, term.count, term.pj, term.energy_pj, term.source)
                for layer in result.layers
                for term in layer.energy_terms
            ),
        ),
    )


def area_figure(result: NetworkResult) -> Figure | None:
    """Area by component; None where the result has no terms."""
    if not result.area_terms:
        return None
    ordered = sorted(result.area_terms, key=lambda term: (-term.area_um2, term.component))
    names = [term.component for term in ordered]
    notes = [
        (
            term.area_um2 / 1e6,
            f"{square_millimetres(term.area_um2)} ({percent(share(term.area_um2, result.area_um2))})",
        )
        for term in ordered
    ]
    traces = stacked_bars(names, [("area", [term.area_um2 / 1e6 for term in ordered])], "mm²")
    traces[0]["customdata"] = [
        plot_text(term.component, f"{count(term.count)} x {term.um2:,.6g} um2 ({term.source})") for term in ordered
    ]
    largest = max(term.area_um2 for term in ordered) / 1e6 or 1.0
    layout = bar_layout(names, "area, mm²", notes)
    layout["xaxis"]["range"] = [0, 1.25 * largest]
    layout["meta"]["narrow"]["xaxis"]["range"] = [0, 1.7 * largest]
    return Figure(
        name="area",
        title="Area by component",
        caption="Area of the design: number of components times the area of one. Cells and tables, not a layout.",
        height=bar_height(names),
        traces=traces,
        layout=layout,
        keys=(),
        table=Grid(
            ("component", *AREA_COLUMNS),
            tuple(
                (
                    *(term.component, count(term.count), f"{term.um2:,.6g}", square_millimetres(term.area_um2)),
                    *(percent(share(term.area_um2, result.area_um2)), f"{term.leakage_nw:,.4g}"),
                    *(f"{term.count * term.leakage_nw / 1000:,.4g}", term.source),
                )
                for term in ordered
            ),
            frozenset({0, 7}),
            AREA_COLUMNS,
        ),
        numbers=Numbers(
            ("component", "count", "um2_each", "area_um2", "leakage_nw_each", "source"),
            tuple((t.component, t.count, t.um2, t.area_um2, t.leakage_nw, t.source) for t in ordered),
        ),
    )


def _part_terms(result: NetworkResult) -> tuple[PartTerms, ...]:
    summed = terms(result)
    total = sum(term.energy_pj for term in summed)
    groups = [(part, [term for term in summed if term.part == part]) for part in energy_by_part(result)]
    return tuple(PartTerms(part, _sum_text(group, total), _term_grid(group, total)) for part, group in groups if group)


def _sources(result: NetworkResult, keys: set[str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, text) for key, text in result.sources if key in keys)


def _sum_text(group: Sequence[EnergyTerm], total: float) -> str:
    energy = sum(term.energy_pj for term in group)
    return f"{nanojoules(energy)} nJ ({percent(share(energy, total))})"


def _term_grid(summed: Sequence[EnergyTerm], total: float) -> Grid:
    return Grid(
        ("component", "action", "count", "pJ each", "energy, nJ", "share", "source"),
        tuple(
            (
                *(term.component, term.action, count(term.count), f"{term.pj:,.6g}", nanojoules(term.energy_pj)),
                *(percent(share(term.energy_pj, total)), term.source),
            )
            for term in summed
        ),
        frozenset({0, 1, 6}),
        TERM_COLUMNS,
    )
