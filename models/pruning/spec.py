"""Pruning in a word, as users and search spaces write it: ``unstructured:0.8``, ``2:4``, ``stripe/l2@network:0.3``."""

from __future__ import annotations

import re
from dataclasses import replace

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Images
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.criteria import CRITERIA, Evidence
from skipstone.models.pruning.masks import SCOPES, Pruned, Pruning, prune
from skipstone.models.pruning.statistics import measure
from skipstone.models.pruning.structures import GRANULARITIES

_NAMES = ", ".join("blockROWSxCOLUMNS" if name == "block" else name for name in GRANULARITIES if name != "nm")
METHODS = (
    "none, unstructured:AMOUNT, global:AMOUNT, N:M (as 2:4), GRANULARITY[/CRITERION][@SCOPE]:AMOUNT; the granularities are "
    f"{_NAMES}; the criteria are {', '.join(CRITERIA)}; the scopes are {', '.join(SCOPES)}"
)

_UNSTRUCTURED = Pruning("weight", may_empty=True)
_GLOBAL = Pruning("weight", scope="network", may_empty=True)
_FORM = re.compile(r"(?P<what>[a-z_]+|block(?P<rows>\d+)x(?P<columns>\d+))(?:/(?P<criterion>\w+))?(?:@(?P<scope>\w+))?")


def parse(text: str) -> Pruning | None:
    """The pruning that ``text`` names, None for ``none``.

    - ``unstructured:0.8`` and ``global:0.8``: the smallest weights of each layer, or of all; a layer may lose all of them.
    - ``2:4`` or ``nm:2:4``; ``nm/wanda:2:4`` by another criterion than magnitude.
    - ``GRANULARITY[/CRITERION][@SCOPE]:AMOUNT``, as ``filter:0.5``, ``block4x1:0.5``, ``weight/wanda@output:0.5``.
    """
    if text == "none":
        return None
    try:
        structured = re.fullmatch(r"(?:nm(?:/(\w+))?:)?(\d+):(\d+)", text)
        if structured:
            return Pruning("nm", n=int(structured[2]), m=int(structured[3]), criterion=structured[1] or "l1")
        name, separator, value = text.partition(":")
        base = _method(name) if separator else None
        if base is not None:
            return replace(base, amount=_amount(value))
    except SkipstoneError as error:
        raise SkipstoneError(f"pruning '{text}': {error}") from None
    raise SkipstoneError(f"no pruning method '{text}'; the methods are {METHODS}")


def describe(pruning: Pruning | None) -> str:
    """The text that :func:`parse` reads; ``amounts`` and ``skip``, which it has no words for, are counted after it."""
    if pruning is None:
        return "none"
    plain = replace(pruning, amount=0.0, amounts={}, skip=())
    criterion = "" if pruning.criterion == "l1" else f"/{pruning.criterion}"
    if pruning.granularity == "nm":
        text = f"{pruning.n}:{pruning.m}" if not criterion else f"nm{criterion}:{pruning.n}:{pruning.m}"
    elif plain in (_UNSTRUCTURED, _GLOBAL):
        text = f"{'unstructured' if plain == _UNSTRUCTURED else 'global'}:{pruning.amount:g}"
    else:
        block = f"{pruning.block[0]}x{pruning.block[1]}" if pruning.granularity == "block" else ""
        scope = "" if pruning.scope == "layer" else f"@{pruning.scope}"
        text = f"{pruning.granularity}{block}{criterion}{scope}:{pruning.amount:g}"
    extra = [f"{len(pruning.amounts)} layers otherwise"] if pruning.amounts else []
    extra += [f"{len(pruning.skip)} layers skipped"] if pruning.skip else []
    return f"{text} ({', '.join(extra)})" if extra else text


def prune_as(graph: Graph, text: str, images: Images | None = None, seed: int = 0) -> Pruned:
    """Prunes a network as a text says.

    Args:
        graph: The network.
        text: METHOD:AMOUNT, as :func:`parse` reads it.
        images: What criteria that look at activations measure them on.
        seed: Of random choices.

    Raises:
        SkipstoneError: The text makes no sense, or its criterion needs gradients or images that are not there.
    """
    pruning = parse(text)
    if pruning is None:
        return Pruned(graph)
    evidence = None
    if CRITERIA[pruning.criterion].needs == "statistics" and images is not None:
        evidence = Evidence(statistics=measure(graph, images))
    return prune(graph, pruning, evidence, seed)


def _method(name: str) -> Pruning | None:
    """What stands before the colon, with an amount of 0; None where there is no such method."""
    fixed = {"unstructured": _UNSTRUCTURED, "global": _GLOBAL}.get(name)
    form = _FORM.fullmatch(name)
    if fixed is not None or form is None:
        return fixed
    what, criterion, scope = form["what"], form["criterion"] or "l1", form["scope"] or "layer"
    if form["rows"]:
        return Pruning("block", block=(int(form["rows"]), int(form["columns"])), criterion=criterion, scope=scope)  # type: ignore[arg-type]
    if what not in GRANULARITIES or what in ("nm", "block"):
        return None
    return Pruning(what, criterion=criterion, scope=scope)  # type: ignore[arg-type]  # Pruning checks the scope


def _amount(value: str) -> float:
    try:
        amount = float(value)
    except ValueError:
        raise SkipstoneError(f"sparsity must be a number, not '{value}'") from None
    if not 0 <= amount < 1:
        raise SkipstoneError(f"sparsity must be at least 0 and below 1, not {value}")
    return amount
