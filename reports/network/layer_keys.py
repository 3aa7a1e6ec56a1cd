"""What the plots of a network's layers share: their names, the bounds that occur and their colours."""

from __future__ import annotations

from skipstone.mapper.results.network import CAUSES, LayerResult, NetworkResult
from skipstone.reports.network.summary import BOUND_DEFINITIONS, count
from skipstone.reports.web.figures import Key

BOUNDS = tuple(bound for bound in BOUND_DEFINITIONS if bound != "host")


def labels(result: NetworkResult) -> list[str]:
    return [layer.name for layer in result.layers]


def none_on_host(layer: LayerResult, text: str) -> str:
    return count(None) if layer.on_host else text


def bounds(result: NetworkResult) -> tuple[str, ...]:
    """The bounds that occur among the array's layers, in their usual order."""
    return tuple(b for b in BOUNDS if any(layer.bound == b and not layer.on_host for layer in result.layers))


def bound_colour(bound: str) -> int:
    """A bound has the colour of the cause it is named after."""
    return CAUSES.index(bound)


def bound_keys(bounds: tuple[str, ...], first_trace: int = 0) -> tuple[Key, ...]:
    return tuple(
        Key(bound, bound_colour(bound), (first_trace + index,), BOUND_DEFINITIONS[bound])
        for index, bound in enumerate(bounds)
    )
