"""When weights go: pruning and training in turns, and lottery tickets. Both are loops over the one training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.models.data.images import Targets
from skipstone.models.graph.files import pack_graph, unpack_graph
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv
from skipstone.models.pruning.criteria import Evidence
from skipstone.models.pruning.masks import Pruned, Pruning, prune
from skipstone.models.training.loop import Hook, TrainingLoop, TrainingOptions, fine_tune
from skipstone.models.training.network import GraphModule
from skipstone.models.training.sparsity import scaled
from skipstone.models.training.start import reinitialized

Images = NDArray[np.float32]


def amounts(final: float, rounds: int) -> tuple[float, ...]:
    """The share of zeros after each round, when each leaves the same share of what is left: ``1 - (1 - final)**(r / rounds)``."""
    return tuple(1 - (1 - final) ** (each / rounds) for each in range(1, rounds + 1))


def iterative(
    graph: Graph,
    pruning: Pruning,
    images: Images,
    labels: Targets | None,
    options: TrainingOptions,
    *,
    rounds: int,
    evidence: Callable[[Graph], Evidence | None] = lambda graph: None,
    teacher: Graph | None = None,
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
    own: TrainingLoop | None = None,
) -> Pruned:
    """Prunes in rounds and trains after each (Han et al., "Learning both Weights and Connections", 2015).

    Args:
        graph: The network.
        pruning: The amounts at the end; on the way they follow :func:`amounts`.
        images: N x C x H x W.
        labels: N classes; None where a teacher alone says what is right.
        options: Of the training after each round.
        rounds: How many.
        evidence: Gives the criterion what it needs about the network of each round.
        teacher: The network whose outputs are learned, where ``options.distillation`` says so.
        progress: Called with a line of text for each epoch.
        checkpoint: As in :func:`skipstone.models.training.loop.train`.
        own: As in :func:`skipstone.models.training.loop.train`.
    """
    notes: tuple[str, ...] = ()
    _check_rounds(rounds, 1)
    for number in range(1, rounds + 1):
        pruned = prune(graph, _of_round(pruning, number, rounds), evidence(graph), options.seed)
        notes = pruned.notes
        graph = fine_tune(
            pruned.graph,
            images,
            labels,
            replace(options, seed=options.seed + number),
            teacher=teacher,
            progress=lambda text, number=number: progress(f"round {number}/{rounds}, {text}"),  # type: ignore[misc]
            checkpoint=_numbered(checkpoint, number),
            own=own,
        )
    return Pruned(graph, notes)


def lottery(
    graph: Graph,
    pruning: Pruning,
    images: Images,
    labels: Targets,
    options: TrainingOptions,
    *,
    rounds: int,
    rewind_epochs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> Pruned:
    """Finds lottery tickets with rewinding (Frankle and Carbin, 2019; Frankle et al., "Linear Mode Connectivity", 2020).

    A fresh network is trained to the end (``options.epochs``). Then the weights that pruning leaves go back to where that same
    training had them after ``rewind_epochs``, and are trained again, ``rounds`` times. Each round draws its own order of images
    (seed ``options.seed`` + round) and trains all ``options.epochs``, with the learning rate from its start; the paper goes on
    from ``rewind_epochs``, with the rate at that point. A network with batch normalization goes back with it folded in, and has
    it measured again.

    Args:
        graph: The network.
        pruning: The amounts at the end; on the way they follow :func:`amounts`.
        images: N x C x H x W.
        labels: N classes.
        options: Of every training.
        rounds: How often weights go back.
        rewind_epochs: Where they go back to; 0 is the fresh network.
        progress: Called with a line of text for each epoch.
        checkpoint: As in :func:`skipstone.models.training.loop.train`.

    Raises:
        SkipstoneError: ``rewind_epochs`` is beyond the training.
    """
    _check_rounds(rounds, 0)
    if not 0 <= rewind_epochs <= options.epochs:
        raise SkipstoneError(
            f"rewind_epochs must be from 0 to the {options.epochs} epochs of training, not {rewind_epochs}"
        )
    snapshot = Snapshot(rewind_epochs, options.epochs)
    notes: tuple[str, ...] = ()
    ticket = fresh = reinitialized(graph, options.seed)
    for number in range(rounds + 1):
        trained = fine_tune(
            ticket,
            images,
            labels,
            replace(options, seed=options.seed + number),
            hooks=() if number else (snapshot,),
            progress=lambda text, number=number: progress(f"round {number}/{rounds}, {text}"),  # type: ignore[misc]
            checkpoint=_numbered(checkpoint, number),
        )
        if number == rounds:
            return Pruned(trained, notes)
        pruned = prune(trained, _of_round(pruning, number + 1, rounds), None, options.seed)
        notes = pruned.notes
        ticket = _rewound(snapshot.graph() if rewind_epochs else fresh, pruned.graph)
    raise AssertionError("the last round returns")


class Snapshot(Hook):
    """Keeps what a training of ``epochs`` has made of its network by the end of epoch ``epoch`` (from 1 on)."""

    def __init__(self, epoch: int, epochs: int) -> None:
        self._epoch, self._epochs = epoch, epochs
        self._last_step = -1
        self._packed: torch.Tensor | None = None

    def graph(self) -> Graph:
        """The network as it was; SkipstoneError before that epoch ends."""
        if self._packed is None:
            raise SkipstoneError(f"the training has not come to the end of epoch {self._epoch}")
        return unpack_graph(self._packed.numpy().tobytes())

    def begin(self, module: GraphModule, steps: int) -> None:
        self._last_step = steps // self._epochs * self._epoch - 1

    def after_update(self, module: GraphModule, step: int) -> None:
        if step == self._last_step:
            self._packed = torch.frombuffer(bytearray(pack_graph(module.to_graph())), dtype=torch.uint8)

    def settings(self) -> str:
        return f"epoch {self._epoch} of {self._epochs}"

    def state(self) -> dict[str, Any]:
        return {} if self._packed is None else {"packed": self._packed}

    def restore(self, state: dict[str, Any]) -> None:
        self._packed = state.get("packed")


def _of_round(pruning: Pruning, number: int, rounds: int) -> Pruning:
    """``pruning`` with the amounts of round ``number`` (from 1 on)."""
    return scaled(pruning, lambda final: amounts(final, rounds)[number - 1])


def _check_rounds(rounds: int, least: int) -> None:
    if rounds < least:
        raise SkipstoneError(f"pruning and training in turns needs at least {least} rounds, not {rounds}")


def _rewound(early: Graph, pruned: Graph) -> Graph:
    """``early`` where ``pruned`` has weights."""
    masks = {layer.name: layer.weights != 0 for layer in pruned.convs}
    layers = tuple(
        replace(layer, weights=np.where(masks[layer.name], layer.weights, np.float32(0)), grid=None)
        if isinstance(layer, Conv)
        else layer
        for layer in early.layers
    )
    return replace(early, layers=layers)


def _numbered(checkpoint: Path | None, number: int) -> Path | None:
    return None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-{number}{checkpoint.suffix}")
