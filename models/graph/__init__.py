"""The float network: layers, their grids and pointwise functions, as files and as ONNX."""
