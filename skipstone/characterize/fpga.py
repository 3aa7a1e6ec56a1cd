"""Fits the model of FPGA resources to Yosys and measures it on designs that the fit never saw; the result is carried as data.

Two kinds of synthesis: ``blocks`` keeps the modules apart, so that each block's look-up tables are known; ``flat`` is what a user
runs, and tells how much less the whole takes. Coefficients are never negative, and relative errors are minimized.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from skipstone.characterize.fpga_synthesis import SCRIPTS, Modules, sampled_designs, synthesize, version
from skipstone.hw.array import ROW_MODULE
from skipstone.hw.design import Design
from skipstone.hw.export import TOP
from skipstone.hw.row import PE_MODULE
from skipstone.mapper.fpga.blocks import blocks
from skipstone.mapper.fpga.resources import FpgaResources, block_luts
from skipstone.mapper.results.technology_tables import FpgaTable, SynthesizedDesign

TRAINING_SEED, HOLD_OUT_SEED = 1, 2
MOST_PES = {TRAINING_SEED: 24, HOLD_OUT_SEED: 30}
BLOCKS = tuple(range(12))
FLAT = (0, 1, 2, 4, 9)
HOLD_OUT = (0, 2, 3, 4, 5, 6, 8, 9, 11)
"""Places in the samples: designs synthesized by blocks and as a whole to fit, and as a whole to judge. Small ones, since a whole
array takes half a minute to minutes of a core."""
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
"""Four-input look-up tables of a cell, as nextpnr-ecp5 counts them: two of a carry cell, four of a LUT RAM and two
of its write port (not checked against its source)."""
FEW_LUTS = 60
"""A block of fewer is fitted as if it had as many: errors of a few LUTs don't matter."""
PULL = 0.05
"""How much the parts kept in the whole are drawn to one another's common value; they are few numbers from few designs."""
GROUPS = ("pe", "row", "captures", "rest")
"""Blocks whose part kept in the whole is fitted."""


def characterize_fpga(work: Path, progress: Callable[[str], None], device: str = "ecp5") -> FpgaTable:
    """Fits the resource model of an FPGA family: the content of ``mapper/technology/data/fpga_<device>.json``.

    Args:
        work: A folder for syntheses; what is there already is not done again.
        progress: Called with a few words before each stage.
        device: The family.

    Raises:
        SkipstoneError: Yosys is not installed, or fails.
    """
    by_blocks = list(_synthesized(TRAINING_SEED, BLOCKS, device, "blocks", work, progress))
    flat = list(_synthesized(TRAINING_SEED, FLAT, device, "flat", work, progress))
    judged = list(_synthesized(HOLD_OUT_SEED, HOLD_OUT, device, "flat", work, progress))
    return fit_resource_model(device, by_blocks, flat, judged)


def fit_resource_model(
    device: str,
    by_blocks: list[tuple[Design, Modules]],
    flat: list[tuple[Design, Modules]],
    judged: list[tuple[Design, Modules]],
) -> FpgaTable:
    """The data file's content from syntheses.

    Args:
        device: The family.
        by_blocks: Training designs, synthesized block by block.
        flat: Training designs, each as a whole.
        judged: Others, each as a whole, that the fit never sees.
    """
    luts_per_bit = _luts_per_bit(device, by_blocks)
    whole_shares = _kept_in_whole(device, flat, luts_per_bit)
    return FpgaTable(
        source=f"{version()}, '{SCRIPTS[device, 'flat']}' on the Verilog of whole arrays: {len(by_blocks)} designs by "
        f"blocks and {len(flat)} whole fitted, {len(judged)} others held out; LUT4 + 2 CCU2C + 6 TRELLIS_DPR16X4",
        made_by="skipstone characterize --part fpga",
        luts_per_bit={name: round(value, 4) for name, value in luts_per_bit.items()},
        kept_in_whole={name: round(value, 4) for name, value in whole_shares.items()},
        hold_out=tuple(SynthesizedDesign(design.to_dict(), vars(counted(modules[TOP]))) for design, modules in judged),
    )


def counted(cells: Mapping[str, int]) -> FpgaResources:
    """Resources of the cells that Yosys reports."""
    return FpgaResources(
        dsps=cells.get("MULT18X18D", 0),
        block_rams=cells.get("DP16KD", 0) + cells.get("PDPW16KD", 0),
        luts=sum(weight * cells.get(cell, 0) for cell, weight in LUTS.items()),
        flip_flops=cells.get("TRELLIS_FF", 0),
    )


def _synthesized(
    seed: int, which: tuple[int, ...], device: str, mode: str, work: Path, progress: Callable[[str], None]
) -> Iterator[tuple[Design, Modules]]:
    sample = sampled_designs(seed, max(which) + 1, MOST_PES[seed])
    for design in (sample[place] for place in which):
        progress(f"{device}, {mode}: {design.name}, {design.rows}x{design.cols} {design.multiplier}")
        yield design, synthesize(design, device, mode, work)


def block_of(module: str) -> str:
    """The block that a module of the Verilog belongs to."""
    parts = {"capture": "captures", "requantizer": "requantizer", "_drain": "drain", "_loader": "loader"}
    parts |= {ROW_MODULE: "row", PE_MODULE: "pe", "_controller": "controller"}
    return next((block for part, block in parts.items() if part in module), "array")


def _logic_luts(cells: Mapping[str, int]) -> int:
    return sum(LUTS[cell] * cells.get(cell, 0) for cell in ("LUT4", "CCU2C"))


def _luts_per_bit(device: str, by_blocks: list[tuple[Design, Modules]]) -> dict[str, float]:
    import numpy as np
    from scipy.optimize import nnls

    sizes: list[dict[str, float]] = []
    measured: list[int] = []
    for design, modules in by_blocks:
        luts: dict[str, int] = {}
        for module, cells in modules.items():
            luts[block_of(module)] = luts.get(block_of(module), 0) + _logic_luts(cells)
        for block in blocks(design, device):
            # Rows and PEs are one module each, however many there are.
            copies = 1 if block.name in ("row", "pe") else block.count
            sizes.append({name: copies * bits for name, bits in block.logic.items()})
            measured.append(luts[block.name])
    names = sorted({name for size in sizes for name in size})
    weights = 1 / np.maximum(measured, FEW_LUTS)
    matrix = np.array([[size.get(name, 0.0) for name in names] for size in sizes])
    solution, _ = nnls(matrix * weights[:, None], np.array(measured) * weights)
    return {name: float(value) for name, value in zip(names, solution, strict=True)}


def _kept_in_whole(
    device: str, flat: list[tuple[Design, Modules]], luts_per_bit: Mapping[str, float]
) -> dict[str, float]:
    import numpy as np

    every = [block.name for block in blocks(flat[0][0], device)]
    group_of = {name: name if name in GROUPS else "rest" for name in every}
    rows, targets = [], []
    for design, modules in flat:
        row = dict.fromkeys(GROUPS, 0.0)
        for name, luts in block_luts(design, device, luts_per_bit):
            row[group_of[name]] += luts
        rows.append([row[group] for group in GROUPS])
        targets.append(_logic_luts(modules[TOP]))
    matrix, target = np.array(rows), np.array(targets, dtype=float)
    common = float(np.mean(target / matrix.sum(axis=1)))
    scaled = matrix / target[:, None]
    normal = scaled.T @ scaled + PULL * np.eye(len(GROUPS))
    parts = np.linalg.solve(normal, scaled.T @ np.ones(len(target)) + PULL * common)
    return {name: float(parts[GROUPS.index(group_of[name])]) for name in every}
