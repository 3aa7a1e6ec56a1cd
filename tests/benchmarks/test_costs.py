"""Costs beside the ideal: counts that follow from the shapes, and totals that count pools as loss."""

import pytest

from benchmarks.costs import layer_costs, network_total, weighted_total
from benchmarks.gemm import loader_roof
from benchmarks.settings import benchmark_design
from benchmarks.workloads import GEMM_NONZEROS, gemm, quantized, resnet18_graph, with_random_weights
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing.cycles import network_cycles
from tests.benchmarks.test_workloads import SMALL

DESIGN = benchmark_design("gemm")


def test_the_product_by_hand():
    """1,024 pixels on 16 columns are 64 tiles; each loads 16 pixels of 576 channels; 16 rows share the nonzeros."""
    (cost,) = layer_costs(gemm(3_321), DESIGN)
    assert cost.useful_macs == 3_321 * 1_024
    assert cost.ideal_cycles == 3_321 * 1_024 / 256
    assert cost.loaded_bytes == 64 * 16 * 576
    assert cost.shape == "576 1x1 64 @ 32x32"
    assert 0.9 < cost.busy < 1
    assert cost.busy == cost.ideal_cycles / cost.cycles
    assert cost.loss != "compute"
    assert cost.loss_share <= 1 - cost.busy + 1e-9


def test_a_product_too_thin_for_the_loader_says_so():
    (cost,) = layer_costs(gemm(1_485), DESIGN)
    assert cost.loss == "load"
    assert cost.loss_share > 0.3
    (wider,) = layer_costs(gemm(1_485), benchmark_design("gemm128"))
    assert wider.busy > 0.9


def test_the_loaders_roof_by_hand():
    """576 channels are 9 words of 64 a pixel, or 5 of 128; of one channel in two, packed, 4.5 and 2.25 words."""
    network = gemm(GEMM_NONZEROS[0])
    assert loader_roof(network, 64) == (9 * 1_024, 9 * 1_024)
    (layer,) = network.array_layers
    layer.weights[:, ::2] = 0
    assert loader_roof(network, 64) == (9 * 1_024, 4_608)
    assert loader_roof(network, 128) == (5 * 1_024, 2_304)


@pytest.fixture(scope="module")
def small():
    return quantized(with_random_weights(resnet18_graph(**SMALL), 0.5, seed=0))


def test_totals(small):
    design = benchmark_design("resnet")
    costs = layer_costs(small, design)
    program = compile_network(small, design)
    assert [cost.cycles for cost in costs] == [layer.cycles for layer in network_cycles(program)]
    weighted, total = weighted_total(costs), network_total(costs)
    pools = [cost for cost in costs if "pool" in cost.kind]
    assert len(pools) == 2
    assert total.cycles == sum(cost.cycles for cost in costs) == weighted.cycles + sum(cost.cycles for cost in pools)
    layers = [layer for layer in small.array_layers if layer.kind in ("conv", "gemm")]
    macs = sum(layer.nnz * small.size_of(layer)[0] * small.size_of(layer)[1] for layer in layers)
    assert total.ideal_cycles == weighted.ideal_cycles == pytest.approx(macs / design.pes)
    assert total.busy < weighted.busy < 1


def test_shapes_in_words(small):
    shapes = {cost.name: cost.shape for cost in layer_costs(small, benchmark_design("resnet"))}
    assert shapes["stem"] == "3 7x7/2 4 @ 16x16"
    assert shapes["max_pool"] == "4 3x3/2 4 @ 8x8"
    assert shapes["stage1.0.conv1"] == "4 3x3 4 @ 8x8"
    assert shapes["stage2.0.conv1+stage2.0.shortcut"] == "4 3x3/2 16 @ 4x4"  # both in one pass
