"""The design's parameters: one frozen object that the gateware, the mapper and the cycle model all read.

Everything that follows from the parameters (bit fields of the memories, tile shapes, the position of an output channel)
is computed here, in plain integers, so that the hardware and its model cannot drift apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from skipstone.errors import DesignError
from skipstone.hw.fields import Field, Fields, width_of
from skipstone.hw.multipliers import MULTIPLIERS, Multiplier
from skipstone.hw.numbers import MULTIPLIER_BITS, OTHER_MULTIPLIER_BITS, SHIFT_BITS
from skipstone.toml_files import parse_toml, read_toml, validated

FREE_TILES_BITS = 8
ALL_TILES_FREE = (1 << FREE_TILES_BITS) - 1
"""``free_tiles`` of a layer that reads nothing of what the layer before writes."""
MAX_ACCUMULATOR_BITS = 46
"""With it, an accumulator and its bias times the multiplier stay within 63 bits, which the reference computes in."""

RANGES = {
    "rows": (1, 256),
    "cols": (1, 1024),
    "window_depth": (1, 1 << 16),
    "windows": (2, 64),
    "accumulators": (1, 128),
    "load_width": (1, 1024),
    "requantizer_lanes": (1, 1024),
    "weight_bits": (2, 16),
    "activation_bits": (2, 16),
    "accumulator_bits": (8, MAX_ACCUMULATOR_BITS),
    "activation_words": (2, 1 << 28),
    "weight_entries": (2, 1 << 28),
    "load_entries": (2, 1 << 28),
    "parameter_words": (2, 1 << 24),
    "layers": (1, 1 << 16),
    "reach": (1, 64),
    "leave_bits": (1, 8),
    "max_stride": (1, 16),
    "max_dimension": (1, 1 << 15),
    "codebook_entries": (4, 256),
    "codebooks": (1, 64),
    "delta_bits": (1, 24),
    "tables": (0, 64),
}
"""Least and greatest value of every parameter."""
LIMITS = {name: high for name, (_, high) in RANGES.items()}
CHOICES = {"multiplier": tuple(MULTIPLIERS), "index_coding": ("absolute", "delta")}
"""The values of every parameter that is a word."""
MAX_TABLE_BITS = 10


@dataclass(frozen=True)
class Design:
    """Parameters of one array, checked when it is made.

    Args:
        name: For reports; a file's name if it is loaded from one.
        rows: Rows of processing elements (PEs): output channels at a time.
        cols: Columns of PEs: pixels of a tile.
        window_depth: Activations of a window, a multiple of ``load_width``.
        windows: Activation windows of a PE.
        accumulators: Accumulators of a PE in each of two banks.
        load_width: Activations of a memory word, of which the loader takes one a cycle.
        requantizer_lanes: Outputs requantized a cycle; a divisor of ``load_width``.
        weight_bits: Width of weights.
        activation_bits: Width of activations.
        accumulator_bits: Width of accumulators. The mapper refuses a layer that could overflow them.
        multiplier: How PEs multiply: ``linear`` by integers of ``weight_bits``; ``shift`` by plus or minus a power of two
            (sign and exponent have ``weight_bits`` together, 2 to 5); ``additive`` by plus or minus a sum of powers of two
            (``weight_bits`` of 3, 5 or 7); ``sign`` by plus or minus one; ``codebook`` by one of ``codebook_entries``
            integers, which each row looks up.
        codebook_entries: Integers of a codebook, a power of two.
        codebooks: Codebooks, one a layer.
        index_coding: How an entry names its activation and accumulator: ``absolute``, or ``delta``, the distance from the
            row's entry before.
        delta_bits: Width of that distance.
        tables: Tables of ``2**activation_bits`` entries in which each requantizer lane can look up its result.
        activation_words: Words of the activation memory.
        weight_entries: Nonzero weights that a row holds.
        load_entries: Words of the loader's lists.
        parameter_words: Requantization words, of ``requantizer_lanes`` channels each.
        layers: Descriptors of layers.
        reach: Extent of the part of a kernel that one window holds; larger kernels are split over windows.
        leave_bits: Width of the number of windows that a row leaves behind one entry.
        max_stride: Largest stride.
        max_dimension: Largest image size.
        description: For reports.

    Raises:
        DesignError: A parameter is out of range, or does not go with another one.
    """

    name: str
    rows: int
    cols: int
    window_depth: int
    windows: int
    accumulators: int
    load_width: int
    requantizer_lanes: int
    weight_bits: int = 8
    activation_bits: int = 8
    accumulator_bits: int = 24
    activation_words: int = 8192
    weight_entries: int = 16384
    load_entries: int = 4096
    parameter_words: int = 256
    layers: int = 64
    reach: int = 8
    leave_bits: int = 3
    max_stride: int = 4
    max_dimension: int = 1023
    multiplier: str = "linear"
    codebook_entries: int = 16
    codebooks: int = 16
    index_coding: str = "absolute"
    delta_bits: int = 6
    tables: int = 0
    description: str = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (isinstance(value, bool) or not isinstance(value, int)):
                raise DesignError(f"{field.name} must be an integer, not {value!r}")
            if field.type == "str" and not isinstance(value, str):
                raise DesignError(f"{field.name} must be a string, not {value!r}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DesignError(f"{name} must be {low} to {high}, not {value}")
        if self.window_depth % self.load_width:
            raise DesignError(
                f"window_depth {self.window_depth} must be a multiple of load_width {self.load_width}; "
                f"the next one is {-(-self.window_depth // self.load_width) * self.load_width}"
            )
        if self.load_width % self.requantizer_lanes:
            raise DesignError(
                f"requantizer_lanes {self.requantizer_lanes} must divide load_width {self.load_width}, "
                "so that a result fits one activation word"
            )
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise DesignError(f"{name} must be {' or '.join(choices)}, not '{getattr(self, name)}'")
        kind = MULTIPLIERS[self.multiplier]
        if kind.widths is not None and self.weight_bits not in kind.widths:
            raise DesignError(f"weight_bits must be {kind.widths_text}, not {self.weight_bits}")
        if self.codebook_entries & (self.codebook_entries - 1):
            raise DesignError(f"codebook_entries must be a power of two, not {self.codebook_entries}")
        if self.accumulator_bits < self.products.product_bits:
            raise DesignError(
                f"accumulator_bits {self.accumulator_bits} cannot hold one product; raise it to {self.products.product_bits}"
            )
        if self.tables and self.activation_bits > MAX_TABLE_BITS:
            raise DesignError(
                f"tables {self.tables} needs activation_bits {MAX_TABLE_BITS} or fewer, not {self.activation_bits}: every "
                f"requantizer lane would hold {1 << self.activation_bits} entries a table"
            )

    # Derived sizes ------------------------------------------------------------------------------------------------

    @cached_property
    def products(self) -> Multiplier:
        """The kind of multiplier: codes, widths and gateware."""
        return MULTIPLIERS[self.multiplier].of(self.weight_bits, self.activation_bits, self.codebook_entries)

    @property
    def codebook_words(self) -> int:
        """Integers in a row's codebook memory; 0 where nothing is looked up."""
        return self.codebooks * self.codebook_entries if self.products.looked_up else 0

    @property
    def table_words(self) -> int:
        """Entries in a requantizer lane's table memory; 0 without tables."""
        return self.tables << self.activation_bits

    @property
    def pes(self) -> int:
        """PEs of the array."""
        return self.rows * self.cols

    @property
    def slots(self) -> int:
        """Activation words that one window holds."""
        return self.window_depth // self.load_width

    @property
    def accumulators_per_step(self) -> int:
        """Accumulators of one PE that the drain reads at once (more than one where lanes outnumber rows)."""
        return max(1, min(self.requantizer_lanes // self.rows, self.accumulators))

    @property
    def steps_per_accumulator(self) -> int:
        """Drain steps that one accumulator of all rows takes (more than one where rows outnumber lanes)."""
        return max(1, -(-self.rows // self.requantizer_lanes))

    @property
    def bank_depth(self) -> int:
        """Accumulators of one bank, rounded up to whole drain steps."""
        return -(-self.accumulators // self.accumulators_per_step) * self.accumulators_per_step

    @cached_property
    def tile_shapes(self) -> tuple[tuple[int, int], ...]:
        """Every ``(tile_h, tile_w)`` with ``tile_h * tile_w == cols``; a descriptor names one by its index."""
        return tuple((h, self.cols // h) for h in range(1, self.cols + 1) if self.cols % h == 0)

    def position(self, row: int, accumulator: int) -> int:
        """Place of the channel that a row computes in an accumulator, among a pass's outputs, in activations."""
        lanes = self.requantizer_lanes
        if lanes >= self.rows:
            step, j = divmod(accumulator, self.accumulators_per_step)
            return step * lanes + j * self.rows + row
        return accumulator * self.steps_per_accumulator * lanes + row

    def steps(self, accumulators: int) -> int:
        """Drain steps of one pixel of a pass that uses the accumulators below ``accumulators``."""
        if self.requantizer_lanes >= self.rows:
            return -(-accumulators // self.accumulators_per_step)
        return accumulators * self.steps_per_accumulator

    # Bit fields ---------------------------------------------------------------------------------------------------

    @property
    def address_bits(self) -> int:
        """Bits of an address of activation memory."""
        return width_of(self.activation_words)

    @property
    def dimension_bits(self) -> int:
        """Signed coordinates: an image position, a tile's overhang and the padding before the image all fit."""
        return (self.max_dimension + self.region_extent).bit_length() + 1

    @property
    def region_extent(self) -> int:
        """Largest offset of a word inside a tile's input region, plus one."""
        return (self.cols - 1) * self.max_stride + self.reach

    @property
    def region_bits(self) -> int:
        """Bits of an offset inside a tile's input region."""
        return width_of(self.region_extent)

    @property
    def activation_word_bits(self) -> int:
        """Bits of a word of activation memory."""
        return self.load_width * self.activation_bits

    @cached_property
    def weight_index(self) -> Fields:
        """Where a nonzero belongs: the activation (lane and slot of the window) and the accumulator. As one number it rises
        within a row's entries of a window."""
        return Fields(
            (
                Field("lane", width_of(self.load_width)),
                Field("slot", width_of(self.slots)),
                Field("accumulator", width_of(self.accumulators)),
            )
        )

    @cached_property
    def weight_entry(self) -> Fields:
        """One nonzero: the code of its value, its index, and what comes after it: how many windows the row leaves, and whether
        the tile's list ends. ``delta`` is the index less that of the row's entry before in the window, less one; before a
        window's first entry stands -1. ``filler`` marks an entry that changes no accumulator; where the code 0 is a weight of 0,
        that does."""
        kind = self.products
        return Fields(
            (
                Field("value", kind.code_bits, signed=kind.signed_code),
                *(() if kind.zero_code else (Field("filler", 1),)),
                *(self.weight_index.fields if self.index_coding == "absolute" else (Field("delta", self.delta_bits),)),
                Field("leave", self.leave_bits),
                Field("last", 1),
            )
        )

    @cached_property
    def load_entry(self) -> Fields:
        """One word to load: its place in the tile's input region (``y``, ``x``), the same counted from the first tap of the
        window's part of the kernel (``dy``, ``dx``), its address from the region's origin (modulo the address space), the
        first slot of its channel group in the window, and whether it ends the window or the tile's list."""
        return Fields(
            (
                Field("y", self.dimension_bits),
                Field("x", self.dimension_bits),
                Field("dy", self.region_bits),
                Field("dx", self.region_bits),
                Field("offset", self.address_bits),
                Field("slot", width_of(self.slots)),
                Field("last_of_window", 1),
                Field("last_of_tile", 1),
            )
        )

    @cached_property
    def parameter(self) -> Fields:
        """Requantization constants of one output channel."""
        table = (Field("table", width_of(self.tables)), Field("use_table", 1)) if self.tables else ()
        return Fields(
            (
                Field("bias", self.accumulator_bits, signed=True),
                Field("multiplier", MULTIPLIER_BITS),
                Field("shift", SHIFT_BITS),
                Field("other_multiplier", OTHER_MULTIPLIER_BITS),
                Field("zero_point", self.activation_bits, signed=True),
                Field("low", self.activation_bits, signed=True),
                Field("high", self.activation_bits, signed=True),
                *table,
            )
        )

    @cached_property
    def tap_bits(self) -> int:
        """Bits of a tap's part of the slot number."""
        return width_of(self.slots)

    @cached_property
    def descriptor(self) -> Fields:
        """One layer. Counts are stored less one, but for two: the loader begins the layer once ``wait_tiles`` tiles of the layer
        before are written, and its tiles from ``free_tiles`` on when all of them are (``ALL_TILES_FREE``: it never waits).
        ``pause``: the array stops after this layer, and the next start goes on. ``tap_y``/``tap_x`` give, for each offset below
        ``reach``, the tap's part of the slot number and whether there is a tap at all; addresses are in words, modulo the
        address space."""
        dimension, address = self.dimension_bits, self.address_bits
        tile_step = width_of(self.cols * self.max_stride + 1)
        taps = [
            field
            for axis in "yx"
            for index in range(self.reach)
            for field in (Field(f"tap_{axis}{index}", self.tap_bits), Field(f"tap_{axis}{index}_valid", 1))
        ]
        return Fields(
            (
                Field("last_layer", 1),
                Field("pause", 1),
                Field("maximum", 1),
                *((Field("codebook", width_of(self.codebooks)),) if self.codebook_words else ()),
                Field("tile_shape", width_of(len(self.tile_shapes))),
                Field("tile_h", width_of(self.cols)),
                Field("tile_w", width_of(self.cols)),
                Field("tiles_y", dimension),
                Field("tiles_x", dimension),
                Field("tiles", 2 * dimension),
                Field("passes", 16),
                # Loader
                Field("wait_tiles", 2 * dimension + 16),
                Field("free_tiles", FREE_TILES_BITS),
                Field("stride_y", width_of(self.max_stride + 1)),
                Field("stride_x", width_of(self.max_stride + 1)),
                Field("height", dimension),
                Field("width", dimension),
                Field("origin_y", dimension, signed=True),
                Field("origin_x", dimension, signed=True),
                Field("origin", address),
                Field("tile_step_y", tile_step),
                Field("tile_step_x", tile_step),
                Field("tile_address_step_y", address),
                Field("tile_address_step_x", address),
                Field("pad_value", self.activation_bits, signed=True),
                *taps,
                # Drain
                Field("steps", 16),
                Field("out_height", dimension),
                Field("out_width", dimension),
                Field("out_base", address),
                Field("out_pixel_step", address),
                Field("out_row_step", address),
                Field("out_tile_step_y", address),
                Field("out_tile_step_x", address),
                Field("other_base", address),
                Field("other_pixel_step", address),
                Field("other_row_step", address),
                Field("other_tile_step_y", address),
                Field("other_tile_step_x", address),
                Field("add_other", 1),
                Field("other_zero_point", self.activation_bits, signed=True),
            )
        )

    # Files --------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All parameters by name, as in a design file."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Design:
        """The same design with other parameters.

        Args:
            changes: new values by the parameters' names.

        Raises:
            DesignError: as for a new design.
        """
        return dataclasses.replace(self, **changes)


def built_in_designs() -> dict[str, Design]:
    """The carried designs by name, in the order of their number of PEs."""
    folder = resources.files("skipstone.hw") / "designs"
    designs = [
        parse_design(entry.read_text(), entry.name.removesuffix(".toml"), f"hw/designs/{entry.name}")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    ]
    return {design.name: design for design in sorted(designs, key=lambda design: (design.pes, design.name))}


def load_design(name_or_path: str) -> Design:
    """Loads a design.

    Args:
        name_or_path: The name of a built-in design, or a TOML file with the parameters as keys.

    Raises:
        DesignError: There is no such design, or a parameter is wrong; the message has the values that are right.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        return _design_of(read_toml(path, "design file", DesignError), path.stem, str(path))
    designs = built_in_designs()
    if name_or_path not in designs:
        raise DesignError(f"unknown design '{name_or_path}'; built in are {', '.join(designs)}, or name a .toml file")
    return designs[name_or_path]


def parse_design(text: str, default_name: str, where: str) -> Design:
    """A design from a file's ``text``; ``where`` begins the message of a DesignError."""
    return _design_of(parse_toml(text, where, DesignError), default_name, where)


def _design_of(values: Mapping[str, Any], default_name: str, where: str) -> Design:
    return validated(Design, {"name": default_name, **values}, where, DesignError)
