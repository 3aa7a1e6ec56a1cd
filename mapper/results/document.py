"""Results as JSON files with a header: kind, version of the fields, version of Skipstone, and then the values.

Every result that a command writes derives from :class:`Document`. Reading checks the kind and the version before
anything else, and returns a result that is equal to the one that was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from skipstone.errors import ResultError
from skipstone.input_files import check_values, read_text, shortened

if TYPE_CHECKING:
    from pydantic import TypeAdapter

KINDS = {
    "characterization": "tables of a characterization (characterize --json)",
    "comparison": "a comparison (compare --json)",
    "compression": "a compression's result (compression.json, compress --json)",
    "dram": "a table of DRAM devices (dram_energydram.json)",
    "exploration": "an exploration's result (exploration.json, explore --json)",
    "fpga": "a model of FPGA resources (fpga.json of characterize)",
    "gateware": "a characterization of the gateware (gateware_LIBRARY.json of characterize)",
    "network": "a network's result (run --json, verify --json)",
    "program": "a program (program.json of export)",
    "sensitivity": "a sensitivity (sensitivity.json, sensitivity --json)",
    "sram": "a memory table (sram_cacti7.json of characterize)",
    "sweep": "a sweep's result (sweep.json, sweep --json)",
    "trace": "what is said of a trace (otherData of trace.json)",
}
"""Each kind of file, and the command that writes it."""

HEADER = ("kind", "schema", "skipstone")
"""The keys at the beginning of every file: its kind, the version of its fields, and the version of Skipstone."""


LARGEST_FILE = 64 << 20
"""Bytes of the largest file that is read."""

Number = int | float
"""A figure, as an integer where it was computed as one, so that reading and writing a file does not change its text."""


class Document:
    """A frozen dataclass that is written as a JSON file of its own kind."""

    KIND: ClassVar[str]
    """One of ``KINDS``."""
    SCHEMA: ClassVar[int]
    """The version of the fields, raised with every change of them. Files of other versions are refused."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the header, all fields, and what is computed from them."""
        header = dict(zip(HEADER, (self.KIND, self.SCHEMA, metadata.version("skipstone")), strict=True))
        return {**header, **plain(_adapter(type(self)).dump_python(self))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads the values of :meth:`to_dict`, also after JSON.

        Raises:
            ResultError: The values are of another kind, of another version, or damaged.
        """
        from pydantic import ValidationError

        _check_header(values, cls.KIND, cls.SCHEMA)
        fields = {name: value for name, value in values.items() if name not in HEADER}
        try:
            result: Self = _adapter(cls).validate_python(fields)
            again = {name: value for name, value in result.to_dict().items() if name not in HEADER}
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ResultError(f"damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ArithmeticError as error:  # of a figure that is computed from others
            raise ResultError(f"damaged: its figures contradict each other ({error})") from None
        if different := [name for name in {**fields, **again} if not _equal(again.get(name), plain(fields.get(name)))]:
            raise ResultError(f"damaged: {shortened(', '.join(different), 200)}: not as it was written")
        return result

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a file that a command wrote.

        Raises:
            ResultError: The file is too large, not JSON, of another kind, of another version, or damaged; the message names
                it.
            OSError: The file cannot be read.
        """
        try:
            text = read_text(path, str(path), ResultError, LARGEST_FILE)
        except UnicodeDecodeError as error:
            raise ResultError(f"{path} is not JSON: {error}") from None
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, where: str) -> Self:
        """Reads the text of a file that a command wrote.

        Args:
            text: The JSON text.
            where: The file's name, for messages.

        Raises:
            ResultError: The text is not JSON, of another kind, of another version, or damaged; the message names the
                file.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise ResultError(f"{where} is not JSON: {error}") from None
        except RecursionError:
            raise ResultError(f"{where} is not JSON: it is nested too deeply") from None
        except ValueError:  # an integer of more digits than Python reads
            raise ResultError(
                f"{where} is not JSON as Skipstone writes it: it holds an integer of more than 64 bits"
            ) from None
        if not isinstance(values, dict):
            raise ResultError(f"{where} holds no result: it is not a JSON object")
        check_values(values, where, ResultError)
        try:
            return cls.from_dict(values)
        except ResultError as error:
            raise ResultError(f"{where}: {error}") from None


def plain(value: Any) -> Any:
    """Converts a value to what JSON can represent.

    NumPy's values become Python's, tuples become lists, and numbers that are not finite become None.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _equal(value: Any, other: Any) -> bool:
    """Whether two plain values are equal; True is not 1."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(_equal(each, other[key]) for key, each in value.items())
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(_equal, value, other))
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _adapter(kind: type[Document]) -> TypeAdapter[Any]:
    return _adapter_of(cast(Hashable, kind))


@cache
def _adapter_of(kind: Hashable) -> TypeAdapter[Any]:
    """Made when it is first needed: it takes longer than reading a file."""
    from pydantic import TypeAdapter

    return TypeAdapter(cast(Any, kind))


def _check_header(values: Mapping[str, Any], kind: str, schema: int) -> None:
    """Refuses values whose header is not that of ``kind`` and ``schema``."""
    writer, actual, version = values.get("skipstone"), values.get("kind"), values.get("schema")
    if "kind" not in values:
        if writer is not None:
            raise ResultError(f"written by another version of Skipstone ('{writer}'); make it again")
        raise ResultError(f"not {KINDS[kind]}: it has no key 'kind'; if an older Skipstone wrote it, make it again")
    if actual != kind:
        described = KINDS.get(str(actual), f"of an unknown kind, {actual!r}")
        raise ResultError(f"{described}, not {KINDS[kind]}")
    if version != schema:
        raise ResultError(
            f"written by another version of Skipstone ({writer}, schema {version!r}; this one is "
            f"{metadata.version('skipstone')}, schema {schema}); make it again"
        )
