"""The page of a compression: what each step did to accuracy and size, and what each layer takes in bytes and cycles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from skipstone.mapper.results.compression import CompressionResult
from skipstone.reports.compression.tables import settings_text, summary
from skipstone.reports.network.summary import NONE, count, percent
from skipstone.reports.web.figures import BAR_HEIGHT, BAR_MARGINS, Figure, Grid, Key, Numbers, plot_text
from skipstone.reports.web.page import FIGURES, TABLE, Card, Page, Section

SUMMARY = "reports/compression/templates/summary.html.j2"
HEIGHT = 380
_AXIS = {"fixedrange": True, "automargin": True, "zeroline": False}
_MARGINS = {"l": 8, "r": 24, "t": 16, "b": 48}


@dataclass(frozen=True)
class CompressionSummary:
    """Large figures of the compressed network, and all that the summary in the terminal says."""

    cards: tuple[Card, ...]
    rows: tuple[tuple[str, str], ...]


def compression_page(result: CompressionResult) -> Page:
    """The page: summary, accuracy over the steps, zeros, bytes and cycles by layer, and the tables behind them."""
    figures = (_over_steps(result), _by_layer(result))
    decisions = Grid(("decision",), tuple((text,) for text in result.decisions))
    return Page(
        title=f"{result.network}, {result.recipe}: compression",
        heading=f"{result.network}, compressed by {result.recipe}",
        lead="What each step did to the accuracy, and what the layers take afterwards.",
        sections=(
            Section("summary", "Summary", SUMMARY, _summary(result)),
            *(Section(figure.name, figure.title, FIGURES, (figure,)) for figure in figures),
            Section("step-table", "Every step", TABLE, _steps(result)),
            Section("layer-table", "Every layer", TABLE, _layers(result)),
            *([Section("decisions", "What the search decided", TABLE, decisions)] if result.decisions else []),
        ),
        figures=figures,
    )


def _summary(result: CompressionResult) -> CompressionSummary:
    cards = []
    if result.accuracy is not None:
        lost = "" if result.loss_points is None else result.loss_text()
        cards.append(Card(result.accuracy_name, result.accuracy_text(result.accuracy), lost))
    cards.append(Card("smaller", f"{result.ratio:.1f}x", f"{count(result.encoded_bytes)} bytes, encoded"))
    cards.append(Card("zeros", percent(result.sparsity, 1), f"{result.weight_bits}-bit {result.weight_code} weights"))
    if result.cost is not None:
        cards.append(Card("cycles", count(result.cost.cycles), f"{result.cost.speedup:.2f}x faster than dense"))
    return CompressionSummary(tuple(cards), tuple(summary(result)))


def _over_steps(result: CompressionResult) -> Figure:
    """Accuracy after each step, of the float network and of the integers, and the share of zeros."""
    names = [f"{number}. {step.do}" for number, step in enumerate(result.steps, start=1)]
    name = result.accuracy_name
    unit = "%" if result.metric_is_share else ""
    series: list[tuple[str, list[float | None]]] = [
        (f"float {name}", [_shown(step.accuracy_after, result) for step in result.steps]),
        (f"{name} of the integers", [_shown(step.integer_accuracy, result) for step in result.steps]),
    ]
    if result.metric_is_share:
        series.append(("zeros", [100 * step.sparsity for step in result.steps]))
    series = [(label, values) for label, values in series if any(value is not None for value in values)]
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "connectgaps": True,
            "meta": index,
            "marker": {"size": 8},
            "name": label,
            "x": [plot_text(name) for name in names],
            "y": values,
            "hovertemplate": f"%{{x}}<br>{label}: %{{y:{'.2f' if unit else '.4g'}}}{unit}<extra></extra>",
        }
        for index, (label, values) in enumerate(series)
    ]
    return Figure(
        name="steps",
        title=f"{name.capitalize()}{' and zeros' if unit else ''}, step by step",
        caption=f"{result.metric.capitalize()} on {result.test_images:,} test images after each step"
        + (", and the share of weights that are zero." if unit else "."),
        height=HEIGHT,
        traces=traces,
        layout={
            "margin": _MARGINS,
            "xaxis": {**_AXIS, "type": "category"},
            "yaxis": {**_AXIS, "title": {"text": unit or plot_text(name)}},
        },
        keys=tuple(Key(label, index, (index,)) for index, (label, _) in enumerate(series)),
        table=_steps(result),
        numbers=Numbers(
            ("step", "accuracy_before", "accuracy_after", "integer_accuracy", "sparsity", "weights", "macs", "seconds"),
            tuple(
                (
                    name,
                    step.accuracy_before,
                    step.accuracy_after,
                    step.integer_accuracy,
                    step.sparsity,
                    step.weights,
                    step.macs,
                    step.seconds,
                )
                for name, step in zip(names, result.steps, strict=True)
            ),
        ),
    )


def _by_layer(result: CompressionResult) -> Figure:
    """Bytes of each layer in float32 and encoded."""
    names = [plot_text(layer.name) for layer in result.layers]
    series = [
        ("float32", [4 * layer.weights for layer in result.layers]),
        ("encoded", [layer.encoded_bytes for layer in result.layers]),
    ]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "orientation": "h",
            "meta": index,
            "name": label,
            "x": values,
            "y": names,
            "hovertemplate": f"%{{y}}<br>{label}: %{{x:,}} bytes<extra></extra>",
        }
        for index, (label, values) in enumerate(series)
    ]
    return Figure(
        name="bytes",
        title="Bytes by layer",
        caption="Each layer's weights in float32, and encoded: as a dense array, or a bitmap and the nonzero values if smaller.",
        height=BAR_MARGINS + 2 * BAR_HEIGHT * max(1, len(names)),
        traces=traces,
        layout={
            "margin": _MARGINS,
            "barmode": "group",
            "xaxis": {**_AXIS, "title": {"text": "bytes"}, "separatethousands": True},
            "yaxis": {**_AXIS, "type": "category", "autorange": "reversed"},
        },
        keys=tuple(Key(label, index, (index,)) for index, (label, _) in enumerate(series)),
        table=_layers(result),
        numbers=Numbers(
            ("layer", "weights", "nonzero", "bits", "float_bytes", "encoded_bytes"),
            tuple(
                (layer.name, layer.weights, layer.nnz, layer.bits, 4 * layer.weights, layer.encoded_bytes)
                for layer in result.layers
            ),
        ),
    )


def _steps(result: CompressionResult) -> Grid:
    rows = tuple(
        (
            f"{number}. {step.do}",
            settings_text(step),
            result.accuracy_text(step.accuracy_before),
            result.accuracy_text(step.accuracy_after),
            result.accuracy_text(step.integer_accuracy) if step.integer_accuracy is not None else NONE,
            percent(step.sparsity, 1),
            count(step.weights),
            count(step.macs),
            f"{step.seconds:,.0f}",
            "; ".join(step.notes),
        )
        for number, step in enumerate(result.steps, start=1)
    )
    header = ("step", "settings", "before", "after", "integers", "zeros", "weights", "MACs", "seconds", "notes")
    return Grid(header, rows, frozenset({0, 1, 9}))


def _layers(result: CompressionResult) -> Grid:
    cycles = result.cost.layers if result.cost is not None else {}
    merged = {part: name for name in cycles for part in name.split("+")}
    rows = tuple(
        (
            layer.name,
            layer.kind,
            count(layer.weights),
            count(layer.nnz),
            percent(layer.sparsity, 1),
            f"{layer.bits}-bit {layer.code.replace('_', ' ')}",
            count(layer.encoded_bytes),
            _cycles(layer.name, cycles, merged),
        )
        for layer in result.layers
    )
    total = sum(layer.weights for layer in result.layers), sum(layer.nnz for layer in result.layers)
    footer = (
        "total",
        "",
        count(total[0]),
        count(total[1]),
        percent(result.sparsity, 1),
        "",
        count(result.encoded_bytes),
        count(result.cost.cycles) if result.cost is not None else NONE,
    )
    header = ("layer", "kind", "weights", "nonzero", "zeros", "code", "bytes", "cycles")
    in_parentheses = merged.keys() - cycles.keys()
    definitions = {"cycles": "In parentheses: of layers that run together."} if in_parentheses else {}
    return Grid(header, rows, frozenset({0, 1, 5}), definitions, footer)


def _cycles(layer: str, cycles: Any, merged: dict[str, str]) -> str:
    if layer in cycles:
        return count(cycles[layer])
    return f"({count(cycles[merged[layer]])})" if layer in merged else NONE


def _shown(accuracy: float | None, result: CompressionResult) -> float | None:
    return None if accuracy is None else 100 * accuracy if result.metric_is_share else accuracy
