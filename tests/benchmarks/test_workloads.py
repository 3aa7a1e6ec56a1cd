"""The benchmark networks are what they claim: published sizes, exact densities, and integers that the array can run."""

import numpy as np
import pytest

from benchmarks.rtl_layers import alone
from benchmarks.settings import Settings, benchmark_design
from benchmarks.workloads import (
    GEMM_NONZEROS,
    gemm,
    quantized,
    random_weights,
    resnet18,
    resnet18_graph,
    resnet50_graph,
    with_random_weights,
)
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.models.quantization import reference

SMALL = {"size": 32, "stages": ((4, 1), (8, 2))}


@pytest.mark.parametrize("nonzeros", GEMM_NONZEROS)
def test_the_product_has_exactly_the_nonzeros_asked_for(nonzeros):
    (layer,) = gemm(nonzeros).array_layers
    assert layer.weights.shape == (64, 576, 1, 1)
    assert layer.nnz == nonzeros


def test_the_product_has_1024_columns():
    network = gemm(GEMM_NONZEROS[-1])
    assert network.tensors["x"].shape == (576, 32, 32)
    assert network.tensors["gemm"].shape == (64, 32, 32)


def test_resnet18_has_the_published_size():
    """He et al. 2015, table 1: 1.8 billion multiply-adds; 11.69 million parameters, of which 4,800 are batch normalization's and
    1,000 are biases."""
    graph = resnet18_graph()
    assert sum(graph.macs.values()) == 1_814_073_344
    assert sum(conv.weights.size for conv in graph.convs) == 11_689_512 - 1_000 - 2 * 4_800
    assert len(graph.convs) == 17 + 1 + 3  # and three projections
    sizes = [graph.shapes[name] for name in ("stem", "max_pool", "stage1.1.add", "stage2.1.add", "stage4.1.add")]
    assert sizes == [(64, 112, 112), (64, 56, 56), (64, 56, 56), (128, 28, 28), (512, 7, 7)]
    assert graph.shapes["average_pool"] == (512, 1, 1)


def test_resnet50_has_the_published_size():
    """25.56 million parameters, of which 53,120 are batch normalization's and 1,000 are biases."""
    graph = resnet50_graph()
    assert sum(conv.weights.size for conv in graph.convs) == 25_557_032 - 1_000 - 53_120
    assert sum(graph.macs.values()) == 4_089_184_256
    assert len(graph.convs) == 49 + 1 + 4


def test_resnet50_has_the_published_stages():
    """3, 4, 6 and 3 blocks of three convolutions, and a projection at the head of each stage."""
    graph = resnet50_graph()
    names = [layer.name for layer in graph.layers]
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        adds = [name for name in names if name.startswith(f"stage{stage}.") and name.endswith("add")]
        assert adds == [f"stage{stage}.{block}.add" for block in range(blocks)]
        projections = [name for name in names if name.startswith(f"stage{stage}.") and name.endswith("shortcut")]
        assert projections == [f"stage{stage}.0.shortcut"]
        kernels = [graph.layer(f"stage{stage}.{blocks - 1}.conv{number}").weights.shape[2] for number in (1, 2, 3)]
        assert kernels == [1, 3, 1]
    assert {"stem", "max_pool", "average_pool", "classifier", "softmax"} <= set(names)


def test_every_layer_has_the_density_asked_for_and_adds_are_fused():
    network = resnet18(0.1)
    for layer in network.array_layers:
        if layer.kind in ("conv", "gemm"):
            assert layer.nnz == round(layer.weights.size * 0.1), layer.name
    assert [layer.name for layer in network.array_layers if layer.other is not None] == [
        f"stage{stage}.{block}.conv2" for stage in (1, 2, 3, 4) for block in (0, 1)
    ]
    assert not [layer for layer in network.array_layers if layer.kind == "add"]


@pytest.mark.parametrize("density", [0.3, 1.0])
def test_outputs_use_the_range_of_their_bits(density):
    """Random weights that clamped or vanished layer by layer would make an equal output prove nothing."""
    network = quantized(with_random_weights(resnet18_graph(**SMALL), density, seed=3))
    x = reference.quantize_input(network, np.random.default_rng(1).uniform(-1, 1, (1, 3, 32, 32)))
    tensors = reference.run(network, x)
    for layer in network.array_layers:
        values = tensors[layer.output]
        spread = np.unique(values).size
        assert spread >= min(30, values.size // 2), (layer.name, spread)
    compile_network(network, with_memories_for(network, benchmark_design("resnet")))


def test_single_layers_fit_the_design_that_runs_them_in_the_rtl():
    """The largest layers: the first, whose input has one word for each pixel, and one with the most weights."""
    design = benchmark_design("resnet")
    network = resnet18(Settings().rtl_density)
    for name in ("stem", "stage4.1.conv2"):
        compile_network(alone(network, name), design)


def test_weights_are_reproducible():
    first, again, other = (random_weights((4, 3, 3, 3), 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert np.count_nonzero(first) == np.count_nonzero(other) == 50


@pytest.mark.parametrize(("name", "load_width"), [("gemm", 64), ("gemm128", 128), ("resnet", 64)])
def test_designs_keep_to_the_limits_of_the_comparison(name, load_width):
    """256 PEs and no more bytes a cycle than the comparison allows."""
    design = benchmark_design(name)
    assert design.pes <= 256
    assert design.load_width * design.activation_bits <= 8 * load_width
    assert design.name == name
