"""The networks that Skipstone carries, each with calibration images, labelled evaluation images, and a card.

They are what tutorials, tests and first experiments run on without any download. A compressed variant, whose card names the
network that it was made from, has that one's images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from skipstone.errors import SkipstoneError

FOLDER = Path(__file__).parent / "carried"


@dataclass(frozen=True)
class CarriedNetwork:
    """Where the files of a carried network lie; ``card`` is JSON with origin, training and measured accuracy."""

    name: str
    network: Path
    calibration: Path
    evaluation: Path
    card: Path


def carried_networks(folder: Path = FOLDER) -> dict[str, CarriedNetwork]:
    """The carried networks by name."""
    return {path.stem: _carried(path) for path in sorted(folder.glob("*.onnx"))}


def _carried(path: Path) -> CarriedNetwork:
    card = path.with_suffix(".json")
    images = json.loads(card.read_text()).get("made_from", path.stem)
    return CarriedNetwork(
        path.stem,
        path,
        path.with_name(f"{images}_calibration.npz"),
        path.with_name(f"{images}_evaluation.npz"),
        card,
    )


def find(name_or_path: str | Path) -> Path:
    """The ONNX file that a user means: an existing file, or the name of a carried network."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    carried = carried_networks()
    if str(name_or_path) in carried:
        return carried[str(name_or_path)].network
    if path.is_dir():
        raise SkipstoneError(f"'{name_or_path}' is a folder, not an ONNX file")
    names = ", ".join(carried) or "none"
    raise SkipstoneError(f"no file '{name_or_path}', and no carried network of that name (carried: {names})")
