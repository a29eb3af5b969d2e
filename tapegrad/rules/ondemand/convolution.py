"""Convolution, in 1 to 3 dimensions, in ``nn.functional`` and at the top.

Three bilinear maps, each the adjoint of the others in one operand: convolution itself, transposed
convolution (its adjoint with respect to the input) and the correlation that is its adjoint with
respect to the weight. Each is a product of matrices with the windows written out as columns
(Chellapilla, Puri and Simard, *High performance convolutional neural networks for document
processing*, 2006), in groups.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.matrices import conjugate
from tapegrad.rules.ondemand.planes import channel_sums, window_products, windowed
from tapegrad.rules.ondemand.windows import (
    overlap_added,
    padded,
    per_dim,
    symmetric,
    window_count,
    windows,
)

NN = ("", "nn.functional")


def geometry_of(x_shape, y_shape, stride, padding, dilation, groups):
    counts = window_count(x_shape[2:], y_shape[2:], stride, padding, dilation)
    return (x_shape, y_shape, stride, padding, dilation, groups, counts)


def conv_forward(x, y, stride, padding, dilation, groups):
    return biased_forward(x, y, None, stride, padding, dilation, groups)


def biased_forward(x, y, z, stride, padding, dilation, groups):
    geometry = geometry_of(x.shape, y.shape, stride, padding, dilation, groups)
    out = windowed(x, y, z, geometry, False)
    return conv_of_columns(x, y, z, *geometry[2:-1]) if out is None else out


def conv_of_columns(x, y, z, stride, padding, dilation, groups):
    kernel = y.shape[2:]
    view = windows(padded(x, padding), kernel, stride, dilation)
    n, channels, counts = x.shape[0], x.shape[1] // groups, view.shape[2 + len(kernel) :]
    columns = view.reshape(n, groups, channels * math.prod(kernel), math.prod(counts))
    weight = y.reshape(groups, y.shape[0] // groups, channels * math.prod(kernel))
    return with_bias(np.matmul(weight, columns).reshape(n, y.shape[0], *counts), z)


def conv_x(out_bar, y, x_shape, stride, padding, dilation, groups):
    return transposed_(out_bar, conjugate(y), x_shape[2:], stride, padding, dilation, groups)


def conv_y(out_bar, x, y_shape, stride, padding, dilation, groups):
    return correlation(out_bar, conjugate(x), y_shape[2:], stride, padding, dilation, groups)


def transposed_forward(x, y, sizes, stride, padding, dilation, groups):
    return biased_transposed_forward(x, y, None, sizes, stride, padding, dilation, groups)


def biased_transposed_forward(x, y, z, sizes, stride, padding, dilation, groups):
    shape = (x.shape[0], groups * y.shape[1], *sizes)
    geometry = (shape, y.shape, stride, padding, dilation, groups, x.shape[2:])
    out = windowed(x, y, z, geometry, True)
    return transposed_of_columns(x, y, z, sizes, *geometry[2:-1]) if out is None else out


def transposed_of_columns(x, y, z, sizes, stride, padding, dilation, groups):
    # With the examples last, what is added up lies in long runs of memory.
    n, kernel, counts = x.shape[0], y.shape[2:], x.shape[2:]
    outputs, channels = y.shape[0] // groups, y.shape[1]
    rows = y.reshape(groups, outputs, channels * math.prod(kernel))
    given = np.moveaxis(x, 0, -1).reshape(groups, outputs, math.prod(counts) * n)
    columns = np.matmul(rows.swapaxes(1, 2), given)
    columns = columns.reshape(groups * channels, *kernel, *counts, n)
    out = overlap_added(columns, sizes, stride, padding, dilation, 1)
    return with_bias(np.ascontiguousarray(np.moveaxis(out, -1, 0)), z)


def transposed_x(out_bar, y, stride, padding, dilation, groups):
    return conv_(out_bar, conjugate(y), stride, padding, dilation, groups)


def transposed_y(out_bar, x, y_shape, stride, padding, dilation, groups):
    return correlation(conjugate(x), out_bar, y_shape[2:], stride, padding, dilation, groups)


def correlation_forward(x, y, kernel, stride, padding, dilation, groups):
    shape = (x.shape[1], y.shape[1] // groups, *kernel)
    geometry = (y.shape, shape, stride, padding, dilation, groups, x.shape[2:])
    out = window_products(x, y, geometry)
    return correlation_of_columns(x, y, kernel, *geometry[2:-1]) if out is None else out


def correlation_of_columns(x, y, kernel, stride, padding, dilation, groups):
    # x is like the result of the convolution, y like its input. All examples are one sum.
    dims = len(kernel)
    view = windows(padded(y, padding), kernel, stride, dilation)
    n, outputs, channels = x.shape[0], x.shape[1] // groups, y.shape[1] // groups
    total = n * math.prod(x.shape[2:])
    columns = np.moveaxis(view, 0, 1 + dims).reshape(groups, channels * math.prod(kernel), total)
    rows = x.swapaxes(0, 1).reshape(groups, outputs, total)
    return np.matmul(rows, columns.swapaxes(1, 2)).reshape(x.shape[1], channels, *kernel)


def correlation_x(out_bar, y, stride, padding, dilation, groups):
    return conv_(conjugate(y), out_bar, stride, padding, dilation, groups)


def correlation_y(out_bar, x, y_shape, stride, padding, dilation, groups):
    return transposed_(conjugate(x), out_bar, y_shape[2:], stride, padding, dilation, groups)


def with_bias(product, z):
    if z is None:
        return product
    product += z.reshape(-1, *[1] * (product.ndim - 2))
    return product


def bias_z(out_bar):
    sums = channel_sums(out_bar)
    if sums is not None:
        return sums
    return np.sum(out_bar, axis=(0, *range(2, out_bar.ndim)))


conv_ = structural("convolution", conv_forward, conv_x, conv_y)
conv_biased = structural("convolution", biased_forward, conv_x, conv_y, bias_z)
transposed_ = structural(
    "conv_transpose",
    transposed_forward,
    transposed_x,
    transposed_y,
    grad_name="ConvolutionBackward0",
)
transposed_biased = structural(
    "conv_transpose",
    biased_transposed_forward,
    transposed_x,
    transposed_y,
    bias_z,
    grad_name="ConvolutionBackward0",
)
#: The adjoint of a convolution's weight: of the result's adjoint ``x`` and the input ``y``.
correlation = structural(
    "conv_weight",
    correlation_forward,
    correlation_x,
    correlation_y,
    grad_name="ConvolutionBackwardBackward0",
)


# -- checks ----------------------------------------------------------------------------------------


def _check_operands(input: Any, weight: Any, bias: Any, dims: int, transposed: bool) -> None:
    for other, what in ((weight, "weight"), (bias, "bias")):
        if other is not None and other._spec.dtype != input._spec.dtype:
            raise RuntimeError(
                f"Input type ({dtype_name(input)}) and {what} type ({dtype_name(other)}) should be "
                "the same"
            )
    if weight.ndim < 3:
        raise RuntimeError("weight should have at least three dimensions")
    if weight.ndim != dims + 2:
        raise RuntimeError(
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight "
            f"{list(weight.shape)}, but got {input.ndim}-dimensional input of size "
            f"{list(input.shape)} instead"
        )
    if input.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to "
            f"conv{'_transpose' * transposed}{dims}d, but got input of size: {list(input.shape)}"
        )


def _check_steps(stride: Any, dilation: Any, groups: int) -> None:
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if min(stride) <= 0:
        raise RuntimeError("non-positive stride is not supported")
    if min(dilation) <= 0:
        raise RuntimeError("dilation should be greater than zero")


def _check_channels(input: Any, weight: Any, bias: Any, groups: int, transposed: bool) -> None:
    shape, found = list(weight.shape), list(input.shape)
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {shape} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {shape} instead"
        )
    channels = shape[0] if transposed else shape[1] * groups
    if found[1] != channels:
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else f'groups={groups}, '}weight of size "
            f"{shape}, expected input{found} to have {channels} channels, but got {found[1]} "
            "channels instead"
        )
    outputs = shape[1] * groups if transposed else shape[0]
    if bias is not None and bias._spec.shape != (outputs,):
        raise RuntimeError(
            f"Given weight of size {shape}, expected bias to be 1-dimensional with {outputs} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )


# -- convolution -----------------------------------------------------------------------------------


def _padding_of(padding: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    dims = len(kernel)
    if not isinstance(padding, str):
        sizes = per_dim(padding, dims, "padding")
        if min(sizes) < 0:
            raise RuntimeError("negative padding is not supported")
        return symmetric(sizes)
    if padding == "valid":
        return symmetric((0,) * dims)
    if padding != "same":
        raise RuntimeError(
            f"Invalid padding string: '{padding}'; padding must be 'valid', 'same', or numbers"
        )
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple([(total // 2, total - total // 2) for total in totals])


def _convolved(
    dims: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: int,
) -> Any:  # fmt: skip
    _check_operands(input, weight, bias, dims, False)
    kernel = weight._spec.shape[2:]
    stride, dilation = per_dim(stride, dims, "stride"), per_dim(dilation, dims, "dilation")
    _check_steps(stride, dilation, groups)
    pads = _padding_of(padding, kernel, stride, dilation)
    batched = input.ndim == dims + 2
    if not batched:
        input = input.unsqueeze(0)
    _check_channels(input, weight, bias, groups, False)
    sizes = input._spec.shape[2:]
    if min(window_count(sizes, kernel, (1,) * dims, pads, dilation)) < 1:
        whole = [n + p[0] + p[1] for n, p in zip(sizes, pads, strict=True)]
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, whole))}). Kernel "
            f"size: ({' x '.join(map(str, reach))}). Kernel size can't be greater than actual "
            "input size"
        )
    params = (stride, pads, dilation, groups)
    if bias is None:
        out = Primitive.apply(conv_, (input, weight), params)
    else:
        out = Primitive.apply(conv_biased, (input, weight, bias), params)
    return out if batched else out.squeeze(0)


@public(module=NN, method=False)
def conv1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Windows of ``input`` (N, C, L) or (C, L) times ``weight`` (O, C / groups, K), summed.

    Result (N, O, L'), with L' = (L + 2 padding - dilation (K - 1) - 1) // stride + 1; ``padding``
    may be "valid" or "same". All operands have one dtype, real or complex. Raises RuntimeError for
    sizes that don't fit.
    """
    return _convolved(1, input, weight, bias, stride, padding, dilation, groups)


@public(module=NN, method=False)
def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """As `conv1d` in two dimensions: (N, C, H, W) with weight (O, C / groups, K, L)."""
    return _convolved(2, input, weight, bias, stride, padding, dilation, groups)


@public(module=NN, method=False)
def conv3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """As `conv1d` in three dimensions."""
    return _convolved(3, input, weight, bias, stride, padding, dilation, groups)


# -- its adjoint -----------------------------------------------------------------------------------


def _transposed(
    dims: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any,
    output_padding: Any, groups: int, dilation: Any,
) -> Any:  # fmt: skip
    _check_operands(input, weight, bias, dims, True)
    kernel = weight._spec.shape[2:]
    stride, dilation = per_dim(stride, dims, "stride"), per_dim(dilation, dims, "dilation")
    pads = per_dim(padding, dims, "padding")
    extra = per_dim(output_padding, dims, "output_padding")
    _check_steps(stride, dilation, groups)
    if min(pads) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(extra) < 0:
        raise RuntimeError("negative output_padding is not supported")
    for e, s, d in zip(extra, stride, dilation, strict=True):
        if e >= max(s, d):
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding={e}, stride={s}, dilation={d}"
            )
    batched = input.ndim == dims + 2
    if not batched:
        input = input.unsqueeze(0)
    _check_channels(input, weight, bias, groups, True)
    sizes = tuple(
        [
            (n - 1) * s - 2 * p + d * (k - 1) + e + 1
            for n, s, p, d, k, e in zip(
                input._spec.shape[2:], stride, pads, dilation, kernel, extra, strict=True
            )
        ]
    )
    if min(sizes) < 1:
        raise RuntimeError(
            f"Given input size per channel: {list(input._spec.shape[2:])}. Calculated output size "
            f"per channel: {list(sizes)}. Output size is too small"
        )
    # What is added at the end belongs to no window: to the convolution it is padding taken off.
    around = tuple([(p, p - e) for p, e in zip(pads, extra, strict=True)])
    params = (sizes, stride, around, dilation, groups)
    if bias is None:
        out = Primitive.apply(transposed_, (input, weight), params)
    else:
        out = Primitive.apply(transposed_biased, (input, weight, bias), params)
    return out if batched else out.squeeze(0)


@public(module=NN, method=False)
def conv_transpose1d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """The adjoint of `conv1d` with respect to its input: (N, C, L), weight (C, O / groups, K).

    Result (N, O, (L - 1) stride - 2 padding + dilation (K - 1) + output_padding + 1). Raises
    RuntimeError for sizes that don't fit.
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


@public(module=NN, method=False)
def conv_transpose2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """As `conv_transpose1d` in two dimensions."""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


@public(module=NN, method=False)
def conv_transpose3d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """As `conv_transpose1d` in three dimensions."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
