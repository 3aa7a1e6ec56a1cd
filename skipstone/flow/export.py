"""Hands a design over: Verilog, memory images, the program as JSON, the quantized network as QDQ ONNX, a testbench, a runtime.

Neither needs anything of Skipstone. The testbench loads the images through the host port, runs one input, and compares
every output and the number of cycles, in any simulator, for example ``iverilog`` or ``verilator --binary``. The runtime
(``skipstone.flow.runtime``, copied as it is) computes the outputs of new inputs from the same images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipstone.errors import SkipstoneError
from skipstone.files import json_text, write_files
from skipstone.flow import runtime
from skipstone.flow.prepare import CompressionOptions, PreparedNetwork, Progress, prepare_network, sample_inputs
from skipstone.hw.array import host_port_bits, host_selects
from skipstone.hw.design import Design
from skipstone.hw.export import TOP
from skipstone.hw.fields import width_of
from skipstone.mapper.cost import NetworkCost, cost
from skipstone.mapper.lowering.tensor_words import pack_words, write_words
from skipstone.mapper.program import Placement
from skipstone.mapper.results.program import (
    ArrangementDescription,
    EndDescription,
    FieldDescription,
    HostLayerDescription,
    HostStepDescription,
    LayerDescription,
    ProgramDescription,
    TensorDescription,
)
from skipstone.models.graph.ends import Arrangement, End, strides
from skipstone.models.onnx_io.qdq_export import to_qdq
from skipstone.models.quantization import reference
from skipstone.models.quantization.network import HostLayer, QuantizedNetwork
from skipstone.sim.build import cached_verilog
from skipstone.templates import render

MISSING = "quantized.onnx.missing.txt"
"""Says why there is no ``quantized.onnx``."""


@dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        folder: The folder of the files.
        files: Their paths in the folder.
        design: The design, with its memories.
        calibration: Where activation ranges come from.
        missing: Why there is no quantized.onnx; None where there is one.
    """

    folder: Path
    files: tuple[str, ...]
    design: Design
    calibration: str
    missing: str | None


def export_network(
    network: str,
    design: Design,
    options: CompressionOptions | None = None,
    *,
    out: Path = Path("out"),
    progress: Progress = lambda _: None,
    fit_memories: bool = False,
) -> Export:
    """Compresses a network, maps it onto a design and writes all that a simulator takes.

    Args:
        network: An ONNX file, or the name of a carried network.
        design: The array.
        options: Pruning, quantization and data. None: 8 bits, no pruning.
        out: The folder for the files, made where it is missing.
        progress: Called with a few words before each stage.
        fit_memories: Enlarge the design's memories to what the network needs.

    Raises:
        SkipstoneError: The network, the data or the options are wrong.
        MappingError: The network does not fit the design.
        OSError: A file can't be written; all hold what they held before.
    """
    prepared = prepare_network(network, options or CompressionOptions(), progress)
    progress("mapping")
    mapped = cost(prepared.compressed, design, memories="enlarged" if fit_memories else "of_design")
    progress("generating the Verilog")
    files = export_files(prepared, mapped)
    write_export(files, out)
    note = files.get(MISSING)
    return Export(
        out, tuple(files), mapped.design, prepared.compressed.calibration, None if note is None else str(note).strip()
    )


def export_files(prepared: PreparedNetwork, cost: NetworkCost) -> dict[str, str | bytes]:
    """Every file of the export by its path in the folder: text, or bytes.

    Args:
        prepared: The network in its forms.
        cost: The network mapped onto the design.

    Returns:
        The files. Where QDQ form can't hold the network, ``quantized.onnx.missing.txt`` says why.
    """
    program, design = cost.program, cost.design
    x = reference.quantize_input(prepared.compressed, sample_inputs(prepared, 1))
    tensors = reference.run(prepared.compressed, x)
    images = program.memory_images()
    files: dict[str, str | bytes] = {f"{TOP}.v": cached_verilog(design)}
    try:
        files["quantized.onnx"] = to_qdq(prepared.compressed).SerializeToString()
    except SkipstoneError as error:
        # QDQ files hold biases of 32 bits; what the array can do and they cannot is said, not left out in silence.
        files[MISSING] = f"no quantized.onnx: {error}\n"
    for name, words in images.items():
        files[f"memories/{name}.hex"] = _hex(words)
    expected, masks, addresses = [], [], []
    # What the host makes of the array's results afterwards is not the array's: its operands are compared instead.
    afterwards = [step for step in program.host_steps if step.after == len(program.layers)]
    made = {step.output.name for step in afterwards}
    compared = {
        placed.name: placed
        for placed in (*program.outputs, *(placed for step in afterwards for placed in step.inputs))
        if placed.name not in made
    }
    for placed in compared.values():
        value = tensors[placed.name][0]
        expected += pack_words(placed, design, value)
        masks += pack_words(placed, design, np.full(value.shape, -1))
        addresses += list(range(placed.base, placed.base + placed.words))
    files["memories/expected.hex"] = _hex(expected)
    files["memories/expected_mask.hex"] = _hex(masks)
    files["memories/expected_address.hex"] = _hex(addresses)
    # Before every start: what the host writes, the input or its own results.
    starts: list[list[tuple[int, int]]] = [write_words(program.input, design, x[0])]
    for after, steps in groupby(program.host_steps, key=lambda step: step.after):
        if 0 < after < len(program.layers):
            starts.append([])
        if after < len(program.layers):
            starts[-1] += [
                word for step in steps for word in write_words(step.output, design, tensors[step.output.name][0])
            ]
    for index, writes in enumerate(starts):
        files[f"memories/host{index}.hex"] = _hex([word for _, word in writes])
        files[f"memories/host{index}_address.hex"] = _hex([address for address, _ in writes])
    files["program.json"] = json_text(program_description(prepared.compressed, cost).to_dict())
    counts = {name: len(words) for name, words in images.items()}
    runs = [len(writes) for writes in starts]
    files["testbench.v"] = testbench(design, counts, runs, len(expected), cost.cycles)
    files["runtime.py"] = Path(runtime.__file__).read_text(encoding="utf-8")
    return files


def program_description(network: QuantizedNetwork, cost: NetworkCost) -> ProgramDescription:
    """The program in words: parameters, memory fields, where tensors lie, and each layer's decoded descriptor.

    Args:
        network: The quantized network.
        cost: The network mapped onto the design.
    """
    program, design = cost.program, cost.design
    ends, results = network.ends, network.results or network.outputs
    return ProgramDescription(
        network=program.network,
        calibration=network.calibration,
        design=design.to_dict(),
        host_select=host_selects(design),
        fields={
            name: tuple(FieldDescription(f.name, f.width, f.signed) for f in fields.fields)
            for name, fields in (
                ("weights", design.weight_entry),
                ("loads", design.load_entry),
                ("parameters", design.parameter),
                ("descriptors", design.descriptor),
            )
        },
        weight_values=design.products.values,
        input=_tensor(program.input, network),
        outputs=tuple(_tensor(placed, network) for placed in program.outputs),
        activation_words=program.activation_words,
        total_cycles=cost.cycles,
        layers=tuple(
            LayerDescription(
                name=layer.name,
                layers=layer.layers,
                kind=layer.kind,
                cycles=cycles.cycles,
                nnz=layer.nnz,
                macs=layer.macs,
                tile=layer.schedule.tile,
                input=_tensor(layer.input, network),
                other=_tensor(layer.other, network) if layer.other is not None else None,
                outputs=tuple(_tensor(placed, network) for placed in layer.outputs),
                descriptor=design.descriptor.unpack(layer.descriptor),
            )
            for layer, cycles in zip(program.layers, cost.layers, strict=True)
        ),
        host_steps=tuple(
            HostStepDescription(
                after_layers=step.after,
                product=dataclasses.asdict(step.product),
                inputs=tuple(_tensor(placed, network) for placed in step.inputs),
                output=_tensor(step.output, network),
            )
            for step in program.host_steps
        ),
        host_layers=tuple(_host_layer(host, network) for host in network.host_layers),
        file_input=_end(ends.input, network.input),
        file_outputs=tuple(_end(end, tensor) for tensor, end in zip(results, ends.outputs, strict=True)),
    )


def _host_layer(host: HostLayer, network: QuantizedNetwork) -> HostLayerDescription:
    seen = host.layer.seen(tuple(network.tensor_shape(name) for name in host.inputs))
    views = host.layer.views or tuple(map(Arrangement, seen))
    inputs = tuple(_end(End(name, view), name) for name, view in zip(host.inputs, views, strict=True))
    return HostLayerDescription(host.name, host.operator, host.layer.attributes, inputs)


def _end(end: End, tensor: str) -> EndDescription:
    axes, perm = strides(end.arrangement.order) or ((), ())
    places = None if axes or end.arrangement.order.size == 1 else tuple(end.arrangement.order.tolist())
    return EndDescription(end.name, tensor, ArrangementDescription(end.shape, axes, perm, places))


def _tensor(placed: Placement, network: QuantizedNetwork) -> TensorDescription:
    tensor = network.tensors[placed.name]
    return TensorDescription(
        tensor=placed.name,
        shape=(placed.channels, placed.height, placed.width),
        fold=placed.fold,
        base=placed.base,
        words_per_pixel=placed.groups,
        positions=tuple(placed.positions.tolist()),
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )


def _hex(words: NDArray[Any] | list[int]) -> str:
    return "".join(f"{int(word):x}\n" for word in words)


def testbench(design: Design, counts: dict[str, int], starts: list[int], outputs: int, cycles: int) -> str:
    """A Verilog-2001 testbench around ``skipstone_array``; prints PASS or FAIL and ends with $finish.

    Args:
        design: The array.
        counts: Words of each memory's hex file, by memory.
        starts: For every start, how many words the host writes before it.
        outputs: How many words of output are compared.
        cycles: The cycles that the model counts.
    """
    data_bits, address_bits, select_bits = host_port_bits(design)
    selects = host_selects(design)
    starts_files = [f"host{index}{kind}" for index in range(len(starts)) for kind in ("", "_address")]
    text = render(
        "flow/templates/testbench.v.j2",
        top=TOP,
        data_bits=data_bits,
        address_bits=address_bits,
        select_bits=select_bits,
        word_bits=design.activation_word_bits,
        layer_bits=width_of(design.layers + 1),
        images=[(name, selects[name], count) for name, count in counts.items()],
        starts=starts,
        files=[*counts, *starts_files, "expected", "expected_mask", "expected_address"],
        longest=max([*counts.values(), *starts, 1]),
        longest_start=max(*starts, 1),
        outputs=outputs,
        cycles=cycles,
    )
    return f"{text}\n"


def write_export(files: dict[str, str | bytes], folder: Path) -> None:
    """Writes all files of an export, or none. What an earlier export left there and this one does not write is removed.

    Args:
        files: Text or bytes by path in the folder.
        folder: The folder, made where it is missing.

    Raises:
        OSError: A file can't be written; all hold what they held before.
    """
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_files({folder / name: content for name, content in files.items()})
    for pattern in ("memories/*.hex", "quantized.onnx*"):
        for stale in folder.glob(pattern):
            if stale.relative_to(folder).as_posix() not in files:
                stale.unlink()
