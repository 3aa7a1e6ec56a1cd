"""The archives hold the package ``skipstone`` whole and nothing else, and what is installed from them works anywhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.foreign import OWN, clean_environment, make_project, use

ROOT = Path(__file__).parents[2]


def package_files() -> set[str]:
    """The files below ``skipstone/``, through its links, as an archive names them."""
    files: set[str] = set()
    for folder in ("", *OWN):
        base = ROOT / "skipstone" / folder
        for path in base.resolve().rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.add(f"skipstone/{folder and folder + '/'}{path.relative_to(base.resolve())}")
    return files


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive of the checkout and the wheel built from it; ``direct`` has the checkout's."""
    folder = tmp_path_factory.mktemp("archives")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("skipstone", *OWN):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check"]
    for options in (["--outdir", folder], ["--wheel", "--outdir", folder / "direct"]):
        subprocess.run(
            [*build, *options, source], cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, check=True
        )
    return folder


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("skipstone-*.whl")
    return wheel


def names_in(folder: Path) -> list[str]:
    with zipfile.ZipFile(wheel_in(folder)) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_file_of_the_package_once(archives: Path) -> None:
    names = names_in(archives)
    assert len(names) == len(set(names))
    files = {name for name in names if ".dist-info/" not in name}
    assert files == package_files()
    assert {"skipstone/py.typed", "skipstone/hw/designs/edge.toml", "skipstone/sim/fst/lz4.h"} <= files


def test_a_wheel_of_the_checkout_is_that_of_the_source_archive(archives: Path) -> None:
    with zipfile.ZipFile(wheel_in(archives)) as one, zipfile.ZipFile(wheel_in(archives / "direct")) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
        for name in one.namelist():
            if not name.endswith("/RECORD"):
                assert one.read(name) == other.read(name), name


def test_the_source_archive_holds_files_and_no_links(archives: Path) -> None:
    (path,) = archives.glob("skipstone-*.tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert all(member.isfile() or member.isdir() for member in members)
    names = {member.name.partition("/")[2] for member in members if member.isfile()}
    assert names >= package_files() | {"pyproject.toml", "README.md", "LICENSE"}
    assert {name.partition("/")[0] for name in names} <= {
        "skipstone", "skipstone.egg-info", "pyproject.toml", "setup.cfg", "PKG-INFO", "README.md", "LICENSE",
    }  # fmt: skip


@pytest.mark.rtl
def test_an_installed_wheel_works_among_packages_of_the_same_names(archives: Path, tmp_path: Path) -> None:
    """A new environment with the wheel and, by a path, the dependencies that are installed here; ``.pth`` files in a
    folder that a path names are not read, so that an editable Skipstone there stays out of sight."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (site,) = tmp_path.glob("venv/lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python", "install", "--quiet"]
    subprocess.run([*install, "--no-deps", "--no-index", wheel_in(archives)], env=clean_environment(), check=True)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    make_project(tmp_path / "project")
    assert "exact: " in use(tmp_path / "project", tmp_path / "venv" / "bin")
