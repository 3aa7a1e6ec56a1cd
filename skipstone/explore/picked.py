"""Points of an exploration as files that the other commands take: the design with its memories, and the network in integers.

What was found can then be run, verified and exported as it is: the same integers on the same design have the same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skipstone.errors import SkipstoneError
from skipstone.explore.evaluate import EvaluationSettings, Evaluator
from skipstone.files import write_files
from skipstone.flow.prepare import CompressionOptions
from skipstone.hw.design import Design
from skipstone.mapper.results.exploration import ExplorationPoint, ExplorationResult
from skipstone.models.data import zoo
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.reports.exploration.summary import picks
from skipstone.toml_files import toml_text

WHICH = "best, front, none, or numbers with commas between"


@dataclass(frozen=True)
class Written:
    """A point's files in ``folder``, why it was written, and the command that runs it."""

    point: ExplorationPoint
    why: str
    folder: Path
    command: str


def chosen_points(result: ExplorationResult, which: str) -> dict[int, str]:
    """Points of a result that are asked for.

    Args:
        result: The exploration.
        which: ``best`` (of each objective, and their compromise), ``front``, ``none``, or numbers with commas between.

    Returns:
        Why, by the point's number.

    Raises:
        SkipstoneError: ``which`` can't be read, or there is no such point.
    """
    if which == "none":
        return {}
    reasons: dict[int, str] = {}
    if which == "best":
        for pick in picks(result):
            earlier = reasons.get(pick.point.number)
            reasons[pick.point.number] = f"{earlier}, {pick.purpose}" if earlier else pick.purpose
        return reasons
    if which == "front":
        return {point.number: "on the front" for point in result.points if point.on_front}
    point_numbers = {point.number for point in result.points}
    for text in which.split(","):
        if not text.strip().isdigit():
            raise SkipstoneError(f"points must be {WHICH}, not '{which}'", parameter="which")
        if int(text) not in point_numbers:
            raise SkipstoneError(
                f"there is no point {int(text)} among the {len(point_numbers)} points", parameter="which"
            )
        reasons[int(text)] = "asked for"
    return reasons


def check_which(which: str) -> None:
    """Refuses what :func:`chosen_points` can't read, before any work.

    Raises:
        SkipstoneError: ``which`` can't be read.
    """
    if which not in ("best", "front", "none") and not all(text.strip().isdigit() for text in which.split(",")):
        raise SkipstoneError(f"points must be {WHICH}, not '{which}'", parameter="which")


def write_points(
    result: ExplorationResult,
    chosen: Mapping[int, str],
    network: str,
    options: CompressionOptions,
    settings: EvaluationSettings,
    folder: Path,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[Written, ...]:
    """Writes ``NUMBER/design.toml`` and ``NUMBER/quantized.onnx`` of each chosen point.

    Args:
        result: The exploration.
        chosen: Why a point is written, by its number (:func:`chosen_points`).
        network: The network that was explored.
        options: How it is compressed where a choice leaves it open.
        settings: What the exploration evaluated with.
        folder: Where the points' folders go.
        progress: Called with a few words before each point.

    Raises:
        SkipstoneError: A point is not what was stored.
        OSError: A file can't be written.
    """
    points: Sequence[ExplorationPoint] = [point for point in result.points if point.number in chosen]
    if not points:
        return ()
    evaluator = Evaluator(network, options, settings)
    written = []
    for point in points:
        progress(f"writing point {point.number}")
        evaluation = evaluator.evaluate(point.parameters, frozenset({"cycles"}))
        cycles = evaluation.metrics.get("cycles")
        if evaluation.design is None or point.metrics.get("cycles", cycles) != cycles:
            raise SkipstoneError(
                f"point {point.number} is not what was stored ({evaluation.problem or 'its cycles differ'}); explore again"
            )
        place = folder / str(point.number)
        place.mkdir(parents=True, exist_ok=True)
        model, design = place / "quantized.onnx", place / "design.toml"
        write_files(
            {
                design: design_text(evaluation.design, f"point {point.number} of an exploration"),
                model: to_qdq(evaluator.network(point.parameters).network).SerializeToString(),
            }
        )
        command = f"skipstone run {model} --design {design}{_data(network, options)}{_clock(settings, point)}"
        written.append(Written(point, chosen[point.number], place, command))
    return tuple(written)


def design_text(design: Design, description: str) -> str:
    """A design file's text: every parameter as a key.

    Args:
        design: The design.
        description: What the file says of it.
    """
    return toml_text({**design.to_dict(), "description": description})


def _data(network: str, options: CompressionOptions) -> str:
    """The images that accuracy and energy were measured on, if any: a file of integers does not know them."""
    carried = zoo.carried_networks().get(network)
    path = options.evaluation or (str(carried.evaluation) if carried else None)
    return f" --evaluation {path}" if path else ""


def _clock(settings: EvaluationSettings, point: ExplorationPoint) -> str:
    technology = str(point.parameters.get("node_nm", settings.technology))
    frequency = point.parameters.get("frequency_mhz", settings.frequency_mhz)
    named = "" if technology == EvaluationSettings().technology else f" --technology {technology}"
    return named + ("" if frequency is None else f" --frequency {float(frequency):g}")
