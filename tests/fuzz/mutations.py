"""Mutations of valid files, drawn from a generator that a seed determines: of bytes, of tokens, of values, of messages."""

from __future__ import annotations

import copy
import io
import json
import random
import re
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import onnx

Random = random.Random

BYTES = [
    b"",
    b"\0",
    b"\xff",
    b"\x80",
    b"\0" * 64,
    b"\xff" * 8,
    b"[" * 3000,
    b"{" * 3000,
    b"\xed\xa0\x80",
    b"\x1b[2J",
    b"\n",
]
INTEGERS = [0, 1, -1, 2, 7, 127, 255, 256, 65535, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1, -(2**63)]
HUGE = [2**63, 2**64, -(2**70), 10**30, 10**400]
FLOATS = [0.0, -0.0, 0.5, -1.5, 1e-300, 5e-324, 1e18, 1e300, -1e308, float("nan"), float("inf"), float("-inf")]
TEXTS = [
    "",
    "\0",
    "a" * 5000,
    "\ud800",
    "<script>",
    "../../etc/passwd",
    "\x1b[31m",
    "ünïcödé 𝄞",
    "nan",
    "1e999",
    "none",
    "/dev/zero",
]
TOKENS = [
    "[", "]", "{", "}", "=", ".", ",", '"', "'", '"""', "#", "\n", "nan", "inf", "-inf", "true", "null", "1e999", "1979-05-27",
    "0x" + "f" * 5000, "9" * 5000, "[" * 3000, "{a=" * 3000, "a." * 3000, "-", "NaN", "Infinity", "\\ud800", "0o7", "[[a]]",
    "1_0",
]  # fmt: skip
SHAPES = [
    "()", "(0,)", "(-1,)", "(True, 2)", "(2**64,)", "(18446744073709551616,)", "(3, 2, 9, 7)", "(1.5,)",
    "(None,)", "'ab'", "((2,),)",
    "(4294967296, 4294967296, 4294967296)", "(1000000000000,)", "(" * 300, "(" + "1," * 70 + ")",
    "__import__('os')", "(0, 9223372036854775807)",
]  # fmt: skip
TYPES = [
    "'<f4'", "'<f8'", "'>f2'", "'<f16'", "'|O'", "'<U99999999'", "'|V0'", "'<M8[ns]'", "'<i8'", "'<c8'", "'|b1'",
    "''", "'<f3'", "'|S0'",
    "[('a', '<f4'), ('a', '<f4')]", "[('a', '<f4', (9999999,))]", "1", "None", "'<f4,<f4'", "'(2,)<f4'",
]  # fmt: skip


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Flips, cuts, repeats, swaps or puts in bytes, in one to four places."""
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place, length = rng.randrange(len(result) + 1), rng.choice((1, 1, 2, 4, 8, 64, 1024))
        match rng.randrange(7):
            case 0 | 1 if result:
                result[place % len(result)] ^= 1 << rng.randrange(8)
            case 2:
                result[place : place + length] = rng.choice(BYTES)
            case 3:
                result[place:place] = rng.randbytes(length)
            case 4:
                del result[place : place + length]
            case 5:
                result[place:place] = result[place : place + length]
            case 6 if rng.random() < 0.3:
                del result[place:]
    return bytes(result)


def mutate_text(content: bytes, rng: Random) -> bytes:
    """Swaps, repeats, drops or puts in tokens."""
    tokens = re.findall(r"\w+|\s+|.", content.decode("utf-8", "replace"))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(tokens))
        match rng.randrange(4):
            case 0:
                tokens[place] = rng.choice(TOKENS)
            case 1:
                tokens[place] = rng.choice(tokens)
            case 2:
                tokens.insert(place, rng.choice(TOKENS))
            case 3:
                del tokens[place : place + rng.choice((1, 2, 20))]
        tokens = tokens or [""]
    return "".join(tokens).encode("utf-8", "surrogatepass")


def odd_value(rng: Random, value: Any) -> Any:
    """A value of any type in the place of ``value``."""
    match rng.randrange(8):
        case 0 if isinstance(value, int | float) and not isinstance(value, bool):
            return rng.choice((-value, value * 2, value + 1, value / 3, int(value) if abs(value) < 1e18 else 0))
        case 0 | 1:
            return rng.choice(INTEGERS)
        case 2:
            return rng.choice(HUGE)
        case 3:
            return rng.choice(FLOATS)
        case 4:
            return rng.choice(TEXTS)
        case 5:
            return rng.choice((None, True, False, [], {}, [value], {"a": value}, [value] * 3))
        case 6:
            nested: Any = value
            for _ in range(rng.choice((3, 60, 100, 900))):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            return nested
    return copy.deepcopy(value)


def mutate_values(values: Any, rng: Random) -> Any:
    """A copy of plain values, one to three of which are replaced, dropped, repeated or renamed."""
    result = copy.deepcopy(values)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        parent, keys = result, list(_keys(result))
        while keys:
            key = rng.choice(keys)
            inner = list(_keys(parent[key]))
            if not inner or rng.random() < 0.15:
                _change(parent, key, rng)
                break
            parent, keys = parent[key], inner
    return result


def _keys(value: Any) -> Any:
    return value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()


def _change(parent: Any, key: Any, rng: Random) -> None:
    match rng.randrange(6):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[rng.choice((key + "x", "", "name", rng.choice(TEXTS)))] = parent.pop(key)
        case 1:
            parent.insert(key, copy.deepcopy(parent[key]))
        case _:
            parent[key] = odd_value(rng, parent[key])


def mutate_json(content: bytes, rng: Random) -> bytes:
    """A JSON file with odd values, or another text."""
    if rng.random() < 0.25:
        return rng.choice((mutate_bytes, mutate_text))(content, rng)
    return json.dumps(mutate_values(json.loads(content), rng), indent=1).encode()


def mutate_toml(content: bytes, rng: Random) -> bytes:
    """A TOML file with odd values, or another text."""
    import tomllib

    if rng.random() < 0.4:
        return rng.choice((mutate_bytes, mutate_text, mutate_text))(content, rng)
    values = mutate_values(tomllib.loads(content.decode()), rng)
    return "\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in values.items()).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(each)}' for key, each in value.items())}}}"
    return hex(value) if isinstance(value, int) and value > 2**64 else repr(value)


def mutate_npz(content: bytes, rng: Random) -> bytes:
    """An archive with other headers, names, or bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(entries))
    match rng.randrange(4):
        case 0:
            entries[rng.choice(("images", "images.npy", "labels.npy", "", "a/b.npy", "../x.npy", "\n.npy"))] = (
                entries.pop(name)
            )
        case 1:
            entries[name] = mutate_bytes(entries[name], rng)
        case _:
            header = f"{{'descr': {rng.choice(TYPES)}, 'fortran_order': {rng.choice(('False', 'True', '2', 'None'))}, 'shape': "
            header += rng.choice(SHAPES) + rng.choice((", }", "}", "", ", 'a': 1}"))
            text = header.encode() + b" " * rng.choice((0, 60)) + b"\n"
            magic = b"\x93NUMPY" + bytes(rng.choice(((1, 0), (2, 0), (3, 0), (9, 9))))
            size = struct.pack("<H" if magic[6] == 1 else "<I", len(text))
            values = entries[name].partition(b"\n")[2]
            entries[name] = magic + size + text + rng.choice((values, values * 2, values[:-1], b""))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, value in entries.items():
            archive.writestr(zipfile.ZipInfo(each or "x"), value)
    return packed.getvalue()


def mutate_idx(content: bytes, rng: Random) -> bytes:
    """An IDX file with another header, or other bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(content, rng)
    header = bytes((0, 0, rng.choice((8, 9, 13)), rng.choice((0, 1, 2, 3, 4, 255))))
    sizes = struct.pack(
        f">{(count := rng.randrange(5))}I", *(rng.choice((0, 1, 6, 9, 2**16, 2**32 - 1)) for _ in range(count))
    )
    return header + sizes + content[16:]


def mutate_database(content: bytes, rng: Random) -> bytes:
    """A SQLite file with other bytes, or with other values in a row."""
    if rng.random() < 0.6:
        return mutate_bytes(content, rng)
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    tables = [
        name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    table = rng.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    value = rng.choice((None, 1, -1, 2.5, "", "x", "[" * 3000, "{}", "[1]", b"\xff\xfe", b"", 2**62, "9" * 5000))
    statement = rng.choice(
        (
            f"UPDATE {table} SET {rng.choice(columns)} = ?",
            f"UPDATE {table} SET {rng.choice(columns)} = substr({rng.choice(columns)}, 2) WHERE ? IS NOT 0",
            f"DELETE FROM {table} WHERE ? IS NOT 0",
            f"DROP TABLE {table}",
            f"ALTER TABLE {table} RENAME TO other",
        )
    )
    try:
        connection.execute(statement, (value,) if "?" in statement else ())
        connection.commit()
    except sqlite3.Error:
        return mutate_bytes(content, rng)
    return bytes(connection.serialize())


def mutate_onnx(content: bytes, rng: Random) -> bytes:
    """A model with other bytes, or with a field of any of its messages changed, dropped or repeated."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    model = onnx.ModelProto.FromString(content)
    messages = list(_messages(model))
    texts = [name for node in model.graph.node for name in (*node.input, *node.output, node.op_type, node.name)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        message = rng.choice(messages)
        fields = [field for field, _ in message.ListFields()] if rng.random() < 0.8 else list(message.DESCRIPTOR.fields)
        if fields:
            _change_field(message, rng.choice(fields), texts, rng)
    return bytes(model.SerializeToString())


def _messages(message: Any) -> Any:
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if _is_repeated(field) else [value]:
                yield from _messages(each)


def _is_repeated(field: Any) -> bool:
    return bool(field.label == field.LABEL_REPEATED)


def _change_field(message: Any, field: Any, texts: list[str], rng: Random) -> None:
    """Sets, clears, repeats or reorders a field."""
    value = getattr(message, field.name)
    if field.type == field.TYPE_MESSAGE:
        if not _is_repeated(field):
            message.ClearField(field.name) if rng.random() < 0.5 else value.SetInParent()
        elif not value or rng.random() < 0.2:
            value.add()
        else:
            place = rng.randrange(len(value))
            if rng.random() < 0.5:
                del value[place]
            else:
                value.add().CopyFrom(value[place])
        return
    drawn: dict[int, Callable[[], Any]] = {
        field.TYPE_INT64: lambda: rng.choice(INTEGERS),
        field.TYPE_INT32: lambda: rng.choice([each for each in INTEGERS if abs(each) < 2**31]),
        field.TYPE_UINT64: lambda: rng.choice([each for each in INTEGERS if each >= 0]),
        field.TYPE_FLOAT: lambda: rng.choice(FLOATS[:6] + FLOATS[9:]),
        field.TYPE_DOUBLE: lambda: rng.choice(FLOATS),
        field.TYPE_STRING: lambda: rng.choice([*texts, *(each for each in TEXTS if each != "\ud800")]),
        field.TYPE_BYTES: lambda: rng.choice(BYTES),
        field.TYPE_ENUM: lambda: rng.choice([each.number for each in field.enum_type.values]),
    }  # fmt: skip
    draw = drawn[field.type]
    try:
        if not _is_repeated(field):
            setattr(message, field.name, draw())
        elif not value or rng.random() < 0.3:
            value.extend(draw() for _ in range(rng.choice((1, 2, 70))))
        elif rng.random() < 0.3:
            del value[rng.randrange(len(value)) :]
        else:
            value[rng.randrange(len(value))] = draw()
    except (ValueError, TypeError):
        message.ClearField(field.name)
