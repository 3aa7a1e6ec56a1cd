"""The evaluation of one point of a search space: a choice goes in, its design and its exact figures come out.

Everything is kept under what determines it: compressed networks under the choices that compress, programs' cycles and actions
under the network's integers and the parameters that the mapper looks at, accuracy under the integers and the images. A choice
that can't be built, or does not fit, has a ``problem`` in words in place of figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.explore.accuracy import AccuracyMeter
from skipstone.explore.compression import CompressedNetwork, Compression, Compressor
from skipstone.explore.space import FITTED, MEMORIES, Choice, divisor
from skipstone.explore.store import Store
from skipstone.explore.variation import VariedDesign
from skipstone.flow.designs import fit_design
from skipstone.flow.prepare import CompressionOptions, sample_inputs
from skipstone.hw.design import Design
from skipstone.mapper.cost import NetworkCost, cost, price
from skipstone.mapper.counters import Actions
from skipstone.mapper.energy.operands import IMAGES, Operands, operands_of
from skipstone.mapper.lowering.memory_fit import memory_sizes, with_memories_for
from skipstone.mapper.lowering.memory_sizes import ROOMY, roomy
from skipstone.mapper.lowering.workload import UNFOLDED
from skipstone.mapper.results.exploration import METRICS
from skipstone.mapper.technology.technology import DEFAULT_NODE_NM, Technology, load_technology

RESOURCES = ("dsps", "block_rams", "luts")
CLOCKED = frozenset({"latency_us", "energy_pj", "power_mw", "clock_reached", "inputs_per_second", "tops_per_watt"})
"""Metrics that depend on the clock: with any of them ``frequency_mhz`` is a figure of the point, too."""
PRICES = ("latency_us", "energy_pj", "area_um2", "power_mw", "frequency_mhz")
"""Metrics that are those of the same name of ``skipstone.mapper.cost.Price``."""
RATES = ("inputs_per_second", "tops_per_watt")
PRICED = frozenset({*PRICES, *RATES, "clock_reached"})
"""Metrics that need a technology."""
_PLAIN = (
    "rows",
    "cols",
    "load_width",
    "windows",
    "accumulators",
    "accumulator_bits",
    "reach",
    "leave_bits",
    "index_coding",
    "delta_bits",
    "max_stride",
    "max_dimension",
)
"""Choices that are the design's parameters of the same name."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is the same for all choices.

    ``accuracy_images``: of the evaluation images, how many accuracy is measured on. ``store``: the SQLite file that keeps
    accuracies and solved layers (None: in memory). ``device``: the FPGA that resources are counted for. ``technology``
    (a node in nm, or a file) and ``frequency_mhz`` hold where the space has no choices of them (None: the node's own).
    ``base``: the design that choices vary, with its memories (None: a choice has all parameters of a design, and memories
    are fitted to the network)."""

    accuracy_images: int = 200
    store: str | None = None
    device: str = "ecp5"
    technology: str = str(DEFAULT_NODE_NM)
    frequency_mhz: float | None = None
    base: VariedDesign | None = None


@dataclass(frozen=True)
class Evaluation:
    """``metrics``: those that were asked for, and the clock that they are at. With a ``problem`` there are none, and no design
    where none could be made."""

    design: Design | None
    metrics: Mapping[str, float]
    problem: str | None = None


@dataclass(frozen=True)
class _Mapped:
    """A network's cached cost on a design, without the program: the actions of each workload, and the least size of each
    memory.

    ``depends_on_memories``: smaller memories may force another mapping.
    """

    actions: tuple[Actions, ...]
    needed: Mapping[str, int]
    depends_on_memories: bool

    @classmethod
    def of(cls, network_cost: NetworkCost) -> _Mapped:
        program = network_cost.program
        plain = all(
            len(layer.layers) == 1 and layer.input.fold == layer.outputs[0].fold == UNFOLDED for layer in program.layers
        )
        return cls(network_cost.actions, network_cost.memories_needed, plain and program.search.programs > 1)

    @property
    def cycles(self) -> int:
        return sum(layer.cycles for layer in self.actions)


class Evaluator:
    """Evaluates points of one network; made once in each worker process. Equal choices give equal figures in every process."""

    def __init__(
        self,
        network: str,
        options: CompressionOptions | None = None,
        settings: EvaluationSettings | None = None,
    ) -> None:
        self._options = options or CompressionOptions()
        self._settings = settings or EvaluationSettings()
        store = Store(self._settings.store)
        self.compressor = Compressor(network, self._options, store)
        prepared = self.compressor.given
        self.meter = AccuracyMeter(prepared.evaluation, self._settings.accuracy_images, store)
        self._technologies: dict[tuple[str, float | None], Technology] = {}
        self._operands: dict[str, Operands] = {}
        self._mapped: dict[tuple[str, Design], _Mapped | SkipstoneError] = {}

    @property
    def has_accuracy(self) -> bool:
        """Whether there are labelled images."""
        return self.meter.images > 0

    @property
    def calibration(self) -> str:
        """Where activation ranges come from, in words."""
        return self.compressor.given.compressed.calibration

    def evaluate(
        self, choice: Mapping[str, Choice], metrics: frozenset[str] = frozenset(METRICS) - frozenset(RESOURCES)
    ) -> Evaluation:
        """The figures of one choice.

        Args:
            choice: Parameters of a search space and their values.
            metrics: Keys of ``METRICS`` to compute. With what depends on the clock, the clock comes too.

        Returns:
            The design and its figures; for what can't be built or mapped, the reason.

        Raises:
            SkipstoneError: There is no such metric or parameter.
        """
        unknown = sorted(metrics - set(METRICS))
        if unknown:
            raise SkipstoneError(f"no metric '{unknown[0]}'; the metrics are {', '.join(METRICS)}")
        design = None
        try:
            compressed = self.compressor.compressed(Compression.of(choice, self._options))
            if self._settings.base is not None:
                design = self._varied(self._settings.base, choice, compressed)
                mapped = self._map(compressed, design)
            else:
                largest = self._largest(choice, compressed.options)
                mapped = self._map(compressed, largest)
                design = _sized(largest, choice, mapped.needed)
                if mapped.depends_on_memories:
                    mapped = self._map(compressed, design)
            return Evaluation(design, self._figures(choice, compressed, mapped, design, metrics))
        except SkipstoneError as error:
            return Evaluation(design, {}, str(error))

    def _technology(self, which: str, frequency_mhz: float | None) -> Technology:
        key = which, frequency_mhz
        if key not in self._technologies:
            self._technologies[key] = load_technology(which, frequency_mhz)
        return self._technologies[key]

    def network(self, choice: Mapping[str, Choice]) -> CompressedNetwork:
        """The compressed network of a choice, to be written or verified.

        Raises:
            SkipstoneError: It can't be made.
        """
        return self.compressor.compressed(Compression.of(choice, self._options))

    # The design ------------------------------------------------------------------------------------------------------

    def _largest(self, choice: Mapping[str, Choice], options: CompressionOptions) -> Design:
        """The design of a choice; memories that are fitted to the network hold anything."""
        chosen = _chosen_memories(choice)
        width = int(choice["load_width"])
        depth = int(choice["window_depth"]) if "window_depth" in choice else int(choice["slots"]) * width
        plain: dict[str, Any] = {name: choice[name] for name in _PLAIN if name in choice}
        fixed = {"accumulator_bits"} & plain.keys()
        base = Design(
            name=_name(choice),
            window_depth=depth,
            requantizer_lanes=divisor(width, int(choice["requantizer_lanes"])),
            **plain,
            **{name: ROOMY[name] for name in MEMORIES} | chosen,
        )
        return roomy(fit_design(base, options.scheme, fixed), chosen)

    def _varied(self, base: VariedDesign, choice: Mapping[str, Choice], compressed: CompressedNetwork) -> Design:
        design = base.with_choice(choice, compressed.options.scheme)
        return with_memories_for(compressed.network, design) if base.fit_memories else design

    # Figures ---------------------------------------------------------------------------------------------------------

    def _map(self, compressed: CompressedNetwork, design: Design) -> _Mapped:
        key = compressed.digest, design
        if key not in self._mapped:
            try:
                operands = self._operands_of(compressed)
                self._mapped[key] = _Mapped.of(cost(compressed.network, design, operands=operands))
            except SkipstoneError as error:
                self._mapped[key] = error
        mapped = self._mapped[key]
        if isinstance(mapped, SkipstoneError):
            raise mapped.with_traceback(None)
        return mapped

    def _operands_of(self, compressed: CompressedNetwork) -> Operands:
        if compressed.digest not in self._operands:
            images = sample_inputs(self.compressor.given, IMAGES)
            self._operands[compressed.digest] = operands_of(compressed.network, images)
        return self._operands[compressed.digest]

    def _figures(
        self,
        choice: Mapping[str, Choice],
        compressed: CompressedNetwork,
        mapped: _Mapped,
        design: Design,
        metrics: frozenset[str],
    ) -> dict[str, float]:
        figures: dict[str, float] = {"cycles": mapped.cycles}
        if metrics & CLOCKED:
            metrics |= {"frequency_mhz"}
        if metrics & PRICED:
            node = str(choice.get("node_nm", self._settings.technology))
            frequency = choice.get("frequency_mhz", self._settings.frequency_mhz)
            technology = self._technology(node, None if frequency is None else float(frequency))
            figures |= _prices(mapped, design, technology)
        if metrics & set(RESOURCES):
            figures |= _resources(design, self._settings.device)
        if "accuracy" in metrics:
            figures["accuracy"] = self.meter.accuracy(compressed.network, compressed.digest)
        return {name: figures[name] for name in METRICS if name in metrics}


def _name(choice: Mapping[str, Choice]) -> str:
    return f"{choice['rows']}x{choice['cols']}-l{choice['load_width']}-w{choice['windows']}"


def _chosen_memories(choice: Mapping[str, Choice]) -> dict[str, Any]:
    """The memory sizes that are not fitted to the network."""
    return {name: choice[name] for name in MEMORIES if choice.get(name, FITTED) != FITTED}


def _sized(largest: Design, choice: Mapping[str, Choice], needed: Mapping[str, int]) -> Design:
    """``largest`` with each fitted memory cut to the next power of two that holds what is needed."""
    chosen = _chosen_memories(choice)
    return largest.replace(**{name: size for name, size in memory_sizes(needed).items() if name not in chosen})


def _prices(mapped: _Mapped, design: Design, technology: Technology) -> dict[str, float]:
    """Latency, energy, power and rates of one inference, area, and the clock that they are at: where the design does not
    reach the one that was asked for, the fastest that it reaches."""
    priced = price(mapped.actions, design, replace(technology, frequency_fixed=False))
    figures = {name: getattr(priced, name) for name in PRICES}
    operations = 2 * sum(layer.useful_macs for layer in mapped.actions)
    figures["clock_reached"] = (
        min(1.0, priced.frequency_mhz / technology.frequency_mhz) if technology.frequency_fixed else 1.0
    )
    figures["inputs_per_second"] = 1e6 / priced.latency_us
    figures["tops_per_watt"] = operations / priced.energy_pj
    return figures


def _resources(design: Design, device: str) -> dict[str, float]:
    """What a synthesis for an FPGA would take, by the fitted model."""
    from skipstone.mapper.fpga import resources as fpga

    taken = fpga.resources(design, device)
    return {name: getattr(taken, name) for name in RESOURCES}
