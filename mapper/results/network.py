"""Results of mapping, costing and verifying a network: frozen, with units in their names, ready for JSON and for reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import computed_field

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number

CAUSES = ("compute", "edge", "filler", "balance", "load", "drain", "fill", "overlap")
"""Where a layer's cycles go.

``compute``: useful multiply-accumulates; ``edge``: columns without a pixel; ``filler``: filler entries; ``balance``:
waiting for a slower row; ``load``: waiting for the loader; ``drain``: waiting for the drain; ``fill``: filling and
emptying the pipeline at the layer's start and end. ``overlap`` is negative: work that was done before the layer ahead
had ended, in cycles that count for that one.
"""

STALLS = ("balance", "load", "drain", "fill", "overlap")
"""The causes in which a row does nothing at all, less the cycles that overlap with the layer ahead."""


CHANGES = ("load", "weights", "rows", "drain")
"""What might make a layer faster, each change alone: ``load``: two words a cycle; ``weights``: half the nonzeros, no word
less; ``rows``: twice the rows; ``drain``: twice the requantizer lanes."""


ENLARGED = " (memories enlarged: "
"""What follows a design's name where memories were enlarged, before the list of them."""


@dataclass(frozen=True)
class EnergyTerm:
    """One product of an energy's sum.

    Attributes:
        part: One of ``skipstone.mapper.energy.energy.PARTS``.
        component: The logic or memory that acts.
        action: What it does.
        count: How often.
        pj: Energy of the action once.
        source: A key of ``NetworkResult.sources``.
    """

    part: str
    component: str
    action: str
    count: Number
    pj: Number
    source: str

    @property
    def energy_pj(self) -> float:
        return self.count * self.pj


@dataclass(frozen=True)
class AreaTerm:
    """One kind of component of a design.

    Attributes:
        component: The component's name.
        count: How many the design has.
        um2: Area of one.
        leakage_nw: Leakage of one.
        source: A key of ``NetworkResult.sources``.
    """

    component: str
    count: int
    um2: Number
    leakage_nw: Number
    source: str

    @property
    def area_um2(self) -> float:
        return self.count * self.um2


@dataclass(frozen=True)
class MemoryUse:
    """How full a kind of memory is.

    Attributes:
        name: What it holds.
        count: Memories of this kind.
        words: Words of each.
        bits: Bits of a word.
        used_words: Words that the network uses, in the fullest of them.
    """

    name: str
    count: int
    words: int
    bits: int
    used_words: int


@dataclass(frozen=True)
class TensorPlace:
    """A tensor in activation memory.

    ``written`` and ``last_read`` are numbers of the array's layers in execution order.

    Attributes:
        name: The tensor's name; ``a+b`` for two tensors side by side in the same words.
        base: Address of its first word.
        words: Words that it takes.
        written: The layer that writes it; -1 for the host before the first layer.
        last_read: The last layer that reads it; the number of layers for the host after the last layer.
    """

    name: str
    base: int
    words: int
    written: int
    last_read: int


@dataclass(frozen=True)
class LayerResult:
    """One layer of a network on a design. A layer on the host has no cycles and no energy, and ``note`` says so.

    Attributes:
        name: The layer's name.
        kind: The layer's kind.
        on_host: The host computes it.
        macs: Multiply-accumulates of the dense layer.
        nnz: Nonzero weights.
        weights: All weights, the taps of pools and copies included.
        model_cycles: Cycles of the model, from the last result of the layer before to its own.
        rtl_cycles: Cycles of the RTL; None unless it ran.
        outputs_equal: The RTL's outputs equal the reference; None unless it ran.
        dense_cycles: Cycles of the layer with every weight nonzero on the same array, if it ran alone; with trained weights
            never fewer than ``alone_cycles``. None where other layers run together there.
        bound: ``compute``, ``load`` or ``drain``: that of which half as much would save most cycles (``savings``:
            weights, load, drain); ``edge`` where that is under 5% of ``alone_cycles``; or ``host``.
        utilization: Useful multiply-accumulates over PEs times ``alone_cycles``.
        cycles_by_cause: For each of ``CAUSES``; they add up to ``model_cycles``.
        energy_pj: Energy of one inference.
        energy_by_part: For each part; they add up to ``energy_pj``.
        actions: Counts of ``skipstone.mapper.counters.Actions``.
        skipped_macs: Those of ``macs`` with a zero weight, which take no cycle.
        loaded_words: Words (``load_width`` activations) that the loader took.
        skipped_words: Words that it would have taken besides with the same tile and passes, were no weight zero
            (``skipstone.mapper.timing.skipped``).
        stall_cycles: Cycles in which rows did nothing (``STALLS``), mean of the rows.
        tile: Height and width of a tile.
        passes: Passes of the layer.
        windows: Windows of a tile in all passes.
        operations_per_byte: Useful multiply-accumulates for each byte that the loader moves.
        note: A remark.
        layers: The network's layers that run together as this one.
        folds: How its input and its output are folded.
        encoded_bits: Bits that it takes in the weight memories.
        energy_terms: They add up to ``energy_pj``.
        row_entries: Entries of a tile that each row issues, row by row, window by window of all passes (neighbouring
            windows together where there are many).
        alone_cycles: Cycles if the layer ran alone. ``model_cycles`` are fewer by what it does while the layer before
            still runs.
        savings: Cycles that each of ``CHANGES`` would save if the layer ran alone with the same tile, passes and
            windows: of the exact model.
        trained: Its weights come from the network. Those of pools, copies and lone additions do not.
    """

    name: str
    kind: str
    on_host: bool
    macs: int
    nnz: int
    weights: int
    model_cycles: int | None
    rtl_cycles: int | None
    outputs_equal: bool | None
    dense_cycles: int | None
    bound: str
    utilization: Number | None
    cycles_by_cause: dict[str, Number]
    energy_pj: Number | None
    energy_by_part: dict[str, Number]
    actions: dict[str, int]
    skipped_macs: int | None
    loaded_words: int | None
    skipped_words: int | None
    stall_cycles: Number | None
    tile: tuple[int, int] | None
    passes: int | None
    windows: int | None
    operations_per_byte: Number | None
    note: str = ""
    layers: tuple[str, ...] = ()
    folds: tuple[tuple[int, int], tuple[int, int]] | None = None
    encoded_bits: int | None = None
    energy_terms: tuple[EnergyTerm, ...] = ()
    row_entries: tuple[tuple[int, ...], ...] = ()
    alone_cycles: int | None = None
    savings: dict[str, int] = field(default_factory=dict)
    trained: bool = False

    def to_row(self) -> dict[str, Any]:
        """The layer's numbers under flat names.

        Causes are named like ``compute_cycles``, parts like ``pe_energy_pj``, actions like ``macs_count``.
        """
        plain = (
            "name",
            "kind",
            "on_host",
            "bound",
            "macs",
            "nnz",
            "weights",
            "trained",
            "encoded_bits",
            "model_cycles",
            "rtl_cycles",
        )
        rest = (
            "alone_cycles",
            "dense_cycles",
            "stall_cycles",
            "utilization",
            "passes",
            "windows",
            "loaded_words",
            "skipped_words",
        )
        height, width = self.tile or (None, None)
        return {
            **{name: getattr(self, name) for name in (*plain, "outputs_equal", *rest, "skipped_macs")},
            "operations_per_byte": self.operations_per_byte,
            "tile_height": height,
            "tile_width": width,
            **{f"{cause}_cycles": self.cycles_by_cause.get(cause) for cause in CAUSES},
            **{f"{change}_savings": self.savings.get(change) for change in CHANGES},
            "energy_pj": self.energy_pj,
            **{f"{_flat(part)}_energy_pj": value for part, value in self.energy_by_part.items()},
            **{f"{_flat(action)}_count": value for action, value in self.actions.items()},
            "note": self.note,
        }

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` of one row."""
        return notebook.frame([self.to_row()])

    def _repr_html_(self) -> str:
        causes = [(f"{cause} cycles", notebook.whole(value)) for cause, value in self.cycles_by_cause.items() if value]
        rows = [*causes, *((f"{part}, pJ", notebook.whole(value)) for part, value in self.energy_by_part.items())]
        figures = [
            ("kind", self.kind),
            ("cycles", notebook.whole(self.model_cycles)),
            ("bound", self.bound),
            ("energy, nJ", notebook.digits(None if self.energy_pj is None else self.energy_pj / 1000)),
            ("nonzeros", f"{self.nnz:,} of {self.weights:,}"),
        ]
        return notebook.result_html(self.name, figures, ("of which", "amount"), rows, self.note)


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracies, 0 to 1; None without data.

    Attributes:
        float: That of the float network.
        quantized: That of the quantized, unpruned network.
        compressed: That of the pruned and quantized network.
        images: Images that they are measured on.
    """

    float: Number | None = None
    quantized: Number | None = None
    compressed: Number | None = None
    images: int = 0


@dataclass(frozen=True)
class Rates:
    """Throughput and efficiency; a multiply-accumulate is two operations.

    Attributes:
        tops: 10^12 operations a second.
        tops_per_watt: 10^12 operations for each joule of the inference, DRAM included.
        tops_per_mm2: 10^12 operations a second for each mm2.
    """

    tops: Number
    tops_per_watt: Number
    tops_per_mm2: Number


@dataclass(frozen=True)
class NetworkResult(Document):
    """One network on one design.

    Attributes:
        network: The network's name.
        design: The design's name.
        parameters: The design's parameters.
        pruning: How the network was pruned.
        weight_bits: Bits of weights.
        activation_bits: Bits of activations.
        density: Nonzero integers over all integers of trained weights.
        calibration: Where activation ranges come from.
        technology: The source of energies.
        layers: The layers.
        total_cycles: Cycles of one inference.
        rtl_total_cycles: The same in the RTL; None unless it ran.
        dense_total_cycles: Cycles of the same network with every weight nonzero, wherever its zeros come from, on the
            same array with memories that hold it.
        total_energy_pj: Energy of one inference, DRAM included.
        area_um2: Area of the design.
        accuracy: Accuracies.
        images_verified: Images that the RTL ran; 0 unless it ran.
        sources: (key, source) of the energies.
        search: What the mapper compared (``skipstone.mapper.program.Search``).
        weight_code: How weights were quantized (``skipstone.models.quantization.weight_codes``); the multipliers that
            take them are in ``parameters``.
        node_nm: The technology's node.
        area_terms: They add up to ``area_um2``.
        frequency_mhz: The clock.
        fmax_mhz: The highest clock that synthesis allows.
        latency_us: Time of one inference.
        power_mw: Mean power: the energy of one inference, DRAM included, over its latency.
        loading_energy_pj: Energy to load the program once. It is in no other figure.
        memories: How full the memories are.
        tensors: Where tensors lie in activation memory.
        dense_total_energy_pj: Energy of the same network with every weight nonzero, at the same activations, on the same
            array with the same memories, whether they hold it or not.
        savings: Cycles that each of ``CHANGES``, made in every layer with the same tiles, passes and windows, would save
            the network: of the exact model.
        entry_bits: Bits of a nonzero weight, or a filler, in the weight memories: its value, its place, and what comes
            after it.
        value_bits: Those of them that hold the value.
    """

    KIND: ClassVar[str] = "network"
    SCHEMA: ClassVar[int] = 3

    network: str
    design: str
    parameters: dict[str, Any]
    pruning: str
    weight_bits: int
    activation_bits: int
    density: Number
    calibration: str
    technology: str
    layers: tuple[LayerResult, ...]
    total_cycles: int
    rtl_total_cycles: int | None
    dense_total_cycles: int
    total_energy_pj: Number
    area_um2: Number
    accuracy: Accuracy
    images_verified: int
    sources: tuple[tuple[str, str], ...] = ()
    search: dict[str, int] = field(default_factory=dict)
    weight_code: str = "linear"
    node_nm: int | None = None
    area_terms: tuple[AreaTerm, ...] = ()
    frequency_mhz: Number | None = None
    fmax_mhz: Number | None = None
    latency_us: Number | None = None
    power_mw: Number | None = None
    loading_energy_pj: Number | None = None
    memories: tuple[MemoryUse, ...] = ()
    tensors: tuple[TensorPlace, ...] = ()
    dense_total_energy_pj: Number | None = None
    savings: dict[str, int] = field(default_factory=dict)
    entry_bits: int | None = None
    value_bits: int | None = None

    @property
    def design_name(self) -> str:
        """The design's name without the list of enlarged memories."""
        return self.design.partition(ENLARGED)[0]

    @property
    def enlarged(self) -> str:
        """The memories that were enlarged, each with its sizes before and after; empty for none."""
        return self.design.partition(ENLARGED)[2].removesuffix(")")

    @property
    def speedup(self) -> float:
        """Cycles of the dense network over cycles of this one."""
        return self.dense_total_cycles / self.total_cycles

    @computed_field  # type: ignore[prop-decorator]
    @property
    def inputs_per_second(self) -> float | None:
        """Inferences one after the other in a second."""
        return 1e6 / self.latency_us if self.latency_us else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def effective(self) -> Rates | None:
        """What the array reaches, counting the operations that it does: nonzero weights at pixels of the image."""
        return self._rates(sum(layer.actions.get("useful_macs", 0) for layer in self.layers))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def dense_equivalent(self) -> Rates | None:
        """What a dense array of the same speed, energy and area would reach: zeros count as operations done."""
        return self._rates(sum(layer.macs for layer in self.layers if not layer.on_host))

    def _rates(self, macs: int) -> Rates | None:
        if not (self.latency_us and self.total_energy_pj and self.area_um2):
            return None
        tops = 2 * macs / self.latency_us * 1e-6
        return Rates(tops, 2 * macs / self.total_energy_pj, tops / (self.area_um2 * 1e-6))

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each layer (:meth:`LayerResult.to_row`)."""
        return notebook.frame([layer.to_row() for layer in self.layers])

    def _repr_html_(self) -> str:
        accuracy = next(
            (value for value in (self.accuracy.compressed, self.accuracy.quantized) if value is not None), None
        )
        figures = [
            ("cycles", notebook.whole(self.total_cycles)),
            *([("over dense", f"{self.speedup:.2f}x")] if self.total_cycles else []),
            ("energy, nJ", notebook.digits(self.total_energy_pj / 1000)),
            ("area, mm²", notebook.digits(self.area_um2 / 1e6)),
            *([("latency, µs", notebook.digits(self.latency_us))] if self.latency_us is not None else []),
            *([("power, mW", notebook.digits(self.power_mw))] if self.power_mw is not None else []),
            *([("accuracy", notebook.share(accuracy, 2))] if accuracy is not None else []),
        ]
        rtl = self.rtl_total_cycles is not None
        rows = [
            (
                layer.name,
                layer.kind,
                layer.bound,
                notebook.whole(layer.macs),
                notebook.whole(layer.nnz),
                notebook.whole(layer.model_cycles),
                *([notebook.whole(layer.rtl_cycles)] if rtl else []),
                notebook.share(layer.utilization),
                notebook.digits(None if layer.energy_pj is None else layer.energy_pj / 1000),
            )
            for layer in self.layers
        ]
        header = ("layer", "kind", "bound", "MACs", "nonzeros", "cycles", *(["RTL cycles"] if rtl else []))
        title = f"{self.network} on {self.design_name}, {self.pruning}"
        return notebook.result_html(title, figures, (*header, "utilization", "energy, nJ"), rows, self.technology)


def _flat(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")
