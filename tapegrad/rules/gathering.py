"""Gathering and filling: by an index along a dimension, or by a mask.

All of it is indexing by arrays (`tapegrad.rules.indexing`): ``gather`` along dimension 1 is
``x[rows, index]``, where ``rows`` counts the rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import dtype_name, with_out
from tapegrad.rules.indexing import (
    ALL,
    accumulate_at,
    add_at,
    advanced_forward,
    advanced_x,
    as_index,
    explained,
    index_,
    put,
    put_copy,
    put_fill,
    put_forward,
    put_x,
    put_y,
)
from tapegrad.rules.selection import filled


def constant_forward(x, array):
    return array


def along_forward(x, index, axis):
    """What `gather` does; of a vector it takes an index of any shape."""
    if x.ndim == 1:
        return np.asarray(x[index])
    own, others = list(x.shape), list(index.shape)
    n, count = own.pop(axis), others.pop(axis)
    kernel = fused("gathered", x) if own == others and index.flags.c_contiguous else None
    if kernel is None or not index.size:
        return x[mesh(index, axis)]
    out = np.empty(index.shape, x.dtype)
    width = math.prod(x.shape[axis + 1 :])
    kernel(index.size // (count * width), x, index, out, n, count, width)
    return out


def along_x(out_bar, x_shape, index, axis):
    return accumulate_at(out_bar, x_shape, positions_along(x_shape, index, axis))


def positions_along(shape: tuple[int, ...], index: np.ndarray, axis: int) -> Any:
    """The index of what `along_forward` takes of an array of a shape."""
    return (index,) if len(shape) == 1 else mesh(index, axis)


constant_ = structural("constant", constant_forward, None)
gather_ = structural("gather", along_forward, along_x, contiguous=True)
#: The same of an index of which some dimensions are broadcast.
gather_broadcast = structural("gather", advanced_forward, advanced_x, contiguous=True)
take_ = structural("take", advanced_forward, advanced_x, contiguous=True)
index_select_ = structural("index_select", advanced_forward, advanced_x, contiguous=True)
masked_select_ = structural("masked_select", advanced_forward, advanced_x)


def constant(input: Any, array: np.ndarray) -> Any:
    """An array as a Tensor, where a face has a Tensor at hand."""
    return Primitive.apply(constant_, (input,), (array,))


def add_forward(x, y, index):
    out = x.copy()
    add_at(out, index, y)
    return out


def add_x(out_bar):
    return out_bar


#: ``x`` with ``y`` added at the positions of an index.
index_add_ = structural("index_add", add_forward, add_x, put_y)
put_add = structural("index_put", add_forward, add_x, put_y)


def mesh(index: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The index that takes ``index`` along ``axis`` and its own position elsewhere."""
    ndim = index.ndim
    if ndim == 1:
        return (index,)
    return tuple(
        index if d == axis else np.arange(n).reshape((1,) * d + (n,) + (1,) * (ndim - 1 - d))
        for d, n in enumerate(index.shape)
    )


def _long_index(index: Any, name: str, wanted: str = "int32/int64") -> np.ndarray:
    array = index._array if hasattr(index, "_array") else np.asarray(index)
    if array.dtype.char not in "ilq":
        raise RuntimeError(f"{name}(): Expected dtype {wanted} for index")
    return array.astype(INT64, "C")


INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def is_within(index: np.ndarray, size: int) -> bool:
    """Whether all of an index of int64 is in [0, size)."""
    if not index.size:
        return True
    # Without their signs negative numbers are large. (A reduction takes five times as long.)
    numbers = index.view(UINT64)
    return bool(numbers.item(numbers.argmax()) < size)


def check_bounds(index: np.ndarray, axis: int, size: int, error: Any, text: str = "") -> None:
    """Raise ``error`` unless all of a (non-negative) index of int64 is below ``size``."""
    if not is_within(index, size):
        bad = int(index.min()) if index.min() < 0 else int(index.max())
        raise error(f"{text}index {bad} is out of bounds for dimension {axis} with size {size}")


def along(input: Any, dim: int, index: Any, name: str, src: Any = None) -> tuple[np.ndarray, int]:
    """The index that `gather` and `scatter` share, as an array, checked; and its axis."""
    shape = input._spec.shape
    axis = wrap_axis(dim, len(shape))
    array = _long_index(index, name)
    if (array.ndim or 1) != (len(shape) or 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if src is None and len(shape) == array.ndim == 1:
        check_bounds(array, axis, shape[0], RuntimeError)
        return array, axis
    within = src._spec.shape if src is not None else None
    if within is not None:
        if max(len(within), 1) != max(array.ndim, 1):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        if src._spec.dtype != input._spec.dtype:
            raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    for d, n in enumerate(array.shape if shape else ()):
        if (d != axis and n > shape[d]) or (within is not None and n > within[d]):
            sizes = f"index {list(array.shape)} to be no larger than self {list(shape)} apart from "
            if within is None:
                raise RuntimeError(
                    f"Size does not match at dimension {d} expected {sizes}dimension {axis}"
                )
            raise RuntimeError(
                f"Expected {sizes}dimension {axis} and to be no larger size than src {list(within)}"
            )
    check_bounds(array, axis, shape[axis] if shape else 1, RuntimeError)
    return array if array.ndim else array.reshape(1), axis


def mesh_of(input: Any, dim: int, index: Any, name: str, src: Any = None) -> Any:
    """The positions that `scatter` writes to."""
    return mesh(*along(input, dim, index, name, src))


def as_vector(input: Any) -> Any:
    """A 0-d Tensor as a vector of one, as which torch indexes it."""
    return input if input._spec.ndim else input.reshape(1)


def shaped(result: Any, shape: tuple[int, ...]) -> Any:
    """A result in a shape of as many elements."""
    return result if result._spec.shape == shape else result.reshape(shape)


@public
@with_out
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """``out[i][j] = input[index[i][j]][j]`` for dim 0, and so on.

    Raises RuntimeError for an index that is too large, out of bounds, or not of integers.
    """
    if not index._spec.size:  # of any dtype and number of dimensions
        return gather_(input.reshape(-1), np.empty(index._spec.shape, np.int64), 0)
    out = Primitive.apply(gather_, (as_vector(input),), along(input, dim, index, "gather"))
    return shaped(out, index._spec.shape)


@public(numpy=[np.take_along_axis])
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Any:
    """`gather` with the other dimensions broadcast; without ``dim``, from the flattened Tensor."""
    array = _long_index(indices, "take_along_dim")
    if dim is None:
        input, array, dim = input.reshape(-1), array.reshape(-1), 0
    axis = wrap_axis(dim, input.ndim)
    shape = input._spec.shape
    if array.ndim != len(shape):
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {len(shape)} dimensions for input, and {array.ndim} dimensions for indices"
        )
    n = shape[axis]
    if not is_within(array, n):
        array = np.where(array < 0, array + n, array)
        check_bounds(array, axis, n, IndexError)
    if shape[:axis] == array.shape[:axis] and shape[axis + 1 :] == array.shape[axis + 1 :]:
        return Primitive.apply(gather_, (input,), (array, axis))
    where = mesh(array, axis)
    # A dimension of size 1 of the input is read at 0, one of the index broadcasts by itself.
    others = [
        np.zeros(1, np.int64) if d != axis and shape[d] == 1 else w for d, w in enumerate(where)
    ]
    for d, size in enumerate(shape):
        if d != axis and array.shape[d] == 1 != size:
            others[d] = np.arange(size).reshape([-1 if k == d else 1 for k in range(len(shape))])
        elif d != axis and size == 1:
            others[d] = others[d].reshape([1] * len(shape))
    return gather_broadcast(input, tuple(others))


# -- along one dimension ---------------------------------------------------------------------------


def rows_of(input: Any, dim: int, index: Any, name: str, wanted: str) -> Any:
    """The axis, a 1-d index along it as an array, and its size."""
    shape = input._spec.shape
    axis = wrap_axis(dim, len(shape))
    array = _long_index(index, name, wanted)
    if array.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    return axis, array.reshape(-1), shape[axis] if shape else 1


@public
@with_out
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The parts at a 1-d index along ``dim``. Raises IndexError for one out of range."""
    axis, array, n = rows_of(input, dim, index, "index_select", "int32 or int64")
    if not is_within(array, n):
        raise IndexError("index out of range in self")
    out = Primitive.apply(index_select_, (as_vector(input),), ((*(ALL,) * axis, array),))
    return out if input.ndim or array.size != 1 else out.reshape(())


def check_source(
    input: Any, axis: int, array: np.ndarray, source: Any, name: str, error: Any
) -> None:
    """Raise torch's errors unless ``source`` has the parts for a 1-d index along an axis."""
    sizes, shape = list(source._spec.shape), list(input._spec.shape)
    n = sizes[axis] if source.ndim else 1
    dim = f": ({n}), for dim: {axis}" if error is RuntimeError else f" ({n})"
    if n != array.size:
        raise error(
            f"{name}(): Number of indices ({array.size}) should be equal to source.size(dim){dim}"
        )
    if sizes[:axis] + sizes[axis + 1 :] != shape[:axis] + shape[axis + 1 :]:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {shape} source.shape = {sizes}"
        )
    if source._spec.dtype != input._spec.dtype:
        raise RuntimeError(
            f"{name}(): self ({input.dtype}) and source ({source.dtype}) must have the same scalar "
            "type"
        )


@public(inplace=True)
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    """``input`` with ``alpha * source`` added at a 1-d index along ``dim``."""
    axis, array, n = rows_of(input, dim, index, "index_add_", "int32/int64")
    check_source(input, axis, array, source, "index_add_", RuntimeError)
    check_bounds(array, axis, n, RuntimeError)
    source = source if alpha == 1 else source * alpha
    out = index_add_(as_vector(input), as_vector(source), (*(ALL,) * axis, array))
    return shaped(out, input._spec.shape)


@public(inplace=True)
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """``input`` with the parts of ``source`` at a 1-d index along ``dim``."""
    axis, array, n = rows_of(input, dim, index, "index_copy_", "int64")
    check_source(input, axis, array, source, "index_copy_", IndexError)
    check_bounds(array, axis, n, IndexError, "index_copy_(): ")
    out = put_copy(as_vector(input), as_vector(source), (*(ALL,) * axis, array))
    return shaped(out, input._spec.shape)


@public(inplace=True)
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """``input`` with one value, a number or a 0-d Tensor, at a 1-d index along ``dim``."""
    axis, array, n = rows_of(input, dim, index, "index_fill_", "int64")
    if hasattr(value, "_spec"):
        if value.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    else:
        value = np.array(value).astype(input._spec.dtype)
    array = np.unique(np.where(array < 0, array + n, array))
    check_bounds(array, axis, n, IndexError)
    return shaped(put_fill(as_vector(input), value, (*(ALL,) * axis, array)), input._spec.shape)


@public(inplace=True)
def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """``input`` with ``values`` written (or added) at a tuple of index Tensors."""
    index = tuple(ALL if i is None else _index_item(i) for i in indices)
    if values._spec.dtype != input._spec.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype} for "
            f"the destination and {values.dtype} for the source."
        )
    try:
        return (put_add if accumulate else put)(input, values, index)
    except IndexError as error:
        raise explained(error, input._spec.shape, index) from None
    except ValueError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values._spec.shape)} cannot be broadcast "
            f"to indexing result of shape {list(input._array[index].shape)}"
        ) from None


def _index_item(item: Any) -> Any:
    item = as_index(item)
    return np.array(item) if type(item) is int else item


# -- the flattened Tensor, and masks ---------------------------------------------------------------


def _positions(input: Any, index: Any, name: str) -> tuple[np.ndarray, ...]:
    array = _long_index(index, name, "int64")
    n = input._spec.size
    if input._spec.ndim == 1 and is_within(array, n):
        return (array,)
    for i in array[(array < -n) | (array >= n)].ravel().tolist()[:1]:
        raise IndexError(f"out of range: tried to access index {i} on a tensor of {n} elements.")
    where = np.unravel_index(np.where(array < 0, array + n, array), input._spec.shape or (1,))
    return tuple(np.asarray(w) for w in where)


@public
@with_out
def take(input: Any, index: Any) -> Any:
    """The elements at positions in the flattened Tensor, in the index's shape."""
    return take_(as_vector(input), _positions(input, index, "take"))


@public(name="put", inplace=True)
def put_flat(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """``input`` with ``source`` written (or added) at positions in the flattened Tensor."""
    where = _positions(input, index, "put_")
    source = source.reshape(index._spec.shape)
    return shaped((put_add if accumulate else put)(as_vector(input), source, where), input.shape)


def _check_mask(mask: Any, name: str, text: str) -> None:
    if mask._spec.dtype != np.bool_:
        raise RuntimeError(f"{name}{text} {mask.dtype}")


def _common(input: Any, mask: Any) -> Any:
    """The input and the mask's array, broadcast against each other."""
    a, b = input._spec.shape, mask._spec.shape
    if a == b:
        return input, mask._array.copy()
    for k in range(1, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and a[-k] != 1 and b[-k] != 1:
            raise RuntimeError(
                f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                f"non-singleton dimension {max(len(a), len(b)) - k}"
            )
    shape = np.broadcast_shapes(a, b)
    chosen = np.broadcast_to(mask._array.copy(), shape)
    return input if a == shape else input.expand(shape), chosen


def _check_value(kind: str, input: Any) -> None:
    if kind == "c" and not input._spec.is_complex:
        raise RuntimeError(
            f"value cannot be converted to type {dtype_name(input)} without overflow"
        )


@public(inplace=True)
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``input`` with ``value`` (a number or a 0-d Tensor) where the mask holds; they broadcast."""
    _check_mask(mask, "masked_fill_", " only supports boolean masks, but got mask with dtype")
    spec = input._spec
    if (
        type(value) in (float, int)
        and spec.dtype.char in "fd"
        and mask._spec.shape == spec.shape
        and input._array.flags.c_contiguous
    ):
        return filled(mask, value, input)
    is_complex = value._spec.is_complex if hasattr(value, "_spec") else isinstance(value, complex)
    if is_complex and not input._spec.is_complex:
        raise RuntimeError("value cannot be converted to type float without overflow")
    if hasattr(value, "_spec"):
        if value.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        _check_value(value._spec.dtype.kind, input)
        value = value.to(input.dtype)
    else:
        _check_value("c" if isinstance(value, complex) else "", input)
        value = np.array(value).astype(input._spec.dtype)
    input, chosen = _common(input, mask)
    return masked_fill_(input, value, chosen)


def masked_fill_forward(x, y, mask):
    kernel = fused("masked_fill", x) if y.dtype == x.dtype else None
    if kernel is not None and mask.shape == x.shape:
        whole = unspread(mask)
        if whole.flags.c_contiguous:
            out = np.empty_like(x)
            kernel(x.size // whole.size, x, whole, out, float(y))
            return out
    return np.where(mask, y, x)


def unspread(mask):
    """An array without the leading dimensions along which it is repeated."""
    while mask.ndim > 1 and (mask.strides[0] == 0 or len(mask) == 1):
        mask = mask[0]
    return mask


def masked_fill_x(out_bar, mask):
    return masked_fill_(out_bar, np.zeros((), getattr(out_bar.dtype, "numpy", out_bar.dtype)), mask)


def masked_fill_y(out_bar, mask):
    return np.sum(index_(out_bar, (mask,)))


masked_fill_ = structural(
    "masked_fill", masked_fill_forward, masked_fill_x, masked_fill_y, contiguous=True
)


@public
@with_out
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask holds, in one dimension; input and mask broadcast."""
    _check_mask(mask, "masked_select: ", "expected BoolTensor for mask, but got")
    input, chosen = _common(input, mask)
    return masked_select_(as_vector(input), (chosen.reshape(chosen.shape or (1,)),))


@public(inplace=True)
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """``input`` with the elements of ``source``, in order, where the mask holds."""
    if input._spec.dtype != source._spec.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{dtype_name(input)} and {dtype_name(source)}"
        )
    _check_mask(mask, "masked_scatter_ ", "only supports boolean masks, but got mask with dtype")
    input, chosen = _common(input, mask)
    count = int(np.count_nonzero(chosen))
    if count > source._spec.size:
        raise RuntimeError(
            "masked_scatter: expected the number of elements in source to be at least the number "
            f"of ones in mask, but got {source._spec.size} and {count}"
        )
    return masked_scatter_(as_vector(input), source.reshape(-1)[:count], (chosen,))


masked_scatter_ = structural("masked_scatter", put_forward, put_x, put_y)
