"""Size: a shape, which is a tuple that prints as torch's does.

>>> from tapegrad.size import Size
>>> shape = Size([2, 3])
>>> shape, shape[1:], shape + (4,), shape.numel()
(tapegrad.Size([2, 3]), tapegrad.Size([3]), tapegrad.Size([2, 3, 4]), 6)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, SupportsIndex

__all__ = ["Size", "size_of"]


class Size(tuple[int, ...]):
    """A tuple of integers. Slices, sums and multiples of it are Sizes too.

    Raises TypeError for items that aren't integers; Tensors and NumPy's scalars that are become
    Python's.
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[SupportsIndex] = (), /) -> Size:
        """The Size with these items."""
        items = tuple(sizes)
        for item in items:
            if type(item) is not int:
                items = tuple([_integer(item, i) for i, item in enumerate(items)])
                break
        return tuple.__new__(cls, items)

    def numel(self) -> int:
        """The number of elements of a Tensor of this shape: the product of the sizes."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"tapegrad.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return size_of(item) if type(item) is tuple else item

    def __add__(self, other: Any) -> Size:
        if not isinstance(other, tuple):
            raise TypeError(
                f"can only concatenate tuple (not {type(other).__name__}) to tapegrad.Size"
            )
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Size:
        return Size(other + tuple(self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Size:
        return size_of(tuple(self) * times)

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (tuple(self),)


def _integer(item: Any, position: int) -> int:
    try:
        return operator.index(item)
    except TypeError:
        raise TypeError(
            f"tapegrad.Size() takes an iterable of 'int' (item {position} is "
            f"'{type(item).__name__}')"
        ) from None


#: ``size_of(shape)`` is ``Size(shape)`` for a tuple known to hold Python ints, such as an array's
#: shape: it skips the check, and with it a call of a Python function.
size_of: Callable[[tuple[int, ...]], Size] = partial(tuple.__new__, Size)
