"""Running extrema and the running log-sum-exp.

Sources: the running log-sum-exp is a linear recurrence in ``exp(x)``, written with factors of at
most 1, so that neither it nor its derivative overflows (Blelloch, "Prefix sums and their
applications", 1990, for recurrences and their transposes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import select, structural
from tapegrad.rules.arguments import refuse, with_numpy_names
from tapegrad.rules.gathering import along_forward, along_x, constant
from tapegrad.rules.results import named

cummax_ = structural("cummax", along_forward, along_x, contiguous=True)
cummin_ = structural("cummin", along_forward, along_x, contiguous=True)


def _attained(ufunc: np.ufunc, x: np.ndarray, axis: int) -> np.ndarray:
    """Where the running extremum is: the last of equal elements, and the last nan."""
    kernel = fused("running_extrema", x) if axis == x.ndim - 1 else None
    n = x.shape[axis]
    if kernel is not None:
        index = np.empty(x.shape, np.int64)
        kernel(x.size // n, x, index, n, ufunc is np.maximum)
        return index
    extremum = ufunc.accumulate(x, axis)
    positions = np.arange(n).reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    attained = (x == extremum) | (x != x)
    return np.maximum.accumulate(np.where(attained, positions, 0), axis)


def _running(name: str, primitive: Any, ufunc: np.ufunc, input: Any, dim: int) -> Any:
    axis = wrap_axis(dim, input._spec.ndim)
    refuse(input, "c", f"\"{name}_cpu\" not implemented for '{{dtype}}'", NotImplementedError)
    result = named(name, ("values", "indices"))
    x = input._array
    if not x.ndim:
        return result(input.clone(), constant(input, np.zeros((), np.int64)))
    index = _attained(ufunc, x, axis)
    return result(primitive(input, index, axis), constant(input, index.copy()))


@public
@with_numpy_names
def cummax(input: Any, dim: int) -> Any:
    """``(values, indices)`` of the running maximum along ``dim``; of equal elements the last.

    The gradient goes to the element at the index. Raises NotImplementedError for complex numbers.
    """
    return _running("cummax", cummax_, np.maximum, input, dim)


@public
@with_numpy_names
def cummin(input: Any, dim: int) -> Any:
    """``(values, indices)`` of the running minimum along ``dim``; see `cummax`."""
    return _running("cummin", cummin_, np.minimum, input, dim)


# -- log-sum-exp -----------------------------------------------------------------------------------


def logcumsumexp_forward(x, axis):
    if not x.ndim:
        return x.copy()
    if x.dtype.kind != "c":
        return np.logaddexp.accumulate(x, axis)
    out = np.moveaxis(x.copy(), axis, 0)
    for k in range(1, len(out)):
        a, b = out[k - 1], out[k]
        low, high = np.where(a.real < b.real, a, b), np.where(a.real < b.real, b, a)
        summed = high + np.log1p(np.exp(low - high))
        out[k] = np.where(np.isneginf(high.real) & np.isneginf(low.real), high, summed)
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


def logcumsumexp_x(out_bar, x, out, axis):
    if not x.ndim:
        return out_bar
    lead = (slice(None),) * axis
    head, tail = out[(*lead, slice(None, -1))], out[(*lead, slice(1, None))]
    # What out[i] passes on to out[i + 1], and x[i] to out[i]: 0 where the sum is still exp(-inf).
    passed = select(head == -np.inf, 0, np.exp(head - tail))
    share = select(out == -np.inf, 0, np.exp(x - out))
    return np.conjugate(share) * recurrence(out_bar, np.conjugate(passed), axis, True)


def recurrence_forward(x, y, axis, backward):
    out = np.moveaxis(x.copy(), axis, 0)
    factors = np.moveaxis(y, axis, 0)
    steps = range(len(factors))
    for k in reversed(steps) if backward else steps:
        if backward:
            out[k] += factors[k] * out[k + 1]
        else:
            out[k + 1] += factors[k] * out[k]
    return np.ascontiguousarray(np.moveaxis(out, 0, axis))


def recurrence_x(out_bar, y, axis, backward):
    return recurrence(out_bar, np.conjugate(y), axis, not backward)


def recurrence_y(out_bar, y, out, axis, backward):
    x_bar = recurrence(out_bar, np.conjugate(y), axis, not backward)
    lead = (slice(None),) * axis
    first, later = (*lead, slice(None, -1)), (*lead, slice(1, None))
    changed, read = (first, later) if backward else (later, first)
    return x_bar[changed] * np.conjugate(out[read])


logcumsumexp_ = structural("logcumsumexp", logcumsumexp_forward, logcumsumexp_x, contiguous=True)
#: ``out[k + 1] = x[k + 1] + y[k] * out[k]`` along an axis, or from the end: its own transpose.
recurrence = structural("recurrence", recurrence_forward, recurrence_x, recurrence_y)


@public
@with_numpy_names
def logcumsumexp(input: Any, dim: int) -> Any:
    """The logarithm of the running sum of ``exp(input)`` along ``dim``, without overflow.

    Raises NotImplementedError for integers and bools.
    """
    refuse(
        input, "bui", "\"logcumsumexp_out_cpu\" not implemented for '{dtype}'", NotImplementedError
    )
    return logcumsumexp_(input, wrap_axis(dim, input._spec.ndim))
