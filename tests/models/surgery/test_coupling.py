"""Groups of coupled channels, worked out by hand and compared with those of torch_pruning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Affine, AveragePool, Concat, MaxPool, Product, Softmax
from skipstone.models.onnx_io.reader import load
from skipstone.models.surgery.coupling import Channel, coupled_channels, is_depthwise
from tests.models.builders import conv_layer, graph_of


def groups(graph: Graph) -> set[frozenset[Channel]]:
    """The groups that can be removed."""
    coupling = coupled_channels(graph)
    return {frozenset(group) for group, fixed in zip(coupling.groups, coupling.fixed, strict=True) if not fixed}


def test_an_add_couples_its_operands_and_what_works_pixel_by_pixel_goes_along() -> None:
    graph = graph_of(
        conv_layer("a", "x", (2, 1, 1, 1)),
        conv_layer("b", "a", (2, 2, 1, 1)),
        Affine(name="n", inputs=("b",), scale=np.ones(2, np.float32), bias=np.zeros(2, np.float32)),
        Add(name="s", inputs=("a", "n")),
        MaxPool(name="m", inputs=("s",), kernel=(2, 2)),
        conv_layer("g", "m", (3, 2, 3, 3), gemm=True),
        shape=(1, 4, 4),
    )
    assert groups(graph) == {frozenset((tensor, channel) for tensor in "abnsm") for channel in range(2)}


def test_a_concat_shifts_and_a_depthwise_filter_follows_its_channel() -> None:
    graph = graph_of(
        conv_layer("a", "x", (2, 3, 1, 1)),
        conv_layer("b", "x", (1, 3, 1, 1)),
        Concat(name="c", inputs=("b", "a", "b")),
        conv_layer("d", "c", (8, 1, 1, 1), groups=4),
        conv_layer("e", "d", (2, 8, 1, 1)),
        shape=(3, 2, 2),
    )
    b = {("b", 0), ("c", 0), ("c", 3), ("d", 0), ("d", 1), ("d", 6), ("d", 7)}
    first, second = ({("a", n), ("c", 1 + n), ("d", 2 + 2 * n), ("d", 3 + 2 * n)} for n in range(2))
    assert groups(graph) == {frozenset(b), frozenset(first), frozenset(second)}


def test_a_grouped_convolution_loses_the_same_place_of_every_group() -> None:
    graph = graph_of(
        conv_layer("a", "x", (4, 1, 1, 1)),
        conv_layer("b", "a", (6, 2, 1, 1), groups=2),
        conv_layer("c", "b", (1, 6, 1, 1)),
        shape=(1, 2, 2),
    )
    assert groups(graph) == {
        *(frozenset({("a", n), ("a", n + 2)}) for n in range(2)),
        *(frozenset({("b", n), ("b", n + 3)}) for n in range(3)),
    }


def test_a_product_with_one_pixel_couples_and_a_softmax_holds_its_channels() -> None:
    graph = graph_of(
        conv_layer("a", "x", (2, 1, 1, 1)),
        AveragePool(name="p", inputs=("a",), kernel=(2, 2)),
        conv_layer("q", "p", (2, 2, 1, 1)),
        Product(name="t", inputs=("a", "q")),
        conv_layer("u", "t", (2, 2, 1, 1)),
        Softmax(name="v", inputs=("u",)),
        conv_layer("w", "v", (2, 2, 1, 1)),
        shape=(1, 2, 2),
    )
    assert groups(graph) == {frozenset((tensor, channel) for tensor in "apqt") for channel in range(2)}


def test_groups_are_numbered_by_execution_order() -> None:
    coupling = coupled_channels(load("resnet8_fashion"))
    assert [group[0] for group in coupling.groups][:4] == [("image", 0), ("stem", 0), ("stem", 1), ("stem", 2)]
    assert sum(map(len, coupling.groups)) == sum(shape[0] for shape in coupling.graph.shapes.values())


def module() -> Any:
    """A network with an Add, a Concat, a depthwise and a strided convolution."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Module(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 6, 3, 1, 1)
            self.b = nn.Conv2d(6, 6, 3, 1, 1)
            self.c = nn.Conv2d(6, 4, 1)
            self.d = nn.Conv2d(10, 10, 3, 2, 1, groups=10)
            self.e = nn.Conv2d(10, 5, 1)
            self.g = nn.Linear(5 * 16, 7)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.a(x))
            x = torch.relu(x + self.b(x))
            x = torch.cat([self.c(x), x], 1)
            x = self.e(torch.relu(self.d(x)))
            return self.g(torch.flatten(x, 1))

    return Module().eval()


def resnet8() -> Any:
    pytest.importorskip("torch")
    from skipstone.models.training.carried import build_resnet8

    return build_resnet8().eval()


@pytest.mark.parametrize(("build", "shape"), [(module, (1, 3, 8, 8)), (resnet8, (1, 1, 28, 28))])
def test_groups_are_those_of_torch_pruning(build: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch_pruning = pytest.importorskip("torch_pruning")
    network = build()
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (torch.zeros(shape),), str(path), dynamo=False, opset_version=17)
    coupling = coupled_channels(load(path))
    ours = convolutions(coupling.graph, network)
    names = {layer: name for name, layer in ours.items()}
    dependency = torch_pruning.DependencyGraph().build_dependency(network, torch.zeros(shape))
    for name, layer in ours.items():
        graph_layer = coupling.graph.layer(name)
        if name in coupling.graph.outputs or is_depthwise(graph_layer):  # type: ignore[arg-type]
            continue
        for channel in range(coupling.graph.shapes[name][0]):
            prune = (
                torch_pruning.prune_linear_out_channels
                if isinstance(layer, torch.nn.Linear)
                else torch_pruning.prune_conv_out_channels
            )
            group = dependency.get_pruning_group(layer, prune, [channel])
            theirs = {
                (names[dep.target.module], index)
                for dep, indices in group
                if dep.target.module in names and dep.handler.__name__.endswith("out_channels")
                for index in indices
            }
            mine = coupling.groups[coupling.group_of[name][channel]]
            assert {member for member in mine if member[0] in ours} == theirs


def convolutions(graph: Graph, network: Any) -> dict[str, Any]:
    """The torch layer of each Conv of ``graph``: those of the same shape and, to tell equal ones apart, bias or place."""
    import torch

    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    modules = {}
    for conv in graph.convs:
        weights = conv.weights
        for layer in layers:
            theirs = layer.weight.detach().numpy()
            # Batch norm only scales filters, here all by one positive factor.
            if theirs.size == weights.size and np.corrcoef(theirs.ravel(), weights.ravel())[0, 1] > 0.999:
                modules[conv.name] = layer
    assert len(modules) == len(layers)
    return modules
