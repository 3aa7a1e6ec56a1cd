"""A recipe: the typed list of steps that compress a network, read from TOML. Unknown keys are refused.

The steps and their keys are in ``skipstone.compress.step_keys``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from skipstone.compress.keys import Keys
from skipstone.compress.step_keys import Step
from skipstone.toml_files import file_or_carried, read_toml, validated

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
    """Loads a recipe.

    Args:
        name_or_path: The name of a recipe that comes along, or a TOML file.

    Raises:
        SkipstoneError: There is no such recipe, or a step or key is wrong; the message says which.
    """
    path = file_or_carried(name_or_path, recipe_names(), "recipe", others=["auto"])
    return parse_recipe({"name": path.stem, **read_toml(path, "recipe")}, str(path))


def parse_recipe(table: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Makes a recipe of plain values.

    Args:
        table: The values, as the TOML file has them: ``{"step": [{"do": "prune", "amount": 0.5}, ...]}``.
        where: Begins the message of an error.

    Raises:
        SkipstoneError: A step or key is wrong; the message says which.
    """
    return validated(Recipe, table, where)


def with_seed(recipe: Recipe, seed: int | None) -> Recipe:
    """A recipe with another seed, checked as its own would be.

    Args:
        recipe: The recipe.
        seed: The seed; None leaves the recipe as it is.

    Raises:
        SkipstoneError: The seed is out of range.
    """
    return (
        recipe if seed is None else parse_recipe(recipe.model_dump(exclude_unset=True) | {"seed": seed}, f"seed {seed}")
    )


def step_kinds() -> dict[str, type[Keys]]:
    """The class of each step's keys, by what ``do`` says."""
    union = Step.__origin__  # type: ignore[attr-defined]
    return {kind.model_fields["do"].annotation.__args__[0]: kind for kind in union.__args__}
