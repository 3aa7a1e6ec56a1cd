"""The layer controller: works through the list of layer descriptors by itself, from one ``start`` to one ``done``."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from skipstone.hw import timing
from skipstone.hw.design import Design
from skipstone.hw.fields import width_of
from skipstone.hw.host_memory import HostMemory, HostPort


class Controller(wiring.Component):
    """Hands one layer descriptor after the other to the loader and the rows, and one layer later to the drain.

    The loader begins a layer once it has taken all entries of the layer before, whose last words must have left its pipeline,
    and the drain has come to that layer before. It is then ahead of the drain until the drain has written that layer's last
    result and follows. After a layer with ``pause`` the array stops, and the next ``start`` goes on with the layer that
    follows; after the last layer the next ``start`` begins anew.

    Latency: the loader may take its first entry ``LATENCY`` (``START_LATENCY``) cycles after ``start``; from layer to layer
    ``NEXT_LAYER_LATENCY`` after the loader's last entry, ``LAYER_AHEAD_LATENCY`` and ``DRAIN_SETUP_LATENCY`` after a layer's
    last result. Throughput: the next descriptor always stands at its memory's read port, so that none of these waits for it.
    Back-pressure: ``loading`` and ``layer_done`` hold the next layer back; ``start`` is ignored while ``busy``.

    Args:
        design: the array's parameters.

    Members:
        start: In(1). Start the first layer, or go on after a pause.
        busy: Out(1). From the cycle after ``start`` to the one that writes the last result before a stop.
        done: Out(1). The array has stopped after a run; until the next ``start``.
        layer: Out. Layers finished since the first ``start`` of the program.
        restart: Out(1). All list pointers go back to the start of their memories; in the cycle of ``start``.
        begin_layer: Out(1). Loader and rows begin the layer of ``layer_config``.
        layer_config: Out(descriptor). The layer that the loader works on.
        ahead: Out(1). The loader is one layer ahead of the drain.
        loading: In(1). The loader has entries left to take.
        drain_begin: Out(1). The drain begins the layer of ``drain_config``.
        drain_config: Out(descriptor). The layer that the drain works on.
        layer_done: In(1). The drain writes the last result of its layer in this cycle.
        host_descriptors: In(HostPort). The list of descriptors.
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
                "begin_layer": Out(1),
                "layer_config": Out(design.descriptor.layout()),
                "ahead": Out(1),
                "loading": In(1),
                "drain_begin": Out(1),
                "drain_config": Out(design.descriptor.layout()),
                "layer_done": In(1),
                "host_descriptors": In(HostPort(design.layers, design.descriptor.width)),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        design = self.design
        m.submodules.descriptors = descriptors = HostMemory(design.layers, design.descriptor.width)
        connect(m, flipped(self.host_descriptors), descriptors.host)
        index = Signal(width_of(design.layers))
        m.d.comb += descriptors.address.eq(index)
        next_config = data.View(design.descriptor.layout(), descriptors.word)

        # ``first_layer``: the cycle after ``start``, in which the loader and the drain both get the layer that is next.
        fetch = Signal()
        first_layer = Signal()
        was_loading = Signal()
        paused = Signal()
        run_ends = self.layer_config.last_layer | self.layer_config.pause
        # The loader's last words still travel under the old configuration in the cycle after its last entry.
        loader_busy = self.loading | was_loading | self.begin_layer
        m.d.sync += [
            was_loading.eq(self.loading | self.begin_layer),
            self.begin_layer.eq(fetch),
            self.drain_begin.eq(first_layer),
        ]
        m.d.comb += fetch.eq(first_layer | (self.busy & ~(loader_busy | self.ahead | run_ends)))
        with m.If(fetch):
            m.d.sync += [self.layer_config.eq(next_config), index.eq(index + 1)]
        with m.If(first_layer):
            m.d.sync += [self.drain_config.eq(next_config), first_layer.eq(0)]
        with m.Elif(fetch):
            m.d.sync += self.ahead.eq(1)
        with m.If(self.start & ~self.busy):
            m.d.comb += self.restart.eq(~paused)
            m.d.sync += [self.busy.eq(1), self.done.eq(0), first_layer.eq(1), paused.eq(0)]
            with m.If(~paused):
                m.d.sync += self.layer.eq(0)
        with m.If(self.layer_done):
            m.d.sync += self.layer.eq(self.layer + 1)
            with m.If(self.drain_config.last_layer | self.drain_config.pause):
                m.d.sync += [self.busy.eq(0), self.done.eq(1), paused.eq(self.drain_config.pause)]
                with m.If(self.drain_config.last_layer):
                    m.d.sync += index.eq(0)
            with m.Else():
                m.d.sync += [self.ahead.eq(0), self.drain_config.eq(self.layer_config), self.drain_begin.eq(1)]
        return m
