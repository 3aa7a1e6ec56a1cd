"""Compressed forms of a network: layers do not depend on each other, equal forms have equal integers, nothing is solved twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore import compression
from skipstone.explore.compression import Compression, Compressor, network_digest
from skipstone.explore.store import Store
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.models.data.float_execution import float_scores
from skipstone.models.pruning import masks, spec
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.models.graph.test_grids import assert_same
from tests.skipstone.builders import small_data, small_network


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, CompressionOptions]:
    folder = tmp_path_factory.mktemp("small")
    data = str(small_data(folder / "data.npz", count=24))
    return str(small_network(folder / "small.onnx")), CompressionOptions(calibration=data)


def weights_of(network: QuantizedNetwork) -> dict[str, np.ndarray]:
    return {layer.name: layer.weights for layer in network.array_layers if layer.weight_bits is not None}


@pytest.mark.parametrize("method", ["none", "unstructured:0.5", "2:4", "filter:0.4", "global:0.5", "weight/wanda:0.5"])
def test_magnitude_pruning_equals_that_of_a_run(files, method):
    """Pruning layer by layer gives the integers of ``skipstone run --prune``."""
    network, options = files
    compressed = Compressor(network, options).compressed(Compression(prune=method, criterion="magnitude"))
    expected = prepare_network(network, replace(options, prune=method)).compressed
    assert_same(compressed.network, expected)
    assert compressed.digest == network_digest(expected)


def test_a_layer_does_not_depend_on_the_others(files):
    network, options = files
    compressor = Compressor(network, options)
    alone = compressor.compressed(Compression(layers=(("second", "unstructured:0.5"),)))
    both = compressor.compressed(Compression(prune="2:4", layers=(("second", "unstructured:0.5"),)))
    everywhere = compressor.compressed(Compression(prune="unstructured:0.5"))
    zeros = [weights_of(each.network)["second"] == 0 for each in (alone, both, everywhere)]
    assert (zeros[0] == zeros[1]).all()
    assert (zeros[0] == zeros[2]).all()
    assert 0.49 <= zeros[0].mean() < 0.6
    # A layer without a pruning method keeps its weights.
    pruned = compressor._pruned(Compression(layers=(("second", "unstructured:0.5"),)))
    assert pruned.layer("first") is compressor.graph.layer("first")
    assert pruned.layer("second") is not compressor.graph.layer("second")


def test_second_order_keeps_more_of_the_outputs_than_magnitude(files):
    network, options = files
    compressor = Compressor(network, options)
    graph, images = compressor.graph, compressor.given.calibration
    dense_outputs = float_scores(graph, images)
    errors = []
    for criterion in ("second_order", "magnitude"):
        pruned = compressor._pruned(Compression(prune="unstructured:0.6", criterion=criterion))
        pruned_outputs = float_scores(pruned, images)
        errors.append(float(np.square(pruned_outputs - dense_outputs).sum()))
    assert errors[0] < 0.5 * errors[1]


def test_auto_is_second_order_with_images_and_magnitude_without(files):
    network, options = files
    with_images, without = Compressor(network, options), Compressor(network, replace(options, calibration=None))
    for compressor, criterion in ((with_images, "second_order"), (without, "magnitude")):
        auto, named = (
            compressor.compressed(Compression(prune="unstructured:0.5", criterion=each)) for each in ("auto", criterion)
        )
        assert auto.digest == named.digest
    with pytest.raises(SkipstoneError, match="criterion second_order needs calibration images"):
        without.compressed(Compression(prune="unstructured:0.5", criterion="second_order"))


def test_nothing_is_solved_twice(files, tmp_path, monkeypatch):
    """Neither in one process, nor in a later one with the same store."""
    network, options = files
    solved = []
    original = compression.second_order

    def counted(graph, pruning, *arguments, **options):
        solved.append(pruning.skip)
        return original(graph, pruning, *arguments, **options)

    monkeypatch.setattr(compression, "second_order", counted)
    compressor = Compressor(network, options, Store(tmp_path / "known.db"))
    first = compressor.compressed(Compression(prune="unstructured:0.5"))
    assert len(solved) == len(compressor.layer_names) == 3
    # Two methods for each of three layers make eight networks, but only six pruned layers.
    compressor.compressed(Compression(prune="unstructured:0.5", layers=(("first", "2:4"),)))
    compressor.compressed(Compression(prune="unstructured:0.5", layers=(("second", "2:4"),)))
    compressor.compressed(Compression(prune="2:4", scheme=QuantizationScheme(5)))
    assert len(solved) == 6
    again = Compressor(network, options, Store(tmp_path / "known.db"))
    assert again.compressed(Compression(prune="unstructured:0.5")).digest == first.digest
    assert again.compressed(Compression(prune="2:4", scheme=QuantizationScheme(3))).network.weight_bits == 3
    assert len(solved) == 6


def test_different_integers_have_different_digests(files):
    network, options = files
    compressor = Compressor(network, options)
    forms = [
        Compression(prune="none"),
        Compression(prune="unstructured:0.2"),
        Compression(scheme=QuantizationScheme(7)),
        Compression(scheme=QuantizationScheme(activation_bits=7)),
        Compression(scheme=QuantizationScheme(weight_code="ternary")),
        Compression(scheme=QuantizationScheme(weight_code="codebook", codebook_entries=4)),
    ]
    digests = [compressor.compressed(form).digest for form in forms]
    assert len(set(digests)) == len(forms)
    assert digests == [Compressor(network, options).compressed(form).digest for form in forms]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Compression(layers=(("third", "none"),)), "network 'small' has no prunable layer 'third'"),
        (Compression(network="nowhere"), "no file 'nowhere'"),
        (Compression(network="resnet8_fashion_w4a8"), "it is not another form of the same network"),
    ],
)
def test_an_impossible_form_is_refused_every_time(files, form, message):
    compressor = Compressor(*files)
    for _ in range(2):
        with pytest.raises(SkipstoneError, match=message):
            compressor.compressed(form)


def test_a_quantized_network_is_not_pruned():
    compressor = Compressor("resnet8_fashion_ternary", CompressionOptions())
    assert compressor.compressed(Compression()).options.scheme.weight_code == "ternary"
    with pytest.raises(SkipstoneError, match="is quantized already, so pruning can't change its weights"):
        compressor.compressed(Compression(prune="2:4"))


def test_second_order_prunes_as_many_weights_as_magnitude(files):
    network, options = files
    compressor = Compressor(network, options)
    pruned = compressor._pruned(Compression(prune="2:4"))
    pruning = spec.parse("2:4")
    assert pruning is not None
    for layer, reference in zip(pruned.convs, masks.prune(compressor.graph, pruning).graph.convs, strict=True):
        assert np.count_nonzero(layer.weights) == np.count_nonzero(reference.weights)
