"""``skipstone designs``: the built-in designs."""

from __future__ import annotations

from skipstone.cli.console import console_for, reporting_errors

HEADINGS = ("design", "PEs", "windows", "accumulators", "load", "lanes", "activations", "weights", "what for")


@reporting_errors
def designs_command() -> None:
    """List the built-in designs and what they hold."""
    from rich.table import Table

    from skipstone.hw.design import built_in_designs

    table = Table()
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("design", "what for") else "right")
    for design in built_in_designs().values():
        table.add_row(
            design.name,
            f"{design.rows} x {design.cols}",
            f"{design.windows} x {design.window_depth}",
            f"2 x {design.accumulators}",
            f"{design.load_width} B/cycle",
            str(design.requantizer_lanes),
            f"{design.activation_words * design.activation_word_bits // 8192} KiB",
            f"{design.weight_entries:,} a row",
            design.description,
        )
    console_for(None).print(table)
