"""What a recipe's steps have in common: types of values, what is pruned, how it trains. All fixed once read, no unknown keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from skipstone.models.data.augmentation import Augmentation
from skipstone.models.pruning.criteria import CRITERIA
from skipstone.models.pruning.masks import Pruning

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
BlockShape = Annotated[tuple[Count, Count], Field(strict=False)]
Code = Literal["linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook"]


def parsed_pattern(text: str) -> tuple[int, int]:
    """N and M of a pattern ``"N:M"``; 0 and 0 of an empty text.

    Raises:
        ValueError: It is no such pattern, or N is not 1 to M.
    """
    n, colon, m = text.partition(":")
    if text and (not colon or not n.isdecimal() or not m.isdecimal() or not 1 <= int(n) <= int(m)):
        raise ValueError(f"pattern must be N:M with N from 1 to M (as '2:4'), not '{text}'")
    return (int(n), int(m)) if text else (0, 0)


def check_power_of_two_bits(code: Code, bits: int) -> None:
    """Refuses powers of two that no shift multiplier of ours takes.

    Raises:
        ValueError: The code is a power of two, and there are more than 5 bits.
    """
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
    block: BlockShape = (4, 1)
    criterion: Criterion = "l1"
    scope: Literal["layer", "network", "output"] = "layer"
    amounts: dict[str, Share] = Field(default_factory=dict)
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
        """What these keys say, for ``skipstone.models.pruning``, which refuses what does not go together."""
        n, m = parsed_pattern(self.pattern)
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
    """How a training step trains (see ``skipstone.models.training.loop.TrainingOptions``). ``shift`` and ``flip`` stand in
    place of what the data set says of its augmentation."""

    epochs: Count = 5
    learning_rate: Positive = 0.02
    batch: Count = 128
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    label_smoothing: Share = 0.0
    warmup: Share = 0.1
    shift: Annotated[int, Field(ge=0)] | None = None
    flip: bool | None = None
    distillation: Literal["none", "labels", "teacher"] = "none"
    temperature: Positive = 4.0
    distillation_weight: Annotated[float, Field(ge=0, le=1)] = 0.7
    normalize: bool = True
    images: Annotated[int, Field(ge=0)] = 0

    def augmentation(self, of_data: Augmentation) -> Augmentation:
        """How images are varied: as the keys say, else as the data set does (``of_data``)."""
        return Augmentation(
            shift=of_data.shift if self.shift is None else self.shift,
            flip=of_data.flip if self.flip is None else self.flip,
        )
