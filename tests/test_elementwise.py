"""Elementwise functions: values, dtypes, errors and names against literals, differences and torch.

That each primitive's derivatives are right where they are smooth is the business of
test_operators; here are the public functions, the kinks and the edges.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.autograd import grad
from tests.differences import check_derivatives

F = tg.nn.functional
INF, NAN = math.inf, math.nan


def leaf(*values, dtype=np.float64):
    return tg.from_numpy(np.array(values, dtype)).requires_grad_()


def gradient(function, x, out_bar=None):
    out = function(x)
    return grad(out, x, tg.ones_like(out) if out_bar is None else out_bar)[0].tolist()


# -- derivatives against differences ---------------------------------------------------------------

ACTIVATIONS = {
    "relu": F.relu,
    "sigmoid": F.sigmoid,
    "softplus": F.softplus,
    "softplus-2": lambda x: F.softplus(x, beta=2, threshold=10),
    "gelu": F.gelu,
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": lambda x: F.elu(x, 0.7),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.7),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.7, 1.2),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "threshold": lambda x: F.threshold(x, 0.5, 20.0),
}
UNARY = {
    "pow-2": lambda x: x**2,
    "pow-3": lambda x: x**3,
    "pow-4": lambda x: x.pow(4),
    "pow--1": lambda x: x**-1,
    "rpow": lambda x: 2.0**x,
    "rsub": lambda x: 1 - x,
    "rdiv": lambda x: 2 / x,
    "alpha": lambda x: tg.add(x, x * x, alpha=0.3) - tg.rsub(x, 2.0, alpha=3),
    "clamp": lambda x: x.clamp(-0.8, 1.3),
    "clamp-min": lambda x: x.clamp(min=-0.8),
    "clamp-max": lambda x: x.clamp(max=0.8),
    "abs": abs,
    "nan_to_num": lambda x: tg.nan_to_num(x, 1.0) * x,
    "where": lambda x: tg.where(x > 0, x * x, 0.0),
    "sinc": tg.sinc,
    "deg2rad": lambda x: tg.deg2rad(x) * tg.rad2deg(x),
    "square": tg.square,
    "erf": lambda x: x.erf() + x.erfc(),
}
BINARY = {
    "addcmul": lambda x, y: tg.addcmul(x, x, y, value=0.5),
    "addcdiv": lambda x, y: tg.addcdiv(x, x, y, value=0.5),
    "lerp": lambda x, y: tg.lerp(x, y, 0.3) + tg.lerp(x, y, weight=0.8),
    "lerp-tensor": lambda x, y: tg.lerp(x, y, x),
    "maximum": tg.maximum,
    "minimum": tg.minimum,
    "fmax": tg.fmax,
    "fmin": tg.fmin,
    "clamp": lambda x, y: tg.clamp(x, y, y + 1),
    "where": lambda x, y: tg.where(x > y, x * y, y),
    "pow": lambda x, y: (x * x + 1) ** y,
    "logaddexp": lambda x, y: tg.logaddexp(x, y) + tg.logaddexp2(x, y),
    "hypot": tg.hypot,
    "atan2": tg.atan2,
    "xlogy": lambda x, y: tg.xlogy(x, y * y + 0.1),
    "prelu": lambda x, y: F.prelu(x, y[:1]),
}
POINTS = np.array([-2.1, -1.1, -0.33, 0.27, 0.61, 1.45, 2.7])
OTHERS = np.array([0.71, -1.23, 0.9, -0.4, 1.7, -2.2, 0.35])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    check_derivatives(ACTIVATIONS[name], [POINTS])
    check_derivatives(ACTIVATIONS[name], [np.array(0.4)])


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    check_derivatives(UNARY[name], [POINTS])


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    check_derivatives(BINARY[name], [POINTS, OTHERS])
    check_derivatives(BINARY[name], [POINTS[:3, None], OTHERS])


# -- kinks and edges -------------------------------------------------------------------------------


def test_ties_are_halved():
    x, y = leaf(1.0, 2.0, 3.0), leaf(1.0, 3.0, 2.0)
    for function, of_x in ((tg.maximum, [0.5, 0, 1]), (tg.minimum, [0.5, 1, 0])):
        out = function(x, y)
        found = grad(out, [x, y], tg.ones_like(out))
        assert found[0].tolist() == of_x
        assert found[1].tolist() == [1 - g for g in of_x]


def test_selection_gives_no_nan_for_an_infinite_adjoint():
    x = leaf(-1.0, 1.0)
    infinite = tg.tensor([INF, INF], dtype=tg.float64)
    assert gradient(tg.relu, x, infinite) == [0, INF]
    assert gradient(lambda x: x.clamp(min=0), x, infinite) == [0, INF]
    assert gradient(tg.floor, x, infinite) == [0, 0]
    assert gradient(tg.sign, x, infinite) == [0, 0]
    assert gradient(lambda x: tg.maximum(x, -x), x, infinite) == [-INF, INF]


def test_a_nan_passes_its_gradient_on():
    x = leaf(NAN)
    for function in (F.relu, F.hardswish, F.elu, F.selu, F.celu, F.silu):
        assert gradient(function, x) != [0], function
    assert gradient(F.relu, x) == [1]


def test_bounds():
    x = leaf(-1.0, 0.0, 1.0)
    assert gradient(lambda x: x.clamp(-1, 1), x) == [1, 1, 1]
    assert gradient(F.hardtanh, x) == [0, 1, 0]
    assert gradient(abs, x) == [-1, 0, 1]
    assert gradient(F.hardswish, leaf(-3.0, 3.0)) == [0, 1]
    assert gradient(F.elu, leaf(0.0)) == [1]


def test_powers_at_zero():
    assert gradient(lambda x: x**0, leaf(0.0, 2.0)) == [0, 0]
    assert gradient(lambda x: x**2, leaf(0.0)) == [0]
    assert gradient(lambda x: x**1, leaf(0.0)) == [1]
    y = leaf(0.0, 2.0)
    assert gradient(lambda y: tg.zeros(2, dtype=tg.float64) ** y, y) == [0, 0]
    x = leaf(0.0)
    first = grad(x**0, x, tg.ones_like(x), create_graph=True)[0]
    assert grad(first, x, tg.ones_like(x), allow_unused=True)[0] in (None, 0.0)


def test_second_derivatives_far_out_are_finite():
    for function in (F.softplus, F.silu, F.mish, F.logsigmoid, F.elu, F.celu, F.selu):
        x = leaf(-1000.0, 1000.0)
        first = grad(function(x), x, tg.ones_like(x), create_graph=True)[0]
        second = grad(first, x, tg.ones_like(x))[0]
        assert np.isfinite(second._array).all(), function


def test_atan2_at_the_origin():
    x, y = leaf(0.0), leaf(0.0)
    assert [g.item() for g in grad(tg.atan2(x, y), [x, y], tg.ones_like(x))] == [0, 0]


def test_logit():
    assert np.isnan(gradient(tg.logit, leaf(-0.5, 1.5))).all()
    assert gradient(lambda x: tg.logit(x, 0.1), leaf(0.05, 0.5)) == [0, 4]
    x = leaf(0.2)
    np.testing.assert_allclose(tg.logit(x).sigmoid().detach().numpy(), [0.2])


def test_nan_to_num():
    x = tg.tensor([NAN, INF, -INF, 1.0])
    big = float(np.finfo(np.float32).max)
    assert x.nan_to_num().tolist() == [0, big, -big, 1]
    assert tg.nan_to_num(x, 2.0, posinf=3.0, neginf=-3.0).tolist() == [2, 3, -3, 1]
    assert gradient(tg.nan_to_num, leaf(NAN, INF, 1.0)) == [0, 0, 1]


def test_infinite_terms_of_logaddexp():
    x, y = leaf(-INF, 1.0), leaf(2.0, INF)
    out = tg.logaddexp(x, y)
    assert out.tolist() == [2, INF]
    assert [g.tolist() for g in grad(out, [x, y], tg.ones_like(out))] == [[0, 0], [1, 1]]


# -- complex numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_complex_abs_and_sgn(create_graph):
    z = tg.tensor([3 + 4j, 0j]).requires_grad_()
    out = abs(z)
    assert out.dtype is tg.float32
    g = grad(out, z, tg.ones_like(out), create_graph=create_graph)[0]
    assert g.dtype is tg.complex64
    np.testing.assert_allclose(g.detach().numpy(), [0.6 + 0.8j, 0], rtol=1e-6)
    out = tg.sgn(z)
    g = grad(out, z, tg.ones_like(out), create_graph=create_graph)[0]
    # (v - s^2 conj(v)) / 2|z| with v = 1
    np.testing.assert_allclose(g.detach().numpy(), [(1 - (0.6 + 0.8j) ** 2) / 10, 0], rtol=1e-6)


def test_second_derivative_of_complex_abs():
    def length(x):
        return abs(tg.complex(x, x * 2 + 1))

    check_derivatives(length, [np.array([0.3, -1.2])], forward=False)


def test_angle():
    assert tg.angle(tg.tensor([-1.0, 0.0, 2.0])).tolist() == pytest.approx([math.pi, 0, 0])
    assert math.isnan(tg.angle(tg.tensor(NAN)).item())
    assert gradient(tg.angle, leaf(-1.0, 2.0)) == [0, 0]
    check_derivatives(lambda x, y: tg.angle(tg.complex(x, y)), [POINTS, OTHERS], forward=False)


# -- dtypes ----------------------------------------------------------------------------------------


def test_dtypes():
    half, single = tg.ones(2, dtype=tg.float16), tg.ones(2)
    integers, bools = tg.tensor([1, 2]), tg.tensor([True, False])
    assert (half * 2).dtype is tg.float16
    assert (half + single).dtype is tg.float32
    assert (single * np.float64(2)).dtype is tg.float32
    assert (integers * 1.5).dtype is tg.float32
    assert (integers / 2).dtype is tg.float32
    assert (integers // 2).dtype is tg.int64
    assert (bools + bools).dtype is tg.bool
    assert (bools + 1).dtype is tg.int64
    assert (integers**2).dtype is tg.int64
    assert (bools**2).dtype is tg.int64
    assert tg.sign(bools).dtype is tg.bool
    assert tg.square(bools).dtype is tg.int64
    assert tg.exp(integers).dtype is tg.float32
    assert tg.float_power(single, 2).dtype is tg.float64
    assert tg.where(bools, 1.0, 0.0).dtype is tg.float32
    assert tg.where(bools, 1, 0).dtype is tg.int64
    assert F.hardtanh(integers).dtype is tg.int64
    assert tg.heaviside(integers, integers).dtype is tg.int64
    for function in ACTIVATIONS.values():
        assert function(single).dtype is tg.float32
        assert function(tg.tensor(0.5)).shape == ()
        assert function(tg.ones(0, 2)).shape == (0, 2)


def test_integers():
    x = tg.tensor([-7, -3, 0, 5])
    assert (x % 3).tolist() == [2, 0, 0, 2]
    assert (x // 2).tolist() == [-4, -2, 0, 2]
    assert tg.fmod(x, 3).tolist() == [-1, 0, 0, 2]
    assert tg.div(x, 2, rounding_mode="trunc").tolist() == [-3, -1, 0, 2]
    assert (3 - x).tolist() == [10, 6, 3, -2]
    assert (2 ** tg.tensor([0, 3])).tolist() == [1, 8]
    powers = tg.tensor([1, -1, -1, 2, 0]) ** tg.tensor([-2, -2, -3, -1, -1])
    assert powers.tolist() == [1, 1, -1, 0, 0]
    assert x.round().tolist() == x.tolist()


@given(st.floats(-1e6, 1e6), st.floats(-100, 100).filter(lambda y: abs(y) > 1e-3))
def test_remainder_has_the_sign_of_the_divisor(x, y):
    x, y = tg.tensor(x, dtype=tg.float64), tg.tensor(y, dtype=tg.float64)
    found = (x % y).item()
    assert found == 0 or (found > 0) == (y.item() > 0)
    assert tg.fmod(x, y).item() == math.fmod(x.item(), y.item())


# -- errors ----------------------------------------------------------------------------------------

T = tg.tensor
ERRORS = [
    (RuntimeError, "negative integer powers", lambda: T([1, 2]) ** -1),
    (RuntimeError, "ZeroDivisionError", lambda: T([1, 2]) // 0),
    (RuntimeError, "ZeroDivisionError", lambda: T([1, 2]) % T([1, 0])),
    (RuntimeError, "ZeroDivisionError", lambda: tg.div(T([1]), 0, rounding_mode="trunc")),
    (RuntimeError, "rounding_mode", lambda: tg.div(T([1.0]), 2, rounding_mode="up")),
    (RuntimeError, "At least one of", lambda: T([1.0]).clamp()),
    (RuntimeError, "boolean tensor, but got a tensor with dtype Float",
     lambda: tg.where(T([1.0]), 1, 0)),
    (RuntimeError, "alpha must not be a floating", lambda: tg.add(T([1]), T([1]), alpha=0.5)),
    (RuntimeError, "two bool tensors", lambda: tg.sub(T([True]), T([True]))),
    (NotImplementedError, "sgn instead", lambda: tg.sign(T([1j]))),
    (RuntimeError, "size of tensor a \\(2\\)", lambda: T([1.0, 2.0]) * T([1.0, 2.0, 3.0])),
    (RuntimeError, "Float did not match Long", lambda: tg.isclose(T([1.0]), T([1]))),
    (RuntimeError, "rtol must be", lambda: tg.allclose(T([1.0]), T([1.0]), rtol=-1)),
    (TypeError, "must be Tensor, not float", lambda: tg.allclose(T([1.0]), 1.0)),
    (TypeError, "must be Tensor, not int", lambda: tg.equal(T([1.0]), 1)),
    (RuntimeError, "different dtypes", lambda: tg.heaviside(T([1.0]), T([1]))),
    (NotImplementedError, "not implemented for 'Long'", lambda: F.elu(T([1]))),
    (RuntimeError, "either none or tanh", lambda: F.gelu(T([1.0]), approximate="x")),
    (ValueError, "greater than max_val", lambda: F.hardtanh(T([1.0]), 1, -1)),
    (RuntimeError, "alpha cannot be 0", lambda: F.celu(T([1.0]), 0)),
    (RuntimeError, "Boolean inputs", lambda: tg.relu(T([True]))),
    (RuntimeError, "Mismatch of parameter", lambda: F.prelu(tg.ones(2, 3), tg.ones(2))),
    (RuntimeError, "negative n", lambda: tg.polygamma(-1, T([1.0]))),
    (RuntimeError, "bool tensor", lambda: +T([True])),
    (RuntimeError, "complex inputs", lambda: tg.isposinf(T([1j]))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "call"), ERRORS, ids=[e[1] for e in ERRORS])
def test_errors(kind, message, call):
    with pytest.raises(kind, match=message):
        call()


# -- comparisons, names, in place ------------------------------------------------------------------


def test_comparisons():
    x = tg.tensor([1.0, 2.0, NAN])
    assert (x == 1).tolist() == [True, False, False]
    assert (x != x).tolist() == [False, False, True]
    assert (1 < x).tolist() == [False, True, False]  # noqa: SIM300
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert not tg.equal(x, x)
    assert tg.allclose(x, x, equal_nan=True)
    assert tg.isclose(tg.tensor([5]), tg.tensor([5])).tolist() == [True]
    y = tg.tensor([1.0, 3.0])
    y.eq_(1)
    assert y.tolist() == [1, 0]
    assert tg.where(tg.tensor([False, True]))[0].tolist() == [1]


NAMES = [
    ("PowBackward0", lambda x: x**2),
    ("PowBackward0", lambda x: x**2.5),
    ("PowBackward1", lambda x: x**x),
    ("PowBackward2", lambda x: 2**x),
    ("SgnBackward0", tg.sgn),
    ("ClampBackward1", lambda x: x.clamp(0, 1)),
    ("ClampBackward0", lambda x: x.clamp(min=x)),
    ("LerpBackward0", lambda x: tg.lerp(x, x, 0.3)),
    ("LerpBackward1", lambda x: tg.lerp(x, x, x)),
    ("Log1PBackward0", tg.log1p),
    ("Deg2RadBackward0", tg.deg2rad),
    ("MishBackward0", F.mish),
    ("EluBackward0", F.selu),
    ("CeluBackward0", F.celu),
    ("HardswishBackward0", F.hardswish),
    ("SoftplusBackward0", F.softplus),
    ("AddcmulBackward0", lambda x: tg.addcmul(x, x, x)),
    ("RoundBackward1", lambda x: x.round(decimals=1)),
    ("DivBackward2", lambda x: tg.div(x, 2, rounding_mode="floor")),
    ("NanToNumBackward0", tg.nan_to_num),
    ("RsubBackward1", lambda x: tg.rsub(x, 1)),
]


@pytest.mark.parametrize(("name", "function"), NAMES)
def test_names_of_derivatives(name, function):
    assert function(leaf(0.5, 1.5)).grad_fn.name() == name


def threshold(x, inplace):
    return F.threshold(x, 0.1, 2.0, inplace)


INPLACE = [
    F.relu, F.relu6, F.silu, F.mish, F.elu, F.selu, F.celu, F.leaky_relu, F.hardtanh,
    F.hardsigmoid, F.hardswish, threshold,
]  # fmt: skip


@pytest.mark.parametrize("function", INPLACE)
def test_activations_in_place(function):
    x = leaf(*POINTS)
    y = x * 1
    assert function(y, inplace=True) is y
    expected = function(x, inplace=False)
    # NumPy and compiled code, which may be loaded in between, may round the last bit differently.
    assert y.tolist() == pytest.approx(expected.tolist(), rel=1e-14)
    expected = gradient(lambda x: function(x, inplace=False), x)
    assert gradient(lambda x: y, x) == pytest.approx(expected)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        function(leaf(1.0), inplace=True)


def test_rounding():
    x = tg.tensor([0.5, 1.5, -2.567, 14.0])
    assert x.round().tolist() == [0, 2, -3, 14]
    assert x.round(decimals=1).tolist() == pytest.approx([0.5, 1.5, -2.6, 14])
    assert x.round(decimals=-1).tolist() == [0, 0, 0, 10]
    assert tg.frac(x).tolist() == pytest.approx([0.5, 0.5, -0.567, 0], abs=1e-6)


def test_numpys_functions_take_numbers_where_ours_take_tensors():
    x = T([-1.0, 0.0, 2.0])
    assert np.heaviside(x, 0.5).tolist() == [0, 0.5, 1]
    assert np.heaviside(x, 0).tolist() == [0, 0, 1]
