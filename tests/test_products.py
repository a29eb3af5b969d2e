"""Products of matrices: ours beside BLAS's, for sizes at tiles' edges and all strides."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading, products
from tapegrad.fused import library
from tapegrad.nn.functional import linear
from tapegrad.products import matrix_product

pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)

SIZES = [(1, 1, 1), (2, 3, 5), (6, 7, 64), (7, 16, 65), (16, 17, 33), (17, 16, 20), (20, 18, 31)]
FORMS = list(itertools.product(["rows", "turned", "apart"], repeat=2))
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


def strided(random, *shape, form, dtype):
    """Matrices whose elements follow one another, or those of its transpose, or neither do."""
    *batch, rows, columns = shape
    if form == "turned":
        return random.uniform(-1, 1, (*batch, columns, rows)).astype(dtype).swapaxes(-1, -2)
    if form == "apart":
        whole = random.uniform(-1, 1, (*batch, 2 * rows, 3 * columns)).astype(dtype)
        return whole[..., ::2, ::-3]
    return random.uniform(-1, 1, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("forms", FORMS, ids=str)
def test_tiles(dtype, forms):
    from tapegrad.kernels.parts import find_products
    from tapegrad.kernels.tools import tools

    find_products(np.dtype(dtype))
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 13)
    run = kind(int(tools()[0 if dtype == "float32" else 1]))
    random = np.random.default_rng(0)
    rows, inners, columns = (1, 2, 5, 16, 17, 23), (0, 1, 15, 33, 300), (1, 7, 16, 33, 64, 70, 130)
    for m, k, n in itertools.product(rows, inners, columns):
        x = strided(random, m, k, form=forms[0], dtype=dtype)
        y = strided(random, k, n, form=forms[1], dtype=dtype)
        row = random.uniform(-1, 1, n).astype(dtype)
        around = np.full((m + 1, n + 3), 7, dtype)
        out = around[:m, :n]
        sides = (x.ctypes.data, *x.strides, y.ctypes.data, *y.strides)
        run(m, k, n, *sides, row.ctypes.data, 0, out.ctypes.data, out.strides[0])
        run(m, k, n, *sides, out.ctypes.data, out.strides[0], out.ctypes.data, out.strides[0])
        expected = 2 * (x.astype(float) @ y.astype(float)) + row
        np.testing.assert_allclose(out, expected, rtol=0, atol=LIMITS[dtype])
        assert (around[:, n:] == 7).all()
        assert (around[m:] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("forms", FORMS, ids=str)
@pytest.mark.parametrize("sizes", [(50, 300, 129), (301, 40, 17), (8, 500, 65)], ids=str)
def test_products_that_threads_share(dtype, forms, sizes, monkeypatch):
    find = library.find

    def shared(name, dtype):
        kernel = find(name, dtype)
        return lambda *operands, work: kernel(*operands, work=1 << 30)

    monkeypatch.setattr(library, "find", shared)
    for name in ("WORTH", "LINEAR_WORTH"):
        monkeypatch.setattr(products, name, 0)
    random = np.random.default_rng(0)
    m, k, n = sizes
    x = strided(random, m, k, form=forms[0], dtype=dtype)
    y = strided(random, k, n, form=forms[1], dtype=dtype)
    row = random.uniform(-1, 1, n).astype(dtype)
    expected = x.astype(float) @ y.astype(float)
    before = tg.get_num_threads()
    tg.set_num_threads(3)
    try:
        for shift in (None, row):
            out = matrix_product(x, y, shift)
            shifted = expected if shift is None else expected + shift
            assert out.dtype == dtype
            np.testing.assert_allclose(out, shifted, rtol=0, atol=LIMITS[dtype])
    finally:
        tg.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("x_shape", "y_shape"),
    [((3, 5, 60, 40), (3, 5, 40, 70)), ((5, 60, 64), (1, 64, 80)), ((4, 90, 70), (2, 1, 70, 90))],
)
@pytest.mark.parametrize("forms", FORMS, ids=str)
def test_batches(x_shape, y_shape, forms, dtype):
    """Beside NumPy's, in each order of memory, where threads share them."""
    before = tg.get_num_threads()
    tg.set_num_threads(2)
    try:
        random = np.random.default_rng(0)
        x, y = (
            strided(random, *shape, form=form, dtype=dtype)
            for form, shape in zip(forms, (x_shape, y_shape), strict=True)
        )
        out = products.batch_products(x, y)
        assert out.dtype == dtype
        eps = np.finfo(dtype).eps
        np.testing.assert_allclose(out, np.matmul(x, y), rtol=0, atol=100 * eps)
    finally:
        tg.set_num_threads(before)
