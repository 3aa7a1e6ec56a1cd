"""What is verified: a network with every kind of layer, and a design for every weight code."""

from typing import get_args

import numpy as np
import pytest

from benchmarks.exactness import CODES, coded_designs, operators_file
from benchmarks.workloads import every_operator, quantized
from skipstone.flow.prepare import CompressionOptions, prepare_network
from skipstone.flow.verify import verify_network
from skipstone.hw.design import CHOICES, load_design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.models.graph import layers
from skipstone.models.graph.grids import WeightCode
from skipstone.models.quantization import reference


def test_the_network_has_every_kind_of_layer():
    kinds = {kind for kind in vars(layers).values() if isinstance(kind, type) and issubclass(kind, layers.Layer)}
    kinds -= {layers.Layer, layers._Pool, layers.OnHost, layers.Copy}  # the last is the quantizer's own
    kinds -= {layers.ArgMax, layers.Join}  # on the host like Softmax, which is there
    kinds -= {layers.Select}  # mostly no layer of the array; tests/sim/test_partial_rtl.py runs those that are
    assert {type(layer) for layer in every_operator().layers} == kinds


def test_its_outputs_have_many_values():
    network = quantized(every_operator())
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 24, 20))
    tensors = reference.run(network, reference.quantize_input(network, x))
    for layer in network.array_layers:
        values = tensors[layer.output]
        assert np.unique(values).size >= min(20, values.size // 4), layer.name


def test_every_code_and_multiplier_is_run_and_fits_its_design():
    assert {options.scheme.weight_code for options, _ in CODES.values()} == set(get_args(WeightCode))
    designs = coded_designs()
    assert {design.multiplier for design in designs.values()} == set(CHOICES["multiplier"])
    assert {design.index_coding for design in designs.values()} == set(CHOICES["index_coding"])
    for (code, _), design in designs.items():
        options = CODES[code][0]
        network = quantized(every_operator(), options.scheme)
        compile_network(network, design)


@pytest.mark.rtl
def test_every_operator_in_the_rtl():
    with operators_file() as path:
        assert prepare_network(path, CompressionOptions()).compressed.concats
        done = verify_network(path, load_design("tiny"), CompressionOptions(input_range=(-1, 1)), fit_memories=True)
    assert done.exact, (done.error, done.differences)
