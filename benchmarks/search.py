"""NSGA-II compared with random search at equal trials: hypervolume of both fronts, for several seeds.

Both draw from the default space on the carried network, and each trial is a different choice. Evaluations are shared
between the searches, which changes no result. All fronts are measured in one box, between the best and the worst values
of all searches.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from skipstone.cli.console import usable_cores
from skipstone.explore.evaluate import EvaluationSettings
from skipstone.explore.outcome import corners, hypervolumes
from skipstone.explore.search import explore
from skipstone.explore.space import load_space
from skipstone.flow.prepare import CompressionOptions
from skipstone.mapper.results.exploration import ExplorationResult

NETWORK = "resnet8_fashion"
SEEDS = (0, 1, 2)
SAMPLERS = ("nsga2", "random")
TRIALS = 240
SHOWN = (48, 96, 144, 192, 240)
IMAGES = 200


def measure(settings: Settings) -> Section:
    folder = settings.work or Path(tempfile.mkdtemp(prefix="skipstone-search-"))
    folder.mkdir(parents=True, exist_ok=True)
    studies: dict[tuple[str, int], ExplorationResult] = {}
    for seed in SEEDS:
        for sampler in SAMPLERS:
            settings.progress(f"{sampler}, seed {seed}")
            studies[sampler, seed] = explore(
                NETWORK,
                load_space(),
                CompressionOptions(),
                EvaluationSettings(accuracy_images=IMAGES),
                storage=folder / "study.db",
                trials=TRIALS,
                sampler=sampler,
                seed=seed,
                jobs=usable_cores(),
            )
    return Section("search", "Search: NSGA-II against random search", report(studies))


def report(studies: dict[tuple[str, int], ExplorationResult]) -> str:
    """The section's text."""
    first = next(iter(studies.values()))
    every = [point for result in studies.values() for point in result.points]
    ideal, reference = corners(every, first.objectives)
    rows = []
    final: dict[str, list[float]] = {sampler: [] for sampler in SAMPLERS}
    for (sampler, seed), result in studies.items():
        volumes = hypervolumes(result.points, first.objectives, SHOWN, ideal, reference)
        final[sampler].append(volumes[-1][1])
        front = sum(point.on_front for point in result.points)
        rows.append((sampler, seed, *(f"{volume:.4f}" for _, volume in volumes), front))
    means = {sampler: statistics.mean(volumes) for sampler, volumes in final.items()}
    corner = ", ".join(f"{name} {value:,.6g}" for name, value in reference.items())
    better = sum(ours > chance for ours, chance in zip(final["nsga2"], final["random"], strict=True))
    size = f"{load_space().size:,}"
    return (
        f"{NETWORK}, the default space ({size} combinations), objectives {', '.join(o.name for o in first.objectives)} (on "
        f"{first.accuracy_images} images). Share of the box between the best and the worst value of each objective found by any "
        f"of the searches that is dominated after so many trials; the reference is {corner}.\n\n"
        + table(("sampler", "seed", *(f"{n} trials" for n in SHOWN), "on the front"), rows)
        + f"\nMean after {SHOWN[-1]} trials: nsga2 {means['nsga2']:.4f}, random {means['random']:.4f}; nsga2 is ahead with "
        f"{better} of {len(SEEDS)} seeds.\n"
    )
