"""What can be said against a recipe before its first step runs: a design, data, a package or a layer that is missing."""

from __future__ import annotations

import numpy as np

from skipstone.compress.keys import Keys, Training
from skipstone.compress.recipe import Recipe
from skipstone.compress.state import Context
from skipstone.compress.step_keys import (
    CycleAwarePrune,
    DynamicSparse,
    FineTune,
    Gate,
    GradualPrune,
    IterativePrune,
    LotteryTicket,
    Prune,
    PruneByReconstruction,
    QuantizationAwareTraining,
    Reinitialize,
    RemoveBlocks,
    RemoveFilters,
    RobustAccuracy,
)
from skipstone.compress.steps import NEEDS_DESIGN, RENAMES
from skipstone.compress.steps.extra import training_module
from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Targets
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Affine, Conv, OnHost
from skipstone.models.pruning.criteria import CRITERIA
from skipstone.models.surgery.blocks import remove_blocks

RESHAPES = (*RENAMES, RemoveFilters, PruneByReconstruction)
"""Steps after which other blocks can leave than before."""


def check_float(graph: Graph) -> None:
    """Refuses a network that is quantized already, or has no weights.

    Raises:
        SkipstoneError: The network is one of these.
    """
    if graph.quantized:
        raise SkipstoneError(
            f"network '{graph.name}' is quantized already; compress the float network it was made from"
        )
    if not graph.convs:
        raise SkipstoneError(f"network '{graph.name}' has no layer with trained weights")


def check_values(graph: Graph, labels: Targets | None) -> None:
    """Refuses labels that are values where the network's values come from the host: accuracy is that of the array's own."""
    if labels is None or not np.issubdtype(labels.dtype, np.floating) or graph.scores[0] == graph.input:
        return
    last = graph.layer(graph.scores[0])
    if isinstance(last, OnHost):
        raise SkipstoneError(
            f"network '{graph.name}' ends in a {last.operator}, which the host computes, so labels can't be the values behind "
            "it; leave it out of the file, or give classes"
        )


def check_recipe(recipe: Recipe, context: Context) -> None:
    """Refuses a recipe with a step that can't work, however well those before it do.

    Args:
        recipe: The steps.
        context: The network, the data and the design that they would work on.

    Raises:
        SkipstoneError: For the first such step; the message has its number.
    """
    named = shaped = True
    for number, step in enumerate(recipe.step, start=1):
        try:
            _check_needs(step, context)
            if named:
                check_names(step, context.parent)
            if shaped and isinstance(step, RemoveBlocks) and step.blocks:
                remove_blocks(context.parent, step.blocks)
        except SkipstoneError as error:
            raise SkipstoneError(f"step {number} ({step.do}): {error}", parameter=error.parameter) from None
        named = named and not isinstance(step, RENAMES)
        shaped = shaped and not isinstance(step, RESHAPES)


def check_names(step: Keys, graph: Graph) -> None:
    """Refuses a step that names layers which the network does not have, or which have no weights.

    Args:
        step: The keys of the step.
        graph: The network.

    Raises:
        SkipstoneError: There is no such layer; the message lists those that there are.
    """
    scaled = hasattr(step, "layer_bits") and not isinstance(step, QuantizationAwareTraining)
    kinds = Conv | Affine if scaled else Conv
    layers = [layer.name for layer in graph.order if isinstance(layer, kinds)]
    for key in ("skip", "amounts", "layer_bits", "ranks", "layers"):
        for name in getattr(step, key, ()):
            if name not in layers:
                raise SkipstoneError(
                    f"{key} names '{name}', which is no layer with weights; those of the network are {', '.join(layers)}"
                )


def _check_needs(step: Keys, context: Context) -> None:
    if isinstance(step, NEEDS_DESIGN) and context.design is None:
        raise SkipstoneError("it counts cycles on a design; name one", parameter="design")
    if isinstance(step, RobustAccuracy | Gate):
        images, _ = context.dataset.testing()
        images = images[: step.images]
        if isinstance(step, RobustAccuracy) and not (images.min() >= 0 and images.max() <= 1):
            raise SkipstoneError(
                f"an attack needs images whose pixels lie from 0 to 1; the test images' lie from {images.min():g} to "
                f"{images.max():g}"
            )
    if _by_gradients(step):
        context.dataset.training()
    if isinstance(step, Training) and step.distillation != "teacher":
        context.dataset.training_targets()
    if context.train is not None and _changes_while_training(step):
        raise SkipstoneError(
            "it changes weights or the loss within each step of the built-in training, which a training loop of your own "
            "replaces; prune in a step of its own and train in another (fine_tune, iterative_prune, "
            "quantization_aware_training)"
        )
    if isinstance(step, Training | Reinitialize | RobustAccuracy) or _by_gradients(step):
        training_module("loop")


def _changes_while_training(step: Keys) -> bool:
    """Does it hook into the training loop?"""
    regularized = isinstance(step, FineTune) and step.regularizer != "none"
    return regularized or isinstance(step, GradualPrune | DynamicSparse | LotteryTicket)


def _by_gradients(step: Keys) -> bool:
    if isinstance(step, CycleAwarePrune):
        return step.loss == "fisher"
    return isinstance(step, Prune | IterativePrune | RemoveFilters) and CRITERIA[step.criterion].needs == "gradients"
