"""ONNX files in and out: float networks, and quantized networks in QDQ form."""
