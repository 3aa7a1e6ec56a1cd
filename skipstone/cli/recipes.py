"""``skipstone recipes``: the recipes that come along."""

from __future__ import annotations

from skipstone.cli.console import console_for, reporting_errors


@reporting_errors
def recipes_command() -> None:
    """List the recipes that come with Skipstone."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from skipstone.compress.recipe import load_recipe, recipe_names

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for heading in ("recipe", "steps", "what it does"):
        table.add_column(heading, overflow="fold")
    for name in recipe_names():
        loaded = load_recipe(name)
        table.add_row(name, Text(", ".join(step.do for step in loaded.step)), Text(loaded.description))
    table.add_row("auto", "", Text("Chooses steps by what it measures, within --max-loss points of accuracy."))
    console_for(None).print(table)
