"""A convolutional net like LeNet on 28 x 28 images, float32: two convolutions, three layers."""

from functools import partial
from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

BATCH = 64
SHAPES = (
    *((6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,)),
    *((120, 400), (120,), (84, 120), (84,), (10, 84), (10,)),
)
RANDOM = np.random.default_rng(0)
LEAVES = [
    (RANDOM.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
    for shape in SHAPES
]


def data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (batch, 1, 28, 28), and their labels."""
    random = np.random.default_rng(1)
    images = random.standard_normal((batch, 1, 28, 28), dtype=np.float32)
    return images, random.integers(0, 10, batch)


def lenet(tg: Any, batch: int = BATCH) -> Program:
    leaves = [tg.tensor(array, requires_grad=True) for array in LEAVES]
    x, labels = (tg.tensor(array) for array in data(batch))
    functional = tg.nn.functional
    conv2d, linear, max_pool2d = functional.conv2d, functional.linear, functional.max_pool2d
    relu, cross_entropy = tg.relu, functional.cross_entropy
    k1, c1, k2, c2, w1, b1, w2, b2, w3, b3 = leaves

    def loss_of() -> Any:
        h = max_pool2d(relu(conv2d(x, k1, c1, padding=2)), 2)
        h = max_pool2d(relu(conv2d(h, k2, c2)), 2)
        h = relu(linear(h.flatten(1), w1, b1))
        h = relu(linear(h, w2, b2))
        return cross_entropy(linear(h, w3, b3), labels)

    return training(tg, leaves, loss_of)


def loss(layers: Any, x: np.ndarray, labels: np.ndarray, xp: Any, *leaves: Any) -> Any:
    """`layers` are the library's own convolution and 2 x 2 pooling."""
    convolve, pool = layers
    k1, c1, k2, c2, w1, b1, w2, b2, w3, b3 = leaves
    h = convolve(x, k1, 2) + c1.reshape(1, -1, 1, 1)
    h = pool(numpy_like.relu(xp, h))
    h = convolve(h, k2, 0) + c2.reshape(1, -1, 1, 1)
    h = pool(numpy_like.relu(xp, h)).reshape(len(labels), -1)
    h = numpy_like.relu(xp, xp.matmul(h, w1.T) + b1)
    h = numpy_like.relu(xp, xp.matmul(h, w2.T) + b2)
    return numpy_like.cross_entropy(xp, xp.matmul(h, w3.T) + b3, labels)


def with_jax() -> Program:
    from jax import lax

    def convolve(x: Any, kernel: Any, padding: int) -> Any:
        return lax.conv_general_dilated(x, kernel, (1, 1), [(padding, padding)] * 2)

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, -np.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    return numpy_like.with_jax(partial(loss, (convolve, pool), *data(BATCH)), LEAVES)


def with_mygrad() -> Program:
    from mygrad.nnet.layers import conv_nd, max_pool

    def convolve(x: Any, kernel: Any, padding: int) -> Any:
        return conv_nd(x, kernel, stride=1, padding=padding)

    def pool(x: Any) -> Any:
        return max_pool(x, (2, 2), 2)

    return numpy_like.with_mygrad(partial(loss, (convolve, pool), *data(BATCH)), LEAVES)


WORKLOAD = Workload(
    "lenet",
    (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=1.2)),
    lenet,
    {"jax": with_jax, "mygrad": with_mygrad},
    large=True,
)
