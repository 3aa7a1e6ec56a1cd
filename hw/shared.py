"""Modules that are written once: a parent instantiates a shared component by name instead of elaborating a copy.

Amaranth writes one Verilog module per instance; 256 PEs would be 256 modules to write, lint and compile. ``Shared`` puts an
``Instance`` of a named module in the parent, and ``skipstone.hw.export`` writes that module once.
"""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Elaboratable, Instance, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In


class SharedModules:
    """The elaboration's "platform", which collects shared components.

    Attributes:
        components: by the name of their module.
    """

    def __init__(self) -> None:
        self.components: dict[str, wiring.Component] = {}


class Shared(Elaboratable):
    """One instance of a component as a module of its own.

    Only ``skipstone.hw.export`` can elaborate it, because it writes the module that the instance names.

    Args:
        component: what the module is; all instances of a name share one component.
        name: the module's name.
        instance: the instance's name, which its ports begin with.

    Attributes:
        ports: the component's ports, for the parent to connect.
    """

    def __init__(self, component: wiring.Component, name: str, instance: str) -> None:
        self.component = component
        self.name = name
        self.ports = component.signature.create(path=(instance,))

    def elaborate(self, platform: SharedModules) -> Instance:
        connections: dict[str, Value] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.component.signature.flatten(self.ports):
            direction = "i" if member.flow == In else "o"
            connections[f"{direction}_{'__'.join(map(str, path))}"] = Value.cast(value)
        platform.components.setdefault(self.name, self.component)
        return Instance(self.name, **connections)
