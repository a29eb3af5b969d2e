"""`(tanh(x*w+b)*sigmoid(x)+exp(-x*x)).sum()` on 4,000,000 elements: what memory costs."""

from functools import partial
from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

SIZE = 4_000_000
ROWS = (
    Row("forward", "ms", 1e6),
    Row("backward", "ms", 1e6),
    Row("all", "ms", 1e6, goal=0.6),
)


def arrays(dtype: type) -> list[np.ndarray]:
    """x, w and b."""
    random = np.random.default_rng(0)
    return [random.standard_normal(SIZE, dtype=dtype) for _ in range(3)]


def large(dtype: type, tg: Any) -> Program:
    x, w, b = (tg.tensor(array, requires_grad=True) for array in arrays(dtype))
    tanh, sigmoid, exp = tg.tanh, tg.sigmoid, tg.exp

    def loss_of() -> Any:
        return (tanh(x * w + b) * sigmoid(x) + exp(-x * x)).sum()

    return training(tg, [x, w, b], loss_of)


def loss(xp: Any, x: Any, w: Any, b: Any) -> Any:
    return xp.sum(xp.tanh(x * w + b) * numpy_like.sigmoid(xp, x) + xp.exp(-x * x))


def workload(dtype: type) -> Workload:
    peers = {
        name: partial(make_peer, name, dtype) for name in ("jax", "autograd", "mygrad")
    }  # the arrays are made when they are needed
    return Workload(f"large-{np.dtype(dtype)}", ROWS, partial(large, dtype), peers, large=True)


def make_peer(name: str, dtype: type) -> Program:
    return numpy_like.peers(loss, arrays(dtype))[name]()


FLOAT32, FLOAT64 = workload(np.float32), workload(np.float64)
