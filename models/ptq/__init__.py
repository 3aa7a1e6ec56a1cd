"""Post-training quantization: methods that make a float graph lose less when it is quantized, without training it.

They stand between the import and :func:`skipstone.models.quantization.quantize.quantize`; each takes a graph and
gives one, in plain NumPy.
"""
