"""Steps that train. All of them need the extra ``train``, and labelled training images unless a teacher takes their place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skipstone.compress.keys import Training
from skipstone.compress.state import Context, State
from skipstone.compress.step_keys import (
    DynamicSparse,
    FineTune,
    GradualPrune,
    IterativePrune,
    LotteryTicket,
    QuantizationAwareTraining,
    Reinitialize,
)
from skipstone.compress.steps.extra import training_module
from skipstone.compress.steps.pruning import evidence_for
from skipstone.models.graph.graph import Graph


def options_of(step: Training, context: Context) -> Any:
    """A step's keys as ``skipstone.models.training.loop.TrainingOptions``, with the data set's augmentation where the step has
    none of its own.

    Raises:
        SkipstoneError: PyTorch is missing, or there are no training images.
    """
    context.progress(augmentation_note(step, context))
    return training_module("loop").TrainingOptions(
        epochs=step.epochs,
        learning_rate=step.learning_rate,
        batch=step.batch,
        momentum=step.momentum,
        weight_decay=step.weight_decay,
        label_smoothing=step.label_smoothing,
        warmup=step.warmup,
        augmentation=step.augmentation(context.dataset.augmentation),
        loss=_loss(step, context),
        distillation=step.distillation,
        temperature=step.temperature,
        weight=step.distillation_weight,
        normalize=step.normalize,
        images=step.images,
        seed=context.seed,
    )


def augmentation_note(step: Training, context: Context) -> str:
    """How training images are varied, and who says so."""
    chosen = step.augmentation(context.dataset.augmentation)
    source = f"data set {context.dataset.name}" if step.shift is None and step.flip is None else "recipe"
    return f"training images {chosen}, as the {source} says"


def _loss(step: Training, context: Context) -> str:
    """The squared error for labels that are values, and for a teacher with one output, which has no classes."""
    _, labels = _data(step, context)
    values = context.classes == 1 if labels is None else np.issubdtype(labels.dtype, np.floating)
    return "squared_error" if values else "cross_entropy"


def _common(step: Training, context: Context) -> dict[str, Any]:
    teacher: Graph | None = context.parent if step.distillation != "none" else None
    return {"teacher": teacher, "progress": context.progress, "checkpoint": context.training, "own": context.train}


def _data(step: Training, context: Context) -> tuple[Any, Any]:
    """Training images, and labels unless the float network alone teaches."""
    if step.distillation == "teacher":
        images = context.dataset.train_images
        return (images if images is not None else context.dataset.calibration()), None
    return context.dataset.training_targets()


def _floats(graph: Graph) -> Graph:
    """``graph`` for a training in floats, after which ranges that a training with rounding found don't hold."""
    return replace(graph, grids={}, grids_from="")


def apply_fine_tune(step: FineTune, state: State, context: Context) -> State:
    """Trains the network, its zeros fixed, with a regularizer if one is asked for."""
    loop = training_module("loop")
    hooks = []
    if step.regularizer != "none":
        sparsity = training_module("sparsity")
        from skipstone.models.pruning.masks import Pruning

        structure = Pruning(granularity=step.granularity, block=step.block)
        hooks = [sparsity.Regularization(step.regularizer, step.strength, structure)]
    graph = loop.fine_tune(
        _floats(state.graph), *_data(step, context), options_of(step, context), hooks=hooks, **_common(step, context)
    )
    return replace(state, graph=graph, notes=(augmentation_note(step, context),))


def apply_gradual(step: GradualPrune, state: State, context: Context) -> State:
    """Prunes a little more at a time while the network trains."""
    loop, sparsity = training_module("loop"), training_module("sparsity")
    hook = sparsity.GradualPruning(step.pruning(), every=step.every, until=step.until)
    graph = loop.fine_tune(
        _floats(state.graph), *_data(step, context), options_of(step, context), hooks=[hook], **_common(step, context)
    )
    return replace(state, graph=graph, notes=(augmentation_note(step, context), *hook.notes))


def apply_dynamic_sparse(step: DynamicSparse, state: State, context: Context) -> State:
    """Trains with zeros that move: small weights leave, those with large gradients come in (RigL)."""
    loop, sparsity = training_module("loop"), training_module("sparsity")
    hook = sparsity.RigL(every=step.every, fraction=step.fraction, until=step.until)
    graph = loop.fine_tune(
        _floats(state.graph), *_data(step, context), options_of(step, context), hooks=[hook], **_common(step, context)
    )
    return replace(state, graph=graph, notes=(augmentation_note(step, context),))


def apply_iterative(step: IterativePrune, state: State, context: Context) -> State:
    """Prunes and trains in turn, over several rounds."""
    pruned = training_module("schedules").iterative(
        _floats(state.graph),
        step.pruning(),
        *_data(step, context),
        options_of(step, context),
        rounds=step.rounds,
        evidence=lambda graph: evidence_for(step.criterion, graph, context),
        **_common(step, context),
    )
    return replace(state, graph=pruned.graph, notes=(augmentation_note(step, context), *pruned.notes))


def apply_lottery(step: LotteryTicket, state: State, context: Context) -> State:
    """Prunes over several rounds, rewinding the remaining weights to early values each time (lottery ticket)."""
    pruned = training_module("schedules").lottery(
        _floats(state.graph),
        step.pruning(),
        *context.dataset.training_targets(),
        options_of(step, context),
        rounds=step.rounds,
        rewind_epochs=step.rewind_epochs,
        progress=context.progress,
        checkpoint=context.training,
    )
    return replace(state, graph=pruned.graph, notes=(augmentation_note(step, context), *pruned.notes))


def apply_reinitialize(step: Reinitialize, state: State, context: Context) -> State:
    """Gives the network new random weights."""
    return replace(state, graph=training_module("start").reinitialized(_floats(state.graph), context.seed), notes=())


def apply_quantization_aware(step: QuantizationAwareTraining, state: State, context: Context) -> State:
    """Trains through the rounding. The weights and tensors then have their grids."""
    qat = training_module("qat")
    scheme = step.scheme()
    graph = qat.quantization_aware(
        state.graph,
        *_data(step, context),
        options_of(step, context),
        qat.QatOptions(scheme, estimator=step.estimator),
        calibration_images=context.dataset.calibration(),
        **_common(step, context),
    )
    return State(graph, scheme, notes=(augmentation_note(step, context),))
