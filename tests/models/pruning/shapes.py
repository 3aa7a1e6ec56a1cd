"""Random layers for the tests of pruning: odd sizes, one channel, groups, and filters that are all zero."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from skipstone.models.graph.layers import Conv


@st.composite
def layers(draw: st.DrawFn) -> Conv:
    """A Conv named ``a`` with small random weights, some of its filters zero."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    shape = (
        groups * draw(st.integers(1, 4)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    weights = rng.normal(size=shape).astype(np.float32)
    weights[rng.random(shape[0]) < draw(st.sampled_from([0.0, 0.3]))] = 0
    bias = rng.normal(size=shape[0]).astype(np.float32)
    return Conv(name="a", inputs=("x",), weights=weights, bias=bias, groups=groups, padding=(1, 0, 0, 1))
