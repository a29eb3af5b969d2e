"""torch.fft: the transforms of `tapegrad.rules.ondemand.fourier`, and their frequencies.

>>> import tapegrad
>>> tapegrad.fft.fftfreq(4)
tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.factory import check_options, leaf, numpy_dtype
from tapegrad.operators import hand_on, load_rest, modules
from tapegrad.tensor import Tensor

load_rest()
hand_on("fft", globals())
__all__ = ["fftfreq", "rfftfreq", *modules["fft"]]


def _frequencies(
    function: str, steps: np.ndarray, n: int, d: float, dtype: Any, requires_grad: bool
) -> Tensor:
    wanted = numpy_dtype(dtype, function)
    if wanted.kind not in "fc":
        raise RuntimeError(f"{function} requires a floating point or complex dtype")
    scale = np.float64(1.0) / (n * d) if n * d else np.float64(np.inf)
    return leaf((steps * scale).astype(wanted), requires_grad)


def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of `tapegrad.fft.fft` of ``n`` samples ``d`` apart: 0, 1/(n d), 2/(n d), ...

    The second half of them is negative. Raises RuntimeError for an integer dtype and for a
    negative n.
    """
    check_options("fftfreq", out, layout, device, pin_memory)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    steps = np.arange(n)
    steps[(n + 1) // 2 :] -= n
    return _frequencies("fftfreq", steps, n, d, dtype, requires_grad)


def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """The ``n // 2 + 1`` frequencies of `tapegrad.fft.rfft` of n samples ``d`` apart, from 0 on."""
    check_options("rfftfreq", out, layout, device, pin_memory)
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, dtype, requires_grad)
