"""The front as a table for the terminal."""

from __future__ import annotations

import dataclasses

from rich.console import Console

from skipstone.mapper.results.exploration import ExplorationResult
from skipstone.reports.exploration.pareto import nearest, pareto_table
from tests.reports.explorations import exploration, impossible, without_accuracy

RESULT = exploration()


def drawn(result: ExplorationResult, rows: int = 30) -> list[str]:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(pareto_table(result, rows))
    return console.export_text().splitlines()


def test_front_from_the_fewest_cycles_up() -> None:
    lines = drawn(RESULT, 5)
    assert "rows" in lines[2] + lines[3]
    assert "weight_bits" not in " ".join(lines)
    front = sorted((p for p in RESULT.points if p.on_front), key=lambda p: (p.metrics["cycles"], p.number))
    numbered = [line.split() for line in lines if line.split() and line.split()[0].isdigit() and "points" not in line]
    assert [int(line[0]) for line in numbered] == [point.number for point in front[:5]]
    assert [line[-4] for line in numbered] == [f"{point.metrics['cycles']:,.0f}" for point in front[:5]]
    assert "The first 5 are shown." in " ".join(lines)
    assert all(len(line) <= 120 for line in lines)


def test_markup_in_names_stays_text() -> None:
    renamed = exploration(network="[red]net[/red]")
    assert "[red]net[/red]" in " ".join(drawn(renamed))


def test_nothing_feasible() -> None:
    result = impossible()
    closest = nearest(result)
    assert closest[0].metrics["area_um2"] == min(point.metrics["area_um2"] for point in result.points)
    text = " ".join(" ".join(drawn(result)).split())
    assert "no point meets all constraints" in text
    assert "No point meets area <= 0.1 mm2; the nearest is point 0." in text
    assert "(has 0.480)" in text


def test_the_clock_is_a_column_where_it_differs_and_a_sentence_where_it_does_not() -> None:
    def clocked(*clocks: float) -> ExplorationResult:
        points = (
            dataclasses.replace(each, metrics={**each.metrics, "frequency_mhz": clocks[each.number % len(clocks)]})
            for each in RESULT.points
        )
        return exploration(points=tuple(points), ended="Nothing new was found.")

    same, other = (" ".join(" ".join(drawn(clocked(*clocks))).split()) for clocks in ((80.0,), (80.0, 62.5)))
    assert "All are at 80 MHz." in same
    assert "All are at" not in other
    assert "62.5" in other
    assert "Nothing new was found." in same


def test_many_parameters_share_a_column() -> None:
    def widened(name: str) -> ExplorationResult:
        points = [
            type(point)(**{**vars(point), "parameters": {f"{name}_{i}": point.number + i for i in range(40)}})
            for point in RESULT.points
        ]
        return exploration(points=tuple(points))

    lines = drawn(widened("layer_sparsity"), 3)
    assert "parameters" in " ".join(lines)
    assert all(len(line) <= 120 for line in lines)
    assert "layer_sparsity_39" in "".join("".join(lines).split())


def test_few_points() -> None:
    assert "0 points of 96 choices" in " ".join(" ".join(drawn(without_accuracy(0))).split())
    assert "accuracy" not in " ".join(drawn(without_accuracy()))
    assert "1 is on the Pareto front" in " ".join(" ".join(drawn(without_accuracy(1))).split())
