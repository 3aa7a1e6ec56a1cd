"""Every compression method on the carried network: accuracy on all test images, size, and exact cycles and energy on
``wide``.

Recipes are those that come with Skipstone and those in ``benchmarks/recipes``; each runs by ``skipstone.compress.run``
into a folder of its own, where an interrupted measurement goes on. Trained recipes take hours all together, so a
finished folder is taken as it is if its steps are still the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from skipstone.compress.recipe import Recipe, load_recipe, recipe_names
from skipstone.compress.run import compress, context_for, dataset_for, final_key, recipe_context
from skipstone.errors import ResultError
from skipstone.hw.design import load_design
from skipstone.mapper.results.compression import CompressionResult
from skipstone.models.data.datasets import Dataset
from skipstone.models.onnx_io.reader import load

NETWORK = "resnet8_fashion"
DATA = "fashion-mnist"
DESIGN = "wide"
FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Group:
    """Recipes that are shown together."""

    title: str
    recipes: tuple[str, ...]


GROUPS = (
    Group(
        "Quantization after training",
        ("int8", "int8-percentile", "int8-mse", "int8-entropy", "int8-per-tensor-symmetric", "w4-nearest", "w4-mse",
        "w4-corrected",
         "w4-equalized", "w4-adaptive", "w4-post-training", "mixed-4", "ptq-power-of-two", "ptq-additive-power-of-two",
         "ptq-codebook", "ptq-ternary", "ptq-binary"),
    ),
    Group(
        "Quantization-aware training",
        ("w4a8", "w4a8-straight-through", "power-of-two", "additive-power-of-two", "codebook", "ternary", "binary"),
    ),
    Group(
        "Pruning after training, without any training",
        ("magnitude-50", "global-50", "random-50", "wanda-50", "taylor-50", "post-training-50", "magnitude-70",
        "second-order-70",
         "second-order-80", "second-order-90", "second-order-lamp-80", "second-order-lamp-90", "second-order-2-4"),
    ),
    Group("Single weights, then trained", ("unstructured-50", "unstructured-80", "unstructured-90", "lamp-80",
    "distilled-80-no-labels")), Group(
        "Patterns and structures, then trained",
        ("2-4", "one-4-tuned", "four-8-tuned", "random-50-tuned", "blocks-50-tuned", "kernels-50-tuned",
        "stripes-50-tuned",
         "shapes-50-tuned", "input-channels-30-tuned", "filters-30-tuned", "apoz-30-tuned", "thinet-30-tuned", "filters-half",
         "block-removed"),
    ),
    Group(
        "Before and while training",
        ("snip-80", "rigl-80", "lottery-80", "iterative-80", "gradual-80", "l1-80", "group-lasso", "slimming"),
    ),
    Group("Low rank, compact filters, in sequence", ("svd", "tucker", "cp", "depthwise-separable", "bottleneck",
    "combined")),
    Group("With the array in the loop", ("uniform-80", "cycle-aware-50", "cycle-aware-70", "cycle-aware-80",
                                              "balanced-rows-80", "words")),
    Group("Measured only", ("gated", "robust-int8")),
)  # fmt: skip


def measure(settings: Settings) -> Section:
    """The table of all recipes. Those whose folder in ``settings.work`` is missing or interrupted are run."""
    work = settings.work or Path("out/compression")
    graph = load(NETWORK)
    dataset = dataset_for(graph, DATA)
    texts, left_out = [], []
    for group in GROUPS:
        rows = []
        for name in group.recipes:
            settings.progress(f"recipe {name}")
            result = result_of(recipe_named(name), work / name, dataset, settings)
            if result is None:
                left_out.append(name)
            else:
                rows.append(row(name, result))
        texts.append(f"### {group.title}\n\n" + table(HEADINGS, rows, last_is_text=True))
    if left_out:
        texts.append(f"Not measured yet: {', '.join(f'`{name}`' for name in left_out)}.\n")
    return Section("compression", "Compression, method by method", HEAD + "\n".join(texts))


HEADING = """# Compression, measured

What each method of the surveys does to one network, from the data to the cycles; what did badly is here too. How to
use them:
[compression](compression.md).
"""
HEADINGS = ("recipe", "accuracy", "lost", "zeros", "bytes", "ratio", "cycles", "speed-up", "energy, nJ", "what it does")
HEAD = f"""`{NETWORK}` on all 10,000 test images of Fashion-MNIST, as the integers that the array computes; points lost
against the float network; bytes of encoded weights, and how many times fewer they are than in float32; exact cycles
and energy of
one image on `{DESIGN}`, with the multipliers that the weight code takes; speed-up over the dense 8-bit network.

Recipes that say nothing of quantization end in 8 bits. Recipes that come with Skipstone train on all 60,000 images
each epoch,
the others of this page on 6,000: they compare methods, not what each can reach. Seed 1 everywhere, one run each.

"""


def recipe_named(name: str) -> Recipe:
    """A recipe of Skipstone's, or one of this comparison."""
    return load_recipe(name if name in recipe_names() else FOLDER / f"{name}.toml")


def result_of(recipe: Recipe, folder: Path, dataset: Dataset, settings: Settings) -> Mapping[str, Any] | None:
    """The content of a recipe's ``compression.json``.

    It is read from ``folder`` where the same steps made it, and made otherwise.

    Returns:
        The result; None where it would have to be made and ``settings`` allow only finished ones.
    """
    design = load_design(DESIGN)
    path = folder / "compression.json"
    if path.exists():
        with suppress(ResultError):  # of another version: made again
            result = CompressionResult.read(path)
            context = context_for(NETWORK, dataset, design, None, recipe.seed, settings.progress)
            if result.key == final_key(recipe, recipe_context(recipe, context)):
                return result.to_dict()
    if settings.finished_only:
        return None
    return compress(NETWORK, recipe, dataset, out=folder, design=design, progress=settings.progress).result.to_dict()


def row(name: str, result: Mapping[str, Any]) -> tuple[object, ...]:
    cost = result["cost"]
    return (
        f"`{name}`",
        f"{100 * result['accuracy']:.2f}%",
        f"{result['loss_points']:.2f}",
        f"{100 * result['sparsity']:.0f}%",
        result["encoded_bytes"],
        f"{result['ratio']:.1f}x",
        cost["cycles"],
        f"{cost['speedup']:.2f}x",
        round(cost["energy_pj"] / 1e3),
        recipe_named(name).description + "".join(measured(step) for step in result["steps"]),
    )


def measured(step: Mapping[str, Any]) -> str:
    """The figures of a step that only measures, in words."""
    values = step["measured"]
    if step["do"] == "robust_accuracy":
        return (
            f" On {values['images']} images float falls from {100 * values['float_clean']:.1f}% to "
            f"{100 * values['float_robust']:.1f}%, the integers from {100 * values['clean']:.1f}% to "
            f"{100 * values['robust']:.1f}%."
        )
    if step["do"] == "gate":
        return (
            f" On {values['images']} images {100 * values['gated_accuracy']:.1f}% "
            f"(without gating {100 * values['accuracy']:.1f}%), {100 * values['saved_macs_share']:.1f}% of multiplications."
        )
    return ""
