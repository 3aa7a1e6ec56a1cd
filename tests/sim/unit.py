"""Runs one unit bench: a component alone, as Verilog, in the simulator, with the tests of one module of
``skipstone.sim.benches``.

The verdict is read from the results file: cocotb's runner returns normally although a test failed, and zero tests pass.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from skipstone.errors import SimulationError
from skipstone.hw.design import Design
from skipstone.hw.export import COMPILED_ONCE, to_verilog
from skipstone.sim.build import build, runner_of, simulator_environment
from tests.sim.benches.ports import DESIGN_VARIABLE

if TYPE_CHECKING:
    from amaranth.lib.wiring import Component


def run_bench(
    component: Component,
    name: str,
    test_module: str,
    tests: int,
    env: Mapping[str, str] | None = None,
    public: tuple[tuple[str, str], ...] = (),
) -> None:
    """Builds ``component`` as module ``name`` (cached) and runs ``test_module`` on it; raises unless exactly ``tests``
    tests ran and all of them passed.

    ``env`` is added to the simulator's environment; ``public`` names (module, variable) pairs that the bench reads besides
    the ports.
    """
    built = build(to_verilog(component, name), name, public=public, shared=COMPILED_ONCE)
    folder = Path(tempfile.mkdtemp(prefix="skipstone-bench-"))
    try:
        log, results = folder / "simulation.log", folder / "results.xml"
        try:
            with simulator_environment():
                runner_of("verilator").test(
                    test_module=test_module,
                    hdl_toplevel=name,
                    hdl_toplevel_lang="verilog",
                    build_dir=built.folder / "build",
                    test_dir=folder,
                    results_xml=str(results),
                    extra_env={
                        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path]),
                        # Rewriting of asserts takes longer than the benches; they say the values themselves.
                        "COCOTB_REWRITE_ASSERTION_FILES": "",
                        "PYTHONWARNINGS": "ignore",
                        **(env or {}),
                    },
                    log_file=log,
                )
        except (SystemExit, Exception) as error:
            # The runner also raises for a failed test; if there are results, they say more.
            if not results.exists():
                raise SimulationError(f"{test_module} on {name} died ({error}):\n{_tail(log)}") from error
        check_results(results, test_module, tests)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_results(results: Path, test_module: str, tests: int) -> None:
    """Raises unless the results file holds exactly ``tests`` testcases that all ran and passed."""
    if not results.exists():
        raise SimulationError(f"{test_module} wrote no results")
    cases = list(ElementTree.parse(results).iter("testcase"))
    failures = []
    for case in cases:
        for kind in ("failure", "error", "skipped"):
            for problem in case.findall(kind):
                text = "\n".join(part for part in (problem.get("message"), problem.text) if part) or "no reason given"
                failures.append(f"{case.get('name')} ({kind}): {text}")
    if failures:
        raise SimulationError(f"{len(failures)} of {len(cases)} tests of {test_module} failed:\n" + "\n".join(failures))
    if len(cases) != tests:
        names = ", ".join(str(case.get("name")) for case in cases) or "none"
        raise SimulationError(f"{test_module} ran {len(cases)} tests, not {tests}: {names}")


def design_environment(design: Design) -> dict[str, str]:
    """The environment that lets a bench know its design."""
    return {DESIGN_VARIABLE: json.dumps(design.to_dict())}


def _tail(log: Path, lines: int = 40) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "no log was written"
