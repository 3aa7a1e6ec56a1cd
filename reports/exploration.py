"""One costed point of a design-space exploration: what the explorer hands to ``reports.pareto``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExplorationPoint:
    """One design with one pruning. ``number`` is its place in the search; ``accuracy`` (0 to 1) is None without data.

    ``parameters`` are the design's parameters; ``on_front`` says that no other point is better in
    every objective searched.
    """

    number: int
    design: str
    parameters: dict[str, Any]
    pruning: str
    cycles: int
    energy_pj: float
    area_um2: float
    accuracy: float | None
    on_front: bool

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def front_first(points: Sequence[ExplorationPoint]) -> list[ExplorationPoint]:
    """The points on the front, then the others; each group from the fewest cycles up."""
    return sorted(points, key=lambda point: (not point.on_front, point.cycles, point.energy_pj, point.number))


def varying_parameters(points: Sequence[ExplorationPoint]) -> list[str]:
    """Names of the parameters that are not the same at every point, in the order in which they are first met.

    A design's name and description are no parameters of the search and never among them.
    """
    names = dict.fromkeys(name for point in points for name in point.parameters if name not in ("name", "description"))
    missing = object()
    return [
        name
        for name in names
        if any(point.parameters.get(name, missing) != points[0].parameters.get(name, missing) for point in points)
    ]
