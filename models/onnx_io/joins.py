"""The ONNX operators that join activations, or spread them over more pixels: Concat, Mul of two, Resize, ConvTranspose."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from skipstone.models.graph.ends import Arrangement
from skipstone.models.graph.layers import Concat, ConvTranspose, Join, Product, Upsample
from skipstone.models.onnx_io.arrangement import View
from skipstone.models.onnx_io.nodes import ArrangementError, OnnxNode, UnsupportedError
from skipstone.models.onnx_io.pools import kernel_of, pads_of, pair
from skipstone.models.onnx_io.registry import register_operator
from skipstone.models.onnx_io.selection import selection


def product(node: OnnxNode) -> View:
    """Mul of two activations of the same shape, or with one pixel for each channel in one of them."""
    first, second = node.aligned(node.view(0), node.view(1))
    if first.index.shape != second.index.shape and _spreads_over(first, second):
        first, second = second, first
    same = first.shape == second.shape and np.array_equal(first.index, second.index)
    if not same and not _spreads_over(second, first):
        raise ArrangementError(
            f"it multiplies activations of shapes {first.index.shape} and {second.index.shape}; the second must have the "
            "first's shape, or one pixel for each channel"
        )
    return node.add(Product(name=node.name, inputs=(first.tensor, second.tensor)), first.index)


def _spreads_over(small: View, large: View) -> bool:
    """Whether ``small`` is one pixel for each channel of ``large``, with the channels along the same axis."""
    if small.pixels > 1 or small.shape[0] != large.shape[0] or small.index.ndim > large.index.ndim:
        return False
    try:
        spread = np.broadcast_to(small.index, large.index.shape)
    except ValueError:
        return False
    return bool(np.array_equal(spread, large.index // large.pixels))


@register_operator("Concat")
def _concat(node: OnnxNode) -> View:
    """Along the channels of what the array makes, side by side in its memory; else the host does it at the end."""
    views = [node.any_view(position) for position in range(len(node.inputs))]
    axis = int(node.attributes["axis"]) % views[0].index.ndim
    if len(views) == 1:
        return views[0]
    if any(map(node.is_on_host, range(len(views)))):
        return _join(node, views, axis)
    runs = _same_tensor(views, axis)
    if len(runs) == 1:
        return runs[0]
    selected = [_seen(view) for view in runs]
    index = _joined_channels(selected, axis)
    if index is None:
        return _join(node, views, axis)
    parts = [node.selected(view) if seen is not view else view for view, seen in zip(runs, selected, strict=True)]
    return node.add(Concat(name=node.name, inputs=tuple(view.tensor for view in parts)), index)


def _join(node: OnnxNode, views: list[View], axis: int) -> View:
    arrangements = tuple(Arrangement.of_index(view.index) for view in views)
    inputs = tuple(view.tensor for view in views)
    return node.on_host(Join(name=node.name, inputs=inputs, views=arrangements, axis=axis))


def _same_tensor(views: list[View], axis: int) -> list[View]:
    """``views`` with neighbours that are parts of one tensor as one view of it, but for whole tensors side by side."""
    runs: list[View] = []
    for view in views:
        last = runs[-1] if runs else None
        if last is not None and last.tensor == view.tensor and not (last.is_whole() and view.is_whole()):
            index = np.concatenate([last.index, view.index], axis)
            runs[-1] = replace(view, index=index, exclusive=False)
        else:
            runs.append(view)
    return runs


def _seen(view: View) -> View:
    """What a Concat along channels gets of a view: the tensor that is selected first, where it is a part or in another order."""
    if view.channel_axis() is not None or (part := selection(view)) is None:
        return view
    return View("", part.shape, part.index, exclusive=False)


def _joined_channels(views: list[View], axis: int) -> NDArray[np.int64] | None:
    """How ONNX sees the tensors of ``views`` side by side; None where ``axis`` is not the channels of all."""
    channels = [view.shape[0] for view in views]
    shape = (sum(channels), *views[0].shape[1:])
    if any(view.shape[1:] != shape[1:] or view.channel_axis() is None for view in views):
        return None
    if any(view.index.ndim <= axis or view.index.shape[axis] != view.shape[0] for view in views):
        return None
    offsets = np.cumsum([0, *channels[:-1]]) * views[0].pixels
    index = np.concatenate([view.index + offset for view, offset in zip(views, offsets, strict=True)], axis)
    return index if View("", shape, index, exclusive=False).channel_axis() == axis else None


@register_operator("Resize", "Upsample")
def _resize(node: OnnxNode) -> View:
    view, attributes = node.image(), node.attributes
    mode = attributes.get("mode", b"nearest").decode()
    if mode != "nearest":
        raise UnsupportedError(f"mode {mode}; only nearest is supported")
    old = node.op_type == "Upsample" or node.opset < 11
    factors = _factors(node, view, old)
    coordinates = "asymmetric" if old else attributes.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = "floor" if old else attributes.get("nearest_mode", b"round_prefer_floor").decode()
    for size, factor in zip(view.shape[1:], factors, strict=True):
        if any(_source(o, size, factor, coordinates, rounding) != o // factor for o in range(size * factor)):
            raise UnsupportedError(
                f"coordinates {coordinates} with {rounding} do not repeat each pixel {factor} times; export it as asymmetric "
                "with floor"
            )
    if factors == (1, 1):
        return view
    return node.add(Upsample(name=node.name, inputs=(view.tensor,), factor=factors))


def _factors(node: OnnxNode, view: View, old: bool) -> tuple[int, int]:
    """How often each pixel is repeated, vertically and horizontally."""
    attributes = node.attributes
    scales = node.optional_constant(1 if old else 2)
    sizes = None if old else node.optional_constant(3)
    if scales is None and "scales" in attributes:  # Upsample of opset 7
        scales = np.asarray(attributes["scales"], np.float32)
    if sizes is not None and attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        raise UnsupportedError("keep_aspect_ratio_policy")
    ratios = [Fraction(1)] * 4
    axes = [int(axis) % 4 for axis in attributes.get("axes", range(4))]
    if sizes is not None and sizes.size == len(axes):
        for axis, size in zip(axes, sizes.ravel(), strict=True):
            ratios[axis] = Fraction(int(size), view.index.shape[axis])
    elif scales is not None and scales.size == len(axes):
        for axis, scale in zip(axes, scales.ravel(), strict=True):
            ratios[axis] = Fraction(float(scale))
    else:
        raise UnsupportedError("neither scales nor sizes for its axes")
    if ratios[:2] != [1, 1] or any(ratio.denominator > 1 or ratio < 1 for ratio in ratios):
        shown = "x".join(f"{float(ratio):g}" for ratio in ratios)
        raise UnsupportedError(f"factors {shown}; only whole ones of height and width are supported")
    return int(ratios[2]), int(ratios[3])


def _source(position: int, size: int, factor: int, coordinates: str, rounding: str) -> int:
    """The pixel that ONNX takes for output ``position``, of ``size`` pixels repeated ``factor`` times."""
    length = size * factor
    match coordinates:
        case "asymmetric":
            place = Fraction(position, factor)
        case "half_pixel" | "half_pixel_symmetric":
            place = Fraction(2 * position + 1, 2 * factor) - Fraction(1, 2)
        case "pytorch_half_pixel":
            place = Fraction(2 * position + 1, 2 * factor) - Fraction(1, 2) if length > 1 else Fraction(0)
        case "align_corners":
            place = Fraction(position * (size - 1), length - 1) if length > 1 else Fraction(0)
        case _:
            raise UnsupportedError(f"coordinates {coordinates}")
    half = Fraction(1, 2)
    rounded = {
        "floor": floor(place),
        "ceil": ceil(place),
        "round_prefer_floor": ceil(place - half),
        "round_prefer_ceil": floor(place + half),
    }
    return min(max(rounded[rounding], 0), size - 1)


@register_operator("ConvTranspose")
def _conv_transpose(node: OnnxNode) -> View:
    weights, bias, attributes = node.constant(1), node.optional_constant(2), node.attributes
    weights, line = kernel_of(weights)
    if "output_shape" in attributes:
        raise UnsupportedError("output_shape; export it with pads")
    if (auto := attributes.get("auto_pad", b"NOTSET").decode()) not in ("NOTSET", "VALID"):
        raise UnsupportedError(f"auto_pad {auto}; export it with pads")
    view, groups = node.image(line=line), int(attributes.get("group", 1))
    inputs, each, *kernel = weights.shape
    if inputs % groups:
        raise UnsupportedError(f"{inputs} input channels in {groups} groups")
    outputs = each * groups
    stride, dilation = pair(attributes.get("strides"), 1), pair(attributes.get("dilations"), 1)
    by_output = weights.reshape(groups, inputs // groups, each, *kernel).swapaxes(1, 2)
    return node.add_image(
        ConvTranspose(
            name=node.name,
            inputs=(view.tensor,),
            weights=np.ascontiguousarray(by_output.reshape(outputs, -1, *kernel), dtype=np.float32),
            bias=np.zeros(outputs, np.float32) if bias is None else bias.astype(np.float32),
            stride=stride,
            padding=pads_of(attributes, view.shape, (kernel[0], kernel[1]), stride, dilation),
            dilation=dilation,
            groups=groups,
            output_padding=pair(attributes.get("output_padding"), 0),
        ),
        line,
    )
