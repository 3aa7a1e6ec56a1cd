"""A recipe: the typed list of steps that compress a network, read from TOML. Unknown keys are refused.

The steps and their keys are in ``skipstone.compress.step_keys``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from skipstone.compress.keys import Keys
from skipstone.compress.mistakes import explained
from skipstone.compress.step_keys import Step
from skipstone.errors import SkipstoneError

FOLDER = Path(__file__).parent / "recipes"


class Recipe(Keys):
    """``steps`` in order. Where none quantizes, the network is quantized to 8 bits at the end, symmetric for each channel.
    ``held_back`` training images neither train nor calibrate."""

    name: str = ""
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    held_back: Annotated[int, Field(ge=0)] = 0
    step: Annotated[tuple[Step, ...], Field(strict=False, min_length=1)]


def recipe_names() -> dict[str, Path]:
    """The recipes that come with Skipstone."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def load_recipe(name_or_path: str | Path) -> Recipe:
    """The recipe of a file or of a name. Raises SkipstoneError that says which step and key is wrong."""
    path = Path(name_or_path)
    if not path.is_file() and (str(name_or_path) in recipe_names() or not path.exists()):
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
