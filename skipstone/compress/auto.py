"""``--recipe auto``: a recipe found by measuring, as the surveys advise, with the array in the loop.

8-bit integers first, symmetric for each output channel; better rounding and then training through the rounding only where
accuracy
falls. Then zeros, more at a time: whole load words where the design waits for its loader, single weights where it computes, by
exact cycles; trained again where accuracy falls and labelled images are there. Each decision says what was measured.

Decisions look at validation images, held back from the training images (or, without those, at how far the network's answers on
calibration images agree with the float network's); test images are looked at once, at the end.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw.design import Design
from mapper.causes import bound_of, cycles_by_cause
from mapper.compile import compile_network
from mapper.cycles import network_cycles
from mapper.memories import with_memories_for
from models import onnx_import, reference
from models.datasets import Dataset, Split
from models.errors import SkipstoneError
from models.evaluate import float_scores
from models.graph import Graph
from models.quantized import QuantizedNetwork
from skipstone.compress.files import Checkpoint, write_atomically
from skipstone.compress.recipe import Recipe, parse_recipe
from skipstone.compress.run import Compressed, assemble, dataset_for, run_steps, write_results
from skipstone.compress.state import Context, Progress, State, quantized
from skipstone.designs import design_for
from skipstone.prepare import short_name

VALIDATION = 5000
"""Training images held back for decisions, at most a tenth of them."""
AMOUNTS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Shares of zeros tried, in order."""
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
    """Compresses ``network`` as far as ``max_loss`` percentage points of accuracy allow; writes what ``compress`` does, and the
    steps found as ``recipe.toml``, which gives the same result again."""
    graph = onnx_import.load(network, input_shape)
    if graph.quantized:
        raise SkipstoneError(
            f"network '{graph.name}' is quantized already; compress the float network it was made from"
        )
    dataset = data if isinstance(data, Dataset) else dataset_for(graph, data)
    search = _Search(graph, dataset, design, seed, max_loss, Checkpoint(out / "checkpoints"), progress)
    steps = search.run()
    recipe = _recipe(steps, seed)
    progress("the steps found, once more from the start")
    context = Context(graph, dataset, design, seed, progress)
    state, results = run_steps(recipe, context, search.store)
    integers = quantized(state.graph, state.scheme, dataset)
    result = assemble(short_name(str(network)), recipe, context, state, results, integers)
    result = replace(result, decisions=tuple(str(decision) for decision in search.decisions))
    write_results(out, state.graph, integers, result)
    write_atomically(out / "recipe.toml", _toml(steps, seed, max_loss))
    return Compressed(state.graph, integers, result)


class _Search:
    """Tries steps, one list of them after the other; those of the best list so far are kept in ``store``."""

    def __init__(
        self,
        graph: Graph,
        dataset: Dataset,
        design: Design | None,
        seed: int,
        max_loss: float,
        store: Checkpoint,
        progress: Progress,
    ) -> None:
        self.decisions: list[Decision] = []
        self.store = store
        self._graph, self._design, self._seed, self._max_loss = graph, design, seed, max_loss
        self._progress = progress
        self._labelled = dataset.train_labels is not None
        self._trains = dataset.train_images is not None and importlib.util.find_spec("torch") is not None
        self._split = _held_back(dataset, seed) if self._labelled else None
        self._dataset = dataset
        # Without test labels here, steps are not measured on test images, and validation images do not train.
        seen = replace(dataset, test_labels=None)
        if self._split is not None:
            seen = replace(seen, train_images=self._split.train_images, train_labels=self._split.train_labels)
        self._context = Context(graph, seen, design, seed, progress)
        images = self._split.validation_images if self._split else dataset.calibration()
        self._images = images
        self._wanted = float_scores(graph, images).argmax(axis=1)
        if self._split is not None:
            self._float = float(np.mean(self._wanted == self._split.validation_labels))
        else:
            self._float = 1.0

    def run(self) -> Steps:
        """The steps found."""
        if not self._trains:
            reason = "the data has no training images" if self._dataset.train_images is None else "PyTorch is missing"
            self._progress(f"no step will train: {reason}")
        coding, loss, network = self._integers()
        if loss > self._max_loss:
            self._note(
                "zeros", loss, None, f"none: 8 bits alone are over {self._max_loss:g} points; the best found stays"
            )
            return coding
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
        for index, (what, steps) in enumerate(tries):
            loss, network = self._measured(steps)
            enough = loss <= self._max_loss
            after = "kept" if enough else "too much, on to better means" if index + 1 < len(tries) else "too much"
            self._note(what, loss, network, after)
            if best is None or loss < best[1]:
                best = steps, loss, network
            if enough:
                break
        assert best is not None
        return best

    def _zeros(self, coding: Steps, network: QuantizedNetwork) -> Steps:
        """Ever more zeros, until accuracy falls below what is allowed."""
        found, before = coding, self._cycles(network)
        for amount in AMOUNTS:
            pruning, what = self._pruning(amount, network)
            steps = [*pruning, *coding]
            loss, network_now = self._measured(steps)
            cycles = self._cycles(network_now)
            if loss > self._max_loss and self._trains:
                self._note(what, loss, network_now, "too much, so it is trained")
                steps = [*pruning, {"do": "fine_tune", **self._training(0.03)}, *coding]
                loss, network_now = self._measured(steps)
                cycles = self._cycles(network_now)
                what += f", {EPOCHS} epochs"
            if loss > self._max_loss:
                self._note(what, loss, network_now, "too much; the step before is the result")
                break
            if cycles is not None and before is not None and cycles > 0.99 * before:
                self._note(
                    what, loss, network_now, f"under 1% of {before:,} cycles gained; the step before is the result"
                )
                break
            self._note(what, loss, network_now, "kept")
            found, before, network = steps, cycles, network_now
        return found

    def _pruning(self, amount: float, network: QuantizedNetwork) -> tuple[Steps, str]:
        """Steps that make ``amount`` of the weights zero, of the kind that the design gains most by as it runs now."""
        second_order = amount <= 0.6
        plain: dict[str, Any] = (
            {"do": "prune_second_order", "amount": amount} if second_order else {"do": "prune", "amount": amount}
        )
        name = f"{100 * amount:g}% zeros, {'second order' if second_order else 'magnitude'}"
        if self._design is None:
            return [plain], f"{name} (no design: single weights)"
        bounds = self._bounds(network)
        waiting = [layer for layer, bound in bounds.items() if bound == "load"]
        steps: Steps = [
            {"do": "cycle_aware_prune", "amount": amount, "loss": "divergence" if second_order else "fisher"}
        ]
        if steps[0]["loss"] == "fisher" and not self._trains:
            steps[0]["loss"] = "divergence"
        what = f"zeros at the loss of {100 * amount:g}% everywhere, placed by exact cycles"
        if waiting and len(waiting) < len(bounds):
            steps.append({"do": "prune_words", "amount": round(amount / 3, 3)})
            what += f", whole load words where the loader is waited for ({', '.join(waiting)})"
        return steps, what

    def _training(self, rate: float) -> dict[str, Any]:
        """Keys of a training step: labels and teacher, or the teacher alone."""
        return {
            "epochs": EPOCHS,
            "learning_rate": rate,
            "distillation": "labels" if self._labelled else "teacher",
        }

    def _measured(self, steps: Steps) -> tuple[float, QuantizedNetwork]:
        """Points of accuracy lost on the validation images, and the integers."""
        state, _ = run_steps(_recipe(steps, self._seed), self._context, self.store)
        network = self._quantized(state)
        classes = reference.predict(network, self._images)
        if self._split is None:
            return 100 * float(np.mean(classes != self._wanted)), network
        return 100 * (self._float - float(np.mean(classes == self._split.validation_labels))), network

    def _quantized(self, state: State) -> QuantizedNetwork:
        return quantized(state.graph, state.scheme, self._dataset)

    def _cycles(self, network: QuantizedNetwork) -> int | None:
        if self._design is None:
            return None
        chosen = with_memories_for(network, design_for(network, self._design))
        return sum(layer.cycles for layer in network_cycles(compile_network(network, chosen)))

    def _bounds(self, network: QuantizedNetwork) -> Mapping[str, str]:
        """What each layer of the array is bound by."""
        assert self._design is not None
        chosen = with_memories_for(network, design_for(network, self._design))
        program = compile_network(network, chosen)
        return {
            layer.name: bound_of(cycles_by_cause(layer, cycles, chosen))
            for layer, cycles in zip(program.layers, network_cycles(program), strict=True)
        }

    def _note(self, tried: str, loss: float, network: QuantizedNetwork | None, decided: str) -> None:
        cycles = self._cycles(network) if network is not None else None
        self.decisions.append(Decision(tried, loss, cycles, decided))
        self._progress(f"measured: {self.decisions[-1]}")


def _held_back(dataset: Dataset, seed: int) -> Split:
    """Validation images; the rest trains."""
    images, _ = dataset.training()
    return dataset.split_validation(max(1, min(VALIDATION, len(images) // 10)), seed)


def _recipe(steps: Steps, seed: int) -> Recipe:
    return parse_recipe({"name": "auto", "seed": seed, "step": steps}, "auto")


def _toml(steps: Steps, seed: int, max_loss: float) -> str:
    """The steps as a recipe file."""
    lines = [f'description = "Found by --recipe auto --max-loss {max_loss:g}."', f"seed = {seed}"]
    for step in steps:
        lines += ["", "[[step]]", *(f"{key} = {_value(value)}" for key, value in step.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
