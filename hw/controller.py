"""The layer controller: works through the list of layer descriptors by itself, from one ``start`` to one ``done``."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw import timing
from hw.design import Design
from hw.fields import width_of


class Controller(wiring.Component):
    """Hands one descriptor after the other to the loader, the rows and the drain.

    A layer begins when the one before has written its last result (``layer_done``): ``config`` changes one cycle later,
    together with ``begin``, and the loader takes its first entry ``LATENCY`` cycles after ``layer_done``. ``layer`` counts
    finished layers; ``restart`` sends all list pointers back to the start of their memories.
    """

    LATENCY = timing.LAYER_SETUP_LATENCY

    def __init__(self, design: Design) -> None:
        self.design = design
        super().__init__(
            {
                "start": In(1),
                "busy": Out(1),
                "done": Out(1),
                "layer": Out(width_of(design.layers + 1)),
                "restart": Out(1),
                "begin": Out(1),
                "config": Out(design.descriptor.layout()),
                "layer_done": In(1),
                "host_write": In(1),
                "host_address": In(width_of(design.layers)),
                "host_data": In(design.descriptor.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self.design
        descriptors = Memory(shape=unsigned(design.descriptor.width), depth=design.layers, init=[])
        m.submodules.descriptors = descriptors
        host = descriptors.write_port()
        m.d.comb += [host.en.eq(self.host_write), host.addr.eq(self.host_address), host.data.eq(self.host_data)]
        read = descriptors.read_port(domain="sync")
        index = Signal(width_of(design.layers))
        m.d.comb += read.addr.eq(index)
        following = data.View(design.descriptor.layout(), read.data)

        fetch = Signal()
        m.d.sync += self.begin.eq(fetch)
        m.d.comb += fetch.eq(0)
        with m.If(fetch):
            m.d.sync += [self.config.eq(following), index.eq(index + 1)]
        started = Signal()
        with m.If(self.start & ~self.busy):
            m.d.comb += self.restart.eq(1)
            m.d.sync += [self.busy.eq(1), self.done.eq(0), self.layer.eq(0), started.eq(1)]
        with m.If(started):
            m.d.comb += fetch.eq(1)
            m.d.sync += started.eq(0)
        with m.If(self.layer_done):
            m.d.sync += self.layer.eq(self.layer + 1)
            with m.If(self.config.last_layer):
                m.d.sync += [self.busy.eq(0), self.done.eq(1), index.eq(0)]
            with m.Else():
                m.d.comb += fetch.eq(1)
        return m
