"""Normalization layers: what is standardised, and over which dimensions, tells them apart.

Batch norm (Ioffe and Szegedy 2015), instance norm (Ulyanov, Vedaldi and Lempitsky 2016) and group
norm (Wu and He 2018) are one primitive; its derivative is in the first of these papers. Local
response norm: Krizhevsky, Sutskever and Hinton 2012. Layer norm: see `layer_norms`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.ondemand.columns import columns_forward, columns_x, columns_y
from tapegrad.rules.ondemand.resampling import AxisMap, resample_
from tapegrad.rules.ondemand.windows import positions
from tapegrad.rules.reductions import mean_, sum_

NN = "nn.functional"


# -- standardising ---------------------------------------------------------------------------------


def standard_forward(x, y, z, view, axes, affine, eps):
    # x is seen in the shape `view`, the weight y and the bias z in `affine`; 0-d ones are missing.
    made = in_rows("standard", view, axes, affine, x)
    if made is not None:
        kernel, layout, shape = made
        weight, bias = filled(y, x, affine, 1), filled(z, x, affine, 0)
        if weight.dtype == bias.dtype == x.dtype:
            out, centre, var = np.empty_like(x), np.empty(shape, x.dtype), np.empty(shape, x.dtype)
            kernel(centre.size, x, weight, bias, out, centre, var, *layout, eps)
            return out, centre, var
    made = columns_forward(
        x, filled(y, x, affine, 1), filled(z, x, affine, 0), view, axes, affine, eps
    )
    if made is not None:
        return made
    wide = x.astype(np.float32) if x.dtype.char == "e" else x
    wide = wide.reshape(view)
    centre = mean_(wide, axes, True)
    out = wide - centre
    var = mean_of_products(out, out, axes)
    out *= 1.0 / np.sqrt(var + eps)
    if y.ndim:
        out *= y.reshape(affine)
    if z.ndim:
        out += z.reshape(affine)
    return out.reshape(x.shape).astype(x.dtype, copy=False), centre, var


def in_rows(name, view, axes, affine, *arrays):
    """The fused function, how the rows lie that it has (see there), and the shape of the means."""
    found = rows_of(view, axes, affine)
    if found is None:
        return None
    layout, shape = found
    kernel = fused(name, *arrays)
    return None if kernel is None else (kernel, layout, shape)


@lru_cache(maxsize=256)
def rows_of(view: Any, axes: Any, affine: Any) -> tuple[Any, Any] | None:
    """What `kernels.fused.normalization` is told of its rows, and the shape of their means.

    None for rows that lie in another way, such as those of vmap with a weight for each sample.
    """
    if 0 in view or len(view) < 2:
        return None
    last = tuple(range(2, len(view)))
    n = math.prod([view[axis] for axis in axes])
    if axes == last and affine[:2] == (1, view[1]) and math.prod(affine[3:]) == 1:
        channels = affine[2]  # in a group
        inner = n // channels
        if channels not in (1, view[2]):
            return None
        layout = (channels, inner, n, inner, view[1], channels, 1)
    elif axes == (0, *last) and affine == (1, view[1], *[1] * len(last)):
        inner = math.prod(view[2:])
        layout = (view[0], inner, inner, view[1] * inner, view[1], 1, 0)
    else:
        return None
    if layout[1] == 1:
        return None
    return layout, tuple([1 if i in axes else m for i, m in enumerate(view)])


def filled(weight, x, affine, value):
    """The weight in one run of memory, or where there is none the value that leaves all as is."""
    if weight.ndim:
        return np.ascontiguousarray(weight)
    return np.full(math.prod(affine), value, x.dtype)


def mean_of_products(x, y, axes):
    """The mean of ``x * y`` over the axes, which are kept."""
    first = axes[0]
    if type(x) is not np.ndarray or not x.size or axes != tuple(range(first, x.ndim)):
        return mean_(x * y, axes, True)
    lead = x.shape[:first]  # of the last axes: without an array of the products
    total = np.vecdot(x.reshape(*lead, -1), y.reshape(*lead, -1))
    total /= total.dtype.type(x.size // total.size)
    return total.reshape(*lead, *[1] * len(axes))


def standardised(x, out, view, eps):
    """``x`` less its mean, and the factor by which it is standardised."""
    return np.reshape(x, view) - out[1], 1.0 / np.sqrt(out[2] + eps)


def standard_x(out_bar, x, y, out, view, axes, affine, eps, x_shape):
    bar, mean_bar, var_bar = out_bar
    if mean_bar is None and var_bar is None:
        made = in_rows("standard_x", view, axes, affine, bar, x, out[1], out[2])
        if made is not None and type(y) is np.ndarray and y.dtype == x.dtype:
            kernel, layout, _ = made
            x_bar, weight = np.empty_like(x), filled(y, x, affine, 1)
            kernel(out[1].size, bar, x, weight, out[1], out[2], x_bar, *layout, eps)
            return x_bar
        if type(y) is np.ndarray:
            x_bar = columns_x(bar, x, filled(y, x, affine, 1), out, view, axes, affine, eps)
            if x_bar is not None:
                return x_bar
    centred, scale = standardised(x, out, view, eps)
    share: Any = None
    if bar is not None:
        bar = np.reshape(bar, view)
        bar = bar * np.reshape(y, affine) if y.ndim else bar
        along = mean_of_products(bar, centred, axes) * (scale * scale)
        share = combined(bar, mean_(bar, axes, True), centred, along, scale)
    count = math.prod([view[axis] for axis in axes])
    if var_bar is not None:
        extra = centred * (var_bar * (2.0 / count))
        share = extra if share is None else share + extra
    if mean_bar is not None:
        extra = np.broadcast_to(mean_bar / count, view)
        share = extra if share is None else share + extra
    return np.reshape(share, x_shape)


def combined(bar, centre, centred, along, scale):
    """``(bar - centre - centred * along) * scale``; of arrays with one new array."""
    if type(bar) is not np.ndarray or type(centred) is not np.ndarray:
        return (bar - centre - centred * along) * scale
    out = centred * -along
    out += bar
    out -= centre
    out *= scale
    return out


def standard_y(out_bar, x, out, view, axes, affine, eps, y_shape):
    if out_bar[0] is None:
        return no_share(out_bar, y_shape)
    made = in_rows("standard_y", view, axes, affine, out_bar[0], x, out[1], out[2])
    if made is not None:
        return summed_by_weight(made, out_bar[0], x, out, eps).reshape(y_shape)
    y_bar = columns_y(out_bar[0], x, out, view, axes, affine, eps)
    if y_bar is not None:
        return y_bar.reshape(y_shape)
    centred, scale = standardised(x, out, view, eps)
    product = np.reshape(out_bar[0], view) * (centred * scale)
    return np.reshape(sum_(product, spread_axes(view, affine), False), y_shape)


def summed_by_weight(made, bar, x, out, eps):
    """The sums of ``bar`` times the standardised x over what has the same weight."""
    kernel, (pieces, inner, row, piece, groups, _, step), _ = made
    rows = out[1].size
    parts = np.empty((rows, pieces), x.dtype)
    kernel(rows, bar, x, out[1], out[2], parts, pieces, inner, row, piece, eps)
    if not step:  # the rows are channels
        return np.add.reduce(parts, 1, np.float64).astype(x.dtype)
    return np.add.reduce(parts.reshape(rows // groups, -1), 0, np.float64).astype(x.dtype)


def standard_z(out_bar, view, affine, z_shape):
    if out_bar[0] is None:
        return no_share(out_bar, z_shape)
    bar = np.reshape(out_bar[0], view)
    if spread_axes(view, affine) == tuple(range(len(view) - len(z_shape))):
        return sum_to_shape(bar, z_shape)
    return np.reshape(sum_(bar, spread_axes(view, affine), False), z_shape)


def no_share(out_bar: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What mean and variance give to weight and bias, on which they don't depend."""
    dtype = next(bar.dtype for bar in out_bar if bar is not None)
    return np.zeros(shape, getattr(dtype, "numpy", dtype))


def spread_axes(view: tuple[int, ...], affine: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which the weight is the same."""
    return tuple([i for i, n in enumerate(affine) if n == 1 and view[i] != 1])


def standardising(name: str, grad_name: str) -> Primitive:
    rules = (standard_x, standard_y, standard_z)
    return structural(name, standard_forward, *rules, outputs=3, grad_name=grad_name)


BATCH = standardising("batch_norm", "NativeBatchNormBackward0")
GROUP = standardising("group_norm", "NativeGroupNormBackward0")


def standardised_by(
    made: Primitive, input: Any, weight: Any, bias: Any, view: Any, axes: Any, affine: Any,
    eps: float,
) -> Any:  # fmt: skip
    """What the primitive makes of Tensors; a weight or bias that is None does nothing."""
    dtype = input._spec.dtype
    weight = np.ones((), dtype) if weight is None else weight
    bias = np.zeros((), dtype) if bias is None else bias
    return Primitive.apply(made, (input, weight, bias), (view, axes, affine, float(eps)))


def check_floating(name: str, input: Any) -> None:
    if input._spec.dtype.kind != "f":
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype}'")


# -- over the batch, each example or groups of channels --------------------------------------------


def _check_channels(input: Any, **vectors: Any) -> None:
    channels = input._spec.shape[1]
    for name, value in vectors.items():
        if value is not None and value._spec.size != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {value._spec.size}")


def _update(running: Any, new: Any, momentum: float) -> None:
    """Move a running statistic towards a new one, in place."""
    if running is not None:
        running.copy_(running.detach() * (1 - momentum) + new.reshape(-1) * momentum)


def _by_running(input: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Standardised by given statistics, through which no gradient flows."""
    for name, value in (("running_mean", mean), ("running_var", var)):
        if value is None:
            raise RuntimeError(f"{name} must be defined in evaluation mode")
    scale = (var.detach() + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean.detach() * scale
    shift = shift if bias is None else shift + bias
    shape = (-1, *[1] * (input.ndim - 2))
    return input * scale.reshape(shape) + shift.reshape(shape)


@public(module=NN, method=False)
def batch_norm(
    input: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """Each channel of ``input`` (N, C, ...) standardised, times weight (C,), plus bias (C,).

    In training over the batch; then the running statistics (or None) move by ``momentum`` towards
    the batch's mean and unbiased variance, in place. Otherwise by the running statistics. Raises
    ValueError for one value per channel in training, RuntimeError for sizes that don't fit.
    """
    shape = input._spec.shape
    if shape == (0,):
        return input.clone()  # no channels
    if len(shape) < 2:
        raise RuntimeError(f"batch_norm expects at least 2 dimensions, but got {len(shape)}")
    count = input._spec.size // max(shape[1], 1)
    if training and count == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    if eps < 0 or (training and eps == 0):
        kind = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {kind}, but got {eps}")
    _check_channels(
        input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    check_floating("batch_norm", input)
    if not training:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    axes, affine = (0, *range(2, len(shape))), (1, shape[1], *[1] * (len(shape) - 2))
    out, mean, var = standardised_by(BATCH, input, weight, bias, shape, axes, affine, eps)
    _update(running_mean, mean.detach(), momentum)
    _update(running_var, var.detach() * (count / max(count - 1, 1)), momentum)
    return out


@public(module=NN, method=False)
def instance_norm(
    input: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None,
    bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """As `batch_norm`, but over each channel of each example by itself.

    Without ``use_input_stats`` by the running statistics. Raises ValueError for one value per
    channel.
    """
    shape = input._spec.shape
    count = math.prod(shape[2:])
    if use_input_stats and count == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.shape}"
        )
    _check_channels(
        input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias
    )
    check_floating("instance_norm", input)
    if not use_input_stats:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    axes, affine = tuple(range(2, len(shape))), (1, shape[1], *[1] * (len(shape) - 2))
    out, mean, var = standardised_by(BATCH, input, weight, bias, shape, axes, affine, eps)
    _update(running_mean, mean.detach().mean(0), momentum)
    variance = var.detach().mean(0) * (count / max(count - 1, 1))
    _update(running_var, variance, momentum)
    return out


@public(module=("", NN), method=False)
def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Any:  # fmt: skip
    """Groups of channels of each example of ``input`` (N, C, ...), standardised.

    Weight and bias are (C,). Raises RuntimeError unless ``num_groups`` divides C, ValueError for
    one value per group.
    """
    shape = input._spec.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(shape)} and num_groups={num_groups}"
        )
    if input._spec.size and input._spec.size // num_groups == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value._spec.shape != shape[1:2]:
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(value.shape)} and input of shape {list(shape)}"
            )
    check_floating("GroupNormKernelImpl", input)
    grouped = (num_groups, shape[1] // num_groups)
    view, affine = (shape[0], *grouped, *shape[2:]), (1, *grouped, *[1] * (len(shape) - 2))
    axes = tuple(range(2, len(view)))
    return standardised_by(GROUP, input, weight, bias, view, axes, affine, eps)[0]


# -- by a size -------------------------------------------------------------------------------------


@public(module=NN, method=False)
def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """``input / (k + alpha * a)**beta``, ``a`` the mean square of ``size`` channels around each.

    ``input`` is (N, C, ...), of 3 or more dimensions; ValueError for fewer.
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)"
        )
    if not input._spec.size:
        return input
    n = input._spec.shape[1]
    parts = positions((n,), (n,), (size,), (1,), ((size // 2, (size - 1) // 2),), (1,))
    taps: list[Any] = [(goal[1], source[1], None) for _, source, goal in parts]
    sums = Primitive.apply(resample_, (input * input,), (((1, AxisMap(n, n, taps)),),))
    return input / (sums * (alpha / size) + k).pow(beta)


@public(module=NN, method=False)
def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """``input`` over its p-norm along ``dim``, which counts at least ``eps``."""
    return input / input.norm(p, dim, True).clamp_min(eps)
