"""The library exports and reports what the commands do."""

from __future__ import annotations

from pathlib import Path

import pytest

from skipstone import SkipstoneError, export_network, load_design
from skipstone.flow.evaluate import evaluate
from skipstone.flow.report import write_network_report


def test_a_carried_network(tmp_path: Path) -> None:
    export = export_network("resnet8_fashion", load_design("edge"), out=tmp_path / "e", fit_memories=True)
    written = {path.relative_to(export.folder).as_posix() for path in export.folder.rglob("*") if path.is_file()}
    assert written == set(export.files) >= {"program.json", "skipstone_array.v", "testbench.v", "quantized.onnx"}
    assert export.missing is None


def test_nothing_is_written_for_no_network(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match="resnet0"):
        export_network("resnet0", load_design("edge"), out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_report_has_the_schedule(tmp_path: Path) -> None:
    evaluated = evaluate("resnet8_fashion", load_design("edge"))
    write_network_report(evaluated.result, evaluated.cost.program, tmp_path / "report.html")
    assert (tmp_path / "report_data" / "schedule.csv").is_file()
