"""Differences, integrals, histograms, running extrema, parts replaced: values and refusals."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 5))


def t(array):
    return tg.from_numpy(np.array(array))


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_diff(n):
    np.testing.assert_allclose(tg.diff(t(X), n, 0), np.diff(X, n, 0))
    assert tg.tensor([True, True, False]).diff().tolist() == [False, True]
    np.testing.assert_allclose(np.diff(t(X), axis=0), np.diff(X, axis=0))


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("coordinates", [False, True])
def test_gradient(edge_order, coordinates):
    steps = [np.sort(RNG.uniform(0, 9, n)) for n in X.shape] if coordinates else [0.5, 2.0]
    mine = tg.gradient(
        t(X), spacing=[t(s) for s in steps] if coordinates else steps, edge_order=edge_order
    )
    for a, b in zip(mine, np.gradient(X, *steps, edge_order=edge_order), strict=True):
        np.testing.assert_allclose(a, b)


def test_trapezoids():
    x = np.sort(RNG.uniform(0, 9, 5))
    np.testing.assert_allclose(tg.trapezoid(t(X), t(x)), np.trapezoid(X, x))
    np.testing.assert_allclose(tg.trapz(t(X), dx=0.5, dim=0), np.trapezoid(X, dx=0.5, axis=0))
    running = tg.cumulative_trapezoid(t(X), t(x))
    np.testing.assert_allclose(running[:, -1], np.trapezoid(X, x))


def test_histograms():
    x, weights = RNG.standard_normal(50), RNG.uniform(0, 1, 50)
    hist, edges = tg.histogram(t(x), 7, weight=t(weights), density=True)
    theirs, their_edges = np.histogram(x, 7, weights=weights, density=True)
    np.testing.assert_allclose(hist, theirs)
    np.testing.assert_allclose(edges, their_edges)
    points = x.reshape(25, 2)
    hist, edges = tg.histogramdd(t(points), [3, 4], range=[-1.0, 1, -2, 2])
    theirs, _ = np.histogramdd(points, [3, 4], [(-1, 1), (-2, 2)])
    np.testing.assert_allclose(hist, theirs)
    assert [len(e) for e in edges] == [4, 5]
    assert tg.tensor([0.0, 1, 1, 5, tg.nan]).histc(2, 0, 2).tolist() == [1, 2]
    assert tg.tensor([2.0, 2.0]).histc(4).tolist() == [0, 0, 2, 0]


def test_running_extrema():
    x = tg.tensor([1.0, 3.0, 3.0, 2.0, tg.nan, 4.0, tg.nan])
    values, indices = x.cummax(0)
    np.testing.assert_array_equal(values, [1, 3, 3, 3, np.nan, np.nan, np.nan])
    assert indices.tolist() == [0, 1, 2, 2, 4, 4, 6]
    assert x[:4].cummin(0).indices.tolist() == [0, 0, 0, 0]
    x = tg.tensor([-tg.inf, -tg.inf, -1000.0, 1000.0], requires_grad=True)
    x.logcumsumexp(0)[2:].sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1]


def test_mode():
    values, indices = tg.tensor([[3, 1, 3, 1, 2], [2, 2, 5, 5, 5]]).mode()
    assert values.tolist() == [1, 5]
    assert indices.tolist() == [3, 4]


def test_parts_replaced():
    x = tg.zeros(2, 3)
    assert x.select_scatter(tg.ones(2), 1, -1).tolist() == [[0, 0, 1]] * 2
    assert x.slice_scatter(tg.ones(2, 2), 1, 1).tolist() == [[0, 1, 1]] * 2
    assert x.diagonal_scatter(tg.ones(2)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert x.as_strided_scatter(tg.ones(2), (2,), (3,), 1).tolist() == [[0, 1, 0]] * 2
    with pytest.raises(RuntimeError, match="src to have a size equal to the slice of self"):
        x.select_scatter(tg.ones(3), 1, 0)


def test_as_strided():
    x = tg.arange(6.0)
    view = x.as_strided((2, 2), (1, 2), 1)
    assert view.tolist() == [[1, 3], [2, 4]]
    view.zero_()
    assert x.tolist() == [0, 0, 0, 0, 0, 5]
    assert x[2:].as_strided((2,), (1,)).tolist() == [0, 0]
    with pytest.raises(NotImplementedError, match="call it on the contiguous Tensor"):
        x[2:].as_strided((2,), (1,), 0)


@pytest.mark.parametrize(
    "view", [lambda y: y.as_strided((2,), (1,)), lambda y: y.unfold(0, 2, 2)], ids=["a", "b"]
)
def test_changes_through_strided_views_are_seen(view):
    x = tg.ones(4, requires_grad=True)
    y = x * 1
    z = y * y
    view(y).mul_(2)
    assert y._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_combinations():
    a, b = tg.tensor([1, 2]), tg.tensor([3, 4])
    assert tg.cartesian_prod(a, b).tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
    assert tg.cartesian_prod(a) is a
    assert tg.combinations(a, with_replacement=True).tolist() == [[1, 1], [1, 2], [2, 2]]
    assert tg.combinations(a, 0).shape == (0,)
    assert tg.block_diag(a, tg.tensor([[5]])).tolist() == [[1, 2, 0], [0, 0, 5]]


def test_indices():
    assert [x.tolist() for x in tg.unravel_index(tg.tensor([5, 2]), (2, 3))] == [[1, 0], [2, 2]]
    assert tg.isin(tg.tensor([1, 2, 3]), 2, invert=True).tolist() == [True, False, True]
    with pytest.raises(TypeError, match="expected 'indices' to be integer dtype"):
        tg.unravel_index(tg.ones(2), (2, 3))
    with pytest.raises(ValueError, match="'shape' cannot have negative values"):
        tg.unravel_index(tg.tensor(1), (-2, 3))


def test_complex_numbers_as_pairs():
    z = tg.tensor([[1 + 2j, 3 + 4j]]).t()
    pairs = tg.view_as_real(z)
    assert pairs.tolist() == [[[1, 2]], [[3, 4]]]
    pairs[0].zero_()
    assert z.tolist() == [[0], [3 + 4j]]
    assert tg.view_as_complex(pairs).tolist() == z.tolist()
    with pytest.raises(RuntimeError, match="only supported for complex tensors"):
        tg.view_as_real(tg.ones(2))
    with pytest.raises(RuntimeError, match="must have a last dimension of size 2"):
        tg.view_as_complex(tg.ones(3))
    with pytest.raises(RuntimeError, match="must have a last dimension with stride 1"):
        tg.view_as_complex(tg.ones(2, 3).t())


def test_spectrograms():
    x = t(RNG.standard_normal(20))
    window = t(RNG.uniform(0.5, 1, 8))
    half = tg.stft(x, 8, 2, window=window, return_complex=True)
    assert half.shape == (5, 11)
    np.testing.assert_allclose(tg.istft(half, 8, 2, window=window), x)
    parts = x.stft(8, 2, window=window, return_complex=False)
    np.testing.assert_allclose(parts[..., 1], half.imag)
    with pytest.raises(RuntimeError, match="requires the return_complex parameter"):
        x.stft(8)
    with pytest.raises(RuntimeError, match="expected a 1D window tensor of size equal"):
        x.stft(8, window=tg.ones(3), return_complex=True)
    with pytest.raises(RuntimeError, match="window overlap add min"):
        half.istft(8, 2, window=window * 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tg.tensor(1.0).diff(), RuntimeError, "at least one-dimensional"),
        (lambda: tg.ones(2).diff(-1), RuntimeError, "order must be non-negative but got -1"),
        (lambda: tg.gradient(tg.ones(1)), RuntimeError, "at least edge_order"),
        (lambda: tg.gradient(tg.ones(3), edge_order=3), RuntimeError, "only supports edge_order"),
        (lambda: tg.gradient(tg.ones(3), spacing=[1, 2]), RuntimeError, "the same length"),
        (lambda: tg.trapezoid(tg.ones(3), tg.ones(2)), RuntimeError, "one `x` value for each"),
        (lambda: tg.ones(2).histc(0), RuntimeError, "bins must be > 0"),
        (lambda: tg.ones(2).histc(2, 3, 1), RuntimeError, "max must be larger than min"),
        (lambda: tg.ones(2).histogram(2, range=(0, tg.inf)), RuntimeError, "is not finite"),
        (lambda: tg.tensor([1]).histc(), NotImplementedError, "not implemented for 'Long'"),
        (lambda: tg.histogramdd(tg.ones(2), 2), RuntimeError, "at least 2 dimensions"),
        (lambda: tg.ones(2).renorm(2, 0, 1), RuntimeError, "at least 2 dimensions"),
        (lambda: tg.ones(2, 2).renorm(0, 0, 1), RuntimeError, "non-positive-norm"),
        (lambda: tg.combinations(tg.ones(2, 2)), RuntimeError, "Expect a 1D vector"),
        (lambda: tg.block_diag(tg.ones(1, 1, 1)), RuntimeError, "2 or fewer dimensions"),
        (lambda: tg.ones(2).roll(()), RuntimeError, "`shifts` required"),
        (lambda: tg.ones(2).masked_fill(tg.tensor(True), 1j), RuntimeError, "without overflow"),
        (lambda: tg.ones(4).narrow(0, tg.tensor(True), 1), RuntimeError, "0-dim integral Tensor"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
