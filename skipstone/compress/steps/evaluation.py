"""Steps that change nothing and measure: robust accuracy, and what run-time gating would save."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skipstone.compress.state import Context, State, quantized
from skipstone.compress.step_keys import Gate, RobustAccuracy
from skipstone.compress.steps.extra import training_module
from skipstone.models.data.float_execution import float_accuracy


def apply_robust(step: RobustAccuracy, state: State, context: Context) -> State:
    """Measures accuracy under attack, of the network as it came and of this one.

    Each network is attacked through its own gradients, the integers through those of the compressed float network.

    Raises:
        SkipstoneError: PyTorch is missing.
    """
    from skipstone.models.quantization import reference

    robust = training_module("robust")
    images, labels = context.dataset.testing()
    images, labels = images[: step.images], labels[: step.images]
    attack = {"epsilon": step.epsilon, "steps": step.steps, "seed": context.seed}
    against_parent = robust.attacked(context.parent, images, labels, **attack)
    against_this = robust.attacked(state.graph, images, labels, **attack)
    integers = quantized(state.graph, state.scheme, context.dataset)
    measured = {
        "images": len(images),
        "epsilon": step.epsilon,
        "attack_steps": step.steps,
        "float_clean": float_accuracy(context.parent, images, labels),
        "float_robust": float_accuracy(context.parent, against_parent, labels),
        "clean": reference.accuracy(integers, images, labels),
        "robust": reference.accuracy(integers, against_this, labels),
        "robust_to_the_float_networks_attack": reference.accuracy(integers, against_parent, labels),
    }
    return replace(state, notes=(), measured=measured)


def apply_gate(step: Gate, state: State, context: Context) -> State:
    """Measures which channels run-time gating would skip, and the words that the design would not load."""

    from skipstone.models.pruning.gating import gate, typical_means

    images, labels = context.dataset.testing()
    images, labels = images[: step.images], labels[: step.images]
    integers = quantized(state.graph, state.scheme, context.dataset)
    gated = gate(integers, images, labels, step.threshold, typical_means(integers, context.dataset.calibration()))
    measured: dict[str, Any] = {
        "images": gated.images,
        "accuracy": gated.accuracy,
        "gated_accuracy": gated.gated_accuracy,
        "saved_macs_share": gated.saved_macs_share,
        "layers": {layer.name: layer.gated_share for layer in gated.layers},
        "on_the_array": "nothing: its lists of words and weights are fixed, gated words are loaded and multiplied",
    }
    if context.design is not None:
        from skipstone.compress.gating import load_savings
        from skipstone.flow.designs import design_for
        from skipstone.mapper.cost import cost

        mapped = cost(integers, design_for(integers, context.design), memories="enlarged")
        savings = load_savings(mapped.program, integers, gated)
        measured["words"] = {layer.name: [layer.words, layer.saved_words] for layer in savings}
    return replace(state, notes=gated.notes, measured=measured)
