"""Gradients where derivatives are delicate: kinks, ties, zeros, infinities; as torch gives them.

Each row is an expression, its input, and the gradient of the sum of its value.
"""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest

import tapegrad as tg

INF, NAN = math.inf, math.nan

ROWS = [
    # ties: one position, or equal shares
    ("x.max()", [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
    ("x.min()", [1.0, 1.0, 3.0], [0.5, 0.5, 0]),
    ("x.max(-1).values", [1.0, 3.0, 3.0], [0, 1, 0]),
    ("x.min(-1).values", [1.0, 1.0, 3.0], [1, 0, 0]),
    ("x.amax(-1)", [3.0, 3.0, 3.0, 1.0], [1 / 3, 1 / 3, 1 / 3, 0]),
    ("x.amin()", [3.0, 3.0, 1.0, 1.0], [0, 0, 0.5, 0.5]),
    ("x.aminmax().max", [2.0, 2.0], [0.5, 0.5]),
    ("x.median()", [2.0, 1.0, 2.0], [0.5, 0, 0.5]),
    ("x.sort(stable=True).values * t.tensor([1.0, 2.0, 4.0])", [2.0, 1.0, 2.0], [2, 1, 4]),
    ("x.sort(stable=True, descending=True).values * t.tensor([1.0, 2.0, 4.0])",
     [2.0, 1.0, 2.0], [1, 4, 2]),
    ("x.cummax(0).values", [1.0, 3.0, 3.0], [1, 1, 1]),
    ("x.cummin(0).values", [3.0, 1.0, 1.0], [1, 1, 1]),
    ("t.maximum(x, t.zeros(3))", [-1.0, 0.0, 1.0], [0, 0.5, 1]),
    ("t.minimum(x, t.zeros(3))", [-1.0, 0.0, 1.0], [1, 0.5, 0]),
    ("t.fmax(x, t.zeros(3))", [-1.0, 0.0, NAN], [0, 1, 0]),
    ("t.maximum(x, x)", [1.0], [1]),
    # kinks
    ("x.abs()", [-1.0, 0.0, -0.0, 2.0], [-1, 0, 0, 1]),
    ("x.sign()", [-1.0, 0.0], [0, 0]),
    ("t.relu(x)", [-1.0, 0.0, 2.0, INF], [0, 0, 1, 1]),
    ("t.nn.functional.relu6(x)", [0.0, 3.0, 6.0], [0, 1, 0]),
    ("t.nn.functional.leaky_relu(x, 0.1)", [-1.0, 0.0, 1.0], [0.1, 0.1, 1]),
    ("t.nn.functional.elu(x)", [0.0, 1.0], [1, 1]),
    ("t.nn.functional.hardtanh(x)", [-1.0, 0.0, 1.0], [0, 1, 0]),
    ("t.nn.functional.softshrink(x)", [-0.5, 0.0, 0.5, 1.0], [0, 0, 0, 1]),
    ("x.clamp(-1, 1)", [-2.0, -1.0, 0.0, 1.0, 2.0, NAN], [0, 1, 1, 1, 0, 0]),
    ("x.clamp(min=0)", [-1.0, 0.0, 1.0], [0, 1, 1]),
    ("x.clamp(max=0)", [-1.0, 0.0, 1.0], [1, 1, 0]),
    ("x.clamp(2, 1)", [0.0, 1.5, 3.0], [0, 0, 0]),
    ("x.floor() + x.round() + x.trunc()", [1.5], [0]),
    ("x.fmod(1.0)", [0.0, 1.0, 1.5], [1, 1, 1]),
    ("x.remainder(t.ones(2))", [1.0, -0.5], [1, 1]),
    ("x.copysign(t.tensor([-1.0, 1.0, -1.0]))", [2.0, -2.0, 0.0], [-1, -1, 0]),
    ("t.hypot(x, t.zeros(2))", [0.0, 3.0], [NAN, 1]),
    ("t.atan2(x, t.zeros(2))", [0.0, 1.0], [0, 0]),
    # norms at 0
    ("x.norm()", [0.0, 0.0], [0, 0]),
    ("x.norm(1)", [0.0, -2.0], [0, -1]),
    ("x.norm(3)", [0.0, 0.0], [0, 0]),
    ("x.norm(t.inf)", [2.0, -2.0, 0.0], [0.5, -0.5, 0]),
    ("t.linalg.vector_norm(x, -t.inf)", [0.0, 0.0], [0, 0]),
    ("t.dist(x, t.zeros(2))", [0.0, 0.0], [0, 0]),
    ("t.cdist(x[:, None], x[:, None])", [1.0, 1.0], [0, 0]),
    ("t.nn.functional.normalize(x, dim=0)", [0.0, 0.0], [1e12, 1e12]),
    ("t.nn.functional.cosine_similarity(x, t.ones(2), dim=0)", [0.0, 0.0],
     [math.sqrt(0.5) * 1e8] * 2),
    # powers and logarithms at 0
    ("x ** 0", [0.0, 2.0], [0, 0]),
    ("x ** 1", [0.0], [1]),
    ("x ** 2", [0.0], [0]),
    ("x ** 0.5", [0.0], [INF]),
    ("x ** t.zeros(2)", [0.0, 2.0], [0, 0]),
    ("t.zeros(3) ** x", [0.0, 1.0, -1.0], [0, 0, -INF]),
    ("0 ** x", [0.0, 2.0], [0, 0]),
    ("x.pow(-1)", [0.0], [-INF]),
    ("x.sqrt()", [0.0, 4.0], [INF, 0.25]),
    ("x.rsqrt()", [0.0], [-INF]),
    ("x.log()", [0.0], [INF]),
    ("t.xlogy(x, t.zeros(2))", [0.0, 1.0], [0, -INF]),
    ("t.xlogy(t.zeros(2), x)", [0.0, 2.0], [NAN, 0]),
    ("x.sinc()", [0.0], [0]),
    ("x.acos()", [1.0], [-INF]),
    ("x / x", [0.0], [NAN]),
    # products with zeros
    ("x.prod()", [0.0, 2.0, 3.0], [6, 0, 0]),
    ("x.prod()", [0.0, 0.0, 3.0], [0, 0, 0]),
    ("x.prod(0)", [2.0, 0.0, 3.0], [0, 6, 0]),
    ("x.cumprod(0)", [2.0, 0.0, 3.0], [1, 8, 0]),
    ("x.cumprod(0)", [0.0, 0.0, 3.0], [1, 0, 0]),
    ("x.cumprod(0)", [0.0, 2.0, 3.0], [9, 0, 0]),
    # what isn't taken
    ("t.where(x > 0, x, x.new_zeros(()))", [-1.0, NAN, 2.0], [0, 0, 1]),
    ("t.where(x > 0, x.sqrt(), x)", [-1.0, 4.0], [NAN, 0.25]),
    ("t.where(x > 0, x.clamp(min=1.0).log(), x)", [-1.0, 4.0], [1, 0.25]),
    ("x.masked_fill(x != x, 0)", [NAN, 1.0], [0, 1]),
    ("x.nan_to_num()", [NAN, INF, 1.0], [0, 0, 1]),
    ("t.nansum(x)", [NAN, 1.0], [0, 1]),
    # statistics of one, of equal ones, of none
    ("x.std()", [2.0], [NAN]),
    ("x.var()", [2.0], [NAN]),
    ("x.std(correction=0)", [2.0], [0]),
    ("x.var(correction=0)", [2.0], [0]),
    ("x.std()", [2.0, 2.0], [0, 0]),
    ("x.sum()", [], []),
    ("x.prod()", [], []),
    ("x.mean()", [], []),
    ("x.var()", [], []),
    ("x.norm()", [], []),
    ("x.logsumexp(0)", [], []),
    ("x.cumsum(0)", [], []),
    # infinities
    ("x.logsumexp(0)", [-INF, 0.0], [0, 1]),
    ("x.logsumexp(0)", [-INF, -INF], [NAN, NAN]),
    ("x.softmax(0)[0]", [0.0, -INF], [0, 0]),
    ("x.sigmoid()", [-INF, INF], [0, 0]),
    ("x.tanh()", [-INF, INF], [0, 0]),
    ("x.exp()", [-INF], [0]),
    ("t.nn.functional.softplus(x)", [-INF, INF], [0, 1]),
]  # fmt: skip


def gradient(name, expression, data):
    t = importlib.import_module(name)
    x = t.tensor(data, dtype=t.float64, requires_grad=True)
    default = t.get_default_dtype()
    t.set_default_dtype(t.float64)
    try:
        y = eval(expression, {"t": t, "x": x})
    finally:
        t.set_default_dtype(default)
    y.sum().backward()
    return x.grad.tolist()


@pytest.mark.filterwarnings("ignore:.*degrees of freedom is <= 0")
@pytest.mark.parametrize(("expression", "data", "expected"), ROWS)
@pytest.mark.parametrize("library", ["tapegrad", pytest.param("torch", marks=pytest.mark.torch)])
def test_gradients(library, expression, data, expected):
    pytest.importorskip(library)
    actual = gradient(library, expression, data)
    assert actual == pytest.approx(expected, rel=1e-12, abs=1e-300, nan_ok=True)


SYMMETRIC = [[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 5.0]]
#: Vectors are given up to a sign, on which their gradient must not depend.
DECOMPOSED = [
    "(t.linalg.eigh(A).eigenvectors.square() * W).sum()",
    "(t.linalg.eigvalsh(A) * W[0]).sum()",
    "(t.linalg.svd(A).U.square() * W).sum()",
    "(t.linalg.svd(A).Vh.square() * W).sum()",
    "(t.linalg.svdvals(A) * W[0]).sum()",
]


def gradient_of_matrix(t, expression):
    A = t.tensor(SYMMETRIC, dtype=t.float64, requires_grad=True)
    W = t.tensor([[1.0, 2.0, 4.0], [0.5, 3.0, 1.0], [2.0, 1.0, 6.0]], dtype=t.float64)
    eval(expression, {"t": t, "A": A, "W": W}).backward()
    return np.array(A.grad.tolist())


@pytest.mark.torch
@pytest.mark.parametrize("expression", DECOMPOSED)
def test_decompositions_as_torch(expression):
    torch = pytest.importorskip("torch")
    actual, expected = (gradient_of_matrix(t, expression) for t in (tg, torch))
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_the_gradient_of_eigenvectors_is_symmetric():
    share = gradient_of_matrix(tg, DECOMPOSED[0])
    assert abs(share).max() > 0.1
    np.testing.assert_allclose(share, share.T, rtol=1e-12)


def test_a_phase_that_counts_is_refused():
    A = tg.tensor(SYMMETRIC, dtype=tg.complex128, requires_grad=True)
    vectors = tg.linalg.eigh(A).eigenvectors
    with pytest.raises(RuntimeError, match="specified up to multiplication"):
        (vectors * tg.tensor([1j, 2.0, 3.0])).sum().real.backward()


@pytest.mark.parametrize("name", ["eigh", "svd"])
def test_equal_values_have_no_gradient_of_vectors(name):
    A = tg.eye(2, dtype=tg.float64).requires_grad_()
    vectors = getattr(tg.linalg, name)(A)[name == "eigh"]
    (vectors.square() * tg.tensor([1.0, 2.0])).sum().backward()
    assert not np.isfinite(A.grad.numpy()).all()
