"""Dimensions of size 1 repeated, as views: expand, broadcast_tensors and their relatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.broadcast import expand as expand_
from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.arguments import dtype_name, sizes_of
from tapegrad.size import Size


@public
def expand(input: Any, *sizes: Any, size: Any = None, implicit: bool = False) -> Any:
    """Dimensions of size 1 repeated without copying; -1 keeps a size, new ones come first.

    A view. Raises RuntimeError where another size would have to change.
    """
    wanted = sizes_of(sizes, size)
    shape = input._spec.shape
    lead = len(wanted) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand(tapegrad.{dtype_name(input)}Tensor{{{list(shape)}}}, size={list(wanted)}): "
            f"the number of sizes provided ({len(wanted)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({len(shape)})"
        )
    new, sizes = wanted[:lead], wanted[lead:]
    if -1 in sizes:
        sizes = tuple([have if n == -1 else n for n, have in zip(sizes, shape)])
    if sizes != shape:
        for i, (n, have) in enumerate(zip(sizes, shape), lead):
            if n != have and (have != 1 or n < 0):
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({have}) "
                    f"at non-singleton dimension {i}.  Target sizes: {list(wanted)}.  Tensor "
                    f"sizes: {list(shape)}"
                )
    for i, n in enumerate(new):
        if n < 0:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing "
                f"dimension {i}"
            )
    return Primitive.apply(expand_, (input,), (new + sizes,))


@public(method="only")
def expand_as(input: Any, other: Any) -> Any:
    """`expand` to the other's shape."""
    return expand(input, other._spec.shape)


@public
def broadcast_to(input: Any, *sizes: Any, size: Any = None) -> Any:
    """`expand`."""
    return expand(input, *sizes, size=size)


@public(numpy=[np.broadcast_to], module=())
def numpy_broadcast_to(input: Any, shape: Any) -> Any:
    """NumPy's `broadcast_to`."""
    return expand(input, shape)


@public(method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which all broadcast. Raises RuntimeError if there is none."""
    result: list[int] = []  # from the last dimension on
    for position, given in enumerate(shapes):
        shape = (given,) if isinstance(given, int) else tuple(given)
        if any(n < 0 for n in shape):
            raise ValueError("Attempting to broadcast a dimension with negative length!")
        result.extend([1] * (len(shape) - len(result)))
        for k, n in enumerate(reversed(shape)):
            if n != 1 and result[k] not in (1, n):
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {n} at {-1 - k}! Mismatching "
                    f"argument at index {position} had {shape}; but expected shape should be "
                    f"broadcastable to {result[::-1]}"
                )
            if n != 1:
                result[k] = n
    return Size(result[::-1])


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All expanded to their common shape. Raises RuntimeError if there is none."""
    inputs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape: tuple[int, ...] = ()
    for x in inputs:
        shape = _common_shape(shape, x._spec.shape)
    return tuple([expand(x, shape) for x in inputs])


def _common_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    ndim = max(len(a), len(b))
    out = []
    for axis in range(ndim):
        i, j = axis - ndim + len(a), axis - ndim + len(b)
        m, n = a[i] if i >= 0 else 1, b[j] if j >= 0 else 1
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                f"non-singleton dimension {axis}"
            )
        out.append(n if m == 1 else m)
    return tuple(out)
