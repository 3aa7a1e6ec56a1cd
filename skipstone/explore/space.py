"""The joint search space of an exploration: choices of design parameters and of compression, from a TOML file.

A space file has ``[design]`` and ``[compression]``; every key is a list of choices, and every choice is checked here by its key's
name. What a combination of choices becomes is ``skipstone.explore.evaluate``'s.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from skipstone.errors import SkipstoneError
from skipstone.hw.design import CHOICES, RANGES
from skipstone.models.pruning import spec
from skipstone.models.quantization.scheme import parse_weight_code
from skipstone.toml_files import file_or_carried, read_toml, validated

FOLDER = Path(__file__).parent / "spaces"
DEFAULT = "default"
GIVEN = "given"
"""The choice of ``network`` that stands for the explored network itself; the others are compressed already."""
FITTED = "fitted"
"""The size of a memory that holds what the network needs: the next power of two."""
LAYER = "prune:"
"""What stands before a layer's name in the parameter of its own pruning."""
MEMORIES = ("activation_words", "weight_entries", "load_entries", "parameter_words", "layers")
CRITERIA = ("auto", "second_order", "magnitude")
"""By what ``unstructured`` and N:M choose. ``auto``: second order where there are calibration images, else magnitude."""
STORED = ("prune", "criterion", "weight_bits", "activation_bits", "weight_code")
"""Parameters that say nothing of a network that is compressed already."""

Choice = str | int | float


@dataclass(frozen=True)
class SearchSpace:
    """``design`` and ``compression``: parameter to choices. ``layers``: patterns of layer names to the pruning choices of each
    layer that matches; :meth:`for_layers` makes them parameters. ``name`` is the file's."""

    name: str
    design: Mapping[str, tuple[Choice, ...]]
    compression: Mapping[str, tuple[Choice, ...]]
    layers: Mapping[str, tuple[str, ...]]

    @property
    def parameters(self) -> dict[str, tuple[Choice, ...]]:
        """Every parameter with its choices, also those that have one choice only."""
        single = {LAYER + name: choices for name, choices in self.layers.items()}
        return {**self.design, **self.compression, **single}

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(len(choices) for choices in self.parameters.values())

    @property
    def digest(self) -> str:
        """Names equal spaces equally, whatever their files are called and in whichever order their keys stand."""
        return hashlib.sha256(repr(sorted(self.parameters.items())).encode()).hexdigest()[:12]

    def for_layers(self, names: Iterable[str]) -> SearchSpace:
        """The space for a network: each layer that a pattern matches has a parameter ``prune:LAYER``.

        Args:
            names: The network's layers. Of several patterns that match one, the first counts.

        Raises:
            SkipstoneError: A pattern matches none.
        """
        layer_names = tuple(names)
        matches: dict[str, tuple[str, ...]] = {}
        for pattern, choices in self.layers.items():
            matching = [name for name in layer_names if name == pattern or fnmatchcase(name, pattern)]
            if not matching:
                raise SkipstoneError(
                    f"{self.name}: compression.layers '{pattern}' matches no layer of the network; it has "
                    f"{', '.join(layer_names)}"
                )
            for name in matching:
                matches.setdefault(name, choices)
        return replace(self, layers={name: matches[name] for name in layer_names if name in matches})

    def canonical(self, choice: Mapping[str, Choice]) -> dict[str, Choice]:
        """The representative of all choices that mean the same point.

        A parameter that means nothing beside the others, or the same, gets the first of its choices.
        """
        result = dict(choice)

        def free(*names: str) -> None:
            for name in names:
                if name in result:
                    result[name] = self.parameters[name][0]

        if result.get("network", GIVEN) != GIVEN:
            free(*STORED, *(name for name in result if name.startswith(LAYER)))
        elif all(result[name] == "none" for name in result if name == "prune" or name.startswith(LAYER)):
            free("criterion")
        if result.get("weight_code") in ("ternary", "binary"):
            free("weight_bits")
        if result.get("index_coding", "absolute") == "absolute":
            free("delta_bits")
        if {"requantizer_lanes", "load_width"} <= result.keys():
            width = int(result["load_width"])
            lanes = divisor(width, int(result["requantizer_lanes"]))
            same = [each for each in self.parameters["requantizer_lanes"] if divisor(width, int(each)) == lanes]
            result["requantizer_lanes"] = same[0]
        return result


def divisor(width: int, most: int) -> int:
    """The largest divisor of ``width`` that is at most ``most``."""
    return max(each for each in range(1, min(width, most) + 1) if width % each == 0)


def carried_spaces() -> dict[str, Path]:
    """The spaces that come with Skipstone, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_space(name_or_path: str | Path | None = None) -> SearchSpace:
    """Loads a search space.

    Args:
        name_or_path: The name of a space that comes along, or a TOML file. None: the default one.

    Raises:
        SkipstoneError: There is no such space, or a key is wrong; the message says which.
    """
    path = file_or_carried(DEFAULT if name_or_path is None else name_or_path, carried_spaces(), "search space")
    return parse_space(read_toml(path, "search space"), str(path))


def parse_space(tables: Mapping[str, Any], where: str = "search space") -> SearchSpace:
    """Makes a search space of plain values.

    Args:
        tables: The values, as the TOML file has them.
        where: Begins the message of an error.

    Raises:
        SkipstoneError: A key is wrong; the message says which.
    """
    file = validated(_File, tables, where)
    design = file.design.model_dump(exclude_none=True)
    if ("slots" in design) == ("window_depth" in design):
        raise SkipstoneError(f"{where}: [design] needs either slots (words of a window) or window_depth (activations)")
    compression = file.compression.model_dump(exclude_none=True, exclude={"layers", "networks"})
    networks = file.compression.networks or ()
    if networks:
        compression = {"network": tuple(dict.fromkeys((GIVEN, *networks))), **compression}
    return SearchSpace(where, design, compression, file.compression.layers)


# The file's keys -----------------------------------------------------------------------------------------------------


def _whole(low: int, high: int) -> tuple[str, Callable[[Any], bool]]:
    return f"whole numbers from {low:,} to {high:,}", lambda value: type(value) is int and low <= value <= high


def _words(words: tuple[str, ...]) -> tuple[str, Callable[[Any], bool]]:
    return " or ".join(words), lambda value: value in words


_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **{name: _whole(*limits) for name, limits in RANGES.items()},
    **{name: _words(words) for name, words in CHOICES.items()},
    "slots": _whole(*RANGES["window_depth"]),
    "frequency_mhz": ("numbers above 0", lambda value: type(value) in (int, float) and 0 < value < math.inf),
    "node_nm": _whole(1, 1000),
    "criterion": _words(CRITERIA),
    **dict.fromkeys(("prune", "networks", "weight_code"), ("texts", lambda value: isinstance(value, str))),
}
"""What the choices of each key are, in words, and whether a value is one."""


def parse_choices(key: str, text: str) -> tuple[Choice, ...]:
    """Choices of a parameter from a text with commas between them.

    Args:
        key: A key of a space file, or ``prune:LAYER``.
        text: As ``4,8,16`` or ``none,2:4``.

    Raises:
        SkipstoneError: A choice is none of the parameter's.
    """
    kind = "prune" if key.startswith(LAYER) else key
    texts = [each.strip() for each in text.split(",")]
    try:
        return _listed(kind, [_number(each) for each in texts], fitted=False)
    except ValueError as error:
        raise SkipstoneError(f"{key} {error}") from None


def _number(text: str) -> Choice:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def _listed(key: str, value: Any, *, fitted: bool = True) -> tuple[Any, ...]:
    """A list of different choices of ``key``."""
    fitted &= key in MEMORIES
    if fitted and value in (FITTED, [FITTED]):
        return (FITTED,)
    meaning, fits = _KINDS[key]
    if not isinstance(value, list | tuple) or not value or not all(fits(each) for each in value):
        raise ValueError(f"must be a list of {meaning}{f', or {FITTED!r}' * fitted}, not {value!r}")
    if len(set(value)) < len(value):
        raise ValueError(f"has a choice twice: {value!r}")
    if key in ("prune", "weight_code"):
        for text in value:
            _check_method(key, text)
    return tuple(value)


def _check_method(key: str, text: str) -> None:
    try:
        if key == "prune":
            spec.parse(text)
        else:
            parse_weight_code(text)
    except SkipstoneError as error:
        raise ValueError(f"has '{text}': {error}") from None


class _DesignKeys(BaseModel):
    rows: tuple[int, ...]
    cols: tuple[int, ...]
    load_width: tuple[int, ...]
    slots: tuple[int, ...] | None = None
    window_depth: tuple[int, ...] | None = None
    windows: tuple[int, ...]
    accumulators: tuple[int, ...]
    requantizer_lanes: tuple[int, ...]
    accumulator_bits: tuple[int, ...] | None = None
    reach: tuple[int, ...] | None = None
    leave_bits: tuple[int, ...] | None = None
    index_coding: tuple[str, ...] | None = None
    delta_bits: tuple[int, ...] | None = None
    activation_words: tuple[int | str, ...] | None = None
    weight_entries: tuple[int | str, ...] | None = None
    load_entries: tuple[int | str, ...] | None = None
    parameter_words: tuple[int | str, ...] | None = None
    layers: tuple[int | str, ...] | None = None
    max_stride: tuple[int, ...] | None = None
    max_dimension: tuple[int, ...] | None = None
    frequency_mhz: tuple[int | float, ...] | None = None
    node_nm: tuple[int, ...] | None = None

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _choices(cls, value: Any, info: ValidationInfo) -> Any:
        return _listed(str(info.field_name), value)


class _CompressionKeys(BaseModel):
    networks: tuple[str, ...] | None = None
    prune: tuple[str, ...] | None = None
    criterion: tuple[str, ...] | None = None
    weight_bits: tuple[int, ...] | None = None
    activation_bits: tuple[int, ...] | None = None
    weight_code: tuple[str, ...] | None = None
    layers: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _choices(cls, value: Any, info: ValidationInfo) -> Any:
        return _of_layers(value) if info.field_name == "layers" else _listed(str(info.field_name), value)


class _File(BaseModel):
    description: str = ""
    design: _DesignKeys
    compression: _CompressionKeys = Field(default_factory=_CompressionKeys)

    model_config = ConfigDict(extra="forbid", frozen=True)


def _of_layers(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise ValueError(f"must be a table of layers (names or patterns) to lists of pruning methods, not {value!r}")
    result = {}
    for name, choices in value.items():
        try:
            result[name] = _listed("prune", choices)
        except ValueError as error:
            raise ValueError(f"'{name}' {error}") from None
        for text in result[name]:
            pruning = spec.parse(text)
            if pruning is not None and pruning.scope == "network":
                raise ValueError(f"'{name}' has '{text}', which shares out zeros among layers: one by itself can't")
    return result
