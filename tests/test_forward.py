"""Forward mode without torch: every primitive, nested, and mixed with reverse mode."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import grad
from tapegrad.func import jvp
from tests.samples import SAMPLES


def real(*values):
    return tg.tensor(list(values), dtype=tg.float64)


def test_jvp_within_jvp():
    one = tg.tensor(1.0, dtype=tg.float64)

    def derivative(f):
        return lambda a: jvp(f, (a,), (one,))[1]

    value = tg.tensor(2.0, dtype=tg.float64)
    for order, expected in enumerate([3 * 2**2, 6 * 2, 6, 0], 1):
        f = lambda a: a**3  # noqa: E731
        for _ in range(order):
            f = derivative(f)
        result = f(value)
        assert result.item() == pytest.approx(expected)
        assert not result.requires_grad


def test_perturbations_are_not_confused():
    one = tg.tensor(1.0, dtype=tg.float64)

    def f(x):
        return x * jvp(lambda y: x + y, (one,), (one,))[1]

    assert jvp(f, (one,), (one,))[1].item() == 1


def test_reverse_over_forward():
    x = real(1.0, 2.0).requires_grad_()
    v = real(1.0, -1.0)
    value, tangent = jvp(lambda a: (a**3 * a.flip(0)).sum(), (x,), (v,))
    (hvp,) = grad(tangent, x, retain_graph=True)
    (first,) = grad(value, x)
    a, b = 1.0, 2.0
    np.testing.assert_allclose(first.numpy(), [3 * a**2 * b + b**3, a**3 + 3 * a * b**2])
    hessian = np.array([[6 * a * b, 3 * a**2 + 3 * b**2], [3 * a**2 + 3 * b**2, 6 * a * b]])
    np.testing.assert_allclose(hvp.numpy(), hessian @ v.numpy())


def test_forward_over_reverse():
    x, v = real(1.0, 2.0), real(1.0, -1.0)

    def gradient(a):
        return grad((a**3).sum() * a.prod(), a, create_graph=True)[0]

    a, b = 1.0, 2.0
    cross = 4 * a**3 + 4 * b**3
    hessian = np.array([[12 * a**2 * b, cross], [cross, 12 * a * b**2]])
    np.testing.assert_allclose(jvp(gradient, (x,), (v,))[1].numpy(), hessian @ v.numpy())


def test_parameters_outside_keep_their_gradients():
    w = real(3.0, 4.0).requires_grad_()
    x, v = real(1.0, 2.0), real(1.0, 1.0)
    value, tangent = jvp(lambda a: (w * a**2).sum(), (x,), (v,))
    np.testing.assert_allclose(grad(value, w, retain_graph=True)[0].numpy(), [1, 4])
    np.testing.assert_allclose(grad(tangent, w)[0].numpy(), [2, 4])
    with tg.no_grad():
        value, tangent = jvp(lambda a: (w * a**2).sum(), (x,), (v,))
    assert not value.requires_grad
    assert not tangent.requires_grad


def test_complex():
    z, v = tg.tensor([1 + 2j, 3 - 1j]), tg.tensor([1j, 2 + 1j])
    functions = {
        lambda a: a * a: lambda a: 2 * a * v.numpy(),
        lambda a: a.exp(): lambda a: np.exp(a) * v.numpy(),
        lambda a: a.abs(): lambda a: (np.conj(a) * v.numpy()).real / np.abs(a),
        lambda a: a.conj() * a.real: lambda a: (
            v.numpy().conj() * a.real + a.conj() * v.numpy().real
        ),
        lambda a: a.real.exp(): lambda a: np.exp(a.real) * v.numpy().real,
        lambda a: a.sum() * tg.tensor(2.0): lambda a: 2 * v.numpy().sum(),
    }
    for function, derivative in functions.items():
        tangent = jvp(function, (z,), (v,))[1]
        np.testing.assert_allclose(tangent.numpy(), derivative(z.numpy()), rtol=1e-6)
        recorded = jvp(function, (z.clone().requires_grad_(),), (v,))[1]
        np.testing.assert_allclose(recorded.detach().numpy(), derivative(z.numpy()), rtol=1e-6)


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_recorded_tangents_are_those_of_arrays(sample):
    rng = np.random.default_rng(0)
    arrays = sample.arrays()
    primals = tuple(tg.from_numpy(a) for a in arrays)
    tangents = tuple(tg.from_numpy(rng.standard_normal(a.shape).astype(a.dtype)) for a in arrays)
    given = tuple(p.clone().requires_grad_() for p in primals)

    def call(*inputs):
        out = sample.call(*inputs)
        return out if isinstance(out, tg.Tensor) else tuple(out)

    plain, recorded = jvp(call, primals, tangents)[1], jvp(call, given, tangents)[1]
    both = zip(plain, recorded, strict=True) if isinstance(plain, tuple) else [(plain, recorded)]
    for a, b in both:
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)
