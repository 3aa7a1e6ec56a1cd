"""The kinds of files: valid ones of each, how they are mutated, and the reading of one as a command reads it."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from skipstone.cli.main import app
from skipstone.compress.files import Checkpoint
from skipstone.compress.recipe import load_recipe, recipe_names
from skipstone.errors import SkipstoneError
from skipstone.explore.space import carried_spaces, load_space
from skipstone.explore.store import Store
from skipstone.explore.study import Record, open_study
from skipstone.files import json_text
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.mapper.results.document import Document
from skipstone.mapper.results.schemas import DOCUMENTS
from skipstone.models.data.datasets import load_dataset
from skipstone.models.onnx_io.qdq_export import to_qdq
from tests.fuzz import mutations
from tests.mapper.results.test_compression import RESULT as COMPRESSION
from tests.reports.explorations import exploration
from tests.reports.networks import resnet8
from tests.skipstone.builders import TINY_DESIGN, small_data, small_network

LONGEST_MESSAGE = 20_000
DATA = Path(__file__).parents[2] / "mapper" / "technology" / "data"
TECHNOLOGY = DATA / "technology_45nm.toml"
KEYS = ("0" * 64, "f" * 64)


class FindingError(Exception):
    """A file that is neither read nor refused as it must be."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        seeds: Valid files, made once.
        mutate: Makes another file of one.
        read: Reads the file in an empty folder. It returns for a good file, raises SkipstoneError or OSError for one that it
            refuses, and FindingError or anything else where it goes wrong.
        weight: Its share of a campaign.
    """

    seeds: Callable[[], list[bytes]]
    mutate: Callable[[bytes, random.Random], bytes]
    read: Callable[[Path, Path], None]
    weight: int = 10

    def case(self, seed: object) -> bytes:
        """A mutated file; equal seeds give equal bytes."""
        rng = random.Random(str(seed))
        content = rng.choice(self.seeds())
        for _ in range(rng.choice((1, 1, 1, 2))):
            try:
                content = self.mutate(content, rng)
            except Exception:  # what was mutated once can't always be taken apart again
                content = mutations.mutate_bytes(content, rng)
        return content

    def outcome(self, content: bytes) -> str:
        """Reads a file with ``content`` in a new folder.

        Returns:
            ``accepted`` or ``refused``.

        Raises:
            FindingError: It is neither, or something was left or changed.
            Exception: Whatever else the reader raises.
        """
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / "file", Path(folder) / "out"
            path.write_bytes(content)
            out.mkdir()
            try:
                self.read(path, out)
            except (SkipstoneError, OSError) as error:
                message = str(error)
                if not message or len(message) > LONGEST_MESSAGE:
                    raise FindingError(f"a message of {len(message)} characters: {message[:200]}") from error
                if path.read_bytes() != content or any(out.iterdir()):
                    raise FindingError("a file that is refused was changed, or something was written") from error
                return "refused"
            return "accepted"


def command(*arguments: object) -> None:
    """Runs a command in this process. Its one message is raised; FindingError where it ends in any other way."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    messages = [line for line in done.stderr.splitlines() if line.startswith("skipstone: ")]
    if done.exit_code == 0:
        return
    if done.exit_code != 2 or len(messages) != 1:
        raise FindingError(f"exit code {done.exit_code} with {len(messages)} messages: {done.output[-500:]}")
    raise SkipstoneError(messages[0])


@cache
def place() -> Path:
    """A folder with valid files, which lives as long as the process."""
    folder = Path(tempfile.mkdtemp(prefix="skipstone-fuzz-"))
    small_network(folder / "small.onnx")
    small_data(folder / "data.npz")
    (folder / "small.toml").write_text(TINY_DESIGN)
    return folder


# Readers -------------------------------------------------------------------------------------------------------------


def run(option: str) -> Callable[[Path, Path], None]:
    """``run`` of the small network with the file as an option."""

    def read(path: Path, out: Path) -> None:
        options = {"--design": place() / "small.toml", "--calibration": place() / "data.npz"} | {option: path}
        named = path
        if option in ("--design", "--technology"):
            named = path.rename(path.with_suffix(".toml"))
            options[option] = named
        try:
            command("run", place() / "small.onnx", *(each for item in options.items() for each in item), "--out", out)
        finally:
            named.rename(path)

    return read


def read_network(path: Path, out: Path) -> None:
    """``run`` of an ONNX file."""
    command("run", path, "--design", place() / "small.toml", "--fit-memories", "--out", out)


def read_result(path: Path, out: Path) -> None:
    """``compare`` with a good result, first and second; and every other kind of result."""
    good = place() / "good.json"
    if not good.exists():
        good.write_text(json_text(resnet8().to_dict()))
    for document in DOCUMENTS:
        with contextlib.suppress(SkipstoneError):
            document.read(path)
    command("compare", path, good, "--out", out)
    command("compare", good, path, "--out", out)


def read_space(path: Path, out: Path) -> None:
    space = load_space(path)
    assert space.size
    assert space.digest
    space.canonical({name: choices[0] for name, choices in space.parameters.items()})


def read_dataset(path: Path, out: Path) -> None:
    named = path.rename(path.with_suffix(".npz"))
    try:
        load_dataset(str(named), (2, 9, 7), 4)
    finally:
        named.rename(path)


def read_idx_folder(path: Path, out: Path) -> None:
    """The folder with the file in the place of each of its four, refused where all are."""
    errors: list[SkipstoneError | OSError] = []
    for name in idx_files():
        for each, content in idx_files().items():
            (path.parent / each).unlink(missing_ok=True)
            (path.parent / each).write_bytes(content)
        (path.parent / name).unlink()
        (path.parent / name).symlink_to(path)
        try:
            load_dataset(str(path.parent), (1, 4, 5), 4)
        except (SkipstoneError, OSError) as error:
            errors.append(error)
    if len(errors) == len(idx_files()):
        raise errors[0]


def read_table(key: str, carried: str) -> Callable[[Path, Path], None]:
    """A technology whose table is the file."""

    def read(path: Path, out: Path) -> None:
        text = TECHNOLOGY.read_text()
        if key == "characterization":
            text = text.replace("[logic]\n", '[logic]\ncharacterization = "file"\n')
        else:
            text = text.replace(carried, "file", 1)
        technology = path.with_name("t.toml")
        technology.write_text(text)
        command(
            "run", place() / "small.onnx", "--design", place() / "small.toml", "--technology", technology, "--out", out
        )

    return read


def read_store(path: Path, out: Path) -> None:
    """Every value is the one that was stored, or missing and can be stored again."""
    store = Store(path)
    for number in range(8):
        if store.get(f"key {number}") not in (None, bytes([number]) * 100):
            raise FindingError("a damaged value was taken")
    store.put("key 0", bytes(100))
    if Store(path).get("key 0") != bytes(100):
        raise FindingError("a value that was stored is not there")


def read_study(path: Path, out: Path) -> None:
    """Records are those that were stored, or left out; the study goes on."""
    with open_study(path) as study:
        for key, record in study.records().items():
            if record != _record(key):
                raise FindingError("a damaged record was taken")
        study.register("another", {"space": "y"})
        study.store("new", {"rows": 1}, _record("new"))
        study.mirror("search", {"rows": [1, 2]}, exploration().objectives[:2]).write()
    path.with_name(".file.lock").unlink(missing_ok=True)


def read_checkpoint(path: Path, out: Path) -> None:
    """A damaged checkpoint counts as missing."""
    path.with_name(f"{KEYS[0]}.step").symlink_to(path)
    saved = Checkpoint(path.parent).load(KEYS[0])
    if saved.graph is None and not saved.note:
        raise FindingError("nothing is said of a damaged checkpoint")


# Valid files ---------------------------------------------------------------------------------------------------------


@cache
def networks() -> list[bytes]:
    """Float and integer networks: convolutions with a branch, and a chain of many operators."""
    small = place() / "small.onnx"
    options = CompressionOptions(calibration=str(place() / "data.npz"))
    integers = to_qdq(prepare_network(str(small), options).compressed).SerializeToString()
    rng = np.random.default_rng(3)
    constants = {
        "w1": rng.normal(0, 0.3, (4, 2, 3, 3)).astype(np.float32),
        "scale": np.abs(rng.normal(1, 0.1, 4)).astype(np.float32),
        "shift": rng.normal(0, 0.1, 4).astype(np.float32),
        "w2": rng.normal(0, 0.3, (4, 1, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
        "shape": np.array([1, -1], np.int64),
        "w3": rng.normal(0, 0.3, (32, 3)).astype(np.float32),
        "half": np.array([0.5], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", "scale", "shift", "shift", "scale"], ["b"], name="norm"),
        helper.make_node("Clip", ["b", "low", "high"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["d", "w2"], ["e"], name="depthwise", pads=[1, 1, 1, 1], group=4),
        helper.make_node("HardSigmoid", ["e"], ["s"], alpha=0.2),
        helper.make_node("Mul", ["d", "s"], ["m"]),
        helper.make_node("Concat", ["m", "d"], ["f"], axis=1),
        helper.make_node("AveragePool", ["f"], ["g"], kernel_shape=[2, 2], strides=[1, 1]),
        helper.make_node("Reshape", ["g", "shape"], ["h"]),
        helper.make_node("MatMul", ["h", "w3"], ["i"], name="dense"),
        helper.make_node("Mul", ["i", "half"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    chain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(chain)
    return [small.read_bytes(), chain.SerializeToString(), integers]


@cache
def results() -> list[bytes]:
    run_result = place() / "run.json"
    command(
        *("run", place() / "small.onnx", "--design", place() / "small.toml", "--evaluation", place() / "data.npz"),
        *("--calibration", place() / "data.npz", "--json", run_result, "--out", place() / "o"),
    )
    others: tuple[Document, ...] = (resnet8(), exploration(), COMPRESSION)
    own = run_result.read_bytes()
    return [own, own, own, *(json_text(each.to_dict()).encode() for each in others)]


@cache
def npz_files() -> list[bytes]:
    packed = place() / "packed.npz"
    with np.load(place() / "data.npz") as arrays:
        np.savez_compressed(packed, **arrays)
    return [(place() / "data.npz").read_bytes(), packed.read_bytes()]


@cache
def idx_files() -> dict[str, bytes]:
    rng = random.Random(0)

    def images(count: int) -> bytes:
        return bytes((0, 0, 8, 3)) + struct.pack(">3I", count, 4, 5) + rng.randbytes(20 * count)

    def labels(count: int) -> bytes:
        return bytes((0, 0, 8, 1)) + struct.pack(">I", count) + bytes(each % 4 for each in range(count))

    return {
        "train-images-idx3-ubyte": images(6),
        "train-labels-idx1-ubyte": labels(6),
        "t10k-images-idx3-ubyte": images(3),
        "t10k-labels-idx1-ubyte": gzip.compress(labels(3), mtime=0),
    }


def _record(key: str) -> Record:
    return Record("d", {"rows": len(key)}, {"cycles": 12.5 * len(key), "accuracy": 1 / 3})


@cache
def stores() -> list[bytes]:
    path = place() / "store.db"
    for number in range(8):
        Store(path).put(f"key {number}", bytes([number]) * 100)
    return [path.read_bytes()]


@cache
def studies() -> list[bytes]:
    path = place() / "study.db"
    with open_study(path) as study:
        study.register("search", {"space": "x"})
        for number in range(5):
            study.store("k" * number, {"rows": number}, _record("k" * number))
        bare = path.read_bytes()
        study.mirror("search", {"rows": [1, 2]}, exploration().objectives[:2]).write()
    return [bare, path.read_bytes()]


@cache
def checkpoints() -> list[bytes]:
    checkpoint = Checkpoint(place())
    checkpoint.save(KEYS[1], prepare_network(str(place() / "small.onnx"), CompressionOptions()).graph, {"a": 1})
    return [checkpoint.path(KEYS[1]).read_bytes()]


def _texts(paths: list[Path]) -> Callable[[], list[bytes]]:
    return lambda: [path.read_bytes() for path in paths]


KINDS: dict[str, Kind] = {
    "onnx": Kind(networks, mutations.mutate_onnx, read_network, 30),
    "design": Kind(lambda: [TINY_DESIGN.encode()], mutations.mutate_toml, run("--design")),
    "technology": Kind(_texts([TECHNOLOGY]), mutations.mutate_toml, run("--technology")),
    "recipe": Kind(
        _texts(list(recipe_names().values())), mutations.mutate_toml, lambda path, out: void(load_recipe(path))
    ),
    "space": Kind(_texts(list(carried_spaces().values())), mutations.mutate_toml, read_space),
    "result": Kind(results, mutations.mutate_json, read_result),
    "memory table": Kind(
        _texts([DATA / "sram_cacti7.json"]), mutations.mutate_json, read_table("table", "sram_cacti7.json"), 2
    ),
    "gateware": Kind(
        _texts([DATA / "gateware_sky130.json"]), mutations.mutate_json, read_table("characterization", ""), 2
    ),
    "calibration": Kind(npz_files, mutations.mutate_npz, run("--calibration")),
    "dataset": Kind(npz_files, mutations.mutate_npz, read_dataset),
    "idx": Kind(lambda: list(idx_files().values()), mutations.mutate_idx, read_idx_folder),
    "store": Kind(stores, mutations.mutate_database, read_store),
    "study": Kind(studies, mutations.mutate_database, read_study, 4),
    "checkpoint": Kind(checkpoints, mutations.mutate_bytes, read_checkpoint, 4),
}


def void(value: object) -> None:
    """Drops a value."""


def special_places(folder: Path) -> Iterator[Path]:
    """What is no file to read: a folder, an empty file, a loop of links, a link to nothing, a file that never ends."""
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    for name, target in (("loop", "loop"), ("dangling", "nothing"), ("endless", os.devnull.replace("null", "zero"))):
        (folder / name).symlink_to(target)
    for name in ("folder", "empty", "loop", "dangling", "endless"):
        yield folder / name
