"""The recipe ``auto``: one found by measuring, as the surveys advise, with the array in the loop.

8-bit integers first, symmetric for each output channel; better rounding and then training through the rounding only where
accuracy falls. Then zeros, more at a time: whole load words where the design waits for its loader, single weights where it
computes, by exact cycles; trained again where accuracy falls and training images are there. Each decision says what was
measured.

Decisions look at validation images, held back from the training images (or, without those, at how far the network's answers on
calibration images agree with the float network's); test images are looked at once, at the end.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from skipstone.compress.files import Checkpoint
from skipstone.compress.recipe import Recipe, parse_recipe
from skipstone.compress.run import (
    Compressed,
    assemble,
    check_runs,
    context_for,
    first_key,
    keeping,
    next_key,
    run_steps,
    step_accuracy,
    write_results,
)
from skipstone.compress.state import Context, Progress, State, quantized
from skipstone.errors import SkipstoneError
from skipstone.files import write_file
from skipstone.flow.designs import design_for
from skipstone.flow.prepare import short_name
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.results.compression import StepResult
from skipstone.models.data.datasets import Dataset, Split
from skipstone.models.data.float_execution import float_scores
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.toml_files import toml_text

VALIDATION = 5000
"""Training images held back for decisions, at most a tenth of them."""
AMOUNTS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Shares of zeros tried, in order."""
OUTPUT_TELLS = 0.6
"""Up to this share of zeros the network's output still tells which layers bear them; beyond, gradients do, if it trains."""
EPOCHS = 3
"""Of each training."""

Steps = list[dict[str, Any]]


@dataclass(frozen=True)
class Decision:
    """What was tried, what it gave, and what follows. ``loss_points``: accuracy lost on the validation images."""

    tried: str
    loss_points: float
    cycles: int | None
    decided: str

    def __str__(self) -> str:
        cycles = "" if self.cycles is None else f", {self.cycles:,} cycles"
        return f"{self.tried}: {self.loss_points:.2f} points lost{cycles}; {self.decided}"


def auto(
    network: str | Path,
    data: str | Dataset,
    *,
    out: Path,
    max_loss: float,
    design: Design | None = None,
    input_shape: tuple[int, ...] | None = None,
    seed: int = 1,
    progress: Progress = lambda _: None,
) -> Compressed:
    """Compresses a network as far as a loss of accuracy allows, by measuring.

    Writes what ``compress_network`` writes, and the steps as ``recipe.toml``, which gives the same result again (it holds
    the same images back).

    Args:
        network: An ONNX file (float), or the name of a carried network.
        data: The name of a data set (see ``load_dataset``), or the data set.
        out: Folder for what is written.
        max_loss: Percentage points of accuracy that may be lost.
        design: Zeros go where they save the most cycles of this array. None: single weights, by second order.
        input_shape: N, C, H, W, where the file leaves a dimension open.
        seed: Of the training and of the choice of images.
        progress: Called with a few words before each stage.

    Returns:
        The compressed networks and the result, with a line for each decision.

    Raises:
        SkipstoneError: Network, data and design do not go together, or ``max_loss`` is negative.
    """
    if not (math.isfinite(max_loss) and max_loss >= 0):
        raise SkipstoneError(f"max_loss must be 0 or more percentage points, not {max_loss:g}")
    context = context_for(network, data, design, input_shape, seed, progress)
    split = None
    if count := _held_back(context.dataset):
        dataset, split = context.dataset.holding_back(count, seed)
        context = replace(context, dataset=dataset)
    check_runs(context)
    store = Checkpoint(out / "checkpoints")
    with keeping(store):
        search = _Search(context, split, max_loss, store)
        recipe, state, results = search.finished()
    integers = quantized(state.graph, state.scheme, context.dataset)
    result = assemble(short_name(str(network)), recipe, context, state, results, integers)
    result = replace(result, decisions=tuple(str(decision) for decision in search.decisions))
    progress("writing")
    write_results(out, state.graph, integers, result)
    write_file(out / "recipe.toml", _toml(recipe, max_loss))
    return Compressed(state.graph, integers, result)


class _Search:
    """Tries steps, one list of them after the other; those of the best list so far are kept in ``store``."""

    def __init__(self, context: Context, split: Split | None, max_loss: float, store: Checkpoint) -> None:
        self.decisions: list[Decision] = []
        self.store = store
        self._whole, self._max_loss = context, max_loss
        self._design, self._seed, self._progress = context.design, context.seed, context.progress
        dataset = self._dataset = context.dataset
        self._trains = dataset.train_images is not None and importlib.util.find_spec("torch") is not None
        self._split = split
        # Without test labels here, steps are not measured on test images.
        self._context = replace(context, dataset=replace(dataset, test_images=None, test_labels=None))
        self._images = self._split.validation_images if self._split else dataset.calibration()
        self._wanted = float_scores(context.parent, self._images).argmax(axis=1)
        self._float = 1.0
        if self._split is not None:
            self._float = float(np.mean(self._wanted == self._split.validation_labels))

    def finished(self) -> tuple[Recipe, State, tuple[StepResult, ...]]:
        """The steps found, their network, and what each gave on the test images, which are looked at only now."""
        recipe = self._recipe(self.run()[-1])
        state, results = run_steps(recipe, self._context, self.store)
        return recipe, state, tuple(self._tested(recipe, results))

    def _tested(self, recipe: Recipe, results: tuple[StepResult, ...]) -> Iterator[StepResult]:
        """The steps' results with accuracies on the test images, of the networks that were kept."""
        key, before = first_key(self._context), step_accuracy(self._whole.parent, self._whole)
        for step, result in zip(recipe.step, results, strict=True):
            key = next_key(key, step, self._context)
            graph = self.store.load(key).graph
            after = step_accuracy(graph, self._whole) if graph is not None else None
            yield replace(result, accuracy_before=before, accuracy_after=after)
            before = after

    def _recipe(self, steps: Steps) -> Recipe:
        held = len(self._split.validation_labels) if self._split is not None else 0
        return parse_recipe({"name": "auto", "seed": self._seed, "held_back": held, "step": steps}, "auto")

    def run(self) -> list[Steps]:
        """The steps found, each list of them in place of the one before; the last is the best."""
        measure = (
            "labels of validation images" if self._split else "agreement with the float network on calibration images"
        )
        self._progress(f"decisions by {measure}, {len(self._images):,} of them")
        if not self._trains:
            reason = "the data has no training images" if self._dataset.train_images is None else "PyTorch is missing"
            self._progress(f"no step will train: {reason}")
        coding, loss, network = self._integers()
        if loss > self._max_loss:
            self._note(
                "zeros", loss, None, f"none: 8 bits alone are over {self._max_loss:g} points; the best found stays"
            )
            return [coding]
        return self._zeros(coding, network)

    def _integers(self) -> tuple[Steps, float, QuantizedNetwork]:
        """8 bits, by the cheapest means that keep the accuracy."""
        plain: Steps = [{"do": "quantize"}]
        better: Steps = [
            {"do": "equalize"},
            {"do": "quantize", "weight_range": "mse", "rounding": "adaptive", "bias_correction": True},
        ]
        trained: Steps = [{"do": "quantization_aware_training", **self._training(0.005)}]
        tries = [
            ("8 bits, symmetric for each channel", plain),
            ("equalized, learned rounding, corrected biases", better),
        ]
        if self._trains:
            tries.append(("trained through the rounding", trained))
        best: tuple[Steps, float, QuantizedNetwork] | None = None
        for index, (description, steps) in enumerate(tries):
            loss, network = self._measured(steps)
            enough = loss <= self._max_loss
            after = "kept" if enough else "too much, on to better means" if index + 1 < len(tries) else "too much"
            self._note(description, loss, network, after)
            if best is None or loss < best[1]:
                best = steps, loss, network
            if enough:
                break
        assert best is not None
        return best

    def _zeros(self, coding: Steps, network: QuantizedNetwork) -> list[Steps]:
        """Ever more zeros, until accuracy falls below what is allowed."""
        accepted_steps, before = [coding], self._cycles(network)
        for amount in AMOUNTS:
            pruning, description = self._pruning(amount, network)
            steps = [*pruning, *coding]
            loss, network_now = self._measured(steps)
            cycles = self._cycles(network_now)
            if loss > self._max_loss and self._trains:
                self._note(description, loss, network_now, "too much, so it is trained")
                steps = [*pruning, {"do": "fine_tune", **self._training(0.03)}, *coding]
                loss, network_now = self._measured(steps)
                cycles = self._cycles(network_now)
                description += f", {EPOCHS} epochs"
            if loss > self._max_loss:
                self._note(description, loss, network_now, "too much; what was kept last stays")
                break
            if cycles is not None and before is not None and cycles > 0.99 * before:
                self._note(description, loss, network_now, f"under 1% of {before:,} cycles gained; not kept")
                continue
            self._note(description, loss, network_now, "kept")
            accepted_steps.append(steps)
            before, network = cycles, network_now
        return accepted_steps

    def _pruning(self, amount: float, network: QuantizedNetwork) -> tuple[Steps, str]:
        """Steps that make ``amount`` of the weights zero, of the kind that the design gains most by as it runs now."""
        if self._design is None:
            plain = {"do": "prune_second_order", "amount": amount}
            return [plain], f"{100 * amount:g}% zeros, single weights by second order"
        bounds = self._bounds(network)
        waiting = [layer for layer, bound in bounds.items() if bound == "load"]
        by_gradients = amount > OUTPUT_TELLS and self._trains and self._split is not None
        steps: Steps = [
            {
                "do": "cycle_aware_prune",
                "amount": amount,
                "loss": "fisher" if by_gradients else "divergence",
                "rounds": 1,
                "grid": 0.1,
            }
        ]
        description = f"zeros at the loss of {100 * amount:g}% everywhere, placed by exact cycles"
        words = {"do": "prune_words", "amount": round(amount / 3, 3)}
        if len(waiting) == len(bounds):
            return [
                words
            ], f"whole load words, up to {100 * amount / 3:.0f}% of magnitudes: every layer waits for its loads"
        if waiting:
            steps.append(words)
            description += f", whole load words where the loader is waited for ({', '.join(waiting)})"
        return steps, description

    def _training(self, rate: float) -> dict[str, Any]:
        """Keys of a training step: labels and teacher, or the teacher alone."""
        return {
            "epochs": EPOCHS,
            "learning_rate": rate,
            "distillation": "labels" if self._split is not None else "teacher",
        }

    def _measured(self, steps: Steps) -> tuple[float, QuantizedNetwork]:
        """Points of accuracy lost on the validation images, and the integers."""
        state, _ = run_steps(self._recipe(steps), self._context, self.store)
        network = self._quantized(state)
        return self._loss(network), network

    def _loss(self, network: QuantizedNetwork) -> float:
        classes = reference.predict(network, self._images)
        expected = self._wanted if self._split is None else self._split.validation_labels
        return 100 * (self._float - float(np.mean(classes == expected)))

    def _quantized(self, state: State) -> QuantizedNetwork:
        return quantized(state.graph, state.scheme, self._dataset)

    def _cycles(self, network: QuantizedNetwork) -> int | None:
        return None if self._design is None else self._cost(network, self._design).cycles

    def _bounds(self, network: QuantizedNetwork) -> Mapping[str, str]:
        """What each layer of the array is bound by."""
        assert self._design is not None
        mapped = self._cost(network, self._design)
        return {layer.name: bound for layer, bound in zip(mapped.program.layers, mapped.bounds, strict=True)}

    @staticmethod
    def _cost(network: QuantizedNetwork, design: Design) -> NetworkCost:
        return cost(network, design_for(network, design), memories="enlarged")

    def _note(self, tried: str, loss: float, network: QuantizedNetwork | None, decided: str) -> None:
        cycles = self._cycles(network) if network is not None else None
        self.decisions.append(Decision(tried, loss, cycles, decided))
        self._progress(f"measured: {self.decisions[-1]}")


def _held_back(dataset: Dataset) -> int:
    """How many training images are held back for decisions: none where they have no labels."""
    if dataset.train_labels is None or len(dataset.train_labels) < 2:
        return 0
    return max(1, min(VALIDATION, len(dataset.train_labels) // 10))


def _toml(recipe: Recipe, max_loss: float) -> str:
    """The steps as a recipe file."""
    description = f"Found by the recipe auto with max_loss {max_loss:g}."
    values: dict[str, Any] = {"description": description, "seed": recipe.seed}
    if recipe.held_back:
        values["held_back"] = recipe.held_back
    steps = [{"do": step.do, **step.model_dump(mode="json", exclude_defaults=True)} for step in recipe.step]
    return toml_text({**values, "step": steps})
