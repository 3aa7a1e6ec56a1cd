"""TOML files in and out: designs, recipes, search spaces, technologies and tables are all read and refused here.

A file is read, then validated into a pydantic model or a dataclass. What is wrong is one message: where, what, and what would do.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from skipstone.errors import SkipstoneError
from skipstone.input_files import check_values, read_text, shortened

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

T = TypeVar("T")
Place = tuple[int | str, ...]

LARGEST_FILE = 1 << 20
"""Bytes of the largest TOML file that is read."""
MOST_MISTAKES = 20
"""Mistakes of a file, and keys of one mistake, that are told; how many there are besides is told too."""
LONGEST_MISTAKE = 600
"""Characters of a mistake's text; what is longer loses its middle."""
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){64}""")
"""A dotted key of more than 64 parts: tomllib takes time and memory in proportion to the square of the parts."""


def read_toml(path: Path, what: str, error: type[SkipstoneError] = SkipstoneError) -> dict[str, Any]:
    """The values of a TOML file.

    Args:
        path: The file.
        what: What the file is, as "design file"; messages begin with it.
        error: What to raise.

    Raises:
        SkipstoneError: It is missing or a folder, can't be read, is too large, is not UTF-8, is not TOML, or holds numbers
            or levels of tables that are beyond all measure.
    """
    try:
        text = read_text(path, f"{what} {path}", error, LARGEST_FILE)
    except UnicodeDecodeError:
        raise error(f"{what} {path} is not text") from None
    except OSError as failure:
        raise error(f"can't read {what} {path}: {failure.strerror or failure}") from None
    return parse_toml(text, f"{what} {path}", error)


def parse_toml(text: str, where: str, error: type[SkipstoneError] = SkipstoneError) -> dict[str, Any]:
    """The values of a TOML file's ``text``; ``where`` begins the message of an ``error``."""
    if _LONG_KEY.search(text):
        raise error(f"{where} is not TOML: it is nested too deeply, by a key of more than 64 parts")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise error(f"{where} is not TOML: {failure}") from None
    except RecursionError:
        raise error(f"{where} is not TOML: it is nested too deeply") from None
    except ValueError:  # an integer of more digits than Python reads
        raise error(f"{where} holds an integer of more than 64 bits") from None
    check_values(values, where, error, infinite=True)
    return values


def file_or_carried(
    name_or_path: str | Path, carried: Mapping[str, Path], what: str, others: Sequence[str] = ()
) -> Path:
    """The path of a file, or of one that comes with Skipstone.

    Args:
        name_or_path: A file, which goes first, or one of the names.
        carried: Names to paths.
        what: What the file is, as "recipe".
        others: Names that mean something elsewhere, for the message.

    Raises:
        SkipstoneError: There is neither.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_file() or (path.exists() and name not in carried):
        return path
    if name not in carried:
        names = [*others, *carried]
        near = _nearest(name, names)
        raise SkipstoneError(
            f"no {what} file '{name}', and no {what} of that name (there are: {', '.join(names)})"
            + (f"; do you mean '{near}'?" if near else "")
        )
    return carried[name]


def toml_text(values: Mapping[str, Any]) -> str:
    """The text of a TOML file with ``values``, in their order."""
    import tomli_w

    return tomli_w.dumps(values)


def validated(kind: type[T], values: Mapping[str, Any], where: str, error: type[SkipstoneError] = SkipstoneError) -> T:
    """``values`` as an object of ``kind``, every key checked.

    Args:
        kind: A pydantic model, or a dataclass of plain fields, whose own checks run too.
        values: What the file holds.
        where: The file, which begins the message.
        error: What to raise.

    Raises:
        SkipstoneError: Keys are unknown, missing or wrong; the message names them all.
    """
    from pydantic import BaseModel, ValidationError

    model: type[BaseModel] = kind if issubclass(kind, BaseModel) else _model_of(cast(Hashable, kind))
    try:
        checked = model.model_validate(dict(values))
        if isinstance(checked, kind):
            return checked
        return kind(**{name: getattr(checked, name) for name in checked.model_fields_set})
    except ValidationError as failure:
        raise error(f"{where}: {_explained(failure, model)}") from None
    except SkipstoneError as failure:
        raise error(f"{where}: {failure}") from None


@cache
def _model_of(kind: Any) -> type[BaseModel]:
    """A model with the fields of a dataclass."""
    from pydantic import ConfigDict, create_model

    types_of = typing.get_type_hints(kind)
    fields: dict[str, Any] = {
        field.name: (types_of[field.name], ... if field.default is dataclasses.MISSING else field.default)
        for field in dataclasses.fields(kind)
    }
    return create_model(kind.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


# Mistakes in words ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Location:
    """Where a mistake is: in words, as "[frequency] " or "step 1 (prune): "; the model of that table; the path from there on."""

    prefix: str
    model: type[BaseModel]
    inner: Place


def _explained(failure: ValidationError, model: type[BaseModel]) -> str:
    """All mistakes; those of one table that are of one kind go together."""
    mistakes: dict[tuple[object, ...], ErrorDetails] = {}
    keys: dict[tuple[object, ...], list[str]] = {}
    locations: dict[tuple[object, ...], _Location] = {}
    errors = failure.errors(include_url=False)
    outer = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    for number, error in enumerate(errors):
        if error["loc"] in outer:
            continue  # a list is too short for pydantic where what is in it is wrong
        location = _located(error["loc"], model)
        key = str(location.inner[0]) if location.inner else ""
        together: tuple[object, ...] = (number,)
        if len(location.inner) == 1 and error["type"] in ("missing", "extra_forbidden"):
            if error["type"] == "missing" and _is_table(location.model, key):
                together = (error["type"], location.prefix, key)
            else:
                together = (error["type"], location.prefix)
        keys.setdefault(together, []).append(key)
        locations[together] = location
        mistakes[together] = error
    told = [
        shortened(locations[each].prefix + _message(mistakes[each], locations[each], keys[each]), LONGEST_MISTAKE)
        for each in list(mistakes)[:MOST_MISTAKES]
    ]
    more = len(mistakes) - len(told)
    return "; ".join(told) + (f"; and {more:,} more mistakes" if more else "")


def _located(place: Place, model: type[BaseModel]) -> _Location:
    """Follows ``place`` through tables and lists of tables as far as there are any."""
    prefix, inner = "", place
    while inner and (models := _tables(model, str(inner[0]))):
        key, rest = str(inner[0]), inner[1:]
        if not rest:
            break
        if isinstance(rest[0], int):
            number, rest = rest[0] + 1, rest[1:]
            if len(models) > 1 and rest:  # pydantic names the kind by its tag
                model, tag, rest = models[str(rest[0])], f" ({rest[0]})", rest[1:]
            elif len(models) > 1:
                return _Location(f"{key} {number}: ", model, ())
            else:
                model, tag = next(iter(models.values())), ""
            prefix, inner = f"{key} {number}{tag}: ", rest
        else:
            model, prefix, inner = next(iter(models.values())), f"[{key}] ", rest
    return _Location(prefix, model, inner)


def _message(error: ErrorDetails, location: _Location, keys: Sequence[str]) -> str:
    """What is wrong and what would do; ``keys``: those of this kind of mistake in this table."""
    context, value, model = error.get("ctx", {}), error["input"], location.model
    key = keys[-1]
    inner = "".join(f" {part + 1}" if isinstance(part, int) else f" of '{part}'" for part in location.inner[1:])
    array = location.prefix.partition(" ")[0]
    match error["type"]:
        case "extra_forbidden":
            fields = _keys_of(model)
            named = ", ".join(f"'{name}'{_suggestion(name, fields)}" for name in keys[:MOST_MISTAKES])
            named += f" and {len(keys) - MOST_MISTAKES:,} more" if len(keys) > MOST_MISTAKES else ""
            return f"unknown key{'s' * (len(keys) > 1)} {named}; it takes {', '.join(fields) or 'no keys'}"
        case "union_tag_invalid":
            tags = list(_tables(model, array))
            tag = str(context["tag"])
            return f"there is no {array} '{tag}'{_suggestion(tag, tags)}; the {array}s are {', '.join(tags)}"
        case "union_tag_not_found":
            tag = str(context["discriminator"]).strip("'")
            return f"it has no key '{tag}', which says what the {array} does: {', '.join(_tables(model, array))}"
        case "missing" | "too_short" if not inner and _is_table(model, key):
            return f"there is no [[{key}]]" if _is_list(model, key) else f"there is no [{key}]"
        case "missing" if not inner:
            named = ", ".join(f"'{name}'" for name in keys)
            return f"keys {named} are missing" if len(keys) > 1 else f"key {named} is missing"
        case "missing":
            return f"{key}: too few values"
        case "value_error":
            return f"{key} {context['error']}" if key else str(context["error"])
        case "string_too_short":
            return f"{key}{inner} must not be empty"
        case "model_attributes_type" | "model_type" | "dict_type" if not key:
            return f"it must be a table of keys, not {value!r}"
        case "tuple_type" | "list_type" if _is_table(model, key):
            return f"{key} must be written as [[{key}]], each with its keys below, not {value!r}"
    text = f"{key}{inner} must be {_requirement(error['type'], context, error['msg'])}, not {value!r}"
    if error["type"] == "literal_error" and isinstance(value, str):
        text += _suggestion(value, re.findall(r"'([^']*)'", context["expected"]))
    return text


def _requirement(kind: str, context: Mapping[str, Any], otherwise: str) -> str:
    """What would have done, for pydantic's kinds of mistakes."""
    match kind:
        case "int_type":
            return "a whole number"
        case "float_type":
            return "a number"
        case "finite_number":
            return "a finite number"
        case "bool_type":
            return "true or false"
        case "string_type":
            return "text in quotes"
        case "tuple_type" | "list_type":
            return "a list, as [1, 2]"
        case "dict_type":
            return "a table, as { layer = 4 }"
        case "model_type" | "model_attributes_type":
            return "a table of keys"
        case "literal_error":
            return str(context["expected"])
        case "greater_than_equal":
            return f"at least {_number(context['ge'])}"
        case "greater_than":
            return f"above {_number(context['gt'])}"
        case "less_than_equal":
            return f"at most {_number(context['le'])}"
        case "less_than":
            return f"below {_number(context['lt'])}"
        case "too_short":
            return f"a list of at least {context['min_length']}"
        case "too_long":
            return f"a list of at most {context['max_length']}"
    return otherwise


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _suggestion(name: str, names: Sequence[str]) -> str:
    """The one of ``names`` that is nearly ``name`` as a question in parentheses, or nothing."""
    near = _nearest(name, names)
    return f" (do you mean '{near}'?)" if near else ""


def _nearest(name: str, names: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.65)
    return near[0] if near else None


# Models --------------------------------------------------------------------------------------------------------------


def _keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a table takes, without the one that only says which kind of table it is."""
    return [name for name, field in model.model_fields.items() if not _tag(field.annotation)]


def _is_table(model: type[BaseModel], key: str) -> bool:
    """Whether ``key`` is a table or a list of tables."""
    return bool(_tables(model, key))


def _is_list(model: type[BaseModel], key: str) -> bool:
    """Whether ``key`` is a list."""
    return typing.get_origin(model.model_fields[key].annotation) in (tuple, list)


@cache
def _tables(model: type[BaseModel], key: str) -> Mapping[str, type[BaseModel]]:
    """The models that ``key`` can hold, as a table or in a list: by their tag, or one by its name. Empty for plain values."""
    field = model.model_fields.get(key)
    return {} if field is None else {_tag_of(each): each for each in _models_in(field.annotation)}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _models_in(arguments[0])
    if origin in (tuple, list, typing.Union, types.UnionType):
        return [model for argument in arguments for model in _models_in(argument)]
    return []


def _tag_of(model: type[BaseModel]) -> str:
    tags = [tag for field in model.model_fields.values() if (tag := _tag(field.annotation))]
    return tags[0] if tags else model.__name__


def _tag(annotation: Any) -> str:
    """The only value of a literal, by which a table says of which kind it is; nothing for any other type."""
    if typing.get_origin(annotation) is typing.Literal and len(typing.get_args(annotation)) == 1:
        return str(typing.get_args(annotation)[0])
    return ""
