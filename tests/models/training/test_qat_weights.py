"""Quantizers of weights: their integers are those of the forward pass, of the weight code, and of an independent
implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from skipstone.errors import SkipstoneError
from skipstone.models.quantization.scheme import QuantizationScheme
from skipstone.models.quantization.weight_codes import code_weights
from skipstone.models.training.qat_weights import CODEBOOK_STEPS, SCALE_STEPS, code_levels, weight_quantizer

CASES = [
    ("linear", 2, "straight_through"),
    ("linear", 4, "straight_through"),
    ("linear", 8, "learned_step"),
    ("linear", 3, "learned_step"),
    ("power_of_two", 4, "straight_through"),
    ("power_of_two", 3, "learned_step"),
    ("additive_power_of_two", 5, "straight_through"),
    ("additive_power_of_two", 3, "learned_step"),
    ("ternary", 2, "straight_through"),
    ("ternary", 2, "learned_step"),
    ("binary", 2, "straight_through"),
    ("binary", 2, "learned_step"),
    ("codebook", 6, "straight_through"),
]
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


def drawn(shape: tuple[int, ...], seed: int, pruned: float = 0.3) -> torch.Tensor:
    """Weights with zeros among them; one filter in four is all zeros."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=shape) * (rng.random(shape) > pruned) * 2.0 ** rng.integers(-6, 6)
    weights[rng.random(shape[0]) < 0.25] = 0
    return torch.tensor(weights.astype(np.float32), requires_grad=True)


@pytest.mark.parametrize(("code", "bits", "estimator"), CASES)
@settings(max_examples=8)
@given(shape=SHAPES, seed=st.integers(0, 2**16))
def test_the_grid_is_the_forward_pass(code, bits, estimator, shape, seed):
    weights = drawn(shape, seed)
    quantizer = weight_quantizer(weights, QuantizationScheme(bits, 8, code, 5), estimator).eval()
    quantized = quantizer(weights)
    grid = quantizer.grid(weights)
    np.testing.assert_array_equal(grid.weights, quantized.detach().numpy())
    assert (grid.scale == grid.scale.astype(np.float32)).all()
    assert (grid.scale > 0).all()
    assert (grid.integers[weights.detach().numpy() == 0] == 0).all()
    if code in ("power_of_two", "additive_power_of_two", "ternary", "binary"):
        assert set(np.abs(grid.integers).ravel().tolist()) <= {0, *code_levels(code, bits).astype(int).tolist()}
    else:
        assert np.abs(grid.integers).max() < 1 << (bits - 1)
    if code == "codebook":
        assert len(set(grid.integers[grid.integers != 0].tolist())) <= 5
    if code == "binary":
        assert (grid.integers[weights.detach().numpy() != 0] != 0).all()


@pytest.mark.parametrize("code", ["power_of_two", "additive_power_of_two", "ternary", "binary", "codebook"])
def test_coded_weights_are_what_the_quantizer_would_code(code):
    weights = drawn((4, 3, 3, 3), 1)
    grid = weight_quantizer(weights, QuantizationScheme(5, 8, code, 6)).eval().grid(weights)
    real = weights.detach().numpy()
    integers, scale = code_weights(real, 5, code, 6, np.zeros(4), np.ones(4))
    np.testing.assert_array_equal(grid.integers, integers)
    used = integers.reshape(4, -1).any(axis=1)
    np.testing.assert_array_equal(grid.scale[used], scale[used])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_linear_weights_are_those_of_brevitas_layers(bits):
    import brevitas.nn as qnn
    from brevitas.quant import Int8WeightPerChannelFloat

    weights = drawn((5, 3, 3, 3), 7, pruned=0.1)
    layer = qnn.QuantConv2d(3, 5, 3, bias=False, weight_quant=Int8WeightPerChannelFloat, weight_bit_width=bits)
    layer.weight.data.copy_(weights.detach())
    theirs = layer.quant_weight()
    grid = weight_quantizer(weights, QuantizationScheme(bits)).grid(weights)
    np.testing.assert_array_equal(grid.integers, theirs.int().numpy())
    used = grid.integers.reshape(5, -1).any(axis=1)
    np.testing.assert_array_equal(grid.scale[used], theirs.scale.detach().reshape(-1).double().numpy()[used])


def test_a_learned_step_has_the_gradient_of_its_paper():
    """Esser et al. (2020), equation 3, of a channel of 4 weights, 3 bits (largest integer 3), scale 0.5."""
    weights = torch.tensor([0.6, -0.2, 5.0, -9.0]).reshape(1, 4, 1, 1).requires_grad_()
    quantizer = weight_quantizer(weights, QuantizationScheme(3), "learned_step")
    scaling = quantizer.inner.scaling_impl
    scaling.value.data.fill_(1.5)
    quantized = quantizer(weights)
    assert quantized.flatten().tolist() == [0.5, 0.0, 1.5, -1.5]
    (quantized * torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)).sum().backward()
    assert weights.grad.flatten().tolist() == [1.0, 10.0, 0.0, 0.0]
    expected = (1 - 1.2) * 1 + (0 + 0.4) * 10 + 3 * 100 - 3 * 1000
    # The parameter is three times the scale, and moves the scale by its own step over 3.
    assert scaling.value.grad.item() == pytest.approx(expected / np.sqrt(4 * 3) * 3)


def test_learned_levels_have_the_same_gradient():
    weights = torch.tensor([0.6, -0.2, 5.0, -9.0]).reshape(1, 4, 1, 1).requires_grad_()
    quantizer = weight_quantizer(weights, QuantizationScheme(3, 8, "power_of_two"), "learned_step")
    quantizer.scale.data.fill_(0.5)
    quantized = quantizer(weights)
    # Levels 0, 0.5, 1, 2, 4.
    assert quantized.flatten().tolist() == [0.5, 0.0, 4.0, -4.0]
    (quantized * torch.tensor([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1, 1)).sum().backward()
    assert weights.grad.flatten().tolist() == [1.0, 10.0, 0.0, 0.0]
    expected = (1 - 1.2) * 1 + (0 + 0.4) * 10 + 8 * 100 - 8 * 1000
    assert quantizer.scale.grad.item() == pytest.approx(expected / (np.sqrt(4) * 8))


@pytest.mark.parametrize("code", ["power_of_two", "ternary", "binary", "codebook"])
def test_gradients_pass_straight_through(code):
    weights = drawn((3, 2, 3, 3), 4)
    (weight_quantizer(weights, QuantizationScheme(4, 8, code, 4))(weights) * 3).sum().backward()
    assert (weights.grad == 3).all()


def test_between_trials_a_scale_follows_the_largest_weight():
    weights = drawn((3, 4, 3, 3), 9, pruned=0)
    quantizer = weight_quantizer(weights, QuantizationScheme(4, 8, "power_of_two")).train()
    first = quantizer(weights).detach()
    for _ in range(SCALE_STEPS - 1):
        doubled = quantizer(weights * 2).detach()
        np.testing.assert_allclose(doubled.numpy(), 2 * first.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(quantizer(weights * 2).detach().numpy(), quantizer.grid(weights * 2).weights)


def test_a_codebook_is_searched_again_at_intervals():
    weights = drawn((4, 4, 3, 3), 2, pruned=0)
    quantizer = weight_quantizer(weights, QuantizationScheme(8, 8, "codebook", 4)).train()
    quantizer(weights)
    book = quantizer.book.clone()
    other = weights**3
    for _ in range(CODEBOOK_STEPS - 1):
        quantizer(other)
    assert (quantizer.book == book).all()
    quantizer(other)
    assert (quantizer.book != book).any()
    np.testing.assert_array_equal(quantizer.grid(other).weights, quantizer(other).detach().numpy())


@pytest.mark.parametrize(
    ("code", "bits", "estimator", "message"),
    [
        ("linear", 9, "straight_through", "weight_bits must be from 2 to 8"),
        ("codebook", 4, "learned_step", "a codebook has no step to learn"),
    ],
)
def test_refusals(code, bits, estimator, message):
    with pytest.raises(SkipstoneError, match=message):
        weight_quantizer(drawn((2, 2, 1, 1), 0), QuantizationScheme(bits, 8, code, 4), estimator)
