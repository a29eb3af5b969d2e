"""torch's names for how elements lie in memory.

Tensors are dense and strided, so of the layouts only `strided` can be had; the memory formats are
accepted where torch accepts them.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "channels_last",
    "channels_last_3d",
    "check_layout",
    "contiguous_format",
    "layout",
    "memory_format",
    "preserve_format",
    "sparse_coo",
    "strided",
]


class _Name:
    """One of a few named objects, which are compared with ``is``."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tapegrad.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # copies and pickles come back as the one object


class layout(_Name):
    """How a Tensor's elements are stored: `strided`, for every Tensor."""

    __slots__ = ()


class memory_format(_Name):
    """In which order the elements of a new Tensor lie."""

    __slots__ = ()


strided = layout("strided")
sparse_coo = layout("sparse_coo")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def check_layout(value: Any, function: str = "") -> None:
    """Raise unless ``value``, an argument ``layout=``, is None or `strided`."""
    if value is None or value is strided:
        return
    if not isinstance(value, layout):
        prefix = f"{function}(): " if function else ""
        raise TypeError(
            f"{prefix}argument 'layout' must be tapegrad.layout, not {type(value).__name__}"
        )
    raise NotImplementedError(
        f"{function}: layout={value!r} is not supported; Tensors are dense (tapegrad.strided)"
    )
