"""Sparse Jacobians and Hessians against full ones."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import sparse

F = tg.nn.functional
A = tg.from_numpy(np.triu(np.tril(np.random.default_rng(1).normal(size=(8, 8)), 1)))
GROUPS = tg.tensor([0, 3, 3, 7])


def tridiagonal(x):
    y = tg.cat([x.new_zeros(1), x, x.new_zeros(1)])
    return y[2:] * x - y[:-2].sin() + x**2


FUNCTIONS = {
    "tridiagonal": tridiagonal,
    "elementwise": lambda x: (x * 3.0).exp() / 2.0,
    "constant": lambda x: tg.ones(3, dtype=tg.float64),
    "a part": lambda x: x[::3] * 2.0,
    "broadcast": lambda x: x.reshape(2, 4) * x[:4],
    "outer": lambda x: x[:2, None] * x[None, 2:4],
    "sums": lambda x: (x.reshape(4, 2) ** 2).sum(1),
    "mean": lambda x: x.reshape(4, 2).mean(0),
    "matmul": lambda x: A @ x.sin(),
    "both vary": lambda x: x[:4].reshape(2, 2) @ x[4:].reshape(2, 2),
    "conv": lambda x: F.conv1d(x.reshape(1, 1, 8), tg.ones(1, 1, 3, dtype=tg.float64)) ** 2,
    "softmax": lambda x: F.softmax(x.reshape(4, 2), -1),
    "maximum": lambda x: x.reshape(2, 4).amax(1) * x[:2],
    "gather": lambda x: x.index_select(0, GROUPS).cumsum(0),
    "sort": lambda x: x[:3].sort().values,
    "stack": lambda x: tg.stack([x[1:], x[:-1]]).flip(0).T.contiguous(),
    "norm": lambda x: x.reshape(2, 4).norm(dim=1),
    "where": lambda x: tg.where(x > 0, x, x.roll(1)),
    "pad": lambda x: F.pad(x, (1, 2)) * 2.0,
    "prod": lambda x: x.reshape(4, 2).prod(0),
    "solve": lambda x: tg.linalg.solve(A + 4 * tg.eye(8, dtype=tg.float64), x),
    "column": lambda x: x[:1] * tg.ones(5, dtype=tg.float64),
    "qr": lambda x: tg.linalg.qr(x[:4].reshape(2, 2))[1],
    "least": lambda x: x[:4].scatter_reduce(0, GROUPS[:2], x[4:6], "amin"),
    "greatest": lambda x: x[:4].scatter_reduce(0, GROUPS[:2], x[4:6], "amax"),
    "several": lambda x: tg.linalg.eigh(x[:4].reshape(2, 2) + x[:4].reshape(2, 2).T)[0] + x[6:],
    "empty": lambda x: x[:0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian(name):
    f = FUNCTIONS[name]
    x = tg.from_numpy(np.random.default_rng(0).normal(size=8))
    full = tg.autograd.functional.jacobian(f, x)._array.reshape(-1, 8)
    found = sparse.jacobian(f, x)
    assert found.shape == full.shape
    assert found.dtype == f(x)._array.dtype
    np.testing.assert_allclose(found.toarray(), full, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "most"),
    [("tridiagonal", 22), ("elementwise", 8), ("a part", 3), ("sums", 8), ("matmul", 22),
     ("softmax", 16), ("maximum", 10), ("norm", 8), ("pad", 8), ("stack", 14), ("column", 5)],
)  # fmt: skip
def test_patterns_are_tight(name, most):
    x = tg.from_numpy(np.random.default_rng(0).normal(size=8))
    assert sparse.sparsity(FUNCTIONS[name], x).nnz <= most


HESSIANS = {
    "chain": lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(),
    "separate": lambda x: x.sin().sum(),
    "arrow": lambda x: (x[0] * x[1:]).square().sum(),
    "linear": lambda x: (x * 3.0).sum(),
    "constant": lambda x: tg.ones((), dtype=tg.float64),
    "full": lambda x: x.prod(),
    "quadratic": lambda x: x @ (A @ x),
    "grid": lambda x: (x.reshape(4, 2).diff(dim=0).square().sum()
                       + x.reshape(4, 2).diff(dim=1).pow(4).sum()),
    "logsumexp": lambda x: x.reshape(4, 2).logsumexp(1).sum(),
    "cycle": lambda x: (x * x.roll(1) * x.roll(2)).sum(),
}  # fmt: skip


@pytest.mark.parametrize("name", HESSIANS)
def test_hessian(name):
    f = HESSIANS[name]
    x = tg.from_numpy(np.random.default_rng(0).normal(size=8))
    found = sparse.hessian(f, x).toarray()
    np.testing.assert_allclose(found, tg.autograd.functional.hessian(f, x)._array, atol=1e-11)
    np.testing.assert_array_equal(found != 0, (found != 0).T)


def test_few_passes_for_ten_thousand(monkeypatch):
    calls = []
    pulled = sparse._pulled
    monkeypatch.setattr(sparse, "_pulled", lambda *args: calls.append(1) or pulled(*args))
    x = tg.linspace(-1, 1, 10_000, dtype=tg.float64)
    found = sparse.jacobian(tridiagonal, x)
    assert len(calls) <= 4
    assert found.nnz == 29_998
    np.testing.assert_allclose(found.diagonal(1), x[:-1]._array)
    calls.clear()
    found = sparse.hessian(HESSIANS["chain"], x)
    assert len(calls) <= 3
    assert found.nnz == 29_998
    row = sparse.hessian(HESSIANS["arrow"], x)
    assert row.nnz == 29_998


def test_columns_are_pushed_where_rows_are_full():
    x = tg.ones(500, dtype=tg.float64)
    found = sparse.jacobian(lambda x: tg.cat([x[:1].expand(499) * x[1:], x.sum().reshape(1)]), x)
    assert found.nnz == 2 * 499 + 500


def test_float32_and_shapes():
    x = tg.ones(2, 3)
    found = sparse.jacobian(lambda x: x.T * 2.0, x)
    assert (found.dtype, found.shape, found.nnz) == (np.float32, (6, 6), 6)


def test_errors():
    with pytest.raises(TypeError, match="a real floating Tensor"):
        sparse.jacobian(lambda x: x, tg.arange(3))
    with pytest.raises(RuntimeError, match=r"to one element, not float32\[3\]"):
        sparse.hessian(lambda x: x, tg.ones(3))
    with pytest.raises(TypeError, match="must return a Tensor"):
        sparse.jacobian(lambda x: 1, tg.ones(3))
