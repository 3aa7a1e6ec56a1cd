"""The user's network as its file states it, run by ONNX Runtime, and the proof that the imported graph computes the same."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import BATCH, run_onnx
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.grids import ActivationGrid
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.arrangement import View

Array = NDArray[np.generic]

FLOAT_TOLERANCE = 1e-6
"""Energy of the difference, as a share of the energy of the file's own result (60 dB), that the rounding of float32 explains:
each of N sums in another order adds about 2^-24 of its terms, and constants are folded before instead of after."""
HALF_TOLERANCE = 1e-3
"""The same for files that compute in float16 (30 dB)."""
QUANTIZED_TOLERANCE = 1e-2
"""The same for quantized files (20 dB): a value at a tie may fall to the other side, and tensors that the array does not round
keep more digits."""


@dataclass(frozen=True, eq=False)
class Source:
    """A network's file in ONNX Runtime.

    Attributes:
        file: The file's name, for messages.
        model: The file, its sizes as it gives them, its nodes without names: ONNX Runtime refuses names that two nodes have,
            though nothing goes by them.
        input_name: Of its only input.
        input_view: How ONNX sees our input tensor, with a batch of one.
        batch: What the file fixes its leading axis to; 0 where it is free, 1 where there is no batch.
        tolerance: The share of energy by which results may differ.
        is_runnable: Whether ONNX Runtime knows all of its operators.
        hint: What to do if the import turns out wrong.
    """

    file: str
    model: onnx.ModelProto
    input_name: str
    input_view: View
    batch: int
    tolerance: float
    is_runnable: bool
    hint: str

    def run(self, images: Images, outputs: tuple[str, ...] = (), optimize: bool = False) -> dict[str, Array]:
        """What the file makes of images.

        Args:
            images: N x channels x height x width.
            outputs: Names of inner tensors; left out, the network's outputs.
            optimize: Whether ONNX Runtime optimizes the network first, as it does by default.

        Returns:
            By name, N results one after the other along the leading axis.

        Raises:
            SkipstoneError: ONNX Runtime can't run the network.
        """
        model = self.model
        if outputs:
            model = onnx.ModelProto.FromString(model.SerializeToString())
            del model.graph.output[:]
            model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
        kind = helper.tensor_dtype_to_np_dtype(kinds[self.input_name])
        flat = images.reshape(len(images), -1)[:, self.input_view.index.ravel()].astype(kind)
        shape = self.input_view.index.shape
        if self.batch == 0 and len(flat) > 1:
            # Sizes inside that were fixed for a batch of one make something else of several.
            with contextlib.suppress(SkipstoneError):
                results = self._run(model, flat.reshape(len(flat), *shape[1:]), BATCH, optimize)
                if all(len(result) == len(flat) for result in results.values()):
                    return results
        size = max(1, self.batch)
        # A last batch that is not full is filled with images again.
        filled = np.resize(flat, (-(-len(flat) // size) * size, flat.shape[1]))
        results = self._run(model, filled.reshape(len(filled) * shape[0], *shape[1:]), size * shape[0], optimize)
        return {
            # What has no axis of the batch is left as it is.
            name: result if len(result) % len(filled) else result[: len(result) // len(filled) * len(flat)]
            for name, result in results.items()
        }

    def scores(self, images: Images, output: int = 0) -> Array:
        """An output of the file's for each image, flattened: N x elements. At ONNX Runtime's default settings.

        Args:
            images: N x channels x height x width.
            output: Its number.
        """
        scores = list(self.run(images, optimize=True).values())[output]
        return scores.reshape(len(images), -1)

    def _run(self, model: onnx.ModelProto, feeds: Array, batch: int, optimize: bool) -> dict[str, Array]:
        try:
            return run_onnx(model, {self.input_name: feeds}, optimize, batch)
        except SkipstoneError as error:
            raise SkipstoneError(f"{self.file}: {error}") from None


def prove(source: Source, graph: Graph, views: Mapping[str, View], images: Images, theirs: Mapping[str, Array]) -> None:
    """Compares the imported graph with the file it stems from, both run by ONNX Runtime.

    Args:
        source: The file.
        graph: The imported graph.
        views: What the file's tensors are in the graph, by their names; the outputs with them.
        images: N x channels x height x width.
        theirs: What the file makes of them, by its outputs' names.

    Raises:
        SkipstoneError: They differ by more than rounding; the message names the first tensor that does.
    """
    ours = _tensors(graph, images)
    outputs = [output.name for output in source.model.graph.output]
    names = _float_tensors(source.model, [name for name in outputs if theirs[name].dtype.kind in "iu"], views)
    # Two scores that are close may change places; so what classes are made of is compared in their stead.
    theirs = {**theirs, **(source.run(images, names) if names else {})}
    names = (*(name for name in outputs if theirs[name].dtype.kind == "f"), *names)
    for name in names:
        if not np.isfinite(theirs[name]).any():
            raise SkipstoneError(f"{source.file}: its output '{name}' is NaN or infinite for ordinary input")
    if not names:
        return
    worst = max(names, key=lambda name: _difference(theirs[name], _seen(ours, views[name])))
    if _difference(theirs[worst], _seen(ours, views[worst])) <= source.tolerance:
        return
    name = _first_difference(source, ours, views, images) or worst
    raise SkipstoneError(
        f"{source.file}: the network as imported does not compute what the file does, ONNX Runtime's results differ from tensor "
        f"'{name}' on; {source.hint}"
    )


def _float_tensors(model: onnx.ModelProto, integers: list[str], views: Mapping[str, View]) -> tuple[str, ...]:
    """The tensors that an ArgMax makes ``integers`` of."""
    makers = {name: node for node in model.graph.node for name in node.output}
    compared: dict[str, None] = {}
    waiting = list(integers)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type == "ArgMax":
            compared.update(dict.fromkeys(name for name in node.input[:1] if name in views))
        else:
            waiting.extend(node.input)
    return tuple(compared)


def _first_difference(
    source: Source, ours: Mapping[str, Array], views: Mapping[str, View], images: Images
) -> str | None:
    """The first of the file's tensors, in its order of nodes, that differs; None if it can't be told."""
    made = [name for node in source.model.graph.node for name in node.output if name in views]
    # What stands for one of our tensors last has its final values: layers absorb what follows them.
    last = {views[name].tensor: name for name in made}
    names = tuple(name for name in made if last[views[name].tensor] == name and views[name].tensor in ours)
    try:
        theirs = source.run(images, names)
    except SkipstoneError:
        return None
    return next(
        (name for name in names if _difference(theirs[name], _seen(ours, views[name])) > source.tolerance), None
    )


def _tensors(graph: Graph, images: Images) -> dict[str, Array]:
    """Every tensor of the graph, rounded where it has a grid."""
    single = any(graph.mixes_batch(layer.name) for layer in graph.layers)
    every = graph.with_outputs(layer.name for layer in graph.order)
    model = to_onnx(every)
    _round(model, graph.grids)
    results = run_onnx(model, {graph.input: images}, batch=1 if single else BATCH)
    return {name: tensor.reshape(len(images), -1) for name, tensor in {graph.input: images, **results}.items()}


def _seen(ours: Mapping[str, Array], view: View) -> Array:
    """One of our tensors as ONNX sees it, image after image."""
    tensor = ours[view.tensor]
    shape = view.index.shape
    seen = tensor[:, view.index.ravel()]
    return seen.reshape(len(tensor) * shape[0], *shape[1:]) if shape else seen


def _difference(theirs: Array, ours: Array) -> float:
    """Energy of the difference as a share of the energy of ``theirs``; infinite for other shapes or other places of NaN."""
    a, b = theirs.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
    if a.size != b.size or not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return math.inf
    finite = np.isfinite(a)
    energy, error = float(np.sum(a[finite] ** 2)), float(np.sum((a[finite] - b[finite]) ** 2))
    # Where everything cancels, what is left is the rounding of values of about 1.
    return error / max(energy, 1e-9 * max(1, a.size))


def _round(model: onnx.ModelProto, grids: Mapping[str, ActivationGrid]) -> None:
    """Rounds the tensors that have a grid, in place: ``clip(rint(x / scale), low, high) * scale``."""
    graph = model.graph
    rounded: list[onnx.NodeProto] = []
    inputs = {value.name for value in graph.input}
    nodes = list(graph.node)
    for name in inputs & grids.keys():
        for node in nodes:
            node.input[:] = [f"{name}, rounded" if read == name else read for read in node.input]
        rounded += _rounding(graph, name, f"{name}, rounded", grids[name])
    for node in nodes:
        rounded.append(node)
        for number, name in enumerate(node.output):
            if name in grids:
                node.output[number] = f"{name}, not rounded"
                rounded += _rounding(graph, f"{name}, not rounded", name, grids[name])
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in rounded]
    del graph.node[:]
    graph.node.extend(copies)


def _rounding(graph: onnx.GraphProto, source: str, target: str, grid: ActivationGrid) -> list[onnx.NodeProto]:
    limit = 1 << (grid.bits - 1)
    # Names that no layer has: a layer's constants are called after it.
    scale, low, high, steps, integers, clipped = (
        f"rounding of {target}: {part}" for part in ("scale", "low", "high", "steps", "integers", "clipped")
    )
    for name, value in ((scale, grid.scale), (low, -limit - grid.zero_point), (high, limit - 1 - grid.zero_point)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return [
        helper.make_node("Div", [source, scale], [steps]),
        helper.make_node("Round", [steps], [integers]),
        helper.make_node("Clip", [integers, low, high], [clipped]),
        helper.make_node("Mul", [clipped, scale], [target]),
    ]
