"""Quantizers of activations round as the integer reference and as Brevitas do, with the gradients of their papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from skipstone.models.quantization.network import QuantizedTensor
from skipstone.models.quantization.reference import quantize_tensor
from skipstone.models.quantization.scales import activation_scale
from skipstone.models.training.qat_activations import MOVING_SHARE, MOVING_STEPS, AffineActivations, TensorRange


@pytest.mark.parametrize("kind", ["fixed", "moving", "learned"])
@settings(max_examples=20)
@given(
    low=st.floats(-50, 0),
    high=st.floats(0, 50),
    bits=st.integers(2, 8),
    seed=st.integers(0, 2**16),
    reach=st.floats(0.1, 3),
)
def test_values_are_the_references_integers(kind, low, high, bits, seed, reach):
    quantizer = AffineActivations(TensorRange(low, high, bits, kind)).eval()
    scale, zero_point = quantizer.limits()
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=200) * reach * max(high, -low, 0.1)).astype(np.float32)
    # Ties, where rounding has a choice.
    x[:50] = (rng.integers(-20, 20, 50) + 0.5).astype(np.float32) * np.float32(scale)
    integers = quantize_tensor(QuantizedTensor("x", (200, 1, 1), scale, zero_point, bits), x)
    expected = (integers - zero_point).astype(np.float32) * np.float32(scale)
    np.testing.assert_array_equal(quantizer(torch.from_numpy(x)).detach().numpy(), expected)
    assert quantizer(torch.zeros(1)).item() == 0


@pytest.mark.parametrize("kind", ["fixed", "moving", "learned"])
def test_ranges_start_as_the_quantizer_would_choose_them(kind):
    assert TensorRange(-1.5, 4.0, 8, kind).limits() == activation_scale(-1.5, 4.0, 8)


def test_the_gradient_is_that_of_brevitas():
    """An unsigned tensor with Brevitas's symmetric quantizer, whose zero point 0 of unsigned integers is -128 of ours."""
    from brevitas.core.bit_width import BitWidthConst
    from brevitas.core.quant import IntQuant, RescalingIntQuant
    from brevitas.core.scaling import ConstScaling, IntScaling
    from brevitas.core.zero_point import ZeroZeroPoint

    brevitas = RescalingIntQuant(
        IntQuant(narrow_range=False, signed=False, input_view_impl=torch.nn.Identity()),
        ConstScaling(3.0),
        IntScaling(signed=False, narrow_range=False),
        ZeroZeroPoint(),
        BitWidthConst(8),
    )
    torch.manual_seed(1)
    x, weight = torch.randn(1000) * 2 + 1, torch.randn(1000)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours = AffineActivations(TensorRange(0.0, 3.0, 8))
    assert ours.limits()[1] == -128
    a, b = ours(mine), brevitas(theirs)[0]
    # Their scale is a float32 quotient of its own, so values may differ in the last place.
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6)
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    # They multiply by the scale and divide by it again.
    np.testing.assert_allclose(mine.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


def test_a_learned_range_has_the_gradient_of_its_paper():
    """Bhalgat et al. (2020), by hand: 3 bits, scale 0.5, zero point 0, so values from -2 to 1.5."""
    chosen = TensorRange(-2.0, 1.5, 3, "learned")
    assert chosen.limits() == (0.5, 0)
    x = torch.tensor([[0.6, -0.3, 5.0, -7.0]]).requires_grad_()
    y = AffineActivations(chosen)(x)
    assert y.flatten().tolist() == [0.5, -0.5, 1.5, -2.0]
    (y * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.flatten().tolist() == [1.0, 10.0, 0.0, 0.0]
    factor = 1 / np.sqrt(4 * 7)
    of_scale = (1 - 1.2) * 1 + (-1 + 0.6) * 10 + 3 * 100 - 4 * 1000
    assert chosen.scale.grad.item() == pytest.approx(of_scale * factor, rel=1e-5)
    assert chosen.zero_point.grad.item() == pytest.approx(-0.5 * 1100 * factor, rel=1e-5)


def test_a_learned_range_above_0_keeps_its_zero_point():
    chosen = TensorRange(0.0, 3.0, 4, "learned")
    AffineActivations(chosen)(torch.randn(3, 3).requires_grad_()).sum().backward()
    assert chosen.zero_point.grad is None
    assert chosen.limits()[1] == -8


def test_a_moving_range_follows_every_eighth_batch():
    chosen = TensorRange(0.0, 1.0, 8, "moving", members=2)
    first, second = AffineActivations(chosen, 0).train(), AffineActivations(chosen, 1).train()
    for _ in range(MOVING_STEPS):
        first(torch.tensor([0.0, 3.0]))
        second(torch.tensor([-2.0, 0.5]))
    high, low = 1 + 2 * MOVING_SHARE, -2 * MOVING_SHARE
    np.testing.assert_allclose(chosen.ends.numpy(), [[0, high], [low, 1 - 0.5 * MOVING_SHARE]], rtol=1e-6)
    assert first.limits() == second.limits() == pytest.approx(activation_scale(low, high, 8))
    chosen.frozen = True
    before = chosen.ends.clone()
    first(torch.tensor([9.0]))
    assert (chosen.ends == before).all()
