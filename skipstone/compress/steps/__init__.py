"""The steps of a recipe: for each class of step the function that does it, from state to state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skipstone.compress import recipe
from skipstone.compress.state import Context, State
from skipstone.compress.steps import evaluation, hardware, pruning, quantization, surgery, training

REGISTRY: dict[type[Any], Callable[[Any, State, Context], State]] = {
    recipe.Prune: pruning.apply_prune,
    recipe.PruneSecondOrder: pruning.apply_second_order,
    recipe.PruneByReconstruction: pruning.apply_reconstruction,
    recipe.RemoveFilters: surgery.apply_remove_filters,
    recipe.RemoveBlocks: surgery.apply_remove_blocks,
    recipe.Factorize: surgery.apply_factorize,
    recipe.Compact: surgery.apply_compact,
    recipe.FineTune: training.apply_fine_tune,
    recipe.GradualPrune: training.apply_gradual,
    recipe.DynamicSparse: training.apply_dynamic_sparse,
    recipe.IterativePrune: training.apply_iterative,
    recipe.LotteryTicket: training.apply_lottery,
    recipe.Reinitialize: training.apply_reinitialize,
    recipe.QuantizationAwareTraining: training.apply_quantization_aware,
    recipe.Equalize: quantization.apply_equalize,
    recipe.Quantize: quantization.apply_quantize,
    recipe.CycleAwarePrune: hardware.apply_cycle_aware,
    recipe.BalanceRows: hardware.apply_balance_rows,
    recipe.PruneWords: hardware.apply_prune_words,
    recipe.Gate: evaluation.apply_gate,
    recipe.RobustAccuracy: evaluation.apply_robust,
}

NEEDS_DESIGN = (recipe.CycleAwarePrune, recipe.BalanceRows, recipe.PruneWords)
"""Steps that count cycles on a design."""
USES_DESIGN = (*NEEDS_DESIGN, recipe.Gate)
"""Steps whose result depends on the design, where there is one."""
RENAMES = (recipe.RemoveBlocks, recipe.Factorize, recipe.Compact)
"""Steps after which layers have other names."""
