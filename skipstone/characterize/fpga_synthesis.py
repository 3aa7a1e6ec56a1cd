"""Yosys on whole arrays: which designs are synthesized for the model of FPGA resources, and the cells that come out.

Results are kept in a folder by the hash of Verilog, script and version, so that an interrupted characterization goes on
where it stopped. Designs come from a seeded sampler; those that the fit sees and those that it is judged by have
different seeds.
"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import tempfile
from pathlib import Path

from skipstone.characterize.synthesis import yosys
from skipstone.errors import DesignError, SkipstoneError
from skipstone.files import write_json
from skipstone.hw.design import Design
from skipstone.hw.export import TOP, array_verilog

SCRIPTS = {
    ("ecp5", "flat"): f"synth_ecp5 -top {TOP}",
    ("ecp5", "blocks"): f"synth_ecp5 -noflatten -top {TOP}",
    ("xc7", "flat"): f"synth_xilinx -family xc7 -flatten -top {TOP}",
    ("xc7", "blocks"): f"synth_xilinx -family xc7 -top {TOP}",
}
"""By device and by what is counted: the whole array as one, or each of its modules."""
READ, REPORT = "read_verilog array.v; ", "; tee -q -o stat.json stat -json"
SECONDS = 1200
"""After which a synthesis is given up."""

Modules = dict[str, dict[str, int]]
"""Cells by type, by module."""


def version() -> str:
    """Yosys' own name and version, without what it was compiled with."""
    text = subprocess.run([yosys(), "-V"], check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    return text.partition(" (")[0].strip()


def synthesize(design: Design, device: str, mode: str, work: Path) -> Modules:
    """Cells of every module of a design's array, from the folder if they are there.

    Args:
        design: The array.
        device: The family.
        mode: ``blocks`` (each module by itself) or ``flat`` (the array as a whole).
        work: Keeps what is synthesized. Yosys sees a folder of its own only.

    Returns:
        How many cells there are of each type, by module.

    Raises:
        SkipstoneError: Yosys is not installed, or fails.
    """
    verilog, script = array_verilog(design), READ + SCRIPTS[device, mode] + REPORT
    key = hashlib.sha256("\n".join((version(), script, verilog)).encode()).hexdigest()[:24]
    cached = work / f"{device}-{mode}-{key}.json"
    if cached.exists():
        return dict(json.loads(cached.read_text()))
    with tempfile.TemporaryDirectory(prefix="skipstone-fpga-") as name:
        folder = Path(name)
        (folder / "array.v").write_text(verilog)
        done = subprocess.run(
            [yosys(), "-q", "-p", script], cwd=folder, check=False, capture_output=True, text=True, timeout=SECONDS
        )
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise SkipstoneError(f"Yosys failed on design '{design.name}' for {device}: {last}")
        statistics = json.loads((folder / "stat.json").read_text())
    modules = {
        module.removeprefix("\\"): dict(sorted(module_statistics["num_cells_by_type"].items()))
        for module, module_statistics in statistics["modules"].items()
    }
    work.mkdir(parents=True, exist_ok=True)
    write_json(cached, modules)
    return modules


def sampled_designs(seed: int, count: int, most_pes: int) -> tuple[Design, ...]:
    """Different designs of all kinds of multiplier, always the same for a seed.

    Args:
        seed: Of the draws.
        count: How many.
        most_pes: The most PEs that a design may have.
    """
    choose = random.Random(seed)
    kinds = ("linear", "linear", "codebook", "shift", "additive", "sign")
    designs: dict[Design, None] = {}
    while len(designs) < count:
        kind = kinds[len(designs) % len(kinds)]
        width = choose.choice((1, 2, 3, 4, 4, 6, 8, 8, 16))
        bits = choose.choice((3, 4, 5, 6, 8, 8, 8, 10, 12, 16))
        weight_bits = choose.choice(
            {"shift": (2, 3, 4, 5), "additive": (3, 5, 7)}.get(kind, (2, 3, 4, 6, 8, 8, 8, 12, 16))
        )
        try:
            design = Design(
                name=f"seed{seed}-{len(designs)}",
                rows=choose.choice((1, 2, 3, 4, 5, 6, 8, 16)),
                cols=choose.choice((1, 2, 3, 4, 5, 6, 8, 12, 16)),
                window_depth=width * choose.choice((2, 4, 5, 7, 9, 9, 12, 16)),
                windows=choose.choice((2, 3, 4, 4, 6, 8)),
                accumulators=choose.choice((1, 2, 3, 4, 6, 8, 8, 16)),
                load_width=width,
                requantizer_lanes=choose.choice([lanes for lanes in range(1, width + 1) if width % lanes == 0]),
                weight_bits=weight_bits,
                activation_bits=bits,
                accumulator_bits=choose.choice((16, 20, 24, 24, 24, 28, 32, 40)),
                activation_words=1 << choose.randint(6, 14),
                weight_entries=1 << choose.randint(5, 14),
                load_entries=1 << choose.randint(5, 13),
                parameter_words=1 << choose.randint(3, 9),
                layers=choose.choice((4, 8, 16, 24, 32, 64, 64, 128)),
                reach=choose.choice((1, 3, 3, 5, 7, 8, 8)),
                leave_bits=choose.choice((1, 2, 3, 3, 4)),
                max_stride=choose.choice((1, 2, 3, 4)),
                max_dimension=choose.choice((63, 255, 1023, 1023)),
                multiplier=kind,
                codebook_entries=choose.choice((4, 16, 64)),
                codebooks=choose.choice((1, 3, 16)),
                index_coding=choose.choice(("absolute", "absolute", "delta")),
                delta_bits=choose.choice((2, 4, 6)),
                tables=choose.choice((0, 0, 1, 2)) if bits <= 10 else 0,
            )
        except DesignError:
            continue
        if design.pes <= most_pes and design.pes * design.load_width <= 16 * most_pes:
            designs[design] = None
    return tuple(designs)
