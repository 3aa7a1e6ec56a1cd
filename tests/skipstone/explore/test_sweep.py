"""Sweeps: each point is what ``evaluate_network`` gives for its design and options; what can't be built says why."""

from __future__ import annotations

import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore.evaluate import EvaluationSettings
from skipstone.explore.sweep import parse_parameters, sweep
from skipstone.explore.variation import VariedDesign
from skipstone.flow.designs import design_for_options
from skipstone.flow.evaluate import evaluate_network
from skipstone.flow.prepare import CompressionOptions
from skipstone.hw.design import load_design
from skipstone.mapper.results.sweep import SweepResult
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.skipstone.builders import TINY_DESIGN, small_data, small_network


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_network(tmp_path / "small.onnx")
    small_data(tmp_path / "data.npz")
    (tmp_path / "small.toml").write_text(TINY_DESIGN)
    return tmp_path


def base(**changes) -> VariedDesign:
    return VariedDesign(load_design("small.toml").replace(**changes))


def result_of(*texts: str, design: VariedDesign | None = None, **arguments) -> SweepResult:
    options = CompressionOptions(calibration="data.npz", evaluation="data.npz")
    return sweep("small.onnx", design or base(), parse_parameters(texts), options, **arguments)


def test_points_of_design_parameters_are_those_of_run(place) -> None:
    result = result_of("rows=2,4", "windows=2,3")
    assert [tuple(point.values.values()) for point in result.points] == [(2, 2), (2, 3), (4, 2), (4, 3)]
    options = CompressionOptions(calibration="data.npz", evaluation="data.npz")
    for point in result.points:
        alone = evaluate_network("small.onnx", load_design("small.toml").replace(**point.values), options)
        assert point.metrics["cycles"] == alone.total_cycles
        assert point.metrics["energy_pj"] == alone.total_energy_pj
        assert point.metrics["area_um2"] == alone.area_um2
        assert point.metrics["inputs_per_second"] == pytest.approx(alone.inputs_per_second)
        assert alone.effective is not None
        assert point.metrics["tops_per_watt"] == pytest.approx(alone.effective.tops_per_watt)
        assert "accuracy" not in point.metrics


@pytest.mark.parametrize("prune", ["unstructured:0.5", "2:4", "global:0.6"])
@pytest.mark.parametrize("bits", [4, 8])
def test_points_of_compression_are_those_of_run(place, prune: str, bits: int) -> None:
    result = result_of(f"prune=none,{prune}", f"weight_bits={bits}")
    options = CompressionOptions(
        prune=prune, scheme=QuantizationScheme(weight_bits=bits), calibration="data.npz", evaluation="data.npz"
    )
    alone = evaluate_network("small.onnx", design_for_options("small.toml", "small.onnx", options), options)
    point = result.points[1]
    assert (point.metrics["cycles"], point.metrics["energy_pj"]) == (alone.total_cycles, alone.total_energy_pj)
    assert point.metrics["accuracy"] == alone.accuracy.compressed
    assert result.accuracy_images == 6


def test_changes_are_over_the_first_point_that_can_be_built(place) -> None:
    result = result_of("weight_entries=2,1024,2048")
    assert "needs weight_entries" in result.points[0].problem
    assert result.points[0].metrics == {}
    assert result.reference == 1
    assert set(result.points[1].changes.values()) == {0.0}
    before, after = (point.metrics["area_um2"] for point in result.points[1:])
    assert result.points[2].changes["area_um2"] == pytest.approx(after / before - 1)
    assert result.points[2].changes["area_um2"] > 0 == result.points[2].changes["cycles"]


def test_what_is_counted_in_words_follows_the_width(place) -> None:
    """24 activations of a window of 18 in words of 4 are 20; half as many words hold as many activations."""
    points = result_of("load_width=2,4").points
    assert points[0].following == {}
    assert points[1].following == {"window_depth": 20, "activation_words": 512}
    assert result_of("load_width=1").points[0].following == {
        "requantizer_lanes": 1,
        "activation_words": 2048,
        "parameter_words": 64,
    }
    (point,) = result_of("slots=9", "load_width=4").points
    assert point.following == {"window_depth": 36, "activation_words": 512}


def test_memories_are_enlarged_only_where_asked(place) -> None:
    small = VariedDesign(load_design("small.toml").replace(weight_entries=8), fit_memories=True)
    for point in result_of("rows=2,4", design=small).points:
        assert point.problem == ""
        assert point.following["weight_entries"] > 8
    with pytest.raises(SkipstoneError, match=r"no point of the sweep can be built or mapped; rows 2: .*weight_entries"):
        result_of("rows=2,4", design=base(weight_entries=8))


def test_clocks_change_latency_alone_and_a_clock_out_of_reach_is_said(place) -> None:
    slow, fast, beyond = result_of("frequency_mhz=10,20,100000").points
    assert fast.changes["cycles"] == 0
    assert fast.changes["latency_us"] == -0.5
    assert (slow.metrics["clock_reached"], fast.metrics["clock_reached"]) == (1, 1)
    assert beyond.metrics["clock_reached"] == beyond.metrics["frequency_mhz"] / 100000 < 0.1


def test_workers_and_resources_change_nothing_else(place) -> None:
    alone, together = (
        result_of("rows=2,4", resources=resources, jobs=jobs) for resources, jobs in ((False, 1), (True, 2))
    )
    for first, second in zip(alone.points, together.points, strict=True):
        assert first.metrics.items() <= second.metrics.items()
        assert second.metrics["luts"] > 0
    assert SweepResult.from_dict(together.to_dict()) == together


def test_progress_counts_points(place) -> None:
    seen: list[tuple[int, int]] = []
    result_of("rows=2,4", finished=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ((), "one or two parameters can be varied, not 0"),
        (("rows=2", "cols=2", "windows=2"), "one or two parameters can be varied, not 3"),
        (("rows",), "'rows' must be PARAMETER=VALUE,VALUE,..., as load_width=4,8,16"),
        (("rows=",), "'rows=' must be PARAMETER=VALUE"),
        (("row=2",), "no parameter 'row'; did you mean rows?"),
        (("banana=2",), "no parameter 'banana'; there are rows, cols"),
        (("rows=2", "rows=4"), "rows is varied twice"),
        (("rows=2,two",), r"rows must be a list of whole numbers from 1 to 256, not \[2, 'two'\]"),
        (("rows=0",), "rows must be a list of whole numbers from 1 to 256"),
        (("weight_entries=fitted",), r"weight_entries must be a list of whole numbers from 2 to [\d,]+, not"),
        (("frequency_mhz=inf",), "frequency_mhz must be a list of numbers above 0"),
        (("prune=most:0.5",), "prune has 'most:0.5'"),
        (("prune:nothing=none",), "has no prunable layer 'nothing'; it has first, second, dense"),
        (("prune:first=most:0.5",), "prune:first has 'most:0.5'"),
    ],
)
def test_what_is_refused(place, texts: tuple[str, ...], message: str) -> None:
    with pytest.raises(SkipstoneError, match=message):
        result_of(*texts)


def test_one_layer_is_pruned_alone(place) -> None:
    dense, pruned = result_of("prune:second=none,unstructured:0.5").points
    assert pruned.metrics["cycles"] < dense.metrics["cycles"]


def test_a_quantized_network_keeps_its_bits(place) -> None:
    with pytest.raises(SkipstoneError, match="is quantized already: its weight_bits can't be varied"):
        sweep(
            "resnet8_fashion_w4a8", VariedDesign(load_design("edge")), parse_parameters(["weight_bits=4,8"]),
            settings=EvaluationSettings(),
        )  # fmt: skip
