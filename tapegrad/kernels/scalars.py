"""Rules and forward functions, for Numba to compile as functions of scalars of one dtype.

In them ``np`` is `vectormath`; and numbers have the dtype of the elements, as they have for NumPy:
Numba would compute ``2 * x`` in float64, whatever x is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba.extending import register_jitable

from tapegrad.kernels import vectormath
from tapegrad.kernels.cache import fingerprint
from tapegrad.primitive import Primitive

__all__ = ["on_scalars", "stamp"]


def on_scalars(function: Callable[..., Any], dtype: np.dtype[Any]) -> Any:
    """The function, to be called in a kernel for elements of this dtype; it is inlined there."""
    assert isinstance(function, FunctionType)
    code = function.__code__
    space = {**function.__globals__, "np": vectormath}
    # Only in our own functions are all integers values of elements.
    if (function.__module__ or "").startswith("tapegrad."):
        for name in code.co_names:
            value = space.get(name)
            if isinstance(value, Primitive) and value.name in vectormath.of_one:
                space[name] = vectormath.of_one[value.name]
            elif type(value) is float:
                space[name] = dtype.type(value)
        code = code.replace(co_consts=tuple(_number(c, dtype) for c in code.co_consts))
    function = FunctionType(
        code, space, function.__name__, function.__defaults__, function.__closure__
    )
    return register_jitable(inline="always")(function)


def _number(value: Any, dtype: np.dtype[Any]) -> Any:
    return dtype.type(value) if type(value) in (int, float) else value


def stamp(function: Callable[..., Any]) -> bytes:
    """A digest of all that the compiled function depends on."""
    return hashlib.sha256(fingerprint(function) + vectormath.stamp()).digest()
