"""FPGA resources of a design without a synthesis: DSPs, block RAMs, look-up tables and flip-flops as Yosys reports
them.

Block RAMs, DSPs and flip-flops are counted from the parameters (``skipstone.mapper.fpga.memories``,
``skipstone.mapper.fpga.blocks``). Look-up tables are counted bits of logic times coefficients fitted to Yosys.
``skipstone.characterize.fpga`` fits them and measures all four on designs that the fit never saw; ``errors`` returns
the deviations. The model is fast enough for every point of an exploration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources as files
from statistics import fmean
from types import MappingProxyType

from skipstone.errors import TechnologyError
from skipstone.hw.design import Design
from skipstone.hw.numbers import MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS
from skipstone.mapper.fpga.blocks import BlockSizes, blocks, shared_flip_flops
from skipstone.mapper.fpga.memories import KINDS, fpga_memories, mapped
from skipstone.mapper.results.technology_tables import FpgaTable

RESOURCES = ("dsps", "block_rams", "luts", "flip_flops")
DSP_BITS = 18
"""Width of a DSP's signed operands on ECP5. What is wider takes several, 17 bits for each after the first."""


@dataclass(frozen=True)
class FpgaResources:
    """What an array takes of an FPGA. All are integers; fitted ones are rounded.

    Attributes:
        dsps: 18x18 multipliers (MULT18X18D).
        block_rams: Block RAMs of 18 kbit (DP16KD).
        luts: 4-input look-up tables, those of carry chains and of LUT RAM included.
        flip_flops: Registers.
    """

    dsps: int
    block_rams: int
    luts: int
    flip_flops: int


@dataclass(frozen=True)
class Error:
    """Relative error of the model for one resource, on the designs that the fit never saw; 0.05 is 5%.

    Attributes:
        mean: Mean of the absolute values.
        largest: The largest absolute value.
    """

    mean: float
    largest: float


@dataclass(frozen=True)
class HoldOut:
    """One design that the fit never saw.

    Attributes:
        design: The design.
        synthesized: What Yosys reports for it.
        modelled: What the model computes for it.
    """

    design: Design
    synthesized: FpgaResources
    modelled: FpgaResources


def devices() -> tuple[str, ...]:
    """The device families that the model knows."""
    return tuple(KINDS)


@lru_cache(maxsize=65536)
def resources(design: Design, device: str = "ecp5") -> FpgaResources:
    """Estimates the resources of a whole array.

    Args:
        design: The design.
        device: One of :func:`devices`.

    Raises:
        TechnologyError: There is no model of the device.
    """
    carried = _carried(device)
    return with_coefficients(design, device, carried.luts_per_bit, carried.kept_in_whole)


def errors(device: str = "ecp5") -> Mapping[str, Error]:
    """The model's error for each resource, on the carried designs that the fit never saw.

    Raises:
        TechnologyError: There is no model of the device.
    """
    by_resource = {}
    for name in RESOURCES:
        # Where there is none, one too many is an error of 100%.
        relative = [
            abs(getattr(point.modelled, name) - getattr(point.synthesized, name))
            / max(1, getattr(point.synthesized, name))
            for point in hold_out(device)
        ]
        by_resource[name] = Error(fmean(relative), max(relative))
    return MappingProxyType(by_resource)


@cache
def hold_out(device: str = "ecp5") -> tuple[HoldOut, ...]:
    """The carried designs that the fit never saw, synthesized and modelled.

    Raises:
        TechnologyError: There is no model of the device.
    """
    designs = []
    for entry in _carried(device).hold_out:
        design = Design(**entry.design)
        designs.append(HoldOut(design, FpgaResources(**entry.synthesized), resources(design, device)))
    return tuple(designs)


def source(device: str = "ecp5") -> str:
    """Where the model's numbers come from: tool, version, command, designs.

    Raises:
        TechnologyError: There is no model of the device.
    """
    return _carried(device).source


def with_coefficients(
    design: Design, device: str, luts_per_bit: Mapping[str, float], kept_in_whole: Mapping[str, float]
) -> FpgaResources:
    """Estimates resources with other coefficients than the carried ones.

    Args:
        design: The design.
        device: One of :func:`devices`.
        luts_per_bit: Look-up tables for each bit of logic, by what the logic does.
        kept_in_whole: The share of a block's look-up tables that remains when Yosys optimizes across blocks, by block.
    """
    block_rams, luts = 0, 0.0
    for memory in fpga_memories(design):
        mapping = mapped(memory.words, memory.bits, memory.reads, memory.synchronous, memory.enables, device)
        block_rams += memory.count * mapping.block_rams
        luts += memory.count * mapping.luts
    flip_flops = -shared_flip_flops(design, device)
    for block in blocks(design, device):
        luts += kept_in_whole[block.name] * _luts(block, luts_per_bit)
        flip_flops += block.count * block.flip_flops
    return FpgaResources(dsps(design), block_rams, round(luts), flip_flops)


def block_luts(design: Design, device: str, luts_per_bit: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yields the look-up tables of each kind of block when each block is synthesized by itself.

    All blocks of a kind are added up. LUT RAM is not included.
    """
    for block in blocks(design, device):
        yield block.name, _luts(block, luts_per_bit)


def _luts(block: BlockSizes, luts_per_bit: Mapping[str, float]) -> float:
    return block.count * sum(luts_per_bit[name] * bits for name, bits in block.logic.items())


def dsps(design: Design) -> int:
    """Counts the multipliers of a design.

    These are the product of every PE that multiplies fully, two products for each requantizer, and the loader's column
    offsets (stride times a constant, shared by the tile shapes).
    """
    kind = design.products
    product = _parts(kind.operand_bits) * _parts(design.activation_bits) if kind.partial_products else 0
    accumulator = _parts(design.accumulator_bits + 1) * _parts(MULTIPLIER_BITS + 1)
    other = _parts(design.activation_bits + 1) * _parts(OTHER_MULTIPLIER_BITS + 1)
    # A constant that is a power of two only shifts; a stride of one bit only selects.
    offsets = sum(1 for col in range(3, design.cols) if col & (col - 1)) if design.max_stride > 1 else 0
    return design.pes * product + design.requantizer_lanes * (accumulator + other) + offsets


def _parts(bits: int) -> int:
    return 1 + max(0, -(-(bits - DSP_BITS) // (DSP_BITS - 1)))


@cache
def _carried(device: str) -> FpgaTable:
    if device not in KINDS:
        raise TechnologyError(f"unknown FPGA '{device}'; known are {', '.join(devices())}")
    name = f"fpga_{device}.json"
    return FpgaTable.from_text((files.files("skipstone.mapper.technology") / "data" / name).read_text(), name)
