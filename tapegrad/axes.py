"""The dimensions that arguments called ``dim`` name."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["reduced_axes", "wrap_axis"]


def reduced_axes(dim: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes that ``dim`` names, normalised to 0..ndim-1; None or () is all of them.

    Raises IndexError for an axis out of range and RuntimeError for one named twice, as torch does.
    """
    if dim is None:
        return tuple(range(ndim))
    if type(dim) is int and -ndim <= dim < ndim:
        return (dim if dim >= 0 else dim + ndim,)
    dims = tuple(dim) if isinstance(dim, Iterable) else (dim,)
    if not dims:
        return tuple(range(ndim))
    axes = tuple([wrap_axis(d, ndim) for d in dims])
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return axes if ndim else ()


def wrap_axis(dim: int, ndim: int) -> int:
    """``dim`` in 0..ndim-1, counting negative ones from the end (a 0-d array takes 0 and -1)."""
    bound = ndim or 1
    if -bound <= dim < bound:
        return dim + bound if dim < 0 else dim
    raise IndexError(
        f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], "
        f"but got {dim})"
    )
