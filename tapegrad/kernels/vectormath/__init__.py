"""Elementary functions that LLVM vectorises, for use in compiled code in place of NumPy's.

    from tapegrad.kernels import vectormath as vm

    @njit
    def f(x, out):
        for i in range(x.size):
            out[i] = vm.tanh(x[i]) * vm.exp(-x[i])

Numba's own are calls to libm, one element at a time. These are formulas without branches (see
`values`; but `branching`), for float32 and float64, right to 2 units in the last place for all
arguments, with the special values of C99. What isn't here is NumPy's: ``vm.sqrt`` is ``np.sqrt``,
so a function of ``np.*`` is compiled with this module in the place of ``np``.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from tapegrad.kernels.vectormath import (
    branching,
    coefficients,
    exponential,
    logarithm,
    normal,
    trigonometric,
    values,
)
from tapegrad.kernels.vectormath.values import Real
from tapegrad.primitive import select

__all__ = ["of_one", "of_two", "stamp"]


def _widen(function: Any) -> None:
    """Have the loops of a function use the widest vectors that the processor has.

    LLVM takes half of that on Intel's, for the sake of loops that do less in each of their steps.
    """
    set.add(function.attributes, '"prefer-vector-width"="512"')  # their own `add` knows no values


def _compiled(formula: Callable[..., Real], arity: int) -> Any:
    def declared(*operands: Any) -> Any:
        kind = types.float64
        if all(o == types.float32 for o in operands):
            kind = types.float32
        if not all(isinstance(o, types.Number | types.Boolean) for o in operands):
            return None

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            _widen(builder.function)
            return formula(*(Real(builder, value) for value in given)).value

        return kind(*[kind] * arity), generate

    if arity == 1:

        def unary(typingctx: Any, x: Any) -> Any:
            return declared(x)

        return intrinsic(unary)

    def binary(typingctx: Any, x: Any, y: Any) -> Any:
        return declared(x, y)

    return intrinsic(binary)


_FAMILIES = {
    exponential: ("exp", "exp2", "expm1", "sinh", "cosh", "tanh", "sigmoid"),
    logarithm: ("log", "log1p", "softplus"),
    trigonometric: ("sin", "cos", "tan", "atan"),
    normal: ("erf", "erfc", "gelu"),
}
#: The functions of one number and of two, by name.
of_one = {
    name: _compiled(getattr(family, name), 1)
    for family, names in _FAMILIES.items()
    for name in names
}
of_two = {
    "pow": _compiled(logarithm.pow, 2),
    "logaddexp": _compiled(logarithm.logaddexp, 2),
    "maximum": _compiled(values.larger, 2),
    "minimum": _compiled(values.smaller, 2),
}
globals().update(of_one, **of_two)
arctan, power, where = of_one["atan"], of_two["pow"], select


def __getattr__(name: str) -> Any:
    return getattr(np, name)


@functools.cache
def stamp() -> bytes:
    """A digest of all this code, for the keys of the kernel cache."""
    modules = (branching, coefficients, exponential, logarithm, normal, trigonometric, values)
    parts = [inspect.getsource(m) for m in (*modules, sys.modules[__name__])]
    return hashlib.sha256("".join(parts).encode()).digest()
