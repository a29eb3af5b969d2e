"""Derivatives from a function's values alone: central differences, and complex steps.

Both give the derivatives of all outputs along one direction of one input. A directional derivative
is a column of the Jacobian where the direction is a basis vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.modes import no_grad
from tapegrad.recording import wrap
from tapegrad.tensor import Tensor

__all__ = ["as_tuple", "central_difference", "complex_step"]

#: So small that x + ih differs from x in no digit of the real part, nor its square from 0.
TINY = 1e-20


def as_tuple(values: Any) -> tuple[Any, ...]:
    """A tuple or list as a tuple; what is neither, alone in one."""
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def central_difference(
    func: Callable[..., Any], inputs: Sequence[Any], index: int, direction: np.ndarray, eps: float
) -> list[np.ndarray]:
    """``(f(x + eps d) - f(x - eps d)) / (2 eps)`` of each output, flat.

    The memory of ``inputs[index]`` is changed in place and restored.
    """
    array = inputs[index]._array
    before = array.copy()
    step = eps * direction
    try:
        array[...] = before - step
        low = [out._array.copy() for out in as_tuple(func(*inputs))]
        array[...] = before + step
        high = [out._array.copy() for out in as_tuple(func(*inputs))]
    finally:
        array[...] = before
    for a, b in zip(low, high, strict=True):
        for attribute in ("shape", "dtype"):
            if getattr(a, attribute) != getattr(b, attribute):
                raise AssertionError(
                    f"Expected `func` to return outputs with the same {attribute} when inputs are "
                    f"perturbed by {eps}, but got: {attribute}s {getattr(a, attribute)} and "
                    f"{getattr(b, attribute)}."
                )
    return [((b * 1.0 - a) / (2 * eps)).reshape(-1) for a, b in zip(low, high, strict=True)]


def complex_step(
    func: Callable[..., Any], inputs: Sequence[Any], index: int, direction: np.ndarray
) -> list[np.ndarray]:
    """``imag(f(x + ih d)) / h`` of each output, flat: no digit is lost to cancellation.

    All floating inputs are made complex. Raises ValueError if the function can't take them, or
    gives real results.
    """
    raised = list(inputs)
    for i, value in enumerate(inputs):
        if isinstance(value, Tensor) and value._spec.dtype.kind == "f":
            raised[i] = wrap(value._array.astype(np.complex128))
    raised[index]._array.imag[...] = TINY * direction
    try:
        with no_grad():
            outputs = as_tuple(func(*raised))
    except Exception as error:
        raise ValueError(
            f"complex_step=True: func raised {type(error).__name__} for complex inputs; leave "
            "complex_step out"
        ) from error
    for k, out in enumerate(outputs):
        if out._spec.dtype.kind != "c":
            raise ValueError(
                f"complex_step=True: output {k} of func is {out.dtype} for complex inputs, so func "
                "is not analytic; leave complex_step out"
            )
    return [(out._array.imag / TINY).reshape(-1) for out in outputs]
