"""Parts along a dimension, as views: slices under the names that torch gives their derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import sizes_of, with_numpy_names
from tapegrad.rules.indexing import basic_x, getitem_one, slice_


def part_forward(x, index, number):
    return x[index]


split_ = structural("split", part_forward, basic_x, view=True, several=True)
split_with_sizes_ = structural("split_with_sizes", part_forward, basic_x, view=True, several=True)
unbind_ = structural("unbind", part_forward, basic_x, view=True, several=True)

ALL = slice(None)


def _part(made: Any, input: Any, axis: int, start: int, stop: int) -> Any:
    index = (*(ALL,) * axis, slice(start, stop), ...)
    return Primitive.apply(made, (input,), (index,))


def _parts(made: Any, input: Any, axis: int, edges: Iterable[tuple[int, int]]) -> tuple[Any, ...]:
    lead = (ALL,) * axis
    return tuple(
        [
            Primitive.apply(made, (input,), ((*lead, slice(start, stop), ...), number))
            for number, (start, stop) in enumerate(edges)
        ]
    )


def _axis(input: Any, dim: int, message: str, error: type[Exception] = RuntimeError) -> int:
    """``dim`` wrapped; torch's error for a Tensor without dimensions."""
    ndim = input._spec.ndim
    if not ndim:
        raise error(message)
    return wrap_axis(dim, ndim)


@public
def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """``length`` elements along ``dim`` from ``start`` (negative: from the end). A view.

    Raises IndexError or RuntimeError for what is out of range.
    """
    axis = _axis(input, dim, "narrow() cannot be applied to a 0-dim tensor.")
    n = input._spec.shape[axis]
    if hasattr(start, "_spec") and (start.ndim or start._spec.dtype.kind not in "iu"):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start = int(start)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    if start < 0:
        start += n
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return _part(slice_, input, axis, start, start + length)


@public
def select(input: Any, dim: int, index: Any) -> Any:
    """The part at ``index`` along ``dim``. A view. Raises IndexError for what is out of range."""
    axis = _axis(input, dim, "select() cannot be applied to a 0-dim tensor.", IndexError)
    n = input._spec.shape[axis]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at "
            f"dimension {axis}"
        )
    where = (*(ALL,) * axis, int(index), ...)
    return Primitive.apply(getitem_one, (input,), (where,))


@public
@with_numpy_names
def split(tensor: Any, split_size_or_sections: Any = None, dim: int = 0, *,
          split_size: Any = None) -> tuple[Any, ...]:  # fmt: skip
    """Parts of one size (the last may be smaller), or of the sizes of a list. Views.

    Raises RuntimeError for negative sizes, and where a list doesn't add up to the dimension's size.
    """
    given = split_size_or_sections if split_size is None else split_size
    if not isinstance(given, int):
        return split_with_sizes(tensor, given, dim)
    axis = _axis(tensor, dim, "split expects at least a 1-dimensional tensor")
    n = tensor._spec.shape[axis]
    if given < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={given}")
    if not given and n:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        )
    starts = range(0, n, given) if n else (0,)
    return _parts(split_, tensor, axis, [(s, min(s + given, n)) for s in starts])


@public
def split_with_sizes(input: Any, split_sizes: Any, dim: int = 0) -> tuple[Any, ...]:
    """Parts of the sizes of a list. Views."""
    axis = _axis(input, dim, "split expects at least a 1-dimensional tensor")
    n = input._spec.shape[axis]
    sizes = sizes_of((split_sizes,))
    for k in sizes:
        if k < 0:
            raise RuntimeError(
                "split_with_sizes expects split_sizes have only non-negative entries, but got "
                f"split_sizes={list(sizes)}"
            )
    if sum(sizes) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {axis}), but got split_sizes={list(sizes)}"
        )
    edges = itertools.pairwise(itertools.accumulate(sizes, initial=0))
    return _parts(split_with_sizes_, input, axis, edges)


@public
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most ``chunks`` parts of equal size (the last may be smaller). Views."""
    axis = _axis(input, dim, "chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._spec.shape[axis]
    if not n:
        return split_with_sizes(input, (0,) * chunks, axis)
    size = -(-n // chunks)
    return _parts(split_, input, axis, [(s, min(s + size, n)) for s in range(0, n, size)])


@public
def tensor_split(
    input: Any, indices_or_sections: Any = None, dim: int = 0, *,
    indices: Any = None, sections: Any = None,
) -> tuple[Any, ...]:  # fmt: skip
    """Parts of nearly equal size, or cut at indices (a sequence, or a Tensor of one). Views.

    Raises RuntimeError for a number of sections that isn't positive.
    """
    axis = _axis(
        input, dim,
        "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims",
    )  # fmt: skip
    n = input._spec.shape[axis]
    given = next(x for x in (indices, sections, indices_or_sections) if x is not None)
    if hasattr(given, "_spec"):
        given = _numbers(given)
    if not isinstance(given, int):
        edges = [0, *sizes_of((given,)), n]
        # A part from a cut to one before it is empty.
        cuts = [(a, b) for a, b in itertools.pairwise(edges)]
        return tuple([_part(slice_, input, axis, a, b) for a, b in cuts])
    if given <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {given}")
    size, larger = divmod(n, given)
    edges = [i * size + min(i, larger) for i in range(given + 1)]
    return tuple([_part(slice_, input, axis, a, b) for a, b in itertools.pairwise(edges)])


def _numbers(tensor: Any) -> Any:
    if tensor._spec.dtype.char not in "lq":
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
            + TYPE_NAMES[tensor._spec.dtype.name]
        )
    if tensor.ndim > 1:
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
            f"one-dimensional tensor, but got a tensor with {tensor.ndim} dims"
        )
    return tensor._array.tolist()


def _split_along(
    name: str, input: Any, sections: Any, indices: Any, least: int, axis: int
) -> tuple[Any, ...]:
    given = sections if indices is None else indices
    if input.ndim < least:
        raise RuntimeError(
            f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
            f"with {input.ndim} dimensions!"
        )
    if isinstance(given, int):
        n = input._spec.shape[axis]
        if given and n % given:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {axis}, but the size of the "
                f"dimension {n} is not divisible by the split_size {given}!"
            )
    return tensor_split(input, given, axis)


@public
def hsplit(input: Any, sections: Any = None, *, indices: Any = None) -> tuple[Any, ...]:
    """`tensor_split` along the second dimension (of a vector, its only one), in equal parts."""
    return _split_along("hsplit", input, sections, indices, 1, 0 if input.ndim == 1 else 1)


@public
def vsplit(input: Any, sections: Any = None, *, indices: Any = None) -> tuple[Any, ...]:
    """`tensor_split` along the first of two or more dimensions, in equal parts."""
    return _split_along("vsplit", input, sections, indices, 2, 0)


@public
def dsplit(input: Any, sections: Any = None, *, indices: Any = None) -> tuple[Any, ...]:
    """`tensor_split` along the third dimension, in equal parts."""
    return _split_along("dsplit", input, sections, indices, 3, 2)


@public(numpy=[np.split], module=())
def numpy_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """NumPy's `split`: equal parts, or cut at indices."""
    if isinstance(indices_or_sections, int) and input.shape[dim] % indices_or_sections:
        raise ValueError("array split does not result in an equal division")
    return tensor_split(input, indices_or_sections, dim)


@public
def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """All parts along a dimension. Views."""
    axis = _axis(
        input, dim, f"Dimension specified as {dim} but tensor has no dimensions", IndexError
    )
    lead = (ALL,) * axis
    inputs = (input,)
    apply = Primitive.apply
    return tuple(
        [apply(unbind_, inputs, ((*lead, i, ...), i)) for i in range(input._spec.shape[axis])]
    )
