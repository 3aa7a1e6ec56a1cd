"""What crosses the chip's edge, counted by hand and against the program's own memory images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from skipstone.hw.design import load_design
from skipstone.mapper.energy.offchip import loading
from skipstone.mapper.energy.ports import chip_memories
from skipstone.mapper.energy.traffic import traffic
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.technology.technology import load_technology
from tests.mapper.lowering.test_compile import DESIGN, residual

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
    """Every word of every list is written once, at its width; its bits are read from DRAM."""
    loaded = loading(PROGRAM, DESIGN, TECHNOLOGY)
    width = {memory.name: memory.bits for memory in chip_memories(DESIGN)}
    words = {
        "weights": sum(len(row) for layer in PROGRAM.layers for row in layer.weights),
        "load_lists": sum(len(layer.loads) for layer in PROGRAM.layers),
        "parameters": sum(len(layer.parameters) for layer in PROGRAM.layers),
        "descriptors": len(PROGRAM.layers),
    }
    assert loaded.bits == sum(count * width[name] for name, count in words.items())
    size = {memory.name: TECHNOLOGY.sram(memory.words, memory.bits) for memory in chip_memories(DESIGN)}
    written = sum(count * size[name].write_pj for name, count in words.items())
    assert loaded.energy_pj == pytest.approx(written + loaded.bits * TECHNOLOGY.dram.read_pj_per_bit)


def test_codebooks_go_to_all_rows() -> None:
    """A codebook crosses the edge once, and is written into the codebook memory of each row."""
    design = load_design("tiny").replace(
        multiplier="codebook", codebook_entries=128, codebooks=8, weight_bits=8, accumulator_bits=32
    )
    program = compile_network(residual(), design)
    with_codebook = replace(program, codebooks=((1,) * 128,))
    size = {memory.name: memory for memory in chip_memories(design)}["codebooks"]
    assert size.count == design.rows == 4
    more, less = (loading(each, design, TECHNOLOGY) for each in (with_codebook, replace(program, codebooks=())))
    assert more.bits - less.bits == 128 * size.bits
    written = 128 * design.rows * TECHNOLOGY.sram(size.words, size.bits).write_pj
    assert more.energy_pj - less.energy_pj == pytest.approx(
        written + 128 * size.bits * TECHNOLOGY.dram.read_pj_per_bit, rel=1e-6
    )
