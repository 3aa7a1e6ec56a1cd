"""The benchmark networks: known shapes with random weights and masks, seeded and without downloads.

Weights are drawn so that none of them becomes zero when it is quantized: a layer has exactly the nonzeros that are
requested. The networks are float graphs that the product's own calibration (on one random input) and quantization turn
into integers, so Adds are fused into drains and scales are valid, as for any imported network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from skipstone.models.graph.function import function
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import (
    Add,
    Affine,
    AveragePool,
    Clamp,
    ClampLayer,
    Concat,
    Conv,
    ConvTranspose,
    Layer,
    MaxPool,
    Padding,
    Pointwise,
    Product,
    Softmax,
    Upsample,
)
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from skipstone.models.quantization.scheme import INT8, QuantizationScheme

RELU: Clamp = (0.0, float("inf"))
DENSITIES = (0.1, 0.2, 0.5, 1.0)

GEMM_NONZEROS = (36_864, 18_112, 7_057, 3_321, 1_485)
"""Nonzero weights of the 64 x 576 matrix: dense, and the four at which the peers were measured."""

RESNET18_STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""Channels and first stride of the four stages of two basic blocks each: He et al. 2015, table 1, 18-layer."""


def random_weights(shape: tuple[int, ...], nonzeros: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draws ``nonzeros`` weights at uniformly random places.

    Their magnitudes are within a factor of ten, so that 8 bits keep all of them. Their variance keeps activations in
    range from layer to layer.
    """
    size = int(np.prod(shape))
    weights = np.zeros(size)
    places = rng.choice(size, nonzeros, replace=False)
    per_output = max(1.0, nonzeros / shape[0])
    scale = np.sqrt(2 / (0.37 * per_output))  # 0.37 is the mean square of the magnitudes
    weights[places] = rng.uniform(0.1, 1, nonzeros) * rng.choice((-1, 1), nonzeros) * scale
    return weights.reshape(shape).astype(np.float32)


def gemm(nonzeros: int, seed: int = 0) -> QuantizedNetwork:
    """The product of a sparse 64 x 576 matrix (rows are output channels) and a dense 576 x 1024 one (columns are
    pixels)."""
    weights = random_weights((64, 576, 1, 1), nonzeros, np.random.default_rng(seed))
    layer = Conv(name="gemm", inputs=("x",), weights=weights, bias=np.zeros(64, np.float32))
    return quantized(Graph("gemm_64x1024x576", "x", (576, 32, 32), (layer,), ("gemm",)))


def resnet18(density: float, seed: int = 0) -> QuantizedNetwork:
    """ResNet-18 at 224 x 224; every Conv and Gemm layer has the share ``density`` of its weights."""
    return quantized(with_random_weights(resnet18_graph(), density, seed))


def resnet50(density: float, seed: int = 0) -> QuantizedNetwork:
    """ResNet-50 at 224 x 224 with the shapes of the file that the ``onnx`` wheel carries."""
    return quantized(with_random_weights(resnet50_graph(), density, seed))


NETWORKS: dict[str, Callable[[float], QuantizedNetwork]] = {"resnet18": resnet18, "resnet50": resnet50}


def every_operator(seed: int = 0) -> Graph:
    """A small network with every kind of layer: convolutions (strided, dilated, grouped, depthwise, transposed), pools
    with and without a border that changes the divisor, tensors side by side, upsampling, squeeze and excitation, tables
    fused and alone, an affine and a clamp that stand alone, residual Adds fused and lone, and a classifier."""
    rng = np.random.default_rng(seed)

    def conv(name: str, source: str, outputs: int, inputs: int, kernel: int, **options: Any) -> Conv:
        shape = (outputs, inputs, kernel, kernel)
        weights = random_weights(shape, int(np.prod(shape)), rng)
        bias = rng.uniform(-0.2, 0.2, outputs).astype(np.float32)
        make = ConvTranspose if "output_padding" in options else Conv
        return make(name=name, inputs=(source,), weights=weights, bias=bias, **options)

    border: Padding = (1, 1, 1, 1)
    layers: tuple[Layer, ...] = (
        conv("stem", "image", 12, 3, 3, stride=(2, 2), padding=border),
        Pointwise(name="swish", inputs=("stem",), function=function("HardSwish")),
        conv("depthwise", "swish", 12, 1, 3, padding=border, groups=12, clamp=RELU),
        conv("grouped", "depthwise", 12, 4, 3, padding=(2, 2, 2, 2), dilation=(2, 2), groups=3, clamp=(0.0, 6.0)),
        AveragePool(name="squeeze", inputs=("grouped",), kernel=(12, 10)),
        conv("reduce", "squeeze", 4, 12, 1, clamp=RELU),
        conv("expand", "reduce", 12, 4, 1),
        Pointwise(name="excite", inputs=("expand",), function=function("HardSigmoid")),
        Product(name="scaled", inputs=("grouped", "excite")),
        MaxPool(name="max_pool", inputs=("grouped",), kernel=(3, 3), padding=border),
        AveragePool(name="average", inputs=("grouped",), kernel=(3, 3), padding=border, uncounted=border),
        conv("down", "grouped", 8, 12, 3, stride=(2, 2), padding=border, clamp=RELU),
        conv("up", "down", 8, 8, 3, stride=(2, 2), padding=border, output_padding=(1, 1)),
        Upsample(name="repeated", inputs=("down",), factor=(2, 2)),
        Concat(name="joined", inputs=("scaled", "max_pool", "average", "up", "repeated")),
        conv("head", "joined", 16, 52, 1, clamp=RELU),
        conv("inner", "head", 16, 16, 3, padding=border),
        Add(name="residual", inputs=("inner", "head"), clamp=RELU),
        MaxPool(name="pooled", inputs=("residual",), kernel=(2, 2), stride=(2, 2)),
        Pointwise(name="table", inputs=("pooled",), function=function("Tanh")),
        Affine(
            name="affine",
            inputs=("pooled",),
            scale=rng.uniform(-1, 1, 16).astype(np.float32),
            bias=rng.uniform(-1, 1, 16).astype(np.float32),
        ),
        ClampLayer(name="clamp", inputs=("affine",), clamp=(-0.5, 0.5)),
        Add(name="sum", inputs=("clamp", "table")),
        Add(name="total", inputs=("sum", "affine")),
        AveragePool(name="mean", inputs=("total",), kernel=(6, 5)),
        conv("classifier", "mean", 10, 16, 1, gemm=True),
        Softmax(name="softmax", inputs=("classifier",)),
    )
    return Graph("every_operator", "image", (3, 24, 20), layers, ("softmax",))


def quantized(graph: Graph, scheme: QuantizationScheme = INT8) -> QuantizedNetwork:
    ranges = calibrate(graph, random_images=1, low=-1.0, high=1.0)
    return quantize(graph, ranges, scheme)


def with_random_weights(graph: Graph, density: float, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    return graph.with_weights(
        {
            conv.name: random_weights(conv.weights.shape, max(1, round(conv.weights.size * density)), rng)
            for conv in graph.convs
        }
    )


def resnet18_graph(size: int = 224, stages: tuple[tuple[int, int], ...] = RESNET18_STAGES) -> Graph:
    """The layers of ResNet-18 without weights (zeros) for an input of ``size`` x ``size``."""
    layers: list[Layer] = []

    def conv(
        name: str, source: str, outputs: int, inputs: int, kernel: int, stride: int, clamp: Clamp | None = RELU
    ) -> str:
        border = kernel // 2
        padding: Padding = (border, border, border, border)
        weights = np.zeros((outputs, inputs, kernel, kernel), np.float32)
        layers.append(
            Conv(
                name=name,
                inputs=(source,),
                clamp=clamp,
                weights=weights,
                bias=np.zeros(outputs, np.float32),
                stride=(stride, stride),
                padding=padding,
            )
        )
        return name

    channels = stages[0][0]
    last = conv("stem", "image", channels, 3, 7, 2)
    layers.append(MaxPool(name="max_pool", inputs=(last,), kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1)))
    last = "max_pool"
    for number, (outputs, first_stride) in enumerate(stages, 1):
        for block in range(2):
            stride = first_stride if block == 0 else 1
            name, source = f"stage{number}.{block}", last
            inner = conv(f"{name}.conv1", source, outputs, channels, 3, stride)
            if stride != 1 or channels != outputs:
                source = conv(f"{name}.shortcut", source, outputs, channels, 1, stride, clamp=None)
            layer = conv(f"{name}.conv2", inner, outputs, outputs, 3, 1, clamp=None)
            last = f"{name}.add"
            layers.append(Add(name=last, inputs=(layer, source), clamp=RELU))
            channels = outputs
    shapes = Graph("resnet18", "image", (3, size, size), tuple(layers), (last,)).shapes
    layers.append(AveragePool(name="average_pool", inputs=(last,), kernel=shapes[last][1:]))
    layers.append(
        Conv(
            name="classifier",
            inputs=("average_pool",),
            weights=np.zeros((1000, channels, 1, 1), np.float32),
            bias=np.zeros(1000, np.float32),
            gemm=True,
        )
    )
    return Graph("resnet18", "image", (3, size, size), tuple(layers), ("classifier",))


@lru_cache(maxsize=1)
def resnet50_graph() -> Graph:
    """The layers of ``light_resnet50.onnx`` as the importer reads them. Its weights are constants without a meaning."""
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_resnet50.onnx"
    model = onnx.load(str(path))
    for node in model.graph.node:
        if node.op_type == "Sum":  # of two operands: what an Add is
            node.op_type = "Add"
    with tempfile.TemporaryDirectory() as folder:
        changed = Path(folder) / "resnet50.onnx"
        onnx.save(model, str(changed))
        return named_by_block(load(changed))


def named_by_block(graph: Graph) -> Graph:
    """A ResNet whose layers are named by stage and block. A stage begins at each block with a projection."""
    names = {graph.input: "image"}
    stage = block = 0
    block_convs: list[Conv] = []
    for layer in graph.order:
        if isinstance(layer, MaxPool):
            names |= {block_convs[0].name: "stem", layer.name: "max_pool"}
            block_convs = []
        elif isinstance(layer, Add):
            projections = [conv for conv in block_convs[1:] if conv.inputs == block_convs[0].inputs]
            stage, block = (stage + 1, 0) if projections else (stage, block + 1)
            main = [conv for conv in block_convs if conv not in projections]
            names |= {conv.name: f"stage{stage}.{block}.conv{number}" for number, conv in enumerate(main, 1)}
            names |= {conv.name: f"stage{stage}.{block}.shortcut" for conv in projections}
            names[layer.name] = f"stage{stage}.{block}.add"
            block_convs = []
        elif isinstance(layer, Conv) and not layer.gemm:
            block_convs.append(layer)
        else:
            names[layer.name] = "classifier" if isinstance(layer, Conv) else layer.kind
    layers = tuple(
        replace(layer, name=names[layer.name], inputs=tuple(names[tensor] for tensor in layer.inputs))
        for layer in graph.layers
    )
    outputs = tuple(names[tensor] for tensor in graph.outputs)
    return Graph("resnet50", "image", graph.input_shape, layers, outputs)
