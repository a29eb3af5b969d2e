"""Losses of margins, distributions and alignments: derivatives, kinks, extremes, errors."""

import itertools

import numpy as np
import pytest

import tapegrad as tg
from tests.differences import check_derivatives

F = tg.nn.functional
RNG = np.random.default_rng(3)


def A(*shape):  # noqa: N802
    return RNG.uniform(-2, 2, shape)


def signs(*shape):
    return tg.from_numpy(np.where(RNG.random(shape) < 0.5, -1.0, 1.0))


Y = tg.tensor([2, 0, 1])
LISTS = tg.tensor([[2, 0, -1, 1], [3, -1, 0, 0], [-1, 0, 1, 2]])
S = signs(3)
LOSSES = {
    "ranking": (lambda x, y: F.margin_ranking_loss(x, y, S, margin=0.3), (3,), (3,)),
    "hinge": (lambda x: F.hinge_embedding_loss(x, S, margin=0.7), (3,)),
    "cosine": (lambda x, y: F.cosine_embedding_loss(x, y, S, margin=-0.5), (3, 4), (3, 4)),
    "triplet": (F.triplet_margin_loss, (3, 4), (3, 4), (3, 4)),
    "swapped": (lambda *x: F.triplet_margin_loss(*x, p=3, swap=True), (3, 4), (3, 4), (3, 4)),
    "distance": (
        lambda *x: F.triplet_margin_with_distance_loss(
            *x, distance_function=lambda a, b: (a - b).abs().sum(-1), swap=True, reduction="sum"
        ), (3, 4), (3, 4), (3, 4)),
    "soft": (lambda x: F.soft_margin_loss(x, S), (3,)),
    "multilabel_soft": (lambda x, y: F.multilabel_soft_margin_loss(x, y), (3, 4), (3, 4)),
    "multi": (lambda x: F.multi_margin_loss(x, Y, weight=tg.tensor([1., 2., 3.])), (3, 3)),
    "multi_2": (lambda x: F.multi_margin_loss(x, Y, p=2, reduction="none"), (3, 3)),
    "multilabel": (lambda x: F.multilabel_margin_loss(x, LISTS), (3, 4)),
    "gaussian": (lambda x, y, v: F.gaussian_nll_loss(x, y, v * v, full=True),
                 (3, 4), (3, 4), (3,)),
    "poisson": (lambda x, y: F.poisson_nll_loss(x, y * y + 2, full=True), (3,), (3,)),
    "poisson_rate": (lambda x: F.poisson_nll_loss(x * x, S, log_input=False), (3,)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives(name):
    call, *shapes = LOSSES[name]
    check_derivatives(call, [A(*shape) for shape in shapes])


def test_soft_margins_do_not_overflow():
    x = tg.tensor([-1e4, 1e4], requires_grad=True)
    loss = F.soft_margin_loss(x, tg.tensor([1.0, 1.0]), reduction="none")
    loss.sum().backward()
    assert loss.tolist() == [1e4, 0]
    assert x.grad.tolist() == [-1, 0]


def test_gradients_at_the_margin():
    x = tg.zeros(1, requires_grad=True)
    F.margin_ranking_loss(x, tg.zeros(1), tg.ones(1)).backward()
    assert x.grad.item() == -1  # as of clamp_min
    x = tg.tensor([[0.0, 1.0]], requires_grad=True)
    F.multi_margin_loss(x, tg.tensor([1])).backward()
    assert x.grad.tolist() == [[0, 0]]


def test_a_small_variance_is_bounded_but_its_gradient_passes():
    var = tg.tensor([1e-9], requires_grad=True)
    loss = F.gaussian_nll_loss(tg.ones(1), tg.zeros(1), var, eps=0.5)
    loss.backward()
    np.testing.assert_allclose(loss.item(), 0.5 * (np.log(0.5) + 2), rtol=1e-6)
    np.testing.assert_allclose(var.grad.item(), 0.5 * (2 - 4), rtol=1e-6)


def brute_force(log_probs, labels, blank=0):
    """The log likelihood of labels (L,), summed over every path through (T, C)."""
    steps, classes = log_probs.shape
    total = -np.inf
    for path in itertools.product(range(classes), repeat=steps):
        merged = [c for i, c in enumerate(path) if not i or c != path[i - 1]]
        if [c for c in merged if c != blank] == list(labels):
            total = np.logaddexp(total, log_probs[np.arange(steps), path].sum())
    return total


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("labels", [(), (1,), (1, 1), (1, 3, 1)])
def test_ctc_is_the_sum_over_all_paths(labels, blank):
    x = tg.from_numpy(A(5, 1, 4)).log_softmax(2)
    given = tg.tensor([list(labels)], dtype=tg.int64)
    loss = F.ctc_loss(x, given, [5], [len(labels)], blank=blank, reduction="sum")
    np.testing.assert_allclose(loss.item(), -brute_force(x.numpy()[:, 0], labels, blank))


CTC = {
    "batch": (tg.tensor([[1, 2, 2], [3, 1, 0]]), (6, 4), (3, 2)),
    "in_a_row": (tg.tensor([1, 1, 2]), (5, 6), (0, 3)),
    "no_time": (tg.tensor([[1], [1]]), (0, 6), (0, 1)),
}


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", CTC)
def test_ctc_derivatives(name, reduction):
    targets, times, lengths = CTC[name]

    def call(x):
        return F.ctc_loss(x.log_softmax(2), targets, times, lengths, reduction=reduction)

    check_derivatives(call, [A(6, 2, 4)], second=False, forward=False)


def test_ctc_in_single_precision():
    x = tg.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [3.0, -1e4, 1e4]], requires_grad=True)
    F.ctc_loss(x.log_softmax(1), tg.tensor([1, 2]), (3,), (2,)).backward()
    wide = x.detach().double().requires_grad_()
    F.ctc_loss(wide.log_softmax(1), tg.tensor([1, 2]), (3,), (2,)).backward()
    np.testing.assert_allclose(x.grad.numpy(), wide.grad.numpy(), atol=1e-6)


def test_ctc_without_an_alignment():
    x = tg.zeros(1, 3).log_softmax(1).requires_grad_()
    targets = tg.tensor([1, 1])
    loss = F.ctc_loss(x, targets, tg.tensor(1), tg.tensor(2))
    loss.backward()
    assert loss.item() == np.inf
    assert np.isnan(x.grad.numpy()).all()
    x.grad = None
    loss = F.ctc_loss(x, targets, (1,), (2,), zero_infinity=True)
    loss.backward()
    assert loss.item() == 0
    assert not x.grad.any()


def test_ctc_has_no_second_derivative():
    x = tg.zeros(2, 3).log_softmax(1).requires_grad_()
    loss = F.ctc_loss(x, tg.tensor([1]), (2,), (1,))
    slope = tg.autograd.grad(loss, x, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="no second derivative"):
        slope.sum().backward()


X = tg.zeros(4, 2, 3)
T = tg.tensor([[1, 2], [1, 1]])
V = tg.zeros(3, 4)
BAD = {
    "input_lengths to have value at most 4, but got value 5":
        lambda: F.ctc_loss(X, T, (4, 5), (2, 2)),
    "size at least 3 at dimension 1, but got size 2": lambda: F.ctc_loss(X, T, (4, 4), (3, 2)),
    "target_lengths must be of size batch_size": lambda: F.ctc_loss(X, T, (4, 4), (2,)),
    "input_lengths must be integral":
        lambda: F.ctc_loss(X, T, tg.tensor([4., 4.]), (2, 2)),
    "value at least 0, but got value -1": lambda: F.ctc_loss(X, T, (4, 4), (-1, 2)),
    "size 4 at dimension 0, but got size 2": lambda: F.ctc_loss(X, T[0], (4, 4), (2, 2)),
    "blank must be in label range": lambda: F.ctc_loss(X, T, (4, 4), (2, 2), blank=3),
    "targets must be classes from 0 to 2": lambda: F.ctc_loss(X, T + 2, (4, 4), (2, 2)),
    "2 or 3 dimensions, but has 1": lambda: F.ctc_loss(X[0, 0], T, (4, 4), (2, 2)),
    "must not be empty": lambda: F.ctc_loss(X[:, :0], T[:0], (), ()),
    "same dimension but got sizes": lambda: F.margin_ranking_loss(V, V, tg.zeros(3)),
    "1D target tensor expects 2D input": lambda: F.cosine_embedding_loss(V[0], V[0], tg.zeros(3)),
    "multi-target not supported": lambda: F.cosine_embedding_loss(V, V, V),
    "same number of dimensions": lambda: F.triplet_margin_loss(V, V, V[0]),
    "margin must be greater than 0, got 0": lambda: F.triplet_margin_loss(V, V, V, margin=0),
    "only p == 1 and p == 2": lambda: F.multi_margin_loss(V, Y, p=3),
    "target out of range": lambda: F.multi_margin_loss(V, Y + 2),
    "Long but found Float": lambda: F.multilabel_margin_loss(V, V),
    "inconsistent target size": lambda: F.multilabel_margin_loss(V, Y),
    "var is of incorrect size": lambda: F.gaussian_nll_loss(V, V, tg.ones(2)),
    "var has negative": lambda: F.gaussian_nll_loss(V, V, -1.0),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_errors(message):
    with pytest.raises((RuntimeError, ValueError), match=message):
        BAD[message]()
