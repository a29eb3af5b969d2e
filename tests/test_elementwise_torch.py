"""Elementwise functions against torch: values, gradients, dtypes and names, also at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tapegrad as tg

pytestmark = pytest.mark.torch

INF, NAN = math.inf, math.nan
EDGES = [-INF, INF, NAN, -0.0, 0.0, 1e30, -1e30, 1.0, -1.0, 0.5, -3.0, 3.0, 6.0]
EVERYWHERE = [
    "exp", "expm1", "exp2", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "square",
    "reciprocal", "sigmoid", "logit", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "sinc", "deg2rad", "rad2deg", "relu", "erf",
    "erfc", "neg", "sgn", "sign", "ceil", "floor", "round", "trunc", "frac", "nan_to_num",
    "isnan", "isinf", "isfinite", "signbit", "logical_not",
]  # fmt: skip
PAIRS = [
    "add", "sub", "mul", "div", "maximum", "minimum", "fmax", "fmin", "atan2", "hypot",
    "copysign", "pow", "eq", "ne", "lt", "le", "gt", "ge", "xlogy", "logical_and", "fmod",
]  # fmt: skip
IN_F = [
    "relu", "softplus", "leaky_relu", "elu", "selu", "celu", "relu6", "hardtanh",
    "hardsigmoid", "logsigmoid", "softsign", "tanhshrink", "softshrink", "hardshrink",
]  # fmt: skip


def both(call, *values, dtype=np.float32):
    """The result and the gradients, in torch and here."""
    import torch

    found = []
    for lib in (torch, tg):
        inputs = [lib.from_numpy(np.array(v, dtype)).requires_grad_() for v in values]
        out = call(lib, *inputs)
        arrays = [out.detach().numpy()]
        if out.requires_grad:
            for g in lib.autograd.grad(
                out, inputs, lib.ones_like(out), allow_unused=True, retain_graph=True
            ):
                arrays.append(None if g is None else g.numpy(force=True))
        found.append((arrays, out.grad_fn and out.grad_fn.name()))
    return found


def compare(call, *values, dtype=np.float32, names=True):
    (expected, name), (found, own_name) = both(call, *values, dtype=dtype)
    for a, b in zip(expected, found, strict=True):
        if a is None or b is None:
            assert a is None or not a.any()
            assert b is None or not b.any()
            continue
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)
    if names:
        assert own_name == name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_edges_as_torch(name, dtype):
    edges = EDGES
    if name == "acosh":
        edges = [1.0, 2.0, 1e10]  # torch has a derivative for x < -1, where there is no value
    elif name == "logit":
        edges = [v for v in EDGES if v]  # torch's infinity at -0.0 has either sign
    compare(lambda lib, x: getattr(lib, name)(x), edges, dtype=dtype)


@pytest.mark.parametrize("name", IN_F)
def test_activations_at_edges_as_torch(name):
    edges = EDGES
    if name in ("hardtanh", "relu6", "softshrink", "hardshrink"):
        edges = [v for v in EDGES if v == v]  # torch's kernels differ among themselves at nan
    names = name not in ("tanhshrink", "softsign")
    compare(lambda lib, x: getattr(lib.nn.functional, name)(x), edges, names=names)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_as_torch(name):
    finite = [v for v in EDGES if abs(v) < 1e9]
    pairs = [(x, y) for x in finite for y in finite]
    if name == "hypot":
        pairs = [p for p in pairs if p != (0, 0)]
    xs, ys = zip(*pairs, strict=True)
    compare(lambda lib, x, y: getattr(lib, name)(x, y), xs, ys, names=name != "fmod")


@pytest.mark.parametrize(
    "expression",
    ["x ** 2", "x ** 3", "x ** 0.5", "x ** -1", "x ** 0", "x ** 2.5", "2.0 ** x", "0 ** x",
     "x * 2 + 1", "x.clamp(-1, 1)", "x.clamp(min=0.5)", "lib.where(x > 0, x, 0.0)",
     "lib.where(x > 0, 1.0, x)", "lib.nan_to_num(x, 1.0, 2.0, 3.0)", "x.round(decimals=1)",
     "lib.div(x, 2, rounding_mode='trunc')", "x.sub(1, alpha=2)", "abs(x[x == x])"],
)  # fmt: skip
def test_expressions_as_torch(expression):
    names = "x[" not in expression
    compare(lambda lib, x: eval(expression, {"lib": lib, "x": x}), EDGES, names=names)


def test_complex_as_torch():
    values = np.array([1 + 2j, -1j, 3 + 0j, -2 + 1j, 0.5 - 0.3j, 0j], np.complex64)
    for name in ("abs", "sgn", "angle", "exp", "sin", "tanh", "square", "neg", "acosh", "log"):
        given = values[:-1] if name == "log" else values
        compare(
            lambda lib, x, name=name: getattr(lib, name)(x), given, dtype=np.complex64,
            names=name != "angle",
        )  # fmt: skip
