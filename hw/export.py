"""Verilog of any component, shared modules written once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth.back import rtlil, verilog
from amaranth.hdl import _ir, _nir
from amaranth.lib import wiring

from skipstone.hw.array import ROW_MODULE, SkipstoneArray
from skipstone.hw.design import Design
from skipstone.hw.shared import SharedModules
from skipstone.hw.verilog_text import tidy

TOP = "skipstone_array"
"""Name of the module of the whole array."""
COMPILED_ONCE = (ROW_MODULE,)
"""Modules that a simulator had better compile once for all their instances; the PEs run fastest as part of their row."""

HEADER = """\
// Skipstone, generated from Amaranth.
// Clean in verilator -Wall but for two classes:
// all modules are in one file, which can have the name of one of them only
/* verilator lint_off DECLFILENAME */
// every field of a word has a wire of its own, for waves, and sums have a carry; synthesis drops what nothing reads
/* verilator lint_off UNUSEDSIGNAL */
`timescale 1ns/1ps
"""


def to_verilog(component: wiring.Component, name: str) -> str:
    """Verilog of a component and of every module below it.

    Args:
        component: the top module; it gets the clock ``clk`` and the synchronous reset ``rst``.
        name: the top module's name.

    Returns:
        One text; equal components give equal texts.
    """
    texts: list[str] = []
    written: set[str] = set()
    pending: list[tuple[str, wiring.Component]] = [(name, component)]
    while pending:
        module, part = pending.pop(0)
        if module in written:
            continue
        written.add(module)
        shared = SharedModules()
        with _memories_without_contents(), _ports_named_by_signals():
            texts.append(verilog.convert(part, name=module, platform=shared, strip_internal_attrs=True, emit_src=False))
        pending.extend(shared.components.items())
    return HEADER + tidy("\n".join(texts))


@contextmanager
def _memories_without_contents() -> Iterator[None]:
    """Memories are SRAM: they start without contents. Amaranth writes zeros for them, bit by bit, which takes minutes for large
    ones, and has no other way to leave them out."""
    emit = rtlil.ModuleEmitter.emit_memory
    rtlil.ModuleEmitter.emit_memory = lambda emitter, index, cell: None
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = emit


@contextmanager
def _ports_named_by_signals() -> Iterator[None]:
    """Amaranth makes a port of neighbouring bits of one register or operator, and where no signal is exactly these bits, numbers
    it (``port$428$414``). Here a signal whose bits all cross the module's border is a port of its own name."""
    compute = _ir._compute_ports

    def compute_ports(netlist: _nir.Netlist) -> None:
        compute(netlist)
        for index, module in enumerate(netlist.modules):
            if index:  # The top has the ports of its signature.
                module.ports = _named_ports(netlist, module)

    _ir._compute_ports = compute_ports
    try:
        yield
    finally:
        _ir._compute_ports = compute


def _named_ports(netlist: _nir.Netlist, module: _nir.Module) -> dict[str, tuple[_nir.Value, _nir.ModuleNetFlow]]:
    """The ports of a module below the top, by name. Where several signals share bits, the widest is the port; of equal ones that
    whose name is its own, and which the module above knows."""
    above = netlist.modules[module.parent].signal_names
    unnamed = {net: flow for value, flow in module.ports.values() for net in value}
    ports: dict[str, tuple[_nir.Value, _nir.ModuleNetFlow]] = {}
    for signal, name in sorted(
        module.signal_names.items(), key=lambda item: (-len(item[0]), "$" in item[1], item[0] not in above)
    ):
        value = netlist.signals[signal]
        flows = {unnamed.get(net) for net in value}
        if len(flows) == 1 and None not in flows and len(set(value)) == len(value):
            ports[name] = value, flows.pop()
            for net in value:
                del unnamed[net]
    for number, (net, flow) in enumerate(sorted(unnamed.items())):
        ports[f"unnamed_bit{number}"] = _nir.Value(net), flow
    return ports


def array_verilog(design: Design) -> str:
    """Verilog of the whole accelerator, top module ``skipstone_array``."""
    return to_verilog(SkipstoneArray(design), TOP)
