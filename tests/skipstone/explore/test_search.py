"""A search gives the same in any order and after interruptions, tries each choice once, and learns: on hand-made toys."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import onnx
import pytest

from skipstone.explore import outcome
from skipstone.explore.evaluate import EvaluationSettings
from skipstone.explore.search import explore
from skipstone.explore.space import parse_space
from skipstone.explore.study import open_study
from skipstone.explore.workers import InProcess
from skipstone.flow.prepare import CompressionOptions
from skipstone.mapper.fpga import resources as fpga
from skipstone.mapper.results.exploration import Constraint
from skipstone.mapper.technology.technology import load_technology
from tests.skipstone.builders import small_data, small_network
from tests.skipstone.explore.toys import OBJECTIVES, SPACE, job, log_of, plan, run

DESIGN = {
    "rows": [2, 4],
    "cols": [2],
    "load_width": [2],
    "slots": [9],
    "windows": [2],
    "accumulators": [4],
    "requantizer_lanes": [2],
}


class Shuffled:
    """Workers that finish in any order."""

    def __init__(self, job, seed):
        self.inner, self.random = InProcess(job), random.Random(seed)

    def evaluate(self, items):
        items = list(items)
        self.random.shuffle(items)
        return self.inner.evaluate(items)


class Interrupted:
    """Workers that are interrupted by Ctrl-C after ``after`` evaluations."""

    def __init__(self, job, after):
        self.inner, self.after = InProcess(job), after

    def evaluate(self, items):
        for result in self.inner.evaluate(items):
            if self.after == 0:
                raise KeyboardInterrupt
            self.after -= 1
            yield result


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3", "random"])
def test_the_order_of_finishing_changes_nothing(tmp_path, sampler):
    search_plan = plan(sampler=sampler)
    alone = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), search_plan)
    mixed = run(tmp_path / "b.db", Shuffled(job(tmp_path / "b"), 3), search_plan)
    assert mixed == alone
    assert log_of(tmp_path / "a") != log_of(tmp_path / "b")
    other = run(tmp_path / "c.db", InProcess(job(tmp_path / "c")), plan(sampler=sampler, seed=1))
    assert other != alone


def test_an_interrupted_search_gives_the_same_result(tmp_path):
    """Interrupted at 7, 20 and 30 evaluations: each choice is stored once, and the result is the same."""
    alone = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")))
    for after in (7, 13, 10):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "b.db", Interrupted(job(tmp_path / "b"), after))
    assert run(tmp_path / "b.db", InProcess(job(tmp_path / "b"))) == alone
    # Only the evaluation that each interrupt cut off is done again.
    assert len(log_of(tmp_path / "b")) == 60 + 3
    assert set(log_of(tmp_path / "b")) == set(log_of(tmp_path / "a"))
    # A repeated search takes everything from the study.
    assert run(tmp_path / "b.db", Interrupted(job(tmp_path / "none"), 0)) == alone


def test_a_longer_search_begins_with_the_shorter_one(tmp_path):
    short = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), plan(29))
    long = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), plan(60))
    assert long.points[: len(short.points)] == short.points
    assert long == run(tmp_path / "b.db", InProcess(job(tmp_path / "b")), plan(60))
    assert run(tmp_path / "a.db", Interrupted(job(tmp_path / "none"), 0), plan(29)) == short


def test_every_trial_is_a_different_choice_until_all_are_tried(tmp_path):
    """90 choices, of which 3 have no cost: all are tried, each once, and the space is exhausted."""
    for sampler in ("nsga2", "random"):
        result = run(tmp_path / f"{sampler}.db", InProcess(job(tmp_path / sampler)), plan(1000, sampler=sampler))
        assert (result.trials, result.exhausted) == (90, True)
        assert result.problems == {"too large": 3}
        assert sorted(log_of(tmp_path / sampler)) == sorted(
            f"{rows} {cols} {kind}"
            for rows, cols, kind in itertools.product(SPACE["rows"], SPACE["cols"], SPACE["kind"])
        )
        assert [point.number for point in result.points] == sorted({point.number for point in result.points})


def test_equivalent_choices_are_tried_once(tmp_path):
    """With every kind the same as 'a', there are 30 choices."""
    from skipstone.explore.search import search

    with open_study(tmp_path / "a.db") as study:
        result = search(
            plan(1000), lambda choice: {**choice, "kind": "a"}, study, None, "", InProcess(job(tmp_path / "a"))
        )
    assert (result.trials, result.exhausted) == (30, True)
    assert len(log_of(tmp_path / "a")) == 30


def test_limits_lead_the_search_to_feasible_points(tmp_path):
    """3% of 4,800 choices meet the limits; NSGA-II finds more than three times as many of them as random draws."""
    space = {"rows": tuple(range(1, 41)), "cols": tuple(range(1, 41)), "kind": ("a", "b", "c"), "fixed": (7,)}
    limits = (Constraint("area_um2", ">=", 900.0), Constraint("cycles", "<=", 1.0))
    feasible = {}
    for sampler in ("nsga2", "random"):
        search_plan = plan(120, constraints=limits, parameters=space, sampler=sampler)
        result = run(tmp_path / f"{sampler}.db", InProcess(job(tmp_path / sampler)), search_plan)
        feasible[sampler] = sum(point.feasible for point in result.points)
        for point in result.points:
            assert point.feasible == (point.metrics["area_um2"] >= 900 and point.metrics["cycles"] <= 1)
    assert feasible["nsga2"] > 3 * max(1, feasible["random"])


def test_optuna_reads_the_study(tmp_path):
    """Also after an interruption: every trial with its parameters, values and violations, in order."""
    import optuna

    limits = (Constraint("area_um2", "<=", 6.0),)
    search_plan = plan(20, constraints=limits)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.db", Interrupted(job(tmp_path / "a"), 15), search_plan, name="toy")
    result = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), search_plan, name="toy")
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'a.db'}")
    assert len(study.trials) == 20
    for point in result.points:
        trial = study.trials[point.number]
        assert trial.params == {name: point.parameters[name] for name in ("rows", "cols", "kind")}
        assert trial.values == [point.metrics[objective.name] for objective in OBJECTIVES]
        assert trial.constraints == dict(point.violations)
    front = {point.number for point in outcome.mark_front(result.points, OBJECTIVES) if point.on_front}
    assert front == {trial.number for trial in study.best_trials}


def test_damaged_records_are_evaluated_again(tmp_path):
    import sqlite3

    alone = run(tmp_path / "a.db", InProcess(job(tmp_path / "a")))
    connection = sqlite3.connect(tmp_path / "a.db")
    with connection:
        connection.execute("UPDATE evaluations SET record = replace(record, '1000.0', '1.0') WHERE rowid <= 30")
    connection.close()
    before = len(log_of(tmp_path / "a"))
    assert run(tmp_path / "a.db", InProcess(job(tmp_path / "a"))) == alone
    assert before < len(log_of(tmp_path / "a")) <= before + 30


def test_another_search_in_the_same_file_shares_evaluations(tmp_path):
    """With another seed only choices that the first search did not try are evaluated."""
    run(tmp_path / "a.db", InProcess(job(tmp_path / "a")))
    second = run(tmp_path / "a.db", InProcess(job(tmp_path / "b")), plan(seed=1))
    assert second == run(tmp_path / "c.db", InProcess(job(tmp_path / "c")), plan(seed=1))
    assert set(log_of(tmp_path / "b")) == set(log_of(tmp_path / "c")) - set(log_of(tmp_path / "a"))
    assert json.dumps(second.problems)


def test_a_network_that_changed_is_evaluated_again(tmp_path):
    """A network of the space is identified by its content, also if the file changes within the process."""
    network = tmp_path / "net.onnx"
    search_plan = plan(90, parameters={**SPACE, "network": (str(network),)})
    lengths = []
    for content in ("one", "two", "two"):
        network.write_bytes(onnx.ModelProto(producer_name=content).SerializeToString())
        run(tmp_path / "a.db", InProcess(job(tmp_path / "a")), search_plan)
        lengths.append(len(log_of(tmp_path / "a")))
    assert lengths == [90, 180, 180]


def test_a_search_reads_the_changed_network_of_the_same_path(tmp_path):
    """The second search gives what a search of the new network alone gives, though the path is the same."""
    space = parse_space({"design": {**DESIGN, "rows": [2]}})
    path = small_network(tmp_path / "net.onnx")
    figures = []
    sparse = np.where(np.arange(5 * 2 * 9).reshape(5, 2, 3, 3) % 7, 0, 0.5).astype(np.float32)
    for weights, study in ((None, "a.db"), (sparse, "a.db"), (sparse, "b.db")):
        small_network(path, weights=weights)
        result = explore(str(path), space, CompressionOptions(), storage=tmp_path / study)
        figures.append([point.metrics for point in result.points])
    assert figures[0] != figures[1] == figures[2]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Explores a small network over two choices of rows: (further design choices, settings, further arguments) -> result."""
    folder = tmp_path_factory.mktemp("small")
    network = str(small_network(folder / "small.onnx"))
    data = str(small_data(folder / "data.npz", count=6))

    def explored(design=None, settings=None, **arguments):
        space = parse_space({"design": {**DESIGN, **(design or {})}})
        options = CompressionOptions(calibration=data, evaluation=data)
        return explore(network, space, options, settings, storage=folder / "study.db", **arguments)

    return explored


@pytest.mark.parametrize(
    ("choices", "asked", "source"),
    [
        ({}, None, "100 MHz: A choice, not a measurement"),
        ({}, 50.0, "50 MHz, as asked for"),
        ({"frequency_mhz": [25, 50]}, None, "25, 50 MHz, choices of the space; each point's is its frequency_mhz"),
        ({"frequency_mhz": [25, 50]}, 10.0, "25, 50 MHz, choices of the space; each point's is its frequency_mhz"),
    ],
)
def test_the_clock_and_its_source(small, choices, asked, source):
    result = small(choices, EvaluationSettings(frequency_mhz=asked))
    assert dict(result.sources)["frequency"].startswith(source)
    for point in result.points:
        assert point.metrics["frequency_mhz"] == point.parameters.get("frequency_mhz", asked or 100.0)
        assert point.metrics["latency_us"] == point.metrics["cycles"] / point.metrics["frequency_mhz"]


def test_the_source_of_the_clock_counts_slower_points(small):
    result = small({"activation_words": [1024, 2**22]}, EvaluationSettings(technology="130"))
    node_frequency = load_technology(130).frequency_mhz
    slow = [point for point in result.points if point.metrics["frequency_mhz"] < node_frequency]
    assert 0 < len(slow) < len(result.points)
    assert all(
        point.metrics["latency_us"] == point.metrics["cycles"] / point.metrics["frequency_mhz"] for point in slow
    )
    assert f". {len(slow)} of the points do not reach it" in dict(result.sources)["frequency"]


def test_fpga_resources_have_a_source_only_where_used(small):
    assert not any(quantity.startswith("FPGA") for quantity, _ in small().sources)
    for arguments in ({"objectives": ("luts", "cycles")}, {"constraints": ("dsps<=100",)}):
        text = dict(small(**arguments).sources)["FPGA ecp5"]
        assert text.startswith(fpga.source("ecp5"))
        error = fpga.errors("ecp5")["luts"]
        assert f"luts {error.mean:.1%} (largest {error.largest:.1%})" in text
