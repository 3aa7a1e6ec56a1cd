"""A point has the figures of ``evaluate_network`` on its design, whatever was evaluated before, or a problem."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError, SkipstoneError
from skipstone.explore.evaluate import Evaluation, EvaluationSettings, Evaluator
from skipstone.explore.space import MEMORIES, parse_space
from skipstone.flow.evaluate import evaluate_network
from skipstone.flow.prepare import CompressionOptions
from skipstone.hw.design import Design
from skipstone.mapper.energy.clock import timing
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.technology.technology import load_technology
from skipstone.mapper.timing.cycles import schedule_cycles
from skipstone.models.quantization.scheme import QuantizationScheme
from tests.skipstone.builders import small_data, small_network

DESIGN = {
    "rows": [1, 2, 3, 5],
    "cols": [1, 4, 6],
    "load_width": [1, 2, 4, 6],
    "slots": [1, 6, 9],
    "windows": [2, 3],
    "accumulators": [1, 2, 4],
    "requantizer_lanes": [1, 2, 4],
    "reach": [2, 8],
    "leave_bits": [1, 3],
    "index_coding": ["absolute", "delta"],
    "delta_bits": [2, 5],
}
COMPRESSION = {
    "prune": ["none", "unstructured:0.6", "2:4"],
    "weight_bits": [4, 7],
    "activation_bits": [5, 8],
    "weight_code": ["linear", "power_of_two", "additive_power_of_two", "ternary", "binary", "codebook:6"],
    "layers": {"second": ["none", "filter:0.4"]},
}
SPACE = parse_space({"design": DESIGN, "compression": COMPRESSION}).for_layers(["first", "second", "dense"])
COSTS = frozenset({"cycles", "latency_us", "energy_pj", "area_um2", "power_mw"})
choices = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in SPACE.parameters.items()})


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[str, CompressionOptions]:
    folder = tmp_path_factory.mktemp("small")
    data = str(small_data(folder / "data.npz", count=12))
    return str(small_network(folder / "small.onnx")), CompressionOptions(calibration=data, evaluation=data)


@pytest.fixture(scope="module")
def evaluator(files) -> Evaluator:
    return Evaluator(*files)


def choice(**changes: object) -> dict:
    return {name: values[-1] for name, values in SPACE.parameters.items()} | {"weight_code": "linear"} | changes


@pytest.mark.parametrize("prune", ["none", "unstructured:0.5", "2:4", "filter:0.3", "global:0.5"])
@pytest.mark.parametrize("code", ["linear", "power_of_two", "ternary"])
def test_figures_equal_those_of_a_full_run(files, evaluator, prune, code):
    """The exploration, with its caches, and ``evaluate_network`` give the same figures for the same design."""
    network, options = files
    point = choice(prune=prune, criterion="magnitude", weight_code=code, weight_bits=4)
    del point["prune:second"]
    evaluation = evaluator.evaluate(point, COSTS | {"accuracy"})
    assert evaluation.problem is None
    assert evaluation.design is not None
    compression = replace(options, prune=prune, scheme=QuantizationScheme(4, int(point["activation_bits"]), code))
    full_run = evaluate_network(network, evaluation.design, compression)
    metrics = evaluation.metrics
    assert metrics["cycles"] == full_run.total_cycles
    assert metrics["energy_pj"] == pytest.approx(full_run.total_energy_pj, rel=1e-12)
    assert metrics["area_um2"] == full_run.area_um2
    assert metrics["accuracy"] == full_run.accuracy.compressed
    assert metrics["power_mw"] == pytest.approx(metrics["energy_pj"] / metrics["latency_us"] / 1000)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(choices)
def test_cached_figures_equal_fresh_ones(evaluator, point):
    """An evaluator gives the same with and without cached points, and for a choice and its canonical choice."""
    evaluation = evaluator.evaluate(point, COSTS)
    assert evaluation == evaluator.evaluate(point, COSTS)
    fresh = copy.copy(evaluator)
    fresh._mapped = {}
    assert evaluation == fresh.evaluate(point, COSTS)
    assert evaluation == replace(evaluator.evaluate(SPACE.canonical(point), COSTS), design=evaluation.design)
    if evaluation.problem is not None:
        assert not evaluation.metrics
        return
    assert evaluation.design is not None
    assert evaluation.metrics.keys() == COSTS | {"frequency_mhz"}
    network = evaluator.network(point).network
    program = compile_network(network, evaluation.design)
    assert evaluation.metrics["cycles"] == sum(layer.cycles for layer in _cycles(program))


def _cycles(program):
    return schedule_cycles([layer.schedule for layer in program.layers], program.design)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(choices)
def test_half_of_a_fitted_memory_is_too_small_or_no_faster(evaluator, point):
    evaluation = evaluator.evaluate(point, COSTS)
    if evaluation.problem is not None:
        return
    design, network = evaluation.design, evaluator.network(point).network
    assert design is not None
    plain = compile_network(network, design)
    for memory in MEMORIES:
        size = getattr(design, memory)
        if size > 2:
            # None: no program fits half of the memory. True: one does, but takes no fewer cycles.
            assert _no_faster(network, design.replace(**{memory: size // 2}), plain) is not False


def _no_faster(network, design: Design, plain) -> bool | None:
    """Whether ``network`` on ``design`` takes at least the cycles of ``plain``; None if it does not fit."""
    try:
        other = compile_network(network, design)
    except MappingError:
        return None
    return sum(layer.cycles for layer in _cycles(other)) >= sum(layer.cycles for layer in _cycles(plain))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"activation_words": 4}, "raise activation_words to"),
        ({"weight_entries": 4}, "raise weight_entries to"),
        ({"layers": 1}, "raise layers to"),
        ({"weight_code": "additive_power_of_two", "weight_bits": 4}, "weight_bits must be 3, 5 or 7"),
        ({"accumulator_bits": 8, "weight_bits": 7}, "accumulator_bits 8 cannot hold one product"),
        ({"network": "nowhere"}, "no file 'nowhere'"),
        ({"node_nm": 1}, "no technology for a node of 1 nm"),
        ({"max_dimension": 3}, "raise max_dimension to"),
    ],
)
def test_a_choice_that_cannot_be_built_has_a_problem(evaluator, changes, problem):
    evaluation = evaluator.evaluate(choice(**changes), COSTS)
    assert problem in str(evaluation.problem)
    assert evaluation.metrics == {}
    assert evaluation == evaluator.evaluate(choice(**changes), COSTS)


def test_the_design_has_the_memories_of_the_choice(evaluator):
    chosen = evaluator.evaluate(choice(activation_words=1000, weight_entries=512, layers=9), COSTS)
    assert chosen.design is not None
    assert (chosen.design.activation_words, chosen.design.weight_entries, chosen.design.layers) == (1000, 512, 9)
    fitted = evaluator.evaluate(choice(), COSTS)
    assert chosen.metrics["cycles"] == fitted.metrics["cycles"]
    assert chosen.metrics["area_um2"] != fitted.metrics["area_um2"]


def test_frequency_changes_time_and_leakage_alone(evaluator):
    slow, fast = (evaluator.evaluate(choice(frequency_mhz=mhz), COSTS).metrics for mhz in (25.0, 50.0))
    assert slow["cycles"] == fast["cycles"]
    assert slow["area_um2"] == fast["area_um2"]
    assert slow["latency_us"] == 2 * fast["latency_us"] == slow["cycles"] / 25
    assert slow["energy_pj"] > fast["energy_pj"]
    assert slow["power_mw"] < fast["power_mw"]


def test_every_point_has_its_clock(evaluator, files):
    """Latency is cycles over the clock, also where the design is slower than the clock of its node."""
    fast = evaluator.evaluate(choice(), COSTS).metrics
    assert fast["frequency_mhz"] == load_technology(45).frequency_mhz
    large = choice(activation_words=2**22, node_nm=130)
    evaluation = evaluator.evaluate(large, COSTS)
    slow = evaluation.metrics
    fmax = timing(evaluation.design, load_technology(130)).fmax_mhz
    assert slow["frequency_mhz"] <= fmax < load_technology(130).frequency_mhz
    for metrics in (fast, slow):
        assert metrics["latency_us"] == metrics["cycles"] / metrics["frequency_mhz"]
    chosen = evaluator.evaluate(choice(frequency_mhz=62.5), COSTS).metrics
    assert chosen["frequency_mhz"] == 62.5


def test_only_requested_metrics_are_measured(evaluator):
    for metrics, figures in (
        ({"cycles"}, {"cycles"}),
        ({"area_um2"}, {"area_um2"}),
        ({"cycles", "frequency_mhz"}, {"cycles", "frequency_mhz"}),
        ({"energy_pj"}, {"energy_pj", "frequency_mhz"}),
    ):
        assert evaluator.evaluate(choice(), frozenset(metrics)).metrics.keys() == figures
    with pytest.raises(SkipstoneError, match="no metric 'beauty'"):
        evaluator.evaluate(choice(), frozenset({"beauty"}))


def test_without_labelled_images_accuracy_is_a_problem(files):
    network, options = files
    evaluator = Evaluator(network, replace(options, evaluation=None))
    assert not evaluator.has_accuracy
    evaluation = evaluator.evaluate(choice(), frozenset({"accuracy"}))
    assert evaluation == Evaluation(
        evaluation.design, {}, "there are no labelled images to measure accuracy on; name some"
    )


def test_accuracies_are_stored_on_disk(files, tmp_path, monkeypatch):
    network, options = files
    settings = EvaluationSettings(accuracy_images=5, store=str(tmp_path / "known.db"))
    measured = Evaluator(network, options, settings).evaluate(choice(), frozenset({"accuracy"}))
    monkeypatch.setattr("skipstone.models.quantization.reference.accuracy", None)
    assert Evaluator(network, options, settings).evaluate(choice(), frozenset({"accuracy"})) == measured
    assert set(measured.metrics) == {"accuracy"}
