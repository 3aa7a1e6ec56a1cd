"""A recipe: the typed list of steps that compress a network, read from TOML. Unknown keys are refused.

Each step is a class whose fields are its keys, with the defaults that are used where a key is left out; ``do`` says which. What a
step does is in ``skipstone.compress.steps``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.calibrate import check_method
from models.errors import SkipstoneError
from models.pruning.criteria import CRITERIA, check_criterion
from models.pruning.masks import Pruning
from models.weight_codes import check_code
from skipstone.compress.mistakes import explained

FOLDER = Path(__file__).parent / "recipes"

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Bits = Annotated[int, Field(ge=2, le=16)]
Criterion = Literal[
    "l1", "l2", "batch_norm_scale", "taylor", "snip", "geometric_median", "apoz", "wanda", "lamp", "random"
]
Granularity = Literal["weight", "nm", "block", "kernel", "stripe", "shape", "input_channel", "filter"]
Scope = Literal["layer", "network"]
Names = Annotated[tuple[str, ...], Field(strict=False)]
"""A list in TOML is a tuple here; what is in it keeps to its type."""
Block = Annotated[tuple[Count, Count], Field(strict=False)]
Code = Literal["linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook"]


def _pattern(text: str) -> tuple[int, int]:
    """N and M of "N:M"; 0 and 0 of nothing."""
    n, colon, m = text.partition(":")
    if text and (not colon or not n.isdecimal() or not m.isdecimal() or not 1 <= int(n) <= int(m)):
        raise ValueError(f"pattern must be N:M with N from 1 to M (as '2:4'), not '{text}'")
    return (int(n), int(m)) if text else (0, 0)


def _check_coding(code: Code, bits: int) -> None:
    check_code(code, 16, bits)
    if code == "power_of_two" and bits > 5:
        raise ValueError(f"weight_bits must be 2 to 5 with weight_code = 'power_of_two', not {bits}")


class Keys(BaseModel):
    """What all parts of a recipe have in common: fixed once read, and no key but their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Masked(Keys):
    """What is pruned, how much, and by what criterion. ``pattern`` ("2:4") goes with ``nm``, ``block`` ([out, in]) with
    ``block``; ``amounts`` are shares of single layers in place of ``amount``, ``skip`` are layers left alone."""

    granularity: Granularity = "weight"
    amount: Share = 0.0
    pattern: str = ""
    block: Block = (4, 1)
    criterion: Criterion = "l1"
    scope: Literal["layer", "network", "output"] = "layer"
    amounts: dict[str, Share] = {}
    skip: Names = ()

    @model_validator(mode="after")
    def _fits(self) -> Masked:
        if (self.granularity == "nm") != bool(self.pattern):
            raise ValueError("pattern (as '2:4') goes with granularity = 'nm', and only with it")
        if self.granularity != "block" and "block" in self.model_fields_set:
            raise ValueError("block (as [4, 1]) goes with granularity = 'block', and only with it")
        if not (self.amount or any(self.amounts.values()) or self.pattern):
            raise ValueError("say how much is pruned: amount (a share above 0), amounts of layers, or a pattern")
        self.pruning()
        return self

    def pruning(self) -> Pruning:
        """What these keys say, for ``models.pruning``, which refuses what does not go together."""
        n, m = _pattern(self.pattern)
        return Pruning(
            granularity=self.granularity,
            amount=self.amount,
            n=n,
            m=m,
            block=self.block,
            criterion=self.criterion,
            scope=self.scope,
            amounts=dict(self.amounts),
            skip=self.skip,
        )

    def _by_amount_and_weights(self, what: str) -> None:
        """Refuses what a schedule of several prunings can't do."""
        if self.pattern:
            raise ValueError(f"{what} prunes ever more, so it takes an amount, and no pattern")
        if CRITERIA[self.criterion].needs != "nothing":
            raise ValueError(f"{what} has no data for criterion '{self.criterion}'; it takes those of weights alone")


class Training(Keys):
    """How a training step trains (see ``models.training.loop.TrainingOptions``)."""

    epochs: Count = 5
    learning_rate: Positive = 0.02
    batch: Count = 128
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    label_smoothing: Share = 0.0
    warmup: Share = 0.1
    shift: Annotated[int, Field(ge=0)] = 2
    flip: bool = False
    distillation: Literal["none", "labels", "teacher"] = "none"
    temperature: Positive = 4.0
    distillation_weight: Annotated[float, Field(ge=0, le=1)] = 0.7
    normalize: bool = True
    images: Annotated[int, Field(ge=0)] = 0


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
    amounts: dict[str, Share] = {}
    skip: Names = ()
    damping: Positive = 0.01
    images: Count = 512

    @model_validator(mode="after")
    def _one(self) -> PruneSecondOrder:
        if bool(self.amount or self.amounts) == bool(self.pattern):
            raise ValueError("give either amount (a share above 0) or pattern (as '2:4')")
        _pattern(self.pattern)
        if self.allocation == "lamp" and not self.amount:
            raise ValueError("allocation = 'lamp' goes with amount")
        return self

    def pruning(self) -> Pruning:
        """What these keys say, for ``models.pruning``, with the same share for every layer."""
        n, m = _pattern(self.pattern)
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
    block: Block = (4, 1)

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
    layer_bits: dict[str, Bits] = {}

    @model_validator(mode="after")
    def _fits(self) -> Quantize:
        _check_coding(self.weight_code, self.weight_bits)
        check_method(self.calibration)
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


class QuantizationAwareTraining(Training):
    """Training through the rounding of weights and activations, which keeps zeros. ``estimator``: straight-through with scales
    from the weights, or learned step sizes (all codes but the codebook)."""

    do: Literal["quantization_aware_training"]
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    activation_bits: Annotated[int, Field(ge=2, le=8)] = 8
    weight_code: Code = "linear"
    codebook_entries: Annotated[int, Field(ge=2, le=256)] = 16
    estimator: Literal["straight_through", "learned_step"] = "straight_through"
    layer_bits: dict[str, Annotated[int, Field(ge=2, le=8)]] = {}

    @model_validator(mode="after")
    def _fits(self) -> QuantizationAwareTraining:
        _check_coding(self.weight_code, self.weight_bits)
        if self.weight_code != "linear" and self.layer_bits:
            raise ValueError(f"layer_bits is for weight_code = 'linear', not {self.weight_code}")
        if self.weight_code == "codebook" and self.estimator == "learned_step":
            raise ValueError("a codebook has no step to learn; leave estimator = 'learned_step' out")
        return self


class Factorize(Keys):
    """Low rank: layers become two or more thinner ones. ``ranks`` by layer, else by the share of ``energy`` to keep."""

    do: Literal["factorize"]
    method: Literal["svd", "tucker", "cp"]
    energy: Annotated[float, Field(gt=0, le=1)] = 0.9
    ranks: dict[str, Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]] = {}
    layers: Names = ()

    @model_validator(mode="after")
    def _fits(self) -> Factorize:
        if self.ranks and (self.layers or "energy" in self.model_fields_set):
            raise ValueError("ranks name the layers and say how thin they get; leave energy and layers out")
        wanted = 2 if self.method == "tucker" else 1
        for name, ranks in self.ranks.items():
            if len(ranks) != wanted:
                shape = "[input rank, output rank]" if wanted == 2 else "[rank]"
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


class Recipe(Keys):
    """``steps`` in order. Where none quantizes, the network is quantized to 8 bits at the end, symmetric for each channel."""

    name: str = ""
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    step: Annotated[tuple[Step, ...], Field(strict=False, min_length=1)]


def recipe_names() -> dict[str, Path]:
    """The recipes that come with Skipstone."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of a file or of a name. Raises SkipstoneError that says which step and key is wrong."""
    path = Path(name_or_path)
    if not path.exists():
        named = recipe_names().get(str(name_or_path))
        if named is None:
            names = ", ".join(["auto", *recipe_names()])
            raise SkipstoneError(f"no file '{name_or_path}', and no recipe of that name (there are: {names})")
        path = named
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SkipstoneError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror or error}") from None
    return parse_recipe({"name": path.stem, **table}, str(path))


def parse_recipe(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values (``{"step": [{"do": "prune", "amount": 0.5}, ...]}``)."""
    try:
        return Recipe.model_validate(dict(table))
    except ValidationError as error:
        raise SkipstoneError(f"{where}: {explained(error.errors()[0], table, _kinds(), Recipe)}") from None
    except SkipstoneError as error:
        raise SkipstoneError(f"{where}: {error}") from None


def with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    """``recipe`` with another seed, checked as its own would be (None: as it is)."""
    return recipe if seed is None else parse_recipe(recipe.model_dump(exclude_unset=True) | {"seed": seed}, "--seed")


def _kinds() -> dict[str, type[Keys]]:
    union = Step.__origin__  # type: ignore[attr-defined]
    return {kind.model_fields["do"].annotation.__args__[0]: kind for kind in union.__args__}


def step_names() -> tuple[str, ...]:
    """What ``do`` may be."""
    return tuple(_kinds())
