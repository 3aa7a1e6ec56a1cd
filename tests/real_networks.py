"""Trained networks of others that tests run: one lies in ``tests/data``, two come with a Python package."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from skipstone.models.data.zoo import find

MLPERF = Path(__file__).parent / "data" / "mlperf_tiny_resnet8.onnx"
"""MLPerf Tiny's image classification network, ResNet-8 on CIFAR-10 (Apache-2.0), as ONNX."""
RESNETS = [
    pytest.param(lambda: find("resnet8_fashion"), 1.0, 9345920, id="fashion"),
    pytest.param(lambda: MLPERF, 255.0, 12501632, id="mlperf"),
]
"""Two ResNet-8s: the file, the largest input, the multiply-accumulates."""

_RAPIDOCR = find_spec("rapidocr_onnxruntime")
_FOLDER = Path(_RAPIDOCR.origin).parent / "models" if _RAPIDOCR and _RAPIDOCR.origin else Path("rapidocr_onnxruntime")
TEXT_DIRECTION = _FOLDER / "ch_ppocr_mobile_v2.0_cls_infer.onnx"
"""PP-OCR's text direction classifier (Apache-2.0), a MobileNetV3 with squeeze and excitation."""
TEXT_DETECTION = _FOLDER / "ch_PP-OCRv4_det_infer.onnx"
"""PP-OCRv4's text detector, which also upsamples, concatenates and has transposed convolutions."""

needs_rapidocr = pytest.mark.skipif(
    not TEXT_DIRECTION.exists(), reason="pip install --no-deps rapidocr-onnxruntime==1.4.4 brings its networks"
)
