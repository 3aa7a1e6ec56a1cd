"""Runs a recipe: step after step, each kept as soon as it is done, so that an interrupted run goes on where it stopped.

The folder gets the compressed float network, the quantized one, and ``compression.json``; what was there stays whole until the
new files are complete.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from skipstone.compress.checks import check_float, check_names, check_recipe, check_values
from skipstone.compress.cost import design_cost
from skipstone.compress.files import Checkpoint, step_key
from skipstone.compress.keys import Keys, Training
from skipstone.compress.recipe import Recipe
from skipstone.compress.sizes import layer_sizes, trained_weights
from skipstone.compress.state import Context, OwnLoop, Progress, State, quantized
from skipstone.compress.step_keys import QuantizationAwareTraining, Quantize
from skipstone.compress.steps import REGISTRY, USES_DESIGN
from skipstone.errors import SkipstoneError
from skipstone.files import json_text
from skipstone.flow.prepare import short_name
from skipstone.hw.design import Design
from skipstone.mapper.cost import cost
from skipstone.mapper.results.compression import CompressionResult, StepResult
from skipstone.mapper.results.document import plain
from skipstone.models.data.datasets import Dataset, fit_dataset, load_dataset
from skipstone.models.data.float_execution import float_array_scores
from skipstone.models.data.images import Images
from skipstone.models.data.metrics import Metric, MetricFunction, metric_of
from skipstone.models.graph.files import graph_fingerprint
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io import reader as onnx_import
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.pruning.masks import weight_density
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.scheme import INT8, QuantizationScheme
from skipstone.reports.compression.page import compression_page
from skipstone.reports.web.page import write_page

VERSION = "3"
"""Changes when a step's meaning or a checkpoint's form does: checkpoints of other versions are not taken up."""


@dataclass(frozen=True, eq=False)
class Compressed:
    """The networks at the end of a recipe, and what was measured."""

    graph: Graph
    network: QuantizedNetwork
    result: CompressionResult


def compress(
    network: str | Path,
    recipe: Recipe,
    data: str | Dataset,
    *,
    out: Path,
    design: Design | None = None,
    input_shape: tuple[int, ...] | None = None,
    metric: str | MetricFunction | Metric | None = None,
    train: OwnLoop | None = None,
    progress: Progress = lambda _: None,
) -> Compressed:
    """Compresses a network by a recipe and writes the float and the quantized network.

    Args:
        network: An ONNX file (float), or the name of a carried network.
        recipe: The steps (``load_recipe``, ``parse_recipe``).
        data: The name of a data set (see ``load_dataset``), or the data set.
        out: Folder for ``compressed.onnx``, ``quantized.onnx``, ``compression.json`` and the steps' checkpoints, from
            which an interrupted compression goes on.
        design: Counts cycles and energy on this array, also for steps that look at them. None: neither.
        input_shape: N, C, H, W, where the file leaves a dimension open.
        metric: What "accuracy" is: ``"top-1"`` (the default for classes), ``"top-5"``, ``"mean-squared-error"`` (the default for
            values), ``"mean-absolute-error"``, or a function ``(scores, labels) -> float`` of the test images, where higher
            is better.
        train: Your training loop ``(module, batches, options)``, called in place of the built-in one: trains the PyTorch
            ``module`` in place on ``batches`` of (images, labels), each iteration of which is an epoch.
        progress: Called with a few words before each stage.

    Returns:
        The compressed networks and the result: accuracy after each step, bytes and cycles.

    Raises:
        SkipstoneError: Network, recipe and data do not go together; raised before anything is written.
    """
    context = recipe_context(
        recipe, context_for(network, data, design, input_shape, recipe.seed, progress, metric, train)
    )
    check_recipe(recipe, context)
    check_runs(context)
    store = Checkpoint(out / "checkpoints")
    with keeping(store):
        state, steps = run_steps(recipe, context, store)
    progress("quantizing")
    integers = quantized(state.graph, state.scheme, context.dataset)
    result = assemble(short_name(str(network)), recipe, context, state, steps, integers)
    progress("writing")
    write_results(out, state.graph, integers, result)
    return Compressed(state.graph, integers, result)


def context_for(
    network: str | Path,
    data: str | Dataset,
    design: Design | None,
    input_shape: tuple[int, ...] | None,
    seed: int,
    progress: Progress,
    metric: str | MetricFunction | Metric | None = None,
    train: OwnLoop | None = None,
) -> Context:
    """Reads a float network and its data, and checks them against each other.

    Args:
        network: An ONNX file, or the name of a carried network.
        data: The name of a data set, or the data set.
        design: The array that steps and costs look at, or None.
        input_shape: N, C, H, W, where the file leaves a dimension open.
        seed: Of all that is drawn.
        progress: Called with a few words before each stage.

    Raises:
        SkipstoneError: Network and data can't be read or don't go together, or the network is quantized.
    """
    progress("reading the network")
    graph = onnx_import.load(network, input_shape)
    check_float(graph)
    progress("reading the data")
    dataset = dataset_for(graph, data)
    dataset.calibration()
    progress(dataset.description)
    labels = dataset.test_labels if dataset.test_labels is not None else dataset.train_labels
    check_values(graph, labels)
    return Context(graph, dataset, design, seed, progress, metric_of(metric, labels), train)


def recipe_context(recipe: Recipe, context: Context) -> Context:
    """``context`` without the training images that the recipe holds back."""
    if not recipe.held_back:
        return context
    return replace(context, dataset=context.dataset.holding_back(recipe.held_back, recipe.seed)[0])


def dataset_for(graph: Graph, data: str | Dataset) -> Dataset:
    """A data set that fits a network's input and classes.

    Args:
        graph: The network.
        data: The name of a data set, or the data set.

    Raises:
        SkipstoneError: There is none of that name, or it does not fit.
    """
    arrangement = graph.ends.input.arrangement
    if isinstance(data, Dataset):
        return fit_dataset(data, graph.input_shape, graph.classes, arrangement)
    return load_dataset(data, graph.input_shape, graph.classes, arrangement)


@contextlib.contextmanager
def keeping(store: Checkpoint) -> Iterator[None]:
    """A context in which a store is used. Folders made for it go again where nothing came into them."""
    made = [folder for folder in (store.folder, *store.folder.parents) if not folder.exists()]
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()


def run_steps(recipe: Recipe, context: Context, store: Checkpoint) -> tuple[State, tuple[StepResult, ...]]:
    """Runs all steps of a recipe in order; results that the store has are taken from there.

    Args:
        recipe: The steps.
        context: The network, the data and the design.
        store: Where each step's result is kept as soon as it is there.

    Returns:
        The state after the last step, and what each step did.

    Raises:
        SkipstoneError: A step can't be done; the message has its number.
    """
    state, results = State(context.parent), []
    key = first_key(context)
    accuracy = step_accuracy(state.graph, context)
    for number, step in enumerate(recipe.step, start=1):
        key = next_key(key, step, context)
        label = f"step {number}/{len(recipe.step)}, {step.do}"
        saved = store.load(key)
        if saved.note:
            context.progress(saved.note)
        if saved.graph is not None:
            state, result = _taken_up(saved.graph, saved.record, context, accuracy)
            context.progress(f"{label}: done before")
        else:
            context.progress(label)
            store.folder.mkdir(parents=True, exist_ok=True)
            training = store.folder / f"{key}.training"
            try:
                state, result = run_step(step, state, context, label, accuracy, training)
            except SkipstoneError as error:
                raise SkipstoneError(f"step {number} ({step.do}): {error}", parameter=error.parameter) from None
            stored = {
                "scheme": asdict(state.scheme),
                "metric": metric_id(context),
                "result": plain(asdict(result)),
            }
            state = replace(state, graph=store.save(key, state.graph, stored))
            for file in [*store.folder.glob(f"{key}*.training"), *store.folder.glob(f".{key}*.partial")]:
                file.unlink(missing_ok=True)
        accuracy = result.accuracy_after
        results.append(result)
    return state, tuple(results)


def run_step(
    step: Keys, state: State, context: Context, label: str, before: float | None, training: Path
) -> tuple[State, StepResult]:
    """Runs one step and measures it.

    Args:
        step: The keys of the step.
        state: The network before it.
        context: What steps may use.
        label: Begins the step's messages of progress.
        before: Float accuracy before the step, 0 to 1; None without labels.
        training: The file that a training keeps its state in.

    Returns:
        The state after the step, and what it did.

    Raises:
        SkipstoneError: The step can't be done.
    """
    start = time.monotonic()
    inner = replace(context, progress=lambda text: context.progress(f"{label}: {text}"), training=training)
    check_names(step, state.graph)
    before_step = state.graph
    state = REGISTRY[type(step)](step, replace(state, notes=(), measured={}), inner)
    state = without_lost_bits(state)
    inner.progress("measuring")
    after = step_accuracy(state.graph, context)
    integers = integer_accuracy(state, context) if isinstance(step, Quantize | QuantizationAwareTraining) else None
    settings = step.model_dump(mode="json", exclude_defaults=True)
    result = StepResult(
        do=settings.pop("do"),
        settings=settings,
        accuracy_before=before,
        accuracy_after=after,
        integer_accuracy=integers,
        sparsity=1 - weight_density(state.graph),
        weights=sum(layer.weights.size for layer in state.graph.convs),
        macs=sum(state.graph.macs.values()),
        seconds=round(time.monotonic() - start, 1),
        notes=state.notes + _undone(before_step, state.graph),
        measured=plain(dict(state.measured)),
    )
    return state, result


def without_lost_bits(state: State) -> State:
    """The state without bits of layers that the last step took away. A note says which."""
    names = {layer.name for layer in state.graph.convs}
    lost = [name for name in state.scheme.layer_bits if name not in names]
    if not lost:
        return state
    bits = {name: bits for name, bits in state.scheme.layer_bits.items() if name in names}
    note = f"bits of their own are gone with their layers: {', '.join(lost)}"
    return replace(state, scheme=replace(state.scheme, layer_bits=bits), notes=(*state.notes, note))


def step_accuracy(graph: Graph, context: Context) -> float | None:
    """The metric of the float network on the test images; None where they have no labels."""
    if context.dataset.test_labels is None:
        return None
    images, labels = context.dataset.testing_targets()
    return context.metric(float_array_scores(graph, images), labels)


def integer_accuracy(state: State, context: Context) -> float | None:
    """The metric of the integers on the test images; None where they have no labels."""
    if context.dataset.test_labels is None:
        return None
    return network_accuracy(quantized(state.graph, state.scheme, context.dataset), context)


def network_accuracy(network: QuantizedNetwork, context: Context) -> float:
    """The metric of the integers ``network`` on the test images."""
    images, labels = context.dataset.testing_targets()
    return context.metric(reference.real_scores(network, images), labels)


def metric_id(context: Context) -> str:
    """What accuracies in a checkpoint were measured by: of a function of the user's, only this run's are taken."""
    return context.metric.name if context.metric.built_in else f"{context.metric.name} of run {context.run_id}"


def first_key(context: Context) -> str:
    """The key before the first step: the fingerprint of the network as it came."""
    return graph_fingerprint(context.parent)


def next_key(key: str, step: Keys, context: Context) -> str:
    """The key after a step. Settings that have their defaults don't count.

    Args:
        key: The key before the step.
        step: The keys of the step.
        context: The data, the seed, and the design, which counts for steps that look at it.
    """
    settings = step.model_dump(mode="json", exclude_defaults=True)
    if context.design is not None and isinstance(step, USES_DESIGN):
        settings["design"] = context.design.to_dict()
    if isinstance(step, Training):
        settings["augmentation"] = asdict(step.augmentation(context.dataset.augmentation))
        if context.train is not None:
            settings["own_loop"] = context.run_id
    return step_key(key, settings, data=context.dataset.fingerprint, seed=context.seed, code=VERSION)


def final_key(recipe: Recipe, context: Context) -> str:
    """The key at the end of a recipe: two runs with the same one give the same network.

    Args:
        recipe: The steps.
        context: The network as it came, the data without images that the recipe holds back, and the design.
    """
    key = first_key(context)
    for step in recipe.step:
        key = next_key(key, step, context)
    return key


def _undone(before: Graph, after: Graph) -> tuple[str, ...]:
    """A note where a step changed weights that were integers."""
    now = {layer.name: layer for layer in after.convs}
    fixed = [layer.name for layer in before.convs if layer.grid is not None and layer.name in now]
    lost = [name for name in fixed if now[name].grid is None]
    return (
        (f"no integers any more, rounded to the nearest at the end: the weights of {', '.join(lost)}",) if lost else ()
    )


def _taken_up(
    graph: Graph, stored: Mapping[str, Any], context: Context, before: float | None
) -> tuple[State, StepResult]:
    """A step that was done before, measured again where it was by another metric."""
    values = dict(stored["result"])
    values["notes"] = tuple(values["notes"])
    state, result = State(graph, QuantizationScheme(**stored["scheme"])), StepResult(**values)
    if stored["metric"] != metric_id(context):
        result = replace(
            result,
            accuracy_before=before,
            accuracy_after=step_accuracy(graph, context),
            integer_accuracy=None if result.integer_accuracy is None else integer_accuracy(state, context),
        )
    return state, result


def check_runs(context: Context) -> None:
    """Maps the network as it came onto the design, if there is one, with memories as large as it needs.

    Raises:
        MappingError: The design can't run it. Nothing is compressed yet.
    """
    if context.design is None:
        return
    context.progress(f"mapping the network as it is onto {context.design.name}")
    cost(quantized(context.parent, INT8, context.dataset), context.design, memories="enlarged")


def shown_images(dataset: Dataset) -> Images | None:
    """Images that energy is counted for (N x C x H x W): the test images, else those of the calibration."""
    return dataset.calibration_images if dataset.test_images is None else dataset.test_images


def assemble(
    name: str,
    recipe: Recipe,
    context: Context,
    state: State,
    steps: tuple[StepResult, ...],
    integers: QuantizedNetwork,
) -> CompressionResult:
    """The result of a recipe: accuracy of the integers, sizes, and costs on the design.

    Args:
        name: The network's name.
        recipe: The steps.
        context: The network as it came, the data and the design.
        state: The network after the last step.
        steps: What each step did.
        integers: The integers of ``state``.

    Raises:
        MappingError: The compressed network does not fit the design.
    """
    dataset = context.dataset
    accuracy = None
    if dataset.test_labels is not None:
        context.progress(f"{context.metric.name} of the integers on {len(dataset.test_labels):,} images")
        accuracy = network_accuracy(integers, context)
    design_costs = None
    if context.design is not None:
        context.progress(f"mapping onto {context.design.name}")
        scheme = replace(INT8, activation_bits=integers.activation_bits)
        original = quantized(context.parent, scheme, dataset)
        design_costs = design_cost(integers, original, context.design, shown_images(dataset))
    return CompressionResult(
        network=name,
        recipe=recipe.name,
        seed=recipe.seed,
        data=dataset.description,
        test_images=0 if dataset.test_labels is None else len(dataset.test_labels),
        float_accuracy=steps[0].accuracy_before if steps else step_accuracy(context.parent, context),
        accuracy=accuracy,
        steps=steps,
        layers=layer_sizes(integers),
        float_bytes=4 * trained_weights(context.parent),
        weight_code=integers.weight_code,
        weight_bits=integers.weight_bits,
        activation_bits=integers.activation_bits,
        calibration=integers.calibration,
        cost=design_costs,
        key=final_key(recipe, context),
        metric=context.metric.name,
        metric_is_share=context.metric.share,
    )


def write_results(out: Path, graph: Graph, integers: QuantizedNetwork, result: CompressionResult) -> None:
    """Writes ``report.html``, ``compressed.onnx``, ``quantized.onnx`` and ``compression.json``; all of them or none.

    Args:
        out: The folder, made where it is missing.
        graph: The compressed float network.
        integers: The quantized network.
        result: What the JSON file holds. It comes last.

    Raises:
        OSError: A file can't be written; all hold what they held before.
    """
    files: dict[Path, str | bytes] = {
        out / "compressed.onnx": to_onnx(graph).SerializeToString(),
        out / "quantized.onnx": to_qdq(integers).SerializeToString(),
        out / "compression.json": json_text(result.to_dict()),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_page(compression_page(result), out / "report.html", files)
