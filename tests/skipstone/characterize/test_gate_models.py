"""Liberty functions, written in Verilog, have the same value for every input."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipstone.characterize.gate_models import cell_models, expression
from skipstone.characterize.liberty import read_liberty
from skipstone.errors import SkipstoneError
from tests.skipstone.characterize.cells import library, write_library


def value(text: str, **pins: int) -> int:
    """Evaluates the Verilog expression in Python, which has the same operators; only constants are written differently."""
    return int(eval(text.replace("1'b", ""), {}, pins)) & 1


@pytest.mark.parametrize(
    ("function", "means"),
    [
        ("A'", lambda a, b, c: not a),
        ("!(A B)", lambda a, b, c: not (a and b)),
        ("(A*B)+C", lambda a, b, c: (a and b) or c),
        ("A & !B | C'", lambda a, b, c: (a and not b) or not c),
        ("A ^ B ^ C", lambda a, b, c: a ^ b ^ c),
        ("A B' + A' B", lambda a, b, c: a != b),
        ("(A+B)' C", lambda a, b, c: not (a or b) and c),
        ("1", lambda a, b, c: 1),
    ],
)
def test_functions(function: str, means: object) -> None:
    text = expression(function)
    for a, b, c in product((0, 1), repeat=3):
        assert value(text, A=a, B=b, C=c) == int(bool(means(a, b, c)))  # type: ignore[operator]


@given(st.recursive(st.sampled_from("ABC"), lambda inner: st.tuples(inner, st.sampled_from("&|^"), inner)), st.data())
def test_nested_functions(tree: object, data: st.DataObject) -> None:
    def written(node: object) -> str:
        return node if isinstance(node, str) else f"!({written(node[0])} {node[1]} {written(node[2])})"  # type: ignore

    pins = {name: data.draw(st.integers(0, 1)) for name in "ABC"}

    def truth(node: object) -> int:
        if isinstance(node, str):
            return pins[node]
        a, b = truth(node[0]), truth(node[2])  # type: ignore[index]
        return 1 - {"&": a & b, "|": a | b, "^": a ^ b}[node[1]]  # type: ignore[index]

    assert value(expression(written(tree)), **pins) == truth(tree)


@pytest.mark.parametrize("function", ["(A", "A)", "A &", "A ? B", ""])
def test_what_cannot_be_read_is_refused(function: str) -> None:
    with pytest.raises(SkipstoneError, match="function"):
        expression(function)


def test_only_gates_and_plain_registers_are_modelled(tmp_path: Path) -> None:
    path = tmp_path / "reset.lib"
    path.write_text(library().replace('next_state : "D";', 'next_state : "D"; clear : "A";'))
    with pytest.raises(SkipstoneError, match="DFF is neither a gate nor a register without set and reset"):
        cell_models(read_liberty(path), ["DFF"])
    assert "posedge C" in cell_models(read_liberty(write_library(tmp_path)), ["DFF"])
