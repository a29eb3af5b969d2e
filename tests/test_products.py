"""Products of matrices of which one is small: ours beside BLAS's, for sizes at tiles' edges."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import replay
from tapegrad.nn.functional import linear

pytestmark = pytest.mark.skipif(
    not replay.load_native(), reason="there is no machine code on this machine"
)

SIZES = [(1, 1, 1), (2, 3, 5), (6, 7, 64), (7, 16, 65), (16, 17, 33), (17, 16, 20), (20, 18, 31)]
LIMITS = {"float32": 1e-4, "float64": 1e-12}


def assert_close(actual, expected, dtype):
    actual = np.asarray(actual.detach())
    limit = LIMITS[dtype] * max(1.0, abs(expected).max())
    np.testing.assert_allclose(actual, expected.astype(dtype), rtol=0, atol=limit, strict=True)


def operands(dtype, *shapes):
    random = np.random.default_rng(3)
    arrays = [random.uniform(-1, 1, shape) for shape in shapes]
    return arrays, [tg.tensor(a.astype(dtype), requires_grad=True) for a in arrays]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SIZES)
def test_gradients_of_products(sizes, dtype):
    rows, inner, columns = sizes
    shapes = (rows, inner), (inner, columns), (rows, columns)
    (x, y, bar), (x_leaf, y_leaf, weights) = operands(dtype, *shapes)
    # Each share is stored by one product and added to by the other.
    out = x_leaf @ y_leaf + (x_leaf.T.contiguous().T @ y_leaf.T.contiguous().T) * 2
    out.backward(weights.detach())
    assert_close(out, 3 * x @ y, dtype)
    assert_close(x_leaf.grad, 3 * bar @ y.T, dtype)
    assert_close(y_leaf.grad, 3 * x.T @ bar, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [*SIZES, (3, 701, 509), (16, 304, 211), (9, 1000, 113)])
def test_linear(sizes, dtype):
    rows, inner, columns = sizes
    shapes = (rows, inner), (columns, inner), (columns,), (rows, columns)
    (x, y, z, bar), (x_leaf, y_leaf, z_leaf, weights) = operands(dtype, *shapes)
    out = linear(x_leaf, y_leaf, z_leaf)
    out.backward(weights.detach())
    assert_close(out, x @ y.T + z, dtype)
    assert_close(x_leaf.grad, bar @ y, dtype)
    assert_close(y_leaf.grad, bar.T @ x, dtype)
    assert_close(z_leaf.grad, bar.sum(0), dtype)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_row(value):
    x = np.ones((4, 701))
    x[1, 700] = value
    out = linear(tg.tensor(x), tg.ones(509, 701, dtype=tg.float64), tg.zeros(509, dtype=tg.float64))
    expected = x.sum(1, keepdims=True) + np.zeros(509)
    np.testing.assert_array_equal(out.numpy(), expected)


def test_long_sums_of_singles_keep_their_digits():
    n = 200_000
    x, w = tg.full((n, 3), 0.1), tg.ones(1, 3, requires_grad=True)
    bar = tg.full((n, 1), 0.1)
    linear(x, w).backward(bar)
    np.testing.assert_allclose(w.grad.numpy(), n * float(np.float32(0.1)) ** 2, rtol=1e-4)
