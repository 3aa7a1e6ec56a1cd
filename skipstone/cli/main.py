"""The command line: every command has a file of its own, and this one puts them together.

Everything heavy is imported inside a command, so that ``--help`` is quick. A user's mistake ends with one message on standard
error and exit code 2; ``verify`` exits with 1 on any difference; an interruption is 130, SIGTERM 143.
"""

from __future__ import annotations

from typing import Annotated

import typer

from skipstone.cli.characterize import calibrate_command, characterize_command
from skipstone.cli.compare import compare_command
from skipstone.cli.compress import compress_command
from skipstone.cli.console import handle_interruptions
from skipstone.cli.designs import designs_command
from skipstone.cli.explore import explore_command
from skipstone.cli.export import export_command
from skipstone.cli.recipes import recipes_command
from skipstone.cli.run import run_command
from skipstone.cli.sensitivity import sensitivity_command
from skipstone.cli.sweep import sweep_command
from skipstone.cli.trace import trace_command
from skipstone.cli.verify import verify_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compressed neural networks on a zero-skipping MAC array: every output bit, every cycle, energy and Verilog.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"skipstone {version('skipstone')}")
        raise typer.Exit()


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Compressed neural networks on a zero-skipping MAC array: every output bit, every cycle, energy and Verilog."""


app.command("run")(run_command)
app.command("verify")(verify_command)
app.command("export")(export_command)
app.command("designs")(designs_command)
app.command("characterize")(characterize_command)
app.command("calibrate", hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    calibrate_command
)
app.command("compress")(compress_command)
app.command("sensitivity")(sensitivity_command)
app.command("recipes")(recipes_command)
app.command("explore")(explore_command)
app.command("sweep")(sweep_command)
app.command("trace")(trace_command)
app.command("compare")(compare_command)


def main() -> None:
    """The ``skipstone`` command."""
    handle_interruptions()
    app()
