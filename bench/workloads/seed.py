"""The first example that people meet: one linear layer, one loss, two gradients, in float32."""

from typing import Any

import numpy as np

from bench.harness import Gradients, Program, repeated, take_gradients
from bench.workload import Row, Workload

REPEATS = 500
RANDOM = np.random.default_rng(0)
X = np.ones(5, dtype=np.float32)
Y = np.zeros(3, dtype=np.float32)
W = RANDOM.standard_normal((5, 3)).astype(np.float32)
B = RANDOM.standard_normal(3).astype(np.float32)


def seed(tg: Any) -> Program:
    """Forward, backward, and the gradients dropped again."""
    x, y = tg.ones(5), tg.zeros(3)
    w = tg.tensor(W, requires_grad=True)
    b = tg.tensor(B, requires_grad=True)
    matmul = tg.matmul
    loss_of = tg.nn.functional.binary_cross_entropy_with_logits

    def step() -> None:
        z = matmul(x, w) + b
        loss = loss_of(z, y)
        loss.backward()
        w.grad = None
        b.grad = None

    def gradients() -> Gradients:
        loss_of(matmul(x, w) + b, y).backward()
        return take_gradients([w, b])

    return repeated(step, REPEATS, gradients)


def loss_in(xp: Any, w: Any, b: Any) -> Any:
    """The loss over another library's NumPy-like functions, in the form that can't overflow."""
    z = xp.matmul(X, w) + b
    losses = xp.maximum(z, 0) - z * Y + xp.log1p(xp.exp(-xp.abs(z)))
    return losses.mean()


def with_autograd() -> Program:
    import autograd.numpy as anp
    from autograd import grad

    def loss(parameters: tuple[Any, Any]) -> Any:
        return loss_in(anp, *parameters)

    gradient = grad(loss)

    def gradients() -> Gradients:
        return [np.asarray(g) for g in gradient((W, B))]

    return repeated(gradients, REPEATS, gradients)


def with_mygrad() -> Program:
    import mygrad

    w, b = mygrad.tensor(W), mygrad.tensor(B)

    def step() -> None:
        loss_in(mygrad, w, b).backward()

    def gradients() -> Gradients:
        step()
        return [np.array(w.grad), np.array(b.grad)]

    return repeated(step, REPEATS, gradients)


def with_jax() -> Program:
    import jax
    import jax.numpy as jnp

    def loss(w: Any, b: Any) -> Any:
        return loss_in(jnp, w, b)

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    w, b = jnp.asarray(W), jnp.asarray(B)

    def step() -> None:
        jax.block_until_ready(gradient(w, b))

    def gradients() -> Gradients:
        return [np.asarray(g) for g in gradient(w, b)]

    return repeated(step, REPEATS, gradients)


WORKLOAD = Workload(
    "seed",
    (Row("step", "us", REPEATS * 1e3, goal=0.25),),
    seed,
    {"jax": with_jax, "autograd": with_autograd, "mygrad": with_mygrad},
)
