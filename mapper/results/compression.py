"""The result of a compression: accuracy step by step, size layer by layer, and cycles and energy on a design. All
frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import computed_field

from skipstone.mapper.results import notebook
from skipstone.mapper.results.document import Document, Number, plain


@dataclass(frozen=True)
class StepResult:
    """One step of a recipe.

    Accuracies are the result's metric on the test images; None without labelled test images.

    Attributes:
        do: The kind of step.
        settings: The step's keys.
        accuracy_before: Accuracy of the float network before the step.
        accuracy_after: Accuracy of the float network after the step.
        sparsity: The share of zero weights afterwards.
        weights: All weights.
        macs: The multiply-accumulates that remain, zeros counted as work.
        seconds: What the step took when it ran.
        notes: Remarks.
        measured: What the step measured.
        integer_accuracy: Accuracy of the integers, after steps that quantize.
    """

    do: str
    settings: Mapping[str, Any]
    accuracy_before: Number | None
    accuracy_after: Number | None
    sparsity: Number
    weights: int
    macs: int
    seconds: Number
    notes: tuple[str, ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)
    integer_accuracy: Number | None = None


@dataclass(frozen=True)
class LayerSize:
    """One layer of the compressed network.

    Attributes:
        name: The layer's name.
        kind: The layer's kind.
        weights: All weights.
        nnz: Nonzero weights.
        code: The weight code.
        bits: Bits of a weight.
        encoded_bytes: The smaller of a dense array and a bitmap with the nonzero values behind it
            (``skipstone.models.quantization.encoded_size``).
    """

    name: str
    kind: str
    weights: int
    nnz: int
    code: str
    bits: int
    encoded_bytes: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sparsity(self) -> float:
        """The share of zero weights."""
        return 1 - self.nnz / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class DesignCost:
    """The compressed network on a design, beside two networks without zeros on the same design.

    ``dense`` is the compressed network itself with every weight nonzero, as everywhere. ``original`` is the network as it
    came with every weight nonzero: it differs where steps removed channels, layers or blocks. Neither need fit the
    design's memories; their energies are those of the same actions on it.

    Attributes:
        design: The design's name, which lists the memories that were enlarged for the compressed network.
        multiplier: The design's kind of multiplier.
        cycles: Cycles of one inference.
        energy_pj: Energy of one inference.
        area_um2: Area of the design, enlarged memories included.
        weight_memory_bytes: Bytes that weights take in the design's memories: ``entry_bits`` for each nonzero or filler.
        dense_cycles: Cycles of the dense network.
        dense_energy_pj: Energy of the dense network.
        original_cycles: Cycles of the original network.
        original_energy_pj: Energy of the original network.
        entry_bits: Bits of an entry: the weight's value, its place, and what comes after it.
        value_bits: Those of them that hold the value.
        layers: Cycles by the names of the array's layers.
    """

    design: str
    multiplier: str
    cycles: int
    energy_pj: Number
    area_um2: Number
    weight_memory_bytes: int
    dense_cycles: int
    dense_energy_pj: Number
    original_cycles: int
    original_energy_pj: Number
    entry_bits: int
    value_bits: int
    layers: Mapping[str, int] = field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def speedup(self) -> float:
        """Cycles of the dense network over cycles of the compressed one."""
        return self.dense_cycles / self.cycles

    @computed_field  # type: ignore[prop-decorator]
    @property
    def speedup_over_original(self) -> float:
        """Cycles of the original network over cycles of the compressed one."""
        return self.original_cycles / self.cycles


@dataclass(frozen=True)
class CompressionResult(Document):
    """A compressed network and how it came about.

    Attributes:
        network: The network's name.
        recipe: The recipe's name.
        seed: The recipe's seed.
        data: The data set in words.
        test_images: Images that accuracies are measured on.
        float_accuracy: Accuracy of the original network.
        accuracy: Accuracy of the integers at the end.
        steps: The recipe's steps.
        layers: Sizes of the layers.
        float_bytes: Bytes of all original weights in float32.
        weight_code: The weight code.
        weight_bits: Bits of weights.
        activation_bits: Bits of activations.
        calibration: Where activation ranges come from.
        cost: What the network costs on a design; None without one.
        decisions: What an automatic search measured and decided, in words.
        key: A digest of all that determines the network.
        metric: What accuracies are: ``top-1``, ``top-5``, ``mean-squared-error`` (negative, so that higher is better), or
            the name of the user's function.
        metric_is_share: Accuracies are shares from 0 to 1.
    """

    KIND: ClassVar[str] = "compression"
    SCHEMA: ClassVar[int] = 3

    network: str
    recipe: str
    seed: int
    data: str
    test_images: int
    float_accuracy: Number | None
    accuracy: Number | None
    steps: tuple[StepResult, ...]
    layers: tuple[LayerSize, ...]
    float_bytes: int
    weight_code: str
    weight_bits: int
    activation_bits: int
    calibration: str
    cost: DesignCost | None = None
    decisions: tuple[str, ...] = ()
    key: str = ""
    metric: str = "top-1"
    metric_is_share: bool = True

    @computed_field  # type: ignore[prop-decorator]
    @property
    def encoded_bytes(self) -> int:
        """Bytes of all layers."""
        return sum(layer.encoded_bytes for layer in self.layers)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """Bytes of the original weights over bytes of the encoded ones."""
        return self.float_bytes / max(1, self.encoded_bytes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sparsity(self) -> float:
        """The share of zero weights."""
        weights = sum(layer.weights for layer in self.layers)
        return 1 - sum(layer.nnz for layer in self.layers) / max(1, weights)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loss_points(self) -> float | None:
        """Accuracy lost against float: percentage points of a share, else in the metric's own unit."""
        if self.accuracy is None or self.float_accuracy is None:
            return None
        return (100 if self.metric_is_share else 1) * (self.float_accuracy - self.accuracy)

    def loss_text(self) -> str:
        """The loss in words."""
        loss = self.loss_points or 0.0
        amount = f"{abs(loss):.2f} points" if self.metric_is_share else f"{abs(loss):.4g}"
        return f"{amount} {'lost' if loss >= 0 else 'gained'}"

    @property
    def accuracy_name(self) -> str:
        """What accuracies are called: top-1 is what is commonly meant, all else has its name."""
        return "accuracy" if self.metric == "top-1" else self.metric

    def accuracy_text(self, accuracy: float | None) -> str:
        """One of the result's accuracies, as it is shown."""
        if accuracy is None:
            return "-"
        return f"{100 * accuracy:.2f}%" if self.metric_is_share else f"{accuracy:.4g}"

    def to_frame(self, of: Literal["layers", "steps"] = "layers") -> Any:
        """A ``pandas.DataFrame`` with a row for each layer or each step."""
        if of == "layers":
            return notebook.frame([{**dataclasses.asdict(layer), "sparsity": layer.sparsity} for layer in self.layers])
        if of == "steps":
            return notebook.frame([plain(dataclasses.asdict(step)) for step in self.steps])
        raise ValueError(f"a compression has frames of 'layers' and of 'steps', not of {of!r}")

    def _repr_html_(self) -> str:
        figures = [
            (self.metric, self.accuracy_text(self.accuracy)),
            ("of float", self.accuracy_text(self.float_accuracy)),
            ("smaller", f"{self.ratio:.1f}x"),
            ("zeros", notebook.share(self.sparsity)),
            *(
                []
                if self.cost is None
                else [
                    (f"cycles on {self.cost.design}", notebook.whole(self.cost.cycles)),
                    ("over dense", f"{self.cost.speedup:.2f}x"),
                ]
            ),
        ]
        rows = [
            (
                step.do,
                self.accuracy_text(step.accuracy_before),
                self.accuracy_text(step.accuracy_after),
                notebook.share(step.sparsity),
                notebook.whole(step.weights),
                notebook.whole(step.macs),
            )
            for step in self.steps
        ]
        header = ("step", f"{self.metric} before", "after", "zeros", "weights", "MACs")
        return notebook.result_html(f"{self.network}, {self.recipe}", figures, header, rows, self.data)
