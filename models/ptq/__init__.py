"""Post-training quantization: methods by which a float graph loses less when it is quantized, without training.

They run between the import and :func:`skipstone.models.quantization.quantize.quantize`. Each turns a graph into another
one, in plain NumPy.
"""
