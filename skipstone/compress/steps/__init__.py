"""The steps of a recipe: for each class of step the function that does it, from state to state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skipstone.compress import step_keys
from skipstone.compress.state import Context, State
from skipstone.compress.steps import evaluation, hardware, pruning, quantization, surgery, training

REGISTRY: dict[type[Any], Callable[[Any, State, Context], State]] = {
    step_keys.Prune: pruning.apply_prune,
    step_keys.PruneSecondOrder: pruning.apply_second_order,
    step_keys.PruneByReconstruction: pruning.apply_reconstruction,
    step_keys.RemoveFilters: surgery.apply_remove_filters,
    step_keys.RemoveBlocks: surgery.apply_remove_blocks,
    step_keys.Factorize: surgery.apply_factorize,
    step_keys.Compact: surgery.apply_compact,
    step_keys.FineTune: training.apply_fine_tune,
    step_keys.GradualPrune: training.apply_gradual,
    step_keys.DynamicSparse: training.apply_dynamic_sparse,
    step_keys.IterativePrune: training.apply_iterative,
    step_keys.LotteryTicket: training.apply_lottery,
    step_keys.Reinitialize: training.apply_reinitialize,
    step_keys.QuantizationAwareTraining: training.apply_quantization_aware,
    step_keys.Equalize: quantization.apply_equalize,
    step_keys.Quantize: quantization.apply_quantize,
    step_keys.CycleAwarePrune: hardware.apply_cycle_aware,
    step_keys.BalanceRows: hardware.apply_balance_rows,
    step_keys.PruneWords: hardware.apply_prune_words,
    step_keys.Gate: evaluation.apply_gate,
    step_keys.RobustAccuracy: evaluation.apply_robust,
}

NEEDS_DESIGN = (step_keys.CycleAwarePrune, step_keys.BalanceRows, step_keys.PruneWords)
"""Steps that count cycles on a design."""
USES_DESIGN = (*NEEDS_DESIGN, step_keys.Gate)
"""Steps whose result depends on the design, where there is one."""
RENAMES = (step_keys.RemoveBlocks, step_keys.Factorize, step_keys.Compact)
"""Steps after which layers have other names."""
