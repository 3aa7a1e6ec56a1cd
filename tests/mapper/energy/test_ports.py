"""The memories that energy and area know are those of the gateware."""

from __future__ import annotations

import inspect
import re

from skipstone.hw import array, controller, decode, drain, loader, pe, requantizer, row
from skipstone.mapper.energy.ports import memories
from tests.mapper.energy.test_energy import DESIGN


def test_sizes_by_hand() -> None:
    assert {m.name: (m.count, m.words) for m in memories(DESIGN)} == {
        "windows": (16, 27),
        "accumulators": (16, 16),
        "weights": (4, 16384),
        "activations": (1, 8192),
        "parameters": (1, 256),
        "load_lists": (1, 4096),
        "descriptors": (1, 64),
        "tables": (2, 768),
    }
    looked_up = DESIGN.replace(multiplier="codebook", codebooks=5, tables=0)
    assert {m.name: (m.count, m.words, m.bits) for m in memories(looked_up)}["codebooks"] == (4, 80, 8)
    assert "tables" not in {m.name for m in memories(looked_up)}


def test_clocked_read_ports_are_those_of_the_gateware() -> None:
    """Each file's clocked read ports, and which of them have an enable (``en`` of a read port): the table's alone."""
    ports = {
        "activations": 2,
        "weights": 1,
        "codebooks": 1,
        "parameters": 1,
        "load_lists": 1,
        "descriptors": 1,
        "tables": 1,
    }
    where = {
        "activations": array,
        "weights": row,
        "codebooks": decode,
        "parameters": drain,
        "load_lists": loader,
        "descriptors": controller,
        "tables": requantizer,
    }
    looked_up = DESIGN.replace(multiplier="codebook")
    always = {memory.name: memory.always_read for memory in memories(looked_up)}
    for name, module in where.items():
        text = inspect.getsource(module)
        assert text.count('read_port(domain="sync")') == ports[name]
        enabled = len(re.findall(r"\b(?:read|load_port|other_port)\.en\b", text))
        assert always[name] == ports[name] - enabled
    assert always["windows"] == always["accumulators"] == 0
    assert 'read_port(domain="sync")' not in inspect.getsource(pe)
