"""Normalization layers: what is standardised, and over which dimensions, tells them apart.

Batch norm (Ioffe and Szegedy 2015), instance norm (Ulyanov, Vedaldi and Lempitsky 2016) and group
norm (Wu and He 2018) have the same rules; the derivative is in the first of these papers. Local
response norm: Krizhevsky, Sutskever and Hinton 2012. Layer norm: see `layer_norms`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import public
from tapegrad.fused import COLUMNS, fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import check_dtype, dtype_name
from tapegrad.rules.ondemand.resampling import AxisMap, resample_
from tapegrad.rules.ondemand.windows import positions
from tapegrad.rules.reductions import mean_, sum_

NN = "nn.functional"


# -- standardising ---------------------------------------------------------------------------------


def standard_forward(x, y, z, view, axes, affine, eps):
    # x is seen in the shape `view`, the weight y and the bias z in `affine`; 0-d ones are missing.
    x, plan = np.ascontiguousarray(x), plan_of(view, axes, affine)
    kernel = None if plan is None else fused(plan.name, x)
    if plan is not None and kernel is not None:
        weight, bias = filled(y, x, affine, 1), filled(z, x, affine, 0)
        if weight.dtype == bias.dtype == x.dtype:
            out = np.empty_like(x)
            centre, var = np.empty(plan.shape, x.dtype), np.empty(plan.shape, x.dtype)
            kernel(plan.work, x, weight, bias, out, centre, var, *plan.layout, eps)
            return out, centre, var
    wide = widened(x).reshape(view)
    centre = mean_(wide, axes, True)
    out = wide - centre
    var = mean_of_products(out, out, axes)
    out *= 1.0 / np.sqrt(var + eps)
    if y.ndim:
        out *= y.reshape(affine)
    if z.ndim:
        out += z.reshape(affine)
    return out.reshape(x.shape).astype(x.dtype, copy=False), centre, var


def standard_adjoint(out_bar, x, y, z, out, view, axes, affine, eps, x_shape, y_shape, z_shape):
    """The shares of all inputs at once, of arrays in machine code; None where it isn't there."""
    bar, mean_bar, var_bar = out_bar
    plan = plan_of(view, axes, affine)
    if plan is None or mean_bar is not None or var_bar is not None:
        return None
    bar, x = contiguous(bar), contiguous(x)
    kernel = fused(plan.name + "_adjoint", bar, x)
    if kernel is None:
        return None
    # Where the weight isn't saved nobody wants the share of x.
    weight = filled(NONE if y is None else y, x, affine, 1)
    if weight.dtype != x.dtype:
        return None
    x_bar, sums = np.empty_like(x), np.empty((2, *plan.parts), x.dtype)
    centre, var = np.empty((2, *plan.shape), x.dtype) if out is None else out[1:]
    given = bar, x, weight, centre, var, x_bar, sums
    kernel(plan.work, *given, *plan.layout, out is not None, eps)
    if plan.along:
        sums = np.add.reduce(sums, plan.along, np.float64).astype(x.dtype)
    return x_bar, shaped(sums[0], y_shape), shaped(sums[1], z_shape)


class Plan(NamedTuple):
    """Rows or columns that `kernels.fused.normalization` standardises, and what it is told."""

    name: str
    work: int  # rows, or parts of the columns
    layout: tuple[int, ...]
    shape: tuple[int, ...]  # of means and variances
    parts: tuple[int, ...]  # the sums for weights and biases
    along: int  # the axis, after that of these two, along which they are added up


@lru_cache(maxsize=256)
def plan_of(view: Any, axes: Any, affine: Any) -> Plan | None:
    """None for what lies in another way, such as rows of vmap with a weight for each sample."""
    if 0 in view or len(view) < 2:
        return None
    n, channels, *rest = view
    last = tuple(range(2, len(view)))
    shape = tuple([1 if i in axes else m for i, m in enumerate(view)])
    count = math.prod(view) // math.prod(shape)
    if axes == last and affine[:2] == (1, channels) and math.prod(affine[3:]) == 1:
        pieces = affine[2]  # channels of a group
        inner = count // pieces
        if pieces not in (1, rest[0]) or inner == 1:
            return None
        layout = (pieces, inner, count, inner, channels, pieces, 1)
        return Plan("standard", n * channels, layout, shape, (n, channels * pieces), 1)
    if axes == (0, *last) and affine == (1, channels, *[1] * len(last)):
        inner = math.prod(rest)
        if inner == 1:
            return Plan("columns", -(-channels // COLUMNS), (n, channels), shape, (channels,), 0)
        layout = (n, inner, inner, channels * inner, channels, 1, 0)
        return Plan("standard", channels, layout, shape, (channels, n), 2)
    return None


#: In the place of a weight.
NONE = np.ones(())


def shaped(sums, shape):
    """The share of a weight; of one that is missing, none."""
    return sums.reshape(shape) if shape else None


def contiguous(x):
    """An array in one run of memory, for the kernels; a Tensor as it is."""
    return np.ascontiguousarray(x) if type(x) is np.ndarray else x


def filled(weight, x, affine, value):
    """The weight in one run of memory, or where there is none the value that leaves all as is."""
    if weight.ndim:
        return np.ascontiguousarray(weight)
    return constants(math.prod(affine), str(value), x.dtype)


@lru_cache(maxsize=64)
def constants(n: int, value: str, dtype: np.dtype[Any]) -> np.ndarray:
    # (As a string it can be -0, which is another key than 0.)
    return np.full(n, float(value), dtype)


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
    centred, scale = standardised(x, out, view, eps)
    product = np.reshape(out_bar[0], view) * (centred * scale)
    return np.reshape(sum_(product, spread_axes(view, affine), False), y_shape)


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


BATCH = structural(
    "batch_norm", standard_forward, standard_x, standard_y, standard_z, outputs=3,
    together=standard_adjoint, grad_name="NativeBatchNormBackward0",
)  # fmt: skip


# -- without mean and variance as results ----------------------------------------------------------


def group_forward(x, y, z, view, axes, affine, eps):
    return standard_forward(x, y, z, view, axes, affine, eps)[0]


def group_x(out_bar, x, y, view, axes, affine, eps, x_shape):
    out = moments(x, view, axes)
    return standard_x((out_bar, None, None), x, y, out, view, axes, affine, eps, x_shape)


def group_y(out_bar, x, view, axes, affine, eps, y_shape):
    return standard_y((out_bar,), x, moments(x, view, axes), view, axes, affine, eps, y_shape)


def group_z(out_bar, view, affine, z_shape):
    return standard_z((out_bar,), view, affine, z_shape)


def moments(x, view, axes):
    """In the place of the results of batch norm: none, the mean and the variance."""
    wide = np.reshape(widened(x), view)
    centre = mean_(wide, axes, True)
    centred = wide - centre
    return None, centre, mean_of_products(centred, centred, axes)


def widened(x):
    """An array of halves as singles."""
    return x.astype(np.float32) if type(x) is np.ndarray and x.dtype.char == "e" else x


def group_adjoint(out_bar, x, y, z, out, *rest):
    return standard_adjoint((out_bar, None, None), x, y, z, None, *rest)


GROUP = structural(
    "group_norm", group_forward, group_x, group_y, group_z, together=group_adjoint,
    grad_name="NativeGroupNormBackward0",
)  # fmt: skip
#: Instance norm whose statistics nobody wants.
INSTANCE = structural(
    "batch_norm", group_forward, group_x, group_y, group_z, together=group_adjoint,
    grad_name="NativeBatchNormBackward0",
)  # fmt: skip


def standardised_by(
    made: Primitive, input: Any, weight: Any, bias: Any, view: Any, axes: Any, affine: Any,
    eps: float,
) -> Any:  # fmt: skip
    """What the primitive makes of Tensors; a weight or bias that is None does nothing."""
    dtype = input._spec.dtype
    weight = np.ones((), dtype) if weight is None else weight
    bias = np.zeros((), dtype) if bias is None else bias
    return Primitive.apply(made, (input, weight, bias), (view, axes, affine, float(eps)))


def check_dtypes(name: str, input: Any, *parameters: Any) -> None:
    """Raise torch's errors unless all are of the input's dtype, or of float32 for a half."""
    dtype = input._spec.dtype
    if dtype.kind == "f":
        for parameter in parameters:
            if parameter is not None and parameter._spec.dtype is not dtype:
                break
        else:
            return
    else:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype_name(input)}'")
    given = [p for p in parameters if p is not None]
    if all([p._spec.dtype == dtype for p in given]):
        return
    if given[0]._spec.dtype == dtype:
        for parameter in given:
            check_dtype(input, parameter)
    for parameter in given:
        if parameter._spec.dtype != np.float32:
            raise RuntimeError(
                "mixed dtype (CPU): expect parameter to have scalar type of Float, but got "
                f"{dtype_name(parameter)} for an input of {dtype_name(input)}"
            )
    if dtype != np.float16:
        raise RuntimeError(
            "mixed dtype (CPU): all inputs must share same datatype, but got parameters of Float "
            f"for an input of {dtype_name(input)}"
        )


# -- over the batch, each example or groups of channels --------------------------------------------


def _check_channels(input: Any, **vectors: Any) -> None:
    channels = input._spec.shape[1]
    for name, value in vectors.items():
        if value is not None and value._spec.size != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {value._spec.size}")


def _update(running: Any, new: Any, momentum: float) -> None:
    """Move a running statistic towards a new one, in place."""
    running.mul_(1 - momentum)
    running.add_(new.reshape(-1) * momentum)


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
    out = input * scale.reshape(shape) + shift.reshape(shape)
    return out.to(input.dtype)  # statistics may have another one


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
    check_dtypes("batch_norm", input, weight, bias, running_mean, running_var)
    if not training:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    axes, affine = (0, *range(2, len(shape))), (1, shape[1], *[1] * (len(shape) - 2))
    out, mean, var = standardised_by(BATCH, input, weight, bias, shape, axes, affine, eps)
    if running_mean is not None:
        _update(running_mean, mean.detach(), momentum)
    if running_var is not None:
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
    check_dtypes("batch_norm", input, weight, bias)
    if not use_input_stats:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    axes, affine = tuple(range(2, len(shape))), (1, shape[1], *[1] * (len(shape) - 2))
    if running_mean is running_var is None:
        return standardised_by(INSTANCE, input, weight, bias, shape, axes, affine, eps)
    out, mean, var = standardised_by(BATCH, input, weight, bias, shape, axes, affine, eps)
    if running_mean is not None:
        _update(running_mean, mean.detach().mean(0), momentum)
    if running_var is not None:
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
    check_dtypes("GroupNormKernelImpl", input, weight, bias)
    grouped = (num_groups, shape[1] // num_groups)
    view, affine = (shape[0], *grouped, *shape[2:]), (1, *grouped, *[1] * (len(shape) - 2))
    axes = tuple(range(2, len(view)))
    return standardised_by(GROUP, input, weight, bias, view, axes, affine, eps)


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
