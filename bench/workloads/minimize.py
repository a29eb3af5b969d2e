"""SciPy's L-BFGS-B over a library's gradients: the Rosenbrock function, logistic regression.

float64. "evaluation" is the time within the function; "total" has SciPy's own, too.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.harness import Gradients, Program, clock
from bench.workload import Row, Workload

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]
Loss = Callable[[Any, Any], Any]

SIZE = 1_000
SAMPLES, FEATURES, DECAY = 1_000, 20, 1e-3
RANDOM = np.random.default_rng(0)
ROSENBROCK_START = np.tile([-1.2, 1.0], SIZE // 2)
DATA = RANDOM.standard_normal((SAMPLES, FEATURES))
REGRESSION_START = np.full(FEATURES, 0.01)
"""At 0 the loss over NumPy's functions has a kink."""
LABELS = (DATA @ RANDOM.standard_normal(FEATURES) + RANDOM.standard_normal(SAMPLES) > 0) * 1.0


def program(function: Function, start: np.ndarray) -> Program:
    """Minimise from there, to convergence by SciPy's default tolerances."""
    from scipy.optimize import minimize

    def sample() -> dict[str, float]:
        inside = [0, 0]

        def timed(x: np.ndarray) -> tuple[float, np.ndarray]:
            before = clock.now()
            result = function(x)
            inside[0] += clock.now() - before
            inside[1] += 1
            return result

        begin = clock.now()
        minimize(timed, start, jac=True, method="L-BFGS-B", options={"maxiter": 5_000})
        total = clock.now() - begin
        return {"evaluation": inside[0] / inside[1], "evaluations": inside[1], "total": total}

    def gradients() -> Gradients:
        return [np.array(function(x)[1]) for x in (start, start * 0.5)]

    return Program(sample, gradients)


def torch_like(tg: Any, loss: Loss) -> Function:
    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        leaf = tg.tensor(x, requires_grad=True)
        value = loss(tg, leaf)
        value.backward()
        return value.item(), leaf.grad.numpy()

    return function


def peers(loss: Loss, start: np.ndarray) -> dict[str, Callable[[], Program]]:
    """The same loss over NumPy-like functions."""

    def with_jax() -> Program:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        both = jax.jit(jax.value_and_grad(lambda x: loss(jnp, x)))

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = both(x)
            return float(value), np.asarray(gradient)

        return program(function, start)

    def with_autograd() -> Program:
        import autograd.numpy as anp
        from autograd import value_and_grad

        return program(value_and_grad(lambda x: loss(anp, x)), start)

    def with_mygrad() -> Program:
        import mygrad

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            leaf = mygrad.tensor(x)
            value = loss(mygrad, leaf)
            value.backward()
            return value.item(), leaf.grad

        return program(function, start)

    return {"jax": with_jax, "autograd": with_autograd, "mygrad": with_mygrad}


def rosenbrock(xp: Any, x: Any) -> Any:
    """In what all libraries share: the sum as a method, slices, squares."""
    head, tail = x[:-1], x[1:]
    return (100.0 * (tail - head**2) ** 2 + (1.0 - head) ** 2).sum()


def regression(tg: Any) -> Program:
    data, labels = tg.tensor(DATA), tg.tensor(LABELS)
    loss_of = tg.nn.functional.binary_cross_entropy_with_logits

    def loss(_: Any, w: Any) -> Any:
        return loss_of(data @ w, labels) + DECAY * (w * w).sum()

    return program(torch_like(tg, loss), REGRESSION_START)


def regression_loss(xp: Any, w: Any) -> Any:
    z = xp.matmul(DATA, w)
    losses = xp.maximum(z, 0) - z * LABELS + xp.log1p(xp.exp(-xp.abs(z)))
    return losses.mean() + DECAY * (w * w).sum()


def rosenbrock_program(tg: Any) -> Program:
    return program(torch_like(tg, rosenbrock), ROSENBROCK_START)


def rows(goal: float) -> tuple[Row, ...]:
    return (
        Row("evaluation", "us", 1e3, goal),
        Row("evaluations", "", 1.0),
        Row("total", "ms", 1e6),
    )


ROSENBROCK = Workload(
    "rosenbrock", rows(0.4), rosenbrock_program, peers(rosenbrock, ROSENBROCK_START)
)
REGRESSION = Workload("regression", rows(0.6), regression, peers(regression_loss, REGRESSION_START))
