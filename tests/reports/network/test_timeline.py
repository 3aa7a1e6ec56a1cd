"""The plots of the schedule: every bar against the timeline, and captions that name what is merged, left out or cut."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from skipstone.mapper.results.timeline import DRAINS, ISSUE, LEFT_OUT, LOAD, unit_name
from skipstone.mapper.timing.timeline import schedule_timeline
from skipstone.reports.network.timeline import layer_figure, schedule_figure, timeline_figures
from skipstone.reports.web.csv_files import csv_text
from tests.mapper.timing.test_cycles import schedule
from tests.reports.networks import resnet8
from tests.reports.timelines import three_layers

RESULT = resnet8()


def bars(figure):
    """Lane, begin, end of every bar of every trace."""
    return [
        (lane, base, base + length)
        for trace in figure.traces
        for lane, base, length in zip(trace["y"], trace["base"], trace["x"], strict=True)
    ]


def test_the_networks_lanes_show_work_and_spans():
    timeline = three_layers()
    figure = schedule_figure(timeline, RESULT)
    names = ["layers", "", "loader", "row 0", "row 1", "drain"]
    assert figure.layout["yaxis"]["ticktext"] == names
    drawn = bars(figure)
    for index, span in enumerate(timeline.layers):
        assert (index % 2, span.load_begin, span.written + 1) in drawn
    for lane, name in enumerate(names[2:], 2):
        covered = [cycle for other, begin, end in drawn if other == lane for cycle in range(begin, end)]
        working = [
            cycle
            for event in timeline.events
            if unit_name(event.unit) == name and event.kind in (LOAD, ISSUE, DRAINS)
            for cycle in range(event.begin, event.end)
        ]
        assert sorted(covered) == sorted(working)
    assert figure.layout["xaxis"]["range"] == [0, timeline.end]
    assert figure.layout["xaxis"]["fixedrange"] is False
    assert figure.zoom
    assert "Pauses" not in figure.caption


def test_a_layer_shows_every_event_and_the_longest_is_chosen():
    timeline = three_layers()
    figure = layer_figure(timeline, 0, RESULT)
    events = [event for event in timeline.events if event.layer == 0]
    lanes = [unit_name(unit) for unit in timeline.units]
    assert sorted(bars(figure)) == sorted((lanes.index(unit_name(e.unit)), e.begin, e.end) for e in events)
    assert len(figure.numbers.rows) == len(events)
    assert {key.label for key in figure.keys} == {event.kind.replace("_", " ") for event in events}
    for key in figure.keys:
        (trace,) = key.traces
        assert figure.traces[trace]["meta"] == key.colour
    rows = {row[0]: row[1:] for row in figure.table.rows}
    issued = sum(event.amount for event in events if event.kind == ISSUE and event.unit == 1)
    assert rows["row 1"][0] == f"{issued:,}"
    longest = max(timeline.layers, key=lambda span: span.cycles.cycles)
    assert timeline_figures(timeline, RESULT)[1].title == f"The schedule of {longest.name}"


def test_tables_say_when_layers_ran():
    timeline = three_layers()
    first, second, third = timeline.layers
    table = schedule_figure(timeline, RESULT).table
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    assert rows[0]["loaded in"] == f"{first.load_begin} to {first.load_end - 1}"
    assert rows[1]["overlap"] == str(first.written + 1 - second.load_begin)
    assert first.written > second.load_begin
    assert rows[2]["overlap"] == "0"
    assert rows[2]["written in"] == f"{third.written:,}"


def test_names_are_escaped():
    text = json.dumps([(f.traces, f.layout) for f in timeline_figures(three_layers(), RESULT)])
    assert "&lt;b&gt;second" in text
    assert "<b>second" not in text


def test_many_rows_share_lanes():
    """Seventy rows in lanes of three: a bar's work is the mean of its rows."""
    timeline = three_layers(rows=70)
    figure = schedule_figure(timeline, RESULT)
    names = figure.layout["yaxis"]["ticktext"]
    assert names[3:5] == ["rows 0 to 2", "rows 3 to 5"]
    assert names[-2] == "row 69"
    assert "A lane of rows stands for 3 rows." in figure.caption
    work = sum(row[4] for row in figure.numbers.rows if row[0] == "rows 0 to 2")
    issued = sum(event.amount for event in timeline.events if event.kind == ISSUE and event.unit in (0, 1, 2))
    assert work == pytest.approx(issued / 3)
    alone = sum(row[4] for row in figure.numbers.rows if row[0] == "row 69")
    assert alone == sum(event.amount for event in timeline.events if event.kind == ISSUE and event.unit == 69)
    layer = layer_figure(timeline, 0, RESULT)
    assert "One of every 3 rows is drawn." in layer.caption


def test_large_networks_stay_small_and_the_captions_say_what_is_not_drawn():
    """Sixty layers of a hundred tiles on 16 rows: 190,000 events."""
    design = three_layers().design.replace(rows=16, windows=4)
    row = [[(5 * r + 3 * w) % 9 + (w == 0) for r in range(16)] for w in range(6)]
    single = schedule([row], [[3, 20, 1, 9, 2, 2]], tiles=(10, 10), steps=2)
    schedules = [replace(single, free_tiles=4, unneeded_tiles=2)] * 60
    timeline = schedule_timeline("large", [f"layer {n}" for n in range(60)], schedules, design, limit=50_000)
    figures = timeline_figures(timeline, RESULT)
    # As the page holds them: traces, layout and the CSV text.
    size = sum(len(json.dumps([f.traces, f.layout, csv_text(f.numbers)])) for f in figures)
    assert size < 1_500_000
    network, layer = figures
    assert "Pauses shorter than" in network.caption
    assert "Of 60 layers the first tiles are drawn one by one" in network.caption
    assert "Colours repeat after 11 layers" in network.caption
    assert network.keys == ()
    # Every lane is drawn to the end of each layer, and all work is in the bars.
    work = sum(row[4] for row in network.numbers.rows if row[0] == "row 3" and row[4])
    assert work == pytest.approx(60 * 100 * sum(counts[3] for counts in row))
    span = timeline.layers[timeline.chosen[0]]
    assert f"of {span.tiles:,} tiles; the table counts" in layer.caption
    assert any(event.kind == LEFT_OUT for event in timeline.events)


def test_time_needs_a_frequency():
    timeline = three_layers()
    assert "MHz" not in schedule_figure(timeline, replace(RESULT, frequency_mhz=None)).caption
    timed = replace(RESULT, frequency_mhz=200.0)
    assert "At 200 MHz, 1,000 cycles take 5 us." in schedule_figure(timeline, timed).caption


def test_without_chosen_layers_there_is_no_layers_plot():
    (figure,) = timeline_figures(three_layers(chosen=()), RESULT)
    assert figure.name == "schedule"
