"""Rules of functions that look at arrays: sorting, gathering, losses of classes, and the like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad import alike
from tapegrad.axes import wrap_axis
from tapegrad.batched import Batched, batched
from tapegrad.batching.apply import align, filled, lower, raised
from tapegrad.primitive import Primitive
from tapegrad.rules import (
    cumulative,
    extrema,
    replacing,
    sorting,
)
from tapegrad.rules import (
    gathering as gatherings,
)
from tapegrad.rules import (
    scattering as scatterings,
)
from tapegrad.rules.arguments import sizes_of
from tapegrad.rules.ondemand import (
    classification,
)
from tapegrad.rules.ondemand import (
    embedding as embeddings,
)
from tapegrad.rules.ondemand.losses import reduction_of
from tapegrad.rules.shape import reshape
from tapegrad.rules.softmax import log_softmax

__all__ = ["FUNCTIONS"]

Function = Callable[..., Any]


# -- along a dimension -----------------------------------------------------------------------------


def along(function: Function, position: int, default: Any = -1) -> Function:
    """The rule of a function of one Tensor whose argument at ``position`` is ``dim``."""

    def rule(input: Any, *args: Any, **kwargs: Any) -> Any:
        given = list(args)
        if "dim" in kwargs:
            dim = kwargs.pop("dim")
        else:
            dim = given.pop(position) if len(given) > position else default
        if dim is None:
            return NotImplemented
        level, size, (value,), _ = lower((input,))
        axis = wrap_axis(dim, input.ndim)
        if input.ndim:
            return raised(function(value, *given[:position], dim=axis + 1, **kwargs), level)
        out = function(value.reshape(size, 1), *given[:position], dim=1, **kwargs)
        return raised(tuple(x.reshape(size) for x in out), level)

    def with_rest(input: Any, *args: Any, **kwargs: Any) -> Any:
        # What stands after ``dim`` is given by name.
        names = REST.get(function.__name__, ())
        extra = args[position + 1 :]
        kwargs.update(zip(names, extra, strict=False))
        return rule(input, *args[: position + 1], **kwargs)

    return with_rest


#: The parameters that come after ``dim``.
REST = {
    "sort": ("descending", "stable"),
    "argsort": ("descending", "stable"),
    "topk": ("largest", "sorted"),
    "kthvalue": ("keepdim",),
    "max": ("keepdim",),
    "min": ("keepdim",),
    "median": ("keepdim",),
    "nanmedian": ("keepdim",),
}


# -- gathering and scattering ----------------------------------------------------------------------


def _full(*tensors: Any) -> Any:
    level, size, values, lifted = lower(tensors)
    return level, size, [filled(v, up, size) for v, up in zip(values, lifted, strict=True)]


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """Each sample from its own place."""
    if not input.ndim or not index.ndim:
        return NotImplemented
    level, _, (x, i) = _full(input, index)
    return batched(gatherings.gather(x, wrap_axis(dim, input.ndim) + 1, i), level)


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """As `gather`, broadcast."""
    if dim is None:
        input, indices, dim = input.reshape(-1), indices.reshape(-1), 0
    level, _, (x, i) = _full(input, indices)
    return batched(gatherings.take_along_dim(x, i, wrap_axis(dim, input.ndim) + 1), level)


def index_select(input: Any, dim: int, index: Any) -> Any:
    """An index of its own for each sample: indexing by two arrays."""
    if not input.ndim:
        return NotImplemented
    axis = wrap_axis(dim, input.ndim)
    index = index.reshape(-1)
    shape = [-1 if d == axis else 1 for d in range(input.ndim)]
    return gatherings.take_along_dim(input, index.reshape(shape), axis)


def scattering(function: Function) -> Function:
    """The rule of `scatter` and `scatter_add`."""

    def rule(input: Any, dim: int, index: Any, src: Any = None, **kwargs: Any) -> Any:
        if not hasattr(src, "_spec") or not input.ndim or kwargs:
            return NotImplemented
        level, _, (x, i, y) = _full(input, index, src)
        return batched(function(x, wrap_axis(dim, input.ndim) + 1, i, y), level)

    return rule


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """An index of its own for each sample, as `scatter_add`."""
    if not input.ndim or not source.ndim:
        return NotImplemented
    axis = wrap_axis(dim, input.ndim)
    shape = [-1 if d == axis else 1 for d in range(input.ndim)]
    where = index.reshape(shape).expand(source._spec.shape)
    return scatterings.scatter_add(input, axis, where, source if alpha == 1 else source * alpha)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """A choice between the two."""
    if not hasattr(value, "_spec"):
        value = input.new_tensor(value)
    return np.where(mask, value.to(input.dtype), input)


def getitem(input: Any, index: Any) -> Any:
    """Integer indices that are mapped, all at the front: gathered from each sample's own rows."""
    items = index if isinstance(index, tuple) else (index,)
    if not all(hasattr(i, "_spec") and i._spec.dtype.kind in "iu" for i in items):
        return NotImplemented
    level, size, (x, *where), lifted = lower((input, *items))
    ndim = max(i.ndim for i in items)
    where = [align(w, ndim) if up else w for w, up in zip(where, lifted[1:], strict=True)]
    if lifted[0]:
        rows = x.new_tensor(np.arange(size).reshape(size, *(1,) * ndim), dtype=where[0].dtype)
        where = [rows, *where]
    return batched(x[tuple(where)], level)


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Elementwise, but for the number of classes, which must be given."""
    if num_classes == -1:
        tensor.item()
    return batched(sorting.one_hot(tensor._value, num_classes), tensor._level)


def embedding(
    input: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """One table for all, or one table made of all."""
    if max_norm is not None or scale_grad_by_freq:
        return NotImplemented
    level, size, (i, w), (_, of_w) = lower((input, weight))
    if of_w:
        count, width = weight._spec.shape
        start = np.arange(size).reshape(size, *(1,) * input.ndim) * count
        if padding_idx is not None:
            return NotImplemented
        i = i + w.new_tensor(start, dtype=i.dtype)
        w = w.reshape(size * count, width)
    return batched(embeddings.embedding(i, w, padding_idx), level)


def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The losses of all samples as one batch, reduced within each."""
    kind = reduction_of(reduction, size_average, reduce)
    if type(weight) is Batched:
        return NotImplemented
    level, size, (x, t) = _full(input, target)
    single = input.ndim == 1
    lead = () if single else input._spec.shape[:1]
    flat = x if single else x.reshape(-1, *input._spec.shape[1:])
    labels = t.reshape(-1, *target._spec.shape[1:]) if not single else t.reshape(size)
    losses = classification.nll_loss(flat, labels, weight, None, ignore_index, None, "none")
    losses = losses.reshape(size, *lead, *losses._spec.shape[1:])
    if kind == 0:
        return batched(losses, level)
    axes = tuple(range(1, losses.ndim))
    total = losses.sum(axes) if axes else losses
    if kind == 2:
        return batched(total, level)
    kept = labels != ignore_index
    if weight is None:
        counts = kept.to(x.dtype)
    else:
        counts = weight[np.where(kept, labels, labels * 0)].to(x.dtype) * kept
    counts = counts.reshape(losses._spec.shape)
    return batched(total / (counts.sum(axes) if axes else counts), level)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """What it is made of, where the target is of classes."""
    if label_smoothing:
        return NotImplemented
    logs = log_softmax(input, min(1, input.ndim - 1))
    nll = classification.nll_loss
    return nll(logs, target, weight, size_average, ignore_index, reduce, reduction)


def view(input: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Any:
    """Always possible: the values are copied if need be."""
    if dtype is not None or (len(sizes) == 1 and hasattr(sizes[0], "itemsize")):
        return NotImplemented
    return reshape(input, *sizes, shape=size)


def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """Each sample begins a sample's size further."""
    shape, strides, offset = sizes_of((size,)), sizes_of((stride,)), storage_offset or 0
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if not input._value.is_contiguous() or offset < 0 or last >= input._spec.size:
        raise NotImplementedError(
            "vmap: as_strided of samples that are not contiguous, or of memory outside of a "
            "sample, is not supported: use other operations, or contiguous() outside of vmap"
        )
    return Primitive.apply(replacing.strided, (input,), (shape, strides, offset))


#: By the names of functions.
FUNCTIONS: dict[str, Function] = {
    "sort": along(sorting.sort, 0),
    "argsort": along(sorting.argsort, 0),
    "topk": along(sorting.topk, 1),
    "kthvalue": along(sorting.kthvalue, 1),
    "cummax": along(cumulative.cummax, 0),
    "cummin": along(cumulative.cummin, 0),
    "max": along(extrema.max, 0, None),
    "min": along(extrema.min, 0, None),
    "median": along(extrema.median, 0, None),
    "nanmedian": along(extrema.nanmedian, 0, None),
    "gather": gather,
    "take_along_dim": take_along_dim,
    "index_select": index_select,
    "scatter": scattering(scatterings.scatter),
    "scatter_add": scattering(scatterings.scatter_add),
    "index_add": index_add,
    "masked_fill": masked_fill,
    "getitem": getitem,
    "one_hot": one_hot,
    "embedding": embedding,
    "nll_loss": nll_loss,
    "cross_entropy": cross_entropy,
    "view": view,
    "as_strided": as_strided,
}


def like(function: Function) -> Function:
    """The rule of `zeros_like` and its relatives."""

    def rule(input: Any, *args: Any, **kwargs: Any) -> Any:
        return batched(function(input._value, *args, **kwargs), input._level)

    return rule


FUNCTIONS.update(
    {
        "zeros_like": like(alike.zeros_like),
        "ones_like": like(alike.ones_like),
        "empty_like": like(alike.empty_like),
        "full_like": like(alike.full_like),
        "detach": Batched.detach,
    }
)
