"""Where a network's cycles go: plots of cycles by cause, and of utilization with the bound of each layer."""

from __future__ import annotations

from skipstone.mapper.results.network import CAUSES, NetworkResult
from skipstone.reports.network.definitions import CAUSE_FORMULAS, LAYER_COLUMNS
from skipstone.reports.network.layer_keys import bound_colour, bound_keys, bounds, labels, none_on_host
from skipstone.reports.network.summary import CAUSE_DEFINITIONS, count, decimals, percent
from skipstone.reports.web.figures import Figure, Grid, Key, Numbers, bar_height, bar_layout, stack_end, stacked_bars


def cycles_figure(result: NetworkResult) -> Figure:
    """Cycles of each layer by cause, stacked: a bar's causes add up to the layer's cycles."""
    names = labels(result)
    series = [(cause, [layer.cycles_by_cause.get(cause, 0.0) for layer in result.layers]) for cause in CAUSES]
    notes = [
        (stack_end(layer.cycles_by_cause.values()), "host" if layer.on_host else count(layer.model_cycles))
        for layer in result.layers
    ]
    rows = tuple(
        (
            layer.name,
            *(none_on_host(layer, decimals(layer.cycles_by_cause.get(cause, 0.0), 1)) for cause in CAUSES),
            count(layer.model_cycles),
        )
        for layer in result.layers
    )
    return Figure(
        name="cycles",
        title="Cycles of each layer, by cause",
        caption="Where the cycles of each layer go. Only the first cause is useful work; the others are lost.",
        height=bar_height(names),
        traces=stacked_bars(names, series, "cycles"),
        layout=bar_layout(names, "cycles", notes),
        keys=tuple(Key(cause, index, (index,), CAUSE_DEFINITIONS[cause]) for index, cause in enumerate(CAUSES)),
        table=Grid(
            ("layer", *CAUSES, "cycles"), rows, definitions=CAUSE_FORMULAS | {"cycles": "the sum of the causes"}
        ),
        numbers=Numbers(
            ("layer", *(f"{cause}_cycles" for cause in CAUSES), "model_cycles"),
            tuple(
                (layer.name, *(layer.cycles_by_cause.get(cause) for cause in CAUSES), layer.model_cycles)
                for layer in result.layers
            ),
        ),
    )


def utilization_figure(result: NetworkResult) -> Figure:
    """Utilization of each layer, coloured by what bounds it."""
    names = labels(result)
    shown_bounds = bounds(result)
    series = [
        (bound, [100 * (layer.utilization or 0.0) if layer.bound == bound else 0.0 for layer in result.layers])
        for bound in shown_bounds
    ]
    traces = [
        trace | {"meta": bound_colour(bound)}
        for trace, bound in zip(stacked_bars(names, series, "%"), shown_bounds, strict=True)
    ]
    notes = [
        (100 * (layer.utilization or 0.0), "host" if layer.on_host else percent(layer.utilization))
        for layer in result.layers
    ]
    layout = bar_layout(names, "useful work, % of PEs and cycles", notes)
    layout["xaxis"] |= {"range": [0, 109], "tickvals": [0, 20, 40, 60, 80, 100]}
    layout["meta"]["narrow"]["xaxis"] = {"range": [0, 130], "tickvals": [0, 50, 100]}
    return Figure(
        name="utilization",
        title="Utilization of each layer",
        caption="Useful multiply-accumulates over PEs times cycles. The colour shows what bounds the layer.",
        height=bar_height(names),
        traces=traces,
        layout=layout,
        keys=bound_keys(shown_bounds),
        table=Grid(
            ("layer", "bound", "utilization"),
            tuple(
                (layer.name, "host" if layer.on_host else layer.bound, percent(layer.utilization))
                for layer in result.layers
            ),
            frozenset({0, 1}),
            {name: LAYER_COLUMNS[name] for name in ("bound", "utilization")},
        ),
        numbers=Numbers(
            ("layer", "bound", "utilization"),
            tuple((layer.name, layer.bound, layer.utilization) for layer in result.layers),
        ),
    )
