"""The older window functions at the top level: one period each, unless ``periodic`` is False.

    >>> import tapegrad
    >>> tapegrad.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    >>> tapegrad.hann_window(5, periodic=False)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])

They raise RuntimeError for a negative length and for a dtype that isn't real. Values are those of
`tapegrad.signal.windows`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.factory import check_options, integer, leaf, numpy_dtype
from tapegrad.signal.windows import BLACKMAN, kaiser_values, sum_of_cosines, triangle
from tapegrad.tensor import Tensor

__all__ = [
    "bartlett_window",
    "blackman_window",
    "hamming_window",
    "hann_window",
    "kaiser_window",
]


def _size(function: str, window_length: Any) -> int:
    size = integer(window_length, function, "'window_length' (position 1)")
    if size < 0:
        raise RuntimeError(
            f"{function} requires non-negative window_length, got window_length={size}"
        )
    return size


def _made(
    function: str, values: np.ndarray, dtype: Any, layout: Any, device: Any, pin_memory: bool,
    requires_grad: bool,
) -> Tensor:  # fmt: skip
    check_options(function, None, layout, device, pin_memory)
    wanted = numpy_dtype(dtype, function)
    if wanted.kind != "f":
        raise RuntimeError(f"{function} expects floating point dtypes, got: {dtype}")
    return leaf(values.astype(wanted), requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - beta cos(t)`` for t from 0 to 2 pi."""
    size = _size("hamming_window", window_length)
    values = sum_of_cosines(size, not periodic, (alpha, beta))
    return _made("hamming_window", values, dtype, layout, device, pin_memory, requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``(1 - cos(t)) / 2`` for t from 0 to 2 pi."""
    values = sum_of_cosines(_size("hann_window", window_length), not periodic, (0.5, 0.5))
    return _made("hann_window", values, dtype, layout, device, pin_memory, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Blackman's three cosines: 0.42, 0.5, 0.08."""
    values = sum_of_cosines(_size("blackman_window", window_length), not periodic, BLACKMAN)
    return _made("blackman_window", values, dtype, layout, device, pin_memory, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle, 0 at its ends."""
    values = triangle(_size("bartlett_window", window_length), not periodic)
    return _made("bartlett_window", values, dtype, layout, device, pin_memory, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Kaiser's window of shape ``beta``."""
    values = kaiser_values(_size("kaiser_window", window_length), not periodic, beta)
    return _made("kaiser_window", values, dtype, layout, device, pin_memory, requires_grad)
