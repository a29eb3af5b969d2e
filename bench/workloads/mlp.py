"""A multilayer perceptron 784-256-128-10, float32: cross entropy, gradients, SGD by hand."""

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

SIZES = (784, 256, 128, 10)
RATE = 0.01
RANDOM = np.random.default_rng(0)
WEIGHTS = [
    (RANDOM.standard_normal((after, before)) / before**0.5).astype(np.float32)
    for before, after in pairwise(SIZES)
]
BIASES = [np.zeros(size, np.float32) for size in SIZES[1:]]
LEAVES = [array for pair in zip(WEIGHTS, BIASES) for array in pair]


def data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in rows, and their labels."""
    random = np.random.default_rng(1)
    images = random.standard_normal((batch, SIZES[0]), dtype=np.float32)
    return images, random.integers(0, SIZES[-1], batch)


def mlp(tg: Any, batch: int, repeats: int = 1) -> Program:
    leaves = [tg.tensor(array, requires_grad=True) for array in LEAVES]
    x, labels = (tg.tensor(array) for array in data(batch))
    linear, relu = tg.nn.functional.linear, tg.relu
    cross_entropy = tg.nn.functional.cross_entropy
    w1, b1, w2, b2, w3, b3 = leaves

    def loss_of() -> Any:
        h = relu(linear(x, w1, b1))
        h = relu(linear(h, w2, b2))
        return cross_entropy(linear(h, w3, b3), labels)

    return training(tg, leaves, loss_of, rate=RATE, repeats=repeats)


def loss(x: np.ndarray, labels: np.ndarray, xp: Any, *leaves: Any) -> Any:
    w1, b1, w2, b2, w3, b3 = leaves
    h = numpy_like.relu(xp, xp.matmul(x, w1.T) + b1)
    h = numpy_like.relu(xp, xp.matmul(h, w2.T) + b2)
    return numpy_like.cross_entropy(xp, xp.matmul(h, w3.T) + b3, labels)


def workload(batch: int, repeats: int, goal: float) -> Workload:
    rows = (
        Row("forward", "us", 1e3),
        Row("backward", "us", 1e3),
        Row("update", "us", 1e3),
        Row("all", "us", 1e3, goal),
    )
    peers = numpy_like.peers(partial(loss, *data(batch)), LEAVES, rate=RATE, repeats=repeats)
    build = partial(mlp, batch=batch, repeats=repeats)
    return Workload(f"mlp-{batch}", rows, build, peers, large=True)


BATCH_128, BATCH_8 = workload(128, 10, 0.7), workload(8, 20, 0.5)
