"""What can be said against a recipe before its first step runs: a design, data, a package or a layer that is missing."""

from __future__ import annotations

from models.errors import SkipstoneError
from models.graph import Affine, Conv, Graph
from models.pruning.criteria import CRITERIA
from skipstone.compress.keys import Keys, Training
from skipstone.compress.recipe import Recipe
from skipstone.compress.state import Context
from skipstone.compress.step_keys import (
    CycleAwarePrune,
    Gate,
    IterativePrune,
    Prune,
    Reinitialize,
    RemoveFilters,
    RobustAccuracy,
)
from skipstone.compress.steps import NEEDS_DESIGN, RENAMES
from skipstone.compress.steps.extra import training_module


def check_recipe(recipe: Recipe, context: Context) -> None:
    """Raises SkipstoneError for the first step that can't work, however well those before it do."""
    named = True
    for number, step in enumerate(recipe.step, start=1):
        try:
            _check_needs(step, context)
            if named:
                check_names(step, context.parent)
        except SkipstoneError as error:
            raise SkipstoneError(f"step {number} ({step.do}): {error}") from None
        named = named and not isinstance(step, RENAMES)


def check_names(step: Keys, graph: Graph) -> None:
    """Refuses names of layers that ``graph`` does not have, or that have no weights."""
    kinds = Conv | Affine if hasattr(step, "layer_bits") else Conv
    layers = [layer.name for layer in graph.order if isinstance(layer, kinds)]
    for key in ("skip", "amounts", "layer_bits", "ranks", "layers"):
        for name in getattr(step, key, ()):
            if name not in layers:
                raise SkipstoneError(
                    f"{key} names '{name}', which is no layer with weights; those of the network are {', '.join(layers)}"
                )


def _check_needs(step: Keys, context: Context) -> None:
    if isinstance(step, NEEDS_DESIGN) and context.design is None:
        raise SkipstoneError("it counts cycles on a design; give one with --design")
    if isinstance(step, RobustAccuracy | Gate):
        context.dataset.testing()
    if _labelled(step):
        context.dataset.training()
    if isinstance(step, Training | Reinitialize | RobustAccuracy) or _by_gradients(step):
        training_module("loop")


def _labelled(step: Keys) -> bool:
    """Does it take labelled training images?"""
    return (isinstance(step, Training) and step.distillation != "teacher") or _by_gradients(step)


def _by_gradients(step: Keys) -> bool:
    if isinstance(step, CycleAwarePrune):
        return step.loss == "fisher"
    return isinstance(step, Prune | IterativePrune | RemoveFilters) and CRITERIA[step.criterion].needs == "gradients"
