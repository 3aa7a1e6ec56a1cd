"""The values of each weight code, how its scale is chosen, and that pruned weights stay zero in every code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import SkipstoneError
from skipstone.models.graph.grids import WeightCode
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.quantization.weight_codes import code_weights, value_bits, weight_levels
from tests.models.builders import Array, floats, random_images
from tests.models.quantization.onnx_runtime import compare_with_onnxruntime
from tests.models.quantization.test_quantize import everything

CODES: tuple[WeightCode, ...] = ("linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook")
# By hand from the paper's formula, b = 5: p0 of {0, 1, 1/4, 1/16} and p1 of {0, 1/2, 1/8, 1/32}, in units of 1/32.
ADDITIVE_5 = [a + b for a in (0, 32, 8, 2) for b in (0, 16, 4, 1)]


def coded(
    weights: Array, code: WeightCode, bits: int = 8, entries: int = 16, lowest: float = 0.0
) -> tuple[Array, np.ndarray]:
    array = np.asarray(weights, np.float32)
    array = array.reshape(len(array), -1, 1, 1)
    channels = len(array)
    integers, scale = code_weights(array, bits, code, entries, np.full(channels, lowest), np.full(channels, 0.125))
    return integers.reshape(channels, -1), scale


@settings(max_examples=60)
@given(st.sampled_from(CODES), st.integers(2, 9), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_weights_keep_to_their_code(code: WeightCode, bits: int, entries: int, seed: int) -> None:
    if code == "additive_power_of_two":
        bits = (3, 5, 7)[bits % 3]
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
        case "additive_power_of_two":
            assert used <= set(weight_levels(code, bits).tolist())
        case "ternary" | "binary":
            assert used == {1}
        case "codebook":
            assert 0 < len(set(integers.ravel().tolist()) - {0}) <= entries
    if code == "binary":
        assert np.array_equal(integers != 0, weights != 0)


def test_ternary_by_hand() -> None:
    """The mean of 1, 2, 3, 6 is 3, so the threshold is 2.1, and the value is 4.5, the mean of 3 and 6; pruned weights do not
    count."""
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


def test_powers_of_two_choose_the_scale_of_the_majority() -> None:
    """One weight of 1 and many of 0.7: a scale that meets the 0.7 has less error than the one that meets the 1."""
    integers, scale = coded(np.array([[1.0] + [0.7] * 50]), "power_of_two", bits=4)
    assert abs(integers[0, 1] * scale[0] - 0.7) < 0.02


@pytest.mark.parametrize(
    ("bits", "levels"),
    [
        (3, [0, 1, 2, 4]),
        (5, ADDITIVE_5),
        (7, [a + b + c for a in (0, 256, 32, 4) for b in (0, 128, 16, 2) for c in (0, 64, 8, 1)]),
    ],
)
def test_additive_powers_of_two_have_the_levels_of_the_paper(bits: int, levels: list[int]) -> None:
    """``4**n`` different sums, and weights that are levels are coded without error, whatever their scale."""
    code_levels = weight_levels("additive_power_of_two", bits)
    assert code_levels.tolist() == sorted(levels)
    assert len(set(levels)) == 4 ** ((bits - 1) // 2)
    assert value_bits("additive_power_of_two", bits) == max(levels).bit_length() + 1
    weights = np.array([*levels, *(-level for level in levels)])
    integers, scale = coded(np.stack([weights * 0.5, weights * 0.03125]), "additive_power_of_two", bits)
    assert integers.tolist() == [weights.tolist()] * 2
    assert scale.tolist() == [0.5, 0.03125]


@pytest.mark.parametrize(("code", "bits"), [("power_of_two", 4), *(("additive_power_of_two", b) for b in (3, 5, 7))])
@settings(max_examples=20)
@given(st.integers(1, 40), st.booleans(), st.integers(0, 2**32 - 1))
def test_levels_are_the_nearest_and_their_scale_the_best(
    code: WeightCode, bits: int, size: int, fat: bool, seed: int
) -> None:
    """No other level is nearer, and no scale of the quarter octaves from 1/4 to sqrt(2) of the full range has less error."""
    rng = np.random.default_rng(seed)
    weights = (rng.standard_t(2, size=(3, size)) if fat else rng.normal(size=(3, size))).astype(np.float32)
    levels = np.unique([weight_levels(code, bits), -weight_levels(code, bits)])

    def nearest_errors(scale: np.ndarray) -> np.ndarray:
        errors = np.abs(weights[:, :, None] / scale[:, None, None] - levels).min(axis=2) * scale[:, None]
        return np.asarray(errors)

    integers, scale = coded(weights, code, bits)
    error = np.abs(weights - integers * scale[:, None])
    np.testing.assert_allclose(error, nearest_errors(scale), rtol=0, atol=1e-12)
    full = np.abs(weights).max(axis=1).astype(np.float64) / levels.max()
    for quarter in range(-8, 3):
        tried = (nearest_errors(full * 2.0 ** (quarter / 4)) ** 2).sum(axis=1)
        # The scale is rounded to a float32.
        assert ((error**2).sum(axis=1) <= tried * (1 + 1e-5) + 1e-9).all()


def test_of_two_levels_as_near_the_larger_is_taken() -> None:
    """With 48 in it the scale is 1: 2.5 and 42 lie between 2, 3 and 36, 48."""
    weights = np.array([ADDITIVE_5 * 9 + [2.5, -2.5, 42, 0.5]])
    integers, scale = coded(weights, "additive_power_of_two", 5)
    assert scale.tolist() == [1.0]
    assert integers[0, -4:].tolist() == [3, -3, 48, 1]


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
    integers, scale = coded(np.array([[1.0, -1.0], [1e-6, 2e-6]]), code, 7, lowest=0.001)
    assert scale[1] == np.float32(0.001)
    assert integers[1].tolist() == [0, 0]
    assert integers[0].any()


@pytest.mark.parametrize("code", CODES)
def test_a_network_in_each_code(code: WeightCode) -> None:
    """Layers without trained weights keep ones, and ONNX Runtime reads the integers as we do."""
    graph = everything()
    images = random_images(graph, 8)
    bits = {"linear": 8, "additive_power_of_two": 5}.get(code, 4)
    network = quantize(graph, calibrate(graph, images), QuantizationScheme(bits, 8, code, 15))
    assert network.weight_code == code
    for layer in network.array_layers:
        if layer.kind in ("average_pool", "max_pool", "add", "clamp"):
            assert (layer.weights == 1).all()
        assert np.abs(layer.weights).max() < 1 << (value_bits(code, network.weight_bits) - 1)
    result = compare_with_onnxruntime(network, reference.quantize_input(network, images))
    assert result.max_steps <= 1
    assert result.unexplained == 0


def test_additive_powers_of_two_are_a_sign_and_terms_of_two_bits() -> None:
    for bits in (2, 4, 6, 8, 9):
        with pytest.raises(SkipstoneError, match=rf"^weight_bits must be 3, 5 or 7 .*, not {bits}$"):
            weight_levels("additive_power_of_two", bits)


def test_integers_have_no_fixed_levels() -> None:
    with pytest.raises(SkipstoneError, match=r"^weight code 'linear' has no fixed levels; power_of_two and"):
        weight_levels("linear", 8)
