"""What each weight code may say, how it chooses, and that pruned weights stay zero in all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import reference
from models.calibrate import calibrate
from models.compare import compare_with_onnxruntime
from models.errors import SkipstoneError
from models.quantize import quantize
from models.quantized import WeightCode
from models.weight_codes import code_weights, value_bits
from tests.models.builders import Array, floats, random_images
from tests.models.test_quantize import everything

CODES: tuple[WeightCode, ...] = ("linear", "power_of_two", "ternary", "binary", "codebook")


def coded(
    weights: Array, code: WeightCode, bits: int = 8, entries: int = 16, lowest: float = 0.0
) -> tuple[Array, np.ndarray]:
    array = np.asarray(weights, np.float32)
    array = array.reshape(len(array), -1, 1, 1)
    channels = len(array)
    integers, scale = code_weights(array, bits, code, entries, np.full(channels, lowest), np.full(channels, 0.125))
    return integers.reshape(channels, -1), scale


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CODES), st.integers(2, 9), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_weights_keep_to_their_code(code: WeightCode, bits: int, entries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, 24)) * rng.uniform(0.001, 10, (5, 1)) * (rng.random((5, 24)) < 0.6)
    weights[3] = 0
    integers, scale = coded(weights, code, bits, entries)
    assert not integers[weights == 0].any()
    assert (np.sign(integers) * np.sign(weights) >= 0).all()
    assert (scale > 0).all()
    assert (scale.astype(np.float32) == scale).all()
    assert np.abs(integers).max() < 1 << (value_bits(code, bits) - 1)
    used = set(np.abs(integers).ravel().tolist()) - {0}
    match code:
        case "linear":
            assert np.abs(weights - integers * scale[:, None]).max(axis=1) == pytest.approx(0, abs=scale.max() * 0.501)
        case "power_of_two":
            assert used <= {2**e for e in range(min(2 ** (bits - 1) - 1, 14) + 1)}
        case "ternary" | "binary":
            assert used == {1}
        case "codebook":
            assert 0 < len(set(integers.ravel().tolist()) - {0}) <= entries
    if code == "binary":
        assert np.array_equal(integers != 0, weights != 0)


def test_ternary_by_hand() -> None:
    """The mean of 1, 2, 3, 6 is 3, so 2.1 is the threshold, and 4.5 the mean of 3 and 6; pruned weights have no say."""
    integers, scale = coded(np.array([[1, -2, 3, -6, 0, 0]]), "ternary")
    assert integers.tolist() == [[0, 0, 1, -1, 0, 0]]
    assert scale.tolist() == [4.5]


def test_binary_by_hand() -> None:
    integers, scale = coded(np.array([[1, -2, 3, -6, 0, 0]]), "binary")
    assert integers.tolist() == [[1, -1, 1, -1, 0, 0]]
    assert scale.tolist() == [3.0]


def test_powers_of_two_are_exact_where_they_can_be() -> None:
    """1 to 128 are the eight powers of 4 bits; 1.4 is nearest to 1, 0.4 to 0, 23 to 16 and 25 to 32."""
    integers, scale = coded(np.array([[1, -2, 4, 8, 16, 32, 64, -128.0]]), "power_of_two", bits=4)
    assert (integers * scale[:, None]).tolist() == [[1, -2, 4, 8, 16, 32, 64, -128]]
    near, scale = coded(np.array([[128, 128, 128, 128, 1.4, 0.4, -23, 25]]), "power_of_two", bits=4)
    assert (near * scale[:, None])[0, 4:].tolist() == [1, 0, -16, 32]


def test_powers_of_two_choose_a_scale_for_the_mass_of_the_weights() -> None:
    """One weight of 1 and many of 0.7: a scale that meets the 0.7 has less error than the one that meets the 1."""
    integers, scale = coded(np.array([[1.0] + [0.7] * 50]), "power_of_two", bits=4)
    assert abs(integers[0, 1] * scale[0] - 0.7) < 0.02


def test_a_codebook_finds_the_values_that_there_are() -> None:
    """Two clusters a channel, at the same places of both channels' ranges: four values hold them without error."""
    values = np.array([127, 64, -32, -127])
    weights = np.stack([values[np.arange(60) % 4] * 0.01, values[np.arange(60) % 4] * 0.5])
    integers, _ = coded(weights, "codebook", entries=4)
    assert integers.tolist() == [values[np.arange(60) % 4].tolist()] * 2
    again, _ = coded(floats(8, 100), "codebook", entries=5)
    np.testing.assert_array_equal(coded(floats(8, 100), "codebook", entries=5)[0], again)
    assert len(np.unique(again)) <= 6


@pytest.mark.parametrize("code", CODES)
def test_a_scale_that_the_bias_raises_rounds_the_weights(code: WeightCode) -> None:
    """Weights far below the scale that the bias needs are 0, whatever the code."""
    integers, scale = coded(np.array([[1.0, -1.0], [1e-6, 2e-6]]), code, lowest=0.001)
    assert scale[1] == np.float32(0.001)
    assert integers[1].tolist() == [0, 0]
    assert integers[0].any()


@pytest.mark.parametrize("code", CODES)
def test_a_network_in_each_code(code: WeightCode) -> None:
    """Layers without trained weights keep ones, and ONNX Runtime reads the integers as we do."""
    graph = everything()
    images = random_images(graph, 8)
    network = quantize(graph, calibrate(graph, images), 4 if code != "linear" else 8, 8, code, 15)
    assert network.weight_code == code
    for layer in network.array_layers:
        if layer.kind in ("average_pool", "max_pool", "add", "clamp"):
            assert (layer.weights == 1).all()
        assert np.abs(layer.weights).max() < 1 << (value_bits(code, network.weight_bits) - 1)
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert result.unexplained == 0


def test_errors() -> None:
    graph = everything()
    ranges = calibrate(graph, random_images(graph, 2))
    with pytest.raises(SkipstoneError) as error:
        quantize(graph, ranges, weight_code="gray")  # type: ignore[arg-type]
    assert str(error.value) == ("no weight code 'gray'; the codes are linear, power_of_two, ternary, binary, codebook")
    with pytest.raises(SkipstoneError, match=r"^codebook_entries must be at least 1, not 0$"):
        quantize(graph, ranges, weight_code="codebook", codebook_entries=0)
