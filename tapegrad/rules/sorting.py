"""Sorting, searching and counting. Positions and counts are int64 and have no derivative."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import refuse, sizes_of, with_out
from tapegrad.rules.gathering import (
    INT64,
    along_forward,
    constant,
    is_within,
    mesh,
    positions_along,
)
from tapegrad.rules.indexing import ALL, advanced_forward, advanced_x, index_
from tapegrad.rules.results import named


def sorted_x(out_bar, x_shape, index, axis):
    return spread(out_bar, x_shape, positions_along(x_shape, index, axis))


def spread_forward(x, shape, index):
    out = np.zeros(shape, x.dtype)
    out[index] = x
    return out


def spread_x(out_bar, index):
    return index_(out_bar, index)


#: Zeros with ``x`` at the positions of an index, none of which repeats.
spread = structural("spread", spread_forward, spread_x)
sort_ = structural("sort", along_forward, sorted_x)
topk_ = structural("topk", along_forward, sorted_x)
kthvalue_ = structural("kthvalue", along_forward, sorted_x)
kthvalue_squeezed = structural("kthvalue", advanced_forward, advanced_x)


@public
def nonzero(input: Any, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that aren't 0: a row for each, or a Tensor for each dimension."""
    if as_tuple:
        arrays = np.nonzero(input._array if input.ndim else input._array.reshape(1))
        return tuple(constant(input, a) for a in arrays)
    return constant(input, np.argwhere(input._array))


@public
def argwhere(input: Any) -> Any:
    """The indices of the elements that aren't 0, a row for each."""
    return nonzero(input)


def _order(array: np.ndarray, axis: int, descending: bool, k: int | None = None) -> np.ndarray:
    """The positions that sort, or the first ``k`` of them.

    Equal elements keep their order, and nan counts as largest.
    """
    if not array.ndim:
        return np.zeros((), np.int64)
    lead = (ALL,) * axis
    if not descending:
        order = array.argsort(axis, "stable")
        return order if k is None else order[(*lead, slice(0, k))].copy()
    # Stable in descending order: sort the reversed array and turn the positions round.
    turned = array[(*lead, BACKWARDS)].argsort(axis, "stable")[(*lead, BACKWARDS)]
    if k is not None:
        turned = turned[(*lead, slice(0, k))]
    return np.asarray(np.arange(array.shape[axis] - 1, -1, -1)[turned])


BACKWARDS = slice(None, None, -1)


#: Of dimensions this long, a few are found without sorting all of them.
LONG = 100
#: So many are found in one pass over all.
HANDFUL = 16


def _first(array: np.ndarray, axis: int, descending: bool, k: int) -> np.ndarray:
    """The positions of the ``k`` elements that `_order` puts first; of equal ones, any."""
    n = array.shape[axis]
    found = fused("leading", array) if 0 < k <= HANDFUL and axis == array.ndim - 1 else None
    if found is not None:
        order = np.empty((*array.shape[:-1], k), np.int64)
        found(order.size // k, array, order, n, k, descending, work=4 * array.nbytes)
        return order
    if n < LONG or 4 * k > n or not k:
        return _order(array, axis, descending, k)
    end = slice(n - k, n) if descending else slice(0, k)
    part = array.argpartition(n - k if descending else k - 1, axis)[(*(ALL,) * axis, end)]
    order = _order(along_forward(array, part, axis), axis, descending)
    return along_forward(part, order, axis)


def _given(input: Any, order: np.ndarray) -> Any:
    """The positions as a Tensor: a copy, since a person may change it and the record may not."""
    return constant(input, order.copy())


def _taken(primitive: Any, input: Any, axis: int, order: np.ndarray) -> Any:
    if not input._spec.ndim:
        return primitive(input.reshape(1), np.zeros((), np.int64), 0)
    return Primitive.apply(primitive, (input,), (np.ascontiguousarray(order), axis))


@public
def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The indices that sort along ``dim``, int64."""
    return constant(input, _order(input._array, wrap_axis(dim, input.ndim), descending))


@public
def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """``(values, indices)``, sorted along ``dim``; equal elements keep their order."""
    axis = wrap_axis(dim, input._spec.ndim)
    order = _order(input._array, axis, descending)
    values = _taken(sort_, input, axis, order)
    return named("sort", ("values", "indices"))(values, _given(input, order))


@public
def msort(input: Any) -> Any:
    """``input`` sorted along its first dimension."""
    return sort(input, 0).values


@public
def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The ``k`` largest (or smallest) elements along ``dim``, as ``(values, indices)``."""
    shape, array = input._spec.shape, input._array
    axis = wrap_axis(dim, len(shape))
    if not 0 <= k <= (shape[axis] if shape else 1):
        raise RuntimeError("selected index k out of range")
    order = _first(array, axis, largest, k) if shape else _order(array, axis, largest)
    values = _taken(topk_, input, axis, order)
    return named("topk", ("values", "indices"))(values, _given(input, order))


@public
@with_out
def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The ``k``-th smallest element along ``dim`` (from 1), as ``(values, indices)``."""
    axis = wrap_axis(dim, input.ndim)
    refuse(input, "bc", "\"kthvalue_cpu\" not implemented for '{dtype}'", NotImplementedError)
    if input.ndim and not input._spec.shape[axis]:
        raise IndexError(f"kthvalue(): Expected reduction dim {axis} to have non-zero size.")
    if not 0 < k <= (input._spec.shape[axis] if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
    order = _order(input._array, axis, False)
    if input.ndim:
        order = order[(*(ALL,) * axis, slice(k - 1, k))].copy()
    if keepdim or not input.ndim:
        values = _taken(kthvalue_, input, axis, order)
    else:
        where = [np.broadcast_to(w, order.shape).squeeze(axis) for w in mesh(order, axis)]
        order = order.squeeze(axis)
        values = kthvalue_squeezed(input, tuple(where))
    return named("kthvalue", ("values", "indices"))(values, _given(input, order))


@public(method=False)
def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Any:
    """Which elements are among the test elements (``invert``: are not), bools; one may be a number.

    ``assume_unique``: all of either are distinct.

    Raises RuntimeError for bools and complex numbers.
    """
    given = (elements, test_elements)
    x, values = [a._array if hasattr(a, "_array") else np.array(a) for a in given]
    for a in given:
        if hasattr(a, "_spec"):
            refuse(a, "bc", "Unsupported input type encountered for isin(): {dtype}")
    like = elements if hasattr(elements, "_spec") else test_elements
    found = np.isin(x, values, assume_unique=assume_unique and x.ndim > 0, invert=invert)
    return constant(like, found)


@public(method=False)
def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Where positions in a flattened Tensor of a shape are, one Tensor for each dimension.

    Raises TypeError for indices that aren't integers, ValueError for a negative size.
    """
    if not hasattr(indices, "_spec") or indices._spec.dtype.kind not in "iu":
        kind = getattr(indices, "dtype", type(indices).__name__)
        raise TypeError(f"expected 'indices' to be integer dtype, but got {kind}")
    sizes = sizes_of((shape,))
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    rest, places = indices._array, []
    for n in reversed(sizes):
        places.append(constant(indices, np.asarray(rest % n)))
        rest = rest // n
    return tuple(reversed(places))


@public
def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along ``dim``), sorted; a nan equals nothing.

    With ``return_inverse`` also where each element went, with ``return_counts`` also how many.
    """
    axis = None if dim is None else wrap_axis(dim, input.ndim)
    values, inverse, counts = np.unique(
        input._array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    inverse = inverse.reshape(input._spec.shape if axis is None else -1)
    return _several(input, values, inverse, counts, return_inverse, return_counts)


def _several(
    input: Any, values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool
) -> Any:
    results = [constant(input, values)]
    if with_inverse:
        results.append(constant(input, inverse))
    if with_counts:
        results.append(constant(input, counts))
    return results[0] if len(results) == 1 else tuple(results)


@public
def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """``input`` (flattened, or along ``dim``) without elements that equal the one before."""
    array = input._array.reshape(-1) if dim is None else np.moveaxis(input._array, dim, 0)
    n = len(array)
    new = np.ones(n, np.bool_)
    new[1:] = (array[1:] != array[:-1]).reshape(n - 1, -1).any(1) if n > 1 else True
    values = array[new]
    if dim is not None:
        values = np.ascontiguousarray(np.moveaxis(values, 0, dim))
    inverse = np.cumsum(new) - 1
    if dim is None:
        inverse = inverse.reshape(input._spec.shape)
    counts = np.diff(np.append(np.flatnonzero(new), n))
    return _several(input, values, inverse, counts, return_inverse, return_counts)


@public
def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where to insert ``input`` into a sorted sequence, or into each of several (last dimension).

    ``side`` "left" (default) or "right", or ``right``: before or after equal elements.
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(
            "torch.searchsorted(): side can only be 'left' or 'right' but got " + str(side)
        )
    if side == "left" and right:
        raise RuntimeError(
            "torch.searchsorted(): side and right can't be set to opposites, got side of left "
            "while right was True"
        )
    where: Any = "right" if right else side or "left"
    a = sorted_sequence._array
    v = input._array if hasattr(input, "_array") else np.array(input)
    if a.ndim != 1 and a.shape[:-1] != v.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(a.shape)} and input value tensor {list(v.shape)}"
        )
    if sorter is not None:
        a = np.take_along_axis(a, sorter._array, -1)
    if a.ndim == 1:
        out = np.asarray(np.searchsorted(a, v, where))
    else:
        out = np.empty(v.shape, np.int64)
        for row in np.ndindex(a.shape[:-1]):
            out[row] = np.searchsorted(a[row], v[row], where)
    return constant(sorted_sequence, out.astype(np.int32 if out_int32 else np.int64))


@public(method=False)
def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """Which interval between the sorted boundaries each element falls into."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@public
def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each number from 0 occurs in a vector of integers, or the sum of their weights."""
    array = input._array
    if array.dtype.kind not in "iu":
        raise NotImplementedError(
            f"\"bincount_cpu\" not implemented for '{array.dtype.name.capitalize()}'"
        )
    if array.ndim != 1 or (array.size and array.min() < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    counts = np.bincount(array, None if weights is None else weights._array, minlength)
    if weights is not None and weights._spec.dtype == np.float32:
        counts = counts.astype(np.float32)
    return constant(input, counts)


@public(module="nn.functional")
def one_hot(input: Any, num_classes: int = -1) -> Any:
    """A new last dimension that is 1 at the class and 0 elsewhere, int64."""
    array = input._array
    if array.dtype != INT64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not is_within(array, 1 << 63):
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        if not array.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = array.item(array.argmax()) + 1
    elif not is_within(array, num_classes):
        raise RuntimeError("Class values must be smaller than num_classes.")
    out = np.zeros((*array.shape, num_classes), INT64)
    out.reshape(-1)[np.arange(0, out.size, num_classes or 1) + array.reshape(-1)] = 1
    return constant(input, out)
