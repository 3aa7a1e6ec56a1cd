"""The ends of a file: what is read is written with the file's inputs and outputs, in float and in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from skipstone.errors import SkipstoneError
from skipstone.models.data.float_execution import float_accuracy
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.onnx_io.reader import load
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import QuantizedNetwork
from skipstone.models.quantization.quantize import quantize
from skipstone.models.quantization.ranges import calibrate
from tests.models.builders import Array, floats, node, onnx_model, save
from tests.models.graph.test_grids import assert_same
from tests.models.onnx_runtimes import ends_of, run_at_all_levels

CONSTANTS: dict[str, Array] = {
    "w": floats(8, 3, 3, 3) / 5,
    "v": floats(4, 8, 1, 1) / 3,
    "fc": floats(128, 6) / 11,
    "k2": floats(2, 3, 3, 3) / 5,
    "shuffle": np.array([1, 2, 2, 2, 4, 4], np.int64),
    "large": np.array([1, 2, 8, 8], np.int64),
    "flat": np.array([1, -1], np.int64),
    "image": np.array([1, 3, 4, 4], np.int64),
    "boxes": np.array([1, 4, -1], np.int64),
    "rows": np.array([-1, 8], np.int64),
    "swap": np.array([2, 0, 1, 3, 7, 6, 5, 4], np.int64),
    "bgr": np.array([2, 1, 0], np.int64),
}
CONV = node("Conv", ["x", "w"], "c", pads=[1, 1, 1, 1])
IMAGE = (1, 3, 4, 4)
CASES: dict[str, tuple[list[onnx.NodeProto], tuple[int | str, ...], tuple[str, ...]]] = {
    "pixel shuffle": (
        [CONV, node("Reshape", ["c", "shuffle"], "r"), node("Transpose", ["r"], "t", perm=[0, 1, 4, 2, 5, 3]),
         node("Reshape", ["t", "large"])], IMAGE, ("y",),
    ),
    "depth to space": ([CONV, node("DepthToSpace", ["c"], blocksize=2)], IMAGE, ("y",)),
    "depth to space CRD": ([CONV, node("DepthToSpace", ["c"], blocksize=2, mode="CRD")], IMAGE, ("y",)),
    "space to depth": ([CONV, node("SpaceToDepth", ["c"], blocksize=2)], IMAGE, ("y",)),
    "channels last out": ([CONV, node("Transpose", ["c"], perm=[0, 2, 3, 1])], IMAGE, ("y",)),
    "one rank less": ([CONV, node("Reshape", ["c", "flat"])], IMAGE, ("y",)),
    "no batch axis": (
        [CONV, node("Transpose", ["c"], "t", perm=[0, 2, 3, 1]), node("Reshape", ["t", "rows"])], IMAGE, ("y",),
    ),
    "channels in another order": ([CONV, node("Gather", ["c", "swap"], axis=1)], IMAGE, ("y",)),
    "the input is an output": ([CONV, node("Identity", ["x"])], IMAGE, ("c", "y")),
    "the input is an output and first": ([CONV, node("Transpose", ["x"], perm=[0, 2, 3, 1])], IMAGE, ("y", "c")),
    "an output twice": ([CONV, node("Identity", ["c"]), node("Flatten", ["c"], "z")], IMAGE, ("c", "y", "z")),
    "an output that others read": ([CONV, node("Conv", ["c", "v"])], IMAGE, ("y", "c")),
    "softmax twice": ([CONV, node("Softmax", ["c"], "s", axis=1), node("Identity", ["s"])], IMAGE, ("s", "y", "c")),
    "channels last in": ([node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), node("Conv", ["t", "w"])], (1, 5, 6, 3), ("y",)),
    "channels last, any batch": (
        [node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), node("Conv", ["t", "w"])], ("N", 5, 6, 3), ("y",),
    ),
    "channels last, scaled before": (
        [node("Mul", ["x", "half"], "m"), node("Transpose", ["m"], "t", perm=[0, 3, 1, 2]), node("Conv", ["t", "w"])],
        (1, 5, 6, 3), ("y",),
    ),
    "channels last, both ends": (
        [node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]), node("Conv", ["t", "w"], "c"),
         node("Transpose", ["c"], perm=[0, 2, 3, 1]), node("Identity", ["x"], "z")], (1, 5, 6, 3), ("y", "z"),
    ),
    "flat in": ([node("Reshape", ["x", "image"], "i"), node("Conv", ["i", "w"])], (1, 48), ("y",)),
    "a vector in": ([node("Reshape", ["x", "image"], "i"), node("Conv", ["i", "w"])], (48,), ("y",)),
    "five axes in": ([node("Reshape", ["x", "image"], "i"), node("Conv", ["i", "w"])], (1, 3, 2, 2, 4), ("y",)),
    "colours the other way round": ([node("Gather", ["x", "bgr"], "g", axis=1), node("Conv", ["g", "w"])], IMAGE, ("y",)),
    "rows in and out": ([node("MatMul", ["x", "rows_w"])], (7, 6), ("y",)),
    "log softmax": ([CONV, node("LogSoftmax", ["c"], axis=1)], IMAGE, ("y",)),
    "softmax along the width": ([CONV, node("Softmax", ["c"], axis=3)], IMAGE, ("y",)),
    "log softmax of rows": (
        [CONV, node("Reshape", ["c", "boxes"], "r"), node("Transpose", ["r"], "t", perm=[0, 2, 1]),
         node("LogSoftmax", ["t"], axis=2)], IMAGE, ("y",),
    ),
    "arg max": ([CONV, node("ArgMax", ["c"], axis=1)], IMAGE, ("y",)),
    "arg max, last": ([CONV, node("ArgMax", ["c"], axis=2, keepdims=0, select_last_index=1)], IMAGE, ("y",)),
    "class and scores": (
        [CONV, node("Flatten", ["c"], "f"), node("Gemm", ["f", "fc"], "g"), node("Softmax", ["g"], "s"),
         node("ArgMax", ["s"], axis=1, keepdims=0)], IMAGE, ("y", "s", "g"),
    ),
    "two heads": (
        [CONV, node("Conv", ["c", "v"], "d", strides=[2, 2]), node("Reshape", ["c", "boxes"], "p"),
         node("Reshape", ["d", "boxes"], "q"), node("Concat", ["p", "q"], axis=2)], IMAGE, ("y",),
    ),
    "two heads, softmax and class": (
        [CONV, node("Conv", ["c", "v"], "d", strides=[2, 2]), node("Reshape", ["c", "boxes"], "p"),
         node("Reshape", ["d", "boxes"], "q"), node("Concat", ["p", "q"], "h", axis=-1), node("Softmax", ["h"], "s", axis=1),
         node("ArgMax", ["s"], axis=1, keepdims=0), node("Transpose", ["s"], "t", perm=[0, 2, 1])], IMAGE, ("t", "y"),
    ),
    "two heads along the batch": ([CONV, node("Concat", ["c", "c"], axis=0)], IMAGE, ("y",)),
    "heads of classes": (
        [CONV, node("ArgMax", ["c"], "a", axis=1), node("Conv", ["c", "v"], "d"), node("ArgMax", ["d"], "b", axis=1),
         node("Concat", ["a", "b"], axis=1)], IMAGE, ("y",),
    ),
    "the input among the heads": ([CONV, node("Concat", ["c", "x"], axis=2 - 1)], IMAGE, ("y",)),
}  # fmt: skip
CONSTANTS |= {"half": np.float32([0.5]), "rows_w": floats(6, 4)}


def case_of(name: str) -> tuple[onnx.ModelProto, Array]:
    nodes, shape, outputs = CASES[name]
    used = {constant: array for constant, array in CONSTANTS.items() if any(constant in made.input for made in nodes)}
    model = onnx_model(nodes, shape, used, outputs)
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    for output in model.graph.output:
        made = next((node for node in nodes if output.name in node.output), None)
        if made is not None and (made.op_type == "ArgMax" or kinds.get(made.input[0]) == onnx.TensorProto.INT64):
            output.type.tensor_type.elem_type = onnx.TensorProto.INT64
    x = np.random.default_rng(0).uniform(-1, 1, [size if isinstance(size, int) else 1 for size in shape])
    return model, x.astype(np.float32)


def run_original(model: onnx.ModelProto, x: Array) -> list[Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x}))


def integers_of(graph: Graph) -> QuantizedNetwork:
    return quantize(graph, calibrate(graph, None, low=-1, high=1))


@pytest.mark.parametrize("name", CASES)
def test_the_float_file_has_the_ends_and_values_of_the_original(tmp_path: Path, name: str) -> None:
    model, x = case_of(name)
    back = to_onnx(load(save(model, tmp_path)))
    assert ends_of(back) == ends_of(model)
    expected = run_original(model, x)
    for level, outputs in run_at_all_levels(back, x).items():
        for output, wanted in zip(outputs, expected, strict=True):
            assert output.dtype == wanted.dtype
            assert output.shape == wanted.shape
            # Float sums in another order.
            np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-5, err_msg=level)


@pytest.mark.parametrize("name", CASES)
def test_the_quantized_file_has_the_ends_of_the_original(tmp_path: Path, name: str) -> None:
    """The integers in front of every end are the reference's, the same at every level; read again, the network is the same."""
    model, x = case_of(name)
    network = integers_of(load(save(model, tmp_path)))
    quantized = to_qdq(network)
    assert ends_of(quantized) == ends_of(model)
    results = run_at_all_levels(quantized, x)
    for level, outputs in results.items():
        for output, wanted in zip(outputs, run_original(model, x), strict=True):
            assert output.dtype == wanted.dtype
            assert output.shape == wanted.shape
            if output.dtype != np.int64:
                signal, noise = np.square(wanted).sum(), np.square(output - wanted).sum()
                assert noise < signal / 500, level  # 27 dB
    assert_same(network, integers_of(load(save(quantized, tmp_path))))


@pytest.mark.parametrize("name", [name for name, (_, shape, _) in CASES.items() if name != "rows in and out"])
def test_what_the_array_gives_arranged_is_what_the_file_gives(tmp_path: Path, name: str) -> None:
    """The exported description says how outputs are arranged; so does the reference."""
    model, x = case_of(name)
    network = integers_of(load(save(model, tmp_path)))
    ends = network.ends
    image = ends.input.arrangement.from_file(x.reshape(1, *ends.input.arrangement.sample_shape))
    tensors = reference.run(
        network, reference.quantize_input(network, image.reshape(1, *network.tensors[network.input].shape))
    )
    theirs = run_at_all_levels(to_qdq(network), x)["ORT_DISABLE_ALL"]
    for tensor, end, wanted in zip(network.results, ends.outputs, theirs, strict=True):
        if tensor in network.outputs:
            scale, zero_point = network.tensors[tensor].scale, network.tensors[tensor].zero_point
            real = (end.arrangement.to_file(tensors[tensor]) - zero_point) * scale
            # ONNX Runtime adds in float; a step more or less.
            np.testing.assert_allclose(real.reshape(wanted.shape), wanted, atol=1.01 * scale)


def test_the_accuracy_goes_by_the_file_s_order_of_classes(tmp_path: Path) -> None:
    """Classes are rearranged at the end, or only their ArgMax is there."""
    rng = np.random.default_rng(2)
    images = rng.uniform(-1, 1, (20, 3, 4, 4)).astype(np.float32)
    constants = {
        "k": rng.normal(size=(8, 3, 4, 4)).astype(np.float32),
        "swap": CONSTANTS["swap"],
        "flat": CONSTANTS["flat"],
    }
    ways = {
        "swapped": [node("Conv", ["x", "k"], "c"), node("Gather", ["c", "swap"], "g", axis=1), node("Reshape", ["g", "flat"])],
        "class": [
            node("Conv", ["x", "k"], "c"), node("Gather", ["c", "swap"], "g", axis=1), node("Reshape", ["g", "flat"], "r"),
            node("ArgMax", ["r"], axis=1),
        ],
    }  # fmt: skip
    for way, nodes in ways.items():
        model = onnx_model(nodes, IMAGE, constants)
        if way == "class":
            model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
        scores = np.einsum("nchw,kchw->nk", images, constants["k"])[:, constants["swap"]]
        labels = scores.argmax(axis=1)
        graph = load(save(model, tmp_path))
        assert graph.classes == 8
        assert float_accuracy(graph, images, labels) == 1, way
        assert reference.accuracy(integers_of(graph), images, labels) > 0.85, way


@pytest.mark.parametrize("constant", ["shuffle", "swap"])
def test_rearrangements_are_written_as_plain_nodes(tmp_path: Path, constant: str) -> None:
    """A transposition is a Transpose between two Reshapes; only what is none is a Gather."""
    model, _ = case_of("pixel shuffle" if constant == "shuffle" else "channels in another order")
    operators = [made.op_type for made in to_onnx(load(save(model, tmp_path))).graph.node]
    assert operators == ["Conv", "Reshape", "Transpose" if constant == "shuffle" else "Gather", "Reshape"]


def test_a_network_whose_outputs_are_all_its_input(tmp_path: Path) -> None:
    model = onnx_model([CONV, node("Identity", ["x"])], IMAGE, {"w": CONSTANTS["w"]})
    with pytest.raises(SkipstoneError, match=r"its outputs are its input; there is no layer that"):
        load(save(model, tmp_path))


@pytest.mark.parametrize(
    "last", ["a.bias", "a.integers", "a.weights", "a.scale", "a.linear", "x.scale", "a.input", "y"]
)
def test_names_that_meet_our_suffixes(tmp_path: Path, last: str) -> None:
    nodes = [
        node("Conv", ["x", "w"], "p", name="a"),
        node("AveragePool", ["p"], "q", name="a.step1", kernel_shape=[2, 2]),
        node("Conv", ["q", "v"], "r", name=last),
        node("Tanh", ["r"], "a.real", name="a.before"),
    ]
    model = onnx_model(nodes, (1, 3, 6, 6), {"w": CONSTANTS["w"], "v": CONSTANTS["v"]}, ("a.real", "r"))
    graph = load(save(model, tmp_path))
    assert {"a", last} <= {layer.name for layer in graph.layers}
    network = integers_of(graph)
    x = floats(1, 3, 6, 6)
    for written in (to_onnx(graph), to_qdq(network)):
        assert ends_of(written) == ends_of(model)
        run_at_all_levels(written, x)
    assert_same(network, integers_of(load(save(to_qdq(network), tmp_path))))
