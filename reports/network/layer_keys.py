"""What plots of a network's layers share: names of layers, and the bounds with their colours and keys."""

from __future__ import annotations

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.summary import BOUND_DEFINITIONS, count
from skipstone.reports.web.figures import Key

BOUNDS = tuple(bound for bound in BOUND_DEFINITIONS if bound != "host")


def labels(result: NetworkResult) -> list[str]:
    """The layers' names."""
    return [layer.name for layer in result.layers]


def none_on_host(layer: LayerResult, text: str) -> str:
    """``text``, or a dash for a layer on the host."""
    return count(None) if layer.on_host else text


def bounds(result: NetworkResult) -> tuple[str, ...]:
    """The bounds that occur among the array's layers, in their usual order."""
    return tuple(b for b in BOUNDS if any(layer.bound == b and not layer.on_host for layer in result.layers))


def bound_colour(bound: str) -> int:
    """The series whose colour a bound has: that of the cause of the same name."""
    return CAUSES.index(bound)


def bound_keys(bounds: tuple[str, ...], first_trace: int = 0) -> tuple[Key, ...]:
    """A key for each bound, whose traces follow each other from ``first_trace`` on."""
    return tuple(
        Key(bound, bound_colour(bound), (first_trace + index,), BOUND_DEFINITIONS[bound])
        for index, bound in enumerate(bounds)
    )
