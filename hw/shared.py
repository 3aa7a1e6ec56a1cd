"""Modules that are compiled once: a parent instantiates a shared component by name instead of elaborating a copy.

Amaranth writes one Verilog module per instance; 256 PEs would be 256 modules to write, lint and compile. ``Shared``
puts
an ``Instance`` of a named module in the parent, and ``skipstone.hw.export`` writes that module once.
"""

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class SharedModules:
    """The elaboration 'platform' that collects shared components: every name stands for one module."""

    def __init__(self) -> None:
        self.components: dict[str, wiring.Component] = {}


class Shared(Elaboratable):
    """One instance of ``component`` under the module name ``name``; the parent connects ``ports``.

    Only ``skipstone.hw.export`` can elaborate it, since somebody has to write the module that the instance names.
    """

    def __init__(self, component: wiring.Component, name: str, instance: str) -> None:
        self.component = component
        self.name = name
        self.ports = component.signature.create(path=(instance,))

    def elaborate(self, platform: SharedModules):
        connections = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.component.signature.flatten(self.ports):
            direction = "i" if member.flow == In else "o"
            connections[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
        platform.components.setdefault(self.name, self.component)
        return Instance(self.name, **connections)
