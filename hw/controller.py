"""The layer controller: works through the list of layer descriptors by itself, from one ``start`` to one ``done``."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort


class Controller(wiring.Component):
    """Hands one descriptor after the other to the loader and the rows (``config``), and one layer later to the drain
    (``drain_config``).

    The loader begins a layer (``begin``) as soon as it has taken all entries of the layer before (``loading`` has
    been low
    for a cycle) and the drain has come to that layer: then it is ``ahead`` of the drain, until ``layer_done`` says
    that the
    drain wrote the layer's last result, and the drain follows (``drain_begin``, one cycle later). ``layer`` counts
    finished layers. After a layer that says ``pause``, ``start`` goes on with the next one; after the last layer, it
    begins
    anew, and ``restart`` sends all list pointers back to the start of their memories.
    """

    LATENCY = timing.START_LATENCY

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
                "ahead": Out(1),
                "loading": In(1),
                "drain_begin": Out(1),
                "drain_config": Out(design.descriptor.layout()),
                "layer_done": In(1),
                "host_descriptors": In(HostPort(design.layers, design.descriptor.width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        design = self.design
        m.submodules.descriptors = descriptors = HostMemory(design.layers, design.descriptor.width)
        connect(m, flipped(self.host_descriptors), descriptors.host)
        index = Signal(width_of(design.layers))
        m.d.comb += descriptors.address.eq(index)
        following = data.View(design.descriptor.layout(), descriptors.word)

        fetch, first, was_loading, paused = Signal(), Signal(), Signal(), Signal()
        stops = self.config.last_layer | self.config.pause
        # The loader's last words still travel under the old configuration in the cycle after its last entry.
        m.d.sync += [was_loading.eq(self.loading | self.begin), self.begin.eq(fetch), self.drain_begin.eq(first)]
        m.d.comb += fetch.eq(first | (self.busy & ~(self.loading | was_loading | self.begin | self.ahead | stops)))
        with m.If(fetch):
            m.d.sync += [self.config.eq(following), index.eq(index + 1)]
        with m.If(first):
            m.d.sync += [self.drain_config.eq(following), first.eq(0)]
        with m.Elif(fetch):
            m.d.sync += self.ahead.eq(1)
        with m.If(self.start & ~self.busy):
            m.d.comb += self.restart.eq(~paused)
            m.d.sync += [self.busy.eq(1), self.done.eq(0), first.eq(1), paused.eq(0)]
            with m.If(~paused):
                m.d.sync += self.layer.eq(0)
        with m.If(self.layer_done):
            m.d.sync += self.layer.eq(self.layer + 1)
            with m.If(self.drain_config.last_layer | self.drain_config.pause):
                m.d.sync += [self.busy.eq(0), self.done.eq(1), paused.eq(self.drain_config.pause)]
                with m.If(self.drain_config.last_layer):
                    m.d.sync += index.eq(0)
            with m.Else():
                m.d.sync += [self.ahead.eq(0), self.drain_config.eq(self.config), self.drain_begin.eq(1)]
        return m
