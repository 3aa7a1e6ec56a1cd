"""Hand-made results: a ResNet-8 with plausible numbers, and single layers to make others from."""

from __future__ import annotations

import dataclasses
from typing import Any

from skipstone.mapper.results.network import (
    CAUSES,
    Accuracy,
    AreaTerm,
    EnergyTerm,
    LayerResult,
    MemoryUse,
    NetworkResult,
    TensorPlace,
)

PARAMETERS: dict[str, Any] = {
    "name": "wide",
    "rows": 8,
    "cols": 32,
    "window_depth": 288,
    "windows": 3,
    "accumulators": 8,
    "load_width": 32,
    "requantizer_lanes": 32,
    "weight_bits": 8,
    "activation_bits": 8,
    "accumulator_bits": 24,
    "activation_words": 8192,
    "description": "8 rows x 32 columns, for layers with few channels and large images",
}
CALIBRATION = "activation ranges from 256 carried images of Fashion-MNIST (minimum and maximum)"
TECHNOLOGY = "SKY130 cells (PE, this project's synthesis), CACTI 7 at 45 nm scaled (memories)"
ENERGY_SHARES = {
    "pe": 0.31,
    "windows": 0.24,
    "accumulators": 0.17,
    "weights": 0.09,
    "activations": 0.08,
    "requantize": 0.05,
    "loader": 0.04,
    "leakage": 0.02,
}
COMPONENTS = {  # of each part: component and action
    "pe": ("PE", "multiply-accumulate"),
    "windows": ("windows", "read"),
    "accumulators": ("accumulators", "add"),
    "weights": ("weight memory", "read"),
    "activations": ("activation memory", "read"),
    "requantize": ("requantizer", "lane step"),
    "loader": ("loader", "word"),
    "leakage": ("weight memory", "leak"),
}
AREA = (
    AreaTerm("PE", 256, 1_100.0, 12.0, "cells"),
    AreaTerm("weight memory", 8, 61_000.0, 900.0, "memories"),
    AreaTerm("activation memory", 1, 240_000.0, 4_000.0, "memories"),
    AreaTerm("windows", 256, 900.0, 10.0, "memories"),
)
MEMORIES = (
    MemoryUse("weights", 8, 16_384, 24, 6_122),
    MemoryUse("activations", 1, 4_096, 256, 1_176),
    MemoryUse("load_lists", 1, 4_096, 58, 845),
)
TENSORS = (
    TensorPlace("image", 392, 196, -1, 0),
    TensorPlace("conv1", 0, 392, 0, 2),
    TensorPlace("conv2", 392, 392, 1, 2),
    TensorPlace("conv3", 784, 392, 2, 3),
    TensorPlace("fc", 2, 1, 10, 11),
)

RESNET = (  # name, kind, MACs, weights, nnz, bound, cycles by cause
    ("conv1", "conv", 442_368, 432, 301, "drain", (1_204, 0, 24, 61, 180, 480, 71, 0)),
    ("conv2", "conv", 2_359_296, 2_304, 460, "compute", (1_840, 0, 3, 92, 20, 60, 0, -12)),
    ("conv3", "conv", 2_359_296, 2_304, 461, "compute", (1_844, 0, 2, 77, 14, 41, 40, 0)),
    ("conv4", "conv", 1_179_648, 4_608, 922, "load", (922, 0, 4, 50, 560, 30, 0, -9)),
    ("conv5", "conv", 2_359_296, 9_216, 1_843, "compute", (1_843, 0, 2, 81, 12, 28, 0, -6)),
    ("conv6", "conv", 131_072, 512, 102, "load", (102, 0, 8, 11, 205, 32, 0, -20)),
    ("conv7", "conv", 1_179_648, 18_432, 3_686, "load", (922, 0, 0, 40, 470, 10, 0, -4)),
    ("conv8", "conv", 2_359_296, 36_864, 7_373, "compute", (1_843, 0, 1, 60, 90, 12, 0, -7)),
    ("conv9", "conv", 131_072, 2_048, 410, "load", (103, 0, 3, 12, 170, 16, 0, -15)),
    ("conv10/average_pool1", "average_pool", 4_096, 0, 0, "edge", (2, 62, 0, 0, 40, 4, 0, -11)),
    ("fc", "gemm", 640, 640, 128, "edge", (1, 31, 0, 2, 24, 2, 20, 0)),
)


def layer(
    name: str = "conv1",
    kind: str = "conv",
    macs: int = 1000,
    weights: int = 100,
    nnz: int = 40,
    bound: str = "compute",
    causes: tuple[float, ...] = (60, 10, 0, 10, 10, 5, 5, 0),
    rtl: bool = True,
    **changes: Any,
) -> LayerResult:
    cycles = int(sum(causes))
    energy = 40.0 * causes[0] + 11.0 * cycles
    row = int(causes[0])
    result = LayerResult(
        name=name,
        kind=kind,
        on_host=False,
        macs=macs,
        nnz=nnz,
        weights=weights,
        model_cycles=cycles,
        rtl_cycles=cycles if rtl else None,
        outputs_equal=True if rtl else None,
        dense_cycles=int(cycles * (0.5 + 0.5 * weights / nnz)) if nnz else cycles,
        bound=bound,
        utilization=causes[0] / cycles,
        cycles_by_cause=dict.fromkeys(CAUSES, 0.0) | dict(zip(CAUSES, causes, strict=False)),
        energy_pj=energy,
        energy_by_part={part: share * energy for part, share in ENERGY_SHARES.items()},
        actions={
            "macs": 256 * int(causes[0]),
            "useful_macs": 256 * int(causes[0]),
            "window_reads": 256 * int(causes[0]),
            "cycles": cycles,
        },
        skipped_macs=macs - macs * nnz // weights if weights else 0,
        loaded_words=int(10 * causes[0]),
        skipped_words=int(2 * causes[0]),
        stall_cycles=sum(causes[3:7]),
        tile=(4, 8),
        passes=1,
        windows=2,
        operations_per_byte=causes[0] * 256 / 32 / (causes[0] * 0.3 + causes[4] + 10),
        layers=(name,),
        encoded_bits=24 * nnz,
        energy_terms=tuple(
            EnergyTerm(part, *COMPONENTS[part], 100.0, share * energy / 100, "cells" if part == "pe" else "memories")
            for part, share in ENERGY_SHARES.items()
        ),
        row_entries=tuple((row + index, row // 2, index) for index in range(8)),
        alone_cycles=cycles,
        savings={
            "load": int(causes[4]),
            "weights": int(causes[0]) // 2,
            "rows": int(causes[0]) // 2,
            "drain": int(causes[5]),
        },
        trained=kind in ("conv", "depthwise", "gemm"),
    )
    return dataclasses.replace(result, **changes)


def host_layer(name: str = "softmax", kind: str = "softmax", macs: int = 0) -> LayerResult:
    return LayerResult(
        name=name,
        kind=kind,
        on_host=True,
        macs=macs,
        nnz=0,
        weights=0,
        model_cycles=None,
        rtl_cycles=None,
        outputs_equal=None,
        dense_cycles=None,
        bound="host",
        utilization=None,
        cycles_by_cause={},
        energy_pj=None,
        energy_by_part={},
        actions={},
        skipped_macs=None,
        loaded_words=None,
        skipped_words=None,
        stall_cycles=None,
        tile=None,
        passes=None,
        windows=None,
        operations_per_byte=None,
        note="runs on the host; not in cycles or energy",
    )


def network(layers: tuple[LayerResult, ...], **changes: Any) -> NetworkResult:
    cycles = sum(layer.model_cycles or 0 for layer in layers)
    ran = any(layer.rtl_cycles is not None for layer in layers)
    result = NetworkResult(
        network="resnet8_fashion",
        design="wide",
        parameters=PARAMETERS,
        pruning="magnitude, 80% of each layer but the first and the last",
        weight_bits=8,
        activation_bits=8,
        density=0.2037,
        calibration=CALIBRATION,
        technology=TECHNOLOGY,
        layers=layers,
        total_cycles=cycles,
        rtl_total_cycles=sum(layer.rtl_cycles or 0 for layer in layers) if ran else None,
        dense_total_cycles=50_731,
        total_energy_pj=sum(layer.energy_pj or 0 for layer in layers),
        area_um2=sum(term.area_um2 for term in AREA),
        accuracy=Accuracy(0.9410, 0.9400, 0.9170, 1000),
        images_verified=4 if ran else 0,
        sources=(("cells", "this project's synthesis"), ("memories", "CACTI 7")),
        node_nm=45,
        area_terms=AREA,
        frequency_mhz=500.0,
        fmax_mhz=640.0,
        latency_us=cycles / 500.0,
        power_mw=12.5,
        memories=MEMORIES,
        dense_total_energy_pj=sum(layer.energy_pj or 0 for layer in layers),
        savings={
            change: sum(layer.savings.get(change, 0) for layer in layers)
            for change in ("load", "weights", "rows", "drain")
        },
        entry_bits=24,
        value_bits=8,
    )
    return dataclasses.replace(result, **changes)


def resnet8(rtl: bool = True, **changes: Any) -> NetworkResult:
    """Eleven layers on the array and one on the host."""
    layers = [
        layer(name, kind, macs, weights, nnz, bound, causes, rtl)
        for name, kind, macs, weights, nnz, bound, causes in RESNET
    ]
    return network((*layers, host_layer()), **{"tensors": TENSORS, **changes})
