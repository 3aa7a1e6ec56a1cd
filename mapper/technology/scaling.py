"""Scaling of logic's area, delay and energy from one node and supply to another, by a published table.

It brings what synthesis gave at 130 nm to other nodes. The table stands in
``mapper/technology/data/scaling_stillmaker2017.toml`` with its source. It does not cover leakage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp, log

from skipstone.errors import TechnologyError
from skipstone.toml_files import parse_toml


@dataclass(frozen=True)
class Process:
    """A node, its supply, and the kind of its transistors: ``HP`` (high performance) or ``LP`` (low power)."""

    node_nm: float
    supply_v: float
    transistors: str = "HP"


@dataclass(frozen=True)
class Factors:
    """Factors for the area, delay, energy and leakage of a circuit."""

    area: float = 1.0
    delay: float = 1.0
    energy: float = 1.0
    leakage: float = 1.0


@dataclass(frozen=True)
class Node:
    """A row of the table.

    Attributes:
        area: Area in the table's unit.
        energy: Polynomial of the supply, highest power first, by kind of transistor.
        delay: Polynomial of the supply, highest power first, by kind of transistor.
    """

    area: float
    energy: Mapping[str, tuple[float, ...]]
    delay: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Scaling:
    """The scaling table. Between its nodes it is interpolated linearly, all values and the node as logarithms."""

    nodes: Mapping[float, Node]
    source: str

    def factors(self, old: Process, new: Process) -> Factors:
        """Factors that take numbers of a circuit from one process to another. Leakage's factor is 1.

        Args:
            old: The process of the numbers.
            new: The process to scale to.

        Raises:
            TechnologyError: The table does not have one of the processes.
        """
        if old == new:
            return Factors()
        ratios = (at_new / at_old for at_old, at_new in zip(self._figures(old), self._figures(new), strict=True))
        return Factors(*ratios)

    def _figures(self, process: Process) -> tuple[float, float, float]:
        """Area, delay and energy in the table's own units."""
        node_list = sorted(self.nodes)
        if not node_list[0] <= process.node_nm <= node_list[-1]:
            raise TechnologyError(
                f"no scaling to {process.node_nm:g} nm; the table goes from {node_list[0]:g} to {node_list[-1]:g} nm"
            )
        below = max(node for node in node_list if node <= process.node_nm)
        above = min(node for node in node_list if node >= process.node_nm)
        figures = self._at(below, process)
        if above == below:
            return figures
        share = log(process.node_nm / below) / log(above / below)
        area, delay, energy = (
            exp((1 - share) * log(low) + share * log(high))
            for low, high in zip(figures, self._at(above, process), strict=True)
        )
        return area, delay, energy

    def _at(self, node_nm: float, process: Process) -> tuple[float, float, float]:
        node = self.nodes[node_nm]
        kind = process.transistors if process.transistors in node.energy else "HP"
        delay, energy = polynomial(node.delay[kind], process.supply_v), polynomial(node.energy[kind], process.supply_v)
        if min(delay, energy) <= 0:
            raise TechnologyError(
                f"a supply of {process.supply_v:g} V is out of the scaling table's range at {node_nm:g} nm; "
                "choose one nearer to the node's usual supply"
            )
        return node.area, delay, energy


def polynomial(coefficients: tuple[float, ...], x: float) -> float:
    """The polynomial's value at ``x``; the coefficient of the highest power comes first."""
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


@cache
def load_scaling() -> Scaling:
    """Loads the carried table."""
    name = "scaling_stillmaker2017.toml"
    text = (resources.files("skipstone.mapper.technology") / "data" / name).read_text()
    values = parse_toml(text, f"mapper/technology/data/{name}")
    nodes = {}
    for node in values["node"]:
        kinds = [kind for kind in ("HP", "LP") if kind in node]
        nodes[float(node["nm"])] = Node(
            node["area"],
            {kind: tuple(node[kind]["energy"]) for kind in kinds},
            {kind: tuple(node[kind]["delay"]) for kind in kinds},
        )
    return Scaling(nodes, values["source"])
