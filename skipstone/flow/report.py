"""The report of a network on a design, with its schedule."""

from __future__ import annotations

from pathlib import Path

from skipstone.mapper.program import Program
from skipstone.mapper.results.network import NetworkResult
from skipstone.mapper.timing.timeline import network_timeline
from skipstone.reports.network.report import write_report
from skipstone.reports.network.timeline import timeline_figures

TIMELINE_EVENTS = 20_000
"""Most events of the schedule in a report; what is left out is said there."""


def write_network_report(result: NetworkResult, program: Program, page: Path) -> None:
    """Writes the page of a result with the schedule's first events, and the numbers of its plots beside it.

    Args:
        result: The network's result.
        program: The program that the result is of.
        page: The HTML file.

    Raises:
        OSError: A file can't be written; all hold what they held before.
    """
    timeline = network_timeline(program, limit=TIMELINE_EVENTS)
    write_report(result, page, figures=timeline_figures(timeline, result))
