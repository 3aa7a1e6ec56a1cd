"""What is wrong with a recipe, in words: pydantic finds the mistake, this says where it is, what it is and what would do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def explained(
    error: ErrorDetails, table: Mapping[str, Any], steps: Mapping[str, type[BaseModel]], recipe: type[BaseModel]
) -> str:
    """A mistake in a recipe's ``table`` in words. ``steps``: the class of each step's keys; ``recipe``: that of the others."""
    place = error["loc"]
    where, kind, rest = "", recipe, place
    if place[:1] == ("step",) and len(place) > 1:
        found, number = table["step"], int(place[1])
        do = found[number].get("do") if isinstance(found[number], dict) else None
        known = steps.get(do) if isinstance(do, str) else None
        where = f"step {number + 1}" + (f" ({do})" if known else "") + ": "
        kind, rest = known or recipe, place[3:]
    key = str(rest[0]) if rest else ""
    inner = "".join(f" {part + 1}" if isinstance(part, int) else f" of '{part}'" for part in rest[1:])
    return where + _complaint(error, key, inner, kind, steps)


def _complaint(error: ErrorDetails, key: str, inner: str, kind: type[BaseModel], steps: Collection[str]) -> str:
    bounds, value = error.get("ctx", {}), error["input"]
    match error["type"]:
        case "extra_forbidden":
            keys = ", ".join(name for name in kind.model_fields if name != "do") or "no keys"
            return f"unknown key '{key}'; it takes {keys}"
        case "union_tag_invalid":
            return f"there is no step '{bounds['tag']}'; the steps are {', '.join(steps)}"
        case "union_tag_not_found":
            return f"it has no key 'do', which says what the step does: {', '.join(steps)}"
        case "missing" if key == "step":
            return "it has no [[step]]"
        case "missing" if not inner:
            return f"key '{key}' is missing"
        case "missing":
            return f"{key}: too few values"
        case "value_error":
            return str(bounds["error"])
        case "too_short" if key == "step":
            return "it has no [[step]]"
        case "tuple_type" if key == "step":
            return "steps are written as [[step]], each with its keys below"
        case "model_attributes_type" | "model_type" | "dict_type" if not key:
            return f"a step is a table of keys, not {value!r}"
    return f"{key}{inner} must be {_wanted(error['type'], bounds)}, not {value!r}"


def _wanted(kind: str, bounds: Mapping[str, Any]) -> str:
    """What would have done, for pydantic's kinds of mistakes."""
    match kind:
        case "int_type":
            return "a whole number"
        case "float_type" | "finite_number":
            return "a number"
        case "bool_type":
            return "true or false"
        case "string_type":
            return "text in quotes"
        case "tuple_type":
            return "a list, as [1, 2]"
        case "dict_type":
            return "a table, as { layer = 4 }"
        case "literal_error":
            return f"one of {bounds['expected']}"
        case "greater_than_equal":
            return f"at least {bounds['ge']:g}"
        case "greater_than":
            return f"above {bounds['gt']:g}"
        case "less_than_equal":
            return f"at most {bounds['le']:g}"
        case "less_than":
            return f"below {bounds['lt']:g}"
        case "too_short":
            return f"a list of at least {bounds['min_length']}"
        case "too_long":
            return f"a list of at most {bounds['max_length']}"
        case _:
            return kind.replace("_", " ")
