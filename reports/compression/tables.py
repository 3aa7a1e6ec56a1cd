"""Tables of a compression for the terminal: what each step did to the accuracy, and what each layer takes."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from skipstone.mapper.results.compression import CompressionResult, StepResult

Rows = list[tuple[str, str]]


def step_table(result: CompressionResult) -> Table:
    """A row for each step: float accuracy before and after, accuracy of the integers after steps that quantize, zeros, weights
    and multiply-accumulates."""
    table = Table(
        title=Text(f"{result.network}, recipe {result.recipe}"), box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False
    )
    table.add_column("step", overflow="fold")
    table.add_column("settings", overflow="fold")
    for heading in ("before", "after", "integers", "zeros", "weights", "MACs", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for step in result.steps:
        table.add_row(
            Text(step.do),
            Text(settings_text(step)),
            result.accuracy_text(step.accuracy_before),
            result.accuracy_text(step.accuracy_after),
            result.accuracy_text(step.integer_accuracy) if step.integer_accuracy is not None else "",
            f"{100 * step.sparsity:.1f}%",
            f"{step.weights:,}",
            f"{step.macs:,}",
            f"{step.seconds:,.0f}",
        )
    return table


def size_table(result: CompressionResult) -> Table:
    """A row for each layer: nonzeros, code, bits and encoded bytes; on a design also cycles, in parentheses where layers run
    together."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, show_footer=True)
    cycles = result.cost.layers if result.cost is not None else {}
    nonzeros = sum(layer.nnz for layer in result.layers)
    weights = sum(layer.weights for layer in result.layers)
    table.add_column("layer", "total", overflow="fold")
    table.add_column("kind")
    table.add_column("weights", f"{weights:,}", justify="right")
    table.add_column("nonzero", f"{nonzeros:,}", justify="right")
    table.add_column("zeros", f"{100 * result.sparsity:.1f}%", justify="right")
    table.add_column("code")
    table.add_column("bits", justify="right")
    table.add_column("bytes", f"{result.encoded_bytes:,}", justify="right")
    if cycles:
        table.add_column("cycles", f"{result.cost.cycles:,}" if result.cost else "", justify="right")
    for layer in result.layers:
        own = cycles.get(layer.name)
        merged = next((name for name in cycles if layer.name in name.split("+")), "")
        row: list[Text | str] = [
            Text(layer.name),
            layer.kind,
            f"{layer.weights:,}",
            f"{layer.nnz:,}",
            f"{100 * layer.sparsity:.1f}%",
            layer.code.replace("_", " "),
            str(layer.bits),
            f"{layer.encoded_bytes:,}",
        ]
        if cycles:
            row.append(f"{own:,}" if own is not None else f"({cycles[merged]:,})" if merged else "")
        table.add_row(*row)
    if any("+" in name for name in cycles):
        table.caption = "(cycles of layers that run together)"
    return table


def summary(result: CompressionResult) -> Rows:
    """Data, accuracy, size and cost of the compressed network, as names and texts."""
    rows = [("data", result.data)]
    if result.accuracy is not None and result.float_accuracy is not None:
        rows.append(
            (
                "accuracy",
                f"float {result.accuracy_text(result.float_accuracy)}, compressed integers "
                f"{result.accuracy_text(result.accuracy)}: {result.loss_text()} ({result.metric}, {result.test_images:,} images)",
            )
        )
    weights = sum(layer.weights for layer in result.layers)
    dense_bytes = -(-weights * result.weight_bits // 8)
    rows.append(
        (
            "size of the file",
            f"{result.encoded_bytes:,} bytes encoded; {result.float_bytes:,} in float32: {result.ratio:.1f}x smaller; "
            f"{dense_bytes:,} as {result.weight_bits}-bit array",
        )
    )
    if result.cost is not None:
        cost = result.cost
        other = cost.original_cycles != cost.dense_cycles
        rows += [
            ("design", f"{cost.design}, {cost.multiplier} multipliers; all figures below are of it"),
            ("cycles", _beside(cost.cycles, cost.dense_cycles, cost.original_cycles, 1, "", "faster", other=other)),
            (
                "energy",
                _beside(cost.energy_pj, cost.dense_energy_pj, cost.original_energy_pj, 1000, " nJ", "less", other=other)
                + f"; on {cost.area_um2 / 1e6:.3f} mm²",
            ),
            (
                "weights on the array",
                f"{cost.weight_memory_bytes:,} bytes: {cost.entry_bits} bits for each nonzero or filler, {cost.value_bits} for "
                f"its value and {cost.entry_bits - cost.value_bits} for its place; a dense array would take {dense_bytes:,}",
            ),
        ]
    return rows


def _beside(value: float, dense: float, original: float, unit: float, name: str, word: str, *, other: bool) -> str:
    """A figure beside those of the same network without zeros and, where it has other layers, of the one as it came."""
    text = f"{value / unit:,.0f}{name}; every weight nonzero {dense / unit:,.0f}{name}: {dense / value:.2f}x {word}"
    if other:
        text += f"; the network as it came, every weight nonzero {original / unit:,.0f}{name}: {original / value:.2f}x {word}"
    return text


def summary_table(result: CompressionResult) -> Table:
    """:func:`summary` as a table."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in summary(result):
        table.add_row(name, Text(text))
    return table


def settings_text(step: StepResult) -> str:
    """A step's settings on one line."""
    return ", ".join(f"{key} {_short(value)}" for key, value in step.settings.items())


def _short(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(str(each) for each in value)
    if isinstance(value, dict):
        return f"({len(value)} layers)"
    return f"{value:g}" if isinstance(value, float) else str(value)
