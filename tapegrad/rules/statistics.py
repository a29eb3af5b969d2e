"""Variance, log-sum-exp and norms: reductions made of several steps, each one record.

Sources: log-sum-exp with the maximum taken out, see `tapegrad.rules.softmax`. The norms' gradient
at 0 is the subgradient 0, as in torch.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes
from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import Primitive, select, structural
from tapegrad.rules.arguments import dtype_name, with_numpy_names
from tapegrad.rules.reductions import count_of, kept, mean_, mean_forward, mean_x, sum_forward
from tapegrad.sums import FEW, squares, variance

# -- variance --------------------------------------------------------------------------------------


def var_forward(x, axis, keepdims, correction):
    # The mean first, then the squares: nothing cancels.
    if x.dtype.char == "e":
        return var_forward(x.astype(np.float32), axis, keepdims, correction).astype(x.dtype)
    count = count_of(x.shape, axis)
    free = max(count - correction, 0)
    out = variance(x, axis, free) if free else None
    if out is not None:
        return out.reshape(kept(x.shape, axis)) if keepdims else out
    centred = x - sum_forward(x, axis, True) / np.float32(count).astype(x.dtype)
    squared = centred * centred if x.dtype.kind == "f" else centred.real**2 + centred.imag**2
    return np.true_divide(sum_forward(squared, axis, keepdims), squared.dtype.type(free))


def var_x(out_bar, x, axis, correction):
    free = count_of(x.shape, axis) - correction
    scale = 2.0 / free if free else math.inf
    return np.reshape(out_bar, kept(x.shape, axis)) * scale * (x - mean_(x, axis, True))


def std_forward(x, axis, keepdims, correction):
    return np.sqrt(var_forward(x, axis, keepdims, correction))


def std_x(out_bar, x, out, axis, correction):
    # torch gives 0 where the deviation is 0.
    safe = select(out == 0, 1, out)
    share = select(out == 0, 0 * out_bar, out_bar / (2 * safe))
    return var_x(share, x, axis, correction)


def var_mean_forward(x, axis, keepdims, correction):
    return var_forward(x, axis, keepdims, correction), mean_forward(x, axis, keepdims)


def std_mean_forward(x, axis, keepdims, correction):
    return std_forward(x, axis, keepdims, correction), mean_forward(x, axis, keepdims)


def var_mean_x(out_bar, x, axis, correction):
    var_bar, mean_bar = out_bar
    if mean_bar is None:
        return var_x(var_bar, x, axis, correction)
    share = mean_x(mean_bar, x.shape, axis)
    return share if var_bar is None else share + var_x(var_bar, x, axis, correction)


def std_mean_x(out_bar, x, out, axis, correction):
    std_bar, mean_bar = out_bar
    if mean_bar is None:
        return std_x(std_bar, x, out[0], axis, correction)
    share = mean_x(mean_bar, x.shape, axis)
    return share if std_bar is None else share + std_x(std_bar, x, out[0], axis, correction)


var_ = structural("var", var_forward, var_x, contiguous=True)
std_ = structural("std", std_forward, std_x, contiguous=True)
var_mean_ = structural("var_mean", var_mean_forward, var_mean_x, outputs=2)
std_mean_ = structural("std_mean", std_mean_forward, std_mean_x, outputs=2)


def _spread_of(
    made: Any, input: Any, dim: Any, unbiased: Any, keepdim: bool, correction: Any
) -> Any:
    name = made.name
    if isinstance(dim, bool):
        dim, unbiased = None, dim  # the second form, such as var(input, False)
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    elif unbiased is not None:
        raise TypeError(f"{name}() takes unbiased or correction, not both")
    if input._spec.dtype.kind not in "fc":
        which = "std and var" if name in ("var", "std") else name
        raise RuntimeError(f"{which} only support floating point and complex dtypes")
    axes = reduced_axes(dim, input._spec.ndim)
    if correction >= (count_of(input._spec.shape, axes) if input._spec.size else 0):
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "reduction factor (input numel divided by output numel).",
            UserWarning,
            stacklevel=4,
        )
    return Primitive.apply(made, (input,), (axes, bool(keepdim), correction))


@public
@with_numpy_names
def var(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
    correction: Any = None,
) -> Any:  # fmt: skip
    """The variance over ``dim`` (an int, several, or None: all); real, also of complex numbers.

    Its divisor is the count less ``correction``: 1, or 0 if ``unbiased`` is False. Warns where
    that isn't positive. Raises RuntimeError for integers and bools.
    """
    return _spread_of(var_, input, dim, unbiased, keepdim, correction)


@public
@with_numpy_names
def std(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
    correction: Any = None,
) -> Any:  # fmt: skip
    """The standard deviation over ``dim``, as `var`; its gradient where it is 0 is 0."""
    return _spread_of(std_, input, dim, unbiased, keepdim, correction)


@public(numpy=[np.var], method=False)
def numpy_var(input: Any, dim: Any = None, keepdim: bool = False, ddof: Any = 0) -> Any:
    """NumPy's variance, whose divisor is the count."""
    return var(input, dim, keepdim=keepdim, correction=ddof)


@public(numpy=[np.std], method=False)
def numpy_std(input: Any, dim: Any = None, keepdim: bool = False, ddof: Any = 0) -> Any:
    """NumPy's standard deviation."""
    return std(input, dim, keepdim=keepdim, correction=ddof)


@public
@with_numpy_names
def var_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
    correction: Any = None,
) -> Any:  # fmt: skip
    """The variance, as `var`, and the mean."""
    return _spread_of(var_mean_, input, dim, unbiased, keepdim, correction)


@public
@with_numpy_names
def std_mean(
    input: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
    correction: Any = None,
) -> Any:  # fmt: skip
    """The standard deviation, as `std`, and the mean."""
    return _spread_of(std_mean_, input, dim, unbiased, keepdim, correction)


# -- log-sum-exp -----------------------------------------------------------------------------------


def logsumexp_forward(x, axis, keepdims):
    if x.dtype.char == "e":
        return logsumexp_forward(x.astype(np.float32), axis, keepdims).astype(x.dtype)
    if not x.size:
        return np.log(np.add.reduce(x, axis, None, None, keepdims))  # of an empty sum: -inf
    top = np.maximum.reduce(x.real, axis, None, None, True)
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    out = np.log(np.add.reduce(np.exp(x - top), axis, None, None, True))
    out += top
    return out if keepdims else out.squeeze(axis)


def logsumexp_x(out_bar, x, out, axis):
    shape = kept(x.shape, axis)
    weights = np.exp(x - np.reshape(out, shape))
    return np.reshape(out_bar, shape) * np.conjugate(weights)


logsumexp_ = structural("logsumexp", logsumexp_forward, logsumexp_x, contiguous=True)


@public(module=("", "special"))
@with_numpy_names
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """``log(sum(exp(input)))`` over ``dim`` (an int or several), without overflow.

    Integers and bools become the default float.
    """
    if input._spec.dtype.kind not in "fc":
        input = input + 0.0
    axes = reduced_axes(dim, input._spec.ndim)
    return Primitive.apply(logsumexp_, (input,), (axes, bool(keepdim)))


# -- norms -----------------------------------------------------------------------------------------


def norm_forward(x, axis, keepdims, p):
    if x.dtype.char == "e":
        return norm_forward(x.astype(np.float32), axis, keepdims, p).astype(x.dtype)
    if p == 2:
        summed = squares(x, axis) if x.size >= FEW else None
        if summed is not None:
            return np.sqrt(summed.reshape(kept(x.shape, axis)) if keepdims else summed)
        squared = x * x if x.dtype.kind == "f" else x.real**2 + x.imag**2
        return np.sqrt(np.add.reduce(squared, axis, None, None, keepdims))
    size = np.abs(x)
    if p == 1:
        return np.add.reduce(size, axis, None, None, keepdims)
    if p == 0:
        return np.add.reduce(x != 0, axis, size.dtype, None, keepdims)
    if math.isinf(p):
        ufunc = np.maximum if p > 0 else np.minimum
        return ufunc.reduce(size, axis, None, None, keepdims, *([0.0] if p > 0 else []))
    return np.add.reduce(size**p, axis, None, None, keepdims) ** (1 / p)


def norm_x(out_bar, x, out, axis, p):
    shape = kept(x.shape, axis)
    whole, share = np.reshape(out, shape), np.reshape(out_bar, shape)
    if p == 0:
        return x * 0
    if p == 2:
        return share * select(whole == 0, 0 * x, x / select(whole == 0, 1, whole))
    size = np.abs(x)
    direction = np.sign(x)  # of complex numbers x / |x|
    if p == 1:
        return share * direction
    if math.isinf(p):
        chosen = (size == whole) | (size != size)
        count = np.sum(chosen, axis=axis, keepdims=True)
        return select(chosen, share / count * direction, 0)
    # out**(1 - p) * |x|**(p - 1), with 0 for the powers of 0.
    safe, total = select(size == 0, 1, size), select(whole == 0, 1, whole)
    power = select((size == 0) | (whole == 0), 0 * size, (safe / total) ** (p - 1))
    return share * direction * power


norm_ = structural(
    "norm", norm_forward, norm_x, grad_name="LinalgVectorNormBackward0", contiguous=True
)


def vector_norm_of(input: Any, p: float, dim: Any, keepdim: bool, dtype: Any = None) -> Any:
    """The p-norm over ``dim``, for the faces that have it under their names."""
    if input._spec.dtype.kind not in "fc":
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            + dtype_name(input)
        )
    if dtype is not None:
        wide = dtype.numpy
        if np.result_type(wide, input._spec.dtype) != wide:
            raise RuntimeError(
                f"linalg.vector_norm: the dtype of the input ({dtype_name(input)}) should be "
                "convertible without narrowing to the specified dtype "
                f"({TYPE_NAMES[wide.name]})"
            )
        input = input.to(dtype)
    axes = reduced_axes(dim, input._spec.ndim)
    if (p < 0 or p == math.inf) and not count_of(input._spec.shape, axes):
        name = "inf" if p == math.inf else "-inf" if p == -math.inf else p
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {name} norm on an empty tensor because the "
            "operation does not have an identity"
        )
    return Primitive.apply(norm_, (input,), (axes, bool(keepdim), p))
