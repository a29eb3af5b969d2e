"""Reductions, running sums and normalisations of the elements where a mask holds.

Each is the operation of that name on the input with the masked-out elements replaced by what does
not change the result, such as 0 in a sum. Gradients there are 0. Where nothing is left the result
is that identity, or nan.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2., 30.])
    >>> tapegrad.masked.mean(x, mask=x < 10)
    tensor(1.5000)

A mask is a bool Tensor (or becomes one) that broadcasts to the input; without one all elements
count. ``dim`` is an int, several, or None: all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes, wrap_axis
from tapegrad.declaration import public
from tapegrad.rules import exponential, extrema, reductions, softmax, statistics
from tapegrad.rules.clamping import maximum
from tapegrad.rules.gathering import constant
from tapegrad.rules.selection import where_


def _whole_mask(input: Any, mask: Any) -> Any:
    """The mask as bools in the input's shape. Raises IndexError if it has more dimensions."""
    if mask._spec.ndim > input._spec.ndim:
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the "
            "input)"
        )
    return mask.broadcast_to(input._spec.shape).bool()


def _filled(input: Any, mask: Any, value: float) -> Any:
    """The input with the masked-out elements replaced; of integers, an infinity is their limit."""
    if mask is None:
        return input
    dtype = input._spec.dtype
    if np.isinf(value) and dtype.kind == "b":
        raise NotImplementedError("a masked extremum of bools is not defined: use int() of them")
    if np.isinf(value) and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        value = limits.max if value > 0 else limits.min
    return where_(_whole_mask(input, mask), input, constant(input, np.array(value, dtype)))


def _dtype_of(input: Any, dtype: Any, summed: bool = False) -> Any:
    """The result's dtype: that given, or the input's; ``summed`` integers and bools are int64."""
    if dtype is None and summed and input._spec.dtype.kind in "bui":
        return input.long().dtype
    return input.dtype if dtype is None else dtype


def _axis(input: Any, dim: int) -> int:
    return wrap_axis(dim, input._spec.ndim)


def masked(name: str) -> Any:
    """Declare ``tapegrad.masked.<name>``."""
    return public(module="masked", method=False, name=name)


# -- sums and products -----------------------------------------------------------------------------


@masked("sum")
def masked_sum(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The sum over ``dim``; integers and bools sum as int64."""
    dtype = _dtype_of(input, dtype, summed=True)
    return reductions.sum(_filled(input, mask, 0), dim, bool(keepdim), dtype=dtype)


@masked("prod")
def masked_prod(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The product over ``dim``; integers and bools multiply as int64."""
    out = _filled(input, mask, 1).to(_dtype_of(input, dtype, summed=True))
    for axis in sorted(reduced_axes(dim, input._spec.ndim), reverse=True):
        out = reductions.prod(out, axis, bool(keepdim))
    return out


@masked("cumsum")
def masked_cumsum(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The running sum along ``dim``, in the input's dtype."""
    dtype = _dtype_of(input, dtype)
    return reductions.cumsum(_filled(input, mask, 0), dim, dtype=dtype)


@masked("cumprod")
def masked_cumprod(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The running product along ``dim``, in the input's dtype."""
    dtype = _dtype_of(input, dtype)
    return reductions.cumprod(_filled(input, mask, 1), dim, dtype=dtype)


# -- extrema ---------------------------------------------------------------------------------------


@masked("amax")
def masked_amax(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The maximum over ``dim``; of nothing -inf, or the least integer."""
    axes = reduced_axes(dim, input._spec.ndim)
    out = extrema.amax(_filled(input, mask, -np.inf), axes, bool(keepdim))
    return out.to(_dtype_of(input, dtype))


@masked("amin")
def masked_amin(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The minimum over ``dim``; of nothing inf, or the greatest integer."""
    axes = reduced_axes(dim, input._spec.ndim)
    out = extrema.amin(_filled(input, mask, np.inf), axes, bool(keepdim))
    return out.to(_dtype_of(input, dtype))


@masked("argmax")
def masked_argmax(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The index of the maximum along ``dim``, in the input's dtype unless one is given."""
    out = extrema.argmax(_filled(input, mask, -np.inf), dim, bool(keepdim))
    return out.to(_dtype_of(input, dtype))


@masked("argmin")
def masked_argmin(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The index of the minimum along ``dim``, in the input's dtype unless one is given."""
    out = extrema.argmin(_filled(input, mask, np.inf), dim, bool(keepdim))
    return out.to(_dtype_of(input, dtype))


@masked("median")
def masked_median(
    input: Any, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The lower median along ``dim``; of nothing nan.

    Raises ValueError if nothing is left of integers.
    """
    real = input if input._spec.dtype.kind == "f" else input.float()
    out = extrema.nanmedian(_filled(real, mask, np.nan), _axis(input, dim), bool(keepdim)).values
    if real is input:
        return out
    if np.isnan(out._array).any():
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    return out.to(_dtype_of(input, dtype))


# -- statistics ------------------------------------------------------------------------------------


def _count(input: Any, dim: Any, keepdim: bool, mask: Any) -> Any:
    """How many elements count, int64."""
    if mask is None:
        mask = constant(input, np.ones(input._spec.shape, np.bool_))
    return reductions.sum(_whole_mask(input, mask), dim, bool(keepdim))


@masked("mean")
def masked_mean(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """The mean over ``dim``; of nothing nan. Raises ValueError for integers and bools."""
    wanted = _dtype_of(input, dtype)
    if not (wanted.is_floating_point or wanted.is_complex):
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} "
            f"dtype must be either a floating point or complex dtype. Got: {wanted}"
        )
    total = masked_sum(input, dim, keepdim=keepdim, dtype=wanted, mask=mask)
    return total / _count(input, dim, keepdim, mask)


@masked("norm")
def masked_norm(
    input: Any, ord: float = 2.0, dim: Any = None, *, keepdim: bool = False, dtype: Any = None,
    mask: Any = None,
) -> Any:  # fmt: skip
    """The ``ord``-norm of vectors over ``dim``."""
    filled = _filled(input, mask, np.inf if ord == -np.inf else 0)
    return statistics.vector_norm_of(filled, float(ord), dim, bool(keepdim), dtype)


@masked("var")
def masked_var(
    input: Any, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None,
    keepdim: bool = False, dtype: Any = None, mask: Any = None,
) -> Any:  # fmt: skip
    """The variance over ``dim``, its divisor the count less ``correction`` (1; 0 if not unbiased).

    Of complex numbers it is complex, with an imaginary part of 0; integers become float32.
    """
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    if input._spec.dtype.kind in "bui":
        input = input.to(input.float().dtype if dtype is None else dtype)
    centred = input - masked_mean(input, dim, keepdim=True, dtype=dtype, mask=mask)
    squares = centred * centred.conj()
    total = masked_sum(squares, dim, keepdim=keepdim, dtype=dtype, mask=mask)
    free = np.maximum(_count(input, dim, keepdim, mask)._array - correction, 0)
    return total / constant(input, free.astype(total._array.real.dtype))


@masked("std")
def masked_std(
    input: Any, dim: Any = None, unbiased: bool | None = None, *, correction: Any = None,
    keepdim: bool = False, dtype: Any = None, mask: Any = None,
) -> Any:  # fmt: skip
    """The standard deviation over ``dim``, as `var`."""
    return np.sqrt(
        masked_var(
            input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
        )
    )


@masked("logsumexp")
def masked_logsumexp(
    input: Any, dim: Any = None, *, keepdim: bool = False, dtype: Any = None, mask: Any = None
) -> Any:
    """``log(sum(exp(input)))`` over ``dim``; of nothing -inf."""
    out = statistics.logsumexp(_filled(input, mask, -np.inf), dim, bool(keepdim))
    return out.to(_dtype_of(input, dtype))


@masked("logaddexp")
def masked_logaddexp(
    input: Any, other: Any, *, dtype: Any = None, input_mask: Any = None, other_mask: Any = None
) -> Any:
    """``log(exp(input) + exp(other))``, each where its mask holds."""
    parts = (_filled(input, input_mask, -np.inf), _filled(other, other_mask, -np.inf))
    return exponential.logaddexp(*parts).to(_dtype_of(input, dtype))


# -- normalisations --------------------------------------------------------------------------------


@masked("softmax")
def masked_softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The softmax along ``dim``: 0 where the mask doesn't hold, nan where nothing is left."""
    return softmax.softmax(_filled(input, mask, -np.inf), _axis(input, dim), dtype=dtype)


@masked("log_softmax")
def masked_log_softmax(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The logarithm of `softmax`."""
    return softmax.log_softmax(_filled(input, mask, -np.inf), _axis(input, dim), dtype=dtype)


@masked("softmin")
def masked_softmin(input: Any, dim: int, *, dtype: Any = None, mask: Any = None) -> Any:
    """The `softmax` of the negative."""
    return softmax.softmax(-_filled(input, mask, np.inf), _axis(input, dim), dtype=dtype)


@masked("normalize")
def masked_normalize(
    input: Any, ord: float, dim: int, *, eps: float = 1e-12, dtype: Any = None, mask: Any = None
) -> Any:
    """Divided by the ``ord``-norm along ``dim``, which counts as ``eps`` at least."""
    size = masked_norm(input, ord, dim, keepdim=True, dtype=dtype, mask=mask)
    least = constant(input, np.array(eps, size._spec.dtype))
    return _filled(input, mask, 0) / maximum(size, least)
