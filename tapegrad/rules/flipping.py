"""The elements in another order along dimensions: flipped, rolled, turned by 90 degrees."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import sizes_of


def flip_forward(x, axes):
    turn = [slice(None)] * x.ndim
    for axis in axes if x.ndim else ():
        turn[axis] = slice(None, None, -1)
    return x[tuple(turn)].copy()


def flip_x(out_bar, axes):
    return flip_(out_bar, axes)


flip_ = structural("flip", flip_forward, flip_x)


def _flipped(input: Any, dims: tuple[int, ...]) -> Any:
    axes = tuple([wrap_axis(d, input.ndim) for d in dims])
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return Primitive.apply(flip_, (input,), (axes,))


@public
def flip(input: Any, *axes: Any, dims: Any = None) -> Any:
    """The order reversed along ``dims``. A copy."""
    return _flipped(input, sizes_of(axes, dims))


@public(numpy=[np.flip], module=())
def numpy_flip(input: Any, dim: Any = None) -> Any:
    """NumPy's `flip`."""
    return _flipped(input, tuple(range(input.ndim)) if dim is None else sizes_of((dim,)))


@public
def fliplr(input: Any) -> Any:
    """The second dimension reversed. A copy."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flipped(input, (1,))


@public
def flipud(input: Any) -> Any:
    """The first dimension reversed. A copy."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flipped(input, (0,))


def roll_forward(x, shifts, axes):
    return np.roll(x, shifts, axes if axes else None)


def roll_x(out_bar, shifts, axes):
    return roll_(out_bar, tuple([-s for s in shifts]), axes)


roll_ = structural("roll", roll_forward, roll_x, contiguous=True)


@public
def roll(input: Any, shifts: Any, dims: Any = ()) -> Any:
    """Shifted along ``dims``, what leaves at the end coming in at the front (none: flattened)."""
    shifts, axes = sizes_of((shifts,)), sizes_of((() if dims is None else dims,))
    if not shifts:
        raise RuntimeError("`shifts` required")
    if len(axes) != len(shifts) and (axes or len(shifts) != 1):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(axes)}"
        )
    if axes and not input.ndim:
        raise IndexError(f"Dimension specified as {axes[0]} but tensor has no dimensions")
    axes = tuple([wrap_axis(d, input.ndim) for d in axes])
    return Primitive.apply(roll_, (input,), (shifts, axes))


@public(numpy=[np.roll], module=())
def numpy_roll(input: Any, shift: Any, dim: Any = ()) -> Any:
    """NumPy's `roll`."""
    return roll(input, shift, dim)


def rot90_forward(x, k, axes):
    return np.rot90(x, k, axes).copy()


def rot90_x(out_bar, k, axes):
    return rot90_(out_bar, -k, axes)


rot90_ = structural("rot90", rot90_forward, rot90_x)


@public
def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Turned by 90 degrees ``k`` times in the plane of two dimensions. A copy."""
    given = sizes_of((dims,))
    if len(given) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(given)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = given
    if a == b or abs(a - b) == input.ndim:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}"
        )
    axes = (wrap_axis(a, input.ndim), wrap_axis(b, input.ndim))
    return Primitive.apply(rot90_, (input,), (k % 4, axes))
