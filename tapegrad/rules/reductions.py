"""Sums, means and products, whole and running; counts; all and any.

Sources: elementary calculus. The derivative of a product is ``out / x`` where no factor is 0, and
otherwise the product of the other factors. Halves are added up as singles and, where NumPy would
add one by one, singles as doubles, so that sums are as exact as torch's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes, wrap_axis
from tapegrad.broadcast import spread
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, select, structural
from tapegrad.rules.arguments import dtype_name, refuse, with_numpy_names
from tapegrad.rules.arithmetic import div_
from tapegrad.sums import FEW, total


def kept(shape, axis):
    """A shape with the reduced axes kept, of size 1."""
    return tuple([1 if i in axis else n for i, n in enumerate(shape)])


def count_of(shape, axis):
    """How many elements are reduced to one."""
    return math.prod([shape[i] for i in axis])


def accumulator(x: Any, axis: tuple[int, ...] | None) -> Any:
    """The dtype in which a reduction adds up; None is the array's own."""
    kind = x.dtype.char
    if kind == "d":
        return None
    if kind == "f":
        # NumPy adds pairwise only along the fast axis.
        slow = axis is not None and x.size >= FEW and x.ndim - 1 not in axis
        return np.float64 if slow else None
    if kind == "e":
        return np.float32
    return x.dtype if x.dtype.kind != "c" else None


# -- sums ------------------------------------------------------------------------------------------


def added(x, axis, keepdims=False):
    """The sum over ``axis`` (None: all), in the dtype in which it is added up."""
    if x.size >= FEW:
        out = total(x, axis)
        if out is not None:
            return out.reshape(kept(x.shape, axis)) if keepdims else out
    elif x.dtype.char in "fd":
        # add.reduce costs a third of np.sum.
        return np.add.reduce(x, axis, None, None, keepdims)
    return np.add.reduce(x, axis, accumulator(x, axis), None, keepdims)


def sum_forward(x, axis, keepdims):
    out = added(x, axis, keepdims)
    return out if out.dtype is x.dtype else out.astype(x.dtype)


def sum_all_forward(x):
    if x.size < FEW and x.dtype.char in "fd":
        return np.add.reduce(x, None)  # without a call: it is the commonest of all
    return sum_forward(x, None, False)


def sum_x(out_bar, x_shape, axis):
    return spread(np.reshape(out_bar, kept(x_shape, axis)), x_shape)


def sum_all_x(out_bar, x_shape):
    return spread(out_bar, x_shape)


sum_ = structural("sum", sum_forward, sum_x, grad_name="SumBackward1", contiguous=True)
sum_all = structural("sum", sum_all_forward, sum_all_x)


def _summable(input: Any, dtype: Any) -> Any:
    if dtype is not None:
        made = input.to(dtype)
        if input.requires_grad and made._spec.dtype.kind not in "fc":
            raise RuntimeError(f"Autograd not support dtype: {dtype_name(made)}")
        return made
    return input.long() if input._spec.dtype.kind in "bui" else input


@public(numpy=[np.sum])
@with_numpy_names
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum over ``dim`` (an int or several; None: all). Integers and bools sum as int64.

    Raises IndexError for a dimension out of range, RuntimeError for one named twice.
    """
    if dtype is not None or input._spec.dtype.kind in "bui":
        input = _summable(input, dtype)
    if dim is None and not keepdim:
        return Primitive.apply(sum_all, (input,))
    axes = reduced_axes(dim, input._spec.ndim)
    return Primitive.apply(sum_, (input,), (axes, bool(keepdim)))


def nansum_forward(x, axis, keepdims):
    return sum_forward(np.where(x != x, x.dtype.type(0), x), axis, keepdims)


def nansum_x(out_bar, x, axis):
    return select(x == x, np.reshape(out_bar, kept(x.shape, axis)), 0)


nansum_ = structural("nansum", nansum_forward, nansum_x, contiguous=True)


@public
@with_numpy_names
def nansum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of what isn't nan, as `sum`. Raises RuntimeError for complex numbers."""
    refuse(input, "c", "nansum on CPU does not support complex inputs")
    input = _summable(input, dtype)
    if input._spec.dtype.kind != "f":
        return sum(input, dim, keepdim)
    return nansum_(input, reduced_axes(dim, input.ndim), bool(keepdim))


# -- means -----------------------------------------------------------------------------------------


def mean_forward(x, axis, keepdims):
    out = added(x, axis, keepdims) / count_of(x.shape, axis)
    return out if out.dtype is x.dtype else out.astype(x.dtype)


def mean_x(out_bar, x_shape, axis):
    whole = spread(np.reshape(out_bar, kept(x_shape, axis)), x_shape)
    return whole / (count_of(x_shape, axis) or 1)


def mean_all_forward(x):
    out = added(x, None) / x.size
    return out if out.dtype is x.dtype else out.astype(x.dtype)


def mean_all_x(out_bar, x_shape):
    return spread(out_bar, x_shape) / (math.prod(x_shape) or 1)


mean_ = structural("mean", mean_forward, mean_x, grad_name="MeanBackward1", contiguous=True)
mean_all = structural("mean", mean_all_forward, mean_all_x)


@public(numpy=[np.mean])
@with_numpy_names
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean over ``dim`` (an int or several; None: all).

    Raises RuntimeError for integers and bools, unless ``dtype`` makes them real or complex.
    """
    kind = "Input"
    if dtype is not None:
        input, kind = input.to(dtype), "Optional"
    if input._spec.dtype.kind not in "fc":
        raise RuntimeError(
            f"mean(): could not infer output dtype. {kind} dtype must be either a floating point "
            f"or complex dtype. Got: {dtype_name(input)}"
        )
    if dim is None and not keepdim:
        return Primitive.apply(mean_all, (input,))
    axes = reduced_axes(dim, input._spec.ndim)
    return Primitive.apply(mean_, (input,), (axes, bool(keepdim)))


@public
@with_numpy_names
def nanmean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean of what isn't nan; nan where all is. Raises RuntimeError for integers."""
    refuse(
        input, "bui",
        "nanmean(): expected input to have floating point or complex dtype but got {dtype}",
    )  # fmt: skip
    count = sum(input.isnan().logical_not(), dim, keepdim)
    return div_(nansum(input, dim, keepdim, dtype=dtype), count)


# -- products --------------------------------------------------------------------------------------


def prod_forward(x, axis, keepdims):
    wide = accumulator(x, axis)
    out = np.multiply.reduce(x, axis, wide, None, keepdims)
    return out if wide is None else out.astype(x.dtype, copy=False)


def prod_x(out_bar, x, out, axis):
    shape = kept(x.shape, axis)
    out_bar = np.reshape(out_bar, shape)
    if np.all(x != 0):
        return out_bar * np.conjugate(np.reshape(out, shape) / x)
    return out_bar * np.conjugate(others(x, axis))


def others(x, axis):
    """The product of all others, for each element: from the left times from the right."""
    rest = tuple([i for i in range(x.ndim) if i not in axis])
    order = rest + axis
    lead = tuple([x.shape[i] for i in rest])
    flat = np.reshape(np.transpose(x, order), (*lead, count_of(x.shape, axis)))
    one = flat[..., :1] * 0 + 1
    left = np.cumprod(np.concatenate([one, flat[..., :-1]], axis=-1), axis=-1)
    turned = np.flip(flat[..., 1:], -1)
    right = np.flip(np.cumprod(np.concatenate([one, turned], axis=-1), axis=-1), -1)
    back = np.reshape(left * right, (*lead, *[x.shape[i] for i in axis]))
    return np.transpose(back, tuple([order.index(i) for i in range(x.ndim)]))


prod_ = structural("prod", prod_forward, prod_x, grad_name="ProdBackward1", contiguous=True)
prod_all = structural("prod", prod_forward, prod_x)


@public(numpy=[np.prod])
@with_numpy_names
def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The product over ``dim`` (None: all). Integers and bools multiply as int64."""
    if dtype is not None or input._spec.dtype.kind in "bui":
        input = _summable(input, dtype)
    made = prod_all if dim is None else prod_
    return Primitive.apply(made, (input,), (reduced_axes(dim, input._spec.ndim), bool(keepdim)))


# -- running sums and products ---------------------------------------------------------------------


#: Running sums of fewer terms are NumPy's.
SHORT = 100


def _running(ufunc: Any, x: Any, axis: int) -> Any:
    if not x.ndim:
        return x.copy()
    kind = x.dtype.kind
    wide = x.dtype if kind in "bui" else None
    if x.dtype.char == "e":
        wide = np.float32
    elif x.dtype.char == "f" and x.size > FEW:
        wide = np.float64
    out = ufunc.accumulate(x, axis, wide)
    return out if wide is None else out.astype(x.dtype, copy=False)


def _running_sum(x: Any, axis: int, step: int) -> Any:
    """Along an axis, from its first element on; with a step of -1 from its last one."""
    compiled = x.size > SHORT and axis == x.ndim - 1
    kernel = fused("running_sums", x) if compiled else None
    if kernel is not None:
        out = np.empty_like(x)
        n = x.shape[-1]
        kernel(x.size // n, x, out, n, step)
        return out
    turn = (*[slice(None)] * axis, slice(None, None, step))
    return _running(np.add, x[turn], axis)[turn] if x.ndim else x.copy()


def cumsum_forward(x, axis):
    return _running_sum(x, axis, 1)


def cumsum_x(out_bar, axis):
    return reversed_cumsum(out_bar, axis)


def reversed_cumsum_forward(x, axis):
    return _running_sum(x, axis, -1)


def reversed_cumsum_x(out_bar, axis):
    return cumsum_(out_bar, axis)


cumsum_ = structural("cumsum", cumsum_forward, cumsum_x, contiguous=True)
#: The running sum from the end: the transpose of `cumsum`.
reversed_cumsum = structural(
    "reversed_cumsum", reversed_cumsum_forward, reversed_cumsum_x, grad_name="FlipBackward0"
)


@public(numpy=[np.cumsum], method=False)
def numpy_cumsum(input: Any, dim: Any = None) -> Any:
    """NumPy's running sum: without an axis that of all elements in a row."""
    return cumsum(input.reshape(-1), 0) if dim is None else cumsum(input, dim)


@public(inplace=True)
@with_numpy_names
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """The running sum along ``dim``. Integers and bools sum as int64."""
    if dtype is not None or input._spec.dtype.kind in "bui":
        input = _summable(input, dtype)
    return Primitive.apply(cumsum_, (input,), (wrap_axis(dim, input._spec.ndim),))


def cumprod_forward(x, axis):
    return _running(np.multiply, x, axis)


def cumprod_x(out_bar, x, out, axis):
    if not x.ndim:
        return out_bar
    if np.all(x != 0):
        return reversed_cumsum(out_bar * np.conjugate(out), axis) / np.conjugate(x)
    # The sum over k >= i of out_bar[k] * (product of x[j], j <= k, j != i), exact with zeros too.
    lead = [slice(None)] * axis
    n = x.shape[axis]
    shares = []
    for i in range(n):
        one = x[(*lead, slice(i, i + 1))] * 0 + 1
        head = np.prod(x[(*lead, slice(0, i))], axis=axis, keepdims=True)
        tail = np.concatenate([one, x[(*lead, slice(i + 1, n))]], axis=axis)
        factors = np.conjugate(head * np.cumprod(tail, axis=axis))
        shares.append(np.sum(out_bar[(*lead, slice(i, n))] * factors, axis=axis, keepdims=True))
    return np.concatenate(shares, axis=axis)


cumprod_ = structural("cumprod", cumprod_forward, cumprod_x, contiguous=True)


@public(numpy=[np.cumprod], inplace=True)
@with_numpy_names
def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """The running product along ``dim``. Integers and bools multiply as int64."""
    if dtype is not None or input._spec.dtype.kind in "bui":
        input = _summable(input, dtype)
    return Primitive.apply(cumprod_, (input,), (wrap_axis(dim, input._spec.ndim),))


# -- all, any, how many ----------------------------------------------------------------------------


def all_forward(x, axis, keepdims):
    out = np.logical_and.reduce(x, axis, None, None, keepdims)
    return out.astype(x.dtype) if x.dtype.char == "B" else out


def any_forward(x, axis, keepdims):
    out = np.logical_or.reduce(x, axis, None, None, keepdims)
    return out.astype(x.dtype) if x.dtype.char == "B" else out


def count_nonzero_forward(x, axis):
    return np.add.reduce(x != 0, axis, np.int64)


all_ = structural("all", all_forward, None, contiguous=True)
any_ = structural("any", any_forward, None, contiguous=True)
count_nonzero_ = structural("count_nonzero", count_nonzero_forward, None, contiguous=True)


@public(numpy=[np.all])
@with_numpy_names
def all(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all elements are true (not 0), over ``dim``: bools, but uint8 for uint8."""
    axes = reduced_axes(dim, input._spec.ndim)
    return Primitive.apply(all_, (input,), (axes, bool(keepdim)))


@public(numpy=[np.any])
@with_numpy_names
def any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether any element is true (not 0), over ``dim``: bools, but uint8 for uint8."""
    axes = reduced_axes(dim, input._spec.ndim)
    return Primitive.apply(any_, (input,), (axes, bool(keepdim)))


@public(numpy=[np.count_nonzero])
@with_numpy_names
def count_nonzero(input: Any, dim: Any = None) -> Any:
    """How many elements are not 0, over ``dim``, int64."""
    return count_nonzero_(input, reduced_axes(dim, input.ndim))
