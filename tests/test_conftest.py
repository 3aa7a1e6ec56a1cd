"""The suite's ground rules hold: a skip fails where everything must run, and examples are the same in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py").read_text()
SKIPS = """
import pytest

@pytest.fixture
def tool():
    pytest.skip("no tool")

@pytest.mark.skip(reason="no tool")
def test_mark(): pass

@pytest.mark.skipif(True, reason="no tool")
def test_condition(): pass

def test_call(): pytest.skip("no tool")

def test_fixture(tool): pass

@pytest.mark.xfail
def test_expected(): assert False
"""
DRAWS = """
import random
import numpy as np
from hypothesis import given, settings, strategies as st

@settings(max_examples=5)
@given(st.integers())
def test_drawn(value):
    with open("drawn", "a") as file:
        print(value, file=file)

def test_global():
    with open("drawn", "a") as file:
        print(random.random(), np.random.random(), file=file)
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    monkeypatch.delenv("SKIPSTONE_REQUIRE_ALL", raising=False)
    return pytester


def test_a_skip_fails_where_everything_must_run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makepyfile(test_tests=SKIPS, test_module="import pytest\npytest.importorskip('no_such_package')")
    options = "--continue-on-collection-errors"
    suite.runpytest_subprocess(options).assert_outcomes(skipped=5, xfailed=1)
    monkeypatch.setenv("SKIPSTONE_REQUIRE_ALL", "1")
    result = suite.runpytest_subprocess(options)
    result.assert_outcomes(failed=1, errors=4, xfailed=1)
    result.stdout.fnmatch_lines(4 * ["SKIPSTONE_REQUIRE_ALL is set, and this was skipped: *no tool"], consecutive=False)


def drawn(suite: pytest.Pytester, *options: str) -> list[str]:
    """What the tests of ``DRAWS`` draw in a process of its own."""
    path = suite.path / "drawn"
    path.unlink(missing_ok=True)
    result = suite.runpytest_subprocess(*options)
    result.assert_outcomes(passed=2)
    if options:
        result.stdout.fnmatch_lines(f"campaign: repeat with {' '.join(options)}")
    return path.read_text().splitlines()


def test_every_run_draws_the_same(suite: pytest.Pytester) -> None:
    suite.makepyfile(DRAWS)
    first = drawn(suite)
    assert len(first) == 6
    assert drawn(suite) == first
    assert not (suite.path / ".hypothesis" / "examples").exists()


def test_a_campaign_draws_more_and_others_for_each_seed(suite: pytest.Pytester) -> None:
    suite.makepyfile(DRAWS)
    first, again, other = (drawn(suite, "--campaign", seed, "--campaign-factor", "4") for seed in "112")
    assert len(first) == len(other) == 21
    assert first == again != other
