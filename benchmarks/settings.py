"""What the sections of a measurement are told: where networks lie, and how much of the RTL to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hw.design import Design, load_design

DESIGNS = Path(__file__).parent / "designs"
MLPERF = "mlperf_tiny_resnet8.onnx"


@dataclass(frozen=True)
class Settings:
    """``models``: folder that may hold MLPerf Tiny's ResNet-8. ``rtl_layers``: layers of each large network that also run in
    the RTL, at ``rtl_density``. ``images``: inputs of each whole network in the RTL. ``progress``: told what is going on."""

    models: Path | None = None
    rtl_layers: int = 0
    rtl_density: float = 0.2
    images: int = 4
    progress: Callable[[str], None] = lambda _: None

    @property
    def resnet8(self) -> tuple[str, tuple[float, float]]:
        """MLPerf Tiny's ResNet-8 where it is, else the carried network; and the range of its input."""
        if self.models is not None and (self.models / MLPERF).is_file():
            return str(self.models / MLPERF), (0.0, 255.0)
        return "resnet8_fashion", (0.0, 1.0)


def benchmark_design(name: str) -> Design:
    """A design of ``benchmarks/designs``."""
    return load_design(str(DESIGNS / f"{name}.toml"))
