"""Hooks that prune during training follow their papers' formulas step by step and keep their amounts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.pruning.masks import Pruning, prune
from skipstone.models.pruning.structures import group_ids
from tests.models.builders import conv_layer, graph_of, random_images

torch = pytest.importorskip("torch")

from skipstone.models.training.loop import Hook, TrainingOptions, fine_tune, module_for, train
from skipstone.models.training.network import GraphModule
from skipstone.models.training.sparsity import GradualPruning, Regularization, RigL, current, scaled, set_masks

RELU = (0.0, math.inf)
OPTIONS = TrainingOptions(epochs=5, learning_rate=0.05, batch=8, seed=2)


def tiny() -> Graph:
    return graph_of(
        conv_layer("a", "x", (8, 4, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        conv_layer("d", "a", (8, 1, 3, 3), groups=8, clamp=RELU),
        conv_layer("g", "d", (3, 8, 2, 2), gemm=True),
        shape=(4, 4, 4),
    )


def problem() -> tuple[np.ndarray, np.ndarray]:
    """32 images in batches of 8, five epochs: 20 steps."""
    labels = np.random.default_rng(1).integers(0, 3, 32)
    return random_images(tiny(), 32) + labels[:, None, None, None].astype(np.float32), labels


class Watching(Hook):
    """Records the weights after every step as they would be deployed."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []

    def after_update(self, module: Any, step: int) -> None:
        self.graphs.append(current(module))


def zeros(graph: Graph, name: str) -> int:
    return int(np.count_nonzero(next(layer for layer in graph.convs if layer.name == name).weights == 0))


@pytest.mark.parametrize("normalize", [False, True])
def test_gradual_pruning_follows_the_cubic(normalize: bool) -> None:
    """``s_t = s_f + (s_0 - s_f) (1 - (t - t_0) / (n dt))**3`` with s_0 = t_0 = 0, every third step of the first 15."""
    images, labels = problem()
    watching = Watching()
    hook = GradualPruning(Pruning("weight", 0.8, amounts={"d": 0.5}), every=3, until=0.75)
    fine_tune(tiny(), images, labels, replace(OPTIONS, normalize=normalize), hooks=[hook, watching])
    assert len(watching.graphs) == 20
    for name, size, final in (("a", 288, 0.8), ("d", 72, 0.5), ("g", 96, 0.8)):
        for step, graph in enumerate(watching.graphs, start=1):
            t = min(step // 3 * 3, 15)
            assert zeros(graph, name) == round(size * (final + (0 - final) * (1 - t / 15) ** 3)), (name, step)
    for before, after in zip(watching.graphs, watching.graphs[1:], strict=False):
        for first, second in zip(before.convs, after.convs, strict=True):
            assert not second.weights[first.weights == 0].any()


def test_gradual_pruning_of_structures_ends_at_the_amount() -> None:
    images, labels = problem()
    for until, every in ((0.6, 5), (1.0, 7), (0.01, 50)):
        filters = GradualPruning(Pruning("filter", 0.5), every=every, until=until)
        pruned = fine_tune(tiny(), images, labels, OPTIONS, hooks=[filters])
        for layer in pruned.convs[:2]:
            assert sorted(layer.weights.reshape(8, -1).any(1)) == [False] * 4 + [True] * 4
        assert pruned.convs[2].weights.all()
        assert filters.notes == ("layer 'g': stays as it is, since its channels are the network's output",)


def test_gradual_n_of_m_lowers_n() -> None:
    images, labels = problem()
    watching = Watching()
    hook = GradualPruning(Pruning("nm", n=1, m=4), every=1, until=0.5)
    fine_tune(tiny(), images, labels, OPTIONS, hooks=[hook, watching])
    for step, graph in enumerate(watching.graphs, start=1):
        remaining = round(4 - 3 * (1 - max(0, 1 - step / 10) ** 3))
        assert (np.count_nonzero(graph.convs[0].weights, axis=1) == remaining).all(), step
    assert (np.count_nonzero(watching.graphs[-1].convs[0].weights, axis=1) == 1).all()


@settings(max_examples=50)
@given(st.integers(1, 8), st.integers(0, 8), st.floats(0, 1))
def test_n_of_m_on_its_way(n: int, more: int, share: float) -> None:
    pruning = Pruning("nm", n=n, m=n + more)
    scaled_n = scaled(pruning, lambda amount: amount * share).n
    assert n <= scaled_n <= n + more
    assert abs(scaled_n - (n + more - more * share)) <= 0.5 + 1e-9
    assert scaled(pruning, lambda amount: amount) == pruning


def test_a_criterion_without_evidence_is_refused_before_training() -> None:
    images, labels = problem()
    watching = Watching()
    with pytest.raises(SkipstoneError, match="gradients"):
        fine_tune(
            tiny(),
            images,
            labels,
            OPTIONS,
            hooks=[watching, GradualPruning(Pruning("weight", 0.5, criterion="taylor"))],
        )
    assert not watching.graphs


class Exchange(Hook):
    """Wraps a RigL and checks each of its exchanges against separately computed gradients."""

    def __init__(self, graph: Graph, every: int, fraction: float, last: int) -> None:
        self.names = [layer.name for layer in graph.convs]
        self.every, self.fraction, self.last = every, fraction, last
        self.moves = 0
        self.before: dict[str, Any] = {}
        self.loss: Any = None

    def check(self, module: Any, step: int, gradients: dict[str, np.ndarray]) -> None:
        done = step + 1
        for name in self.names:
            conv = module.convs[name]
            old, weight = self.before[name]
            new = conv.mask.numpy().ravel() > 0
            assert new.sum() == old.sum()
            if done % self.every or done > self.last:
                np.testing.assert_array_equal(old, new)
                continue
            share = self.fraction / 2 * (1 + math.cos(math.pi * done / self.last))
            moved = min(int(share * old.sum()), len(old) - int(old.sum()))
            alive, dead = np.flatnonzero(old), np.flatnonzero(~old)
            dropped = alive[np.argsort(np.abs(weight[alive]), kind="stable")[:moved]]
            grown = dead[np.argsort(-np.abs(gradients[name].ravel()[dead]), kind="stable")[:moved]]
            assert set(np.flatnonzero(old & ~new)) == set(dropped)
            assert set(np.flatnonzero(new & ~old)) == set(grown)
            assert not conv.weight.detach().numpy().ravel()[grown].any()
            self.moves += moved


@pytest.mark.parametrize("normalize", [False, True])
def test_rigl_moves_weights_to_the_largest_gradients(normalize: bool) -> None:
    """Compared with gradients of all weights, which automatic differentiation gives for weights in place of the masks."""
    images, labels = problem()
    graph = prune(tiny(), Pruning("weight", 0.7)).graph
    options = replace(OPTIONS, normalize=normalize, momentum=0.9)
    exchange = Exchange(graph, every=3, fraction=0.5, last=15)
    dense: dict[str, np.ndarray] = {}

    class Before(Hook):
        def before_update(self, module: Any, step: int) -> None:
            for name, conv in module.convs.items():
                exchange.before[name] = (conv.mask.numpy().ravel() > 0, conv.weight.detach().numpy().ravel().copy())
                # d loss / d weight where the mask is 1 is also what the effective weight has.
                living = conv.mask.bool()
                assert torch.equal(conv.effective.grad[living], conv.weight.grad[living])
                dense[name] = conv.effective.grad.numpy().copy()

    class After(Hook):
        def before_update(self, module: Any, step: int) -> None:
            exchange.check(module, step, dense)

        def after_update(self, module: Any, step: int) -> None:
            for name, conv in module.convs.items():
                old, _ = exchange.before[name]
                grown = (conv.mask.numpy().ravel() > 0) & ~old
                # At rest, too: neither momentum nor decay of an earlier life moves it in its first step.
                assert not conv.weight.detach().numpy().ravel()[grown].any()

    rigl = RigL(every=3, fraction=0.5, until=0.75)
    module = module_for(graph, images, options)
    train(module, images, labels, options, hooks=[Keeping(), Before(), rigl, After()])
    assert exchange.moves > 20
    for before, after in zip(graph.convs, module.to_graph().convs, strict=True):
        assert np.count_nonzero(after.weights) <= np.count_nonzero(before.weights)
        assert ((before.weights != 0) != (after.weights != 0)).any()


class Keeping(Hook):
    """Stores effective gradients also after RigL has stopped using them."""

    def before_step(self, module: Any, step: int) -> None:
        for conv in module.convs.values():
            conv.keep_effective = True


def test_gradients_of_masked_weights_are_those_of_unmasked_weights() -> None:
    graph = prune(tiny(), Pruning("weight", 0.7)).graph
    images, labels = problem()
    module, free = GraphModule(graph), GraphModule(graph)
    for conv in module.convs.values():
        conv.keep_effective = True
    for conv in free.convs.values():
        conv.mask.fill_(1)
    for network in (module, free):
        torch.nn.functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
    for name in module.convs:
        torch.testing.assert_close(module.convs[name].effective.grad, free.convs[name].weight.grad)


def test_rigl_with_every_layer_dense_moves_nothing() -> None:
    images, labels = problem()
    plain = fine_tune(tiny(), images, labels, OPTIONS)
    moved = fine_tune(tiny(), images, labels, OPTIONS, hooks=[RigL(every=1)])
    for first, second in zip(plain.convs, moved.convs, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)


def norms(graph: Graph, kind: str, structure: Pruning | None) -> float:
    total = 0.0
    for layer in graph.convs:
        weights = layer.weights.astype(np.float64)
        if kind == "l1":
            total += float(np.abs(weights).sum())
            continue
        assert structure is not None
        ids = group_ids(weights.shape, structure.granularity, layer.groups, structure.block)
        for group in range(int(ids.max()) + 1):
            members = weights[ids == group]
            total += math.sqrt(members.size) * math.sqrt(float((members**2).sum()))
    return total


STRUCTURES = [Pruning("filter"), Pruning("kernel"), Pruning("shape"), Pruning("block", block=(3, 2))]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.granularity)
@pytest.mark.parametrize("normalize", [False, True])
def test_penalties_by_their_formulas(structure: Pruning, normalize: bool) -> None:
    images, _ = problem()
    graph = prune(tiny(), Pruning("weight", 0.3)).graph
    module = module_for(graph, images, replace(OPTIONS, normalize=normalize))
    with torch.no_grad():
        for conv in module.convs.values():
            if conv.norm is not None:
                conv.norm.inner.weight.mul_(-1.5)
    for kind in ("l1", "group_lasso"):
        hook = Regularization(kind, 0.25, structure)
        hook.begin(module, 1)
        penalty = hook.penalty(module)
        assert penalty is not None
        # A group of zeros is counted as 1e-6.
        assert float(penalty.detach()) == pytest.approx(0.25 * norms(current(module), kind, structure), rel=1e-5)
    if normalize:
        hook = Regularization("batch_norm_scale", 0.25)
        hook.begin(module, 1)
        expected = sum(
            float(conv.norm.inner.weight.detach().abs().sum()) for conv in module.convs.values() if conv.norm
        )
        assert float(hook.penalty(module).detach()) == pytest.approx(0.25 * expected)


@pytest.mark.parametrize(
    ("kind", "strength", "normalize"),
    [
        ("l1", 0.15, False),
        ("l1", 0.15, True),
        ("group_lasso", 0.15, False),
        ("group_lasso", 0.15, True),
        ("batch_norm_scale", 0.6, True),
    ],
)
def test_regularization_shrinks_what_it_penalizes(kind: Any, strength: float, normalize: bool) -> None:
    images, labels = problem()
    options = replace(OPTIONS, normalize=normalize, epochs=8, learning_rate=0.02)
    hook = Regularization(kind, strength, Pruning("filter"))
    sums = []
    hook_sets: list[list[Hook]] = [[], [hook]]
    for hooks in hook_sets:
        module = module_for(tiny(), images, options)
        hook.begin(module, 1)
        train(module, images, labels, options, hooks=hooks)
        sums.append(float(hook.penalty(module).detach()))
    assert sums[1] < 0.9 * sums[0]


def test_masks_are_set_by_a_graphs_zeros() -> None:
    graph = prune(tiny(), Pruning("weight", 0.5)).graph
    module = GraphModule(tiny())
    set_masks(module, graph)
    for first, second in zip(module.to_graph().convs, graph.convs, strict=True):
        np.testing.assert_array_equal(first.weights, second.weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradualPruning(Pruning("weight", 0.5), until=0), "above 0 and up to 1, not 0$"),
        (lambda: GradualPruning(Pruning("weight", 0.5), every=0), "at least every 1, not every 0$"),
        (lambda: RigL(every=0), "at least every 1, not every 0$"),
        (lambda: RigL(fraction=1.5), "not 1.5 and 0.75$"),
        (lambda: RigL(until=0), "not 0.3 and 0$"),
        (lambda: Regularization("group_lasso", 0.1), "^the regularizer group_lasso needs a structure"),
        (
            lambda: Regularization("batch_norm_scale", 0.1).begin(GraphModule(tiny()), 1),
            "^the regularizer batch_norm_scale needs normalize = true$",
        ),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(SkipstoneError, match=message):
        make()
