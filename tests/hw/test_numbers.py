"""The widths of the requantization: the quantizer fills exactly the fields that the gateware has, and its reference agrees."""

import numpy as np
import pytest

from skipstone.hw import numbers
from skipstone.models.quantization.quantize import requantization
from tests.sim.designs import POOL


@pytest.mark.parametrize("design", POOL.values(), ids=POOL)
def test_fields_of_the_parameter_word_have_these_widths(design):
    widths = {field.name: field.width for field in design.parameter.fields}
    assert widths["multiplier"] == numbers.MULTIPLIER_BITS
    assert widths["other_multiplier"] == numbers.OTHER_MULTIPLIER_BITS
    assert widths["shift"] == numbers.SHIFT_BITS


def test_every_legal_shift_fits_its_field():
    assert 1 <= numbers.MAX_SHIFT < 1 << numbers.SHIFT_BITS


def test_the_quantizer_uses_all_bits_of_the_multiplier():
    """Ratios of every size, those that round up to the next power of two among them: multipliers have 16 bits, unless the
    shift would pass 47."""
    ratios = np.ldexp(np.array([0.5, 0.75, 1 - 2.0**-18, 1 - 2.0**-53]), np.arange(-40, 15)[:, None]).ravel()
    multiplier, shift, other = requantization(ratios, None, "layer")
    assert multiplier.max() < 1 << numbers.MULTIPLIER_BITS
    assert shift.max() == numbers.MAX_SHIFT
    assert shift.min() >= 1
    assert (multiplier[shift < numbers.MAX_SHIFT] >= 1 << (numbers.MULTIPLIER_BITS - 1)).all()
    assert not other.any()


def test_the_quantizer_keeps_the_other_multiplier_in_its_bits():
    """The added tensor is up to 2**15 times coarser than the output here, the layer's own sum 2**-20 times."""
    for exponent in range(-20, 16):
        for mantissa in (0.5, 1 - 2.0**-33, 1 - 2.0**-53):
            _, shift, other = requantization(np.array([2.0**-20]), float(np.ldexp(mantissa, exponent)), "layer")
            assert 0 <= other.max() < 1 << numbers.OTHER_MULTIPLIER_BITS
            assert 1 <= shift.min() <= shift.max() <= numbers.MAX_SHIFT
