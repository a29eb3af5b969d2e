"""Random numbers as functions of their parameters: as in torch, no gradient flows through a draw.

The record exists, and gives zeros: a loss of nothing but draws can run backward.
"""

from __future__ import annotations

import numpy as np

from tapegrad.primitive import structural


def drawn_forward(x, draws):
    return draws


def drawn_x(out_bar, x_shape):
    return np.zeros(x_shape, getattr(out_bar.dtype, "numpy", out_bar.dtype))


#: Its parameter is the draws, an array; its inputs only say who asked for them.
bernoulli_ = structural("bernoulli", drawn_forward, drawn_x)
poisson_ = structural("poisson", drawn_forward, drawn_x)
normal_mean = structural("normal", drawn_forward, drawn_x, grad_name="NormalBackward1")
normal_std = structural("normal", drawn_forward, drawn_x, grad_name="NormalBackward2")


def drawn_from_two_forward(x, y, draws):
    return draws


def drawn_y(out_bar, y_shape):
    return np.zeros(y_shape, getattr(out_bar.dtype, "numpy", out_bar.dtype))


normal_both = structural(
    "normal", drawn_from_two_forward, drawn_x, drawn_y, grad_name="NormalBackward3"
)
