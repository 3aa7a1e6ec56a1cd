"""``python -m benchmarks [SECTION ...]``: measures the sections (all of them, if none is named) and writes Markdown.

With ``--out`` sections that are not measured stay as they are in the file. Exit code 1 if anything that was compared differs.
``--check`` measures nothing: it maps every network again and compares the cycles with ``benchmarks/expected_cycles.json``.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import compression, cycles
from benchmarks.document import HEAD, render, with_section
from benchmarks.machine import describe_machine
from benchmarks.sections import ALONE, SECTIONS
from benchmarks.settings import MODELS, Settings
from skipstone.files import write_file


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join([*SECTIONS, *ALONE])}")
    parser.add_argument("--out", type=Path, help="Markdown file; standard output if missing")
    parser.add_argument(
        "--models",
        type=Path,
        default=os.environ.get("SKIPSTONE_MODELS", MODELS),
        help="folder with mlperf_tiny_resnet8.onnx (default: $SKIPSTONE_MODELS, or tests/data)",
    )
    parser.add_argument(
        "--rtl-layers",
        type=int,
        default=0,
        metavar="N",
        help="layers of resnet18 and resnet50 to run in the RTL as well",
    )
    parser.add_argument("--images", type=int, default=1, metavar="N", help="inputs of each network of 'exactness'")
    parser.add_argument("--work", type=Path, help="folder in which 'compression' keeps what it has (out/compression)")
    parser.add_argument(
        "--finished-only", action="store_true", help="'compression': only what is in its folder; the rest is named"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare the exact cycles of all networks with those expected"
    )
    parser.add_argument(
        "--record", action="store_true", help="write the exact cycles of all networks as those expected from now on"
    )
    options = parser.parse_args(arguments)
    every = SECTIONS | ALONE
    unknown = [name for name in options.sections if name not in every]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(every)}")
    progress = Console(stderr=True)
    settings = Settings(
        models=Path(options.models),
        rtl_layers=options.rtl_layers,
        images=options.images,
        work=options.work,
        finished_only=options.finished_only,
        progress=lambda text: progress.print(f"{text} ...", style="dim", highlight=False, markup=False),
    )
    if options.record:
        sys.stdout.write(f"{cycles.record(settings)} cases in {cycles.EXPECTED}\n")
        return 0
    if options.check:
        return _check(settings)
    equal = True
    for name in options.sections or SECTIONS:
        settings.progress(f"section {name}")
        section = every[name](settings)
        equal &= section.equal
        flags = (
            [f"--rtl-layers {options.rtl_layers}"] if options.rtl_layers and name in ("resnet18", "resnet50") else []
        )
        flags += ["--finished-only"] if options.finished_only and name in ALONE else []
        rendered = render(
            section,
            shlex.join(["python", "-m", "benchmarks", name]) + "".join(f" {flag}" for flag in flags),
            describe_machine(),
        )
        if options.out is None:
            sys.stdout.write(rendered + "\n")
            continue
        heading = compression.HEADING if name in ALONE else HEAD
        old = options.out.read_text() if options.out.exists() else ""
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_file(options.out, with_section(old, name, rendered, list(every), heading))
    return 0 if equal else 1


def _check(settings: Settings) -> int:
    comparison = cycles.compare(settings)
    for difference in comparison.differences:
        sys.stdout.write(f"{difference}\n")
    absent = f", {len(comparison.absent)} not here: {', '.join(comparison.absent)}" if comparison.absent else ""
    sys.stdout.write(
        f"{len(comparison.compared)} cases compared{absent}; {len(comparison.differences)} layers differ\n"
    )
    return 1 if comparison.differences else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
