"""Points of an exploration as files: which are written, and that a run of them gives the exploration's figures."""

from __future__ import annotations

import tomllib

import pytest

from skipstone.errors import SkipstoneError
from skipstone.explore.evaluate import EvaluationSettings
from skipstone.explore.picked import check_which, chosen_points, write_points
from skipstone.explore.search import explore
from skipstone.explore.space import parse_space
from skipstone.flow.evaluate import evaluate_network
from skipstone.flow.prepare import CompressionOptions
from skipstone.hw.design import load_design
from skipstone.models.data.zoo import carried_networks
from tests.models.onnx_runtimes import open_files

SPACE = """
[design]
rows = [2, 4]
cols = [3, 4]
load_width = [4]
slots = [9]
windows = [2]
accumulators = [4]
requantizer_lanes = [4]
[compression]
prune = ["none", "unstructured:0.5"]
weight_bits = [6, 8]
"""


@pytest.fixture(scope="module")
def exploration(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exploration")
    settings = EvaluationSettings(accuracy_images=20)
    result = explore(
        "resnet8_fashion",
        parse_space(tomllib.loads(SPACE)),
        CompressionOptions(),
        settings,
        storage=folder / "study.db",
        trials=6,
        population=6,
        objectives=("cycles", "energy_pj", "area_um2"),
    )
    return folder, settings, result


def test_running_a_point_gives_its_figures(exploration):
    """The files hold the point's integers and design: cycles are equal, energy and area equal but for rounding."""
    folder, settings, result = exploration
    chosen = chosen_points(result, "best")
    written = write_points(result, chosen, "resnet8_fashion", CompressionOptions(), settings, folder / "points")
    assert {saved.point.number for saved in written} == set(chosen)
    for saved in written:
        assert open_files(saved.folder) == ["quantized.onnx"]
        design = load_design(str(saved.folder / "design.toml"))
        carried = carried_networks()["resnet8_fashion"].evaluation
        assert saved.command.endswith(f"--design {saved.folder / 'design.toml'} --evaluation {carried}")
        run = evaluate_network(
            str(saved.folder / "quantized.onnx"), design, CompressionOptions(evaluation=str(carried))
        )
        assert run.total_cycles == saved.point.metrics["cycles"]
        assert run.total_energy_pj == pytest.approx(saved.point.metrics["energy_pj"], rel=1e-12)
        assert run.area_um2 == pytest.approx(saved.point.metrics["area_um2"], rel=1e-12)


def test_points_are_chosen_by_front_or_number(exploration):
    _, _, result = exploration
    assert chosen_points(result, "none") == {}
    assert set(chosen_points(result, "front")) == {point.number for point in result.points if point.on_front}
    assert chosen_points(result, "0, 3") == {0: "asked for", 3: "asked for"}
    with pytest.raises(SkipstoneError, match="there is no point 99 among the 6 points"):
        chosen_points(result, "99")


def test_a_malformed_choice_of_points_is_refused():
    for good in ("best", "front", "none", "1,2"):
        check_which(good)
    with pytest.raises(
        SkipstoneError, match="points must be best, front, none, or numbers with commas between, not 'all'"
    ):
        check_which("all")
