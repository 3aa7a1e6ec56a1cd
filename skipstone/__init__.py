"""Skipstone: compressed networks on a zero-skipping array, exact to the bit and the cycle.

from skipstone import CompressionOptions, evaluate_network, load_design, verify_network

result = evaluate_network("resnet8_fashion", load_design("edge"), CompressionOptions(prune="unstructured:0.8"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hw.design import Design, built_in_designs, load_design
    from mapper.results import LayerResult, NetworkResult
    from skipstone.evaluate import evaluate_network
    from skipstone.prepare import CompressionOptions, PreparedNetwork, prepare_network
    from skipstone.verify import verify_network

__all__ = [
    "CompressionOptions",
    "Design",
    "LayerResult",
    "NetworkResult",
    "PreparedNetwork",
    "built_in_designs",
    "evaluate_network",
    "load_design",
    "prepare_network",
    "verify_network",
]

_HOME = {
    "CompressionOptions": "skipstone.prepare",
    "Design": "hw.design",
    "LayerResult": "mapper.results",
    "NetworkResult": "mapper.results",
    "PreparedNetwork": "skipstone.prepare",
    "built_in_designs": "hw.design",
    "evaluate_network": "skipstone.evaluate",
    "load_design": "hw.design",
    "prepare_network": "skipstone.prepare",
    "verify_network": "skipstone.verify",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts quickly."""
    if name not in _HOME:
        raise AttributeError(f"module 'skipstone' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
