"""Runs an exported network on new inputs: every integer is the array's, bit for bit. Needs NumPy and nothing else.

    python runtime.py input.npy output.npy

Lies in the folder that ``skipstone export`` wrote and reads what the array reads: the memory images, whose fields
``program.json`` names. For each layer it walks the load list and the rows' lists of nonzero weights as their descriptor says,
multiplies, requantizes and writes activation memory. The steps between runs of the array are those of ``host_steps``, and the
layers after it those of ``host_layers``. It counts no cycles.

In Python::

    network = Network.load(Path("export"))
    (scores,) = network(images)  # floats, N x the input's shape in the network's file
    tensors = network.run(network.quantize(image))  # integers of every tensor, by name
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float32]

CHUNK_VALUES = 1 << 22
"""Activations that the windows of the tiles computed at once may hold."""


class InputError(Exception):
    """The input, or the exported folder, can't be used; the message says why."""


class Network:
    """An exported network.

    Args:
        program: what ``program.json`` holds.
        images: the words of every memory but the activations', by its name.
    """

    def __init__(self, program: Mapping[str, Any], images: Mapping[str, Sequence[int]]) -> None:
        self.program = program
        self._memories = Memories(program, images)

    @classmethod
    def load(cls, folder: Path) -> Network:
        """The network in the folder that ``skipstone export`` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        path = folder / "program.json"
        try:
            program = json.loads(path.read_text(encoding="utf-8"))
            images = {}
            for name in program["host_select"]:
                path = folder / "memories" / f"{name}.hex"
                # A design may have tables or codebooks that the network does not use.
                if name not in ("activations", "tables", "codebooks") or path.exists():
                    images[name] = [int(line, 16) for line in path.read_text(encoding="ascii").split()]
            return cls(program, images)
        except FileNotFoundError as error:
            raise InputError(f"{path} is missing; runtime.py lies in the folder that skipstone export wrote") from error
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise InputError(f"{path} can't be used: {type(error).__name__}: {error}") from error

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one image as the network's file has it, without a batch of 1."""
        return _of_one(self.program["file_input"]["arrangement"]["shape"])

    def __call__(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The network's outputs for float images.

        Args:
            images: N x the input's shape in the network's file, or one image without N.

        Returns:
            One array for each of the file's outputs, in its order and shape, with N where ``images`` has it.

        Raises:
            InputError: the images have another shape, or values that are no finite numbers.
        """
        shape = self.input_shape
        if images.dtype.kind not in "fiu":
            raise InputError(f"the input holds {images.dtype}, not numbers")
        if images.shape != shape and images.shape[1:] != shape:
            expected = " x ".join(map(str, shape))
            raise InputError(f"the input has shape {images.shape}; the network's is {expected}, or N x {expected}")
        if not images.size:
            raise InputError("the input holds no images")
        if not np.isfinite(images).all():
            raise InputError("the input has values that are no finite numbers")
        several = images.ndim > len(shape)
        results = [self._outputs(image) for image in images.reshape(-1, *shape)]
        return [np.stack(values) for values in zip(*results, strict=True)] if several else results[0]

    def _outputs(self, image: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs for one image, as the network's file has both."""
        tensor = self.program["input"]
        places = _seen(np.arange(image.size), self.program["file_input"]["arrangement"])
        x = image.astype(np.float32).reshape(-1)[np.argsort(places.reshape(-1))]
        tensors = self.run(self.quantize(x.reshape(tensor["shape"])))
        values = {tensor["tensor"]: x} | {
            placed["tensor"]: dequantize(tensors[placed["tensor"]], placed["scale"], placed["zero_point"])
            for placed in self.program["outputs"]
        }
        for layer in self.program["host_layers"]:
            inputs = [_seen(values[end["tensor"]], end["arrangement"]) for end in layer["inputs"]]
            values[layer["name"]] = HOST_OPERATORS[layer["operator"]](inputs, layer["attributes"])
        ends = self.program["file_outputs"]
        return [
            _seen(values[end["tensor"]], end["arrangement"]).reshape(_of_one(end["arrangement"]["shape"]))
            for end in ends
        ]

    def quantize(self, image: NDArray[Any]) -> Integers:
        """The input's integers: ``rint(x / scale) + zero_point``, clipped, in float32 as ONNX does it."""
        tensor, limit = self.program["input"], 1 << (self.program["design"]["activation_bits"] - 1)
        steps = np.rint(image.astype(np.float32) / np.float32(tensor["scale"]))
        integers: Integers = np.clip(steps + tensor["zero_point"], -limit, limit - 1).astype(np.int64)
        return integers

    def run(self, x: Integers) -> dict[str, Integers]:
        """The integers of every tensor in memory, by name.

        Args:
            x: the input's integers, channels x height x width.
        """
        program = self.program
        activations = Activations(program)
        activations.write(program["input"], x)
        tensors = {program["input"]["tensor"]: x}
        self._host_steps(0, activations, tensors)
        for number, layer in enumerate(self._memories.layers()):
            activations.words = run_layer(self._memories, layer, activations.words)
            for placed in program["layers"][number]["outputs"]:
                tensors[placed["tensor"]] = activations.read(placed)
            self._host_steps(number + 1, activations, tensors)
        for placed in program["outputs"]:
            if placed["tensor"] not in tensors:
                tensors[placed["tensor"]] = activations.read(placed)
        return tensors

    def _host_steps(self, after: int, activations: Activations, tensors: dict[str, Integers]) -> None:
        """What the host computes after ``after`` layers of the array."""
        for step in self.program["host_steps"]:
            if step["after_layers"] == after:
                a, b = (
                    tensors[placed["tensor"]] if placed["tensor"] in tensors else activations.read(placed)
                    for placed in step["inputs"]
                )
                result = multiply(step["product"], a, b)
                tensors[step["output"]["tensor"]] = result
                activations.write(step["output"], result)


class Activations:
    """Activation memory.

    Attributes:
        words: words x activations of a word.
    """

    def __init__(self, program: Mapping[str, Any]) -> None:
        self.words: Integers = np.zeros((program["activation_words"], program["design"]["load_width"]), np.int64)

    def read(self, placed: Mapping[str, Any]) -> Integers:
        """The tensor (channels x height x width) that lies where ``program.json`` says."""
        channels, height, width = placed["shape"]
        fy, fx = placed["fold"]
        pixels = (height // fy) * (width // fx)
        words = self.words[placed["base"] :][: pixels * placed["words_per_pixel"]].reshape(pixels, -1)
        split = words[:, placed["positions"]].reshape(height // fy, width // fx, channels, fy, fx)
        return split.transpose(2, 0, 3, 1, 4).reshape(channels, height, width)

    def write(self, placed: Mapping[str, Any], values: Integers) -> None:
        """Writes a tensor; the other activations of its words become 0."""
        channels, height, width = placed["shape"]
        fy, fx = placed["fold"]
        split = values.reshape(channels, height // fy, fy, width // fx, fx).transpose(1, 3, 0, 2, 4)
        pixels, load_width = (height // fy) * (width // fx), self.words.shape[1]
        lanes = np.zeros((pixels, placed["words_per_pixel"] * load_width), np.int64)
        lanes[:, placed["positions"]] = split.reshape(pixels, -1)
        own = np.unique(np.array(placed["positions"]) // load_width)
        addresses = placed["base"] + np.arange(pixels)[:, None] * placed["words_per_pixel"] + own
        self.words[addresses] = lanes.reshape(pixels, -1, load_width)[:, own]


# The program's memories ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """A layer in the memories.

    Attributes:
        descriptor: the fields of its descriptor.
        first_pass: passes of all layers before it.
        first_parameter: words of requantization parameters of all layers before it.
    """

    descriptor: dict[str, int]
    first_pass: int
    first_parameter: int

    @property
    def passes(self) -> int:
        """How often the layer's tiles are walked; each pass computes other channels."""
        return self.descriptor["passes"] + 1

    @property
    def tiles(self) -> int:
        """Tiles of a pass, row by row."""
        return (self.descriptor["tiles_y"] + 1) * (self.descriptor["tiles_x"] + 1)

    @property
    def steps(self) -> int:
        """Parameter words, each a step of the drain, of a pixel in a pass."""
        return self.descriptor["steps"] + 1


class Memories:
    """The decoded images.

    Attributes:
        design: the design's parameters.
        slots: words of a window.
        accumulators: of a row in one bank, rounded up to whole steps of the drain.
        loads: the load list of each pass, by field.
        rows: for each row the list of each pass, by field.
        parameters: requantization constants by field (words x lanes).
        tables: the tables, one behind the other.
    """

    def __init__(self, program: Mapping[str, Any], images: Mapping[str, Sequence[int]]) -> None:
        design, fields = program["design"], program["fields"]
        self.design: dict[str, Any] = design
        self.slots = design["window_depth"] // design["load_width"]
        lanes, rows = design["requantizer_lanes"], design["rows"]
        self.accumulators_per_step = max(1, min(lanes // rows, design["accumulators"]))
        self.steps_per_accumulator = max(1, -(-rows // lanes))
        self.accumulators = -(-design["accumulators"] // self.accumulators_per_step) * self.accumulators_per_step
        self.loads = _lists(decode(images["loads"], fields["loads"]), "last_of_tile")
        self.rows = [_lists(decode(images[f"weights{row}"], fields["weights"]), "last") for row in range(rows)]
        self.descriptors = decode(images["descriptors"], fields["descriptors"])
        bits = sum(field["bits"] for field in fields["parameters"])
        lane_words = [
            word >> (lane * bits) & ((1 << bits) - 1) for word in images["parameters"] for lane in range(lanes)
        ]
        self.parameters = {
            name: values.reshape(-1, lanes) for name, values in decode(lane_words, fields["parameters"]).items()
        }
        self.tables = _signed(images.get("tables", ()), design["activation_bits"])
        self.weight_values = program["weight_values"]
        self.codebooks = _signed(images.get("codebooks", ()), design["weight_bits"])

    def layers(self) -> Iterator[Layer]:
        """The layers in the order in which the array runs them."""
        passes = parameters = 0
        for number in range(len(self.descriptors["steps"])):
            layer = Layer({name: int(values[number]) for name, values in self.descriptors.items()}, passes, parameters)
            yield layer
            passes += layer.passes
            parameters += layer.passes * layer.steps

    def weights(self, row: int, number: int, layer: Layer) -> tuple[Integers, Integers, Integers]:
        """The nonzeros of a row in pass ``number`` of the program: accumulator, activation (counted over the lanes of all
        windows of a tile), and weight."""
        entries, design = self.rows[row][number], self.design
        leave = entries["leave"]
        window = np.cumsum(leave) - leave
        index_bits = [_index_bits(design["load_width"]), _index_bits(self.slots), _index_bits(design["accumulators"])]
        if "delta" in entries:
            # Each delta is the distance from the entry before in the window, less one.
            index = np.cumsum(entries["delta"] + 1)
            before = np.concatenate([[0], index[:-1]])
            starts = np.concatenate([[True], leave[:-1] > 0])
            index = index - 1 - before[np.maximum.accumulate(np.where(starts, np.arange(len(index)), 0))]
            lane, slot, accumulator = (
                index >> shift & ((1 << bits) - 1)
                for bits, shift in zip(index_bits, (0, index_bits[0], sum(index_bits[:2])), strict=True)
            )
        else:
            lane, slot, accumulator = entries["lane"], entries["slot"], entries["accumulator"]
        code = entries["value"]
        if len(self.codebooks):
            weight = self.codebooks[layer.descriptor["codebook"] * design["codebook_entries"] + code]
        else:
            weight = code if self.weight_values is None else np.array(self.weight_values, np.int64)[code]
        useful = entries["filler"] == 0 if "filler" in entries else code != 0
        activation = (window * self.slots + slot) * design["load_width"] + lane
        return accumulator[useful], activation[useful], weight[useful]


def decode(words: Sequence[int], fields: Sequence[Mapping[str, Any]]) -> dict[str, Integers]:
    """The fields of words, by name; the first field has the lowest bits."""
    narrow = sum(field["bits"] for field in fields) < 64
    rest: NDArray[Any] = np.array(words, np.int64 if narrow else object)
    values = {}
    for field in fields:
        value = (rest & ((1 << field["bits"]) - 1)).astype(np.int64)
        values[field["name"]] = value - (value >> (field["bits"] - 1) << field["bits"]) if field["signed"] else value
        rest = rest >> field["bits"]
    return values


def _signed(words: Sequence[int], bits: int) -> Integers:
    values = np.array(words, np.int64)
    return values - (values >> (bits - 1) << bits)


def _index_bits(count: int) -> int:
    """Bits of an index into ``count`` things."""
    return max(1, (count - 1).bit_length())


def _lists(entries: dict[str, Integers], last: str) -> list[dict[str, Integers]]:
    """The lists that lie one behind the other, each with its ``last`` entry marked."""
    stops = [0, *(np.flatnonzero(entries[last]) + 1).tolist()]
    return [{name: values[start:stop] for name, values in entries.items()} for start, stop in pairwise(stops)]


# The array -----------------------------------------------------------------------------------------------------------


def run_layer(memories: Memories, layer: Layer, before: Integers) -> Integers:
    """Activation memory after a layer, from that before it."""
    after = before.copy()
    for number in range(layer.passes):
        source, region = _window_places(memories, layer, number)
        matrix, nonzeros = _weights_of_pass(memories, layer, number, source.shape[1])
        columns, places = source.shape
        chunk = max(1, CHUNK_VALUES // (columns * places * before.shape[1]))
        for start in range(0, layer.tiles, chunk):
            tiles = np.arange(start, min(start + chunk, layer.tiles))
            tile_y, tile_x = np.divmod(tiles, layer.descriptor["tiles_x"] + 1)
            words = _load(memories, layer, region, before, tile_y, tile_x)
            windows = words[:, source].reshape(len(words) * columns, -1)
            if layer.descriptor["maximum"]:
                accumulators = _maxima(windows, nonzeros, len(matrix))
            else:
                accumulators = np.rint(windows.astype(np.float64) @ matrix.T).astype(np.int64)
            _drain(memories, layer, number, accumulators, tile_y, tile_x, before, after)
    return after


def _window_places(memories: Memories, layer: Layer, number: int) -> tuple[Integers, dict[str, Integers]]:
    """For each column and each word of all windows of a tile the entry of the load list that fills it (the last one for
    none), and the list."""
    config, design = layer.descriptor, memories.design
    region = memories.loads[layer.first_pass + number]
    tile_w = config["tile_w"] + 1
    columns = (config["tile_h"] + 1) * tile_w
    words = len(region["slot"])
    ends = region["last_of_window"]
    window = np.cumsum(ends) - ends
    taps = {
        axis: np.array([(config[f"tap_{axis}{i}"], config[f"tap_{axis}{i}_valid"]) for i in range(design["reach"])])
        for axis in "yx"
    }
    source = np.full((columns, int(ends.sum()) * memories.slots), words)
    for column in range(columns):
        place, hit = window * memories.slots + region["slot"], np.ones(words, bool)
        for axis, pixel in zip("yx", divmod(column, tile_w), strict=True):
            distance = region[f"d{axis}"] - pixel * config[f"stride_{axis}"]
            near = (distance >= 0) & (distance < design["reach"])
            part, exists = taps[axis][np.where(near, distance, 0)].T
            place, hit = place + part, hit & near & (exists == 1)
        source[column, place[hit]] = np.flatnonzero(hit)
    return source, region


def _weights_of_pass(memories: Memories, layer: Layer, number: int, places: int) -> tuple[NDArray[np.float64], Any]:
    """The weights of all rows' accumulators as a matrix, and as lists of (activations, weights), one an accumulator."""
    rows, per_row = memories.design["rows"], memories.accumulators
    matrix = np.zeros((rows * per_row, places * memories.design["load_width"]))
    nonzeros = []
    for row in range(rows):
        accumulator, activation, weight = memories.weights(row, layer.first_pass + number, layer)
        np.add.at(matrix, (row * per_row + accumulator, activation), weight)
        nonzeros += [(activation[accumulator == a], weight[accumulator == a]) for a in range(per_row)]
    return matrix, nonzeros


def _load(
    memories: Memories,
    layer: Layer,
    region: Mapping[str, Integers],
    before: Integers,
    tile_y: Integers,
    tile_x: Integers,
) -> Integers:
    """The words of each tile's input region, and a word of zeros behind them; outside the image is ``pad_value``."""
    config = layer.descriptor
    y = config["origin_y"] + tile_y[:, None] * config["tile_step_y"] + region["y"]
    x = config["origin_x"] + tile_x[:, None] * config["tile_step_x"] + region["x"]
    inside = (y >= 0) & (y < config["height"]) & (x >= 0) & (x < config["width"])
    tile = config["origin"] + tile_y * config["tile_address_step_y"] + tile_x * config["tile_address_step_x"]
    address = _wrapped(memories, tile[:, None] + region["offset"])
    words = np.where(inside[..., None], before[np.where(inside, address, 0)], config["pad_value"])
    return np.concatenate([words, np.zeros((len(words), 1, words.shape[2]), np.int64)], axis=1)


def _maxima(windows: Integers, nonzeros: Sequence[tuple[Integers, Integers]], count: int) -> Integers:
    """The accumulators of a layer that takes the maximum of products; 0 where there are none."""
    result = np.zeros((len(windows), count), np.int64)
    for accumulator, (activation, weight) in enumerate(nonzeros):
        if len(activation):
            result[:, accumulator] = (windows[:, activation] * weight).max(axis=1)
    return result


def _drain(
    memories: Memories,
    layer: Layer,
    number: int,
    accumulators: Integers,
    tile_y: Integers,
    tile_x: Integers,
    before: Integers,
    after: Integers,
) -> None:
    """Requantizes the pixels of tiles that lie in the image, and writes them into ``after``."""
    config, design = layer.descriptor, memories.design
    tile_h, tile_w = config["tile_h"] + 1, config["tile_w"] + 1
    row, column = np.divmod(np.arange(tile_h * tile_w), tile_w)
    inside_y = tile_y[:, None] * tile_h + row < config["out_height"]
    inside = inside_y & (tile_x[:, None] * tile_w + column < config["out_width"])

    def pixels(tensor: str) -> Integers:
        """The first word of each pixel."""
        tile = tile_y * config[f"{tensor}_tile_step_y"] + tile_x * config[f"{tensor}_tile_step_x"]
        pixel = row * config[f"{tensor}_row_step"] + column * config[f"{tensor}_pixel_step"]
        words: Integers = (config[f"{tensor}_base"] + tile[:, None] + pixel)[inside]
        return words

    lanes, steps = design["requantizer_lanes"], layer.steps
    step = number * steps + np.arange(steps)
    word, block = np.divmod(step, design["load_width"] // lanes)
    constants = {name: values[layer.first_parameter + step] for name, values in memories.parameters.items()}
    # A column of zeros for the lanes that no row feeds.
    padded = np.concatenate([accumulators, np.zeros((len(accumulators), 1), np.int64)], axis=1)[inside.reshape(-1)]
    total = padded[:, _sources(memories, steps)] + constants["bias"]
    total = total * constants["multiplier"] + ((1 << constants["shift"]) >> 1)
    lane = block[:, None] * lanes + np.arange(lanes)
    if config["add_other"]:
        address = _wrapped(memories, pixels("other")[:, None] + word)
        other = before[address[..., None], lane] - config["other_zero_point"]
        total += other * constants["other_multiplier"]
    result = np.clip(constants["zero_point"] + (total >> constants["shift"]), constants["low"], constants["high"])
    if len(memories.tables):
        half = 1 << (design["activation_bits"] - 1)
        place = (constants["table"] << design["activation_bits"]) + result + half
        result = np.where(constants["use_table"] == 1, memories.tables[place], result)
    address = _wrapped(memories, pixels("out")[:, None] + word)
    after[address[..., None], lane] = result


def _sources(memories: Memories, steps: int) -> Integers:
    """For each step of the drain and each lane of the requantizer the accumulator, counted over all rows (-1: none)."""
    rows, lanes, per_row = memories.design["rows"], memories.design["requantizer_lanes"], memories.accumulators
    step, lane = np.arange(steps)[:, None], np.arange(lanes)
    if lanes >= rows:
        more, row = np.divmod(lane, rows)
        accumulator = step * memories.accumulators_per_step + more
        exists = (more < memories.accumulators_per_step) & (accumulator < per_row)
    else:
        row = step % memories.steps_per_accumulator * lanes + lane
        accumulator = step // memories.steps_per_accumulator + 0 * lane
        exists = (row < rows) & (accumulator < per_row)
    return np.where(exists, row * per_row + accumulator, -1)


def _wrapped(memories: Memories, address: Integers) -> Integers:
    """Addresses are modulo the address space."""
    wrapped: Integers = address % (1 << _index_bits(memories.design["activation_words"]))
    return wrapped


# The host ------------------------------------------------------------------------------------------------------------


def multiply(product: Mapping[str, Any], a: Integers, b: Integers) -> Integers:
    """The product of two tensors, requantized; ``b`` has a's shape or one pixel for each channel."""
    exact = (a - product["zero_points"][0]) * (b - product["zero_points"][1])
    total = exact * product["multiplier"] + (1 << (product["shift"] - 1))
    result: Integers = np.clip(product["zero_point"] + (total >> product["shift"]), product["low"], product["high"])
    return result


def dequantize(values: Integers, scale: float, zero_point: int) -> Floats:
    """The numbers that integers stand for, in float32 as in ONNX."""
    return (values - zero_point).astype(np.float32) * np.float32(scale)


def softmax(inputs: Sequence[NDArray[Any]], attributes: Mapping[str, int]) -> NDArray[Any]:
    """ONNX's Softmax."""
    powers = np.exp(inputs[0] - inputs[0].max(axis=attributes["axis"], keepdims=True))
    result: NDArray[Any] = powers / powers.sum(axis=attributes["axis"], keepdims=True)
    return result


def log_softmax(inputs: Sequence[NDArray[Any]], attributes: Mapping[str, int]) -> NDArray[Any]:
    """ONNX's LogSoftmax."""
    values = inputs[0] - inputs[0].max(axis=attributes["axis"], keepdims=True)
    result: NDArray[Any] = values - np.log(np.exp(values).sum(axis=attributes["axis"], keepdims=True))
    return result


def arg_max(inputs: Sequence[NDArray[Any]], attributes: Mapping[str, int]) -> NDArray[Any]:
    """ONNX's ArgMax."""
    values, axis, keep = inputs[0], attributes["axis"], bool(attributes["keepdims"])
    if not attributes["select_last_index"]:
        return np.asarray(np.argmax(values, axis=axis, keepdims=keep))
    return np.asarray(values.shape[axis] - 1 - np.argmax(np.flip(values, axis), axis=axis, keepdims=keep))


def concat(inputs: Sequence[NDArray[Any]], attributes: Mapping[str, int]) -> NDArray[Any]:
    """ONNX's Concat."""
    result: NDArray[Any] = np.concatenate(inputs, axis=attributes["axis"])
    return result


HOST_OPERATORS: dict[str, Callable[[Sequence[NDArray[Any]], Mapping[str, int]], NDArray[Any]]] = {
    "Softmax": softmax,
    "LogSoftmax": log_softmax,
    "ArgMax": arg_max,
    "Concat": concat,
}
"""What ``host_layers`` name, on inputs in ONNX's shapes."""


def _seen(values: NDArray[Any], arrangement: Mapping[str, Any]) -> NDArray[Any]:
    """A tensor as ONNX sees it."""
    if arrangement["places"] is not None:
        chosen: NDArray[Any] = values.reshape(-1)[arrangement["places"]]
        return chosen.reshape(arrangement["shape"])
    moved: NDArray[Any] = values.reshape(arrangement["axes"]).transpose(arrangement["perm"])
    return moved.reshape(arrangement["shape"])


def _of_one(shape: Sequence[int]) -> tuple[int, ...]:
    """ONNX's shape without its batch of 1."""
    return tuple(shape[1:] if shape[0] == 1 else shape)


# The command line ----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Runs the network beside this file on the input file and writes the output file; 2 where the input is refused."""
    parser = argparse.ArgumentParser(description="Runs the exported network on new inputs, bit for bit as the array.")
    parser.add_argument("input", type=Path, help=".npy file: one input of the network's file, or N of them")
    parser.add_argument("output", type=Path, help=".npy file for the output; .npz, by name, for several outputs")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent, help="the exported folder")
    options = parser.parse_args(arguments)
    try:
        network = Network.load(options.folder)
        names = [end["name"] for end in network.program["file_outputs"]]
        if options.output.suffix not in (".npy", ".npz"):
            raise InputError(f"the output file must be a .npy or .npz file, not {options.output}")
        if len(names) > 1 and options.output.suffix == ".npy":
            raise InputError(f"the network has {len(names)} outputs ({', '.join(names)}): name an .npz file for them")
        results = network(_read(options.input))
        content = io.BytesIO()
        if options.output.suffix == ".npy":
            np.save(content, results[0])
        else:
            np.savez(content, **dict(zip(names, results, strict=True)))
        options.output.write_bytes(content.getvalue())
    except (InputError, OSError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        return 2
    return 0


def _read(path: Path) -> NDArray[Any]:
    try:
        images = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no .npy file of numbers: {error}") from error
    if not isinstance(images, np.ndarray):
        raise InputError(f"{path} is an archive of arrays, not one .npy array")
    return images


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
