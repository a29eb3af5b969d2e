"""Negative log likelihoods of distributions, in ``nn.functional``: Gaussian and Poisson.

Source: Nix and Weigend, *Estimating the mean and variance of the target probability distribution*,
1994, for the Gaussian; Stirling's approximation, Abramowitz and Stegun 6.1.37, for ``log(n!)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.arithmetic import mul
from tapegrad.rules.exponential import exp, log
from tapegrad.rules.ondemand.losses import NN, REDUCTIONS, reduce_, reduction_of
from tapegrad.rules.selection import where

LOG_2PI = math.log(2 * math.pi)


@public(module=NN, method=False)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``(log(var) + (input - target) ** 2 / var) / 2``, and ``log(2 pi) / 2`` more if ``full``.

    ``var`` is a number or a Tensor of the input's shape, in which the last dimension may be 1 or
    missing; it counts at least ``eps``, but its gradient is as if it were not bounded. Raises
    ValueError for another shape and for a negative variance.
    """
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_full(input.shape, var)
    shape, sizes = input._spec.shape, var._spec.shape
    if sizes != shape:
        if sizes == shape[:-1]:
            var = var.unsqueeze(-1)
        elif len(sizes) != len(shape) or any(n not in (1, m) for n, m in zip(sizes, shape)):
            raise ValueError("var is of incorrect size")
    if reduction not in REDUCTIONS:
        raise ValueError(reduction + " is not valid")
    if (var._array < 0).any():
        raise ValueError("var has negative entry/entries")
    # Raised by a constant, so that the gradient passes.
    var = var + var.new_tensor(np.maximum(eps - var._array, 0))
    difference = input - target
    losses = 0.5 * (log(var) + mul(difference, difference) / var)
    return reduce_(losses + 0.5 * LOG_2PI if full else losses, REDUCTIONS[reduction])


@public(module=NN, method=False)
def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, size_average: Any = None,
    eps: float = 1e-8, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``rate - target * log(rate)``, where ``input`` is the rate or (``log_input``) its logarithm.

    ``eps`` is added to the rate before its logarithm is taken. ``full`` adds Stirling's
    approximation of ``log(target!)`` for targets above 1.
    """
    kind = reduction_of(reduction, size_average, reduce)
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        count = target.clamp(min=1)
        stirling = count * log(count) - count + 0.5 * (log(count) + LOG_2PI)
        losses = losses + where(target > 1, stirling, 0.0)
    return reduce_(losses, kind)
