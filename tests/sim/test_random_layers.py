"""Random (design, network) pairs: the model's cycles equal the RTL's, and every output equals the integer reference's.

This is the project's central promise; the examples are drawn by Hypothesis and shrink to the smallest that fails.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
from skipstone.hw.design import ALL_TILES_FREE, Design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.workload import UNFOLDED
from skipstone.mapper.program import Program
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization import reference
from skipstone.sim.session import RtlSession
from tests.sim.designs import POOL
from tests.sim.graphs import graphs
from tests.sim.networks import networks

EXAMPLES = 30


@pytest.fixture(scope="module", params=sorted(POOL))
def session(request):
    with RtlSession(POOL[request.param]) as running:
        yield running


@pytest.mark.rtl
@pytest.mark.parametrize("several", [False, True], ids=["layers", "graphs"])
def test_random_networks_are_exact(session, several, campaign_factor):
    """30 networks of one or two layers and 30 of several on each of 11 designs, 660 pairs; a campaign multiplies
    them. Those of several layers begin, in turn, with each kind of part that is easily got wrong."""
    design, examples = session.design, campaign_factor * EXAMPLES
    first = (None, "block", "product", "siblings", "side by side")
    strategies = [graphs(design, part) for part in first] if several else [networks(design)]
    seen: Counter[str] = Counter()
    too_large: list[str] = []

    random = settings(
        max_examples=examples // len(strategies),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )

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
        seen.update(kinds(program))

    for strategy in strategies:
        random(given(strategy, st.integers(0, 2**32 - 1))(exact))()
    assert all("raise " in message for message in too_large), too_large
    assert seen["all"] >= examples * 2 // 3, f"only {seen['all']} of {examples} fit: {too_large}"
    if several:
        assert set(seen) >= expected_kinds(design), f"of {seen['all']} networks only {dict(seen)}"


def kinds(program: Program) -> set[str]:
    """What is special about a network's program."""
    special = {"all"}
    for layer in program.layers:
        if any(placed.fold != UNFOLDED for placed in (layer.input, *layer.outputs)):
            special.add("folded")
        if len(layer.layers) > 1:
            special.add("merged")
        if 0 < layer.schedule.free_tiles < ALL_TILES_FREE:
            special.add("overlapped")
        if layer.schedule.pause:
            special.add("paused")
    return special


def expected_kinds(design: Design) -> set[str]:
    """What must be among the random networks of a design: nothing is folded to fill words of one channel, nothing merged
    where one layer takes all accumulators or every layer has a codebook of its own."""
    possible = {"overlapped", "paused"}
    if design.load_width > 1:
        possible.add("folded")
    if 2 * design.accumulators_per_step <= design.accumulators and not design.products.looked_up:
        possible.add("merged")
    return possible
