"""An LSTM written by hand: 100 steps, 64 hidden units, a batch of 16, float32."""

from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

STEPS, HIDDEN, BATCH = 100, 64, 16
RANDOM = np.random.default_rng(0)
W = (RANDOM.standard_normal((HIDDEN, 4 * HIDDEN)) / HIDDEN**0.5).astype(np.float32)
U = (RANDOM.standard_normal((HIDDEN, 4 * HIDDEN)) / HIDDEN**0.5).astype(np.float32)
B = np.zeros(4 * HIDDEN, np.float32)


def data(batch: int) -> np.ndarray:
    """A sequence for each of the batch: (STEPS, batch, HIDDEN)."""
    return np.random.default_rng(1).standard_normal((STEPS, batch, HIDDEN), dtype=np.float32)


def lstm(tg: Any, batch: int = BATCH) -> Program:
    leaves = w, u, b = [tg.tensor(array, requires_grad=True) for array in (W, U, B)]
    inputs = list(tg.tensor(data(batch)))
    start = tg.zeros(batch, HIDDEN)
    sigmoid, tanh = tg.sigmoid, tg.tanh

    def loss_of() -> Any:
        h = c = start
        for x in inputs:
            i, f, g, o = (x @ w + h @ u + b).chunk(4, dim=1)
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
        return (h * h).mean()

    return training(tg, leaves, loss_of)


def step(xp: Any, h: Any, c: Any, x: Any, leaves: Any) -> tuple[Any, Any]:
    w, u, b = leaves
    gates = xp.matmul(x, w) + xp.matmul(h, u) + b
    i, f, g, o = (gates[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
    sigmoid = numpy_like.sigmoid
    c = sigmoid(xp, f) * c + sigmoid(xp, i) * xp.tanh(g)
    return sigmoid(xp, o) * xp.tanh(c), c


def loss(xp: Any, *leaves: Any) -> Any:
    h = c = np.zeros((BATCH, HIDDEN), np.float32)
    for x in data(BATCH):
        h, c = step(xp, h, c, x, leaves)
    return xp.mean(h * h)


def loss_by_scan(xp: Any, *leaves: Any) -> Any:
    """For JAX, whose compiler would take its time over 100 steps written out."""
    from jax import lax

    def body(state: Any, x: Any) -> tuple[Any, None]:
        return step(xp, state[0], state[1], x, leaves), None

    start = xp.zeros((BATCH, HIDDEN), np.float32)
    (h, _), _ = lax.scan(body, (start, start), data(BATCH))
    return xp.mean(h * h)


def with_jax() -> Program:
    return numpy_like.with_jax(loss_by_scan, [W, U, B])


WORKLOAD = Workload(
    "lstm",
    (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=0.5)),
    lstm,
    {**numpy_like.peers(loss, [W, U, B]), "jax": with_jax},
    large=True,
)
