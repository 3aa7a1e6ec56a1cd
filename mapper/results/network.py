"""Results of mapping, costing and verifying a network: frozen, with units in their names, ready for JSON and for reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number

CAUSES = ("compute", "edge", "filler", "balance", "load", "drain", "fill", "overlap")
"""Where a layer's cycles go: useful multiply-accumulates; columns without a pixel; filler entries; waiting for a slower
row; waiting for the loader; waiting for the drain; and filling and emptying the pipeline at the layer's start and end.
``overlap`` is negative: work that was done before the layer ahead had ended, in cycles that count for that one."""

STALLS = ("balance", "load", "drain", "fill", "overlap")
"""The causes in which a row does nothing at all, less the cycles that a layer did not have to take itself."""


@dataclass(frozen=True)
class EnergyTerm:
    """``count`` actions of ``pj`` each: one product of the energy's sum. ``part`` is one of
    ``skipstone.mapper.energy.energy.PARTS``, ``component`` what acts, ``source`` a key of ``NetworkResult.sources``."""

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
    """``count`` components of ``um2`` each, which leak ``leakage_nw`` each. ``source`` is a key of ``NetworkResult.sources``."""

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
    """``count`` memories of ``words`` words of ``bits`` bits, of which the network uses ``used_words`` (in the fullest of
    them)."""

    name: str
    count: int
    words: int
    bits: int
    used_words: int


@dataclass(frozen=True)
class TensorPlace:
    """A tensor in activation memory: ``words`` words from ``base`` on, held while the array's layers ``written`` (-1: by
    the host, before the first) to ``last_read`` run (numbers in ``NetworkResult.layers``; the number of the array's layers: until
    the host has read it). ``a+b``: two tensors side by side in the same words."""

    name: str
    base: int
    words: int
    written: int
    last_read: int


@dataclass(frozen=True)
class LayerResult:
    """One layer. ``cycles_by_cause`` (see ``CAUSES``) adds up to ``model_cycles``; ``energy_by_part`` to ``energy_pj``.

    ``skipped_macs``: of ``macs``, those with a zero weight, which take no cycle. ``loaded_words``: words (``load_width``
    activations) that the loader took; ``skipped_words``: those that it would have taken besides with the same tile and passes,
    were no weight zero (``skipstone.mapper.timing.skipped``). ``stall_cycles``: cycles in which rows did nothing
    (``STALLS``), mean of the rows.

    ``bound`` is ``compute``, ``load``, ``drain`` or ``edge`` (the largest group of causes; fillers and balance count as
    compute, the pipeline's fill as edge), or ``host``. ``utilization`` is useful multiply-accumulates over PEs times cycles.
    ``rtl_cycles`` and ``outputs_equal`` are None unless the RTL ran. ``operations_per_byte``: useful multiply-accumulates for
    each byte that the loader moves. ``layers``: the network's layers that run together as this one. ``folds``: how its
    input and its output are folded. ``encoded_bits``: what it takes in the weight memories. ``energy_terms`` add up to
    ``energy_pj``. ``row_entries``: the entries of a tile that each row issues, row by row, window by window of all passes
    (neighbouring windows together where there are many). A layer on the host has no cycles and no energy, and ``note`` says so.
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

    def to_row(self) -> dict[str, Any]:
        """The layer's numbers under flat names: ``compute_cycles`` and so on for the causes, ``pe_energy_pj`` for the parts,
        ``macs_count`` for the actions."""
        plain = (
            "name",
            "kind",
            "on_host",
            "bound",
            "macs",
            "nnz",
            "weights",
            "encoded_bits",
            "model_cycles",
            "rtl_cycles",
        )
        rest = ("dense_cycles", "stall_cycles", "utilization", "passes", "windows", "loaded_words", "skipped_words")
        height, width = self.tile or (None, None)
        return {
            **{name: getattr(self, name) for name in (*plain, "outputs_equal", *rest, "skipped_macs")},
            "operations_per_byte": self.operations_per_byte,
            "tile_height": height,
            "tile_width": width,
            **{f"{cause}_cycles": self.cycles_by_cause.get(cause) for cause in CAUSES},
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
    """Top-1 accuracy (0 to 1) of the float, the quantized and the compressed (pruned and quantized) network; None
    without data."""

    float: Number | None = None
    quantized: Number | None = None
    compressed: Number | None = None
    images: int = 0


@dataclass(frozen=True)
class NetworkResult(Document):
    """One network on one design. ``dense_total_cycles``: the same network, unpruned, on the same array.

    ``calibration`` says where activation ranges come from; ``technology`` names the source of energies. ``search``:
    what the mapper looked at (see ``skipstone.mapper.program.Search``). ``images_verified`` is 0 unless the RTL ran.
    ``sources`` are (what, source) of the energies. ``weight_code``: how the weights were quantized
    (``skipstone.models.quantization.weight_codes``); the multipliers that take them are in ``parameters``.
    ``area_terms`` add up to ``area_um2``. At ``frequency_mhz``, which synthesis allows up to ``fmax_mhz``, one input
    takes ``latency_us`` and the design ``power_mw`` on average (the energy of one input, DRAM included, over its
    latency). ``loading_energy_pj`` is what it takes to load the program, once, and in no other figure.
    """

    KIND: ClassVar[str] = "network"
    SCHEMA: ClassVar[int] = 2

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

    @property
    def speedup(self) -> float:
        """Cycles of the dense network over cycles of this one."""
        return self.dense_total_cycles / self.total_cycles

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
        title = f"{self.network} on {self.design}, {self.pruning}"
        return notebook.result_html(title, figures, (*header, "utilization", "energy, nJ"), rows, self.technology)


def _flat(name: str) -> str:
    return name.replace(" ", "_").replace("-", "_")
