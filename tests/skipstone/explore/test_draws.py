"""Draws: a space counts as exhausted only if all of its choices were listed."""

from __future__ import annotations

import pytest

from skipstone.explore import draws
from skipstone.explore.draws import Draws
from tests.skipstone.explore.toys import OBJECTIVES, plan, run

LISTED = 5_000


def drawn(parameters, canonical=dict) -> tuple[Draws, int]:
    """Draws until there are no more choices, each told to have no cost; returns the draws and the number of choices."""
    made = Draws(parameters, canonical, OBJECTIVES, (), sampler="random", seed=0, population=12)
    count = 0
    while batch := made.batch():
        count += len(batch)
        for draw in batch:
            made.tell(draw, None)
    return made, count


@pytest.mark.parametrize(("choices", "exhausted"), [(LISTED, True), (LISTED + 1, False)])
def test_a_space_is_exhausted_only_if_all_choices_were_listed(choices, exhausted, monkeypatch):
    """All choices but one are equivalent. Listing finds the rare one; a space too large to list is stuck, not exhausted."""
    monkeypatch.setattr(draws, "GUESSES", 10)
    monkeypatch.setattr(draws, "LISTED", LISTED)
    parameters = {"rare": tuple(range(choices))}
    made, count = drawn(parameters, lambda choice: {"rare": int(choice["rare"] == choices - 1)})
    assert (made.exhausted, made.stuck) == (exhausted, not exhausted)
    assert count == (2 if exhausted else 1)


def test_a_search_that_is_stuck_says_so(tmp_path, monkeypatch):
    from skipstone.explore.search import _ended
    from skipstone.explore.workers import InProcess
    from tests.skipstone.explore.toys import job

    monkeypatch.setattr(draws, "LISTED", 50)
    search_plan = plan(1000)
    result = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), search_plan)
    assert (result.exhausted, result.stuck, result.trials) == (False, True, 90)
    assert _ended(search_plan, result).startswith(
        "the search ended after 90 of 1,000 trials: 2,000 choices drawn at random"
    )
    full = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), plan(20))
    assert (full.exhausted, full.stuck, _ended(plan(20), full)) == (False, False, "")
