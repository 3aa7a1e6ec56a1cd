"""The zeros of every granularity and scope: how many, in which groups, and against torch.nn.utils.prune."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Conv, Softmax
from skipstone.models.pruning.criteria import Evidence
from skipstone.models.pruning.masks import Pruning, output_layers, prune, weight_density
from skipstone.models.pruning.statistics import measure
from skipstone.models.pruning.structures import GRANULARITIES, Granularity, group_ids
from tests.models.builders import conv_layer, graph_of, random_images
from tests.models.pruning.shapes import layers

STRUCTURES: tuple[Granularity, ...] = tuple(name for name in GRANULARITIES if name != "nm")


def around(layer: Conv) -> Graph:
    """A network in which ``layer`` is not the last."""
    after = conv_layer("z", "a", (2, len(layer.weights), 1, 1))
    return graph_of(layer, after, shape=(layer.weights.shape[1] * layer.groups, 6, 6))


def two() -> Graph:
    return graph_of(conv_layer("a", "x", (6, 4, 3, 3)), conv_layer("b", "a", (5, 6, 1, 1)), shape=(4, 8, 8))


@settings(max_examples=120)
@given(
    layers(), st.sampled_from(STRUCTURES), st.floats(0, 1, exclude_max=True), st.sampled_from(["l1", "l2", "random"])
)
def test_masks_have_the_structure_and_the_count(
    layer: Conv, granularity: Granularity, amount: float, criterion: str
) -> None:
    pruning = Pruning(granularity, amount, block=(2, 3), criterion=criterion, skip=("z",))
    pruned = prune(around(layer), pruning)
    after = pruned.graph.convs[0].weights
    ids = group_ids(layer.weights.shape, granularity, layer.groups, (2, 3))
    groups = int(ids.max()) + 1
    gone = [not after[ids == number].any() for number in range(groups)]
    empty = [not layer.weights[ids == number].any() for number in range(groups)]
    count = max(round(amount * groups), sum(empty))
    if count == groups and sum(empty) < groups:
        assert any("lest it be empty" in note for note in pruned.notes)
        count -= 1
    assert sum(gone) == count
    for number in range(groups):
        members = ids == number
        assert gone[number] or np.array_equal(after[members], layer.weights[members])
        assert gone[number] or not empty[number]
    np.testing.assert_array_equal(pruned.graph.convs[0].bias, layer.bias)


@settings(max_examples=40)
@given(layers(), st.floats(0, 1, exclude_max=True))
def test_scope_output_counts_in_each_filter(layer: Conv, amount: float) -> None:
    after = prune(around(layer), Pruning("weight", amount, scope="output", may_empty=True)).graph.convs[0].weights
    for old, new in zip(layer.weights, after, strict=True):
        assert int((new == 0).sum()) == max(round(amount * old.size), int((old == 0).sum()))


def test_the_last_layers_filters_stay() -> None:
    graph = graph_of(
        conv_layer("a", "x", (6, 4, 3, 3)),
        conv_layer("b", "a", (5, 6, 1, 1)),
        Softmax(name="s", inputs=("b",)),
        shape=(4, 8, 8),
    )
    assert output_layers(graph) == {"b"}
    for granularity in ("filter", "stripe"):
        pruned = prune(graph, Pruning(granularity, 0.5))
        assert pruned.graph.convs[1].weights.all()
        assert pruned.notes[-1] == "layer 'b': stays as it is, since its channels are the network's output"


def test_network_scope_has_one_threshold_per_weight() -> None:
    graph = two()
    pruned = prune(graph, Pruning("input_channel", 0.4, scope="network")).graph
    gone, remaining = [], []
    for old, new in zip(graph.convs, pruned.convs, strict=True):
        for channel in range(old.weights.shape[1]):
            where = gone if not new.weights[:, channel].any() else remaining
            where.append(float(np.abs(old.weights[:, channel]).mean()))
    assert len(gone) == round(0.4 * 10)
    assert max(gone) <= min(remaining)


def test_network_scope_leaves_each_layer_its_best_group_unless_it_may_empty() -> None:
    graph = two()
    small = graph.with_weights({"b": graph.convs[1].weights / 1000})
    guarded = prune(small, Pruning("weight", 0.5, scope="network"))
    best = np.abs(small.convs[1].weights).argmax()
    assert np.flatnonzero(guarded.graph.convs[1].weights).tolist() == [best]
    assert guarded.notes == ("layer 'b': keeps one weight, lest it be empty",)
    emptied = prune(small, Pruning("weight", 0.5, scope="network", may_empty=True))
    assert not emptied.graph.convs[1].weights.any()
    assert emptied.notes == ("layer 'b': all of its weights are pruned",)
    assert weight_density(guarded.graph) == weight_density(emptied.graph) == 0.5


def test_amounts_and_skip() -> None:
    pruning = Pruning("weight", 0.5, scope="network", amounts={"a": 0.25}, skip=("b",))
    a, b = prune(two(), pruning).graph.convs
    assert int((a.weights == 0).sum()) == 54
    assert b.weights.all()


@pytest.mark.parametrize(
    ("pruning", "note"),
    [
        (Pruning("nm", n=2, m=4), "layer 'a': 2:4 keeps 1 of 1 input channel"),
        (
            Pruning("kernel", 0.5),
            "layer 'a': kernel granularity prunes whole filters here (1 input channels, 3x3 kernel)",
        ),
        (Pruning("input_channel", 0.9), "layer 'a': keeps one input channel, lest it be empty"),
        (Pruning("filter", 0.5, criterion="apoz"), "layer 'a': stays as it is, since apoz needs a ReLU after it"),
    ],
)
def test_notes(pruning: Pruning, note: str) -> None:
    graph = graph_of(conv_layer("a", "x", (6, 1, 3, 3)), conv_layer("b", "a", (5, 6, 1, 1)), shape=(1, 8, 8))
    evidence = Evidence(statistics=measure(graph, random_images(graph, 2)))
    assert note in prune(graph, pruning, evidence).notes


def test_a_remainder_of_three_channels_in_2_of_4() -> None:
    graph = graph_of(conv_layer("a", "x", (6, 7, 3, 3)), shape=(7, 8, 8))
    pruned = prune(graph, Pruning("nm", n=2, m=4))
    assert pruned.notes == ("layer 'a': 2:4 keeps 2 of the last 3 input channels",)
    assert set(np.count_nonzero(pruned.graph.convs[0].weights[:, 4:], axis=1).ravel().tolist()) == {2}


def test_random_pruning_follows_its_seed() -> None:
    pruning = Pruning("kernel", 0.5, criterion="random")
    first, again, other = (prune(two(), pruning, seed=seed).graph.convs[0].weights for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("pruning", "method"),
    [
        (Pruning("weight", 0.3), lambda p, m: p.l1_unstructured(m, "weight", amount=0.3)),
        (Pruning("filter", 0.5), lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=1, dim=0)),
        (Pruning("filter", 0.5, criterion="l2"), lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=2, dim=0)),
        (Pruning("input_channel", 0.5), lambda p, m: p.ln_structured(m, "weight", amount=0.5, n=1, dim=1)),
    ],
    ids=["l1_unstructured", "ln_structured-l1", "ln_structured-l2", "ln_structured-inputs"],
)
def test_as_torch(pruning: Pruning, method: Any) -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune as torch_prune

    layer = conv_layer("a", "x", (7, 6, 3, 5))
    module = torch.nn.Conv2d(6, 7, (3, 5))
    module.weight.data = torch.from_numpy(layer.weights.copy())
    method(torch_prune, module)
    mine = prune(around(layer), replace(pruning, skip=("z",))).graph.convs[0].weights
    np.testing.assert_array_equal(mine, module.weight.detach().numpy())


def test_global_as_torch() -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import prune as torch_prune

    graph = two()
    modules = []
    for layer in graph.convs:
        module = torch.nn.Conv2d(*layer.weights.shape[1::-1], layer.weights.shape[2:])
        module.weight.data = torch.from_numpy(layer.weights.copy())
        modules.append((module, "weight"))
    torch_prune.global_unstructured(modules, torch_prune.L1Unstructured, amount=0.6)
    mine = prune(graph, Pruning("weight", 0.6, scope="network")).graph
    for layer, (module, _) in zip(mine.convs, modules, strict=True):
        np.testing.assert_array_equal(layer.weights, module.weight.detach().numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "row"}, f"no pruning granularity 'row'; the granularities are {', '.join(GRANULARITIES)}"),
        ({"amount": 1.0}, "sparsity must be at least 0 and below 1, not 1"),
        ({"amounts": {"a": -0.5}}, "layer 'a': sparsity must be at least 0 and below 1, not -0.5"),
        ({"granularity": "nm", "n": 3, "m": 2}, "N:M keeps N of M weights, so N must be from 1 to M"),
        (
            {"granularity": "nm", "n": 1, "m": 2, "amount": 0.5},
            "N:M has neither an amount nor a scope: it keeps N of every M weights",
        ),
        ({"granularity": "block", "block": (4, 0)}, "a block needs at least 1x1 channels, not 4x0"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        Pruning(**{"granularity": "weight", **options})
    assert str(error.value) == message


def test_layers_that_do_not_exist() -> None:
    with pytest.raises(SkipstoneError, match="network 'test' has no prunable layer 'c'; it has a, b"):
        prune(two(), Pruning("weight", 0.5, skip=("c",)))
