"""Scattering: writing, adding or reducing into a Tensor at the positions of an index.

The index is that of `tapegrad.rules.gathering`: ``scatter`` writes where ``gather`` reads, and
``index_reduce`` reduces where ``index_select`` reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import select, structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.gathering import (
    add_forward,
    add_x,
    as_vector,
    check_bounds,
    check_source,
    index_add_,
    mesh_of,
    rows_of,
    shaped,
)
from tapegrad.rules.indexing import ALL, index_, put_fill, put_forward, put_x, put_y

scatter_ = structural("scatter", put_forward, put_x, put_y)
scatter_value = structural("scatter", put_forward, put_x, put_y, grad_name="ScatterBackward1")
scatter_add_ = structural("scatter_add", add_forward, add_x, put_y)


def _cropped(src: Any, shape: tuple[int, ...]) -> Any:
    if src._spec.shape == shape or not src.ndim:
        return src
    return src[tuple(slice(n) for n in shape)]


@public(inplace=True)
def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Any:
    """``input`` with ``src`` (a Tensor or a number) written where `gather` would read.

    ``reduce``: "add" or "multiply" instead of writing.
    """
    src = value if src is None else src
    if not hasattr(src, "_spec"):
        where = mesh_of(input, dim, index, "scatter")
        if reduce is None:
            number = np.array(src).astype(input._spec.dtype)
            return shaped(scatter_value(as_vector(input), number, where), input._spec.shape)
        src = input.new_full(index._spec.shape, src)
    where = mesh_of(input, dim, index, "scatter", src)
    part = _cropped(src, index._spec.shape)
    if reduce == "multiply":
        return shaped(reduced(as_vector(input), as_vector(part), where, "prod"), input._spec.shape)
    primitive = scatter_ if reduce is None else scatter_add_
    return shaped(primitive(as_vector(input), part, where), input._spec.shape)


@public(inplace=True)
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` with ``src`` added where `gather` would read."""
    where = mesh_of(input, dim, index, "scatter", src)
    part = _cropped(src, index._spec.shape)
    return shaped(scatter_add_(as_vector(input), part, where), input._spec.shape)


# -- reductions ------------------------------------------------------------------------------------


def reduced_forward(x, y, index, kind):
    out = x.copy()
    {"amax": np.maximum, "amin": np.minimum, "prod": np.multiply}[kind].at(out, index, y)
    return out


def extreme_x(out_bar, x, y, out, index, kind):
    return chosen(out_bar, x, y, out, index, kind)[0]


def extreme_y(out_bar, x, y, out, index, kind):
    return chosen(out_bar, x, y, out, index, kind)[1]


def chosen(out_bar, x, y, out, index, kind):
    """The shares of x and y: of an extremum all that attain it share alike; see `factors`."""
    if kind == "prod":
        return factors(out_bar, x, y, index)
    mine = x == out
    theirs = y == index_(out, index)
    count = index_add_(select(mine, 1.0, 0.0), select(theirs, 1.0, 0.0), index)
    share = out_bar / count
    return select(mine, share, 0), select(theirs, index_(share, index), 0)


def factors(out_bar, x, y, index):
    """The shares of the factors of a product: for each one, the product of all others.

    A single 0 among the others stands in the formula as the sum of all zeros, less the element
    itself if it is one, so that second derivatives flow to it.
    """
    x, y = np.conjugate(x), np.conjugate(y)
    x_zero, y_zero = x == 0, y == 0
    left, right = select(x_zero, 1, x), select(y_zero, 1, y)
    mine, theirs = select(x_zero, x, 0), select(y_zero, y, 0)
    one, other = select(x_zero, 1.0, 0.0), select(y_zero, 1.0, 0.0)
    product = out_bar * reduced(left, right, index, "prod")
    zeros, count = index_add_(mine, theirs, index), index_add_(one, other, index)
    x_bar = with_zeros(product / left, zeros - mine, count - one)
    part = index_(product, index) / right
    return x_bar, with_zeros(part, index_(zeros, index) - theirs, index_(count, index) - other)


def with_zeros(product, zeros, count):
    """A product times ``count`` factors that are 0, whose sum is ``zeros``."""
    return select(count == 0, product, select(count == 1, product * zeros, 0))


reduced = structural(
    "scatter_reduce", reduced_forward, extreme_x, extreme_y, grad_name="ScatterReduceBackward0"
)
index_reduced = structural(
    "index_reduce", reduced_forward, extreme_x, extreme_y, grad_name="IndexReduceBackward0"
)


def _reduced(
    primitive: Any, input: Any, source: Any, where: Any, kind: str, include_self: bool
) -> Any:
    """``input`` with ``source`` reduced into it at an index, in the input's shape."""
    shape, dtype = input._spec.shape, input._spec.dtype
    if dtype.kind in {"mean": "b", "amax": "c", "amin": "c"}.get(kind, ""):
        raise NotImplementedError(
            f"\"{primitive.name}_{kind}\" not implemented for '{dtype_name(input)}'"
        )
    whole, part = as_vector(input), as_vector(source)
    if not include_self:
        whole = put_fill(whole, np.array(_start(kind, dtype), dtype), where)
    if kind not in ("sum", "mean"):
        return shaped(primitive(whole, part, where, kind), shape)
    out = (index_add_ if primitive is index_reduced else scatter_add_)(whole, part, where)
    if kind == "mean":
        count = np.full(whole._spec.shape, 1, dtype)
        if not include_self:
            count[where] = 0
        np.add.at(count, where, 1)
        count = np.maximum(count, 1)
        out = out / count if dtype.kind in "fc" else out // count
    return shaped(out, shape)


def _start(kind: str, dtype: np.dtype[Any]) -> Any:
    """What a reduction starts from."""
    if kind not in ("amax", "amin"):
        return 1 if kind == "prod" else 0
    if dtype.kind == "f":
        return -np.inf if kind == "amax" else np.inf
    if dtype.kind == "b":
        return kind == "amin"
    limits = np.iinfo(dtype)
    return limits.min if kind == "amax" else limits.max


@public(inplace=True)
def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """``input`` with ``src`` reduced into it where `gather` would read.

    ``reduce``: "sum", "prod", "mean", "amax" or "amin". Without ``include_self`` the elements of
    ``input`` that something is reduced into don't take part.
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}."
        )
    where = mesh_of(input, dim, index, "scatter", src)
    part = _cropped(src, index._spec.shape)
    return _reduced(reduced, input, part, where, reduce, include_self)


@public(inplace=True)
def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    """``input`` with the parts of ``source`` reduced into it at a 1-d index along ``dim``.

    ``reduce``: "prod", "mean", "amax" or "amin"; ``include_self`` as in `scatter_reduce`.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    axis, array, n = rows_of(input, dim, index, "index_reduce_", "int32/int64")
    check_source(input, axis, array, source, "index_reduce_", RuntimeError)
    check_bounds(array, axis, n, IndexError)
    where = (*(ALL,) * axis, array)
    return _reduced(index_reduced, input, source, where, reduce, include_self)
