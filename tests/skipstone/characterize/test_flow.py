"""A small block from Amaranth to energy with a library of five cells: the gates compute what the block computes, and their
energy is that of their transitions, counted a second time independently."""

import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from skipstone.characterize.flat import flatten
from skipstone.characterize.gate_models import cell_models
from skipstone.characterize.liberty import read_liberty
from skipstone.characterize.power import block_power, energy_pj
from skipstone.characterize.simulation import count_toggles, execute
from skipstone.characterize.synthesis import SynthesizedBlock, modules_of, run_yosys, without_cells
from skipstone.errors import SkipstoneError
from skipstone.hw.export import to_verilog
from tests.skipstone.characterize.cells import library, write_library

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


class Accumulator(wiring.Component):
    """``total = total + a * b`` of 2 and 2 bits, modulo 64."""

    a: In(2)
    b: In(2)
    total: Out(6)

    def elaborate(self, platform):
        m = Module()
        product = Signal(4)
        m.d.comb += product.eq(self.a * self.b)
        m.d.sync += self.total.eq(self.total + product)
        return m


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> SynthesizedBlock:
    path = write_library(tmp_path_factory.mktemp("liberty"))
    return SynthesizedBlock("unit", "unit", **run_yosys(to_verilog(Accumulator(), "unit"), "", "unit", path))


def test_only_cells_of_the_library_are_left(block: SynthesizedBlock) -> None:
    assert {kind for kind, _ in block.cells.values()} <= {"INV", "BUF", "NAND2", "NOR2", "DFF"}
    assert sum(kind == "DFF" for kind, _ in block.cells.values()) == 6


@needs_icarus
def test_the_gates_accumulate_and_every_transition_is_counted(block: SynthesizedBlock, tmp_path: Path) -> None:
    cells = read_liberty(write_library(tmp_path))
    power = block_power(block, cells)
    flat = flatten({"unit": block}, cells, "unit")
    assert len(flat.cells) == len(block.cells)
    pairs = [(index * 7 % 4, index * 5 % 3 + 1) for index in range(40)]
    total, totals = 0, []
    for a, b in pairs:
        total = (total + a * b) % 64
        totals.append(total)
    ports = {name: flat.ports[name] for name in ("clk", "rst", "a", "b", "total")}
    drive = "\n".join(
        f"  assign {net} = {name}[{index}];"
        for name in ("clk", "rst", "a", "b")
        for index, net in enumerate(ports[name])
        if net.startswith("n")
    )
    steps = "\n".join(
        f'    a = {a}; b = {b}; @(negedge clk); if (total !== {value}) $display("WRONG %0d", total);'
        for (a, b), value in zip(pairs, totals, strict=True)
    )
    bench = f"""`timescale 1ps/1ps
{cell_models(cells, flat.kinds())}
module nets(input [0:0] clk, input [0:0] rst, input [1:0] a, input [1:0] b, output [5:0] total);
{flat.verilog({"unit": power})}
{drive}
  assign total = {{{", ".join(reversed(ports["total"]))}}};
endmodule
module testbench;
  reg clk = 0, rst = 1; reg [1:0] a = 0, b = 0; wire [5:0] total;
  nets nets(clk, rst, a, b, total);
  always #20000 clk = ~clk;
  initial begin
    repeat (2) @(negedge clk);
    rst = 0;
    $dumpfile("toggles.vcd");
    $dumpvars(1, nets);
{steps}
    $dumpoff;
    $finish;
  end
endmodule
"""
    (tmp_path / "bench.v").write_text(bench)
    execute(["iverilog", "-g2005", "-o", "bench.vvp", "bench.v"], tmp_path)
    done = subprocess.run(["vvp", "bench.vvp"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "WRONG" not in done.stdout
    toggles = count_toggles(tmp_path / "toggles.vcd")
    (counts,) = flat.by_block(toggles).values()
    bits = block.ports["total"][1]
    # The output's own transitions are those of the totals; registers do not glitch.
    expected = [
        sum((before ^ after) >> bit & 1 for before, after in zip([0, *totals], totals, strict=False))
        for bit in range(6)
    ]
    assert [counts[bit] for bit in bits if isinstance(bit, int)] == expected
    (clk,) = block.ports["clk"][1]
    # The last falling edge is at the time at which counting ends.
    assert toggles[flat.port("clk")] == 2 * len(pairs) - 1
    assert isinstance(clk, int)
    assert clk not in power.net_pj
    by_hand = sum(power.net_pj[bit] * count for bit, count in counts.items() if bit in power.net_pj)
    assert energy_pj(power, counts) == pytest.approx(by_hand)
    assert by_hand > 0


def test_a_vcd_counts_changes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "t.vcd").write_text(
        '$timescale 1ps $end\n$scope module t $end\n$var wire 1 ! a $end\n$var wire 1 " b $end\n'
        '$var wire 4 # wide [3:0] $end\n$upscope $end\n$enddefinitions $end\n#0\n$dumpvars\n0!\nx"\nb0000 #\n$end\n'
        '#5\n1!\n1"\nb1111 #\n#6\n1!\n0"\n#7\n0!\nx"\n#8\n1"\n$dumpoff\nx!\nx"\n$end\n'
    )
    # a: 0 1 (1) 0. b: unknown, then 1, 0, unknown, 1: of these only 1 to 0 is a transition.
    assert count_toggles(tmp_path / "t.vcd") == {"a": 2, "b": 1}


def test_complete_cells_are_left_out() -> None:
    text = without_cells(library(), "NOR|INV")
    assert "NOR2" not in text
    assert "INV" not in text
    assert text.count("{") == text.count("}")
    assert "cell (NAND2)" in text


def test_modules_are_found_by_name() -> None:
    assert list(modules_of(to_verilog(Accumulator(), "unit"))) == ["unit"]


def test_yosys_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match=r"could not map unit to the cells of four_180nm\.lib"):
        run_yosys("module unit(); no such thing endmodule", "", "unit", write_library(tmp_path))


def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match="not-there is not installed"):
        execute(["not-there"], tmp_path)
