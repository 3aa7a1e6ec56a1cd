"""``python -m benchmarks.carry --work out/compression``: puts the best compressed variants among the carried networks.

The networks come from the folders of ``python -m benchmarks compression``; each card says by which recipe and what
it gave.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from benchmarks.compression import NETWORK, recipe_named
from skipstone.files import write_json
from skipstone.mapper.results.compression import CompressionResult
from skipstone.models.data.images import load_images
from skipstone.models.data.zoo import FOLDER, carried_networks
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.models.quantization.quantize import quantize

VARIANTS = {
    "unstructured-80": "80% of the weights zero, 8 bits",
    "unstructured-90": "90% of the weights zero, 8 bits",
    "w4a8": "4-bit weights, 8-bit activations",
    "ternary": "weights -1, 0 and 1",
}
"""Recipes whose networks are carried, and what they are."""


def carry(work: Path, recipe: str, folder: Path = FOLDER) -> Path:
    """Copies the quantized network of ``recipe`` from ``work`` and writes its card.

    Returns:
        The network's new path.
    """
    result = CompressionResult.read(work / recipe / "compression.json")
    parent = carried_networks()[NETWORK]
    path = folder / f"{NETWORK}_{recipe.replace('-', '_')}.onnx"
    write_json(path.with_suffix(".json"), {"made_from": NETWORK})
    shutil.copyfile(work / recipe / "quantized.onnx", path)
    images, labels = load_images(parent.evaluation)
    assert labels is not None
    card = {
        "name": path.stem,
        "made_from": NETWORK,
        "what": VARIANTS[recipe],
        "task": json.loads(parent.card.read_text())["task"],
        "made_by": f"skipstone compress {NETWORK} --recipe {recipe} --data fashion-mnist --design wide",
        "recipe": recipe_named(recipe).model_dump(mode="json", exclude_defaults=True),
        "accuracy_test_10000": result.accuracy,
        "float_accuracy_test_10000": result.float_accuracy,
        "accuracy_evaluation_1000": reference.accuracy(quantize(load(path), None), images, labels),
        "sparsity": result.sparsity,
        "encoded_bytes": result.encoded_bytes,
        "cycles_on_wide": None if result.cost is None else result.cost.cycles,
        "data": json.loads(parent.card.read_text())["data"],
    }
    write_json(path.with_suffix(".json"), card, indent=2)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("out/compression"))
    arguments = parser.parse_args()
    for recipe in VARIANTS:
        print(carry(arguments.work, recipe))


if __name__ == "__main__":
    main()
