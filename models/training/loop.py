"""The one training loop: every training step of a recipe is this loop with other hooks.

Stochastic gradient descent over a :class:`GraphModule` with a cosine learning rate, labels or a teacher or both, seeded. After
every epoch its state is saved where a checkpoint is asked for, and an interrupted training goes on from there with the same
result as one without interruption.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from skipstone.errors import SkipstoneError
from skipstone.files import write_file
from skipstone.models.data.augmentation import Augmentation
from skipstone.models.data.images import Targets, check_images, check_labels
from skipstone.models.data.metrics import classes_of
from skipstone.models.graph.files import graph_fingerprint
from skipstone.models.graph.graph import Graph
from skipstone.models.training.network import GraphModule

Tensor = torch.Tensor
Distillation = Literal["none", "labels", "teacher"]
FORMAT = 1
"""Of checkpoints; another one's are not taken up."""
TrainingLoop = Callable[[GraphModule, "Batches", "TrainingOptions"], object]
"""A loop of the user's: ``(module, batches, options)``; trains ``module`` in place."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    ``learning_rate`` is reached after ``warmup`` (share of all steps) and then falls to 0 along half a cosine.
    ``augmentation`` is how images are varied (not at all by default). ``loss`` is of labels that are classes, or the squared
    error of labels that are values, and then also of the teacher's scores. ``distillation``: ``none`` learns from labels,
    ``labels`` from labels and the teacher's scores, ``teacher`` from the scores alone (Hinton, Vinyals, Dean, "Distilling the
    Knowledge in a Neural Network", 2015: the loss is ``(1 - weight) * cross entropy + weight * temperature**2 *
    KL(teacher || student)`` of scores over ``temperature``). ``images``: how many training images an epoch sees at most (0: all).
    """

    epochs: int = 5
    learning_rate: float = 0.02
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    warmup: float = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)
    loss: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    distillation: Distillation = "none"
    temperature: float = 4.0
    weight: float = 0.7
    normalize: bool = True
    images: int = 0
    seed: int = 1


class Batches:
    """The training images of an epoch, in batches: each iteration is an epoch, in an order and with an augmentation drawn anew.

    Args:
        images: N x C x H x W.
        labels: N classes or values; None where there are none.
        options: ``batch``, ``augmentation``, and ``images``, how many of all an epoch has.
        randomness: The source of the draws.
    """

    def __init__(
        self, images: NDArray[np.float32], labels: Targets | None, options: TrainingOptions, randomness: torch.Generator
    ) -> None:
        self.images = min(len(images), options.images or len(images))
        self._pictures = torch.from_numpy(np.ascontiguousarray(images))
        self._targets = torch.from_numpy(labels) if labels is not None else None
        self._options, self._randomness = options, randomness

    def __len__(self) -> int:
        """Batches of an epoch."""
        return -(-self.images // self._options.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        order = torch.randperm(len(self._pictures), generator=self._randomness)[: self.images]
        for chosen in order.split(self._options.batch):
            x = augmented(self._pictures[chosen], self._options.augmentation, self._randomness)
            y = self._targets[chosen] if self._targets is not None else None
            yield x.contiguous(memory_format=torch.channels_last), y


class Hook:
    """What a method adds to the loop; every part does nothing unless overridden. ``step`` counts from 0 to ``steps`` - 1."""

    def begin(self, module: GraphModule, steps: int) -> None:
        """Before the first step, or before the first one after an interruption."""

    def before_step(self, module: GraphModule, step: int) -> None:
        """Before the forward pass."""

    def penalty(self, module: GraphModule) -> Tensor | None:
        """Added to the loss."""
        return None

    def before_update(self, module: GraphModule, step: int) -> None:
        """After the backward pass: gradients are there."""

    def after_update(self, module: GraphModule, step: int) -> None:
        """After the optimizer's step."""

    def settings(self) -> str:
        """The hook's options in words: a checkpoint made with others is not taken up."""
        return ""

    def state(self) -> dict[str, Any]:
        """What the hook must remember over an interruption: tensors and plain values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state` gave."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave: mean ``loss``, and the share of training images put right (None without labels)."""

    number: int
    epochs: int
    loss: float
    accuracy: float | None
    seconds: float

    def __str__(self) -> str:
        right = "" if self.accuracy is None else f", training accuracy {self.accuracy:.4f}"
        return f"epoch {self.number}/{self.epochs}: loss {self.loss:.4f}{right}, {self.seconds:.0f} s"


def train(
    module: GraphModule,
    images: NDArray[np.float32],
    labels: Targets | None,
    options: TrainingOptions,
    *,
    teacher: Graph | None = None,
    hooks: Sequence[Hook] = (),
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
    groups: Sequence[dict[str, Any]] | None = None,
    own: TrainingLoop | None = None,
) -> tuple[Epoch, ...]:
    """Trains a module in place.

    Args:
        module: The network.
        images: N x C x H x W.
        labels: N classes, or values; None where a teacher alone says what is right.
        options: Epochs, learning rate and so on.
        teacher: The network whose outputs are learned, where ``options.distillation`` says so.
        hooks: What goes along with the training: pruning, regularization.
        progress: Called with a line of text for each epoch.
        checkpoint: A file that holds the state after each epoch. If it holds the same training (network, images, labels, options,
            teacher, hooks), that one goes on; anything else is overwritten.
        groups: The optimizer's parameter groups, where not all parameters learn alike.
        own: A loop that is called in place of this one; no teacher, checkpoint or groups then.

    Returns:
        The epochs, those before an interruption too; none of a loop of the user's.

    Raises:
        SkipstoneError: The loss is not finite, or images, labels or teacher are missing or do not fit.
        OSError: The checkpoint can't be written; the old one then stays.
    """
    _check(module.graph, images, labels, teacher, options)
    if own is not None:
        _by_own_loop(module, images, labels, options, hooks, own)
        return ()
    about = "" if checkpoint is None else _identity(module, images, labels, options, teacher, hooks)
    torch.manual_seed(options.seed)
    randomness = torch.Generator().manual_seed(options.seed)
    batches = Batches(images, labels, options, randomness)
    steps = len(batches) * options.epochs
    module.train()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        list(groups) if groups is not None else _groups(module, options),
        lr=options.learning_rate,
        momentum=options.momentum,
        nesterov=options.momentum > 0,
    )
    first_rates = [group["lr"] for group in optimizer.param_groups]
    guide = GraphModule(teacher).eval() if teacher is not None else None
    history = _restored(checkpoint, about, module, optimizer, hooks, randomness)
    for hook in hooks:
        hook.begin(module, steps)
    for number in range(len(history), options.epochs):
        start, total, right = time.monotonic(), 0.0, 0
        for index, (x, y) in enumerate(batches):
            step = number * len(batches) + index
            rate = _rate(step, steps, options.warmup)
            for group, first in zip(optimizer.param_groups, first_rates, strict=True):
                group["lr"] = first * rate
            for hook in hooks:
                hook.before_step(module, step)
            scores = module(x)
            loss = _loss(scores, y, x, guide, options)
            for hook in hooks:
                extra = hook.penalty(module)
                if extra is not None:
                    loss = loss + extra
            optimizer.zero_grad()
            loss.backward()
            for hook in hooks:
                hook.before_update(module, step)
            optimizer.step()
            for hook in hooks:
                hook.after_update(module, step)
            _settle(module, optimizer)
            total += float(loss.detach()) * len(x)
            if not math.isfinite(total):
                raise SkipstoneError(
                    f"training diverged in epoch {number + 1} (the loss is not finite); lower learning_rate, now "
                    f"{options.learning_rate:g}"
                )
            if y is not None and options.loss == "cross_entropy":
                right += int((scores.detach().argmax(1) == y).sum())
        accuracy = right / batches.images if labels is not None and options.loss == "cross_entropy" else None
        history.append(Epoch(number + 1, options.epochs, total / batches.images, accuracy, time.monotonic() - start))
        progress(str(history[-1]))
        if checkpoint is not None:
            _save(checkpoint, about, module, optimizer, hooks, randomness, history)
    module.eval()
    return tuple(history)


def module_for(graph: Graph, images: NDArray[np.float32], options: TrainingOptions) -> GraphModule:
    """A module of the network, ready for training.

    Args:
        graph: The network.
        images: The first 512 serve to measure batch normalization, where ``options.normalize`` says so.
        options: Of the training.
    """
    torch.manual_seed(options.seed)
    module = GraphModule(graph)
    if options.normalize:
        module.normalize(images[:512])
    return module


def fine_tune(
    graph: Graph,
    images: NDArray[np.float32],
    labels: Targets | None,
    options: TrainingOptions,
    *,
    teacher: Graph | None = None,
    hooks: Sequence[Hook] = (),
    progress: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
    own: TrainingLoop | None = None,
) -> Graph:
    """``graph`` trained further; weights that are 0 stay 0 (unless a hook says otherwise)."""
    module = module_for(graph, images, options)
    train(
        module, images, labels, options, teacher=teacher, hooks=hooks, progress=progress, checkpoint=checkpoint, own=own
    )
    return module.to_graph()


def augmented(images: Tensor, augmentation: Augmentation, randomness: torch.Generator) -> Tensor:
    """Shifts and mirrors a batch at random.

    Args:
        images: The batch, N x C x H x W.
        augmentation: All images are shifted alike by up to ``shift`` pixels, with zeros moving in; by a quarter of an axis at
            most, so that vectors stay as they are. With ``flip`` each image is mirrored or not.
        randomness: The source of the draws.
    """
    if augmentation.shift:
        height, width = images.shape[2:]
        down, across = (min(augmentation.shift, size // 4) for size in (height, width))
        dy, dx = (int(torch.randint(0, 2 * reach + 1, (1,), generator=randomness)) for reach in (down, across))
        images = functional.pad(images, (across, across, down, down))[:, :, dy : dy + height, dx : dx + width]
    if augmentation.flip:
        mirrored = torch.rand(len(images), generator=randomness) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def _check(
    graph: Graph,
    images: NDArray[np.float32],
    labels: Targets | None,
    teacher: Graph | None,
    options: TrainingOptions,
) -> None:
    check_images(graph, images)
    if options.distillation != "teacher" and labels is None:
        raise SkipstoneError(
            "training needs labels, and the data has none; with distillation = 'teacher' the float network teaches in their place"
        )
    if options.distillation != "none" and teacher is None:
        raise SkipstoneError(f"distillation = '{options.distillation}' needs a teacher")
    if labels is None:
        return
    outputs = graph.classes
    if options.loss == "cross_entropy":
        check_labels(classes_of(labels, "cross entropy"), len(images), outputs)
    elif len(labels) != len(images) or labels.size != len(images) * outputs:
        raise SkipstoneError(
            f"{len(images)} images and {outputs} outputs need as many values, the labels' shape is {labels.shape}"
        )


def _by_own_loop(
    module: GraphModule,
    images: NDArray[np.float32],
    labels: Targets | None,
    options: TrainingOptions,
    hooks: Sequence[Hook],
    own: TrainingLoop,
) -> None:
    """Lets the user's loop train the module; masked weights stay 0 whatever it did."""
    if hooks:
        raise SkipstoneError(
            f"{type(hooks[0]).__name__} works within the steps of the built-in training loop; with a loop of your own, prune "
            "in a step of its own and train in another (fine_tune, iterative_prune, quantization_aware_training)"
        )
    torch.manual_seed(options.seed)
    module.train()
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    own(module, Batches(images, labels, options, torch.Generator().manual_seed(options.seed)), options)
    module.eval()
    with torch.no_grad():
        for conv in module.convs.values():
            conv.weight.mul_(conv.mask)
    if not all(bool(torch.isfinite(value).all()) for value in module.state_dict().values()):
        raise SkipstoneError("your training loop left weights that are not finite; did the training diverge?")


def _groups(module: GraphModule, options: TrainingOptions) -> list[dict[str, Any]]:
    """Weight decay for the layers' weights alone."""
    weights = [conv.weight for conv in module.convs.values()]
    chosen = {id(weight) for weight in weights}
    others = [p for p in module.parameters() if id(p) not in chosen and p.requires_grad]
    return [{"params": weights, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]


def _settle(module: GraphModule, optimizer: torch.optim.Optimizer) -> None:
    """Nothing is left of masked weights: one that grows back starts at 0 and at rest."""
    with torch.no_grad():
        for conv in module.convs.values():
            conv.weight.mul_(conv.mask)
            momentum = optimizer.state.get(conv.weight, {}).get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(conv.mask)


def _rate(step: int, steps: int, warmup: float) -> float:
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _loss(
    scores: Tensor, labels: Tensor | None, x: Tensor, guide: GraphModule | None, options: TrainingOptions
) -> Tensor:
    if options.loss == "squared_error":
        return _squared_error(scores, labels, x, guide, options)
    loss = scores.new_zeros(())
    if options.distillation != "teacher" and labels is not None:
        loss = functional.cross_entropy(scores, labels, label_smoothing=options.label_smoothing)
    if options.distillation == "none" or guide is None:
        return loss
    with torch.no_grad():
        target = functional.log_softmax(guide(x) / options.temperature, 1)
    answers = functional.log_softmax(scores / options.temperature, 1)
    taught = functional.kl_div(answers, target, reduction="batchmean", log_target=True) * options.temperature**2
    return taught if options.distillation == "teacher" else (1 - options.weight) * loss + options.weight * taught


def _squared_error(
    scores: Tensor, labels: Tensor | None, x: Tensor, guide: GraphModule | None, options: TrainingOptions
) -> Tensor:
    """Of labels that are values, of the teacher's scores, or of both, weighted as the cross entropy is."""
    loss = scores.new_zeros(())
    if options.distillation != "teacher" and labels is not None:
        loss = functional.mse_loss(scores, labels.reshape(scores.shape).to(scores.dtype))
    if options.distillation == "none" or guide is None:
        return loss
    with torch.no_grad():
        target = guide(x)
    taught = functional.mse_loss(scores, target)
    return taught if options.distillation == "teacher" else (1 - options.weight) * loss + options.weight * taught


def _identity(
    module: GraphModule,
    images: NDArray[np.float32],
    labels: Targets | None,
    options: TrainingOptions,
    teacher: Graph | None,
    hooks: Sequence[Hook],
) -> str:
    """A digest of all that a training depends on, before its first step."""
    digest = hashlib.sha256(repr((FORMAT, options, images.shape)).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(b"" if labels is None else np.ascontiguousarray(labels).data)
    for graph in (module.graph, teacher):
        digest.update(b"none" if graph is None else graph_fingerprint(graph).encode())
    for hook in hooks:
        digest.update(repr((type(hook).__qualname__, hook.settings())).encode())
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()


def _save(
    path: Path,
    about: str,
    module: GraphModule,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    randomness: torch.Generator,
    history: Sequence[Epoch],
) -> None:
    state = {
        "about": about,
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "hooks": [hook.state() for hook in hooks],
        "randomness": randomness.get_state(),
        "torch": torch.get_rng_state(),
        "history": [(e.number, e.epochs, e.loss, e.accuracy, e.seconds) for e in history],
    }
    packed = io.BytesIO()
    torch.save(state, packed)
    write_file(path, packed.getbuffer())


def _restored(
    path: Path | None,
    about: str,
    module: GraphModule,
    optimizer: torch.optim.Optimizer,
    hooks: Sequence[Hook],
    randomness: torch.Generator,
) -> list[Epoch]:
    """The epochs of the training saved in ``path``, whose state everything takes back; none where there is no such file, where
    it is of another training, or can't be read."""
    if path is None or not path.exists():
        return []
    try:
        state = torch.load(path, weights_only=True)
        if state["about"] != about:
            return []
        history = [Epoch(*values) for values in state["history"]]
    except Exception:  # a damaged file raises almost anything; the training starts anew then
        return []
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    for hook, stored in zip(hooks, state["hooks"], strict=True):
        hook.restore(stored)
    randomness.set_state(state["randomness"])
    torch.set_rng_state(state["torch"])
    return history
