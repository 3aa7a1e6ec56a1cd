"""The library exports and reports what the commands do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from skipstone import CompressionOptions, SkipstoneError, export_network, load_design
from skipstone.flow.evaluate import evaluate
from skipstone.flow.prepare import prepare_network, sample_inputs
from skipstone.flow.report import write_network_report
from skipstone.flow.runtime import Network
from skipstone.mapper.results.program import EndDescription, ProgramDescription
from skipstone.models.quantization import reference
from tests.models.builders import Array, floats, node, onnx_model, save
from tests.models.onnx_runtimes import open_files, run_at_all_levels


def test_a_carried_network(tmp_path: Path) -> None:
    export = export_network("resnet8_fashion", load_design("edge"), out=tmp_path / "e", fit_memories=True)
    written = {path.relative_to(export.folder).as_posix() for path in export.folder.rglob("*") if path.is_file()}
    assert written == set(export.files) >= {"program.json", "skipstone_array.v", "testbench.v", "quantized.onnx"}
    assert export.missing is None
    assert open_files(export.folder) == ["quantized.onnx"]


def test_the_description_says_how_the_file_has_inputs_and_outputs(tmp_path: Path) -> None:
    """Whoever reads the array's outputs by ``program.json`` gets what ``quantized.onnx`` gives."""
    nodes = [
        node("Transpose", ["x"], "t", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w"], "c", name="c"),
        node("DepthToSpace", ["c"], "d", blocksize=2),
        node("Reshape", ["c", "rows"], "r"),
        node("Gather", ["c", "order"], "g", axis=1),
        node("Concat", ["r", "r"], "j", axis=1),
        node("ArgMax", ["j"], "a", axis=2, keepdims=0),
    ]
    constants = {"w": floats(8, 3, 3, 3) / 5, "rows": np.array([1, 4, -1]), "order": np.array([1, 0, 5, 4, 3, 2, 7, 6])}
    model = onnx_model(nodes, (1, 6, 8, 3), constants, ("d", "g", "a", "j", "x_again"))
    model.graph.node.append(node("Identity", ["x"], "x_again"))
    model.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    path = save(model, tmp_path)
    options = CompressionOptions(input_range=(-1, 1))
    export = export_network(str(path), load_design("tiny"), options, out=tmp_path / "e", fit_memories=True)
    description = ProgramDescription.read(export.folder / "program.json")
    prepared = prepare_network(str(path), options)
    network = prepared.compressed
    ours = sample_inputs(prepared, 1)
    tensors = {
        name: ((values - network.tensors[name].zero_point) * network.tensors[name].scale).astype(np.float32)[0]
        for name, values in reference.run(network, reference.quantize_input(network, ours)).items()
    }
    tensors[network.input] = ours[0]

    def arranged(end: EndDescription) -> Array:
        flat, how = tensors[end.tensor].ravel(), end.arrangement
        moved = flat[list(how.places)] if how.places is not None else flat.reshape(how.axes).transpose(how.perm)
        return moved.reshape(how.shape)

    for host in description.host_layers:
        attributes = {name: value for name, value in host.attributes.items() if name != "select_last_index"}
        inputs = [arranged(end) for end in host.inputs]
        if host.operator == "Concat":
            tensors[host.name] = np.concatenate(inputs, attributes["axis"])
        else:
            assert host.operator == "ArgMax"
            tensors[host.name] = inputs[0].argmax(attributes["axis"])
    assert [end.name for end in description.file_outputs] == ["d", "g", "a", "j", "x_again"]
    outputs = Network.load(export.folder)(arranged(description.file_input)[0])
    for end, values in zip(description.file_outputs, outputs, strict=True):
        np.testing.assert_allclose(values, arranged(end)[0], rtol=1e-6, err_msg=end.name)
    # The file's own input is NHWC; the description says where its elements lie in the array's.
    for level, theirs in run_at_all_levels(export.folder / "quantized.onnx", arranged(description.file_input)).items():
        for end, wanted in zip(description.file_outputs, theirs, strict=True):
            got = arranged(end)
            assert got.shape == wanted.shape, (level, end.name)
            step = 1.01 * network.tensors["c"].scale
            assert end.name == "a" or np.abs(got - wanted).max() <= step, (level, end.name)


def test_nothing_is_written_for_no_network(tmp_path: Path) -> None:
    with pytest.raises(SkipstoneError, match="resnet0"):
        export_network("resnet0", load_design("edge"), out=tmp_path / "e")
    assert not (tmp_path / "e").exists()


def test_a_report_has_the_schedule(tmp_path: Path) -> None:
    evaluated = evaluate("resnet8_fashion", load_design("edge"))
    write_network_report(evaluated.result, evaluated.cost.program, tmp_path / "report.html")
    assert (tmp_path / "report_data" / "schedule.csv").is_file()
