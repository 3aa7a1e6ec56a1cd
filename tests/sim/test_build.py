"""Builds in a cache of any path, and what remains of one that fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from skipstone.errors import SimulationError
from skipstone.sim import build as builds
from skipstone.sim.build import build, cache_folder

MODULE = "module odd(input clk, output reg [3:0] count);\n  always @(posedge clk) count <= count + 1;\nendmodule\n"


@pytest.fixture
def odd_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose path has what make and shells take for their own, with the runtime of the usual cache."""
    runtime = (cache_folder() / "runtime").absolute()
    cache = tmp_path / "a cache #$1%d:é'q\"&;"
    cache.mkdir()
    if runtime.is_dir():
        (cache / "runtime").symlink_to(runtime)
    monkeypatch.setenv("SKIPSTONE_CACHE", str(cache))
    return cache


@pytest.mark.rtl
def test_a_cache_of_any_path(odd_cache: Path) -> None:
    built = build(MODULE, "odd")
    assert (built.folder / "build" / "odd").is_file()
    assert built.folder.is_relative_to(odd_cache)
    assert build(MODULE, "odd") == built


@pytest.mark.rtl
def test_a_build_that_fails_leaves_its_log_alone(odd_cache: Path) -> None:
    with pytest.raises(SimulationError, match=r"building the verilator simulation failed .*; see .*\.log$") as caught:
        build(MODULE.replace("endmodule", "nonsense"), "odd")
    log = Path(str(caught.value).rpartition("; see ")[2])
    assert "syntax error" in log.read_text()
    assert not [path for path in (odd_cache / "builds").iterdir() if path.is_dir()]


def test_compilers_in_a_folder_are_ended(tmp_path: Path) -> None:
    inside, outside = (subprocess.Popen(["sleep", "60"], cwd=each) for each in (tmp_path, tmp_path.parent))
    try:
        builds._end_processes_in(tmp_path)
        assert inside.wait(10) < 0
        assert outside.poll() is None
    finally:
        outside.kill()
        outside.wait()
