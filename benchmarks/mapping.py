"""How long mapping and costing take on one core: ResNet-8 and ResNet-50 at 80% zeros."""

from __future__ import annotations

from benchmarks.document import Section, table
from benchmarks.machine import milliseconds, one_core
from benchmarks.settings import Settings, benchmark_design
from benchmarks.workloads import resnet50
from skipstone.flow.prepare import CompressionOptions, prepare_network, short_name
from skipstone.hw.design import Design, load_design
from skipstone.mapper.lowering.compile import compile_network
from skipstone.mapper.lowering.memory_fit import with_memories_for
from skipstone.mapper.program import Program
from skipstone.mapper.timing.cycles import schedule_cycles
from skipstone.models.quantization.network import QuantizedNetwork


def measure(settings: Settings) -> Section:
    network, input_range = settings.resnet8
    rows = []
    for pruning in ("none", "unstructured:0.8"):
        prepared = prepare_network(network, CompressionOptions(prune=pruning, input_range=input_range))
        for design in (load_design("edge"), load_design("wide")):
            rows.append((short_name(network), pruning, design.name, *_times(prepared.compressed, design, 9)))
    settings.progress("mapping ResNet-50")
    large = resnet50(0.2)
    rows.append(
        ("resnet50", "80% zeros", "resnet", *_times(large, with_memories_for(large, benchmark_design("resnet")), 3))
    )
    text = (
        "One core, one thread, processor time; medians of 9 (ResNet-50: 3) after one to warm up. "
        "To map: from the quantized network to the "
        "program with every memory image. To cost: from the program to the exact cycles of every layer.\n\n"
        + table(("network", "pruning", "design", "map, ms", "cost, ms", "both, ms"), rows, left=3)
    )
    return Section("mapping", "Time to map and to cost", text)


def _times(network: QuantizedNetwork, design: Design, repeats: int) -> tuple[str, str, str]:
    with one_core():
        mapping = milliseconds(lambda: _packed(compile_network(network, design)), repeats)
        program = compile_network(network, design)
        schedules = [layer.schedule for layer in program.layers]
        costing = milliseconds(lambda: schedule_cycles(schedules, design), repeats)
    return f"{mapping:.1f}", f"{costing:.1f}", f"{mapping + costing:.1f}"


def _packed(program: Program) -> None:
    """Packs the words, which are packed when they are first asked for."""
    for layer in program.layers:
        _ = layer.weights, layer.loads, layer.parameters
