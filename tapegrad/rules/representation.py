"""How numbers are made up: divisors of integers, mantissa and exponent, the next number."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import int32
from tapegrad.primitive import elementwise, select
from tapegrad.rules.arguments import refuse
from tapegrad.rules.arithmetic import flat_y
from tapegrad.rules.results import named


def gcd_forward(x, y):
    return no_bools(np.gcd, x, y)


def lcm_forward(x, y):
    return no_bools(np.lcm, x, y)


def no_bools(function: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The function of integers. Raises torch's error for bools, which NumPy takes as integers."""
    if x.dtype.kind == "b":
        raise NotImplementedError(f"\"{function.__name__}_cpu\" not implemented for 'Bool'")
    return function(x, y)


gcd = elementwise("gcd", gcd_forward, None, None, numbers="")
lcm = elementwise("lcm", lcm_forward, None, None, numbers="")


def nextafter_x(out_bar, x, y):
    return select(x == y, 0.0, out_bar)


#: The number next to the first in the direction of the second.
nextafter = elementwise("nextafter", np.nextafter, nextafter_x, flat_y, numbers="")


def mantissa_forward(x):
    return np.frexp(x)[0]


def mantissa_x(out_bar, x, out):
    # A power of 2, the same for all numbers between two of them.
    plain = (x == 0) | (np.abs(x) == np.inf)
    return out_bar * (select(plain, 1.0, out) / select(plain, 1.0, x))


mantissa = elementwise("frexp", mantissa_forward, mantissa_x, hidden=True)


@public
def frexp(input: Any) -> Any:
    """The mantissa, from 1/2 to 1 in size, and the exponent (int32): ``mantissa * 2 ** exponent``.

    A named tuple. Raises RuntimeError unless the dtype is real.
    """
    refuse(input, "biuc", "torch.frexp() only supports floating-point dtypes")
    exponent = np.asarray(np.frexp(input._array)[1], np.int32)
    made = input.new_tensor(exponent, dtype=int32)
    return named("frexp", ("mantissa", "exponent"))(mantissa(input), made)
