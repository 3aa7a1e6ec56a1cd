"""Static timing of the whole array in cells with OpenSTA: the longest path between registers, memories and ports.

Memories are cut out: their access time is not in a path (``skipstone.mapper.technology.sram_table`` knows it), and
paths begin and end at their pins. Nets of many sinks get the tree of buffers that placement tools would give them.
Wires load cells by the library's lengths and the capacitance of ``skipstone.characterize.power``; their resistance is
left out.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from skipstone.characterize.flat import FlatNetlist, flatten
from skipstone.characterize.liberty import Library, liberty_text
from skipstone.characterize.measurement import Synthesized
from skipstone.characterize.power import CLOCK_FANOUT, WIRE_PF_PER_UM
from skipstone.errors import SkipstoneError
from skipstone.files import write_json

BUFFERS = ("sky130_fd_sc_hd__buf_4", "BUFX4")
PERIOD_NS = 10.0


def longest_paths_ns(flat: FlatNetlist, library: Library, liberty: Path, folder: Path) -> dict[str, float]:
    """For each block the period (ns) below which a path that ends in it fails, setup time included.

    Args:
        flat: The array in cells.
        library: The cells.
        liberty: The library's file.
        folder: For OpenSTA's files.

    Raises:
        SkipstoneError: OpenSTA is not installed, or finds no path.
    """
    command = shutil.which("sta")
    if command is None:
        raise SkipstoneError("sta is not installed; it comes with Debian's package opensta")
    folder.mkdir(parents=True, exist_ok=True)
    text = liberty_text(liberty)
    # The library's own capacitance per length is not a wire's; see ``Library.wire_load``.
    text = re.sub(r"(wire_load\s*\([^)]*\)\s*\{\s*capacitance\s*:\s*)[0-9.eE+-]+", rf"\g<1>{WIRE_PF_PER_UM}", text)
    (folder / "cells.lib").write_text(text)
    (folder / "array.v").write_text(timed_netlist(flat, library))
    blocks = sorted({cell.block for cell in flat.cells})
    checks = "".join(
        f'puts "block {block}"\nreport_checks -path_delay max -digits 4 -to [get_cells *_{block}]\n'
        f"report_checks -path_delay max -digits 4 -to [get_ports o*_{block}]\n"
        for block in blocks
    )
    (folder / "run.tcl").write_text(
        f"""read_liberty cells.lib
read_verilog array.v
link_design array
create_clock -name clk -period {PERIOD_NS} [get_ports clk]
set_input_delay 0 -clock clk [get_ports i*]
set_output_delay 0 -clock clk [get_ports o*]
set_false_path -from [get_ports rst]
{checks}"""
    )
    done = subprocess.run(
        [command, "-no_init", "-exit", "run.tcl"], cwd=folder, capture_output=True, text=True, check=False
    )
    (folder / "sta.log").write_text(done.stdout + done.stderr)
    longest: dict[str, float] = {}
    for part in done.stdout.split("block ")[1:]:
        slacks = [float(value) for value in re.findall(r"(-?[0-9.]+)\s+slack", part)]
        if slacks:
            longest[part.split()[0]] = PERIOD_NS - min(slacks)
    if not longest:
        raise SkipstoneError(f"sta found no path: {(done.stdout + done.stderr)[-300:]}")
    return longest


def cached_paths(point: Synthesized, library: Library, liberty: Path, cache: Path) -> dict[str, float]:
    """:func:`longest_paths_ns` of a design in cells, or what an equal run found.

    Args:
        point: The design in cells.
        library: The cells.
        liberty: The library's file.
        cache: A folder for results.

    Raises:
        SkipstoneError: OpenSTA is not installed, or finds no path.
    """
    cells = {name: [power.cells, round(sum(power.net_pj.values()), 6)] for name, power in point.powers.items()}
    design = point.design.replace(name="", description="").to_dict()
    text = json.dumps([library.name, design, cells, PERIOD_NS, CLOCK_FANOUT, WIRE_PF_PER_UM], sort_keys=True)
    cached = cache / "timing" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="skipstone-timing-") as folder:
            longest = longest_paths_ns(flatten(point.blocks, library), library, liberty, Path(folder))
        write_json(cached, longest, indent=None)
    return {name: float(value) for name, value in json.loads(cached.read_text()).items()}


def timed_netlist(flat: FlatNetlist, library: Library) -> str:
    """A Verilog module of library cells alone: what memories read are its inputs, what they are given its outputs.

    Args:
        flat: The array in cells.
        library: The cells.
    """
    buffer = next((library.cells[name] for name in BUFFERS if name in library.cells), None)
    clock, reset = flat.port("clk"), flat.port("rst")
    sinks: dict[str, list[tuple[int, str]]] = defaultdict(list)
    driven: dict[str, str] = {}
    for number, cell in enumerate(flat.cells):
        for pin, net in cell.connections.items():
            if library.cells[cell.kind].pins[pin].output:
                driven[net] = cell.block
            elif net.startswith("n"):
                sinks[net].append((number, pin))
    inputs = sorted(net for net in sinks if net not in driven and net not in (clock, reset))
    given = {
        net
        for memory in flat.memories
        for port, nets in memory.connections.items()
        if port != "RD_DATA"
        for net in nets
    }
    outputs = sorted(net for net in given | {n for nets in flat.ports.values() for n in nets} if net in driven)
    lines = []
    chosen: dict[tuple[int, str], str] = {}
    for net, ends in sinks.items():
        level, nets = ends, [net]
        if buffer is None or net in (clock, reset) or len(ends) <= CLOCK_FANOUT:
            continue
        into = next(pin.name for pin in buffer.pins.values() if not pin.output)
        out = buffer.outputs[0].name
        # Leaves first: each buffer takes up to so many sinks, and becomes a sink of the level above.
        depth = 0
        current: list[tuple[int, str] | str] = list(level)
        while len(current) > CLOCK_FANOUT:
            above: list[tuple[int, str] | str] = []
            for start in range(0, len(current), CLOCK_FANOUT):
                made = f"{net}_b{depth}_{start}"
                for end in current[start : start + CLOCK_FANOUT]:
                    if isinstance(end, str):
                        lines.append(f"  {buffer.name} {end}_cell(.{into}({made}), .{out}({end}));")
                    else:
                        chosen[end] = made
                above.append(made)
                lines.append(f"  wire {made};")
            current, depth = above, depth + 1
        for end in current:
            assert isinstance(end, str)
            lines.append(f"  {buffer.name} {end}_cell(.{into}({nets[0]}), .{out}({end}));")
    names = sorted({net for cell in flat.cells for net in cell.connections.values() if net.startswith("n")})
    header = ["clk", "rst", *(f"i{net}" for net in inputs), *(f"o{net}_{driven[net]}" for net in outputs)]
    body = [
        f"module array({', '.join(header)});",
        "  input clk, rst;",
        *(f"  input i{net};" for net in inputs),
        *(f"  output o{net}_{driven[net]};" for net in outputs),
        *(f"  wire {net};" for net in names if net not in inputs),
        *lines,
    ]
    rename = {clock: "clk", reset: "rst"} | {net: f"i{net}" for net in inputs}
    for number, cell in enumerate(flat.cells):
        pins = ", ".join(
            f".{pin}({rename.get(wire, wire)})"
            for pin, net in cell.connections.items()
            for wire in [chosen.get((number, pin), net)]
        )
        body.append(f"  {cell.kind} c{number}_{cell.block}({pins});")
    body += [f"  assign o{net}_{driven[net]} = {net};" for net in outputs]
    text = "\n".join([*body, "endmodule", ""])
    # Buffers of an input net.
    for net in inputs:
        if len(sinks[net]) > CLOCK_FANOUT:
            text = re.sub(rf"\({net}\)", f"(i{net})", text)
    return text
