"""Networks mapped up to their places in memory, with all folds and merges, even those that do not pay."""

from __future__ import annotations

from skipstone.hw.design import Design
from skipstone.mapper.lowering.compile import _workloads
from skipstone.mapper.lowering.folding import choose_folds, merge_candidates
from skipstone.mapper.lowering.layout import Layout
from skipstone.mapper.lowering.lookups import collect_lookups
from skipstone.mapper.lowering.tiling import MappedWorkload, map_workload
from skipstone.models.quantization.network import HostProduct, QuantizedNetwork
from tests.sim.designs import POOL

DESIGNS = [POOL[name] for name in ("square4", "odd3x6", "lanes2x5", "broad2x12", "codebook2x7")]


def laid_out(network: QuantizedNetwork, design: Design) -> tuple[Layout, list[MappedWorkload]]:
    folds = choose_folds(network, design)[0]
    workloads = _workloads(network, folds, merge_candidates(network, design, folds))
    lookups = collect_lookups(network, design)
    layout = Layout(network, design, folds, list(workloads.values()))
    layout.assign_host_tensor(network.input)
    mapped = []
    for layer in network.layers:
        if isinstance(layer, HostProduct):
            layout.assign_host_tensor(layer.output)
        elif layer.name in workloads:
            mapped.append(map_workload(workloads[layer.name], layout, design, lookups))
    return layout, mapped
