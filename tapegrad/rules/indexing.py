"""Indexing, gathering and scattering.

Basic indexing (ints, slices, None, ...) is a view; indexing by arrays and masks copies. Each has a
transpose, which writes into zeros, and whose own derivative is the indexing again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import BatchedAccess, public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.positions import add_at_positions, positions_of

ALL = slice(None)

#: Below so many elements np.add.at costs least.
FEW = 256
#: Elements that `add_rows` adds at a time: their positions stay in the cache.
BLOCK = 1 << 14


# -- basic indexing: views -------------------------------------------------------------------------


def basic_forward(x, index):
    return x[index]


def basic_x(out_bar, x_shape, index):
    return embed(out_bar, x_shape, index)


def embed_forward(x, shape, index):
    out = np.zeros(shape, x.dtype)
    out[index] = x
    return out


def embed_x(out_bar, index):
    return slice_(out_bar, index)


slice_ = structural("slice", basic_forward, basic_x, view=True)
#: The same, under torch's name for an index whose last item is an int, None, or nothing.
getitem_one = structural("select", basic_forward, basic_x, view=True)
newaxis_ = structural("unsqueeze", basic_forward, basic_x, view=True)
alias_ = structural("alias", basic_forward, basic_x, view=True)
#: Zeros with the part at ``index`` set.
embed = structural("embed", embed_forward, embed_x, grad_name="SliceBackwardBackward0")


# -- advanced indexing: copies ---------------------------------------------------------------------


def advanced_forward(x, index):
    if len(index) == 1 and x.ndim == 1:
        return np.asarray(x[index[0]])
    last = index[-1]
    alone = type(last) is np.ndarray and last.dtype.kind == "i"
    if alone and (len(index) == 1 or _is_whole(index[:-1])):
        return x.take(last, len(index) - 1)
    at = positions_of(index, x.shape) if x.size >= FEW else None
    if at is None:
        return np.asarray(x[index])
    return x.reshape(at.blocks, at.n, at.width).take(at.places, 1).reshape(at.shape)


def _is_whole(items: Any) -> bool:
    """Whether all items of an index are whole slices; NumPy compares arrays element by element."""
    return all(item is ALL or (type(item) is slice and item == ALL) for item in items)


def advanced_x(out_bar, x_shape, index):
    return accumulate_at(out_bar, x_shape, index)


def accumulate_at_forward(x, shape, index):
    out = np.zeros(shape, x.dtype)
    add_at(out, index, x)
    return out


def accumulate_at_x(out_bar, index):
    return index_(out_bar, index)


index_ = structural("index", advanced_forward, advanced_x, contiguous=True)
#: Zeros with ``x`` added at the positions of an index, which may repeat.
accumulate_at = structural("accumulate_at", accumulate_at_forward, accumulate_at_x)


def add_at(target: np.ndarray, index: Any, x: np.ndarray) -> None:
    """``target[index] += x``, where positions that repeat count as often.

    Where it isn't fused: np.add.at takes some 10 ns an element, so rows are added to flat memory,
    and other long indices are counted (np.bincount, in float64) unless that costs more memory than
    it saves.
    """
    if x.size >= FEW and add_at_positions(target, index, x):
        return
    kinds = [i.dtype.kind for i in index if isinstance(i, np.ndarray)]
    if kinds == ["b"]:
        target[index] += x  # a mask names no element twice
    elif kinds == ["i"] and x.size >= FEW and x.itemsize > 2 and _names_rows(index):
        rows = np.broadcast_to(x, (index[0].size, *target.shape[1:]))
        add_rows(target, index[0], rows.reshape(index[0].size, -1))
    elif x.size < FEW or x.dtype.kind not in "fc" or target.size > 4 * x.size:
        np.add.at(target, index, x)
    else:
        positions = np.arange(target.size).reshape(target.shape)[index]
        flat = np.broadcast_to(x, positions.shape).ravel()
        positions = positions.ravel()
        sums = np.bincount(positions, flat.real, target.size)
        if x.dtype.kind == "c":
            sums = sums + 1j * np.bincount(positions, flat.imag, target.size)
        target += sums.reshape(target.shape).astype(target.dtype)


def _names_rows(index: Any) -> bool:
    """Whether an index is a vector of integers, and nothing but whole slices after it."""
    first, *rest = index
    return isinstance(first, np.ndarray) and first.ndim == 1 and _is_whole(rest)


def add_rows(target: np.ndarray, index: np.ndarray, rows: np.ndarray) -> None:
    """``target[index[k]] += rows[k]`` for each k in turn; the target is one run of memory.

    np.add.at takes 0.7 ns an element of a vector, at numbers in a vector, and 7 of rows.
    """
    if add_at_positions(target, (index,), rows):
        return
    width = rows.shape[1]
    flat = target.reshape(-1)
    within = np.arange(width)
    step = max(1, BLOCK // max(1, width))
    for k in range(0, len(index), step):
        positions = np.add.outer(index[k : k + step] * width, within)
        np.add.at(flat, positions.reshape(-1), rows[k : k + step].reshape(-1))


def put_forward(x, y, index):
    out = x.copy()
    out[index] = y
    return out


def put_x(out_bar, index):
    return cleared(out_bar, index)


def put_y(out_bar, y_shape, index):
    part = index_(out_bar, index)
    return sum_to_shape(part, y_shape) if tuple(part.shape) != y_shape else part


def cleared_forward(x, index):
    out = x.copy()
    out[index] = 0
    return out


#: ``x`` with the elements at an index set to 0; its own transpose.
cleared = structural("cleared", cleared_forward, put_x)
#: ``x`` with the elements at an index replaced by ``y``.
put = structural("index_put", put_forward, put_x, put_y)
put_copy = structural("index_copy", put_forward, put_x, put_y)
put_fill = structural("index_fill", put_forward, put_x, put_y)


# -- what an index means ---------------------------------------------------------------------------


@public(name="__getitem__", method="only")
def getitem(input: Any, index: Any) -> Any:
    """``input[index]``: a view for ints, slices, None and Ellipsis, a copy for arrays and masks.

    Raises IndexError for what is out of range, ValueError for a negative step.
    """
    try:
        # The most common ones; an Ellipsis makes the result a view, also where it is 0-d.
        if type(index) is int:
            return Primitive.apply(getitem_one, (input,), ((index, ...),))
        if type(index) is slice and index.step is None:
            return Primitive.apply(slice_, (input,), ((index, ...),))
        primitive, basic, arrays = parse_index(index, input._spec.ndim)
        if arrays is None:
            return Primitive.apply(primitive, (input,), (basic,))
        part = input if basic is None else Primitive.apply(primitive, (input,), (basic,))
        return Primitive.apply(index_, (part,), (arrays,))
    except IndexError as error:
        raise explained(error, input._spec.shape, index) from None
    except BatchedAccess:
        return Primitive.call_batched(getitem, (input, index), {})


def parse_index(index: Any, ndim: int) -> tuple[Primitive, Any, Any]:
    """The basic part of an index with the view primitive that does it, and the advanced part.

    The basic part is None where the advanced one stands alone, the advanced one where there is
    none. An int is basic also beside arrays, as in torch; in NumPy it would be an array of one.
    """
    items = as_items(index)
    basic: list[Any] = []
    arrays: list[Any] = []
    primitive = alias_
    plain = True
    advanced = ellipsis = False
    for item in items:
        kind = type(item)
        if kind is slice:
            if item.step is not None and item.step.__index__() <= 0:
                raise ValueError("step must be greater than zero")
            basic.append(item)
            arrays.append(ALL)
            if item != ALL or len(items) == 1:
                primitive, plain = slice_, False
        elif kind is int:
            basic.append(item)
            primitive, plain = getitem_one, False
        elif item is None:
            basic.append(None)
            arrays.append(ALL)
            primitive, plain = newaxis_, False
        elif item is Ellipsis:
            if not ellipsis:
                basic.append(item)
                arrays.append(item)
            ellipsis = True
        else:
            array = as_index(item)
            if type(array) is int:
                basic.append(array)
                primitive, plain = getitem_one, False
                continue
            advanced = True
            if array.dtype == np.bool_ and array.ndim == 0:
                basic.append(None)  # a new dimension of size 1, of which all or nothing is taken
                array = np.zeros(int(array), np.intp)
                primitive, plain = newaxis_, False
            else:
                basic.extend((ALL,) * (array.ndim if array.dtype == np.bool_ else 1))
            arrays.append(array)
    if not ellipsis:
        basic.append(...)
    if advanced:
        if ellipsis:
            # To NumPy an Ellipsis parts the arrays beside it, also where it stands for nothing.
            k = [i is Ellipsis for i in arrays].index(True)
            missing = ndim - sum(i is not None and i is not Ellipsis for i in basic)
            arrays[k : k + 1] = (ALL,) * missing
        return primitive, None if plain else tuple(basic), tuple(arrays)
    return primitive, tuple(basic), None


def as_items(index: Any) -> tuple[Any, ...]:
    """The items of an index; a list of lists or slices counts as a tuple, as once in NumPy."""
    if type(index) is tuple:
        return index
    if isinstance(index, list) and len(index) < 32:
        for item in index:
            if item is None or item is Ellipsis or isinstance(item, (slice, Iterable)):
                warnings.warn(
                    "Using a non-tuple sequence for multidimensional indexing is deprecated; use "
                    "x[tuple(seq)] instead of x[seq].",
                    UserWarning,
                    stacklevel=4,
                )
                return tuple(index)
    return (index,)


def as_index(item: Any) -> Any:
    """An int, or an array of ints or bools that nobody else can change."""
    if hasattr(item, "_array"):
        array = item._array
    elif isinstance(item, np.ndarray):
        array = item
    elif isinstance(item, (bool, np.bool_)):
        return np.array(item)
    elif isinstance(item, (list, tuple, range)):
        array = np.array(item)
        if not array.size:
            array = array.astype(np.intp)
    elif hasattr(item, "__index__"):
        return item.__index__()
    elif isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            f"valid indices (got {type(item).__name__})"
        )
    if array.ndim == 0 and array.dtype.kind in "iu":
        return int(array)
    if array.dtype == np.uint8:
        warnings.warn(
            "indexing with dtype tapegrad.uint8 is now deprecated, please use a dtype "
            "tapegrad.bool instead.",
            UserWarning,
            stacklevel=4,
        )
        return array.astype(np.bool_)
    if array.dtype.char not in "?ilq":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return np.array(array)


def explained(error: IndexError, shape: tuple[int, ...], index: Any) -> IndexError:
    """NumPy's error for an index, in torch's words."""
    try:
        items = [_described(item) for item in as_items(index)]
    except IndexError as own:
        return own
    taken = sum(map(_dims, items))
    ndim = len(shape)
    if not shape and type(index) is not tuple and type(items[0]) is int:
        return IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` "
            "in C++ to convert a 0-dim tensor to a number"
        )
    if not shape and type(index) is slice:
        return IndexError("slice() cannot be applied to a 0-dim tensor.")
    if taken > ndim:
        return IndexError(f"too many indices for tensor of dimension {ndim}")
    dim = shift = arrays = 0
    for item in items:
        if item is Ellipsis:
            dim += ndim - taken
            taken = ndim
            continue
        shift += item is None
        wrong = _misfit(item, shape, dim, dim + shift if type(item) is int else arrays)
        arrays += _dims(item) if isinstance(item, np.ndarray) else 0
        if wrong is not None:
            return IndexError(wrong)
        dim += _dims(item)
    shapes = [list(_spread(item)) for item in items if isinstance(item, np.ndarray)]
    if len(shapes) > 1:
        return IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes "
            + ", ".join(map(str, shapes))
        )
    return error


def _described(item: Any) -> Any:
    return item if item is None or item is Ellipsis or type(item) is slice else as_index(item)


def _spread(item: np.ndarray) -> tuple[int, ...]:
    """The shape of an index array; of a mask, that of the positions in it."""
    return (int(np.count_nonzero(item)),) if item.dtype == np.bool_ else item.shape


def _dims(item: Any) -> int:
    """How many dimensions of the indexed array an item is for."""
    if item is None or item is Ellipsis:
        return 0
    if isinstance(item, np.ndarray) and item.dtype == np.bool_:
        return item.ndim
    return 1


def _misfit(item: Any, shape: tuple[int, ...], dim: int, named: int) -> str | None:
    """What is wrong with an item for the dimension ``dim``, which torch calls ``named``."""
    if isinstance(item, np.ndarray) and item.dtype == np.bool_:
        for k in range(item.ndim):
            if item.shape[k] != shape[dim + k]:
                return (
                    f"The shape of the mask {list(item.shape)} at index {k} does not match the "
                    f"shape of the indexed tensor {list(shape)} at index {dim + k}"
                )
    elif isinstance(item, (int, np.ndarray)):
        for i in np.asarray(item).ravel().tolist():
            if not -shape[dim] <= i < shape[dim]:
                return f"index {i} is out of bounds for dimension {named} with size {shape[dim]}"
    return None
