"""Operators registered by users: what a converter can do, who may register which operator, and messages about mistakes in
foreign code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import skipstone
from skipstone.errors import SkipstoneError
from skipstone.models.graph.function import Function, Step
from skipstone.models.graph.graph import Graph
from skipstone.models.graph.layers import Add, Affine, ClampLayer, Conv, Layer, MaxPool, Pointwise
from skipstone.models.graph.to_onnx import to_onnx
from skipstone.models.onnx_io import registry
from skipstone.models.onnx_io.nodes import Constant
from skipstone.models.onnx_io.reader import load
from skipstone.models.onnx_io.registry import OnnxNode, UnsupportedError, View, load_operators, register_operator
from tests.models.builders import floats, node, onnx_model, run_ort, save

IMAGE = (1, 4, 9, 8)
X = np.random.default_rng(0).normal(size=IMAGE).astype(np.float32)


@pytest.fixture(autouse=True)
def _fresh_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Removes what a test registers when it ends."""
    load_operators()
    monkeypatch.setattr(
        registry, "_registered", {key: list(operators) for key, operators in registry._registered.items()}
    )
    monkeypatch.setattr(registry, "_plugins_loaded", set(registry._plugins_loaded))
    return


def custom_model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray] | None = None, outputs: tuple[str, ...] = ("y",)
) -> onnx.ModelProto:
    model = onnx_model(nodes, IMAGE, constants, outputs)
    model.opset_import.append(helper.make_opsetid("My", 3))
    return model


def mine(inputs: list[str], output: str = "y", op_type: str = "Op", **attributes: object) -> onnx.NodeProto:
    return node(op_type, inputs, output, name="n", domain="My", **attributes)


def imported(folder: Path, *nodes: onnx.NodeProto, **constants: np.ndarray) -> Graph:
    return load(save(custom_model(list(nodes), constants), folder))


def test_public_names() -> None:
    assert skipstone.register_operator is register_operator
    assert (skipstone.OnnxNode, skipstone.View, skipstone.UnsupportedError) == (OnnxNode, View, UnsupportedError)


def test_what_a_converter_can_read(tmp_path: Path) -> None:
    """Attributes, the version of the operator's own domain, constants, inputs that are left out, and the node's name."""
    seen: list[object] = []

    @register_operator("Op", domain="My")
    def convert(node: OnnxNode) -> View:
        seen.extend([node.attributes["a"], node.opset, node.inputs, node.constant(2).tolist(), node.name, node.op_type])
        seen.extend([node.optional_constant(1), node.optional_constant(9), node.is_constant(0), node.view().shape])
        return node.view()

    imported(tmp_path, mine(["x", "", "k"], "z", a=7), node("Relu", ["z"]), k=np.float32([5]))
    assert seen == [7, 3, ("x", "", "k"), [5.0], "n", "Op", None, None, False, (4, 9, 8)]


def affine_clamp(node: OnnxNode) -> View:
    """3x + 1, not below 0."""
    three = np.full(4, 3, np.float32)
    return node.clamp(node.affine(node.view(), three, three / 3), (0.0, np.inf))


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        # Both become part of the convolution, where no other node reads it.
        ([node("Conv", ["x", "w"], "c"), mine(["c"])], [Conv]),
        ([node("Conv", ["x", "w"], "c"), mine(["c"], "d"), node("Add", ["c", "d"])], [Conv, Affine, Add]),
        # A clamp before bars the factor, not the clamp after it.
        ([node("Conv", ["x", "w"], "c"), node("Relu", ["c"], "r"), mine(["r"])], [Conv, Affine]),
        ([mine(["x"])], [Affine]),
    ],
)
def test_affine_and_clamp(tmp_path: Path, nodes: list[onnx.NodeProto], kinds: list[type[Layer]]) -> None:
    register_operator("Op", domain="My")(affine_clamp)
    constants = {"w": floats(4, 4, 1, 1)} if "w" in nodes[0].input else {}
    graph = imported(tmp_path, *nodes, **constants)
    assert [type(layer) for layer in graph.order] == kinds

    def float_nodes(made: onnx.NodeProto) -> list[onnx.NodeProto]:
        source, result = made.input[0], made.output[0]
        if made.domain != "My":
            return [made]
        return [node("Mul", [source, "three"], "m"), node("Add", ["m", "ones"], "s"), node("Relu", ["s"], result)]

    constants |= {"three": np.float32(3), "ones": np.float32(1)}
    plain = onnx_model([flat for made in nodes for flat in float_nodes(made)], IMAGE, constants)
    np.testing.assert_allclose(run_ort(to_onnx(graph), X), run_ort(plain, X), atol=1e-5)


def test_several_layers(tmp_path: Path) -> None:
    """x + tanh(max(x, 0)). The layers' names are free. The node reads its input twice, so a separate layer clamps it; the last
    output absorbs the Relu after it."""

    @register_operator("Op", domain="My")
    def convert(node: OnnxNode) -> View:
        view = node.view()
        positive = node.add(ClampLayer(name=node.name, inputs=(view.tensor,), clamp=(0.0, np.inf)))
        curve = Pointwise(name=node.name, inputs=(positive.tensor,), function=Function((Step("Tanh"),)))
        return node.add(Add(name=node.name, inputs=(view.tensor, node.add(curve).tensor)))

    graph = imported(tmp_path, mine(["x"], "z"), node("Relu", ["z"]))
    assert [layer.name for layer in graph.order] == ["n", "table1", "add1"]
    assert graph.layers[-1].clamp == (0.0, np.inf)
    expected = np.maximum(X + np.tanh(np.maximum(X, 0)), 0)
    np.testing.assert_allclose(run_ort(to_onnx(graph), X), expected, atol=1e-6)


def test_a_tensor_that_the_node_still_reads_absorbs_nothing(tmp_path: Path) -> None:
    """max(t, 0) + t with t = x + 1: the affine layer must not be clamped, because the sum reads it too."""

    @register_operator("Op", domain="My")
    def convert(node: OnnxNode) -> View:
        scale = bias = np.ones(4, np.float32)
        shifted = node.affine(node.view(), scale, bias)
        twice = node.add(Add(name=node.name, inputs=(shifted.tensor, shifted.tensor)))
        clamped = node.clamp(shifted, (0.0, np.inf))
        return node.add(Add(name=node.name, inputs=(twice.tensor, clamped.tensor)))

    graph = imported(tmp_path, mine(["x"]))
    np.testing.assert_allclose(run_ort(to_onnx(graph), X), 2 * (X + 1) + np.maximum(X + 1, 0), atol=1e-6)


def test_rearranging_and_constants(tmp_path: Path) -> None:
    """Channels in reverse, times a constant that a node without inputs gives."""

    @register_operator("Reverse", domain="My")
    def reverse(node: OnnxNode) -> View:
        view = node.view()
        return view.rearranged(view.index[:, ::-1])

    @register_operator("Numbers", domain="My", keeps_shape=False)
    def numbers(node: OnnxNode) -> Constant:
        return np.float32([1, 2, 3, 4]).reshape(4, 1, 1)

    model = custom_model(
        [mine(["x"], "r", "Reverse"), mine([], "k", "Numbers"), node("Mul", ["r", "k"], "m"), node("Relu", ["m"], "y")]
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, IMAGE))
    graph = load(save(model, tmp_path))
    (affine,) = graph.layers
    assert isinstance(affine, Affine)
    assert affine.scale.tolist() == [4, 3, 2, 1]


def test_shapes_are_inferred_through_operators(tmp_path: Path) -> None:
    """Exporters compute sizes of a Reshape from a tensor's shape, which ONNX must know behind a registered operator."""
    register_operator("Op", domain="My")(affine_clamp)
    nodes = [
        mine(["x"], "a"),
        node("Shape", ["a"], "s"),
        node("Slice", ["s", "zero", "one"], "batch"),
        node("Concat", ["batch", "rest"], "sizes", axis=0),
        node("Reshape", ["a", "sizes"], "f"),
        node("Gemm", ["f", "w"], "y"),
    ]
    constants = {name: np.array([value], np.int64) for name, value in (("zero", 0), ("one", 1), ("rest", -1))}
    graph = imported(tmp_path, *nodes, **constants, w=floats(288, 5))
    assert [layer.kind for layer in graph.order] == ["affine", "gemm"]


def test_another_shape(tmp_path: Path) -> None:
    """An operator that halves an image, before a layer whose weights only fit the half."""

    @register_operator("Half", domain="My", keeps_shape=False)
    def half(node: OnnxNode) -> View:
        return node.add(MaxPool(name=node.name, inputs=(node.image().tensor,), kernel=(2, 2), stride=(2, 2)))

    model = custom_model(
        [mine(["x"], "h", "Half"), node("Flatten", ["h"], "f"), node("Gemm", ["f", "w"], "y")], {"w": floats(64, 5)}
    )
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5]))
    assert load(save(model, tmp_path)).shapes["n"] == (4, 4, 4)


def test_refusals_are_collected_with_ours(tmp_path: Path) -> None:
    @register_operator("Op", domain="My")
    def convert(node: OnnxNode) -> View:
        raise UnsupportedError("its moon is full")

    with pytest.raises(SkipstoneError) as error:
        imported(tmp_path, mine(["x"], "a"), node("LRN", ["x"], "b", name="l", size=3), node("Add", ["a", "b"]))
    assert str(error.value) == (
        "network.onnx: the array can't do My.Op (node 'n': its moon is full), LRN (node 'l'); cut the network before them, "
        "replace them by supported operators, or say what they become (see 'Add an operator' in the manual)"
    )


def test_nodes_that_nobody_registered_are_named_with_all_others(tmp_path: Path) -> None:
    """Before and behind them; of what is behind, operators that we lack, and no reasons that may not hold."""
    nodes = [
        node("Sub", ["x", "x"], "s", name="difference"),
        mine(["s"], "a"),
        mine(["a"], "b", "Other"),
        node("LRN", ["b"], "l", name="l", size=3),
        node("Sub", ["l", "l"], name="another difference"),
    ]
    with pytest.raises(SkipstoneError) as error:
        imported(tmp_path, *nodes)
    assert str(error.value) == (
        "network.onnx: the array can't do Sub (node 'difference': both operands are activations), My.Op (node 'n'), "
        "My.Other (node 'n'), LRN (node 'l'), Sub (node 'another difference': both operands are activations); cut the "
        "network before them, replace them by supported operators, or say what they become (see 'Add an operator' in the "
        "manual)"
    )


def test_what_does_not_fit_behind_a_node_that_nobody_registered_is_no_fault_of_the_file(tmp_path: Path) -> None:
    """``My.Op`` may change the shape: that the sum's operands don't fit without knowing how says nothing."""
    nodes = [
        mine(["x"], "a"),
        node("MaxPool", ["x"], "b", kernel_shape=[2, 2], strides=[2, 2]),
        node("Add", ["a", "b"], "c"),
        node("LRN", ["c"], size=3),
    ]
    with pytest.raises(SkipstoneError, match=r"can't do My\.Op \(node 'n'\); cut"):
        imported(tmp_path, *nodes)


def test_a_node_that_nobody_registered_and_that_nothing_reads(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match=r"can't do My\.Op \(node 'n'\); cut"):
        imported(tmp_path, mine(["x"], "a"), node("Relu", ["x"]))


def test_an_operator_of_another_domain_is_not_onnx_s(tmp_path: Path) -> None:
    """My.Tanh is what its converter makes of it, even between pointwise functions that are folded."""

    @register_operator("Tanh", domain="My")
    def convert(node: OnnxNode) -> View:
        return node.clamp(node.view(), (-1.0, 1.0))

    graph = imported(tmp_path, node("Sin", ["x"], "a"), mine(["a"], "b", "Tanh"), node("Cos", ["b"]))
    assert [layer.kind for layer in graph.order] == ["table", "table"]
    np.testing.assert_allclose(run_ort(to_onnx(graph), X), np.cos(np.clip(np.sin(X), -1, 1)), atol=1e-6)


def test_an_operator_of_onnx_that_we_lack(tmp_path: Path) -> None:
    @register_operator("Mean")
    def convert(node: OnnxNode) -> View:
        return node.view()

    assert imported(tmp_path, node("Mean", ["x"], "a"), node("Relu", ["a"])).layers


def test_a_converter_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    @register_operator("Hardmax")
    def convert(node: OnnxNode) -> View:
        return node.view()

    with pytest.raises(SkipstoneError, match="differ from tensor 'a' on; check the converter of Hardmax in tests"):
        imported(tmp_path, node("Hardmax", ["x"], "a"), node("Relu", ["a"]))


class Unknown(Layer):
    @property
    def kind(self) -> str:
        return "unknown"


def returns_nothing(node: OnnxNode) -> View:
    return None  # type: ignore[return-value]


def fails(node: OnnxNode) -> View:
    return node.attributes["missing"]  # type: ignore[no-any-return]


def adds_a_layer_of_its_own(node: OnnxNode) -> View:
    return node.add(Unknown(name="u", inputs=(node.view().tensor,)))


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (returns_nothing, f"My.Op (node 'n'): the converter of My.Op in {__name__} must return a View or an array, not NoneType"),
        (fails, f"My.Op (node 'n'): the converter of My.Op in {__name__} failed: KeyError: 'missing'"),
        (
            adds_a_layer_of_its_own,
            "My.Op (node 'n') becomes a layer of class Unknown; the layers of skipstone.models.graph.layers are all that "
            "there are",
        ),
    ],
)  # fmt: skip
def test_mistakes_of_a_converter(tmp_path: Path, convert: registry.Converter, text: str) -> None:
    register_operator("Op", domain="My")(convert)
    with pytest.raises(SkipstoneError) as error:
        imported(tmp_path, mine(["x"]))
    assert str(error.value) == text


@pytest.mark.parametrize(("position", "text"), [(1, "its input 2 is left out"), (0, "its input 1 is not a constant")])
def test_inputs_that_are_no_constants_are_refused(tmp_path: Path, position: int, text: str) -> None:
    @register_operator("Op", domain="My")
    def convert(node: OnnxNode) -> View:
        node.constant(position)
        return node.view()

    with pytest.raises(SkipstoneError, match=text):
        imported(tmp_path, mine(["x"]))


def test_registered_twice(tmp_path: Path) -> None:
    register_operator("Conv")(affine_clamp)
    with pytest.raises(SkipstoneError) as error:
        imported(tmp_path, node("Relu", ["x"]))
    assert str(error.value) == (
        f"the operator Conv is registered twice, by skipstone.models.onnx_io.operators and {__name__}; remove one of them"
    )


def test_a_pointwise_operator_is_registered_already(tmp_path: Path) -> None:
    register_operator("Mish")(affine_clamp)
    with pytest.raises(
        SkipstoneError, match=r"^the operator Mish is registered twice, by skipstone\.models\.onnx_io\.point"
    ):
        load_operators()


def test_the_same_function_replaces_its_registration(tmp_path: Path) -> None:
    """A notebook's cell may run twice: the later definition counts."""
    for clamp in ((0.0, 1.0), (0.0, 2.0)):

        @register_operator("Op", domain="My")
        def convert(node: OnnxNode, bounds: tuple[float, float] = clamp) -> View:
            return node.clamp(node.view(), bounds)

    (layer,) = imported(tmp_path, mine(["x"])).layers
    assert layer.clamp == (0.0, 2.0)


def test_names_that_can_not_be_registered() -> None:
    with pytest.raises(SkipstoneError, match=r"^ONNX has no operator 'Fancy'; register it in a domain of your own$"):
        register_operator("Fancy")
    with pytest.raises(SkipstoneError, match=r"^register_operator needs the operator's type$"):
        register_operator()


PLUGIN = """
from skipstone import register_operator

@register_operator("Op", domain="My")
def convert(node):
    return node.view()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package 'moon-operators' whose entry point names the module ``moon``, which is still missing."""
    folder = tmp_path / "site"
    described = folder / "moon_operators-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: moon-operators\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[skipstone.operators]\nfull = moon\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "moon", raising=False)
    assert "moon" in [point.value for point in metadata.entry_points(group=registry.ENTRY_POINTS)]
    return folder


def test_an_installed_package(package: Path, tmp_path: Path) -> None:
    (package / "moon.py").write_text(PLUGIN)
    assert imported(tmp_path, mine(["x"], "a"), node("Relu", ["a"])).layers
    assert load_operators()["My", "Op"].source == "moon"


def test_a_broken_package(package: Path, tmp_path: Path) -> None:
    """One message, the same at the next try, though the module registered an operator before it failed."""
    (package / "moon.py").write_text(f"{PLUGIN}\nimport not_there")
    for _ in range(2):
        with pytest.raises(SkipstoneError) as error:
            imported(tmp_path, node("Relu", ["x"]))
        assert str(error.value) == (
            "the package 'moon-operators' adds operators to Skipstone (skipstone.operators: full = moon), but they can't be "
            "loaded: ModuleNotFoundError: No module named 'not_there'; mend or uninstall it"
        )
    (package / "moon.py").write_text(f"{PLUGIN}\n")
    assert load_operators()["My", "Op"].source == "moon"
