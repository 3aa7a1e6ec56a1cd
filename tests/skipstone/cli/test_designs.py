"""``skipstone designs``."""

from __future__ import annotations

from tests.skipstone.cli.place import invoke


def test_designs_lists_the_built_in_ones():
    done = invoke("designs")
    assert done.exit_code == 0
    for name in ("tiny", "edge", "wide", "square"):
        assert name in done.output
