"""Random (design, network) pairs: the model's cycles equal the RTL's, and every output equals the integer reference's.

This is the project's central promise; the examples are drawn by Hypothesis and shrink to the smallest that fails.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mapper.compile import compile_network
from mapper.cycles import network_cycles
from mapper.errors import MappingError
from models import reference
from sim.session import RtlSession
from tests.sim.designs import POOL
from tests.sim.graphs import graphs
from tests.sim.networks import networks

EXAMPLES = int(os.environ.get("SKIPSTONE_RANDOM_PAIRS", "42"))


@pytest.fixture(scope="module", params=sorted(POOL))
def session(request):
    with RtlSession(POOL[request.param]) as running:
        yield running


@pytest.mark.rtl
@pytest.mark.parametrize("strategy", [networks, graphs], ids=["layers", "graphs"])
def test_random_networks_are_exact(session, strategy):
    """42 networks of one or two layers and 42 of several on each of 10 designs, 840 pairs (SKIPSTONE_RANDOM_PAIRS changes the
    number for each)."""
    design = session.design
    ran: list[int] = []
    too_large: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy(design), st.integers(0, 2**32 - 1))
    def exact(network, seed):
        try:
            program = compile_network(network, design)
        except MappingError as error:
            # Too large for this design's memories: the message says which parameter to raise.
            too_large.append(str(error))
            return
        cycles = network_cycles(program)
        low, high = -(1 << (design.activation_bits - 1)), 1 << (design.activation_bits - 1)
        x = np.random.default_rng(seed).integers(low, high, network.tensors[network.input].shape)
        expected = reference.run(network, x[None])
        session.load(program)
        result = session.run(x, sum(layer.cycles for layer in cycles))
        assert result.error is None
        assert result.done
        assert set(result.tensors) >= {layer.output for layer in network.layers}
        for name, got in result.tensors.items():
            np.testing.assert_array_equal(got, expected[name][0], err_msg=name)
        assert [layer.cycles for layer in cycles] == list(result.cycles)
        assert result.from_host
        ran.append(1)

    exact()
    assert all("raise " in message for message in too_large), too_large
    assert len(ran) >= EXAMPLES * 2 // 3, f"only {len(ran)} of {EXAMPLES} fit: {too_large}"
