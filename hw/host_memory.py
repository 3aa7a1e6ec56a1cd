"""Memories that the host writes before a run and one block reads during it: lists, parameters, descriptors, tables.

The array's host port names one of them for each word (``skipstone.hw.array``); each block has a ``HostPort`` for every memory of
its own and keeps it in a ``HostMemory``.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import MemoryData, MemoryInstance, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from skipstone.hw.fields import width_of


class HostPort(wiring.Signature):
    """The host's side of one memory: one word a cycle, never refused.

    Args:
        depth: words of the memory.
        word_bits: bits of a word.

    Members:
        write: Out(1). The word is written at the end of this cycle.
        address: Out. Where to.
        data: Out(word_bits). The word.
    """

    def __init__(self, depth: int, word_bits: int) -> None:
        super().__init__({"write": Out(1), "address": Out(width_of(depth)), "data": Out(word_bits)})


class HostMemory(wiring.Component):
    """``word = memory[address]``, one cycle later; the host writes through a port of its own.

    One read and one write a cycle. A read of a word in the cycle in which the host writes it gives the old word; before the
    first write a word is undefined, as in SRAM. Synthesis finds a memory with one write port and one clocked read port:
    block RAM. It makes no module of its own, so it cannot be exported alone: the parent's Verilog has the memory under the
    name of the submodule.

    Args:
        depth: words of the memory.
        word_bits: bits of a word.

    Members:
        host: In(HostPort). The host's writes.
        enable: In(1), 1 where nothing is connected. ``word`` stays as it is after a cycle without.
        address: In. The word to read.
        word: Out(word_bits). The word at the ``address`` of the cycle before.
    """

    LATENCY = 1

    def __init__(self, depth: int, word_bits: int) -> None:
        self.depth = depth
        self.word_bits = word_bits
        super().__init__(
            {
                "host": In(HostPort(depth, word_bits)),
                "enable": In(1, init=1),
                "address": In(width_of(depth)),
                "word": Out(word_bits),
            }
        )

    def elaborate(self, platform: Any) -> MemoryInstance:
        memory = MemoryInstance(data=MemoryData(shape=unsigned(self.word_bits), depth=self.depth, init=[]))
        # A memory of one word has no address.
        bits = ceil_log2(self.depth)
        memory.write_port(domain="sync", addr=self.host.address[:bits], data=self.host.data, en=self.host.write)
        memory.read_port(domain="sync", addr=self.address[:bits], data=self.word, en=self.enable, transparent_for=())
        return memory
