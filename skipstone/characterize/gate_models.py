"""Verilog of a library's cells, made from the ``function`` and ``ff`` attributes of its Liberty file, with a delay each.

Delays are inertial and given for each instance (parameter ``DELAY_PS``): pulses shorter than a cell's delay do not pass it, as
in Verilog's gates. Registers start at 0, so that nothing is unknown for lack of a reset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from skipstone.characterize.liberty import Cell, Library
from skipstone.errors import SkipstoneError

_SYMBOL = re.compile(r"\s*([A-Za-z_]\w*|[01]|[()!~'&*|+^])")


def cell_models(library: Library, names: Iterable[str]) -> str:
    """Verilog modules of cells.

    Args:
        library: The cells.
        names: Those to write.

    Raises:
        SkipstoneError: One is no gate and no plain register.
    """
    return "`timescale 1ps/1ps\n" + "".join(_module(library.cells[name]) for name in sorted(set(names)))


def _module(cell: Cell) -> str:
    inputs = [pin.name for pin in cell.pins.values() if not pin.output]
    outputs = [pin for pin in cell.outputs if pin.function]
    if not outputs or (cell.sequential and cell.flip_flop is None):
        raise SkipstoneError(f"cell {cell.name} is neither a gate nor a register without set and reset")
    lines = [
        f"module {cell.name}({', '.join([*inputs, *(pin.name for pin in outputs)])});",
        "  parameter DELAY_PS = 1;",
        *(f"  input {name};" for name in inputs),
        *(f"  output {pin.name};" for pin in outputs),
    ]
    if cell.flip_flop is not None:
        clock, following, state, complement = cell.flip_flop
        edge = "negedge" if clock.strip().startswith(("!", "~")) or clock.strip().endswith("'") else "posedge"
        lines += [
            f"  reg {state} = 1'b0;",
            f"  wire {complement} = ~{state};",
            f"  always @({edge} {re.sub(r'[^A-Za-z0-9_]', '', clock)}) {state} <= {expression(following)};",
        ]
    lines += [f"  assign #(DELAY_PS) {pin.name} = {expression(pin.function)};" for pin in outputs]
    return "\n".join([*lines, "endmodule", ""])


def expression(function: str) -> str:
    """A Liberty function in Verilog: ``'`` negates what is before it, names side by side are an AND.

    Raises:
        SkipstoneError: It can't be read.
    """
    tokens, at, text = [], 0, function.strip()
    while at < len(text):
        match = _SYMBOL.match(text, at)
        if match is None:
            raise SkipstoneError(f"cannot read the Liberty function '{function}'")
        tokens.append(match[1])
        at = match.end()
    value, rest = _or(tokens)
    if rest:
        raise SkipstoneError(f"cannot read the Liberty function '{function}'")
    return value


def _or(tokens: list[str]) -> tuple[str, list[str]]:
    operand, tokens = _xor(tokens)
    while tokens and tokens[0] in "|+":
        right, tokens = _xor(tokens[1:])
        operand = f"({operand} | {right})"
    return operand, tokens


def _xor(tokens: list[str]) -> tuple[str, list[str]]:
    operand, tokens = _and(tokens)
    while tokens and tokens[0] == "^":
        right, tokens = _and(tokens[1:])
        operand = f"({operand} ^ {right})"
    return operand, tokens


def _and(tokens: list[str]) -> tuple[str, list[str]]:
    operand, tokens = _not(tokens)
    while tokens and tokens[0] not in "|+^)":
        right, tokens = _not(tokens[1:] if tokens[0] in "&*" else tokens)
        operand = f"({operand} & {right})"
    return operand, tokens


def _not(tokens: list[str]) -> tuple[str, list[str]]:
    if not tokens:
        raise SkipstoneError("a Liberty function ends too early")
    first, tokens = tokens[0], tokens[1:]
    if first in "!~":
        inner, tokens = _not(tokens)
        return f"(~{inner})", tokens
    if first == "(":
        value, tokens = _or(tokens)
        if not tokens or tokens[0] != ")":
            raise SkipstoneError("a Liberty function has an open parenthesis")
        tokens = tokens[1:]
    elif first in "01":
        value = f"1'b{first}"
    elif first[0].isalpha() or first[0] == "_":
        value = first
    else:
        raise SkipstoneError(f"'{first}' is not where it can stand in a Liberty function")
    while tokens and tokens[0] == "'":
        value, tokens = f"(~{value})", tokens[1:]
    return value, tokens
