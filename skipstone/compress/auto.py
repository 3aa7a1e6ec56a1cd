"""The recipe ``auto``: one found by measuring, as the surveys advise, with the array in the loop.

8-bit integers first, symmetric for each output channel; better rounding and then training through the rounding only where
accuracy falls. Then zeros, more at a time: whole load words where the design waits for its loader, single weights where it
computes, by exact cycles; trained again where accuracy falls and training images are there. Then the recipes that come with
Skipstone, those that promise fewer cycles first, so that none of them would have been better. Each decision says what was
measured.

Decisions look at validation images, held back from the training images (or, without those, at how far the network's answers on
calibration images agree with the float network's). What they chose is checked on as many other images that were held back. Test
images are looked at once, at the end.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from skipstone.compress.checks import check_recipe
from skipstone.compress.files import Checkpoint
from skipstone.compress.keys import Keys, Masked, Training
from skipstone.compress.recipe import Recipe, load_recipe, parse_recipe, recipe_names
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
from skipstone.compress.sizes import layer_sizes
from skipstone.compress.state import Context, OwnLoop, Progress, State, quantized
from skipstone.compress.step_keys import GradualPrune, IterativePrune, LotteryTicket, QuantizationAwareTraining
from skipstone.errors import SkipstoneError
from skipstone.files import write_file
from skipstone.flow.designs import design_for
from skipstone.flow.prepare import short_name
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.results.compression import StepResult
from skipstone.models.data.datasets import Dataset, Split
from skipstone.models.data.float_execution import float_array_scores
from skipstone.models.data.images import Images, Targets
from skipstone.models.data.metrics import Metric, MetricFunction
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.toml_files import toml_text

VALIDATION = 5000
"""Training images held back for decisions, at most a sixteenth of them; as many more check the choice."""
AMOUNTS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Shares of zeros tried, in order."""
OUTPUT_TELLS = 0.6
"""Up to this share of zeros the network's output still tells which layers bear them; beyond, gradients do, if it trains."""
EPOCHS = 3
"""Of each training that is not a recipe's."""
UNSURE = 0.9
"""What training through the rounding leaves of the cost with the same weight code after training, at the least."""

Steps = list[dict[str, Any]]


@dataclass(frozen=True)
class Decision:
    """What was tried, what it gave, and what follows. ``lost``: of the metric on the images that were looked at, in points where
    it is a share; ``cost``: cycles on the design, or ``unit``."""

    tried: str
    lost: float
    cost: int | None
    decided: str
    unit: str = "cycles"
    share: bool = True

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", {self.cost:,} {self.unit}"
        return f"{self.tried}: {_lost_text(self.lost, self.share)}{cost}; {self.decided}"


@dataclass(frozen=True, eq=False)
class Candidate:
    """Steps that were tried, and their network. ``lost`` is on the validation images; ``cost`` is cycles on the design,
    without one encoded bytes."""

    tried: str
    steps: Steps
    network: QuantizedNetwork
    lost: float
    cost: int


def auto(
    network: str | Path,
    data: str | Dataset,
    *,
    out: Path,
    max_loss: float,
    design: Design | None = None,
    input_shape: tuple[int, ...] | None = None,
    seed: int = 1,
    max_epochs: int | None = None,
    metric: str | MetricFunction | Metric | None = None,
    train: OwnLoop | None = None,
    progress: Progress = lambda _: None,
) -> Compressed:
    """Compresses a network as far as a loss of accuracy allows, by measuring.

    Writes what ``compress_network`` writes, and the steps as ``recipe.toml``, which gives the same result again (it holds
    the same images back).

    Args:
        network: An ONNX file (float), or the name of a carried network.
        data: The name of a data set (see ``load_dataset``), or the data set.
        out: Folder for what is written.
        max_loss: Percentage points of accuracy that may be lost; in the metric's own unit where it is no share.
        design: The fewest cycles of this array are searched for. None: the fewest encoded bytes.
        input_shape: N, C, H, W, where the file leaves a dimension open.
        seed: Of the training and of the choice of images.
        max_epochs: The search trains for so many epochs at most, all that it tries taken together. None: for as many as it needs.
        metric: As of ``compress_network``.
        train: As of ``compress_network``.
        progress: Called with a few words before each stage.

    Returns:
        The compressed networks and the result, with a line for each decision. The last says whether the test images are
        within the loss.

    Raises:
        SkipstoneError: Network, data and design do not go together, or ``max_loss`` is negative.
    """
    if not (math.isfinite(max_loss) and max_loss >= 0):
        raise SkipstoneError(f"max_loss must be 0 or more percentage points, not {max_loss:g}")
    if max_epochs is not None and max_epochs < 0:
        raise SkipstoneError(f"max_epochs must be 0 or more, not {max_epochs}")
    context = context_for(network, data, design, input_shape, seed, progress, metric, train)
    split = None
    if half := _held_back(context.dataset):
        dataset, split = context.dataset.holding_back(2 * half, seed)
        context = replace(context, dataset=dataset)
    check_runs(context)
    store = Checkpoint(out / "checkpoints")
    with keeping(store):
        search = _Search(context, split, max_loss, store, max_epochs)
        recipe, state, results = search.finished()
    integers = quantized(state.graph, state.scheme, context.dataset)
    result = assemble(short_name(str(network)), recipe, context, state, results, integers)
    decisions = [str(decision) for decision in search.decisions]
    if result.loss_points is not None:
        verdict = "within" if result.loss_points <= max_loss else "OVER"
        lost = _lost_text(result.loss_points, context.metric.share)
        decisions.append(f"test images, looked at once: {lost}, {verdict} the {max_loss:g} that may be lost")
    result = replace(result, decisions=tuple(decisions))
    progress("writing")
    write_results(out, state.graph, integers, result)
    write_file(out / "recipe.toml", _toml(recipe, max_loss))
    return Compressed(state.graph, integers, result)


class _Search:
    """Tries steps, one list of them after the other; those of the best list so far are kept in ``store``."""

    def __init__(
        self, context: Context, split: Split | None, max_loss: float, store: Checkpoint, max_epochs: int | None = None
    ) -> None:
        self.decisions: list[Decision] = []
        self.store = store
        self._whole, self._max_loss, self._epochs_left = context, max_loss, max_epochs
        self._design, self._seed, self._progress = context.design, context.seed, context.progress
        dataset = self._dataset = context.dataset
        self._trains = dataset.train_images is not None and importlib.util.find_spec("torch") is not None
        self._split = split
        # Without test labels here, steps are not measured on test images.
        self._context = replace(context, dataset=replace(dataset, test_images=None, test_labels=None))
        self._validation, self._check = self._parts(split)

    def _parts(self, split: Split | None) -> tuple[_Part, _Part | None]:
        """The images that decide, and those that check what was decided."""
        if split is not None:
            halves = [_Part(split.validation_images[at::2], split.validation_labels[at::2]) for at in (0, 1)]
            return self._measured_part(halves[0]), self._measured_part(halves[1])
        images = self._dataset.calibration()
        if not self._context.metric.built_in:
            raise SkipstoneError(
                f"metric {self._context.metric.name} needs labels, and the data has no labelled training images to decide by"
            )
        scores = float_array_scores(self._context.parent, images)
        answers = scores.argmax(axis=1) if self._context.metric.share else scores.astype(np.float32)
        return self._measured_part(_Part(images, answers)), None

    def _measured_part(self, part: _Part) -> _Part:
        """``part`` with what the float network gives on it."""
        scores = float_array_scores(self._context.parent, part.images)
        return replace(part, of_float=self._context.metric(scores, part.labels))

    def finished(self) -> tuple[Recipe, State, tuple[StepResult, ...]]:
        """The steps found, their network, and what each gave on the test images, which are looked at only now."""
        recipe = self._recipe(self.run().steps)
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

    def run(self) -> Candidate:
        """The best that was found."""
        measure = (
            "labels of validation images" if self._split else "agreement with the float network on calibration images"
        )
        self._progress(f"decisions by {measure}, {len(self._validation.images):,} of them")
        if not self._trains:
            reason = "the data has no training images" if self._dataset.train_images is None else "PyTorch is missing"
            self._progress(f"no step will train: {reason}")
        coding = self._integers()
        if coding.lost > self._max_loss:
            self._note(
                replace(coding, tried="zeros"), "none: 8 bits alone are over; the best found stays", with_cost=False
            )
            return coding
        accepted = self._zeros(coding)
        return self._checked(accepted + self._recipes(accepted[-1]))

    def _integers(self) -> Candidate:
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
        if self._trains and self._affords("trained through the rounding", trained):
            tries.append(("trained through the rounding", trained))
        best: Candidate | None = None
        for index, (description, steps) in enumerate(tries):
            candidate = self._tried(description, steps)
            enough = candidate.lost <= self._max_loss
            after = "kept" if enough else "too much, on to better means" if index + 1 < len(tries) else "too much"
            self._note(candidate, after)
            if best is None or candidate.lost < best.lost:
                best = candidate
            if enough:
                break
        assert best is not None
        return best

    def _zeros(self, coding: Candidate) -> list[Candidate]:
        """Ever more zeros, until accuracy falls below what is allowed; each that was accepted, the last is the best."""
        accepted = [coding]
        for amount in AMOUNTS:
            best = accepted[-1]
            pruning, description = self._pruning(amount, best.network)
            candidate = self._tried(description, [*pruning, *coding.steps])
            trained: Steps = [*pruning, {"do": "fine_tune", **self._training(0.03)}, *coding.steps]
            if candidate.lost > self._max_loss and self._trains and self._affords(description, trained):
                self._note(candidate, "too much, so it is trained")
                candidate = self._tried(f"{description}, {EPOCHS} epochs", trained)
            if candidate.lost > self._max_loss:
                self._note(candidate, "too much; what was kept last stays")
                break
            if candidate.cost > 0.99 * best.cost:
                self._note(candidate, f"under 1% of {best.cost:,} {self._unit} gained; not kept")
                continue
            self._note(candidate, "kept")
            accepted.append(candidate)
        return accepted

    def _recipes(self, best: Candidate) -> list[Candidate]:
        """The recipes that come with Skipstone and promise less than ``best`` costs, the least first; each that is accepted
        costs less than those before it."""
        accepted = []
        for promised, name, steps in sorted(self._promising(best), key=lambda each: each[0]):
            if promised >= best.cost:
                continue
            tried = f"recipe {name}"
            if not self._affords(tried, steps):
                continue
            candidate = self._tried(tried, steps)
            if candidate.lost > self._max_loss:
                self._note(candidate, "too much")
            elif candidate.cost >= best.cost:
                self._note(candidate, f"no less than the {best.cost:,} there are; not kept")
            else:
                self._note(candidate, "kept")
                accepted.append(candidate)
                best = candidate
        return accepted

    def _promising(self, best: Candidate) -> Iterator[tuple[float, str, Steps]]:
        """The least that each recipe could cost, its name, and its steps; without those that can't run on this network and data.

        Masks are final before the training that follows them, so the cost of a recipe without its training is close."""
        for name in recipe_names():
            recipe = load_recipe(name)
            steps = [_plain(step) for step in recipe.step]
            try:
                check_recipe(recipe, self._context)
                untrained = [step for each in recipe.step if (step := without_training(each)) is not None]
                state, _ = run_steps(self._recipe(untrained or [{"do": "quantize"}]), self._context, self.store)
                cost = self._cost(self._quantized(state))
            except SkipstoneError as error:
                self._progress(f"recipe {name} left out: {error}")
                continue
            unsure = any(isinstance(step, QuantizationAwareTraining) for step in recipe.step)
            promised = UNSURE * cost if unsure else cost
            self._progress(f"recipe {name}: {promised:,.0f} {self._unit} at the least, {best.cost:,} so far")
            yield promised, name, steps

    def _checked(self, accepted: list[Candidate]) -> Candidate:
        """The best of ``accepted`` (the best comes last) that is within the loss on images that decided nothing."""
        if self._check is None:
            return accepted[-1]
        for candidate in reversed(accepted):
            lost = self._lost(candidate.network, self._check)
            within = lost <= self._max_loss
            after = "kept" if within else "too much, so the one before it is checked"
            if not within and candidate is accepted[0]:
                after = "too much, but nothing less is there"
            tried = f"checked on {len(self._check.images):,} other images, {candidate.tried}"
            self._note(replace(candidate, tried=tried, lost=lost), after)
            if within:
                return candidate
        return accepted[0]

    def _pruning(self, amount: float, network: QuantizedNetwork) -> tuple[Steps, str]:
        """Steps that make ``amount`` of the weights zero, of the kind that the design gains most by as it runs now."""
        if self._design is None:
            plain = {"do": "prune_second_order", "amount": amount}
            return [plain], f"{100 * amount:g}% zeros, single weights by second order"
        bounds = self._bounds(network)
        waiting = [layer for layer, bound in bounds.items() if bound == "load"]
        classes = self._split is not None and np.issubdtype(self._split.train_labels.dtype, np.integer)
        by_gradients = amount > OUTPUT_TELLS and self._trains and classes
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

    def _tried(self, description: str, steps: Steps) -> Candidate:
        """What the steps give on the validation images."""
        state, _ = run_steps(self._recipe(steps), self._context, self.store)
        network = self._quantized(state)
        return Candidate(description, steps, network, self._lost(network, self._validation), self._cost(network))

    def _affords(self, description: str, steps: Steps) -> bool:
        """Are there epochs left for the trainings among ``steps``? If so, they are taken."""
        epochs = sum(_epochs(step) for step in self._recipe(steps).step)
        if self._epochs_left is None:
            return True
        if epochs > self._epochs_left:
            self._progress(f"{description}: not trained, {epochs} epochs are more than the {self._epochs_left} left")
            return False
        self._epochs_left -= epochs
        return True

    def _lost(self, network: QuantizedNetwork, part: _Part) -> float:
        metric = self._context.metric
        return metric.lost(part.of_float, metric(reference.real_scores(network, part.images), part.labels))

    def _quantized(self, state: State) -> QuantizedNetwork:
        return quantized(state.graph, state.scheme, self._dataset)

    @property
    def _unit(self) -> str:
        return "encoded bytes" if self._design is None else "cycles"

    def _cost(self, network: QuantizedNetwork) -> int:
        if self._design is None:
            return sum(layer.encoded_bytes for layer in layer_sizes(network))
        return self._mapped(network, self._design).cycles

    def _bounds(self, network: QuantizedNetwork) -> Mapping[str, str]:
        """What each layer of the array is bound by."""
        assert self._design is not None
        mapped = self._mapped(network, self._design)
        return {layer.name: bound for layer, bound in zip(mapped.program.layers, mapped.bounds, strict=True)}

    @staticmethod
    def _mapped(network: QuantizedNetwork, design: Design) -> NetworkCost:
        return cost(network, design_for(network, design), memories="enlarged")

    def _note(self, candidate: Candidate, decided: str, with_cost: bool = True) -> None:
        shown = candidate.cost if with_cost else None
        share = self._context.metric.share
        self.decisions.append(Decision(candidate.tried, candidate.lost, shown, decided, self._unit, share))
        self._progress(f"measured: {self.decisions[-1]}")


@dataclass(frozen=True, eq=False)
class _Part:
    """Images and labels, and what the float network gives on them."""

    images: Images
    labels: Targets
    of_float: float = 0.0


def without_training(step: Keys) -> dict[str, Any] | None:
    """A step that leaves the masks and the weight code that ``step`` leaves, without training; None where it only trains."""
    match step:
        case QuantizationAwareTraining():
            names = ("weight_bits", "activation_bits", "weight_code", "codebook_entries", "layer_bits")
            return {"do": "quantize", **_named(step, names)}
        case GradualPrune() | IterativePrune() | LotteryTicket():
            return {"do": "prune", **_named(step, tuple(Masked.model_fields))}
        case Training():
            return None
        case _:
            return _plain(step)


def _named(step: Keys, names: tuple[str, ...]) -> dict[str, Any]:
    return step.model_dump(mode="json", exclude_defaults=True, include=set(names))


def _plain(step: Any) -> dict[str, Any]:
    """A step's keys as a recipe has them."""
    return {"do": step.do, **step.model_dump(mode="json", exclude_defaults=True)}


def _epochs(step: Keys) -> int:
    """Epochs that a step trains for."""
    if not isinstance(step, Training):
        return 0
    rounds = (
        step.rounds if isinstance(step, IterativePrune) else step.rounds + 1 if isinstance(step, LotteryTicket) else 1
    )
    return rounds * step.epochs


def _lost_text(lost: float, share: bool) -> str:
    return f"{lost:.2f} points lost" if share else f"{lost:.4g} lost"


def _held_back(dataset: Dataset) -> int:
    """How many training images are held back for decisions, and as many for the check: none where they have no labels."""
    if dataset.train_labels is None or len(dataset.train_labels) < 3:
        return 0
    return max(1, min(VALIDATION, len(dataset.train_labels) // 16))


def _toml(recipe: Recipe, max_loss: float) -> str:
    """The steps as a recipe file."""
    description = f"Found by the recipe auto with max_loss {max_loss:g}."
    values: dict[str, Any] = {"description": description, "seed": recipe.seed}
    if recipe.held_back:
        values["held_back"] = recipe.held_back
    return toml_text({**values, "step": [_plain(step) for step in recipe.step]})
