"""What a compression gives: accuracy step by step, size layer by layer, and on a design cycles and energy. All frozen."""

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
    """One step of a recipe. Accuracies are top-1 (0 to 1) of the float network on the test images, before and after;
    None without labelled test images; ``integer_accuracy`` that of the integers, after steps that quantize.
    ``sparsity`` is the share of zero weights afterwards, ``macs`` the multiply-accumulates that remain if zeros are
    counted as work, ``weights`` all weights. ``seconds`` is what the step took when it ran."""

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
    """One layer of the compressed network. ``encoded_bytes`` is the least of what its weights take as a dense array, and as a
    bitmap with the nonzero values behind it (``skipstone.models.quantization.encoded_size``)."""

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
        return 1 - self.nnz / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class DesignCost:
    """The compressed network on a design. ``dense_cycles`` and ``dense_energy_pj``: the network as it came, int8 and
    unpruned, on the design as it was given (with linear multipliers). ``layers``: cycles by the names of the array's layers."""

    design: str
    multiplier: str
    cycles: int
    energy_pj: Number
    area_um2: Number
    weight_memory_bytes: int
    dense_cycles: int
    dense_energy_pj: Number
    layers: Mapping[str, int] = field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def speedup(self) -> float:
        return self.dense_cycles / self.cycles


@dataclass(frozen=True)
class CompressionResult(Document):
    """``float_accuracy`` is the network's as it came, ``accuracy`` that of the integers at the end, both on ``test_images``
    images of ``data``. ``float_bytes`` are all its weights in float32; ``ratio`` is these over the encoded bytes.
    ``decisions``: what an automatic search measured and decided, in words. ``key`` stands for all that determines the network."""

    KIND: ClassVar[str] = "compression"
    SCHEMA: ClassVar[int] = 1

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

    @computed_field  # type: ignore[prop-decorator]
    @property
    def encoded_bytes(self) -> int:
        return sum(layer.encoded_bytes for layer in self.layers)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        return self.float_bytes / max(1, self.encoded_bytes)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sparsity(self) -> float:
        weights = sum(layer.weights for layer in self.layers)
        return 1 - sum(layer.nnz for layer in self.layers) / max(1, weights)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def loss_points(self) -> float | None:
        """Accuracy lost against float, in percentage points."""
        if self.accuracy is None or self.float_accuracy is None:
            return None
        return 100 * (self.float_accuracy - self.accuracy)

    def to_frame(self, of: Literal["layers", "steps"] = "layers") -> Any:
        """A ``pandas.DataFrame`` with a row for each layer or each step."""
        if of == "layers":
            return notebook.frame([{**dataclasses.asdict(layer), "sparsity": layer.sparsity} for layer in self.layers])
        if of == "steps":
            return notebook.frame([plain(dataclasses.asdict(step)) for step in self.steps])
        raise ValueError(f"a compression has frames of 'layers' and of 'steps', not of {of!r}")

    def _repr_html_(self) -> str:
        figures = [
            ("accuracy", notebook.share(self.accuracy, 2)),
            ("of float", notebook.share(self.float_accuracy, 2)),
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
                notebook.share(step.accuracy_before, 2),
                notebook.share(step.accuracy_after, 2),
                notebook.share(step.sparsity),
                notebook.whole(step.weights),
                notebook.whole(step.macs),
            )
            for step in self.steps
        ]
        header = ("step", "accuracy before", "after", "zeros", "weights", "MACs")
        return notebook.result_html(f"{self.network}, {self.recipe}", figures, header, rows, self.data)
