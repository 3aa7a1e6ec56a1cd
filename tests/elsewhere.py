"""Networks that the repository does not carry: tests that use one skip, with a message, where it is absent."""

import os
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(os.environ.get("SKIPSTONE_MODELS", Path(__file__).parents[2] / "shared" / "models"))
MLPERF = FOLDER / "mlperf_tiny_resnet8.onnx"
"""MLPerf Tiny's image classification network, ResNet-8 on CIFAR-10 (Apache-2.0), as ONNX."""
ABSENT = f"{MLPERF} is not here; SKIPSTONE_MODELS names the folder that holds it"

_RAPIDOCR = find_spec("rapidocr_onnxruntime")
_FOLDER = Path(_RAPIDOCR.origin).parent / "models" if _RAPIDOCR and _RAPIDOCR.origin else FOLDER
TEXT_DIRECTION = _FOLDER / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
"""PP-OCR's text direction classifier (Apache-2.0), a MobileNetV3 with squeeze and excitation, from a Python package."""
TEXT_DETECTION = _FOLDER / "ch_PP-OCRv4_det_infer.onnx"
"""PP-OCRv4's text detector, which also upsamples, concatenates and has transposed convolutions."""
NO_RAPIDOCR = f"{TEXT_DIRECTION} is not here; pip install --no-deps rapidocr-onnxruntime==1.4.4"
