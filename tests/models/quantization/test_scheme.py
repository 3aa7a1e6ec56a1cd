"""A quantization scheme accepts what can be quantized, and is refused at construction otherwise."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import INT8, QuantizationScheme, parse_weight_code, scheme_of
from tests.models.builders import random_images
from tests.models.quantization.test_quantize import everything


@pytest.mark.parametrize(
    ("values", "parameter", "message"),
    [
        ({"weight_bits": 1}, "weight_bits", "weight_bits must be 2 to 16, not 1"),
        ({"weight_bits": 17}, "weight_bits", "weight_bits must be 2 to 16, not 17"),
        ({"activation_bits": 1}, "activation_bits", "activation_bits must be 2 to 16, not 1"),
        ({"activation_bits": 17}, "activation_bits", "activation_bits must be 2 to 16, not 17"),
        ({"layer_bits": {"a": 1}}, "layer_bits", "layer_bits of 'a' must be 2 to 16, not 1"),
        (
            {"weight_code": "gray"},
            "weight_code",
            "no weight code 'gray'; the codes are linear, power_of_two, additive_power_of_two, ternary, binary, codebook",
        ),
        ({"weight_code": "codebook", "codebook_entries": 0}, None, "codebook_entries must be at least 1, not 0"),
        (
            {"calibration_method": "kl"},
            "calibration_method",
            "no calibration method 'kl'; the methods are minmax, percentile:P (as percentile:99.99), mse, entropy",
        ),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], parameter: str | None, message: str) -> None:
    with pytest.raises(SkipstoneError) as error:
        QuantizationScheme(**values)  # type: ignore[arg-type]
    assert (str(error.value), error.value.parameter) == (message, parameter)


@pytest.mark.parametrize("bits", [2, 16])
def test_the_ends_of_each_range_are_taken(bits: int) -> None:
    scheme = QuantizationScheme(bits, bits, layer_bits={"a": bits})
    assert (scheme.weight_bits, scheme.activation_bits, scheme.bits_of("a")) == (bits, bits, bits)


@pytest.mark.parametrize("bits", [2, 4, 6, 8, 9])
def test_bits_that_additive_powers_of_two_cannot_have(bits: int) -> None:
    text = (
        f"weight_bits must be 3, 5 or 7 with weight code additive_power_of_two (a sign and terms of 2 bits), not {bits}"
    )
    for values in (
        {"weight_bits": bits, "weight_code": "additive_power_of_two"},
        {"weight_bits": 5, "weight_code": "additive_power_of_two", "layer_bits": {"a": bits}},
        {"weight_bits": bits, "layer_codes": {"a": "additive_power_of_two"}},
    ):
        with pytest.raises(SkipstoneError) as error:
            QuantizationScheme(**values)  # type: ignore[arg-type]
        assert str(error.value) == text
    assert QuantizationScheme(5, layer_codes={"a": "additive_power_of_two"}).code_of("a") == "additive_power_of_two"


def test_a_layer_has_its_own_bits_and_code() -> None:
    scheme = QuantizationScheme(6, 7, symmetric=True, layer_bits={"a": 3}, layer_codes={"b": "ternary"})
    assert scheme.of_layer("a") == QuantizationScheme(3, 7, symmetric=True)
    assert scheme.of_layer("b") == QuantizationScheme(6, 7, "ternary", symmetric=True)
    assert scheme.of_layer("c") == QuantizationScheme(6, 7, symmetric=True)


def test_codes_in_words() -> None:
    assert parse_weight_code("ternary") == ("ternary", 16)
    assert [parse_weight_code(f"codebook:{entries}") for entries in (4, 256)] == [("codebook", 4), ("codebook", 256)]
    assert QuantizationScheme.parse("codebook:7", 6) == QuantizationScheme(6, 8, "codebook", 7)
    for text in ("codebook", "codebook:", "codebook:3", "codebook:257", "codebook:-4"):
        with pytest.raises(SkipstoneError, match=rf"^weight_code codebook:N needs N from 4 to 256, not '{text}'$"):
            parse_weight_code(text)
    for text in ("gray", "", "ternary:4"):
        with pytest.raises(SkipstoneError, match=rf"^weight_code must be linear, .*, or codebook:N, not '{text}'$"):
            parse_weight_code(text)


def test_schemes_are_values() -> None:
    """Equal ones are one key of a cache, and reach other processes as they are."""
    scheme = QuantizationScheme(4, layer_bits={"a": 3})
    assert hash(scheme) == hash(replace(scheme))
    assert pickle.loads(pickle.dumps(scheme)) == scheme != replace(scheme, layer_bits={"a": 5})
    with pytest.raises(SkipstoneError):
        replace(scheme, weight_bits=1)


def test_the_scheme_of_a_network() -> None:
    """Bits and code are those of the quantization; a codebook has the largest number of values in any layer, at least 4."""
    graph = everything()
    ranges = calibrate(graph, random_images(graph, 2))
    assert scheme_of(quantize(graph, ranges)) == INT8
    assert scheme_of(quantize(graph, ranges, QuantizationScheme(4, 6, "ternary"))) == QuantizationScheme(
        4, 6, "ternary"
    )
    for entries, expected in ((2, 4), (9, 9)):
        scheme = scheme_of(
            quantize(graph, ranges, QuantizationScheme(weight_code="codebook", codebook_entries=entries))
        )
        assert (scheme.weight_code, scheme.codebook_entries) == ("codebook", expected)
