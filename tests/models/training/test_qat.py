"""Quantization-aware training as a whole: the integer network is the one that was trained, on every multiplier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from skipstone.errors import SkipstoneError
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, AveragePool, Concat, MaxPool
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import materialized, quantize
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.training.loop import TrainingOptions, train
from skipstone.models.training.qat import (
    QatOptions,
    measure_statistics,
    quantization_aware,
    quantized_module,
    weight_bits,
)
from tests.models.builders import conv_layer, graph_of

RELU = (0.0, np.inf)
OPTIONS = TrainingOptions(epochs=2, learning_rate=0.02, batch=32, seed=1)
CODES = [
    ("linear", 4, "straight_through"),
    ("linear", 3, "learned_step"),
    ("power_of_two", 4, "straight_through"),
    ("power_of_two", 3, "learned_step"),
    ("additive_power_of_two", 5, "straight_through"),
    ("ternary", 2, "straight_through"),
    ("binary", 2, "straight_through"),
    ("codebook", 6, "straight_through"),
]


def network() -> Graph:
    """A residual block, a maximum, tensors side by side, a pool and a classifier, with pruned weights."""
    graph = graph_of(
        conv_layer("stem", "x", (5, 2, 3, 3), padding=(1, 1, 1, 1), clamp=RELU),
        conv_layer("inner", "stem", (5, 5, 3, 3), padding=(1, 1, 1, 1)),
        Add(name="sum", inputs=("inner", "stem"), clamp=RELU),
        MaxPool(name="largest", inputs=("sum",), kernel=(2, 2), stride=(2, 2)),
        conv_layer("left", "largest", (3, 5, 1, 1), clamp=RELU),
        conv_layer("right", "largest", (4, 5, 3, 3), padding=(1, 1, 1, 1)),
        Concat(name="both", inputs=("left", "right")),
        AveragePool(name="mean", inputs=("both",), kernel=(3, 3)),
        conv_layer("scores", "mean", (3, 7, 1, 1), gemm=True),
        shape=(2, 6, 6),
    )
    rng = np.random.default_rng(8)
    weights = {}
    for layer in graph.convs:
        weights[layer.name] = layer.weights * (rng.random(layer.weights.shape) > 0.3) / np.sqrt(layer.weights[0].size)
    weights["right"][2] = 0
    return graph.with_weights(weights)


def pictures(count: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is where they are brightest."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, count)
    images = rng.normal(size=(count, 2, 6, 6)).astype(np.float32)
    for index, label in enumerate(labels):
        images[index, :, :, 2 * label : 2 * label + 2] += 1.0
    return images, labels


@pytest.mark.parametrize(("code", "bits", "estimator"), CODES)
def test_the_integer_network_is_the_trained_one(code, bits, estimator):
    images, labels = pictures()
    qat = QatOptions(QuantizationScheme(bits, 8, code, 6), estimator=estimator)
    module = quantized_module(network(), images, OPTIONS, qat)
    train(module, images, labels, OPTIONS)
    graph = module.to_graph()
    quantized = quantize(graph, None)
    assert quantized.weight_code == code
    for layer in quantized.array_layers:
        trained = network().layer(layer.sources[0]) if layer.sources[0] in module.convs else None
        if trained is not None:
            assert (layer.weights[trained.weights == 0] == 0).all()
            np.testing.assert_array_equal(layer.weights, graph.layer(layer.sources[0]).grid.integers)
    with torch.no_grad():
        floats = module.tensors(torch.from_numpy(images))
    # Every layer reads what the module reads, so that a value rounded otherwise is not carried on.
    integers = {}
    for name, tensor in quantized.tensors.items():
        steps = floats[name].numpy() / tensor.scale + tensor.zero_point
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
        integers[name] = np.rint(steps).astype(np.int64)
    np.testing.assert_array_equal(integers["x"], reference.quantize_tensor(quantized.tensors["x"], images))
    for layer in quantized.layers:
        got = reference.run_layers(quantized, [layer], dict(integers))[layer.output]
        difference = np.abs(got - integers[layer.output])
        assert difference.max() <= 1, layer.name
        # A bias is rounded to whole units of the accumulator: by half of one at most, which moves as many results over a
        # rounding edge as that is of an output's step.
        unit = quantized.tensors[layer.input].scale * layer.weight_scale / quantized.tensors[layer.output].scale
        assert np.mean(difference > 0) < max(0.05, float(np.mean(unit / 2))), layer.name


@pytest.mark.parametrize("ranges", ["fixed", "moving", "learned"])
@pytest.mark.parametrize(("code", "bits"), [("linear", 3), ("ternary", 2), ("binary", 2)])
def test_training_lowers_the_loss(code, bits, ranges):
    images, labels = pictures()
    options = replace(OPTIONS, epochs=8, learning_rate=0.1)
    module = quantized_module(network(), images, options, QatOptions(QuantizationScheme(bits, 8, code), ranges=ranges))
    history = train(module, images, labels, options)
    assert history[-1].loss < 0.8 * history[0].loss


def test_everything_has_a_grid_and_zeros_stay():
    images, labels = pictures(64)
    before = network()
    graph = quantization_aware(before, images, labels, OPTIONS, QatOptions(QuantizationScheme(4, 6), statistics=64))
    assert graph.grids.keys() == materialized(before)
    assert {grid.bits for grid in graph.grids.values()} == {6}
    assert graph.grids["largest"] == graph.grids["sum"]
    assert graph.grids["left"] == graph.grids["right"] == graph.grids["both"]
    assert graph.grids_from == "quantization-aware training, moving ranges"
    for old, new in zip(before.convs, graph.convs, strict=True):
        assert new.grid is not None
        assert new.grid.bits == 4
        assert (new.weights[old.weights == 0] == 0).all()
        np.testing.assert_array_equal(new.grid.weights, new.weights)
    # What is quantized already can be trained again, with other widths.
    again = quantization_aware(graph, images, labels, OPTIONS, QatOptions(QuantizationScheme(3, 8), statistics=0))
    assert {grid.bits for grid in again.grids.values()} == {8}


def test_a_training_repeats_and_resumes_after_an_interruption(tmp_path):
    images, labels = pictures(64)
    qat = QatOptions(QuantizationScheme(4, 8, "power_of_two"), ranges="moving", statistics=0)
    once = quantization_aware(network(), images, labels, OPTIONS, qat)
    path = tmp_path / "state.pt"

    class StoppedError(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch 2"):
            raise StoppedError

    with pytest.raises(StoppedError):
        quantization_aware(network(), images, labels, OPTIONS, qat, progress=stop, checkpoint=path)
    assert path.exists()
    resumed = quantization_aware(network(), images, labels, OPTIONS, qat, checkpoint=path)
    for a, b in zip(once.convs, resumed.convs, strict=True):
        np.testing.assert_array_equal(a.weights, b.weights)
    assert once.grids == resumed.grids


def test_the_start_has_the_float_networks_statistics():
    """Batch normalization measured under quantization gives every channel the float one's mean and deviation."""
    images, _ = pictures(512)
    graph = network()
    module = quantized_module(graph, images, OPTIONS, QatOptions(QuantizationScheme(2, 8, "ternary")))
    module.quantize_activations({})
    plain = type(module)(graph)
    with torch.no_grad():
        got, expected = (network.eval().tensors(torch.from_numpy(images)) for network in (module, plain))
    for name in ("inner", "right"):
        for statistic in (torch.mean, torch.std):
            a, b = (statistic(tensors[name], dim=(0, 2, 3)) for tensors in (got, expected))
            assert (a - b).abs().max() < 0.15 * expected[name].std(), name


def test_statistics_are_the_batches_mean():
    images, _ = pictures(64)
    module = quantized_module(network(), images, OPTIONS, QatOptions(QuantizationScheme(4)))
    inner = module.convs["stem"].norm.inner
    inner.running_mean.fill_(99.0)
    momentum = inner.momentum
    measure_statistics(module, images)
    with torch.no_grad():
        x = module.quantizers["x"](torch.from_numpy(images))
        stem = module.convs["stem"]
        expected = stem.convolve(x, stem.quantizer(stem.weight * stem.mask), None).mean(dim=(0, 2, 3))
    np.testing.assert_allclose(inner.running_mean.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    assert inner.momentum == momentum


def test_bits_of_layers():
    bits = weight_bits(network(), QatOptions(QuantizationScheme(4, layer_bits={"inner": 2}), first_last_bits=8))
    assert bits == {"stem": 8, "inner": 2, "left": 4, "right": 4, "scores": 8}
    with pytest.raises(SkipstoneError, match="layers of different bits need weight code linear, not ternary"):
        weight_bits(network(), QatOptions(QuantizationScheme(2, weight_code="ternary"), first_last_bits=8))
    with pytest.raises(SkipstoneError, match="without trained weights, mean; those with are stem"):
        weight_bits(network(), QatOptions(QuantizationScheme(layer_bits={"mean": 3})))


@pytest.mark.rtl
@pytest.mark.parametrize(("code", "bits", "estimator"), CODES)
def test_a_trained_network_is_exact_on_the_pes_of_its_code(code, bits, estimator):
    from skipstone.flow.designs import design_for
    from skipstone.hw.design import Design
    from skipstone.mapper.lowering.compile import compile_network
    from skipstone.mapper.timing.cycles import network_cycles
    from skipstone.sim.session import RtlSession

    images, labels = pictures(64)
    graph = quantization_aware(
        network(), images, labels, OPTIONS, QatOptions(QuantizationScheme(bits, 8, code, 6), estimator=estimator)
    )
    quantized = quantize(graph, None)
    small = {
        "activation_words": 2048,
        "weight_entries": 4096,
        "load_entries": 4096,
        "parameter_words": 64,
        "layers": 16,
    }
    design = design_for(quantized, Design("tiny", 2, 3, 24, 3, 3, 2, 2, **small))
    assert design.multiplier == {"linear": "linear", "power_of_two": "shift", "additive_power_of_two": "additive"}.get(
        code, "codebook" if code == "codebook" else "sign"
    )
    program = compile_network(quantized, design)
    x = reference.quantize_tensor(quantized.tensors["x"], images[0])
    expected = reference.run(quantized, x[None])
    with RtlSession(design) as session:
        session.load(program)
        result = session.run(x)
    assert result.error is None
    assert list(result.cycles) == [layer.cycles for layer in network_cycles(program)]
    for name, got in result.tensors.items():
        np.testing.assert_array_equal(got, expected[name][0], err_msg=name)
