"""20,000 multiplications of 10 float64, one after the other: what recording and replaying cost.

Factors lie within 1 % of 1, so that every value stays far from overflow and from denormals.
"""

from typing import Any

import numpy as np

from bench.harness import Gradients, Program, forward_backward, repeated, take_gradients
from bench.workload import Row, Workload

OPERATIONS = 20_000
START = np.linspace(0.5, 1.5, 10)
FACTOR = np.linspace(0.9999, 1.0001, 10)


def chain(tg: Any) -> Program:
    """`y = y * b`, with a gradient for the first y only."""
    x = tg.tensor(START, requires_grad=True)
    b = tg.tensor(FACTOR)
    ones = tg.ones(10, dtype=tg.float64)

    def forward() -> Any:
        y = x
        for _ in range(OPERATIONS):
            y = y * b
        return y

    def backward(y: Any) -> None:
        y.backward(ones)

    def collect() -> Gradients:
        return take_gradients([x])

    return forward_backward(forward, backward, collect)


def with_autograd() -> Program:
    from autograd.core import make_vjp

    results: Gradients = []

    def last(x: Any) -> Any:
        for _ in range(OPERATIONS):
            x = x * FACTOR
        return x

    def forward() -> Any:
        return make_vjp(last, START)[0]

    def backward(vjp: Any) -> None:
        results.append(vjp(np.ones(10)))

    def collect() -> Gradients:
        return [results.pop()]

    return forward_backward(forward, backward, collect)


def with_mygrad() -> Program:
    import mygrad

    x = mygrad.tensor(START)

    def forward() -> Any:
        y = x
        for _ in range(OPERATIONS):
            y = y * FACTOR
        return y

    def backward(y: Any) -> None:
        y.backward(np.ones(10))

    def collect() -> Gradients:
        gradient = np.array(x.grad)
        x.null_grad()
        return [gradient]

    return forward_backward(forward, backward, collect)


def with_jax() -> Program:
    """Compiled, with a loop of its own: it has no tape, so there is one phase only."""
    import jax

    jax.config.update("jax_enable_x64", True)

    def multiply(y: Any, _: None) -> tuple[Any, None]:
        return y * FACTOR, None

    def total(x: Any) -> Any:
        return jax.lax.scan(multiply, x, length=OPERATIONS)[0].sum()

    gradient = jax.jit(jax.grad(total))

    def gradients() -> Gradients:
        return [np.asarray(gradient(START))]

    return repeated(gradients, 1, gradients, phase="all")


WORKLOAD = Workload(
    "chain",
    (
        Row("forward", "ns/op", OPERATIONS, goal=0.5),
        Row("backward", "ns/record", OPERATIONS, goal=0.03),
        Row("free", "ns/record", OPERATIONS),
        Row("all", "ns/op", OPERATIONS),
    ),
    chain,
    {"jax": with_jax, "autograd": with_autograd, "mygrad": with_mygrad},
)
