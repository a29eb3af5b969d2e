"""Window functions, as ``torch.signal.windows`` has them: Tensors (M,), in double precision inside.

    >>> from tapegrad.signal.windows import bartlett
    >>> bartlett(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    >>> bartlett(4, sym=False)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])

All are symmetric, or with ``sym=False`` one period of what repeats, for spectral analysis. They
raise ValueError for a negative M, for a dtype other than float32 and float64, and for a layout
other than strided. Source: Harris, *On the use of windows for harmonic analysis with the discrete
Fourier transform*, Proc. IEEE 66 (1978); Nuttall, IEEE Trans. ASSP 29 (1981).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tapegrad import devices, dtypes
from tapegrad.factory import integer, leaf
from tapegrad.layouts import strided
from tapegrad.tensor import Tensor

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]

BLACKMAN = (0.42, 0.5, 0.08)
NUTTALL = (0.3635819, 0.4891775, 0.1365995, 0.0106411)


# -- values, of float64 ----------------------------------------------------------------------------


def positions(size: int, sym: bool) -> tuple[np.ndarray, float]:
    """0, 1, ..., and what is the middle of them."""
    return np.arange(size, dtype=np.float64), max(size if not sym and size > 1 else size - 1, 0) / 2


def sum_of_cosines(size: int, sym: bool, coefficients: Iterable[float]) -> np.ndarray:
    """``a[0] - a[1] cos(t) + a[2] cos(2 t) - ...`` for t over one period."""
    n, middle = positions(size, sym)
    if size == 1:
        return np.ones(1)
    angle = n * (np.pi / middle) if size else n
    terms = [(-1) ** k * a * np.cos(k * angle) for k, a in enumerate(coefficients)]
    return np.asarray(sum(terms))


def triangle(size: int, sym: bool) -> np.ndarray:
    """1 in the middle, and down to 0 on both sides."""
    n, middle = positions(size, sym)
    return 1 - np.abs(n / middle - 1) if middle else np.ones(size)


def kaiser_values(size: int, sym: bool, beta: float) -> np.ndarray:
    """``I0(beta sqrt(1 - t ** 2)) / I0(beta)`` for t from -1 to 1; I0 scaled against overflow."""
    from scipy.special import i0e

    n, middle = positions(size, sym)
    t = n / middle - 1 if middle else np.zeros(size)
    root = abs(beta) * np.sqrt(np.maximum(1 - t * t, 0))
    return np.asarray(i0e(root) * np.exp(root - abs(beta)) / i0e(beta))


# -- the faces -------------------------------------------------------------------------------------


def _size(function: str, M: Any, dtype: Any, layout: Any, device: Any) -> int:
    size = integer(M, function, "'M' (position 1)")
    if size < 0:
        raise ValueError(f"{function} requires non-negative window length, got M={size}")
    if layout is not None and layout is not strided:
        raise ValueError(f"{function} is implemented for strided tensors only, got: {layout}")
    if dtype is not None and dtype not in (dtypes.float32, dtypes.float64):
        raise ValueError(f"{function} expects float32 or float64 dtypes, got: {dtype}")
    devices.check_device(device, function)
    return size


def _made(values: np.ndarray, dtype: Any, requires_grad: bool) -> Tensor:
    wanted = dtypes.get_default_dtype() if dtype is None else dtype
    return leaf(values.astype(wanted.numpy), requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``a[0] - a[1] cos(t) + a[2] cos(2 t) - ...`` for t from 0 to 2 pi.

    Raises TypeError or ValueError for coefficients that are no sequence, or none.
    """
    size = _size("general_cosine", M, dtype, layout, device)
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    coefficients = tuple(a)
    if not coefficients:
        raise ValueError("Coefficients cannot be empty")
    return _made(sum_of_cosines(size, sym, coefficients), dtype, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - (1 - alpha) cos(t)`` for t from 0 to 2 pi."""
    return general_cosine(
        M, a=(alpha, 1 - alpha), sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`general_hamming` with the usual 0.54."""
    return general_cosine(
        M, a=(0.54, 0.46), sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``(1 - cos(t)) / 2`` for t from 0 to 2 pi."""
    return general_cosine(
        M, a=(0.5, 0.5), sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Blackman's three cosines: 0.42, 0.5, 0.08."""
    return general_cosine(
        M, a=BLACKMAN, sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Nuttall's four cosines, with the least side lobes."""
    return general_cosine(
        M, a=NUTTALL, sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle, 0 at its ends."""
    size = _size("bartlett", M, dtype, layout, device)
    return _made(triangle(size, sym), dtype, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Half a wave: ``sin(pi (n + 1/2) / M)``."""
    size = _size("cosine", M, dtype, layout, device)
    n, middle = positions(size, sym)
    return _made(np.sin(np.pi * (n + 0.5) / (2 * middle + 1)), dtype, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-|n - center| / tau)``; a centre off the middle is for ``sym=False`` only."""
    size = _size("exponential", M, dtype, layout, device)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    n, middle = positions(size, sym)
    distance = np.abs(n - (middle if center is None else center))
    return _made(np.exp(-distance / tau), dtype, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-(n - middle) ** 2 / (2 std ** 2))``. Raises ValueError unless std is positive."""
    size = _size("gaussian", M, dtype, layout, device)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    n, middle = positions(size, sym)
    return _made(np.exp(-0.5 * ((n - middle) / std) ** 2), dtype, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Kaiser's window of shape ``beta``, which must not be negative (ValueError)."""
    size = _size("kaiser", M, dtype, layout, device)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    return _made(kaiser_values(size, sym, beta), dtype, requires_grad)
