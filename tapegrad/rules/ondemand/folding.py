"""Windows written out as columns and added up again, and channels as pixels.

Source: pixel_shuffle, Shi et al. 2016; channel_shuffle, Zhang et al. 2018; glu, Dauphin et al.
2017.
"""

from __future__ import annotations

import math
from typing import Any

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.exponential import sigmoid
from tapegrad.rules.ondemand.windows import (
    overlap_added,
    padded,
    per_dim,
    symmetric,
    window_count,
    windows,
)
from tapegrad.rules.splitting import chunk

NN = "nn.functional"


def unfold_forward(x, sizes, kernel, dilation, padding, stride):
    view = windows(padded(x, padding), kernel, stride, dilation)
    channels = x.shape[1] * math.prod(kernel)
    return view.reshape(x.shape[0], channels, math.prod(view.shape[2 + len(kernel) :]), copy=True)


def unfold_x(out_bar, sizes, kernel, dilation, padding, stride):
    return fold_(out_bar, sizes, kernel, dilation, padding, stride)


def fold_forward(x, sizes, kernel, dilation, padding, stride):
    counts = window_count(sizes, kernel, stride, padding, dilation)
    columns = x.reshape(x.shape[0], x.shape[1] // math.prod(kernel), *kernel, *counts)
    return overlap_added(columns, sizes, stride, padding, dilation)


def fold_x(out_bar, sizes, kernel, dilation, padding, stride):
    return unfold_(out_bar, sizes, kernel, dilation, padding, stride)


unfold_ = structural("im2col", unfold_forward, unfold_x, grad_name="Im2ColBackward0")
fold_ = structural("col2im", fold_forward, fold_x, grad_name="Col2ImBackward0")


def _parameters(
    sizes: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Any, int]:
    """The parameters of both, and how many windows there are."""
    kernel, dilation = per_dim(kernel_size, 2, "kernel_size"), per_dim(dilation, 2, "dilation")
    pads, stride = per_dim(padding, 2, "padding"), per_dim(stride, 2, "stride")
    for name, values, least in (
        ("kernel_size", kernel, 1), ("dilation", dilation, 1), ("padding", pads, 0),
        ("stride", stride, 1),
    ):  # fmt: skip
        if min(values) < least:
            bound = "greater than zero" if least else "non-negative"
            raise RuntimeError(f"{name} should be {bound}, but got {list(values)}")
    counts = window_count(sizes, kernel, stride, symmetric(pads), dilation)
    if min(counts) < 1:
        raise RuntimeError(
            f"Given spatial size {list(sizes)}, kernel_size={list(kernel)}, "
            f"dilation={list(dilation)}, padding={list(pads)}, stride={list(stride)}, calculated "
            f"shape of the array of sliding blocks as {list(counts)}, but its components must be "
            "at least one."
        )
    return (sizes, kernel, dilation, symmetric(pads), stride), math.prod(counts)


@public(module=NN, method=False)
def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Any:
    """The windows of ``input`` (N, C, H, W) as columns: (N, C * kernel, windows).

    Raises RuntimeError for sizes that don't fit.
    """
    shape = input._spec.shape
    if len(shape) not in (3, 4) or not all(shape[-3:]):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    params, _ = _parameters(shape[-2:], kernel_size, dilation, padding, stride)
    batch = input if len(shape) == 4 else input.unsqueeze(0)
    out = Primitive.apply(unfold_, (batch,), params)
    return out if len(shape) == 4 else out.squeeze(0)


@public(module=NN, method=False)
def fold(
    input: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
    stride: Any = 1,
) -> Any:  # fmt: skip
    """Columns (N, C * kernel, windows) added up where `unfold` read them: (N, C, *output_size).

    Raises RuntimeError for sizes that don't fit.
    """
    shape = input._spec.shape
    if len(shape) not in (2, 3) or not all(shape[-2:]):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    sizes = per_dim(output_size, 2, "output_size")
    params, count = _parameters(sizes, kernel_size, dilation, padding, stride)
    volume = math.prod(params[1])
    if shape[-2] % volume:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={shape[-2]} and kernel_size={params[1]}."
        )
    if shape[-1] != count:
        raise RuntimeError(
            f"Given output_size={sizes}, kernel_size={params[1]}, dilation={params[2]}, "
            f"padding={padding}, stride={params[4]}, expected size of input's dimension 2 to match "
            f"the calculated number of sliding blocks {count}, but got input.size(2)={shape[-1]}."
        )
    batch = input if len(shape) == 3 else input.unsqueeze(0)
    out = Primitive.apply(fold_, (batch,), params)
    return out if len(shape) == 3 else out.squeeze(0)


# -- channels --------------------------------------------------------------------------------------


def _check_factor(name: str, what: str, input: Any, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {input.ndim} "
            "dimension(s)"
        )
    if factor <= 0:
        raise RuntimeError(f"{name} expects a positive {what}, but got {factor}")


@public(module=("", NN), method=False)
def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., C r r, H, W) as (..., C, H r, W r), ``r`` being the ``upscale_factor``."""
    r = int(upscale_factor)
    _check_factor("pixel_shuffle", "upscale_factor", input, r)
    *lead, channels, height, width = input._spec.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    k = len(lead)
    split = input.reshape(*lead, channels // (r * r), r, r, height, width)
    turned = split.permute(*range(k + 1), k + 3, k + 1, k + 4, k + 2)
    return turned.reshape(*lead, channels // (r * r), height * r, width * r)


@public(module=("", NN), method=False)
def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(..., C, H r, W r) as (..., C r r, H, W), ``r`` being the ``downscale_factor``."""
    r = int(downscale_factor)
    _check_factor("pixel_unshuffle", "downscale_factor", input, r)
    *lead, channels, height, width = input._spec.shape
    for name, n in (("height", height), ("width", width)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"{name}={n} is not divisible by {r}"
            )
    k = len(lead)
    split = input.reshape(*lead, channels, height // r, r, width // r, r)
    turned = split.permute(*range(k + 1), k + 2, k + 4, k + 1, k + 3)
    return turned.reshape(*lead, channels * r * r, height // r, width // r)


@public(module=("", NN), method=False)
def channel_shuffle(input: Any, groups: int) -> Any:
    """The channels of (N, C, ...), in ``groups``, with the first of each group first."""
    if input.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    n, channels, *rest = input._spec.shape
    if channels % groups:
        raise RuntimeError(
            "Number of channels must be divisible by groups. Got "
            f"{channels} channels and {groups} groups."
        )
    split = input.reshape(n, groups, channels // groups, *rest)
    return split.transpose(1, 2).reshape(n, channels, *rest)


@public(module=NN, method=False)
def glu(input: Any, dim: int = -1) -> Any:
    """The first half of ``dim`` times the sigmoid of the second; RuntimeError if ``dim`` is odd."""
    if not input.ndim:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    axis = wrap_axis(dim, input.ndim)
    if input._spec.shape[axis] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {axis} is size "
            f"{input._spec.shape[axis]}"
        )
    first, second = chunk(input, 2, axis)
    return first * sigmoid(second)
