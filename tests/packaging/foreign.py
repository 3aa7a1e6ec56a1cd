"""Use an installed Skipstone in a project whose own packages are named ``hw``, ``mapper``, ``models``, ``reports`` and
``sim``.

It needs the standard library only: ``python foreign.py FOLDER BIN`` makes the project in FOLDER and runs Python and
``skipstone`` from BIN, the folder of a virtual environment's programs.
"""

import os
import subprocess
import sys
from pathlib import Path

OWN = ("hw", "mapper", "models", "reports", "sim")
SCRIPT = f"""
import importlib, importlib.metadata, pathlib, sys

here = pathlib.Path(__file__).parent
for name in {OWN}:
    assert pathlib.Path(importlib.import_module(name).__file__).parent == here / name, name

import skipstone
from skipstone import CompressionOptions, built_in_designs, evaluate_network, load_design, verify_network

installed = pathlib.Path(skipstone.__file__).parent
assert installed.is_relative_to(sys.prefix), installed
assert (installed / "py.typed").is_file()
assert [path.name for path in here.iterdir() if path.name.startswith("skipstone")] == []

pruned = CompressionOptions(prune="unstructured:0.5")
result = evaluate_network("resnet8_fashion", load_design("tiny"), pruned)
assert result.total_cycles > 0
assert set(built_in_designs()) >= {{"tiny", "edge"}}
if __name__ == "__main__":
    done = verify_network("resnet8_fashion", load_design("tiny"), pruned, images=1)
    assert done.exact, done.error
    assert done.result.rtl_total_cycles == result.total_cycles
    print("exact:", result.total_cycles, "cycles, skipstone", importlib.metadata.version("skipstone"))
"""


def make_project(folder: Path) -> None:
    for name in OWN:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    (folder / "script.py").write_text(SCRIPT)


def clean_environment() -> dict[str, str]:
    """This process' environment without what leads Python to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}


def use(folder: Path, programs: Path) -> str:
    """Run the command and the script in ``folder``, and return what they print; an error of theirs is raised."""
    environment = clean_environment()
    commands: list[list[str | Path]] = [
        [programs / "skipstone", "run", "resnet8_fashion", "--design", "tiny", "--out", "out"],
        [programs / "python", "-m", "skipstone", "run", "resnet8_fashion_ternary", "--design", "tiny", "--out", "more"],
        [programs / "python", "script.py"],
    ]
    printed = [
        subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        for command in commands
    ]
    for name in ("out", "more"):
        assert (folder / name / "report.html").stat().st_size > 100_000
    return "".join(printed)


if __name__ == "__main__":
    project, programs = (Path(argument).absolute() for argument in sys.argv[1:])
    make_project(project)
    print(use(project, programs).splitlines()[-1])
