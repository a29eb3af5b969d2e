"""Programs for the peers with NumPy's functions: one loss, in JAX, autograd and MyGrad.

`loss(xp, *leaves)` returns a number, by way of the functions in `xp`. autograd and MyGrad record it
as it runs; JAX compiles it together with its gradient and the update, so that "all" is its one
phase.

    PEERS = peers(loss, [W, B], rate=0.1)     # entries of a workload's `peers`
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from bench.harness import Gradients, Program, forward_backward, repeated

Loss = Callable[..., Any]
Arrays = Sequence[np.ndarray]
Makers = dict[str, Callable[[], Program]]


def peers(loss: Loss, leaves: Arrays, *, rate: float = 0.0, repeats: int = 1) -> Makers:
    """A program for each of the three; with a rate, SGD's update is part of the step."""
    makers = {"jax": with_jax, "autograd": with_autograd, "mygrad": with_mygrad}
    return {
        name: partial(make, loss, leaves, rate=rate, repeats=repeats)
        for name, make in makers.items()
    }


def with_jax(loss: Loss, leaves: Arrays, *, rate: float = 0.0, repeats: int = 1) -> Program:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    places = tuple(range(len(leaves)))
    gradient = jax.jit(jax.grad(partial(loss, jnp), places))

    @jax.jit
    def descend(*values: Any) -> list[Any]:
        slopes = jax.grad(partial(loss, jnp), places)(*values)
        return [value - rate * slope for value, slope in zip(values, slopes, strict=True)]

    state = [jnp.asarray(leaf) for leaf in leaves]

    def step() -> None:
        state[:] = jax.block_until_ready(descend(*state))

    def slopes_only() -> None:
        jax.block_until_ready(gradient(*state))

    def gradients() -> Gradients:
        return [np.asarray(slope) for slope in gradient(*state)]

    program = repeated(step if rate else slopes_only, repeats, gradients, phase="all")

    def sample() -> dict[str, float]:
        return {phase: elapsed / repeats for phase, elapsed in program.sample().items()}

    return Program(sample, gradients)


def with_autograd(loss: Loss, leaves: Arrays, *, rate: float = 0.0, repeats: int = 1) -> Program:
    import autograd.numpy as anp
    from autograd.core import make_vjp

    state = [leaf.copy() for leaf in leaves]
    results: Gradients = []

    def loss_of_all(values: Any) -> Any:
        return loss(anp, *values)

    def forward() -> Any:
        return make_vjp(loss_of_all, tuple(state))

    def backward(recorded: Any) -> None:
        vjp, value = recorded
        results[:] = vjp(np.ones_like(value))

    def update() -> None:
        for value, slope in zip(state, results, strict=True):
            value -= rate * slope

    def collect() -> Gradients:
        return [np.asarray(slope) for slope in results]

    return forward_backward(
        forward,
        backward,
        collect,
        update=update if rate else None,
        clear=results.clear,
        repeats=repeats,
    )


def with_mygrad(loss: Loss, leaves: Arrays, *, rate: float = 0.0, repeats: int = 1) -> Program:
    import mygrad

    state = [mygrad.tensor(leaf) for leaf in leaves]

    def forward() -> Any:
        return loss(mygrad, *state)

    def backward(recorded: Any) -> None:
        recorded.backward()

    def update() -> None:
        state[:] = [mygrad.tensor(value.data - rate * value.grad, copy=False) for value in state]

    def clear() -> None:
        for value in state:
            value.null_grad()

    def collect() -> Gradients:
        slopes = [np.array(value.grad) for value in state]
        clear()
        return slopes

    return forward_backward(
        forward, backward, collect, update=update if rate else None, clear=clear, repeats=repeats
    )


def cross_entropy(xp: Any, scores: Any, labels: np.ndarray) -> Any:
    """The mean of -log softmax(scores)[i, labels[i]], in the form that can't overflow."""
    shifted = scores - xp.max(scores, axis=1, keepdims=True)
    chosen = shifted[np.arange(len(labels)), labels]
    return xp.mean(xp.log(xp.sum(xp.exp(shifted), axis=1)) - chosen)


def relu(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0)


def sigmoid(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))
