"""Sweeps: one or two parameters of a design or of compression varied, everything else fixed, each value costed exactly.

A point is what ``skipstone.flow.evaluate`` gives for its design and compression: layers are pruned by magnitude unless
``criterion`` is varied, and memories are the design's unless they are fitted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import Any

from skipstone.errors import SkipstoneError
from skipstone.explore.evaluate import RESOURCES, EvaluationSettings, Evaluator
from skipstone.explore.space import LAYER, STORED, Choice, parse_choices
from skipstone.explore.study import Record
from skipstone.explore.variation import DESIGN_PARAMETERS, VariedDesign
from skipstone.explore.workers import Job, local_workers
from skipstone.flow.prepare import CompressionOptions, short_name
from skipstone.mapper.energy.energy import energy_sources
from skipstone.mapper.fpga import resources as fpga
from skipstone.mapper.results.sweep import SweepPoint, SweepResult
from skipstone.mapper.technology.technology import load_technology

PARAMETERS = (*DESIGN_PARAMETERS, *STORED, "frequency_mhz", "node_nm")
"""What can be varied, beside ``prune:LAYER``."""
MOST_PARAMETERS = 2
METRICS = (
    "cycles",
    "latency_us",
    "energy_pj",
    "area_um2",
    "power_mw",
    "frequency_mhz",
    "clock_reached",
    "inputs_per_second",
    "tops_per_watt",
)
"""What is computed of every point."""


def parse_parameters(texts: Sequence[str]) -> dict[str, tuple[Choice, ...]]:
    """The parameters that are varied and their values, from texts like ``load_width=4,8``.

    Args:
        texts: One or two of them.

    Raises:
        SkipstoneError: A text can't be read, or there is no such parameter or value.
    """
    parameters: dict[str, tuple[Choice, ...]] = {}
    for text in texts:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not name or not equals or not values:
            raise SkipstoneError(f"'{text}' must be PARAMETER=VALUE,VALUE,..., as load_width=4,8,16")
        if name not in PARAMETERS and not name.startswith(LAYER):
            near = get_close_matches(name, PARAMETERS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(PARAMETERS)}, {LAYER}LAYER"
            raise SkipstoneError(f"no parameter '{name}'{hint}")
        if name in parameters:
            raise SkipstoneError(f"{name} is varied twice; name all its values together")
        parameters[name] = parse_choices(name, values)
    if not 1 <= len(parameters) <= MOST_PARAMETERS:
        raise SkipstoneError(f"one or two parameters can be varied, not {len(parameters)}")
    return parameters


def sweep(
    network: str,
    base: VariedDesign,
    parameters: Mapping[str, tuple[Choice, ...]],
    options: CompressionOptions | None = None,
    settings: EvaluationSettings | None = None,
    *,
    resources: bool = False,
    jobs: int = 1,
    finished: Callable[[int, int], None] = lambda done, total: None,
) -> SweepResult:
    """Costs every combination of values, all else the same.

    Args:
        network: An ONNX file, or the name of a carried network.
        base: The design.
        parameters: One or two parameters and their values (:func:`parse_parameters`).
        options: How the network is compressed where no parameter says it.
        settings: Technology, clock, images for accuracy, FPGA.
        resources: Count DSPs, block RAMs and look-up tables of the FPGA, too.
        jobs: Processes of this machine.
        finished: Called with the number of points that are through and of all.

    Returns:
        What the points cost, each over the first one that can be built.

    Raises:
        SkipstoneError: Something of the above is wrong, or no point can be built.
    """
    if jobs < 1:
        raise SkipstoneError(f"jobs must be at least 1, not {jobs}", parameter="jobs")
    options = options or CompressionOptions()
    settings = replace(settings or EvaluationSettings(), base=base)
    evaluator = Evaluator(network, options, settings)
    _check(parameters, evaluator)
    compressing = any(name in STORED or name.startswith(LAYER) for name in parameters)
    with_accuracy = compressing and evaluator.has_accuracy
    metrics = {*METRICS, *(RESOURCES if resources else ()), *(("accuracy",) if with_accuracy else ())}
    fixed = {} if evaluator.compressor.graph.quantized else {"criterion": "magnitude"}
    values = [dict(zip(parameters, each, strict=True)) for each in itertools.product(*parameters.values())]
    records: dict[int, Record] = {}
    job = Job(Evaluator, (network, options, settings), frozenset(metrics))
    with local_workers(job, min(jobs, len(values))) as workers:
        for number, record in workers.evaluate([(number, fixed | each) for number, each in enumerate(values)]):
            records[number] = record
            finished(len(records), len(values))
    reference = next((number for number in range(len(values)) if records[number].problem is None), None)
    if reference is None:
        reasons = dict.fromkeys(f"{_text(each)}: {records[number].problem}" for number, each in enumerate(values))
        raise SkipstoneError(f"no point of the sweep can be built or mapped; {'; '.join(reasons)}")
    scheme = evaluator.compressor.given.options.scheme
    unvaried, first = base.with_choice({}, scheme).to_dict(), records[reference].metrics
    return SweepResult(
        network=short_name(network),
        design=base.design.name,
        design_parameters=unvaried,
        compression={"prune": options.prune, **asdict(scheme)},
        parameters=dict(parameters),
        points=tuple(_point(each, records[number], unvaried, first) for number, each in enumerate(values)),
        reference=reference,
        calibration=evaluator.calibration,
        accuracy_images=evaluator.meter.images if with_accuracy else 0,
        **_technology(parameters, settings, resources),
    )


def _check(parameters: Mapping[str, tuple[Choice, ...]], evaluator: Evaluator) -> None:
    """Refuses parameters that the network does not have."""
    graph, layers = evaluator.compressor.graph, evaluator.compressor.layer_names
    for name in parameters:
        if name.startswith(LAYER) and name[len(LAYER) :] not in layers:
            raise SkipstoneError(
                f"network '{graph.name}' has no prunable layer '{name[len(LAYER) :]}'; it has {', '.join(layers)}"
            )
        if graph.quantized and (name in STORED or name.startswith(LAYER)):
            raise SkipstoneError(f"network '{graph.name}' is quantized already: its {name} can't be varied")


def _point(
    values: Mapping[str, Choice], record: Record, unvaried: Mapping[str, Any], first: Mapping[str, float]
) -> SweepPoint:
    if record.problem is not None:
        return SweepPoint(values, record.design, {}, {}, {}, record.problem)
    following = {
        name: value
        for name, value in record.parameters.items()
        if name not in ("name", "description", *values) and value != unvaried.get(name)
    }
    changes = {name: value / first[name] - 1 for name, value in record.metrics.items() if first.get(name)}
    return SweepPoint(values, record.design, following, record.metrics, changes)


def _technology(
    parameters: Mapping[str, tuple[Choice, ...]], settings: EvaluationSettings, resources: bool
) -> dict[str, Any]:
    """The technologies' names, and the sources of all figures."""
    technologies = [
        load_technology(str(node), settings.frequency_mhz) for node in parameters.get("node_nm", (settings.technology,))
    ]
    sources = dict.fromkeys(
        (subject, source)
        for technology in technologies
        for subject, source in energy_sources(technology)
        if subject != "frequency" or "frequency_mhz" not in parameters
    )
    if resources:
        sources[f"FPGA {settings.device}", fpga.source(settings.device)] = None
    return {"technology": ", ".join(each.name for each in technologies), "sources": tuple(sources)}


def _text(values: Mapping[str, Choice]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
