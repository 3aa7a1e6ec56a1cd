"""Runs a program on a gate-level netlist of the whole array in Icarus Verilog, with delays, and counts every net's transitions.

Memories are written and read from the testbench, so that every cycle that counts is one of the program. The run is a
verification too: its cycles must be the cycle model's, its outputs the integer reference's. Glitches are counted, as far as the
cells' inertial delays let them pass.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skipstone.characterize.flat import FlatNetlist, flatten
from skipstone.characterize.gate_models import cell_models
from skipstone.characterize.liberty import Library
from skipstone.characterize.power import BlockPower
from skipstone.characterize.synthesis import SynthesizedBlock
from skipstone.errors import SkipstoneError
from skipstone.hw.design import Design
from skipstone.mapper.lowering.tensor_words import pack_words, write_words
from skipstone.mapper.program import Program

PERIOD_PS = 40_000
"""The simulated clock: slow enough for every path; the energy of a cycle does not depend on it."""

KNOWN = ("0", "1")


@dataclass(frozen=True, eq=False)
class GateRun:
    """``toggles``: transitions by block instance (path, block) and bit number. ``equal``: outputs and cycles were."""

    cycles: int
    model_cycles: int
    wrong_words: int
    words: int
    toggles: dict[tuple[str, str], dict[int, int]]

    @property
    def equal(self) -> bool:
        """Whether outputs are the reference's and cycles the model's."""
        return self.cycles == self.model_cycles and not self.wrong_words


def testbench(
    design: Design,
    flat: FlatNetlist,
    library: Library,
    powers: Mapping[str, BlockPower],
    program: Program,
    cycles: int,
    folder: Path,
    delays: bool,
) -> str:
    """The array's netlist in a Verilog module that runs a program.

    It writes memories, starts, dumps transitions until ``done``, and writes activation memory and the number of cycles.

    Args:
        design: The array.
        flat: The array in cells.
        library: The cells.
        powers: Have the cells' delays, by block.
        program: What runs.
        cycles: The cycles that the model counts.
        folder: Where hex files go.
        delays: Cells have their delays.
    """
    images = program.memory_images()
    clear, load = [], []
    for memory in flat.memories:
        clear.append(f"    for (i = 0; i < {memory.depth}; i = i + 1) nets.{memory.name}[i] = 0;")
        image = _image(memory.path, memory.memory)
        if image in images:
            (folder / f"{image}.hex").write_text("".join(f"{word:x}\n" for word in images[image]))
            load.append(f'    $readmemh("{image}.hex", nets.{memory.name}, 0, {len(images[image]) - 1});')
    activations = next(f"nets.{memory.name}" for memory in flat.memories if memory.memory == "activations")
    half = PERIOD_PS // 2
    host = [net for name in ("host_select", "host_address", "host_data", "host_write") for net in flat.ports[name]]
    idle = "\n".join(f"  assign {net} = 1'b0;" for net in host if net.startswith("n"))
    return f"""`timescale 1ps/1ps
{cell_models(library, flat.kinds())}
module nets(input clk, input rst, input start, output done);
{flat.verilog(powers if delays else None)}
  assign {flat.port("clk")} = clk;
  assign {flat.port("rst")} = rst;
  assign {flat.port("start")} = start;
  assign done = {flat.port("done")};
{idle}
endmodule
module testbench;
  reg clk = 0, rst = 1, start = 0;
  wire done;
  integer i, cycles, file;
  nets nets(.clk(clk), .rst(rst), .start(start), .done(done));
  always #{half} clk = ~clk;
  initial begin
{chr(10).join(clear)}
{chr(10).join(load)}
    $readmemh("input.hex", {activations}, 0, {design.activation_words - 1});
    repeat (3) @(negedge clk);
    rst = 0;
    @(negedge clk);
    $dumpfile("toggles.vcd");
    $dumpvars(1, nets);
    start = 1;
    @(negedge clk);
    start = 0;
    cycles = 0;
    while (done !== 1'b1 && cycles < {2 * cycles + 1000}) begin
      @(negedge clk);
      cycles = cycles + 1;
    end
    $dumpoff;
    $writememh("output.hex", {activations}, 0, {design.activation_words - 1});
    file = $fopen("cycles.txt");
    $fdisplay(file, "%0d", cycles);
    $fclose(file);
    $finish;
  end
endmodule
"""


def _image(path: str, memory: str) -> str:
    if memory == "weights":
        return f"weights{path.removeprefix('row')}"
    return {"lists": "loads", "decoder.codebooks": "codebooks"}.get(memory, memory)


def run(
    design: Design,
    blocks: Mapping[str, SynthesizedBlock],
    powers: Mapping[str, BlockPower],
    library: Library,
    program: Program,
    model_cycles: int,
    x: NDArray[np.int64],
    expected: NDArray[np.int64],
    folder: Path,
    *,
    delays: bool = True,
) -> GateRun:
    """Simulates a program in gates, on one input.

    Args:
        design: The array.
        blocks: Its blocks in cells, by name.
        powers: Have the cells' delays, by block.
        library: The cells.
        program: What runs.
        model_cycles: The cycles that the model counts.
        x: The input tensor, channels x height x width.
        expected: The output tensor, channels x height x width.
        folder: For the simulation's files.
        delays: Without, every cell switches at once and nets are counted when they have settled: no glitches.

    Raises:
        SkipstoneError: Icarus Verilog is not installed, or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flat = flatten(blocks, library)
    words = [0] * design.activation_words
    for place, word in write_words(program.input, design, x):
        words[place] = word
    (folder / "input.hex").write_text("".join(f"{word:x}\n" for word in words))
    bench = folder / "testbench.v"
    bench.write_text(testbench(design, flat, library, powers, program, model_cycles, folder, delays))
    compiled = folder / "simulation.vvp"
    execute(["iverilog", "-g2005", "-o", str(compiled), str(bench)], folder)
    execute(["vvp", str(compiled)], folder)
    placed = program.outputs[0]
    got = [line.split()[0] for line in (folder / "output.hex").read_text().splitlines() if not line.startswith("//")]
    got = got[placed.base : placed.base + placed.words]
    want = pack_words(placed, design, expected)
    mask = pack_words(placed, design, np.full(expected.shape, -1))
    wrong = sum(
        not re.fullmatch("[0-9a-fA-F]+", word) or (int(word, 16) & bits) != (value & bits)
        for word, value, bits in zip(got, want, mask, strict=True)
    )
    cycles = int((folder / "cycles.txt").read_text())
    return GateRun(cycles, model_cycles, wrong, len(want), flat.by_block(count_toggles(folder / "toggles.vcd")))


def execute(command: list[str], folder: Path) -> None:
    """Runs a command in a folder.

    Raises:
        SkipstoneError: It is not installed, or fails.
    """
    if shutil.which(command[0]) is None:
        raise SkipstoneError(f"{command[0]} is not installed; it comes with Debian's package iverilog")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SkipstoneError(f"{command[0]} failed: {(done.stderr + done.stdout)[-500:]}")


def count_toggles(vcd: Path) -> Counter[str]:
    """Transitions between 0 and 1 of every scalar of a VCD file, by name, up to ``$dumpoff``.

    The values that stand at the start are not counted, and neither are unknown ones.
    """
    names: dict[str, str] = {}
    transitions: Counter[str] = Counter()
    with open(vcd) as lines:
        for line in lines:
            if line.startswith("$var"):
                _, kind, width, code, name = line.split()[:5]
                if kind != "parameter" and width == "1":
                    names[f"{code}\n"] = name
            elif line.startswith("$enddefinitions"):
                break
        # The first section holds the values at the start. A net that comes back within a time step is written without a change.
        last: dict[str, str] = {}
        counts: dict[str, int] = dict.fromkeys(names, 0)
        for line in lines:
            if line[0] in "01xz":
                last[line[1:]] = line[0]
            elif line.startswith("$end"):
                break
        for line in lines:
            value = line[0]
            if value in "01":
                code = line[1:]
                before = last.get(code)
                if before != value:
                    last[code] = value
                    if before in KNOWN:
                        counts[code] = counts.get(code, 0) + 1
            elif value in "xz":
                last[line[1:]] = value
            elif line.startswith("$dumpoff"):
                break
    for code, count in counts.items():
        if code in names:
            transitions[names[code]] += count
    return transitions
