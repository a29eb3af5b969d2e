"""Special functions: extremes, where formulas change, what has no derivative, torch's places."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import grad
from tests.differences import check_derivatives

S = tg.special

#: Functions, points, values and derivatives there, to 15 digits by arbitrary precision arithmetic.
EXTREMES = [
    ("erfcx", 1e4, 5.6418958072680841e-5, -5.6418957508491275e-9),
    ("erfcx", 300.0, 0.0018806214973780645, -6.2686686738802135e-6),
    ("log_ndtr", -1e4, -50000010.129278915, 10000.000099999998),
    ("log_ndtr", 1e4, 0.0, 0.0),
    ("ndtr", -10.0, 7.6198530241605261e-24, 7.6945986267064193e-23),
    ("i0e", 1e4, 0.0039894726746047321, -1.9947862106984188e-7),
    ("i1e", -1e4, -0.0039892731959836623, -1.9944869852852435e-7),
    ("scaled_modified_bessel_k1", 1e4, 0.012533611351270506, -6.2672756390660508e-7),
    ("sinc", 1e-3, 0.99999835506674489, -0.0032898648867278963),
    ("spherical_bessel_j0", 1e-3, 0.99999983333334167, -0.0003333333000000012),
    ("gammaln", 1e4, 82099.717496442377, 9.2102903711428494),
    ("entr", 0.0, 0.0, np.inf),
    ("expit", -1e4, 0.0, 0.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [tg.float64, tg.float32])
@pytest.mark.parametrize(("name", "x", "value", "slope"), EXTREMES)
def test_extremes(name, x, value, slope, dtype):
    leaf = tg.tensor([x], dtype=dtype, requires_grad=True)
    out = getattr(S, name)(leaf)
    out.backward(tg.ones(1, dtype=dtype))
    wide = dtype == tg.float64
    np.testing.assert_allclose(out.item(), value, rtol=1e-12 if wide else 1e-6)
    # i0e' and k1e' are differences of neighbours.
    loose = 1e-4 if wide else 2e-2
    np.testing.assert_allclose(leaf.grad.item(), slope, rtol=loose, atol=0 if wide else 1e-8)


@pytest.mark.parametrize("x", [0.0, 1e-30, -1e-3, 0.0999, -0.1001])
@pytest.mark.parametrize("name", ["i1", "i1e", "bessel_j1", "spherical_bessel_j0", "sinc"])
def test_near_0(name, x):
    function = getattr(S, name)
    leaf = tg.tensor([x], dtype=tg.float64, requires_grad=True)
    first = grad(function(leaf), leaf, tg.ones(1, dtype=tg.float64), create_graph=True)[0]
    second = grad(first, leaf, tg.ones(1, dtype=tg.float64))[0]
    expected = {
        "i1": (0.5 + 3 / 16 * x * x, 3 / 8 * x),
        "i1e": (0.5 - abs(x) + 15 / 16 * x * x, -np.sign(x) + 15 / 8 * x),
        "bessel_j1": (0.5 - 3 / 16 * x * x, -3 / 8 * x),
        "spherical_bessel_j0": (-x / 3 + x**3 / 30, -1 / 3 + x * x / 10),
        "sinc": (-(np.pi**2) * x / 3 + np.pi**4 * x**3 / 30,
                 -(np.pi**2) / 3 + np.pi**4 * x * x / 10),
    }[name]  # fmt: skip
    np.testing.assert_allclose(first.item(), expected[0], rtol=1e-12, atol=abs(x) ** 3)
    np.testing.assert_allclose(second.item(), expected[1], rtol=1e-8, atol=2 * x * x)


def test_derivatives_of_compositions():
    check_derivatives(lambda x: tg.mvlgamma(x, 3), [np.array([1.5, 2.5, 7.0])])
    check_derivatives(lambda x: tg.frexp(x).mantissa, [np.array([0.3, 1.7, -9.0])])


def test_frexp():
    mantissa, exponent = tg.frexp(tg.tensor([0.0, 1.0, -3.5]))
    assert mantissa.tolist() == [0, 0.5, -0.875]
    assert exponent.tolist() == [0, 1, 2]
    assert exponent.dtype == tg.int32
    with pytest.raises(RuntimeError, match="only supports floating-point"):
        tg.frexp(tg.tensor([1]))


def test_polynomials():
    x = tg.linspace(-0.9, 0.9, 7, dtype=tg.float64)
    a = np.arccos(x.numpy())
    for n in range(6):
        for name, expected in {
            "chebyshev_polynomial_t": np.cos(n * a),
            "chebyshev_polynomial_u": np.sin((n + 1) * a) / np.sin(a),
            "chebyshev_polynomial_v": np.cos((n + 0.5) * a) / np.cos(a / 2),
            "chebyshev_polynomial_w": np.sin((n + 0.5) * a) / np.sin(a / 2),
            "legendre_polynomial_p": np.polynomial.Legendre.basis(n)(x.numpy()),
            "laguerre_polynomial_l": np.polynomial.Laguerre.basis(n)(x.numpy()),
            "hermite_polynomial_h": np.polynomial.Hermite.basis(n)(x.numpy()),
            "hermite_polynomial_he": np.polynomial.HermiteE.basis(n)(x.numpy()),
        }.items():
            np.testing.assert_allclose(getattr(S, name)(x, n).numpy(), expected, atol=1e-12)
        shifted = S.shifted_chebyshev_polynomial_t((x + 1) / 2, tg.tensor(float(n)))
        np.testing.assert_allclose(shifted.numpy(), np.cos(n * a), atol=1e-12)
    assert not S.chebyshev_polynomial_w(x, -1).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda x: tg.igamma(x, tg.ones(1)),
        lambda x: tg.igammac(x, tg.ones(1)),
        lambda x: S.zeta(x, tg.ones(1)),
        lambda x: S.chebyshev_polynomial_t(x, 3),
    ],
)
def test_what_has_no_derivative(call):
    x = tg.tensor([1.5], requires_grad=True)
    out = call(x)
    with pytest.raises(NotImplementedError, match="no formula here"):
        out.backward()


def test_dtypes_and_numbers():
    assert S.ndtr(tg.tensor([1])).dtype == tg.float32
    assert S.i0e(tg.tensor([1.0], dtype=tg.float16)).dtype == tg.float16
    with pytest.raises(RuntimeError, match="greater than or equal to 1"):
        tg.mvlgamma(tg.ones(1), 0)
    with pytest.raises(NotImplementedError, match=r"gcd_cpu.* not implemented for 'Bool'"):
        tg.gcd(tg.tensor([True]), tg.tensor([True]))


def test_logaddexp_of_complex_numbers():
    x, y = tg.tensor([1000 + 1j, 2j]), tg.tensor([1000 - 1j, 1 + 0j])
    expected = [1000 + np.log(np.exp(1j) + np.exp(-1j)), np.log(np.exp(2j) + np.exp(1))]
    np.testing.assert_allclose(tg.logaddexp(x, y).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["elu", "leaky_relu", "hardtanh", "relu", "celu", "selu"])
def test_in_place_forms(name):
    functional = tg.nn.functional
    x = tg.tensor([-2.0, 0.5], requires_grad=True)
    y = x * 1
    assert getattr(functional, name + "_")(y) is y
    y.sum().backward()
    assert y.tolist() == getattr(functional, name)(x).tolist()
    first, x.grad = x.grad, None
    getattr(functional, name)(x).sum().backward()
    assert first.tolist() == pytest.approx(x.grad.tolist())  # compiled and not


@pytest.mark.torch
def test_all_of_torch_special_is_there():
    import torch

    names = {n for n in dir(torch.special) if n.islower() and not n.startswith("_")}
    assert names - {"common_args", "multi_dim_common", "torch"} <= set(dir(S))


def test_rrelu_draws_a_slope_for_each_element_that_needs_one():
    x = tg.tensor([-1.0, 2.0, 0.0, -3.0], requires_grad=True)
    assert tg.rrelu(x, 0.25, 0.75).tolist() == [-0.5, 2, 0, -1.5]
    tg.manual_seed(1)
    out = tg.rrelu(x, 0.25, 0.75, training=True)
    tg.manual_seed(1)
    first, at_0, second = tg.empty(3, dtype=tg.float64).uniform_(0.25, 0.75).tolist()
    np.testing.assert_allclose(out.tolist(), [-first, 2, 0, -3 * second], rtol=1e-6)
    out.sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), [first, 1, at_0, second], rtol=1e-6)
    with pytest.raises(RuntimeError, match="Lower bound should be less"):
        tg.rrelu(x, 2.0, 1.0)
