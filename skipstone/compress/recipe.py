"""A recipe: the typed list of steps that compress a network, read from TOML. Unknown keys are refused.

Each step is a class whose fields are its keys, with the defaults that are used where a key is left out; ``do`` says which. What a
step does is in ``skipstone.compress.steps``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.errors import SkipstoneError

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
Code = Literal["linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook"]


def _check_pattern(pattern: str) -> None:
    n, colon, m = pattern.partition(":")
    if pattern and (not colon or not n.isdigit() or not m.isdigit() or not 1 <= int(n) <= int(m)):
        raise ValueError(f"pattern must be N:M with N from 1 to M (as '2:4'), not '{pattern}'")


class Keys(BaseModel):
    """What all parts of a recipe have in common: fixed once read, and no key but their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Masked(Keys):
    """What is pruned, how much, and by what criterion. ``pattern`` ("2:4") goes with ``nm``, ``block`` ([out, in]) with
    ``block``; ``amounts`` are shares of single layers in place of ``amount``, ``skip`` are layers left alone."""

    granularity: Granularity = "weight"
    amount: Share = 0.0
    pattern: str = ""
    block: tuple[Count, Count] = (4, 1)
    criterion: Criterion = "l1"
    scope: Scope = "layer"
    amounts: dict[str, Share] = {}
    skip: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Masked:
        if (self.granularity == "nm") != bool(self.pattern):
            raise ValueError("pattern (as '2:4') goes with granularity = 'nm', and only with it")
        _check_pattern(self.pattern)
        return self


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
    skip: tuple[str, ...] = ()
    damping: Positive = 0.01
    images: Count = 512

    @model_validator(mode="after")
    def _one(self) -> PruneSecondOrder:
        if bool(self.amount or self.amounts) == bool(self.pattern):
            raise ValueError("give either amount or pattern (as '2:4')")
        _check_pattern(self.pattern)
        return self


class PruneByReconstruction(Keys):
    """ThiNet: the input channels of a layer whose loss its output shows least. Calibration images alone."""

    do: Literal["prune_by_reconstruction"]
    amount: Share
    skip: tuple[str, ...] = ()
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
        return self


class RemoveBlocks(Keys):
    """Whole residual blocks or layers leave: those named, or the share ``amount`` of those that can, the least important first
    (by how much the network's answers change without each)."""

    do: Literal["remove_blocks"]
    blocks: tuple[str, ...] = ()
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
    block: tuple[Count, Count] = (4, 1)


class GradualPrune(Masked, Training):
    """Training in which ever more weights leave (Zhu and Gupta's schedule)."""

    do: Literal["gradual_prune"]
    every: Count = 50
    until: Annotated[float, Field(gt=0, le=1)] = 0.6


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


class LotteryTicket(Masked, Training):
    """Training from fresh weights, pruning, and again from where the weights were after ``rewind_epochs``."""

    do: Literal["lottery_ticket"]
    rounds: Count = 2
    rewind_epochs: Count = 1


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


class QuantizationAwareTraining(Training):
    """Training through the rounding of weights and activations, which keeps zeros. ``estimator``: straight-through with scales
    from the weights, or learned step sizes (linear codes)."""

    do: Literal["quantization_aware_training"]
    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    activation_bits: Annotated[int, Field(ge=2, le=8)] = 8
    weight_code: Code = "linear"
    codebook_entries: Annotated[int, Field(ge=2, le=256)] = 16
    estimator: Literal["straight_through", "learned_step"] = "straight_through"
    layer_bits: dict[str, Annotated[int, Field(ge=2, le=8)]] = {}


class Factorize(Keys):
    """Low rank: layers become two or more thinner ones. ``ranks`` by layer, else by the share of ``energy`` to keep."""

    do: Literal["factorize"]
    method: Literal["svd", "tucker", "cp"]
    energy: Annotated[float, Field(gt=0, le=1)] = 0.9
    ranks: dict[str, tuple[Count, ...]] = {}
    layers: tuple[str, ...] = ()


class Compact(Keys):
    """Convolutions replaced by compact ones, for a training step with a teacher to follow. ``share``: a bottleneck's channels."""

    do: Literal["compact"]
    filter: Literal["depthwise_separable", "bottleneck"]
    layers: tuple[str, ...] = ()
    share: Annotated[float, Field(gt=0, le=1)] = 0.25


class CycleAwarePrune(Keys):
    """The sparsity of each layer that costs the fewest exact cycles on the design: at the same loss as ``amount`` of every layer
    (``match = "loss"``), or the least loss in the same cycles (``match = "cycles"``).

    ``loss``: measured at the network's output on calibration images (its class probabilities' divergence, or squared error), or
    ``fisher``, estimated from gradients, which still tells layers apart where only training will bring accuracy back. ``method``:
    how a layer's weights are chosen; second order lets those that stay make up for the others."""

    do: Literal["cycle_aware_prune"]
    amount: Share
    match: Literal["loss", "cycles"] = "loss"
    loss: Literal["divergence", "output_error", "fisher"] = "divergence"
    method: Literal["magnitude", "second_order"] = "second_order"
    objective: Literal["cycles", "energy"] = "cycles"
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
    seed: int = 1
    step: Annotated[tuple[Step, ...], Field(min_length=1)]


def recipe_names() -> dict[str, Path]:
    """The recipes that come with Skipstone."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of a file or of a name. Raises SkipstoneError that says which step and key is wrong."""
    path = Path(name_or_path)
    if not path.is_file():
        named = recipe_names().get(str(name_or_path))
        if named is None:
            names = ", ".join(["auto", *recipe_names()])
            raise SkipstoneError(f"no file '{name_or_path}', and no recipe of that name (there are: {names})")
        path = named
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SkipstoneError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise SkipstoneError(f"can't read {path}: {error.strerror or error}") from None
    return parse_recipe({"name": path.stem, **table}, str(path))


def parse_recipe(table: dict[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain values (``{"step": [{"do": "prune", "amount": 0.5}, ...]}``)."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise SkipstoneError(f"{where}: {_explained(error, table)}") from None


def _explained(error: ValidationError, table: dict[str, Any]) -> str:
    """The first mistake in words: where, what, and what would do."""
    first = error.errors()[0]
    place: list[Any] = list(first["loc"])
    where, key = "", ".".join(str(part) for part in place[3:] or place[:1])
    if place[:1] == ["step"] and len(place) > 1:
        steps = table.get("step")
        do = place[2] if len(place) > 2 else None
        if do is None and isinstance(steps, list) and isinstance(steps[place[1]], dict):
            do = steps[place[1]].get("do")
        where = f"step {place[1] + 1}" + (f" ({do})" if do else "") + ": "
    match first["type"]:
        case "extra_forbidden":
            kind = _kind(str(place[2])) if len(place) > 2 else Recipe
            keys = ", ".join(name for name in kind.model_fields if name != "do") or "no keys"
            return f"{where}unknown key '{key}'; it takes {keys}"
        case "union_tag_invalid":
            return f"{where}there is no such step; the steps are {', '.join(step_names())}"
        case "union_tag_not_found":
            return f"{where}it has no key 'do', which says what the step does: {', '.join(step_names())}"
        case "missing":
            return f"{where}{'[[step]]' if key == 'step' else repr(key)} is missing"
        case "value_error":
            return f"{where}{first['msg'].removeprefix('Value error, ')}"
        case _:
            said = first["msg"][0].lower() + first["msg"][1:]
            return f"{where}{key or 'step'}: {said}, not {first['input']!r}"


def _kinds() -> dict[str, type[Keys]]:
    union = Step.__origin__  # type: ignore[attr-defined]
    return {kind.model_fields["do"].annotation.__args__[0]: kind for kind in union.__args__}


def step_names() -> tuple[str, ...]:
    """What ``do`` may be."""
    return tuple(_kinds())


def _kind(do: str) -> type[Keys]:
    return _kinds()[do]
