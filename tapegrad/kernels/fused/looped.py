"""A ufunc's inner loop over an array that it changes: see `kernels.large`."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Int
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import call_ufunc_loop, like, size_of


def looped(begin: Int, end: Int, x: Array, y: Array, loop: Int, data: Int, step: Int) -> None:
    """x = the ufunc of x and y, of which an element is ``step`` bytes after the other."""
    size = size_of(like(x[0], 0))
    at = address_of(x, begin)
    call_ufunc_loop(
        loop, data, end - begin, (at, address_of(y, 0) + begin * step, at), (size, step, size)
    )
