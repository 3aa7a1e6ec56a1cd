"""Networks from hardware-aware pruning run on the RTL: cycles are the model's, outputs the integer reference's."""

import numpy as np
import pytest

from skipstone.mapper.pruning.losses import output_error
from skipstone.mapper.pruning.rows import balance_rows
from skipstone.mapper.pruning.sparsity import fewest_cycles
from skipstone.mapper.pruning.words import prune_words
from skipstone.mapper.timing.cycles import network_cycles
from skipstone.models.quantization import reference
from skipstone.sim.session import RtlSession
from tests.mapper.pruning.small import masked, target_of
from tests.models.builders import conv_layer, graph_of, random_images
from tests.sim.designs import POOL

DESIGN = POOL["square4"]
GRAPH = graph_of(
    conv_layer("a", "x", (6, 3, 3, 3), padding=(1, 1, 1, 1)),
    conv_layer("b", "a", (5, 6, 1, 1)),
    shape=(3, 7, 6),
)


@pytest.mark.rtl
def test_each_result_is_exact_on_the_rtl():
    target = target_of(GRAPH, DESIGN)
    pruned = masked(GRAPH, 0.3, 2)
    results = [
        fewest_cycles(GRAPH, target, output_error(GRAPH, random_images(GRAPH, 4)), 0.2, amounts=(0.3, 0.6), rounds=1),
        balance_rows(pruned, GRAPH, target, rounds=1),
        prune_words(pruned, target, 0.5, max_steps=3),
    ]
    with RtlSession(DESIGN) as rtl:
        for result in results:
            costed = target.cost(result.graph)
            cycles = [layer.cycles for layer in network_cycles(costed.program)]
            x = np.random.default_rng(1).integers(-128, 128, GRAPH.input_shape)
            rtl.load(costed.program)
            run = rtl.run(x, sum(cycles))
            assert list(run.cycles) == cycles
            assert sum(cycles) == result.cycles_after < result.cycles_before
            expected = reference.run(costed.network, x[None])
            for name, got in run.tensors.items():
                np.testing.assert_array_equal(got, expected[name][0], err_msg=name)
