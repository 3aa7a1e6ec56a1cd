"""Verifies whole networks on the RTL over prunings and designs, and writes a Markdown table.

``python -m benchmarks.matrix [NETWORK[:LOW,HIGH] ...]``; without arguments the carried network. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.machine import describe_machine
from hw.design import load_design
from skipstone.prepare import CompressionOptions, short_name
from skipstone.verify import verify_network

PRUNINGS = ("none", "unstructured:0.5", "unstructured:0.8", "unstructured:0.9", "2:4")
DESIGNS = ("tiny", "edge", "wide")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "networks", nargs="*", default=["resnet8_fashion"], help="NETWORK or NETWORK:LOW,HIGH (input range)"
    )
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--out", type=Path, default=None, help="Markdown file; standard output if missing")
    arguments = parser.parse_args()
    progress = Console(stderr=True)
    lines = [
        "| network | pruning | design | model cycles | RTL cycles | outputs | cycles/s | exact |",
        "|---|---|---|---|---|---|---|---|",
    ]
    exact = True
    for named in arguments.networks:
        network, _, bounds = named.partition(":")
        low, high = (float(v) for v in (bounds or "0,1").split(","))
        for pruning in PRUNINGS:
            for design in DESIGNS:
                options = CompressionOptions(prune=pruning, input_range=(low, high))
                done = verify_network(network, load_design(design), options, images=arguments.images)
                result = done.result
                array = [layer for layer in result.layers if not layer.on_host]
                equal = sum(bool(layer.outputs_equal) for layer in array)
                lines.append(
                    f"| {short_name(network)} | {pruning} | {design} | {result.total_cycles} | {result.rtl_total_cycles} | "
                    f"{equal} of {len(array)} layers equal, {arguments.images} images | {done.cycles_per_second:,.0f} | "
                    f"{'yes' if done.exact else 'NO'} |"
                )
                progress.print(lines[-1], highlight=False)
                exact &= done.exact
    text = "\n".join([describe_machine(), "", *lines]) + "\n"
    if arguments.out is None:
        sys.stdout.write(text)
    else:
        arguments.out.write_text(text)
    return 0 if exact else 1


if __name__ == "__main__":
    raise SystemExit(main())
