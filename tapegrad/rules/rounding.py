"""Rounding, elementwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise
from tapegrad.rules.arithmetic import flat, same

ceil = elementwise("ceil", np.ceil, flat, refuses="bc")
floor = elementwise("floor", np.floor, flat, refuses="bc")
trunc = elementwise("trunc", np.trunc, flat, aliases=("fix",), refuses="bc")
rint = elementwise("round", np.rint, flat, refuses="bc", hidden=True)


@public(module=("", "special"), inplace=True, numpy=[np.round])
def round(input: Any, *, decimals: int = 0) -> Any:
    """Rounded to ``decimals`` digits (before the point, if negative), halves to even.

    Raises NotImplementedError for decimals of integers.
    """
    if decimals == 0:
        return rint(input) if input._spec.dtype.kind not in "iu" else input.clone()
    if input._spec.dtype.kind in "iu":
        raise NotImplementedError('"round_cpu" not implemented for integers with decimals')
    scale = 10.0 ** abs(decimals)
    return round_digits(input, scale) if decimals > 0 else round_tens(input, scale)


def round_digits_forward(x, y):
    return np.rint(x * y) / y


def round_tens_forward(x, y):
    return np.rint(x / y) * y


round_digits = elementwise(
    "round_digits", round_digits_forward, flat, None, hidden=True, grad_name="RoundBackward1"
)
round_tens = elementwise(
    "round_tens", round_tens_forward, flat, None, hidden=True, grad_name="RoundBackward1"
)


def frac_forward(x):
    return x - np.trunc(x)


frac = elementwise("frac", frac_forward, same)
