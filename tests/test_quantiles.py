"""Quantiles: values as NumPy's, gradients, nan, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tests.differences import check_derivatives

METHODS = ["linear", "lower", "higher", "midpoint", "nearest"]


@pytest.mark.parametrize("interpolation", METHODS)
@pytest.mark.parametrize("dim", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_values(interpolation, dim, keepdim):
    x = np.random.default_rng(0).standard_normal((4, 5))
    q = np.array([0.0, 0.3, 0.5, 1.0])
    t = tg.from_numpy(x)
    mine = t.quantile(tg.from_numpy(q), dim, keepdim, interpolation=interpolation)
    theirs = np.quantile(x, q, dim, method=interpolation, keepdims=keepdim)
    np.testing.assert_allclose(mine, theirs)


@pytest.mark.parametrize("interpolation", METHODS)
def test_derivatives(interpolation):
    def quantiles(x):
        return x.quantile(0.3, 0, interpolation=interpolation)

    check_derivatives(quantiles, [np.random.default_rng(0).standard_normal((4, 2))])


def test_the_share_has_a_gradient_too():
    q = tg.tensor(0.25, requires_grad=True)
    tg.tensor([1.0, 2.0, 4.0]).quantile(q).backward()
    assert q.grad.item() == 2  # (2 - 1) / (1/2)


def test_nan():
    x = tg.tensor([[1.0, tg.nan, 3.0], [1.0, 2.0, 4.0], [tg.nan] * 3])
    assert x.quantile(0.5, 1).isnan().tolist() == [True, False, True]
    assert x.nanquantile(0.5, 1).tolist()[:2] == [2, 2]
    assert x[2].nanquantile(0.5).isnan()


def test_errors():
    x = tg.ones(3)
    with pytest.raises(RuntimeError, match="input tensor must be either float or double dtype"):
        tg.ones(2, dtype=tg.int64).quantile(0.5)
    with pytest.raises(RuntimeError, match=r"q must be in the range \[0, 1\] but got 2"):
        x.quantile(2)
    with pytest.raises(RuntimeError, match=r"q values must be in the range \[0, 1\]"):
        x.quantile(tg.tensor([2.0]))
    with pytest.raises(RuntimeError, match="q must be a scalar or 1D tensor"):
        x.quantile(tg.ones(1, 1))
    with pytest.raises(RuntimeError, match="q tensor must be same dtype as the input tensor"):
        x.quantile(tg.tensor(0.5, dtype=tg.float64))
    with pytest.raises(RuntimeError, match="input tensor must be non-empty"):
        tg.ones(0).quantile(0.5)
    with pytest.raises(RuntimeError, match="interpolation must be one of linear"):
        x.quantile(0.5, interpolation="cubic")
