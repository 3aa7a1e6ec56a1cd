"""``skipstone characterize``: mistakes end with one message before any long work, and files are complete or absent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from skipstone.characterize import cells
from skipstone.characterize import run as characterization
from skipstone.cli import characterize as commands
from skipstone.cli.main import app
from skipstone.mapper.results.characterization import CharacterizationResult
from skipstone.mapper.results.technology_tables import DramTable, GatewareTable
from skipstone.mapper.technology.logic_cells import load_gateware

CARRIED: dict[str, Any] = load_gateware().table.to_dict()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["characterize", *arguments])


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    done = run("--part", "wires", "--out", str(tmp_path / "o"))
    assert done.exit_code == 2
    assert "a part is one of cells, sram, fpga, not 'wires' (option --part)" in done.output
    assert not (tmp_path / "o").exists()


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--liberty", str(tmp_path / "no.lib"), "--out", str(tmp_path / "o"))
    assert done.exit_code == 2
    assert f"no Liberty file {tmp_path / 'no.lib'} (option --liberty)" in done.output.replace("\n", "")
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    with pytest.raises(Exception, match="Debian's package qflow-tech-osu018"):
        characterization.characterize(("cells",), work=tmp_path)


def test_cacti_must_be_named(tmp_path: Path) -> None:
    done = run("--part", "sram", "--out", str(tmp_path))
    assert done.exit_code == 2
    assert "zigzag-dse" in done.output


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells.shutil, "which", lambda *_args, **_: None)
    monkeypatch.setattr(cells, "yosys", lambda: "yosys")
    with pytest.raises(Exception, match=r"iverilog \(Debian's package iverilog\).*sta \(Debian's package opensta\)"):
        cells.check_tools()


def test_a_characterization_is_written_whole_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = copy.deepcopy(CARRIED) | {"library": "half"}
    for quantity in changed["components"]["pe"]["area_um2"]:
        changed["components"]["pe"]["area_um2"][quantity] *= 0.5
    table = GatewareTable.from_dict(changed)
    monkeypatch.setattr(characterization, "characterize_cells", lambda *_args, **_more: table)
    library = tmp_path / "x.lib"
    library.write_text("")
    told = tmp_path / "c.json"
    done = run(
        "--liberty", str(library), "--out", str(tmp_path / "o"), "--work", str(tmp_path / "w"), "--json", str(told)
    )
    assert done.exit_code == 0, done.output
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["gateware_half.json"]
    assert json.loads((tmp_path / "o" / "gateware_half.json").read_text()) == changed
    assert CharacterizationResult.read(told).documents == {"gateware_half.json": changed}
    assert "(-50.0%)" in next(line for line in done.output.splitlines() if line.startswith("  pe:"))
    assert "(+0.0%)" in next(line for line in done.output.splitlines() if line.startswith("  row:"))


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = Path.write_bytes

    def fails(self: Path, content: bytes) -> int:
        if "b.json" in self.name:
            written(self, content[: len(content) // 2])
            raise OSError(28, "No space left on device", str(self))
        return written(self, content)

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OSError, match="No space"):
        commands.write_tables({name: DramTable("a test", {}) for name in ("a.json", "b.json")}, tmp_path, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "node"), [("sky130_fd_sc_hd__tt_025C_1v80", 130), ("osu018_stdcells", 180), ("NangateOpenCell_45nm", 45)]
)
def test_nodes_of_libraries(name: str, node: int) -> None:
    assert cells.node_of(name) == node


def test_a_library_without_a_node_is_refused() -> None:
    with pytest.raises(Exception, match="name it in nm"):
        cells.node_of("typical")
