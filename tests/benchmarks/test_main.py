"""``python -m benchmarks``: sections to a file, one at a time, and an exit code that says whether all was equal."""

from pathlib import Path

import pytest

from benchmarks import sections
from benchmarks.__main__ import main
from benchmarks.document import Section
from benchmarks.settings import MLPERF, Settings


def test_one_section_to_standard_output(capsys):
    assert main(["gemm"]) == 0
    printed = capsys.readouterr().out
    assert "`python -m benchmarks gemm` on " in printed
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert rows == 2 * ["nonzeros", "36,864", "18,112", "7,057", "3,321", "1,485"]


def test_sections_not_measured_stay_in_the_file(tmp_path: Path, monkeypatch):
    measured = []

    def fake(name: str, equal: bool):
        def measure(settings: Settings) -> Section:
            measured.append((name, settings.rtl_layers))
            return Section(name, name, f"{name} was measured", equal)

        return measure

    monkeypatch.setattr("benchmarks.__main__.SECTIONS", {"a": fake("a", True), "b": fake("b", False)})
    out = tmp_path / "measured.md"
    assert main(["a", "--out", str(out)]) == 0
    assert main(["b", "--out", str(out), "--rtl-layers", "3"]) == 1
    assert measured == [("a", 0), ("b", 3)]
    assert "a was measured" in out.read_text()
    assert "b was measured" in out.read_text()
    assert main(["--out", str(out)]) == 1
    assert [name for name, _ in measured[2:]] == ["a", "b"]


def test_an_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["gem"])
    assert ended.value.code == 2
    assert f"no section gem; there are {', '.join(sections.SECTIONS)}" in capsys.readouterr().err


def test_the_carried_network_stands_in_for_the_absent_one(tmp_path: Path):
    assert Settings(tmp_path).resnet8 == Settings().resnet8 == ("resnet8_fashion", (0.0, 1.0))
    (tmp_path / MLPERF).touch()
    assert Settings(tmp_path).resnet8 == (str(tmp_path / MLPERF), (0.0, 255.0))
