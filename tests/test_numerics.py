"""Functions that lose digits or overflow if written as their formulas: far from 0, and in float32.

float32 is compared with float64, in eps of float32. All of it runs in machine code where that can
be loaded, and once more, in another process, on NumPy alone.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading

FAR = 1e4
EPS = float(np.finfo(np.float32).eps)


def bce(t, x):
    return t.nn.functional.binary_cross_entropy_with_logits(
        x, t.full_like(x, 0.25), reduction="none"
    )


def softplus(t, x):
    return t.nn.functional.softplus(x)


#: A function of a library and a Tensor, and the range of its samples.
FUNCTIONS = {
    "logsumexp": (lambda t, x: x.logsumexp(-1), (-3, 3)),
    "softmax": (lambda t, x: x.softmax(-1), (-3, 3)),
    "log_softmax": (lambda t, x: x.log_softmax(-1), (-3, 3)),
    "var": (lambda t, x: x.var(-1), (10, 11)),
    "std": (lambda t, x: x.std(-1), (10, 11)),
    "norm": (lambda t, x: x.norm(dim=-1), (-1e18, 1e18)),
    "bce_with_logits": (bce, (-30, 30)),
    "softplus": (softplus, (-30, 30)),
    "logsigmoid": (lambda t, x: t.nn.functional.logsigmoid(x), (-30, 30)),
    "log1p": (lambda t, x: x.log1p(), (-0.9, 0.9)),
    "log1p_small": (lambda t, x: x.log1p(), (-1e-6, 1e-6)),
    "expm1_small": (lambda t, x: x.expm1(), (-1e-6, 1e-6)),
    "erfcx": (lambda t, x: t.special.erfcx(x), (-3, 3)),
    "log_ndtr": (lambda t, x: t.special.log_ndtr(x), (-30, 5)),
}
#: Their errors count in eps of the largest element of a row, those of others in eps of their own.
OF_ROWS = {"logsumexp", "softmax", "log_softmax", "var", "std", "norm"}
#: Gradients that are differences: of what they are differences of, in parts of the result.
CONDITION = {"var": 20, "std": 20, "bce_with_logits": 4, "erfcx": 40}
#: Values and gradients at -1e4, 0 and 1e4.
FINITE = {
    "logsumexp": ([FAR], [0, 0, 1]),
    "softmax": ([0, 0, 1], [0, 0, 0]),
    "log_softmax": ([-2 * FAR, -FAR, 0], [1, 1, -2]),
    "bce_with_logits": ([0.25 * FAR, math.log(2), 0.75 * FAR], [-0.25, 0.25, 0.75]),
    "softplus": ([0, math.log(2), FAR], [0, 0.5, 1]),
    "logsigmoid": ([-FAR, -math.log(2), 0], [1, 0.5, 0]),
    "var": ([1e8], [-FAR, 0, FAR]),
    "std": ([FAR], [-0.5, 0, 0.5]),
    "norm": ([math.sqrt(2) * FAR], [-math.sqrt(0.5), 0, math.sqrt(0.5)]),
}
#: Value and gradient at 1e4.
POSITIVE = {
    "log1p": (math.log(FAR + 1), 1 / (FAR + 1)),
    "erfcx": (5.6418958072680836e-05, -5.6418958e-09),
}


loading.load_native()


def both(t, name, data, dtype, weights=None):
    """Value and gradient as float64 arrays."""
    x = t.tensor(data, dtype=dtype, requires_grad=True)
    y = FUNCTIONS[name][0](t, x)
    if weights is None:
        y.sum().backward()
    else:
        y.backward(t.tensor(weights[: y.numel()].reshape(tuple(y.shape)), dtype=dtype))
    return (np.array(a.tolist()) for a in (y.detach(), x.grad))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FINITE)
def test_far_from_0(name, dtype):
    value, gradient = both(tg, name, [-FAR, 0.0, FAR], getattr(tg, dtype))
    tolerance = 4 * np.finfo(dtype).eps
    expected, slope = FINITE[name]
    np.testing.assert_allclose(np.ravel(value), expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(gradient, slope, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", POSITIVE)
def test_far_above_0(name):
    value, gradient = both(tg, name, [FAR], tg.float64)
    expected, slope = POSITIVE[name]
    np.testing.assert_allclose(value, [expected], rtol=1e-14)
    np.testing.assert_allclose(gradient, [slope], rtol=1e-6)


def samples(name):
    random = np.random.default_rng(0)
    data = random.uniform(*FUNCTIONS[name][1], (500, 20)).astype(np.float32)
    return data, random.standard_normal(data.size).astype(np.float32)


def rms(error):
    return np.sqrt((error * error).mean())


def errors(t, name, of=np.max):
    """The largest (or other) errors of value and gradient in float32, in eps."""
    data, weights = samples(name)
    exact = both(tg, name, data.astype(np.float64), tg.float64, weights.astype(np.float64))
    found = both(t, name, data, t.float32, weights)
    worst = []
    for a, b in zip(found, exact, strict=True):
        scale = abs(b)
        if name in OF_ROWS and b.ndim > 1:
            scale = scale.max(axis=-1, keepdims=True)
        worst.append(float(of(abs(a - b) / (EPS * scale))))
    return worst


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_is_accurate(name):
    value, gradient = errors(tg, name)
    assert value < 4
    assert gradient < 8 * CONDITION.get(name, 1)


@pytest.mark.torch
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_is_as_accurate_as_torch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = (
        errors(tg, name, rms),
        errors(torch, name, rms),
    )  # the largest is a matter of luck
    for mine, other in zip(ours, theirs, strict=True):
        assert mine <= max(1.25 * other, 0.6)  # rounding alone makes 0.2 to 0.3


@pytest.mark.skipif(not loading.native.loaded, reason="there is nothing but NumPy")
def test_numpy_alone():
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
