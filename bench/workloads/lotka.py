"""Lotka-Volterra by 1,000 steps of Runge and Kutta's method, in scalars of float64.

Gradients with respect to the four parameters and the two initial values.
"""

from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

STEPS, H = 1_000, 0.01
VALUES = [np.array(value) for value in (1.5, 1.0, 1.0, 3.0, 1.0, 1.0)]


def step(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
    """The classical method of order 4; x' = a x - b x y, y' = c x y - d y."""

    def slope(x: Any, y: Any) -> tuple[Any, Any]:
        xy = x * y
        return a * x - b * xy, c * xy - d * y

    x1, y1 = slope(x, y)
    x2, y2 = slope(x + 0.5 * H * x1, y + 0.5 * H * y1)
    x3, y3 = slope(x + 0.5 * H * x2, y + 0.5 * H * y2)
    x4, y4 = slope(x + H * x3, y + H * y3)
    x = x + H / 6 * (x1 + 2 * x2 + 2 * x3 + x4)
    y = y + H / 6 * (y1 + 2 * y2 + 2 * y3 + y4)
    return x, y


def solved(a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> Any:
    for _ in range(STEPS):
        x, y = step(x, y, a, b, c, d)
    return x * x + y


def lotka(tg: Any) -> Program:
    leaves = [tg.tensor(value, requires_grad=True) for value in VALUES]
    return training(tg, leaves, lambda: solved(*leaves))


def loss(_: Any, *leaves: Any) -> Any:
    return solved(*leaves)


def loss_by_scan(_: Any, a: Any, b: Any, c: Any, d: Any, x: Any, y: Any) -> Any:
    """For JAX, whose compiler would take minutes over 1,000 steps written out."""
    from jax import lax

    def body(state: Any, _: None) -> tuple[Any, None]:
        return step(state[0], state[1], a, b, c, d), None

    (x, y), _ = lax.scan(body, (x, y), length=STEPS)
    return x * x + y


def with_jax() -> Program:
    return numpy_like.with_jax(loss_by_scan, VALUES)


WORKLOAD = Workload(
    "lotka",
    (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=0.3)),
    lotka,
    {**numpy_like.peers(loss, VALUES), "jax": with_jax},
)
