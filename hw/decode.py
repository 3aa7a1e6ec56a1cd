"""What a row makes of an entry of its list before the PEs see it: the index it stands for, and the weight behind its code."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort


def entry_index(m: Module, design: Design, entry: data.View, issue: Value) -> data.View:
    """Lane, slot and accumulator of an entry, without delay.

    Absolute: they are fields of the entry. Delta: ``index = before + delta + 1``, where ``before`` is the index of the row's
    entry before in the window, or -1 for the window's first entry.

    Args:
        m: the row's module, which gets the logic.
        design: the array's parameters.
        entry: view of the entry (``Design.weight_entry``).
        issue: the entry is taken in this cycle.

    Returns:
        A view with the fields ``lane``, ``slot`` and ``accumulator``.
    """
    layout = design.weight_index.layout()
    if design.index_coding == "absolute":
        return entry
    index = Signal(layout)
    # The least index that the entry can have.
    least = Signal(design.weight_index.width)
    m.d.comb += index.as_value().eq(least + entry.delta)
    with m.If(issue):
        m.d.sync += least.eq(index.as_value() + 1)
        with m.If(entry.leave != 0):
            m.d.sync += least.eq(0)
    return index


class Decoder(wiring.Component):
    """``weight = codebooks[codebook][code]`` where the multiplier's weights are looked up, else ``weight = code``.

    Latency: ``LATENCY`` cycles. Throughput: one code a cycle, never refused.

    Args:
        design: the array's parameters.

    Members:
        code: In. The code of an entry's value.
        weight: Out. The multiplier's operand.
        begin_layer: In(1), in designs with codebooks. ``codebook`` holds from the next cycle on.
        codebook: In, in designs with codebooks.
        host_codebooks: In(HostPort), in designs with codebooks. The codebooks, one behind the other.
    """

    LATENCY = 1

    def __init__(self, design: Design) -> None:
        self.design = design
        codebook = {
            "begin_layer": In(1),
            "codebook": In(width_of(design.codebooks)),
            "host_codebooks": In(HostPort(design.codebook_words, design.products.operand_bits)),
        }
        super().__init__(
            {
                "code": In(design.products.code_bits),
                "weight": Out(design.products.operand_bits),
                **(codebook if design.codebook_words else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design
        if not design.codebook_words:
            m.d.sync += self.weight.eq(self.code)
            return m
        m.submodules.codebooks = codebooks = HostMemory(design.codebook_words, design.products.operand_bits)
        connect(m, flipped(self.host_codebooks), codebooks.host)
        layer_codebook = Signal.like(self.codebook)
        with m.If(self.begin_layer):
            m.d.sync += layer_codebook.eq(self.codebook)
        m.d.comb += [
            # The entries of a codebook are a power of two.
            codebooks.address.eq(Cat(self.code, layer_codebook)),
            self.weight.eq(codebooks.word),
        ]
        return m
