"""Losses: values, reductions, extremes, errors and derivatives."""

import numpy as np
import pytest

from tapegrad.autograd import grad
from tapegrad.operators import modules
from tapegrad.tensor import from_array
from tests.differences import check_derivatives

RNG = np.random.default_rng(0)
F = modules["nn.functional"]
REDUCTIONS = ("none", "mean", "sum")


def A(*shape):  # noqa: N802
    return RNG.uniform(-2, 2, shape)


def P(*shape):  # noqa: N802
    return RNG.uniform(0.05, 0.95, shape)


def T(data, **kwargs):
    return from_array(np.array(data), **kwargs)


def reduced(values, reduction):
    return {"none": values, "mean": np.mean(values), "sum": np.sum(values)}[reduction]


def softplus(x):
    return np.logaddexp(0, x)


PAIRS = {
    "mse_loss": (A, A, lambda x, y: (x - y) ** 2),
    "l1_loss": (A, A, lambda x, y: np.abs(x - y)),
    "huber_loss": (A, A, lambda x, y: np.where(
        np.abs(x - y) < 1, 0.5 * (x - y) ** 2, np.abs(x - y) - 0.5)),
    "smooth_l1_loss": (A, A, lambda x, y: np.where(
        np.abs(x - y) < 1, 0.5 * (x - y) ** 2, np.abs(x - y) - 0.5)),
    "binary_cross_entropy": (P, P, lambda x, y: -(y * np.log(x) + (1 - y) * np.log(1 - x))),
    "binary_cross_entropy_with_logits": (A, P, lambda x, y: softplus(x) - x * y),
    "kl_div": (A, P, lambda x, y: y * (np.log(y) - x)),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(), (3,), (3, 4)])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_losses_of_two(name, reduction, shape):
    of_x, of_y, formula = PAIRS[name]
    x, y = np.asarray(of_x(*shape)), np.asarray(of_y(*shape))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        a, b = x.astype(dtype), y.astype(dtype)
        out = F[name](from_array(a), from_array(b), reduction=reduction)
        expected = reduced(formula(x, y), reduction)
        np.testing.assert_allclose(out._array, expected, rtol=tolerance, atol=tolerance)
        assert out._array.dtype == dtype
    check_derivatives(lambda x, y: F[name](x, y, reduction=reduction) * 2, [x, y])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_options(reduction):
    x, y, w = A(3, 4), P(3, 4), P(3, 4)
    options = [
        ("huber_loss", {"delta": 0.5}), ("smooth_l1_loss", {"beta": 0.5}),
        ("smooth_l1_loss", {"beta": 0}), ("kl_div", {"log_target": True}),
        ("mse_loss", {"weight": from_array(w)}), ("l1_loss", {"weight": from_array(w)}),
        ("huber_loss", {"weight": from_array(w)}),
        ("binary_cross_entropy_with_logits", {"weight": from_array(w[0])}),
        ("binary_cross_entropy_with_logits", {"pos_weight": from_array(w[0])}),
        ("binary_cross_entropy_with_logits",
         {"weight": from_array(w), "pos_weight": from_array(w[0] * 3)}),
    ]  # fmt: skip
    for name, kwargs in options:
        check_derivatives(lambda x, y: F[name](x, y, reduction=reduction, **kwargs) * 2, [x, y])  # noqa: B023
    check_derivatives(
        lambda x, y: F["binary_cross_entropy"](x, y, from_array(w), reduction=reduction) * 2,
        [P(3, 4), y],
    )


def test_pos_weight():
    x, y, p, w = A(3), P(3), P(3) * 3, P(3)
    out = F["binary_cross_entropy_with_logits"](
        *map(from_array, (x, y)), from_array(w), pos_weight=from_array(p), reduction="none"
    )
    expected = w * (p * y * softplus(-x) + (1 - y) * softplus(x))
    np.testing.assert_allclose(out._array, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_far_from_0(dtype):
    x = from_array(np.array([1e4, -1e4, 1e4, -1e4, 20, -20], dtype), requires_grad=True)
    y = from_array(np.array([1, 0, 0, 1, 1, 0], dtype))
    losses = F["binary_cross_entropy_with_logits"](x, y, reduction="none")
    small = np.log1p(np.exp(-20.0))
    np.testing.assert_allclose(losses._array, [0, 0, 1e4, 1e4, small, small], rtol=1e-6, atol=3e-9)
    (g,) = grad(losses.sum(), [x], create_graph=True)
    np.testing.assert_allclose(g._array[:4], [0, 0, 1, -1])
    (h,) = grad(g.sum(), [x])
    assert np.isfinite(h._array).all()


def test_probabilities_0_and_1_give_finite_losses():
    x = T([0.0, 1.0, 0.0, 1.0])
    out = F["binary_cross_entropy"](x, T([0.0, 1.0, 1.0, 0.0]), reduction="none")
    assert out.tolist() == [0.0, 0.0, 100.0, 100.0]


def test_ties_of_the_absolute_value_have_derivative_0():
    x = T([1.0, 2.0], requires_grad=True)
    (g,) = grad(F["l1_loss"](x, T([1.0, 3.0]), reduction="sum"), [x])
    assert g.tolist() == [0.0, -1.0]


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss"])
def test_targets_broadcast(name):
    check_derivatives(lambda x, y: F[name](x, y), [A(3, 1), A(4)])


def test_deprecated_arguments_and_broadcasts_warn():
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        out = F["mse_loss"](T([1.0, 3.0]), T([0.0, 0.0]), size_average=False)
    assert out.item() == 10.0
    with pytest.warns(UserWarning, match="different to the input size"):
        F["mse_loss"](T([1.0, 3.0]), T(0.0))


ERRORS = [
    ("mse_loss", (A(3), A(3)), {"reduction": "bad"}, ValueError, "bad is not a valid value"),
    ("huber_loss", (A(3), A(3)), {"delta": 0}, RuntimeError, "non-positive values for delta"),
    ("smooth_l1_loss", (A(3), A(3)), {"beta": -1}, RuntimeError, "negative values for beta"),
    ("binary_cross_entropy_with_logits", (A(3), A(4)), {}, ValueError, "must be the same as input"),
    ("binary_cross_entropy", (P(3), P(4)), {}, ValueError, "that is different to the input size"),
    ("binary_cross_entropy", (P(3) + 1, P(3)), {}, RuntimeError, "should be between 0 and 1"),
    ("nll_loss", (A(3, 4), np.array([0, 1])), {}, ValueError, "to match target batch_size (2)"),
    ("nll_loss", (A(3, 4), np.array([0, 1, 4])), {}, IndexError, "Target 4 is out of bounds."),
    (
        "nll_loss",
        (A(3, 4), np.zeros(3)),
        {},
        RuntimeError,
        "dtype to be Long or Byte, but got Doub",
    ),
    ("nll_loss", (A(3, 4, 2), np.zeros((3, 1), int)), {}, RuntimeError, "target size [3, 2], got"),
    ("nll_loss", (A(3, 4), np.zeros((3, 1), int)), {}, RuntimeError, "multi-target not supported"),
    (
        "cross_entropy",
        (A(3, 4), np.zeros(3, int)),
        {"label_smoothing": 2},
        RuntimeError,
        "between 0",
    ),
    (
        "cross_entropy",
        (A(3, 4), np.zeros(3, int), A(3)),
        {},
        RuntimeError,
        "for all 4 classes or no",
    ),
]


@pytest.mark.parametrize(("name", "arrays", "kwargs", "error", "message"), ERRORS)
def test_errors(name, arrays, kwargs, error, message):
    with pytest.raises(error) as raised:
        F[name](*map(from_array, arrays), **kwargs)
    assert message in str(raised.value)


# -- classes ---------------------------------------------------------------------------------------

CLASSES = [((5, 4), (5,)), ((4,), ()), ((5, 4, 3), (5, 3)), ((2, 4, 3, 2), (2, 3, 2))]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("shape", "target_shape"), CLASSES)
def test_classes(shape, target_shape, reduction):
    x, weight = A(*shape), P(4)
    target = np.array(RNG.integers(0, 4, target_shape))
    axis = 0 if len(shape) == 1 else 1
    logs = x - np.log(np.exp(x).sum(axis, keepdims=True))
    for ignored in (-100, int(target.flat[0])):
        w = np.where(target == ignored, 0, weight[target])
        picked = np.take_along_axis(logs, np.expand_dims(target, axis), axis).squeeze(axis)
        if not w.any():
            continue
        values = -w * picked
        expected = values.sum() / w.sum() if reduction == "mean" else reduced(values, reduction)
        options = {"ignore_index": ignored, "reduction": reduction, "weight": from_array(weight)}
        out = F["cross_entropy"](from_array(x), from_array(target), **options)
        np.testing.assert_allclose(out._array, expected)
        for smoothing in (0.0, 0.2):
            check_derivatives(
                lambda x: (
                    F["cross_entropy"](x, from_array(target), label_smoothing=smoothing, **options)  # noqa: B023
                    * 2
                ),
                [x],
            )
        check_derivatives(lambda x: F["nll_loss"](x, from_array(target), **options) * 2, [x])  # noqa: B023


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_probabilities_of_classes(reduction):
    x, y = A(3, 4), P(3, 4)
    logs = x - np.log(np.exp(x).sum(1, keepdims=True))
    values = -(y * logs).sum(1)
    out = F["cross_entropy"](from_array(x), from_array(y), reduction=reduction)
    np.testing.assert_allclose(out._array, reduced(values, reduction))
    weight = from_array(P(4))
    check_derivatives(
        lambda x, y: F["cross_entropy"](x, y, weight, reduction=reduction, label_smoothing=0.3) * 2,
        [x, y],
    )


def test_large_logits_and_no_targets():
    out = F["cross_entropy"](T([[1e4, -1e4], [-1e4, 1e4]]), T([0, 0]), reduction="none")
    assert out.tolist() == [0.0, 2e4]
    x = from_array(A(2, 3), requires_grad=True)
    out = F["cross_entropy"](x, T([-100, -100]), reduction="sum")
    assert out.item() == 0.0
    assert not grad(out, [x])[0]._array.any()


def test_cosine_similarity():
    x, y = A(3, 4), A(3, 4)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    out = F["cosine_similarity"](from_array(x), from_array(y))
    np.testing.assert_allclose(out._array, (x * y).sum(1) / norms)
    check_derivatives(lambda x, y: F["cosine_similarity"](x, y, dim=0), [x, y])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_losses_as_torch(name, reduction):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)
    of_x, of_y, _ = PAIRS[name]
    x, y = of_x(3, 4).astype(np.float32), of_y(3, 4).astype(np.float32)
    a = [from_array(v, requires_grad=True) for v in (x, y)]
    b = [torch.tensor(v, requires_grad=True) for v in (x, y)]
    out, expected = F[name](*a, reduction=reduction), theirs(*b, reduction=reduction)
    np.testing.assert_allclose(out._array, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert type(expected.grad_fn).__name__ in str(out.grad_fn)
    for g, w in zip(grad(out.sum(), a), torch.autograd.grad(expected.sum(), b), strict=True):
        np.testing.assert_allclose(g._array, w.numpy(), rtol=1e-4, atol=1e-6)
