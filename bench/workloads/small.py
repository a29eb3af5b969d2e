"""1,000 mixed operations on 10 float64: a model's bookkeeping, where arrays are small.

All that it names NumPy's functions have too, so that every library runs the same function.
"""

from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

TURNS = 100
OPERATIONS = 10 * TURNS
START = np.linspace(0.1, 1.0, 10)
FACTOR = np.linspace(0.8, 1.2, 10)
OFFSET = np.linspace(-0.2, 0.2, 10)
LEAVES = [START, FACTOR, OFFSET]
REPEATS = 5


def mixed(xp: Any, y: Any, factor: Any, offset: Any) -> Any:
    for _ in range(TURNS):
        y = turn(xp, y, factor, offset)
    return y


def turn(xp: Any, y: Any, factor: Any, offset: Any) -> Any:
    """Ten operations, whose values stay between 0 and 3."""
    a = y * factor
    b = xp.tanh(a + offset)
    c = b * xp.sin(a)
    d = xp.exp(c)
    return xp.sqrt(d - c / factor + y)


def small(tg: Any) -> Program:
    leaves = [tg.tensor(array, requires_grad=True) for array in LEAVES]
    return training(tg, leaves, lambda: mixed(tg, *leaves).sum(), repeats=REPEATS)


def loss(xp: Any, *leaves: Any) -> Any:
    return xp.sum(mixed(xp, *leaves))


def loss_by_scan(xp: Any, y: Any, factor: Any, offset: Any) -> Any:
    """For JAX, whose compiler would take a minute over 1,000 operations written out."""
    from jax import lax

    def body(y: Any, _: None) -> tuple[Any, None]:
        return turn(xp, y, factor, offset), None

    return xp.sum(lax.scan(body, y, length=TURNS)[0])


def with_jax() -> Program:
    return numpy_like.with_jax(loss_by_scan, LEAVES, repeats=REPEATS)


WORKLOAD = Workload(
    "small",
    (
        Row("forward", "ns/op", OPERATIONS, goal=0.5),
        Row("backward", "ns/record", OPERATIONS, goal=0.03),
        Row("free", "ns/record", OPERATIONS),
        Row("all", "ns/op", OPERATIONS),
    ),
    small,
    {**numpy_like.peers(loss, LEAVES, repeats=REPEATS), "jax": with_jax},
)
