"""The command line. Everything heavy is imported inside a command, so that ``--help`` is quick.

A user's mistake ends with one message on standard error and exit code 2; ``verify`` exits with 1 on any difference.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipstone.cli import characterize as calibrate_commands
from skipstone.cli import compare as compare_commands
from skipstone.cli import compress as compress_commands
from skipstone.cli import explore as explore_commands
from skipstone.cli import trace as trace_commands
from skipstone.cli.console import console_for, errors, progress_for, writable, write_json
from skipstone.cli.options import (
    ActivationBits,
    Calibration,
    CalibrationMethod,
    DesignOption,
    Evaluation,
    FitMemories,
    Frequency,
    InputRange,
    InputShape,
    Json,
    Network,
    Out,
    Prune,
    TechnologyOption,
    WeightBits,
    WeightCode,
    chosen_design,
    compression_options,
)

if TYPE_CHECKING:
    from skipstone.mapper.program import Program
    from skipstone.mapper.results.network import NetworkResult

TIMELINE_EVENTS = 20_000
"""Most events of the schedule in a report; what is left out is said there."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compressed neural networks on a zero-skipping MAC array: every output bit, every cycle, energy and Verilog.",
)


def _version(wanted: bool) -> None:
    if wanted:
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


@app.command()
def run(
    network: Network,
    design: DesignOption = "edge",
    prune: Prune = "none",
    weight_bits: WeightBits = 8,
    weight_code: WeightCode = "linear",
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    evaluation: Evaluation = None,
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    fit_memories: FitMemories = False,
    technology: TechnologyOption = "45",
    frequency: Frequency = None,
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Compress NETWORK, map it onto the array and cost it exactly: cycles, energy, accuracy; writes report.html."""
    with errors(fit_memories):
        options = compression_options(
            prune,
            weight_bits,
            weight_code,
            activation_bits,
            calibration,
            calibration_method,
            evaluation,
            input_range,
            input_shape,
        )
        chosen = chosen_design(design, network, options)
        with writable(out, json_file), progress_for(json_file) as progress:
            from skipstone.flow.evaluate import evaluate
            from skipstone.mapper.technology.technology import load_technology

            evaluated = evaluate(
                network,
                chosen,
                options,
                progress,
                fit_memories=fit_memories,
                technology=load_technology(technology, frequency),
            )
            progress("writing the report")
            _write_report(evaluated.result, evaluated.costed.program, out)
        _show(evaluated.result, out, json_file)


@app.command()
def verify(
    network: Network,
    design: DesignOption = "edge",
    prune: Prune = "none",
    weight_bits: WeightBits = 8,
    weight_code: WeightCode = "linear",
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    evaluation: Evaluation = None,
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    fit_memories: FitMemories = False,
    technology: TechnologyOption = "45",
    frequency: Frequency = None,
    out: Out = Path("out"),
    json_file: Json = None,
    images: Annotated[int, typer.Option("--images", metavar="N", min=1, help="Inputs to run through the RTL.")] = 1,
    waves: Annotated[
        Path | None, typer.Option("--waves", metavar="FILE.fst", help="Record every signal (slow, large).")
    ] = None,
    simulator: Annotated[
        str, typer.Option("--simulator", metavar="NAME", help="verilator, or icarus (slow; small designs).")
    ] = "verilator",
) -> None:
    """Like run, then the whole network through the RTL under cocotb: every cycle and every output compared."""
    with errors(fit_memories):
        options = compression_options(
            prune,
            weight_bits,
            weight_code,
            activation_bits,
            calibration,
            calibration_method,
            evaluation,
            input_range,
            input_shape,
        )
        chosen = chosen_design(design, network, options)
        if simulator not in ("verilator", "icarus"):
            from skipstone.errors import SimulationError

            raise SimulationError(f"unknown simulator '{simulator}'; there are verilator and icarus")
        if waves is not None and waves.suffix != ".fst":
            raise OSError(
                errno.EINVAL, "waves are written in the FST format; name a file that ends in .fst", str(waves)
            )
        with writable(out, json_file, waves), progress_for(json_file) as progress:
            from skipstone.flow.evaluate import evaluate
            from skipstone.flow.verify import verify_evaluated
            from skipstone.mapper.technology.technology import load_technology

            evaluated = evaluate(
                network,
                chosen,
                options,
                progress,
                fit_memories=fit_memories,
                technology=load_technology(technology, frequency),
            )
            verification = verify_evaluated(evaluated, images, waves, simulator, progress)
            progress("writing the report")
            _write_report(verification.result, evaluated.costed.program, out)
        _show(verification.result, out, json_file)
        console = console_for(json_file)
        for layer in verification.result.layers:
            if layer.on_host:
                console.print(f"{layer.name}: on the host, not in the RTL", highlight=False, markup=False)
                continue
            cycles = "cycles equal" if layer.rtl_cycles == layer.model_cycles else "CYCLES DIFFER"
            outputs = "outputs equal"
            if not layer.outputs_equal:
                first = verification.differences.get(layer.name)
                outputs = f"OUTPUTS DIFFER: {first}" if first else "DID NOT FINISH"
            console.print(
                f"{layer.name}: model {layer.model_cycles}, RTL {layer.rtl_cycles}, {cycles}, {outputs}",
                highlight=False,
                markup=False,
            )
        if verification.error:
            console.print(verification.error, highlight=False, markup=False)
        verdict = "EXACT" if verification.exact else "NOT EXACT"
        console.print(
            f"{verdict}: {verification.result.images_verified} image{'s' * (verification.result.images_verified != 1)}, "
            f"{verification.result.rtl_total_cycles} RTL cycles each, {verification.cycles_per_second:,.0f} cycles/s",
            highlight=False,
        )
        if waves is not None:
            console.print(f"waves in {waves}", highlight=False, markup=False)
    if not verification.exact:
        raise typer.Exit(1)


@app.command()
def export(
    network: Network,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made if missing.")],
    design: DesignOption = "edge",
    prune: Prune = "none",
    weight_bits: WeightBits = 8,
    weight_code: WeightCode = "linear",
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    fit_memories: FitMemories = False,
) -> None:
    """Write the Verilog, the memory images, the program as JSON, and a testbench for any simulator."""
    with errors(fit_memories):
        options = compression_options(
            prune,
            weight_bits,
            weight_code,
            activation_bits,
            calibration,
            calibration_method,
            None,
            input_range,
            input_shape,
        )
        chosen = chosen_design(design, network, options)
        with writable(out), progress_for(None) as progress:
            from skipstone.flow.evaluate import cost_network
            from skipstone.flow.export import export_files, write_export
            from skipstone.flow.prepare import prepare_network
            from skipstone.mapper.lowering.memory_fit import with_memories_for

            prepared = prepare_network(network, options, progress)
            progress("mapping")
            if fit_memories:
                chosen = with_memories_for(prepared.compressed, chosen)
            costed = cost_network(prepared, chosen)
            progress("generating the Verilog")
            files = export_files(prepared, chosen, costed)
            write_export(files, out)
        console = console_for(None)
        console.print(
            f"{len(files)} files in {out}: design {chosen.name}, activation ranges from {prepared.compressed.calibration}",
            markup=False,
        )
        if note := files.get("quantized.onnx.missing.txt"):
            console.print(str(note).strip(), markup=False)
        console.print(
            f"try: cd {out} && iverilog -g2005 -o testbench skipstone_array.v testbench.v && vvp testbench",
            markup=False,
        )


@app.command()
def designs() -> None:
    """List the built-in designs and what they hold."""
    with errors():
        from rich.table import Table

        from skipstone.hw.design import built_in_designs

        table = Table()
        for heading in (
            "design",
            "PEs",
            "windows",
            "accumulators",
            "load",
            "lanes",
            "activations",
            "weights",
            "what for",
        ):
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


calibrate_commands.register(app)
compress_commands.register(app)
explore_commands.register(app)
trace_commands.register(app)
compare_commands.register(app)


def main() -> None:
    """The ``skipstone`` command."""
    app()


# Helpers --------------------------------------------------------------------------------------------------------------


def _write_report(result: NetworkResult, program: Program, out: Path) -> None:
    from skipstone.mapper.timing.timeline import network_timeline
    from skipstone.reports.network.report import write_report
    from skipstone.reports.network.timeline import timeline_figures

    timeline = network_timeline(program, limit=TIMELINE_EVENTS)
    write_report(result, out / "report.html", figures=timeline_figures(timeline, result))


def _show(result: NetworkResult, out: Path, json_file: str | None) -> None:
    from skipstone.reports.network.tables import energy_table, layer_table, summary_table, why_table

    console = console_for(json_file)
    console.print(layer_table(result))
    console.print()
    console.print(why_table(result))
    console.print(energy_table(result))
    console.print(summary_table(result))
    console.print(f"report in {out / 'report.html'}", markup=False)
    if json_file is None:
        return
    write_json(result.to_dict(), json_file)
