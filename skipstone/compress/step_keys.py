"""The steps of a recipe, a class each: its fields are the step's keys, with the defaults that are used where one is left out.

``do`` says which step it is. What a step does is in ``skipstone.compress.steps``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from skipstone.compress.keys import (
    Bits,
    BlockShape,
    Code,
    Count,
    Criterion,
    Granularity,
    Keys,
    Masked,
    Names,
    Positive,
    Scope,
    Share,
    Training,
    check_power_of_two_bits,
    parsed_pattern,
)
from skipstone.models.pruning.criteria import check_criterion
from skipstone.models.pruning.masks import Pruning
from skipstone.models.quantization.scheme import QuantizationScheme


class Prune(Masked):
    """Masks at once; no training. Criteria that need data take the calibration images (Taylor and SNIP: labelled training
    images, and the extra ``train``)."""

    do: Literal["prune"]


class PruneSecondOrder(Keys):
    """Optimal brain surgeon, layer by layer: weights leave, and those that stay make up for them. Calibration images alone.

    ``allocation``: every layer loses the same share, or as many weights as LAMP scores over the whole network say."""

    do: Literal["prune_second_order"]
    amount: Share = 0.0
    pattern: str = ""
    allocation: Literal["uniform", "lamp"] = "uniform"
    amounts: dict[str, Share] = Field(default_factory=dict)
    skip: Names = ()
    damping: Positive = 0.01
    images: Count = 512

    @model_validator(mode="after")
    def _one(self) -> PruneSecondOrder:
        if bool(self.amount or self.amounts) == bool(self.pattern):
            raise ValueError("give either amount (a share above 0) or pattern (as '2:4')")
        parsed_pattern(self.pattern)
        if self.allocation == "lamp" and not self.amount:
            raise ValueError("allocation = 'lamp' goes with amount")
        return self

    def pruning(self) -> Pruning:
        """What these keys say, for ``skipstone.models.pruning``, with the same share for every layer."""
        n, m = parsed_pattern(self.pattern)
        kind: Granularity = "nm" if self.pattern else "weight"
        return Pruning(kind, amount=self.amount, n=n, m=m, amounts=dict(self.amounts), skip=self.skip)


class PruneByReconstruction(Keys):
    """ThiNet: the input channels of a layer whose loss its output shows least. Calibration images alone."""

    do: Literal["prune_by_reconstruction"]
    amount: Share
    skip: Names = ()
    images: Count = 256
    shrink: bool = True


class RemoveFilters(Keys):
    """Filters leave, and with them the channels of every tensor and layer that depends on them: ``macs`` is the share of
    multiply-accumulates to keep, or ``amount`` the share of channels to remove."""

    do: Literal["remove_filters"]
    macs: Annotated[float, Field(gt=0, le=1)] | None = None
    amount: Share | None = None
    criterion: Criterion = "l2"
    scope: Scope = "network"
    multiple: Count = 1
    minimum: Count = 1

    @model_validator(mode="after")
    def _one(self) -> RemoveFilters:
        if (self.macs is None) == (self.amount is None):
            raise ValueError("give either macs or amount")
        check_criterion(self.criterion, "filter")
        return self


class RemoveBlocks(Keys):
    """Whole residual blocks or layers leave: those named, or the share ``amount`` of those that can, the least important first
    (by how much the network's answers change without each)."""

    do: Literal["remove_blocks"]
    blocks: Names = ()
    amount: Share | None = None

    @model_validator(mode="after")
    def _one(self) -> RemoveBlocks:
        if bool(self.blocks) == (self.amount is not None):
            raise ValueError("give either blocks or amount")
        return self


class FineTune(Training):
    """Training that keeps zeros. ``regularizer`` draws weights to 0 as it trains, for a prune step to follow."""

    do: Literal["fine_tune"]
    regularizer: Literal["none", "l1", "group_lasso", "batch_norm_scale"] = "none"
    strength: Annotated[float, Field(ge=0)] = 1e-5
    granularity: Granularity = "weight"
    block: BlockShape = (4, 1)

    @model_validator(mode="after")
    def _grouped(self) -> FineTune:
        if self.regularizer != "group_lasso" and self.model_fields_set & {"granularity", "block"}:
            raise ValueError("granularity and block are those of regularizer = 'group_lasso'")
        if self.granularity == "nm":
            raise ValueError("group_lasso has no groups of granularity 'nm'")
        if self.regularizer == "batch_norm_scale" and not self.normalize:
            raise ValueError("regularizer = 'batch_norm_scale' needs normalize = true")
        return self


class GradualPrune(Masked, Training):
    """Training in which ever more weights leave (Zhu and Gupta's schedule)."""

    do: Literal["gradual_prune"]
    every: Count = 50
    until: Annotated[float, Field(gt=0, le=1)] = 0.6

    @model_validator(mode="after")
    def _gradual(self) -> GradualPrune:
        self._by_amount_and_weights("gradual_prune")
        return self


class DynamicSparse(Training):
    """RigL: training at a constant sparsity (that of the steps before), weights leaving and others coming in."""

    do: Literal["dynamic_sparse"]
    every: Count = 100
    fraction: Share = 0.3
    until: Annotated[float, Field(gt=0, le=1)] = 0.75


class IterativePrune(Masked, Training):
    """Pruning and training in turns, ``epochs`` after each of ``rounds``."""

    do: Literal["iterative_prune"]
    rounds: Count = 3

    @model_validator(mode="after")
    def _iterative(self) -> IterativePrune:
        if self.pattern or self.amounts:
            raise ValueError(
                "iterative_prune prunes ever more of all layers, so it takes amount, and no pattern or amounts"
            )
        return self


class LotteryTicket(Masked, Training):
    """Training from fresh weights, pruning, and again from where the weights were after ``rewind_epochs``."""

    do: Literal["lottery_ticket"]
    rounds: Count = 2
    rewind_epochs: Count = 1

    @model_validator(mode="after")
    def _ticket(self) -> LotteryTicket:
        self._by_amount_and_weights("lottery_ticket")
        if self.amounts:
            raise ValueError("lottery_ticket prunes ever more of all layers, so it takes amount, and no amounts")
        if self.distillation != "none":
            raise ValueError("lottery_ticket learns from labels; leave distillation out")
        return self


class Reinitialize(Keys):
    """Fresh random weights: for pruning before training, and dynamic sparse training from scratch."""

    do: Literal["reinitialize"]


class Equalize(Keys):
    """Cross-layer equalization of weight ranges; the network computes what it did before."""

    do: Literal["equalize"]


class Quantize(Keys):
    """Post-training quantization: how weights become integers, and where activation ranges come from.

    ``mean_bits`` (linear code) chooses each layer's bits by its sensitivity so that weights have so many in the mean;
    ``layer_bits`` names some. ``rounding = "adaptive"`` is AdaRound.
    """

    do: Literal["quantize"]
    weight_bits: Bits = 8
    activation_bits: Bits = 8
    weight_code: Code = "linear"
    codebook_entries: Annotated[int, Field(ge=2, le=256)] = 16
    activations: Literal["affine", "symmetric"] = "affine"
    weights: Literal["per_channel", "per_tensor"] = "per_channel"
    calibration: str = "minmax"
    weight_range: Literal["max", "mse"] = "max"
    rounding: Literal["nearest", "adaptive"] = "nearest"
    bias_correction: bool = False
    mean_bits: Annotated[float, Field(ge=2, le=8)] | None = None
    layer_bits: dict[str, Bits] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Quantize:
        check_power_of_two_bits(self.weight_code, self.weight_bits)
        self.scheme()
        single = {"weight_range": self.weight_range == "mse", "rounding": self.rounding == "adaptive"}
        for key, asked in (single | {"mean_bits": self.mean_bits is not None}).items():
            if asked and self.weight_code != "linear":
                raise ValueError(f"{key} is for weight_code = 'linear'; {self.weight_code} chooses values by itself")
        for key, asked in (single | {"bias_correction": self.bias_correction}).items():
            if asked and self.weights == "per_tensor":
                raise ValueError(f"{key} gives each channel its own scale; leave it out with weights = 'per_tensor'")
        if self.rounding == "adaptive" and max(self.weight_bits, *self.layer_bits.values(), 0) > 8:
            raise ValueError("rounding = 'adaptive' takes weight_bits up to 8")
        if self.mean_bits is not None and self.mean_bits > self.weight_bits:
            raise ValueError(f"mean_bits can't be over weight_bits, {self.weight_bits}")
        return self

    def scheme(self) -> QuantizationScheme:
        """How these keys quantize. Raises SkipstoneError for bits and codes that don't go together."""
        return QuantizationScheme(
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            weight_code=self.weight_code,
            codebook_entries=self.codebook_entries,
            symmetric=self.activations == "symmetric",
            per_tensor=self.weights == "per_tensor",
            calibration_method=self.calibration,
            layer_bits=dict(self.layer_bits),
        )


class QuantizationAwareTraining(Training):
    """Training through the rounding of weights and activations, which keeps zeros. ``estimator``: straight-through with scales
    from the weights, or learned step sizes (all codes but the codebook)."""

    do: Literal["quantization_aware_training"]
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    activation_bits: Annotated[int, Field(ge=2, le=8)] = 8
    weight_code: Code = "linear"
    codebook_entries: Annotated[int, Field(ge=2, le=256)] = 16
    estimator: Literal["straight_through", "learned_step"] = "straight_through"
    layer_bits: dict[str, Annotated[int, Field(ge=2, le=8)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> QuantizationAwareTraining:
        check_power_of_two_bits(self.weight_code, self.weight_bits)
        self.scheme()
        if self.weight_code != "linear" and self.layer_bits:
            raise ValueError(f"layer_bits is for weight_code = 'linear', not {self.weight_code}")
        if self.weight_code == "codebook" and self.estimator == "learned_step":
            raise ValueError("a codebook has no step to learn; leave estimator = 'learned_step' out")
        return self

    def scheme(self) -> QuantizationScheme:
        """How these keys quantize. Raises SkipstoneError for bits and codes that don't go together."""
        return QuantizationScheme(
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            weight_code=self.weight_code,
            codebook_entries=self.codebook_entries,
            layer_bits=dict(self.layer_bits),
        )


class Factorize(Keys):
    """Low rank: layers become two or more thinner ones. ``ranks`` by layer, else by the share of ``energy`` to keep."""

    do: Literal["factorize"]
    method: Literal["svd", "tucker", "cp"]
    energy: Annotated[float, Field(gt=0, le=1)] = 0.9
    ranks: dict[str, Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]] = Field(default_factory=dict)
    layers: Names = ()

    @model_validator(mode="after")
    def _fits(self) -> Factorize:
        if self.ranks and (self.layers or "energy" in self.model_fields_set):
            raise ValueError("ranks name the layers and say how thin they get; leave energy and layers out")
        count = 2 if self.method == "tucker" else 1
        for name, ranks in self.ranks.items():
            if len(ranks) != count:
                shape = "[input rank, output rank]" if count == 2 else "[rank]"
                raise ValueError(f"ranks of '{name}' must be {shape} with method = '{self.method}', not {list(ranks)}")
        return self


class Compact(Keys):
    """Convolutions replaced by compact ones, for a training step with a teacher to follow. ``share``: a bottleneck's channels."""

    do: Literal["compact"]
    filter: Literal["depthwise_separable", "bottleneck"]
    layers: Names = ()
    share: Annotated[float, Field(gt=0, le=1)] = 0.25


class CycleAwarePrune(Keys):
    """The sparsity of each layer that costs the fewest exact cycles on the design: at the same loss as ``amount`` of every layer
    (``match = "loss"``), or the least loss in the same cycles (``match = "cycles"``).

    ``loss``: measured at the network's output on calibration images (its class probabilities' divergence, or squared error), or
    ``fisher``, estimated from gradients, which still tells layers apart where only training will bring accuracy back. ``method``:
    how a layer's weights are chosen; second order lets those that stay make up for the others. Shares of zeros are multiples of
    ``grid``; each of ``rounds`` measures every layer's curves anew."""

    do: Literal["cycle_aware_prune"]
    amount: Share
    match: Literal["loss", "cycles"] = "loss"
    loss: Literal["divergence", "output_error", "fisher"] = "divergence"
    method: Literal["magnitude", "second_order"] = "second_order"
    objective: Literal["cycles", "energy"] = "cycles"
    rounds: Count = 3
    grid: Annotated[float, Field(ge=0.01, le=0.5)] = 0.05
    images: Count = 512


class BalanceRows(Keys):
    """Moves zeros to where they free the slowest row of the design."""

    do: Literal["balance_rows"]


class PruneWords(Keys):
    """Whole load words, in the layers of the design that wait for the loader; ``amount`` is the share of those layers' magnitudes
    that may go at most."""

    do: Literal["prune_words"]
    amount: Share


class Gate(Keys):
    """Evaluation only: channels of an activation that are small for an image are left out at run time."""

    do: Literal["gate"]
    threshold: Annotated[float, Field(ge=0)]
    images: Count = 500


class RobustAccuracy(Keys):
    """Evaluation only: accuracy under projected gradient descent, beside the float network's."""

    do: Literal["robust_accuracy"]
    epsilon: Positive = 4 / 255
    steps: Count = 7
    images: Count = 500


Step = Annotated[
    Prune
    | PruneSecondOrder
    | PruneByReconstruction
    | RemoveFilters
    | RemoveBlocks
    | FineTune
    | GradualPrune
    | DynamicSparse
    | IterativePrune
    | LotteryTicket
    | Reinitialize
    | Equalize
    | Quantize
    | QuantizationAwareTraining
    | Factorize
    | Compact
    | CycleAwarePrune
    | BalanceRows
    | PruneWords
    | Gate
    | RobustAccuracy,
    Field(discriminator="do"),
]
