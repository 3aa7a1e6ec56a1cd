"""The ONNX operators that take a part of a tensor: Split and Slice. What they give is only seen, until a layer reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import OnnxNode, UnsupportedError
from skipstone.models.onnx_io.registry import register_operator


@register_operator("Split")
def _split(node: OnnxNode) -> tuple[View, ...]:
    view, outputs = node.any_view(), len(node.proto.output)
    axis = int(node.attributes.get("axis", 0)) % view.index.ndim
    sizes = node.attributes.get("split") if node.opset < 13 else node.optional_constant(1)
    if sizes is None:
        each = -(-view.index.shape[axis] // outputs)
        sizes = [each] * (outputs - 1) + [view.index.shape[axis] - each * (outputs - 1)]
    ends = np.cumsum([int(size) for size in sizes])
    if len(ends) != outputs or ends[-1] != view.index.shape[axis]:
        raise UnsupportedError(f"parts of {list(map(int, sizes))} of {view.index.shape[axis]}")
    return tuple(part_of(view, index) for index in np.split(view.index, ends[:-1], axis))


@register_operator("Slice")
def _slice(node: OnnxNode) -> View:
    view = node.any_view()
    if node.opset < 10:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        stated_axes, stated_steps = node.attributes.get("axes"), None
    else:
        starts, ends = node.constant(1).ravel(), node.constant(2).ravel()
        stated_axes, stated_steps = node.optional_constant(3), node.optional_constant(4)
    axes = range(len(starts)) if stated_axes is None else stated_axes
    steps = [1] * len(starts) if stated_steps is None else stated_steps
    cuts = [slice(None)] * view.index.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Past the first element, counting down, is the end that Python calls None.
        past = int(step) < 0 and int(end) < -view.index.shape[int(axis)]
        cuts[int(axis)] = slice(int(start), None if past else int(end), int(step))
    return part_of(view, view.index[tuple(cuts)])


def part_of(view: View, index: np.ndarray) -> View:
    """``view`` with another index, which may leave out elements: no layer before may do its reader's work."""
    return replace(view, index=index, exclusive=view.exclusive and index.size == view.index.size)
