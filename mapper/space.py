"""The search space of an exploration: choices of design parameters and of compression, from a TOML file."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from hw.design import MAX_TABLE_BITS, Design
from hw.errors import DesignError
from mapper.errors import MappingError
from mapper.memories import COUNTED, memories_needed, memory_size
from mapper.program import Program

DESIGN_CHOICES = (
    "rows",
    "cols",
    "load_width",
    "slots",
    "windows",
    "accumulators",
    "requantizer_lanes",
    "reach",
    "leave_bits",
)
REQUIRED = DESIGN_CHOICES[:7]


@dataclass(frozen=True)
class SearchSpace:
    """``design``: parameter to choices; ``prune``: choices of METHOD:AMOUNT. ``digest`` names equal spaces equally."""

    design: dict[str, tuple[int, ...]]
    prune: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((sorted(self.design.items()), self.prune)).encode()).hexdigest()[:12]

    @property
    def size(self) -> int:
        """Number of points."""
        size = len(self.prune)
        for choices in self.design.values():
            size *= len(choices)
        return size


def load_space(path: Path | None) -> SearchSpace:
    """The space in ``path``, or the default one. Unknown keys and empty or ill-typed choices are refused."""
    if path is None:
        where, text = "default space", (resources.files("mapper") / "spaces" / "default.toml").read_text()
    else:
        where = str(path)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise MappingError(
                f"cannot read search space {path}: {getattr(error, 'strerror', None) or 'not text'}"
            ) from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{where} is not TOML: {error}") from None
    unknown = sorted(set(tables) - {"design", "compression"})
    design, compression = tables.get("design", {}), tables.get("compression", {})
    if not isinstance(design, dict) or not isinstance(compression, dict):
        raise MappingError(f"{where}: [design] and [compression] must be tables")
    unknown += [f"design.{key}" for key in sorted(set(design) - set(DESIGN_CHOICES))]
    unknown += [f"compression.{key}" for key in sorted(set(compression) - {"prune"})]
    if unknown:
        raise MappingError(
            f"{where}: unknown {', '.join(unknown)}; [design] takes {', '.join(DESIGN_CHOICES)}, [compression] takes prune"
        )
    missing = [key for key in REQUIRED if key not in design]
    if missing:
        raise MappingError(f"{where}: [design] has no {', '.join(missing)}")
    for key, choices in design.items():
        if not isinstance(choices, list) or not choices or not all(type(c) is int and c > 0 for c in choices):
            raise MappingError(f"{where}: design.{key} must be a list of positive integers, not {choices!r}")
    prune = compression.get("prune", ["none"])
    if not isinstance(prune, list) or not prune or not all(isinstance(p, str) for p in prune):
        raise MappingError(f"{where}: compression.prune must be a list of strings, not {prune!r}")
    return SearchSpace({key: tuple(design[key]) for key in DESIGN_CHOICES if key in design}, tuple(prune))


def roomy_design(choice: dict[str, int], weight_bits: int, activation_bits: int) -> Design:
    """The design of a choice with memories large enough for anything; ``fitted_design`` cuts them to size."""
    values: dict[str, Any] = {key: choice[key] for key in choice if key != "slots"}
    lanes = values["requantizer_lanes"]
    values["requantizer_lanes"] = max(d for d in range(1, lanes + 1) if values["load_width"] % d == 0)
    name = f"{choice['rows']}x{choice['cols']}-l{choice['load_width']}-w{choice['windows']}"
    return Design(
        name=name,
        window_depth=choice["slots"] * choice["load_width"],
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        accumulator_bits=max(24, weight_bits + activation_bits + 8),
        activation_words=1 << 24,
        weight_entries=1 << 24,
        load_entries=1 << 22,
        parameter_words=1 << 20,
        layers=1 << 10,
        tables=64 if activation_bits <= MAX_TABLE_BITS else 0,
        **values,
    )


def fitted_design(design: Design, program: Program) -> Design:
    """``design`` with each memory cut to the next power of two that holds ``program``."""

    try:
        needed = memories_needed(program)
        tables, _ = (needed.pop(name) for name in COUNTED)
        return design.replace(tables=tables, **{name: memory_size(need) for name, need in needed.items()})
    except DesignError as error:
        raise MappingError(f"design '{design.name}': {error}") from None
