"""The ground rules of the suite: no random draws, no verdict by the clock, no silent skip where everything must run."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

REQUIRE_ALL = os.environ.get("SKIPSTONE_REQUIRE_ALL", "") not in ("", "0")
SETTINGS = "_hypothesis_internal_use_settings"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# A busy machine is slow: neither a deadline nor the health check for slow draws may decide about a test.
UNTIMED = settings(deadline=None, database=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", UNTIMED, derandomize=True)
settings.register_profile("campaign", UNTIMED, derandomize=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("campaign", "more random examples, others for each seed")
    group.addoption("--campaign", type=int, metavar="SEED", help="draw examples from this seed, not always the same")
    group.addoption(
        "--campaign-factor", type=int, default=10, metavar="N", help="a campaign draws N times the examples (10)"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("repeatable" if config.option.campaign is None else "campaign")
    if config.option.campaign is not None:
        config.option.hypothesis_seed = str(config.option.campaign)


def pytest_report_header(config: pytest.Config) -> list[str]:
    seed, factor = config.option.campaign, config.option.campaign_factor
    return [] if seed is None else [f"campaign: repeat with --campaign {seed} --campaign-factor {factor}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Multiply the examples of every test in a campaign."""
    if config.option.campaign is None:
        return
    functions = {item.function for item in items if isinstance(item, pytest.Function)}
    for function in filter(is_hypothesis_test, functions):
        own: settings = getattr(function, SETTINGS)
        setattr(function, SETTINGS, settings(own, max_examples=config.option.campaign_factor * own.max_examples))


@pytest.fixture(scope="session")
def campaign_factor(request: pytest.FixtureRequest) -> int:
    """By how much a test shall multiply examples that it draws itself."""
    return 1 if request.config.option.campaign is None else int(request.config.option.campaign_factor)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed the global generators, so that no test depends on those that ran before it in the same process."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _required((yield))


def _required(report: Report) -> Report:
    """The report, as a failure if it is of a skip and everything must run."""
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"SKIPSTONE_REQUIRE_ALL is set, and this was skipped: {reason}"
    return report
