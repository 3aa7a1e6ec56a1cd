"""The sections of a measurement, in their order. A new one is a module with a function from ``Settings`` to
``Section``, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks import (
    characterization,
    coding,
    compression,
    energy,
    exactness,
    exploration,
    fpga,
    gemm,
    imagenet,
    mapping,
    pe_cells,
    resnet8,
    search,
    simulation,
    text_direction,
)
from benchmarks.document import Section
from benchmarks.settings import Settings

SECTIONS: dict[str, Callable[[Settings], Section]] = {
    "gemm": gemm.measure,
    "resnet8": resnet8.measure,
    "resnet18": imagenet.resnet18,
    "resnet50": imagenet.resnet50,
    "text_direction": text_direction.measure,
    "mapping": mapping.measure,
    "exploration": exploration.measure,
    "coding": coding.measure,
    "pe_cells": pe_cells.measure,
    "fpga": fpga.measure,
    "energy": energy.measure,
    "search": search.measure,
    "characterization": characterization.measure,
    "simulation": simulation.measure,
    "exactness": exactness.measure,
}
ALONE: dict[str, Callable[[Settings], Section]] = {"compression": compression.measure}
"""Sections that take hours, so that they are measured only where they are named."""
