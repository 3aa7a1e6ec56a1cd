"""A point's figures are those of ``evaluate_network`` on its design, whatever was evaluated before; the rest is a problem."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skipstone.errors import MappingError
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
def test_figures_are_those_of_the_whole_evaluation(files, evaluator, prune, code):
    """Two roads to one design: the exploration's caches, and ``skipstone run``."""
    network, options = files
    point = choice(prune=prune, criterion="magnitude", weight_code=code, weight_bits=4)
    del point["prune:second"]
    found = evaluator.evaluate(point, COSTS | {"accuracy"})
    assert found.problem is None
    assert found.design is not None
    compression = replace(options, prune=prune, scheme=QuantizationScheme(4, int(point["activation_bits"]), code))
    wanted = evaluate_network(network, found.design, compression)
    metrics = found.metrics
    assert metrics["cycles"] == wanted.total_cycles
    assert metrics["energy_pj"] == pytest.approx(wanted.total_energy_pj, rel=1e-12)
    assert metrics["area_um2"] == wanted.area_um2
    assert metrics["accuracy"] == wanted.accuracy.compressed
    assert metrics["power_mw"] == pytest.approx(metrics["energy_pj"] / metrics["latency_us"] / 1000)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(choices)
def test_kept_figures_are_fresh_ones(evaluator, point):
    """An evaluator that has seen many points says what a new one says; a choice and its canonical one are the same point."""
    found = evaluator.evaluate(point, COSTS)
    assert found == evaluator.evaluate(point, COSTS)
    fresh = copy.copy(evaluator)
    fresh._mapped = {}
    assert found == fresh.evaluate(point, COSTS)
    assert found == replace(evaluator.evaluate(SPACE.canonical(point), COSTS), design=found.design)
    if found.problem is not None:
        assert not found.metrics
        return
    assert found.design is not None
    assert found.metrics.keys() == COSTS | {"frequency_mhz"}
    network = evaluator.network(point).network
    program = compile_network(network, found.design)
    assert found.metrics["cycles"] == sum(one.cycles for one in _cycles(program))


def _cycles(program):
    return schedule_cycles([layer.schedule for layer in program.layers], program.design)


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(choices)
def test_fitted_memories_hold_the_program_and_no_half_does(evaluator, point):
    found = evaluator.evaluate(point, COSTS)
    if found.problem is not None:
        return
    design, network = found.design, evaluator.network(point).network
    assert design is not None
    plain = compile_network(network, design)
    for memory in MEMORIES:
        size = getattr(design, memory)
        if size > 2:
            # Where another program fits half of a memory, it is no better than the one that needs all of it.
            assert _cycles_or_none(network, design.replace(**{memory: size // 2}), plain) is not False


def _cycles_or_none(network, design: Design, plain) -> bool | None:
    try:
        other = compile_network(network, design)
    except MappingError:
        return None
    return sum(one.cycles for one in _cycles(other)) >= sum(one.cycles for one in _cycles(plain))


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
def test_what_cannot_be_built_is_a_problem(evaluator, changes, problem):
    found = evaluator.evaluate(choice(**changes), COSTS)
    assert problem in str(found.problem)
    assert found.metrics == {}
    assert found == evaluator.evaluate(choice(**changes), COSTS)


def test_memories_of_a_choice_are_the_design_s(evaluator):
    found = evaluator.evaluate(choice(activation_words=1000, weight_entries=512, layers=9), COSTS)
    assert found.design is not None
    assert (found.design.activation_words, found.design.weight_entries, found.design.layers) == (1000, 512, 9)
    fitted = evaluator.evaluate(choice(), COSTS)
    assert found.metrics["cycles"] == fitted.metrics["cycles"]
    assert found.metrics["area_um2"] != fitted.metrics["area_um2"]


def test_frequency_changes_time_and_leakage_alone(evaluator):
    slow, fast = (evaluator.evaluate(choice(frequency_mhz=mhz), COSTS).metrics for mhz in (25.0, 50.0))
    assert slow["cycles"] == fast["cycles"]
    assert slow["area_um2"] == fast["area_um2"]
    assert slow["latency_us"] == 2 * fast["latency_us"] == slow["cycles"] / 25
    assert slow["energy_pj"] > fast["energy_pj"]
    assert slow["power_mw"] < fast["power_mw"]


def test_every_point_says_the_clock_that_it_is_at(evaluator, files):
    """Latency is cycles over it, also where the design does not reach the node's own and runs slower."""
    fast = evaluator.evaluate(choice(), COSTS).metrics
    assert fast["frequency_mhz"] == load_technology(45).frequency_mhz
    large = choice(activation_words=2**22, node_nm=130)
    found = evaluator.evaluate(large, COSTS)
    slow = found.metrics
    fmax = timing(found.design, load_technology(130)).fmax_mhz
    assert slow["frequency_mhz"] <= fmax < load_technology(130).frequency_mhz
    for metrics in (fast, slow):
        assert metrics["latency_us"] == metrics["cycles"] / metrics["frequency_mhz"]
    chosen = evaluator.evaluate(choice(frequency_mhz=62.5), COSTS).metrics
    assert chosen["frequency_mhz"] == 62.5


def test_only_what_is_asked_for(evaluator):
    for metrics, figures in (
        ({"cycles"}, {"cycles"}),
        ({"area_um2"}, {"area_um2"}),
        ({"cycles", "frequency_mhz"}, {"cycles", "frequency_mhz"}),
        ({"energy_pj"}, {"energy_pj", "frequency_mhz"}),
    ):
        assert evaluator.evaluate(choice(), frozenset(metrics)).metrics.keys() == figures
    with pytest.raises(ValueError, match="no metric 'beauty'"):
        evaluator.evaluate(choice(), frozenset({"beauty"}))


def test_without_labelled_images_accuracy_is_a_problem(files):
    network, options = files
    evaluator = Evaluator(network, replace(options, evaluation=None))
    assert not evaluator.has_accuracy
    found = evaluator.evaluate(choice(), frozenset({"accuracy"}))
    assert found == Evaluation(found.design, {}, "there are no labelled images to measure accuracy on; name some")


def test_accuracies_are_kept_on_disk(files, tmp_path, monkeypatch):
    network, options = files
    settings = EvaluationSettings(accuracy_images=5, store=str(tmp_path / "known.db"))
    wanted = Evaluator(network, options, settings).evaluate(choice(), frozenset({"accuracy"}))
    monkeypatch.setattr("skipstone.models.quantization.reference.accuracy", None)
    assert Evaluator(network, options, settings).evaluate(choice(), frozenset({"accuracy"})) == wanted
    assert set(wanted.metrics) == {"accuracy"}
