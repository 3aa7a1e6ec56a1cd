"""Images, data sets, the carried networks, and float execution under ONNX Runtime."""
