"""Derivatives by central differences: what gradients are checked against, never another formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd import grad
from tapegrad.autograd.forward import jvp
from tapegrad.recording import wrap
from tapegrad.tensor import Tensor, from_array

STEP = 1e-5
#: Second differences of gradients lose more digits.
TOLERANCE = {"rtol": 2e-5, "atol": 2e-6}


def evaluate(function: Callable[..., Any], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The function's value as an array."""
    return np.array(function(*[from_array(np.array(a)) for a in arrays])._array)


def directional(
    function: Callable[..., Any], arrays: Sequence[np.ndarray], direction: Sequence[np.ndarray]
) -> np.ndarray:
    """The derivative of the function along a direction, by a fourth-order central difference."""

    def at(step: float) -> np.ndarray:
        return evaluate(function, [a + step * d for a, d in zip(arrays, direction, strict=True)])

    near = at(STEP) - at(-STEP)
    far = at(2 * STEP) - at(-2 * STEP)
    return np.asarray((8 * near - far) / (12 * STEP))


def check_derivatives(
    function: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    *,
    second: bool = True,
    forward: bool = True,
    seed: int = 0,
) -> None:
    """Hold the gradient, the second-order gradient and forward mode against central differences.

    Random projections: for random ``v`` and ``u`` the number ``v . J u`` is compared, which is
    wrong with probability 1 if any entry of the Jacobian is.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(a, np.float64) for a in arrays]
    direction = [rng.uniform(-1, 1, a.shape) for a in arrays]
    leaves = [from_array(a.copy(), requires_grad=True) for a in arrays]
    out = function(*leaves)
    if not out.requires_grad:
        raise AssertionError("the result does not require grad")
    out_bar = rng.uniform(0.5, 1, out._array.shape)
    slope = directional(function, arrays, direction)
    expected = float((out_bar * slope).sum())
    gradients = grad(out, leaves, wrap(out_bar), create_graph=True, allow_unused=True)
    found = sum(
        float((g._array * d).sum())
        for g, d in zip(gradients, direction, strict=True)
        if g is not None
    )
    np.testing.assert_allclose(found, expected, err_msg="gradient", **TOLERANCE)
    for g, leaf in zip(gradients, leaves, strict=True):
        if g is not None:
            assert g._array.shape == leaf._array.shape
            assert g._array.dtype == leaf._array.dtype
    if forward:
        tangents = tuple(from_array(d) for d in direction)
        _, out_dot = jvp(function, tuple(from_array(a) for a in arrays), tangents)
        np.testing.assert_allclose(out_dot._array, slope, err_msg="forward mode", **TOLERANCE)
    if second:
        check_second(function, arrays, direction, out_bar)


def check_second(
    function: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    direction: Sequence[np.ndarray],
    out_bar: np.ndarray,
) -> None:
    """The gradient of the projected gradient against central differences of the first gradient."""

    def projected(*leaves: Tensor) -> Any:
        out = function(*leaves)
        gradients = grad(out, leaves, wrap(out_bar), create_graph=True, allow_unused=True)
        total: Any = None
        for g, d in zip(gradients, direction, strict=True):
            if g is not None:
                term = (g * wrap(d)).sum()
                total = term if total is None else total + term
        return total

    leaves = [from_array(np.array(a), requires_grad=True) for a in arrays]
    total = projected(*leaves)

    def value(*tensors: Tensor) -> Any:
        return projected(*[from_array(t._array, requires_grad=True) for t in tensors])

    expected = float(directional(value, arrays, direction))
    found = 0.0
    if total is not None and total.requires_grad:
        gradients = grad(total, leaves, allow_unused=True)
        for g, d in zip(gradients, direction, strict=True):
            if g is not None:
                found += float((g._array * d).sum())
    np.testing.assert_allclose(found, expected, err_msg="second order", rtol=1e-4, atol=1e-5)
