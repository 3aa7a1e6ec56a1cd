"""What crosses the chip's edge, counted by hand and against the program's own memory images."""

from __future__ import annotations

import pytest

from mapper.compile import compile_network
from mapper.memory_list import memories
from mapper.offchip import loading, traffic
from mapper.technology import load_technology
from tests.mapper.test_compile import DESIGN, residual

TECHNOLOGY = load_technology()
PROGRAM = compile_network(residual(), DESIGN)


def test_input_and_outputs_once() -> None:
    network = residual()
    moved = traffic(PROGRAM)

    def values(name: str) -> int:
        channels, height, width = network.tensors[name].shape
        return channels * height * width

    assert moved.read_bits == values(network.input) * DESIGN.activation_bits
    assert moved.write_bits == sum(values(name) for name in network.outputs) * DESIGN.activation_bits
    assert moved.host_writes == PROGRAM.input.words
    assert moved.host_reads == sum(placed.words for placed in PROGRAM.outputs)


def test_the_program_once() -> None:
    """Every word of every list at its width, written once, and its bits read from DRAM."""
    found = loading(PROGRAM, DESIGN, TECHNOLOGY)
    width = {memory.name: memory.bits for memory in memories(DESIGN)}
    words = {
        "weights": sum(len(row) for layer in PROGRAM.layers for row in layer.weights),
        "load_lists": sum(len(layer.loads) for layer in PROGRAM.layers),
        "parameters": sum(len(layer.parameters) for layer in PROGRAM.layers),
        "descriptors": len(PROGRAM.layers),
    }
    assert found.bits == sum(count * width[name] for name, count in words.items())
    size = {memory.name: TECHNOLOGY.sram(memory.words, memory.bits) for memory in memories(DESIGN)}
    written = sum(count * size[name].write_pj for name, count in words.items())
    assert found.energy_pj == pytest.approx(written + found.bits * TECHNOLOGY.dram.read_pj_per_bit)
