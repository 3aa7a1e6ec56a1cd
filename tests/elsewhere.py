"""Networks that the repository does not carry: tests that use one skip, with a message, where it is absent."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("SKIPSTONE_MODELS", Path(__file__).parents[2] / "shared" / "models"))
MLPERF = FOLDER / "mlperf_tiny_resnet8.onnx"
"""MLPerf Tiny's image classification network, ResNet-8 on CIFAR-10 (Apache-2.0), as ONNX."""
ABSENT = f"{MLPERF} is not here; SKIPSTONE_MODELS names the folder that holds it"
