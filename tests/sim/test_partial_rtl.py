"""Networks whose layers read parts of tensors, where they lie or copied: the RTL's integers and cycles are the model's."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.sim.session import RtlSession
from tests.models.builders import quantized, random_integers, save
from tests.models.partial_networks import partial_networks
from tests.sim.designs import POOL


@pytest.mark.rtl
@pytest.mark.parametrize("name", ["delta3x4", "square4"])
def test_parts_of_tensors_are_exact(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    design = POOL[name]
    folder = tmp_path_factory.mktemp("parts")
    seen: Counter[str] = Counter()
    with RtlSession(design) as session:

        @settings(max_examples=30)
        @given(partial_networks(tables=design.tables > 1), st.integers(0, 2**32 - 1))
        def exact(model: onnx.ModelProto, seed: int) -> None:
            network = quantized(load(save(model, folder)), design.weight_bits, design.activation_bits)
            try:
                program = compile_network(network, design)
            except MappingError:
                return
            cycles = network_cycles(program)
            integers = random_integers(network, network.input, 1, seed)
            expected = reference.run(network, integers)
            session.load(program)
            result = session.run(integers[0], sum(layer.cycles for layer in cycles))
            assert (result.error, result.done) == (None, True)
            for tensor, got in result.tensors.items():
                np.testing.assert_array_equal(got, expected[tensor][0], err_msg=tensor)
            assert [layer.cycles for layer in cycles] == list(result.cycles)
            seen["all"] += 1
            seen.update(
                "copied" if layer.kind == "select" else "read"
                for layer in network.array_layers
                if layer.reads is not None
            )

        exact()
    assert seen["all"] >= 18
    assert min(seen["copied"], seen["read"]) >= 1, seen
