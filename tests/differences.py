"""Derivatives against differences: gradcheck's, at narrower tolerances than its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.tensor import from_array
from tapegrad.testing import gradcheck, gradgradcheck


def check_derivatives(
    function: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    *,
    second: bool = True,
    forward: bool = True,
) -> None:
    """Hold the gradient, the second-order gradient and forward mode against differences."""
    leaves = [from_array(np.array(a, np.float64), requires_grad=True) for a in arrays]
    assert function(*leaves).requires_grad
    options = {"fast_mode": True, "check_grad_dtypes": True}
    gradcheck(function, leaves, check_forward_ad=forward, rtol=2e-5, atol=2e-6, **options)
    if second:
        gradgradcheck(function, leaves, rtol=1e-4, atol=1e-5, **options)
