"""The training loop learns, repeats for the same seed, resumes after interruptions, and names missing data."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.augmentation import Augmentation
from skipstone.models.data.float_execution import float_accuracy, float_scores
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import AveragePool
from skipstone.models.pruning.masks import Pruning, prune
from tests.models.builders import conv_layer, floats, graph_of

torch = pytest.importorskip("torch")

from skipstone.models.training import loop
from skipstone.models.training.loop import Epoch, Hook, TrainingOptions, fine_tune, module_for, train
from skipstone.models.training.sparsity import GradualPruning, RigL

RELU = (0.0, math.inf)
OPTIONS = TrainingOptions(epochs=3, learning_rate=0.05, batch=16, augmentation=Augmentation(shift=1), seed=4)


def tiny() -> Graph:
    """Two convolutions, a pool and a classifier of three classes."""
    return graph_of(
        conv_layer("a", "x", (6, 2, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        conv_layer("b", "a", (8, 6, 3, 3), padding=(1, 1, 1, 1), stride=(2, 2), clamp=RELU),
        AveragePool(name="p", inputs=("b",), kernel=(3, 3)),
        conv_layer("g", "p", (3, 8, 1, 1), gemm=True),
        shape=(2, 6, 6),
    )


def problem(count: int = 56, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with 1 added to one channel, to the other, or to none: three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.normal(0, 0.5, (count, 2, 6, 6)).astype(np.float32)
    for channel in (0, 1):
        images[labels == channel, channel] += 1
    return images, labels


def assert_equal_weights(first: Graph, second: Graph) -> None:
    """Bit for bit."""
    for a, b in zip(first.convs, second.convs, strict=True):
        assert a.weights.tobytes() == b.weights.tobytes(), a.name
        assert a.bias.tobytes() == b.bias.tobytes(), a.name


def differ(first: Graph, second: Graph) -> bool:
    return any((a.weights != b.weights).any() for a, b in zip(first.convs, second.convs, strict=True))


@pytest.mark.parametrize("normalize", [False, True])
def test_it_learns(normalize: bool) -> None:
    images, labels = problem(96)
    module = module_for(tiny(), images, OPTIONS)
    options = replace(
        OPTIONS, normalize=normalize, epochs=8, augmentation=Augmentation(1, flip=True), learning_rate=0.02
    )
    module = module_for(tiny(), images, options)
    messages: list[str] = []
    history = train(module, images, labels, options, progress=messages.append)
    assert [epoch.number for epoch in history] == list(range(1, 9))
    assert history[-1].loss < history[0].loss / 3
    assert messages == [str(epoch) for epoch in history]
    assert not module.training
    fresh, truth = problem(200, seed=1)
    assert float_accuracy(module.to_graph(), fresh, truth) > 0.9


def test_epochs_in_words() -> None:
    assert str(Epoch(2, 5, 0.123456, 0.9, 3.4)) == "epoch 2/5: loss 0.1235, training accuracy 0.9000, 3 s"
    assert str(Epoch(2, 5, 0.123456, None, 3.4)) == "epoch 2/5: loss 0.1235, 3 s"


def test_the_same_seed_gives_the_same_weights() -> None:
    images, labels = problem()
    first = fine_tune(tiny(), images, labels, OPTIONS)
    torch.rand(3)
    assert_equal_weights(first, fine_tune(tiny(), images, labels, OPTIONS))
    assert differ(first, fine_tune(tiny(), images, labels, replace(OPTIONS, seed=5)))


def test_no_epochs_change_nothing() -> None:
    images, labels = problem()
    result = fine_tune(tiny(), images, labels, replace(OPTIONS, epochs=0, normalize=False))
    assert_equal_weights(result, tiny())


class InterruptedTrainingError(Exception):
    pass


def interrupted_after(epochs: int) -> Callable[[str], None]:
    """A progress function that interrupts the training in the epoch after ``epochs``, as a power failure would."""
    messages: list[str] = []

    def progress(text: str) -> None:
        messages.append(text)
        if len(messages) > epochs:
            raise InterruptedTrainingError

    return progress


class Counting(Hook):
    """A hook with a state outside the module, which its penalty depends on."""

    def __init__(self) -> None:
        self.steps = 0

    def penalty(self, module: Any) -> Any:
        return module.convs["a"].weight.square().sum() * (0.001 * self.steps)

    def after_update(self, module: Any, step: int) -> None:
        self.steps += 1

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


HOOKS: dict[str, Callable[[], list[Hook]]] = {
    "none": list,
    "rigl": lambda: [RigL(every=2, fraction=0.5, until=0.9)],
    "gradual": lambda: [GradualPruning(Pruning("weight", 0.7), every=2, until=0.8)],
    "own state": lambda: [Counting()],
}


@pytest.mark.parametrize("hooks", HOOKS)
def test_a_resumed_training_gives_the_uninterrupted_weights(hooks: str, tmp_path: Path) -> None:
    images, labels = problem()
    graph = prune(tiny(), Pruning("weight", 0.5)).graph
    options = replace(OPTIONS, augmentation=Augmentation(1, flip=True))
    uninterrupted = fine_tune(graph, images, labels, options, hooks=HOOKS[hooks]())
    path = tmp_path / "state.pt"
    with pytest.raises(InterruptedTrainingError):
        fine_tune(graph, images, labels, options, hooks=HOOKS[hooks](), checkpoint=path, progress=interrupted_after(1))
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
    messages: list[str] = []
    resumed = fine_tune(graph, images, labels, options, hooks=HOOKS[hooks](), checkpoint=path, progress=messages.append)
    assert_equal_weights(uninterrupted, resumed)
    assert [text.split(":")[0] for text in messages] == ["epoch 2/3", "epoch 3/3"]
    # One that is complete gives its result at once.
    assert_equal_weights(
        uninterrupted, fine_tune(graph, images, labels, options, hooks=HOOKS[hooks](), checkpoint=path)
    )


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    images, labels = problem(24)
    options = replace(OPTIONS, epochs=2)
    path = tmp_path / "state.pt"
    uninterrupted = fine_tune(tiny(), images, labels, options, checkpoint=path)
    content = path.read_bytes()
    for damaged in (b"", b"text", content[: len(content) // 2], content[: len(content) // 3] + content[-900:]):
        path.write_bytes(damaged)
        messages: list[str] = []
        assert_equal_weights(
            uninterrupted, fine_tune(tiny(), images, labels, options, checkpoint=path, progress=messages.append)
        )
        assert len(messages) == 2
    torch.save({"module": {}, "history": []}, path)
    assert_equal_weights(uninterrupted, fine_tune(tiny(), images, labels, options, checkpoint=path))


def other_weights() -> Graph:
    graph = tiny()
    return graph.with_weights({"a": graph.convs[0].weights + np.float32(0.01)})


ONE = {"graph": tiny(), "options": replace(OPTIONS, epochs=2), "hooks": [], "teacher": None}
OTHERS: dict[str, dict[str, Any]] = {
    "more epochs": {"options": replace(OPTIONS, epochs=3)},
    "learning rate": {"options": replace(OPTIONS, epochs=2, learning_rate=0.04)},
    "weights": {"graph": other_weights()},
    "a hook": {"hooks": [GradualPruning(Pruning("weight", 0.5), every=1)]},
    "a teacher": {"options": replace(OPTIONS, epochs=2, distillation="labels"), "teacher": tiny()},
    "images": {"images": problem(24, seed=3)[0]},
    "labels": {"labels": problem(24, seed=3)[1]},
}


@pytest.mark.parametrize("change", OTHERS)
def test_checkpoints_of_other_trainings_are_not_used(change: str, tmp_path: Path) -> None:
    def run(*, graph: Graph, images: Any, labels: Any, options: TrainingOptions, **more: Any) -> Graph:
        return fine_tune(graph, images, labels, options, **more)

    images, labels = problem(24)
    path = tmp_path / "state.pt"
    training = {**ONE, "images": images, "labels": labels}
    run(**training, checkpoint=path)
    other = {**training, **OTHERS[change]}
    assert_equal_weights(run(**other), run(**other, checkpoint=path))


def test_checkpoints_of_other_hook_options_are_not_used(tmp_path: Path) -> None:
    images, labels = problem(24)
    path, options = tmp_path / "state.pt", replace(OPTIONS, epochs=2)
    for amount in (0.5, 0.75):
        hooks = [GradualPruning(Pruning("weight", amount), every=1)]
        graph = fine_tune(tiny(), images, labels, options, hooks=hooks, checkpoint=path)
        for layer in graph.convs:
            assert np.count_nonzero(layer.weights == 0) == round(amount * layer.weights.size)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes, so that writes fail as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_failing_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    images, labels = problem(24)
    path = tmp_path / "state.pt"
    fine_tune(tiny(), images, labels, replace(OPTIONS, epochs=1), checkpoint=path)
    before = path.read_bytes()
    with files_up_to(4096), pytest.raises(OSError, match=str(path)) as error:
        fine_tune(tiny(), images, labels, OPTIONS, checkpoint=path)
    assert error.value.filename == str(path)
    assert error.value.strerror == "File too large"
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
    assert path.read_bytes() == before
    missing = tmp_path / "none" / "state.pt"
    with pytest.raises(FileNotFoundError) as absent:
        fine_tune(tiny(), images, labels, OPTIONS, checkpoint=missing)
    assert absent.value.filename == str(missing)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(1, keepdims=True))


@pytest.mark.parametrize("distillation", ["none", "labels", "teacher"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_by_its_formulas(distillation: Any, smoothing: float) -> None:
    """In double precision from ONNX Runtime's scores. The first loss is that before any step."""
    images, labels = problem(12)
    student, teacher = other_weights(), tiny()
    student = student.with_weights({"g": floats(3, 8, 1, 1, seed=8)})
    options = replace(
        OPTIONS,
        epochs=1,
        augmentation=Augmentation(),
        normalize=False,
        distillation=distillation,
        label_smoothing=smoothing,
        temperature=3.0,
        weight=0.6,
    )
    (epoch,) = train(module_for(student, images, options), images, labels, options, teacher=teacher)
    scores, teacher_scores = (float_scores(graph, images).astype(np.float64) for graph in (student, teacher))
    target = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    entropy = -(target * log_softmax(scores)).sum(1).mean()
    p, q = log_softmax(teacher_scores / 3.0), log_softmax(scores / 3.0)
    divergence = (np.exp(p) * (p - q)).sum(1).mean() * 9
    expected = {"none": entropy, "labels": 0.4 * entropy + 0.6 * divergence, "teacher": divergence}
    assert epoch.loss == pytest.approx(expected[distillation], rel=1e-4)
    assert epoch.accuracy == pytest.approx((scores.argmax(1) == labels).mean())


def test_a_teacher_alone_needs_no_labels() -> None:
    images, _ = problem(96)
    student = tiny().with_weights({"g": floats(3, 8, 1, 1, seed=8)})
    options = replace(OPTIONS, epochs=10, distillation="teacher", learning_rate=0.02)
    history = train(module_for(student, images, options), images, None, options, teacher=tiny())
    assert history[-1].loss < history[0].loss / 3
    assert history[0].accuracy is None


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        (
            OPTIONS,
            None,
            "training needs labels, and the data has none; with distillation = 'teacher' the float network teaches in their "
            "place",
        ),
        (replace(OPTIONS, distillation="teacher"), None, "distillation = 'teacher' needs a teacher"),
        (replace(OPTIONS, distillation="labels"), np.zeros(24, np.int64), "distillation = 'labels' needs a teacher"),
        (OPTIONS, np.zeros(23, np.int64), "24 images need 24 labels, there are 23 of shape (23,)"),
        (OPTIONS, np.full(24, 3), "label 3 is out of range; the network has 3 classes, 0 to 2"),
    ],
)
def test_missing_labels_and_teachers_are_named(options: TrainingOptions, labels: Any, message: str) -> None:
    images, _ = problem(24)
    with pytest.raises(SkipstoneError) as error:
        fine_tune(tiny(), images, labels, options)
    assert str(error.value) == message


def test_images_that_do_not_fit() -> None:
    options = replace(OPTIONS, normalize=False)
    with pytest.raises(SkipstoneError, match=r"^there are no images$"):
        fine_tune(tiny(), np.zeros((0, 2, 6, 6), np.float32), np.zeros(0, np.int64), options)
    with pytest.raises(SkipstoneError, match=r"^images of shape 1x6x6 don't fit network 'test', whose input is 2x6x6$"):
        fine_tune(tiny(), np.zeros((4, 1, 6, 6), np.float32), np.zeros(4, np.int64), options)


def test_divergence_is_reported() -> None:
    images, labels = problem(24)
    with pytest.raises(SkipstoneError) as error:
        fine_tune(tiny(), images, labels, replace(OPTIONS, normalize=False, learning_rate=1e30, warmup=0))
    assert str(error.value) == ("training diverged in epoch 1 (the loss is not finite); lower learning_rate, now 1e+30")


class Watching(Hook):
    """Records the steps, the learning rates (by their effect on a parameter), and the batch sizes."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.total = 0

    def begin(self, module: Any, steps: int) -> None:
        self.total = steps

    def before_step(self, module: Any, step: int) -> None:
        self.steps.append(step)


def test_an_epoch_uses_at_most_so_many_images() -> None:
    images, labels = problem(56)
    for limit, batches in ((0, 4), (20, 2), (100, 4)):
        watching = Watching()
        fine_tune(tiny(), images, labels, replace(OPTIONS, epochs=2, images=limit), hooks=[watching])
        assert watching.steps == list(range(2 * batches))
        assert watching.total == 2 * batches


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    rates = [loop._rate(step, 20, 0.2) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([(1 + math.cos(math.pi * t / 16)) / 2 for t in range(16)])
    assert loop._rate(0, 1, 0.0) == 1.0


def test_a_last_batch_of_one_image_at_one_pixel() -> None:
    """Batch normalization has nothing to measure there."""
    graph = graph_of(
        conv_layer("a", "x", (4, 2, 6, 6), clamp=RELU), conv_layer("g", "a", (3, 4, 1, 1), gemm=True), shape=(2, 6, 6)
    )
    images, labels = problem(33)
    fine_tune(graph, images, labels, OPTIONS)


def test_augmentation_moves_and_mirrors() -> None:
    images = torch.arange(1.0, 57).reshape(2, 1, 4, 7)
    seen = set()
    for seed in range(40):
        moved = loop.augmented(images, Augmentation(shift=1), torch.Generator().manual_seed(seed))
        padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
        places = [(y, x) for y in range(3) for x in range(3) if torch.equal(padded[:, :, y : y + 4, x : x + 7], moved)]
        assert len(places) == 1
        seen.add(places[0])
        mirrored = loop.augmented(images, Augmentation(flip=True), torch.Generator().manual_seed(seed))
        for changed, original in zip(mirrored, images, strict=True):
            assert torch.equal(changed, original) or torch.equal(changed, original.flip(2))
            seen.add(torch.equal(changed, original))
    assert len(seen) == 11


def test_a_vector_is_not_shifted_away() -> None:
    vectors = torch.arange(1.0, 11).reshape(2, 5, 1, 1)
    for seed in range(20):
        augmented = loop.augmented(vectors, Augmentation(shift=2, flip=True), torch.Generator().manual_seed(seed))
        assert torch.equal(augmented, vectors)
