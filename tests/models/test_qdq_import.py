"""Quantized files come back: our own bit for bit, ONNX Runtime's with its integers and within one step of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from benchmarks.workloads import every_operator
from models.calibrate import calibrate
from models.graph import Graph
from models.onnx_import import load
from models.qdq import to_qdq
from models.quantize import quantize
from models.quantized import QuantizedNetwork, WeightCode
from tests.models.builders import random_images
from tests.models.test_compare import branches
from tests.models.test_grids import assert_same
from tests.models.test_qdq import residual
from tests.models.test_quantize import everything


def reread(network: QuantizedNetwork, folder: Path) -> QuantizedNetwork:
    path = folder / "quantized.onnx"
    onnx.save(to_qdq(network), path)
    return quantize(load(path), None)


@pytest.mark.parametrize("make", [residual, branches, everything, every_operator])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (3, 5), (8, 12)])
def test_our_own_files_come_back(make, weight_bits: int, activation_bits: int, tmp_path: Path) -> None:
    graph = make()
    network = quantize(graph, calibrate(graph, random_images(graph, 3)), weight_bits, activation_bits)
    again = reread(network, tmp_path)
    assert_same(network, again)
    assert again.calibration == "as stored in the file (min-max on 3 images)"


def assert_same_program(one: QuantizedNetwork, two: QuantizedNetwork, **sizes: int) -> None:
    """Both compile to the same words in every memory."""
    kind = load_design("tiny").replace(activation_bits=one.activation_bits, weight_bits=16, accumulator_bits=48, **sizes)
    design = with_memories_for(one, kind)
    programs = [compile_network(network, design) for network in (one, two)]
    images = [program.memory_images() for program in programs]
    assert images[0].keys() == images[1].keys()
    for name, words in images[0].items():
        assert list(words) == list(images[1][name]), name
    assert [layer.layers for layer in programs[0].layers] == [layer.layers for layer in programs[1].layers]
    assert programs[0].outputs == programs[1].outputs
    assert programs[0].host_steps == programs[1].host_steps
