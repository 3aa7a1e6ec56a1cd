"""``python -m benchmarks [SECTION ...]``: measures the sections (all of them, if none is named) and writes Markdown.

With ``--out`` sections that are not measured stay as they are in the file. Exit code 1 if anything that was compared differs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import compression
from benchmarks.document import HEAD, render, with_section
from benchmarks.machine import describe_machine
from benchmarks.sections import ALONE, SECTIONS
from benchmarks.settings import Settings


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join([*SECTIONS, *ALONE])}")
    parser.add_argument("--out", type=Path, help="Markdown file; standard output if missing")
    parser.add_argument(
        "--models",
        type=Path,
        default=os.environ.get("SKIPSTONE_MODELS"),
        help="folder with mlperf_tiny_resnet8.onnx (default: $SKIPSTONE_MODELS; without, the carried network stands in)",
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
    given = parser.parse_args(arguments)
    every = SECTIONS | ALONE
    unknown = [name for name in given.sections if name not in every]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(every)}")
    progress = Console(stderr=True)
    settings = Settings(
        models=given.models and Path(given.models),
        rtl_layers=given.rtl_layers,
        images=given.images,
        work=given.work,
        finished_only=given.finished_only,
        progress=lambda text: progress.print(f"{text} ...", style="dim", highlight=False, markup=False),
    )
    equal = True
    for name in given.sections or SECTIONS:
        settings.progress(f"section {name}")
        section = every[name](settings)
        equal &= section.equal
        options = [f"--rtl-layers {given.rtl_layers}"] if given.rtl_layers and name in ("resnet18", "resnet50") else []
        options += ["--finished-only"] if given.finished_only and name in ALONE else []
        rendered = render(
            section,
            shlex.join(["python", "-m", "benchmarks", name]) + "".join(f" {o}" for o in options),
            describe_machine(),
        )
        if given.out is None:
            sys.stdout.write(rendered + "\n")
            continue
        heading = compression.HEADING if name in ALONE else HEAD
        old = given.out.read_text() if given.out.exists() else ""
        given.out.write_text(with_section(old, name, rendered, list(every), heading))
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
