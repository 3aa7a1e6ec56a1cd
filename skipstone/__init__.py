"""Skipstone: compressed networks on a zero-skipping array, exact to the bit and the cycle.

from skipstone import CompressionOptions, evaluate_network, load_design, verify_network

result = evaluate_network("resnet8_fashion", load_design("edge"), CompressionOptions(prune="unstructured:0.8"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skipstone.compress.auto import auto
    from skipstone.compress.recipe import load_recipe, parse_recipe
    from skipstone.compress.run import compress as compress_network
    from skipstone.compress.sensitivity import run_sensitivity as sensitivity
    from skipstone.errors import SkipstoneError
    from skipstone.explore.evaluate import Evaluator
    from skipstone.explore.search import explore as explore_network
    from skipstone.explore.space import load_space, parse_space
    from skipstone.flow.evaluate import evaluate_network
    from skipstone.flow.export import export_network
    from skipstone.flow.prepare import CompressionOptions, PreparedNetwork, prepare_network
    from skipstone.flow.trace import trace_network
    from skipstone.flow.verify import verify_network
    from skipstone.hw.design import Design, built_in_designs, load_design
    from skipstone.mapper.results.network import LayerResult, NetworkResult
    from skipstone.models.data.datasets import load_dataset
    from skipstone.models.onnx_io.registry import OnnxNode, UnsupportedError, View, register_operator
    from skipstone.models.quantization.scheme import QuantizationScheme
    from skipstone.reports.exploration.page import write_exploration

__all__ = [
    "CompressionOptions",
    "Design",
    "Evaluator",
    "LayerResult",
    "NetworkResult",
    "OnnxNode",
    "PreparedNetwork",
    "QuantizationScheme",
    "SkipstoneError",
    "UnsupportedError",
    "View",
    "auto",
    "built_in_designs",
    "compress_network",
    "evaluate_network",
    "explore_network",
    "export_network",
    "load_dataset",
    "load_design",
    "load_recipe",
    "load_space",
    "parse_recipe",
    "parse_space",
    "prepare_network",
    "register_operator",
    "sensitivity",
    "trace_network",
    "verify_network",
    "write_exploration",
]

_HOME = {
    "CompressionOptions": "skipstone.flow.prepare",
    "Design": "skipstone.hw.design",
    "Evaluator": "skipstone.explore.evaluate",
    "LayerResult": "skipstone.mapper.results.network",
    "NetworkResult": "skipstone.mapper.results.network",
    "OnnxNode": "skipstone.models.onnx_io.registry",
    "PreparedNetwork": "skipstone.flow.prepare",
    "QuantizationScheme": "skipstone.models.quantization.scheme",
    "SkipstoneError": "skipstone.errors",
    "UnsupportedError": "skipstone.models.onnx_io.registry",
    "View": "skipstone.models.onnx_io.registry",
    "auto": "skipstone.compress.auto",
    "built_in_designs": "skipstone.hw.design",
    "compress_network": "skipstone.compress.run",
    "evaluate_network": "skipstone.flow.evaluate",
    "explore_network": "skipstone.explore.search",
    "export_network": "skipstone.flow.export",
    "load_dataset": "skipstone.models.data.datasets",
    "load_design": "skipstone.hw.design",
    "load_recipe": "skipstone.compress.recipe",
    "load_space": "skipstone.explore.space",
    "parse_recipe": "skipstone.compress.recipe",
    "parse_space": "skipstone.explore.space",
    "prepare_network": "skipstone.flow.prepare",
    "register_operator": "skipstone.models.onnx_io.registry",
    "sensitivity": "skipstone.compress.sensitivity",
    "trace_network": "skipstone.flow.trace",
    "verify_network": "skipstone.flow.verify",
    "write_exploration": "skipstone.reports.exploration.page",
}
_THERE = {"compress_network": "compress", "explore_network": "explore", "sensitivity": "run_sensitivity"}
"""What is called otherwise at home: ``skipstone.compress`` and ``skipstone.explore`` are packages."""


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts quickly."""
    if name == "__version__":
        from importlib.metadata import version

        return version("skipstone")
    if name not in _HOME:
        raise AttributeError(f"module 'skipstone' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), _THERE.get(name, name))
