"""Rules of indexing: by slices, and by arrays that are the same for all samples.

Where arrays stand apart in an index, as in ``x[i, :, j]``, NumPy puts what they select first,
before the samples; it is moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.batched import Batched, batched
from tapegrad.batching.apply import Values, align, filled
from tapegrad.batching.shapes import Lifted, shifted
from tapegrad.primitive import Primitive
from tapegrad.rules.conversion import clone_contiguous
from tapegrad.rules.indexing import accumulate_at, index_
from tapegrad.rules.reductions import mean_, sum_

ALL = slice(None)

#: The number of a level that is more than any.
BARE = 1 << 30


def front(index: tuple[Any, ...]) -> int:
    """How many dimensions NumPy puts before the samples for an index of arrays."""
    places = [k for k, item in enumerate(index) if isinstance(item, np.ndarray)]
    if not places or places == list(range(places[0], places[-1] + 1)):
        return 0
    shapes = [
        (int(np.count_nonzero(item)),) if item.dtype == np.bool_ else item.shape
        for item in index
        if isinstance(item, np.ndarray)
    ]
    return len(np.broadcast_shapes(*shapes))


def taken(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x[index]``."""
    (index,) = params
    out = Primitive.apply(primitive, values, ((ALL, *index),))
    moved = front(index)
    return out.movedim(moved, 0) if moved else out


def along(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """What `gather` takes of ``x``."""
    index, axis = params
    all_of_them = np.broadcast_to(index, (size, *index.shape))
    return Primitive.apply(primitive, values, (np.ascontiguousarray(all_of_them), axis + 1))


def scattered(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Zeros with ``x`` at an index."""
    shape, index = params
    (value,) = values
    moved = front(index)
    value = value.movedim(0, moved) if moved else value
    return Primitive.apply(primitive, (value,), ((size, *shape), (ALL, *index)))


def cleared(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x`` with zeros at an index."""
    return Primitive.apply(primitive, values, ((ALL, *params[0]),))


def replaced(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x`` with ``y``, which broadcasts, at an index."""
    x, y = values
    (index,) = params
    x = filled(x, lifted[0], size)
    if lifted[1]:
        part = np.broadcast_to(np.empty(()), x._spec.shape[1:])[index]
        y = align(y, part.ndim)
        moved = front(index)
        y = y.movedim(0, moved) if moved else y
    elif front(index):
        return None
    return Primitive.apply(primitive, (x, y), ((ALL, *index),))


def on_diagonal(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """``x`` with ``y`` on a diagonal."""
    offset, axis1, axis2 = params
    x, y = (filled(v, up, size) for v, up in zip(values, lifted, strict=True))
    return Primitive.apply(primitive, (x, y), (offset, shifted(axis1), shifted(axis2)))


def masked(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x`` with one value where a mask holds."""
    x, y = values
    (mask,) = params
    return np.where(mask, align(y, mask.ndim) if lifted[1] else y, x)


def copied(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``y`` broadcast to the shape of ``x``, which it replaces."""
    x, y = values
    x = filled(x, lifted[0], size)
    return Primitive.apply(primitive, (x, align(y, x.ndim - 1) if lifted[1] else y), params)


def likelihood(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The negative log likelihood of targets that are the same for all samples."""
    index, scale, reduction = params
    losses = -taken(index_, size, values, lifted, (index,))
    if scale is not None:
        losses = np.where(scale == 0, np.zeros((), scale.dtype), losses * scale)
    if not reduction:
        return losses
    axes = tuple(range(1, losses.ndim))
    if reduction == 1 and scale is None:
        return Primitive.apply(mean_, (losses,), (axes, False))
    total = Primitive.apply(sum_, (losses,), (axes, False))
    return total / float(scale.sum()) if reduction == 1 else total


def likelihood_adjoint(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """Zeros with the adjoints of the losses where the targets are."""
    shape, index, scale = params
    (value,) = values
    value = -value if scale is None else -value * scale
    ndim = np.broadcast_shapes(*[i.shape for i in index if isinstance(i, np.ndarray)])
    value = align(value, len(ndim)).expand(size, *ndim)
    return scattered(accumulate_at, size, (value,), lifted, (shape, index))


def embedded(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """Rows of a table."""
    index, scale = params
    return None if scale is not None else taken(index_, size, values, lifted, ((index,),))


def embedding_adjoint(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """The sums of rows with the same index."""
    count, index, scale = params
    if scale is not None:
        return None
    (value,) = values
    shape = (count, value._spec.shape[-1])
    value = value.reshape(size, *index.shape, shape[1])
    return scattered(accumulate_at, size, (value,), lifted, (shape, (index,)))


def part_replaced(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """``x`` with the part that a view primitive selects replaced by ``y``: in place, of a copy."""
    x, y = values
    view, view_params = params
    whole = batched(clone_contiguous(filled(x, lifted[0], size)), BARE)
    part = Primitive.apply(view, (whole,), view_params)
    if type(part) is not Batched:
        return None
    part._value.copy_(align(y, part.ndim) if lifted[1] else y)
    return whole._value
