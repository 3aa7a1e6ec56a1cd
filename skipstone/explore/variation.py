"""One design of which a few parameters are varied, as ``skipstone.explore.sweep`` does; all others stay.

Some parameters can't stay where another one changes, because they are counted in its unit or must divide it. They follow
it, so that the array still holds as many activations and channels, and the result says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skipstone.explore.space import Choice, divisor
from skipstone.flow.designs import fit_design
from skipstone.hw.design import CHOICES, RANGES, Design
from skipstone.models.quantization.scheme import QuantizationScheme

OF_NETWORK = frozenset({"weight_bits", "activation_bits"})
"""Parameters of a design that follow from how the network is quantized."""
DESIGN_PARAMETERS = (*(name for name in (*RANGES, *CHOICES) if name not in OF_NETWORK), "slots")
"""What can be varied of a design: its parameters, and the words of a window."""


@dataclass(frozen=True)
class VariedDesign:
    """A design, and what of it stays.

    Args:
        design: The design that is varied.
        stated: Parameters that its file names: they don't follow the network's bits and code.
        fit_memories: Enlarge memories to what the network needs.
    """

    design: Design
    stated: tuple[str, ...] = ()
    fit_memories: bool = False

    def with_choice(self, choice: Mapping[str, Choice], scheme: QuantizationScheme) -> Design:
        """The design with what ``choice`` changes of it, fitted to the network's bits and code.

        Args:
            choice: Parameters and values; those that are not the design's are ignored.
            scheme: How the network is quantized.

        Raises:
            DesignError: The parameters don't go together.
        """
        changes: dict[str, Any] = {name: choice[name] for name in DESIGN_PARAMETERS if name in choice}
        changes = {**self._following(changes), **changes}
        if (slots := changes.pop("slots", None)) is not None:
            changes["window_depth"] = slots * changes.get("load_width", self.design.load_width)
        return fit_design(self.design.replace(**changes), scheme, {*self.stated, *changes})

    def _following(self, changes: Mapping[str, Any]) -> dict[str, int]:
        """What follows a change of ``load_width`` or of the lanes."""
        design = self.design
        width = changes.get("load_width", design.load_width)
        lanes = changes.get("requantizer_lanes", divisor(width, design.requantizer_lanes))
        following = {
            "requantizer_lanes": lanes,
            "window_depth": -(-design.window_depth // width) * width,
            "activation_words": max(2, -(-design.activation_words * design.load_width // width)),
            "parameter_words": max(2, -(-design.parameter_words * design.requantizer_lanes // lanes)),
        }
        return {name: value for name, value in following.items() if value != getattr(design, name)}
