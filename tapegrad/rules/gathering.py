"""Gathering, scattering and filling: by an index along a dimension, or by a mask.

All of it is indexing by arrays (`tapegrad.rules.indexing`): ``gather`` along dimension 1 is
``x[rows, index]``, where ``rows`` counts the rows, and ``scatter`` writes there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.primitive import public, structural, wrap_axis
from tapegrad.rules.indexing import (
    ALL,
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


def constant_forward(x, array):
    return array


#: An array as a Tensor, where a face has a Tensor at hand.
constant = structural("constant", constant_forward, None)
gather_ = structural("gather", advanced_forward, advanced_x)
take_ = structural("take", advanced_forward, advanced_x)
index_select_ = structural("index_select", advanced_forward, advanced_x)
masked_select_ = structural("masked_select", advanced_forward, advanced_x)
scatter_ = structural("scatter", put_forward, put_x, put_y)
scatter_value = structural("scatter", put_forward, put_x, put_y, grad_name="ScatterBackward1")


def add_forward(x, y, index):
    out = x.copy()
    add_at(out, index, y)
    return out


def add_x(out_bar):
    return out_bar


#: ``x`` with ``y`` added at the positions of an index.
index_add_ = structural("index_add", add_forward, add_x, put_y)
scatter_add_ = structural("scatter_add", add_forward, add_x, put_y)
put_add = structural("index_put", add_forward, add_x, put_y)


def mesh(index: np.ndarray, axis: int) -> tuple[np.ndarray, ...]:
    """The index that takes ``index`` along ``axis`` and its own position elsewhere."""
    grids: list[Any] = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grids[axis] = index
    return tuple(grids)


def _long_index(index: Any, name: str, wanted: str = "int32/int64") -> np.ndarray:
    array = index._array if hasattr(index, "_array") else np.asarray(index)
    if array.dtype.char not in "ilq":
        raise RuntimeError(f"{name}(): Expected dtype {wanted} for index")
    return array.astype(np.int64)


def _in_bounds(index: np.ndarray, axis: int, size: int, error: Any, text: str = "") -> None:
    """Raise ``error`` unless all of a (non-negative) index is below ``size``."""
    if index.size and not (index.min() >= 0 and index.max() < size):
        bad = int(index.min()) if index.min() < 0 else int(index.max())
        raise error(f"{text}index {bad} is out of bounds for dimension {axis} with size {size}")


def _mesh_of(input: Any, dim: int, index: Any, name: str, src: Any = None) -> Any:
    """The axis, and the index that `gather` and `scatter` share, checked."""
    axis = wrap_axis(dim, input.ndim)
    array = _long_index(index, name)
    shape = input._spec.shape
    if max(array.ndim, 1) != max(len(shape), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
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
    _in_bounds(array, axis, shape[axis] if shape else 1, RuntimeError)
    return mesh(array, axis) if array.ndim else (array.reshape(1),)


def _vector(input: Any) -> Any:
    """A 0-d Tensor as a vector of one, as which torch indexes it."""
    return input if input.ndim else input.reshape(1)


def _shaped(result: Any, shape: tuple[int, ...]) -> Any:
    return result if result._spec.shape == shape else result.reshape(shape)


@public
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """``out[i][j] = input[index[i][j]][j]`` for dim 0, and so on.

    Raises RuntimeError for an index that is too large, out of bounds, or not of integers.
    """
    where = _mesh_of(input, dim, index, "gather")
    return _shaped(gather_(_vector(input), where), index._spec.shape)


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
    where = mesh(np.where(array < 0, array + n, array), axis)
    _in_bounds(where[axis], axis, n, IndexError)
    # A dimension of size 1 of the input is read at 0, one of the index broadcasts by itself.
    others = [
        np.zeros(1, np.int64) if d != axis and shape[d] == 1 else w for d, w in enumerate(where)
    ]
    for d, size in enumerate(shape):
        if d != axis and array.shape[d] == 1 != size:
            others[d] = np.arange(size).reshape([-1 if k == d else 1 for k in range(len(shape))])
        elif d != axis and size == 1:
            others[d] = others[d].reshape([1] * len(shape))
    return gather_(input, tuple(others))


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
        where = _mesh_of(input, dim, index, "scatter")
        if reduce is None:
            number = np.array(src).astype(input._spec.dtype)
            return _shaped(scatter_value(_vector(input), number, where), input._spec.shape)
        src = input.new_full(index._spec.shape, src)
    where = _mesh_of(input, dim, index, "scatter", src)
    if reduce == "multiply":
        return scatter_reduce(input, dim, index, src, "prod")
    part = _cropped(src, index._spec.shape)
    primitive = scatter_ if reduce is None else scatter_add_
    return _shaped(primitive(_vector(input), part, where), input._spec.shape)


@public(inplace=True)
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """``input`` with ``src`` added where `gather` would read."""
    where = _mesh_of(input, dim, index, "scatter", src)
    part = _cropped(src, index._spec.shape)
    return _shaped(scatter_add_(_vector(input), part, where), input._spec.shape)


def reduced_forward(x, y, index, kind):
    out = x.copy()
    {"amax": np.maximum, "amin": np.minimum, "prod": np.multiply}[kind].at(out, index, y)
    return out


def extreme_x(out_bar, x, y, out, index, kind):
    return chosen(out_bar, x, y, out, index, kind)[0]


def extreme_y(out_bar, x, y, out, index, kind):
    return chosen(out_bar, x, y, out, index, kind)[1]


def chosen(out_bar, x, y, out, index, kind):
    """The shares of x and y: of an extremum all that attain it share alike; see `prod` below."""
    if kind == "prod":
        return factors(out_bar, x, y, index)
    mine = x == out
    theirs = y == index_(out, index)
    ones = np.where(mine, 0 * out + 1, 0 * out)
    others = np.where(theirs, 0 * y + 1, 0 * y)
    share = out_bar / index_add_(ones, others, index)
    part = index_(share, index)
    return np.where(mine, share, 0 * share), np.where(theirs, part, 0 * part)


def factors(out_bar, x, y, index):
    """The product of the other factors: of all that aren't 0, unless another one is."""
    x_zero, y_zero = x == 0, y == 0
    left = np.where(x_zero, 0 * x + 1, x)
    right = np.where(y_zero, 0 * y + 1, y)
    product = out_bar * reduced(left, right, index, "prod")
    zeros = index_add_(
        np.where(x_zero, 0 * x + 1, 0 * x), np.where(y_zero, 0 * y + 1, 0 * y), index
    )
    own = np.where(zeros == np.where(x_zero, 0 * x + 1, 0 * x), product / left, 0 * left)
    there = index_(zeros, index) == np.where(y_zero, 0 * y + 1, 0 * y)
    return own, np.where(there, index_(product, index) / right, 0 * right)


reduced = structural(
    "scatter_reduce", reduced_forward, extreme_x, extreme_y, grad_name="ScatterReduceBackward0"
)


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
    shape = input._spec.shape
    where = _mesh_of(input, dim, index, "scatter", src)
    part = _cropped(src, index._spec.shape)
    whole = _vector(input)
    dtype = input._spec.dtype
    if not include_self:
        limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        inf = np.inf if dtype.kind == "f" else None
        start = {"sum": 0, "mean": 0, "prod": 1, "amax": limits.min, "amin": limits.max}[reduce]
        if inf is not None and reduce in ("amax", "amin"):
            start = -inf if reduce == "amax" else inf
        whole = put_fill(whole, np.array(start, dtype), where)
    if reduce in ("sum", "mean"):
        out = scatter_add_(whole, part, where)
        if reduce == "mean":
            counts = np.full(whole._spec.shape, 1, dtype)
            if not include_self:
                counts[where] = 0
            np.add.at(counts, where, 1)
            counts = np.maximum(counts, 1)
            out = out / counts if dtype.kind in "fc" else out // counts
    else:
        out = reduced(whole, part, where, reduce)
    return _shaped(out, shape)


# -- along one dimension ---------------------------------------------------------------------------


def _rows(input: Any, dim: int, index: Any, name: str, wanted: str) -> Any:
    axis = wrap_axis(dim, input.ndim)
    array = _long_index(index, name, wanted)
    if array.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector")
    return axis, array.reshape(-1), input._spec.shape[axis] if input.ndim else 1


@public
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The parts at a 1-d index along ``dim``. Raises IndexError for one out of range."""
    axis, array, n = _rows(input, dim, index, "index_select", "int32 or int64")
    if array.size and not (array.min() >= 0 and array.max() < n):
        raise IndexError("index out of range in self")
    out = index_select_(_vector(input), (*(ALL,) * axis, array))
    return out if input.ndim or array.size != 1 else out.reshape(())


def _source(input: Any, axis: int, array: np.ndarray, source: Any, name: str, error: Any) -> None:
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
    axis, array, n = _rows(input, dim, index, "index_add_", "int32/int64")
    _source(input, axis, array, source, "index_add_", RuntimeError)
    _in_bounds(array, axis, n, RuntimeError)
    source = source if alpha == 1 else source * alpha
    out = index_add_(_vector(input), _vector(source), (*(ALL,) * axis, array))
    return _shaped(out, input._spec.shape)


@public(inplace=True)
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """``input`` with the parts of ``source`` at a 1-d index along ``dim``."""
    axis, array, n = _rows(input, dim, index, "index_copy_", "int64")
    _source(input, axis, array, source, "index_copy_", IndexError)
    _in_bounds(array, axis, n, IndexError, "index_copy_(): ")
    out = put_copy(_vector(input), _vector(source), (*(ALL,) * axis, array))
    return _shaped(out, input._spec.shape)


@public(inplace=True)
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """``input`` with one value, a number or a 0-d Tensor, at a 1-d index along ``dim``."""
    axis, array, n = _rows(input, dim, index, "index_fill_", "int64")
    if hasattr(value, "_spec"):
        if value.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    else:
        value = np.array(value).astype(input._spec.dtype)
    array = np.where(array < 0, array + n, array)
    _in_bounds(array, axis, n, IndexError)
    return _shaped(put_fill(_vector(input), value, (*(ALL,) * axis, array)), input._spec.shape)


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
    for i in array[(array < -n) | (array >= n)].ravel().tolist()[:1]:
        raise IndexError(f"out of range: tried to access index {i} on a tensor of {n} elements.")
    where = np.unravel_index(np.where(array < 0, array + n, array), input._spec.shape or (1,))
    return tuple(np.asarray(w) for w in where)


@public
def take(input: Any, index: Any) -> Any:
    """The elements at positions in the flattened Tensor, in the index's shape."""
    return take_(_vector(input), _positions(input, index, "take"))


@public(name="put", inplace=True)
def put_flat(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """``input`` with ``source`` written (or added) at positions in the flattened Tensor."""
    where = _positions(input, index, "put_")
    source = source.reshape(index._spec.shape)
    return _shaped((put_add if accumulate else put)(_vector(input), source, where), input.shape)


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
    return input if a == shape else input.expand(shape), np.array(
        np.broadcast_to(mask._array, shape)
    )


@public(inplace=True)
def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """``input`` with ``value`` (a number or a 0-d Tensor) where the mask holds; they broadcast."""
    _check_mask(mask, "masked_fill_", " only supports boolean masks, but got mask with dtype")
    if np.iscomplexobj(getattr(value, "_array", value)) and not input._spec.is_complex:
        raise RuntimeError("value cannot be converted to type float without overflow")
    if hasattr(value, "_spec"):
        if value.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.ndim} dimension(s)."
            )
        value = value.to(input.dtype)
    else:
        value = np.array(value).astype(input._spec.dtype)
    input, chosen = _common(input, mask)
    return masked_fill_(input, value, chosen)


def masked_fill_forward(x, y, mask):
    return np.where(mask, y, x)


def masked_fill_x(out_bar, mask):
    return masked_fill_(out_bar, np.zeros((), getattr(out_bar.dtype, "numpy", out_bar.dtype)), mask)


def masked_fill_y(out_bar, mask):
    return np.sum(index_(out_bar, (mask,)))


masked_fill_ = structural("masked_fill", masked_fill_forward, masked_fill_x, masked_fill_y)


@public
def masked_select(input: Any, mask: Any) -> Any:
    """The elements where the mask holds, in one dimension; input and mask broadcast."""
    _check_mask(mask, "masked_select: ", "expected BoolTensor for mask, but got")
    input, chosen = _common(input, mask)
    return masked_select_(_vector(input), (chosen.reshape(chosen.shape or (1,)),))


@public(inplace=True)
def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """``input`` with the elements of ``source``, in order, where the mask holds."""
    _check_mask(mask, "masked_scatter_ ", "only supports boolean masks, but got mask with dtype")
    input, chosen = _common(input, mask)
    count = int(np.count_nonzero(chosen))
    if count > source._spec.size:
        raise RuntimeError(
            "masked_scatter: expected the number of elements in source to be at least the number "
            f"of ones in mask, but got {source._spec.size} and {count}"
        )
    return masked_scatter_(_vector(input), source.reshape(-1)[:count], (chosen,))


masked_scatter_ = structural("masked_scatter", put_forward, put_x, put_y)
