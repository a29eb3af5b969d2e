"""torch.func and torch.autograd over functions: a small MLP (64 wide, float64), and three scalars.

Rows called "functional" are `autograd.functional`'s, the others `func`'s, each against the same in
torch. The last row holds a Hessian-vector product, forward mode over reverse mode, against one
gradient, both tapegrad's.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.figures import Figure
from bench.harness import Gradients, Program, clock, measure
from bench.session import Session, load
from bench.workload import Row, Workload

WIDTH, BATCH, OUTPUTS = 64, 32, 4
REPEATS = 10
RANDOM = np.random.default_rng(0)
WEIGHTS = [RANDOM.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5 for _ in range(3)]
BIASES = [RANDOM.standard_normal(WIDTH) for _ in range(3)]
X, V = RANDOM.standard_normal((2, WIDTH))
XS = RANDOM.standard_normal((BATCH, WIDTH))
YS = RANDOM.standard_normal((BATCH, OUTPUTS))


def three(torch: Any, p: Any, q: Any, r: Any) -> Any:
    return torch.sin(p * q) + torch.exp(-r * r) * p


def tasks(torch: Any) -> dict[str, Callable[[], Any]]:
    """What is timed, by the names of rows; each gives Tensors in tuples, dicts or alone."""
    weights, biases = map(torch.tensor, WEIGHTS), map(torch.tensor, BIASES)
    (w1, w2, w3), (b1, b2, b3) = weights, biases
    x, v, xs, ys = map(torch.tensor, (X, V, XS, YS))
    func, functional = torch.func, torch.autograd.functional

    def vector(x: Any) -> Any:
        h = torch.tanh(torch.matmul(x, w1) + b1)
        h = torch.tanh(torch.matmul(h, w2) + b2)
        return torch.matmul(h, w3) + b3

    def scalar(x: Any) -> Any:
        return vector(x).square().sum()

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        h = torch.tanh(torch.matmul(x, parameters["w"]) + parameters["b"])
        return (torch.matmul(h, parameters["v"]) - y).square().sum()

    parameters = {
        "w": torch.tensor(WEIGHTS[0][:, :16].copy()),
        "b": torch.tensor(BIASES[0][:16].copy()),
        "v": torch.tensor(WEIGHTS[1][:16, :OUTPUTS].copy()),
    }
    numbers = [torch.tensor(value, dtype=torch.float64) for value in (0.5, 1.5, 2.5)]
    leaves = [number.clone().requires_grad_() for number in numbers]
    gradient = func.grad(scalar)
    gradient_of_three = func.grad(lambda *args: three(torch, *args), argnums=(0, 1, 2))
    per_sample = func.vmap(func.grad(loss), in_dims=(None, 0, 0))
    return {
        "functional.jacobian": lambda: functional.jacobian(vector, x),
        "functional.hessian": lambda: functional.hessian(scalar, x),
        "functional.hvp": lambda: functional.hvp(scalar, x, v)[1],
        "jacrev": lambda: func.jacrev(vector)(x),
        "jacfwd": lambda: func.jacfwd(vector)(x),
        "hessian": lambda: func.hessian(scalar)(x),
        "grad": lambda: gradient(x),
        "jvp of grad": lambda: func.jvp(gradient, (x,), (v,))[1],
        "grad of 3 scalars": lambda: gradient_of_three(*numbers),
        "autograd.grad of 3 scalars": lambda: torch.autograd.grad(three(torch, *leaves), leaves),
        "per-sample gradients": lambda: per_sample(parameters, xs, ys),
    }


def flat(result: Any) -> Any:
    """All numbers of a task's result, in one array."""
    if isinstance(result, dict):
        result = tuple(result.values())
    parts = result if isinstance(result, tuple) else (result,)
    return np.concatenate([part.detach().numpy().reshape(-1) for part in parts])


def program(torch: Any) -> Program:
    timed = tasks(torch)

    def sample() -> dict[str, float]:
        spent = {}
        for name, task in timed.items():
            start = clock.now()
            for _ in range(REPEATS):
                task()
            spent[name] = (clock.now() - start) / REPEATS
        return spent

    def gradients() -> Gradients:
        return [flat(task()) for task in timed.values()]

    return Program(sample, gradients)


GOALS = {
    "functional.jacobian": 0.5,
    "functional.hessian": 0.5,
    "jacrev": 1.5,
    "jacfwd": 1.5,
    "hessian": 1.5,
    "grad of 3 scalars": 0.4,
    "autograd.grad of 3 scalars": 0.4,
    "per-sample gradients": 1.0,
}
NAMES = (
    *("functional.jacobian", "functional.hessian", "functional.hvp", "jacrev", "jacfwd", "hessian"),
    *("grad", "jvp of grad", "grad of 3 scalars", "autograd.grad of 3 scalars"),
    "per-sample gradients",
)
WORKLOAD = Workload(
    "functions", tuple(Row(name, "us", 1e3, goal=GOALS.get(name)) for name in NAMES), program
)
#: A Hessian-vector product may take as long as so many gradients.
GRADIENTS = 4.0


def run(session: Session) -> list[Figure]:
    """The rows against torch; then a Hessian-vector product against a gradient."""
    figures = WORKLOAD.run(session)
    try:
        own = program(load(session.subject_module))
        samples = measure({session.subject: own}, session.rounds)
    except Exception as error:
        session.fail("functions", session.subject, error)
        return figures
    hvp, gradient = (
        [ns / 1e3 for ns in samples[name][session.subject]] for name in ("jvp of grad", "grad")
    )
    timed = {"a Hessian-vector product": hvp, "a gradient": gradient}
    return [
        *figures,
        Figure("functions", "jvp of grad", "us", timed, *timed, GRADIENTS),
    ]
