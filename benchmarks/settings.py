"""The settings of a measurement: where networks lie, and how much of the RTL to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from skipstone.hw.design import Design, load_design

DESIGNS = Path(__file__).parent / "designs"
MODELS = Path(__file__).parents[1] / "tests" / "data"
"""The folder in which MLPerf Tiny's ResNet-8 is carried."""
MLPERF = "mlperf_tiny_resnet8.onnx"
TEXT_DIRECTION = "ch_ppocr_mobile_v2.0_cls_infer.onnx"
TEXT_DIRECTION_ABSENT = "pip install --no-deps rapidocr-onnxruntime==1.4.4"
"""How to get the text direction network: a package that carries it as a file; its code is not used."""


@dataclass(frozen=True)
class Settings:
    """What the sections of a measurement use.

    Attributes:
        models: Folder that may hold MLPerf Tiny's ResNet-8.
        rtl_layers: Layers of each large network that also run in the RTL.
        rtl_density: The density at which they run.
        images: Inputs of each whole network in the RTL.
        work: Folder in which long measurements keep their results.
        finished_only: Results that are not in ``work`` are left out and named.
        progress: Called with a line of text for each stage.
    """

    models: Path | None = None
    rtl_layers: int = 0
    rtl_density: float = 0.2
    images: int = 1
    work: Path | None = None
    finished_only: bool = False
    progress: Callable[[str], None] = lambda _: None

    @property
    def resnet8(self) -> tuple[str, tuple[float, float]]:
        """MLPerf Tiny's ResNet-8 where it is available, else the carried network; and the range of its input."""
        if self.models is not None and (self.models / MLPERF).is_file():
            return str(self.models / MLPERF), (0.0, 255.0)
        return "resnet8_fashion", (0.0, 1.0)


@dataclass(frozen=True)
class TextDirection:
    """PP-OCR's text direction classifier, a MobileNetV3 with squeeze and excitation, of 48 x 192 pixels from -1 to
    1."""

    path: str
    input_shape: tuple[int, ...] = (1, 3, 48, 192)
    input_range: tuple[float, float] = (-1.0, 1.0)


def text_direction() -> TextDirection | None:
    """The network where its package is installed."""
    package = find_spec("rapidocr_onnxruntime")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "models" / TEXT_DIRECTION
    return TextDirection(str(path)) if path.is_file() else None


def benchmark_design(name: str) -> Design:
    """A design of ``benchmarks/designs``."""
    return load_design(str(DESIGNS / f"{name}.toml"))
