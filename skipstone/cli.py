"""The command line. Everything heavy is imported inside a command, so that ``--help`` is quick.

A user's mistake ends with one message on standard error and exit code 2; ``verify`` exits with 1 on any difference.
"""

from __future__ import annotations

import errno
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipstone.compress.commands import register
from skipstone.console import console_for, errors, progress_for, writable, write_json

if TYPE_CHECKING:
    from hw.design import Design
    from mapper.results import NetworkResult
    from skipstone.prepare import CompressionOptions

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Compressed neural networks on a zero-skipping MAC array: every output bit, every cycle, energy and Verilog.",
)

Network = Annotated[str, typer.Argument(metavar="NETWORK", help="An ONNX file, or the name of a carried network.")]
DesignOption = Annotated[
    str, typer.Option("--design", metavar="NAME|FILE.toml", help="A built-in design, or a TOML file.")
]
Prune = Annotated[
    str,
    typer.Option(
        "--prune",
        metavar="METHOD:AMOUNT",
        help="unstructured:0.8, global:0.8, 2:4 (any N:M), filter:0.3 and the like, or none.",
    ),
]
WeightBits = Annotated[int, typer.Option("--weight-bits", metavar="N", help="Bits of weights, 2 to 16.")]
WeightCode = Annotated[
    str,
    typer.Option(
        "--weight-code",
        metavar="CODE",
        help="linear, power_of_two, additive_power_of_two, ternary, binary, or codebook:N (N values a layer).",
    ),
]
ActivationBits = Annotated[int, typer.Option("--activation-bits", metavar="N", help="Bits of activations, 2 to 16.")]
Calibration = Annotated[
    str | None, typer.Option("--calibration", metavar="IMAGES.npz", help="Images that activation ranges come from.")
]
CalibrationMethod = Annotated[
    str,
    typer.Option(
        "--calibration-method", metavar="METHOD", help="minmax, percentile:P (as percentile:99.99), mse, or entropy."
    ),
]
Evaluation = Annotated[
    str | None, typer.Option("--evaluation", metavar="IMAGES.npz", help="Labelled images to measure accuracy on.")
]
InputRange = Annotated[
    str,
    typer.Option("--input-range", metavar="LOW,HIGH", help="Range of the random input used where there are no images."),
]
InputShape = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="N,C,H,W", help="Shape of the input, where the file leaves it open."),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for what is written; made if missing.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - is standard output.")
]
FitMemories = Annotated[
    bool, typer.Option("--fit-memories", help="Enlarge the design's memories to what the network needs, and say so.")
]


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
    out: Out = Path("out"),
    json_file: Json = None,
) -> None:
    """Compress NETWORK, map it onto the array and cost it exactly: cycles, energy, accuracy; writes report.html."""
    with errors():
        options = _options(
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
        chosen = _design(design, network, options)
        with writable(out, json_file), progress_for(json_file) as progress:
            from skipstone.evaluate import evaluate_network

            result = evaluate_network(network, chosen, options, progress, fit_memories=fit_memories)
            progress("writing the report")
            _write_report(result, out)
        _show(result, out, json_file)


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
    with errors():
        options = _options(
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
        chosen = _design(design, network, options)
        if simulator not in ("verilator", "icarus"):
            from sim.errors import SimulationError

            raise SimulationError(f"unknown simulator '{simulator}'; there are verilator and icarus")
        if waves is not None and waves.suffix != ".fst":
            raise OSError(
                errno.EINVAL, "waves are written in the FST format; name a file that ends in .fst", str(waves)
            )
        with writable(out, json_file, waves), progress_for(json_file) as progress:
            from skipstone.verify import verify_network

            verification = verify_network(
                network,
                chosen,
                options,
                images=images,
                waves=waves,
                simulator=simulator,
                progress=progress,
                fit_memories=fit_memories,
            )
            progress("writing the report")
            _write_report(verification.result, out)
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
    with errors():
        options = _options(
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
        chosen = _design(design, network, options)
        with writable(out), progress_for(None) as progress:
            from mapper.memories import with_memories_for
            from skipstone.evaluate import cost_network
            from skipstone.export import export_files, write_export
            from skipstone.prepare import prepare_network

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
def explore(
    network: Network,
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE.toml", help="Search space; without it, the default one.")
    ] = None,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, help="Finished trials the study shall hold.")
    ] = 100,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Worker processes.")] = 1,
    study: Annotated[
        Path | None, typer.Option("--study", metavar="FILE.db", help="SQLite study; continued if it exists.")
    ] = None,
    weight_bits: WeightBits = 8,
    activation_bits: ActivationBits = 8,
    calibration: Calibration = None,
    calibration_method: CalibrationMethod = "minmax",
    evaluation: Evaluation = None,
    input_range: InputRange = "0,1",
    input_shape: InputShape = None,
    accuracy_images: Annotated[
        int, typer.Option("--accuracy-images", metavar="N", min=1, help="Evaluation images for each accuracy.")
    ] = 200,
    out: Out = Path("out"),
) -> None:
    """Search designs and compression together for cycles, energy, area and accuracy; writes exploration.html."""
    with errors():
        options = _options(
            "none",
            weight_bits,
            "linear",
            activation_bits,
            calibration,
            calibration_method,
            evaluation,
            input_range,
            input_shape,
        )
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from mapper.space import load_space
        from reports.pareto import pareto_table, write_exploration
        from skipstone.explore import explore as search

        loaded = load_space(space)
        storage = study or out / "study.db"
        console = console_for(None)
        aside = console_for("-")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with writable(out, storage), Progress(*columns, console=aside, transient=True) as bar:
            task = bar.add_task("exploring", total=trials)

            def finished(done: int, front: int) -> None:
                if not aside.is_terminal and done % max(1, trials // 10) == 0:
                    aside.print(f"{done} of {trials} trials ...", style="dim", highlight=False)
                bar.update(task, completed=done, description=f"exploring, {front} on the front")

            found = search(
                network,
                loaded,
                options,
                trials=trials,
                jobs=jobs,
                storage=storage,
                images=accuracy_images,
                finished=finished,
            )
        explanation = f"Activation ranges: {found.calibration}. Memories of each design are sized to the network."
        if any(point.accuracy is not None for point in found.points):
            explanation += f" Accuracy on at most {accuracy_images} evaluation images (--accuracy-images)."
        if found.problems:
            explanation += f" {len(found.problems)} choices cannot be built or mapped; the first: {found.problems[0]}"
        console.print(pareto_table(found.points))
        console.print(explanation, markup=False, highlight=False)
        write_exploration(found.points, out / "exploration.html", explanation=explanation)
        console.print(
            f"{len(found.points)} points of {loaded.size:,}; study in {storage}, plot in {out / 'exploration.html'}",
            markup=False,
        )


@app.command()
def designs() -> None:
    """List the built-in designs and what they hold."""
    with errors():
        from rich.table import Table

        from hw.design import built_in_designs

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


register(app)


def main() -> None:
    """The ``skipstone`` command."""
    app()


# Helpers --------------------------------------------------------------------------------------------------------------


def _options(
    prune: str,
    weight_bits: int,
    weight_code: str,
    activation_bits: int,
    calibration: str | None,
    calibration_method: str,
    evaluation: str | None,
    input_range: str,
    input_shape: str | None,
) -> CompressionOptions:
    from models.errors import SkipstoneError
    from models.weight_codes import check_code
    from skipstone.prepare import CompressionOptions

    for name, bits in (("--weight-bits", weight_bits), ("--activation-bits", activation_bits)):
        if not 2 <= bits <= 16:
            raise SkipstoneError(f"{name} must be 2 to 16, not {bits}")
    code, entries = _weight_code(weight_code)
    check_code(code, entries, weight_bits)
    low, high = _numbers("--input-range", input_range, float, "LOW,HIGH", 2)
    if not -1e30 <= low < high <= 1e30:
        raise SkipstoneError(f"--input-range must be LOW,HIGH with LOW below HIGH, both within 1e30, not {input_range}")
    shape = tuple(_numbers("--input-shape", input_shape, int, "N,C,H,W", None)) if input_shape else None
    return CompressionOptions(
        prune=prune,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        weight_code=code,
        codebook_entries=entries,
        calibration=calibration,
        evaluation=evaluation,
        calibration_method=calibration_method,
        input_range=(low, high),
        input_shape=shape,
    )


def _numbers(option: str, text: str, kind: Callable[[str], Any], form: str, count: int | None) -> list[Any]:
    from models.errors import SkipstoneError

    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or (count is not None and len(numbers) != count):
        raise SkipstoneError(f"{option} must be {form}, not '{text}'")
    return numbers


def _weight_code(text: str) -> tuple[Any, int]:
    """The code and, of a codebook, how many values it has."""
    from models.errors import SkipstoneError

    name, colon, entries = text.partition(":")
    words = ("linear", "power_of_two", "additive_power_of_two", "ternary", "binary")
    if name not in (*words, "codebook") or (colon and name != "codebook"):
        raise SkipstoneError(f"--weight-code must be {', '.join(words)}, or codebook:N, not '{text}'")
    if name != "codebook":
        return name, 16
    if not entries.isdigit() or not 4 <= int(entries) <= 256:
        raise SkipstoneError(f"--weight-code codebook:N needs N from 4 to 256, not '{text}'")
    return name, int(entries)


def _design(name: str, network: str, options: CompressionOptions) -> Design:
    """The design, with the widths and the multiplier that are asked for, or that a quantized network has, unless its file
    names its own."""
    from hw.design import load_design
    from skipstone.designs import fitted
    from skipstone.prepare import stored_options

    chosen = load_design(name)
    options = stored_options(network, options)
    # What a file says about widths holds; where it says nothing, the options do, as for a built-in design.
    said = tomllib.loads(Path(name).read_text()) if name.endswith(".toml") else {}
    return fitted(
        chosen,
        options.weight_code,
        options.weight_bits,
        options.activation_bits,
        options.codebook_entries,
        fixed=said,
    )


def _write_report(result: NetworkResult, out: Path) -> None:
    from reports.html import write_report

    write_report(result, out / "report.html")


def _show(result: NetworkResult, out: Path, json_file: str | None) -> None:
    from reports.tables import energy_table, layer_table, summary_table, why_table

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
