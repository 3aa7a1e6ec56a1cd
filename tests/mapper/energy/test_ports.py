"""Energy and area count exactly the memories of the gateware."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from amaranth.back import rtlil

from skipstone.hw.array import ROW_MODULE, SkipstoneArray
from skipstone.hw.design import Design
from skipstone.hw.row import PE_MODULE
from skipstone.hw.shared import SharedModules
from skipstone.mapper.energy.ports import ChipMemory, chip_memories
from tests.mapper.energy.test_energy import DESIGN

NAMES = {"window": "windows", "lists": "load_lists"}
"""What the energy model calls a memory that the gateware names otherwise."""


def test_sizes_by_hand() -> None:
    assert {m.name: (m.count, m.words) for m in chip_memories(DESIGN)} == {
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
    assert {m.name: (m.count, m.words, m.bits) for m in chip_memories(looked_up)}["codebooks"] == (4, 80, 8)
    assert "tables" not in {m.name for m in chip_memories(looked_up)}


def gateware_memories(design: Design) -> set[ChipMemory]:
    """The memories of the elaborated gateware: words, bits, and the clocked read ports whose enable is tied to 1."""
    parts = [(1, SkipstoneArray(design))]
    instances = {ROW_MODULE: design.rows, PE_MODULE: design.pes}
    counts: Counter[ChipMemory] = Counter()
    while parts:
        count, component = parts.pop()
        shared = SharedModules()
        text = rtlil.convert(component, platform=shared)
        reads = [
            (cell["MEMID"], cell["EN"])
            for cell in (
                dict(re.findall(r"^    (?:parameter|connect) \\(\w+) (.+)$", body, re.MULTILINE))
                for body in re.findall(r"^  cell \$memrd_v2 .*?^  end$", text, re.MULTILINE | re.DOTALL)
            )
            if cell["CLK_ENABLE"] == "1"
        ]
        for bits, words, name in re.findall(r"^  memory width (\d+) size (\d+) \\(\w+)", text, re.MULTILINE):
            always = reads.count((f'"\\\\{name}"', "1'1"))
            # Equal memories of one module, as the tables of all lanes, share their reads.
            always //= len(re.findall(rf"^  memory .* \\{name}$", text, re.MULTILINE))
            counts[ChipMemory(NAMES.get(name, name), 0, int(words), int(bits), always)] += count
        parts += [(instances[name], part) for name, part in shared.components.items()]
    return {replace(memory, count=count) for memory, count in counts.items()}


@pytest.mark.parametrize("multiplier", ["linear", "codebook"])
@pytest.mark.parametrize("tables", [0, 3])
def test_memories_are_those_of_the_gateware(multiplier: str, tables: int) -> None:
    """Counts, words, bits, and the read ports that read in every cycle: those of the tables alone have an enable."""
    small = {"activation_words": 64, "weight_entries": 32, "load_entries": 20, "parameter_words": 8, "layers": 3}
    design = DESIGN.replace(multiplier=multiplier, tables=tables, **small)
    assert set(chip_memories(design)) == gateware_memories(design)
