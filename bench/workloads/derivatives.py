"""Hessian times vector, Jacobian and Hessian of a small MLP in its 10 inputs, float64."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.harness import Gradients, Program, clock
from bench.workload import Row, Workload

INPUTS, HIDDEN, OUTPUTS = 10, 32, 5
REPEATS = 20
RANDOM = np.random.default_rng(0)
W1 = RANDOM.standard_normal((INPUTS, HIDDEN)) / INPUTS**0.5
B1 = RANDOM.standard_normal(HIDDEN)
W2 = RANDOM.standard_normal((HIDDEN, HIDDEN)) / HIDDEN**0.5
B2 = RANDOM.standard_normal(HIDDEN)
W3 = RANDOM.standard_normal((HIDDEN, OUTPUTS)) / HIDDEN**0.5
X = RANDOM.standard_normal(INPUTS)
V = RANDOM.standard_normal(INPUTS)


def model(xp: Any, weights: Any, x: Any) -> Any:
    w1, b1, w2, b2, w3 = weights
    h = xp.tanh(xp.matmul(x, w1) + b1)
    h = xp.tanh(xp.matmul(h, w2) + b2)
    return xp.matmul(h, w3)


def program(tasks: dict[str, Callable[[], Any]]) -> Program:
    """Each task returns an array, or something that NumPy makes one of."""

    def sample() -> dict[str, float]:
        spent = {}
        for name, task in tasks.items():
            start = clock.now()
            for _ in range(REPEATS):
                task()
            spent[name] = (clock.now() - start) / REPEATS
        return spent

    def gradients() -> Gradients:
        return [np.asarray(task()) for task in tasks.values()]

    return Program(sample, gradients)


def derivatives(tg: Any) -> Program:
    functional = tg.autograd.functional
    weights = [tg.tensor(array) for array in (W1, B1, W2, B2, W3)]
    x, v = tg.tensor(X), tg.tensor(V)

    def vector(x: Any) -> Any:
        return model(tg, weights, x)

    def scalar(x: Any) -> Any:
        return vector(x).square().sum()

    return program(
        {
            "hvp": lambda: functional.hvp(scalar, x, v)[1],
            "jacobian": lambda: functional.jacobian(vector, x),
            "hessian": lambda: functional.hessian(scalar, x),
        }
    )


def with_jax() -> Program:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x, v = jnp.asarray(X), jnp.asarray(V)

    def vector(x: Any) -> Any:
        return model(jnp, (W1, B1, W2, B2, W3), x)

    def scalar(x: Any) -> Any:
        return jnp.sum(vector(x) ** 2)

    hvp = jax.jit(lambda x, v: jax.jvp(jax.grad(scalar), (x,), (v,))[1])
    jacobian, hessian = jax.jit(jax.jacrev(vector)), jax.jit(jax.hessian(scalar))
    ready = jax.block_until_ready
    return program(
        {
            "hvp": lambda: ready(hvp(x, v)),
            "jacobian": lambda: ready(jacobian(x)),
            "hessian": lambda: ready(hessian(x)),
        }
    )


def with_autograd() -> Program:
    import autograd.numpy as anp
    from autograd import hessian, hessian_vector_product, jacobian

    def vector(x: Any) -> Any:
        return model(anp, (W1, B1, W2, B2, W3), x)

    def scalar(x: Any) -> Any:
        return anp.sum(vector(x) ** 2)

    hvp, rows, matrix = hessian_vector_product(scalar), jacobian(vector), hessian(scalar)
    return program(
        {"hvp": lambda: hvp(X, V), "jacobian": lambda: rows(X), "hessian": lambda: matrix(X)}
    )


WORKLOAD = Workload(
    "derivatives",
    (
        Row("hvp", "us", 1e3, goal=0.5),
        Row("jacobian", "us", 1e3, goal=0.5),
        Row("hessian", "us", 1e3, goal=0.5),
    ),
    derivatives,
    {"jax": with_jax, "autograd": with_autograd},
)
