"""Tangents pushed by machine code are those that Python pushes."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading
from tapegrad.autograd import forward
from tapegrad.func import grad, jvp
from tapegrad.primitive import primitives
from tapegrad.recording import apply
from tests.domains import differentiable, differentiable_inputs, inputs_of
from tests.samples import SAMPLES

pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="the native loop can't be used here"
)
ELEMENTWISE = [p for p in primitives if p.elementwise and differentiable(p)]


class Unloaded:
    loaded = False


def in_python(monkeypatch, call):
    with monkeypatch.context() as patch:
        patch.setattr(forward, "native", Unloaded)
        return call()


def assert_same(first, second, dtype):
    eps = np.finfo(dtype).eps
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=16 * eps, atol=16 * eps, strict=True)


def tangents(function, inputs, seed=1):
    rng = np.random.default_rng(seed)
    dots = tuple(
        tg.from_numpy(rng.standard_normal(x.shape).astype(x.numpy().dtype)) for x in inputs
    )
    result, dot = jvp(function, inputs, dots)
    return (*result, *dot) if isinstance(result, tuple) else (result, dot)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (6,), (2, 0), (3, 5)], ids=str)
@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=[p.name for p in ELEMENTWISE])
def test_elementwise(monkeypatch, primitive, shape, dtype):
    arrays = inputs_of(primitive, shape)
    wanted = differentiable_inputs(primitive)

    def function(*tensors):
        given = list(map(tg.from_numpy, arrays))
        for i, x in zip(wanted, tensors, strict=True):
            given[i] = x
        return apply(primitive, tuple(given)) * 2

    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    inputs = tuple(tg.from_numpy(arrays[i].copy()) for i in wanted)

    def call():
        return tangents(function, inputs)

    assert_same(call(), in_python(monkeypatch, call), dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_samples(monkeypatch, sample, dtype):
    inputs = tuple(tg.from_numpy(a.astype(dtype)) for a in sample.arrays())

    def call():
        out = []
        for i in range(len(inputs)):
            others = list(inputs)

            def of_one(x, i=i, others=others):
                others[i] = x
                result = sample.call(*others)
                return tuple(result) if isinstance(result, tuple | list) else result

            out += tangents(of_one, inputs[i : i + 1])
        return out

    assert_same(call(), in_python(monkeypatch, call), dtype)


def steps_in_python(monkeypatch, call):
    """What a call gives, and the names of the records that Python pushed along."""
    names = []
    push = forward.Pushforward._push

    def noted(self, record):
        names.append(primitives[record[1]].name)
        push(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(forward.Pushforward, "_push", noted)
        return call(), names


def test_a_hessian_vector_product_is_pushed_by_machine_code(monkeypatch):
    rng = np.random.default_rng(0)
    w, v = (tg.from_numpy(rng.standard_normal(shape)) for shape in ((5, 5), (5,)))

    def f(x):
        return (tg.tanh(x @ w + 1) @ w).square().sum()

    def product():
        return jvp(grad(f), (tg.ones(5, dtype=tg.float64),), (v,))

    product()
    (_, first), names = steps_in_python(monkeypatch, product)
    assert names == []
    _, second = in_python(monkeypatch, product)
    np.testing.assert_allclose(first.numpy(), second.numpy(), rtol=1e-14)


def test_what_depends_on_more_is_left_to_python(monkeypatch):
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    x, v = tg.tensor([0.5, 1.0]), tg.tensor([1.0, -1.0])

    def product():
        return jvp(lambda a: (a * a).sin() * w, (x,), (v,))[1]

    product()
    dot, names = steps_in_python(monkeypatch, product)
    assert names == ["mul"]  # by w
    dot.sum().backward()
    expected = 2 * x * v * (x * x).cos()
    tg.testing.assert_close(w.grad, expected)


@pytest.mark.parametrize("how", ["ignore", "warn", "raise"])
def test_floating_point_errors_are_nobodys(how):
    def function(x):
        return tg.log(x).reshape(1, 2) @ tg.ones(2, 1)

    x, v = tg.tensor([0.0, 1.0]), tg.tensor([1.0, 1.0])
    with np.errstate(all=how):
        _, dot = jvp(function, (x,), (v,))
    assert dot.item() == np.inf


def test_an_interrupt_gets_through():
    from tapegrad.primitive import structural

    def interrupted(x):
        if interrupted.now:
            raise KeyboardInterrupt
        return x + 0

    def interrupted_x(out_bar):
        return out_bar

    interrupted.now = False
    primitive = structural("interrupted", interrupted, interrupted_x)
    try:
        known = forward.LINEAR
        forward.LINEAR = known | {interrupted}
        x = tg.ones(2)

        def function(a):
            out = apply(primitive, (a,))
            interrupted.now = True
            return out * 2

        with pytest.raises(KeyboardInterrupt):
            jvp(function, (x,), (x,))
        interrupted.now = False
        assert jvp(lambda a: apply(primitive, (a,)), (x,), (x,))[1].tolist() == [1, 1]
    finally:
        forward.LINEAR = known


def test_values_that_were_changed_are_found():
    def function(x):
        y = x * 1
        z = y.sin()  # which saves y
        z.mul_(2)
        return y * z

    x = tg.tensor([0.5])
    _, dot = jvp(function, (x,), (tg.ones(1),))
    tg.testing.assert_close(dot, 2 * (x.sin() + x * x.cos()))

    def changed(x):
        z = x.exp()
        with tg.no_grad():
            z.mul_(2)
        return z * 1

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        jvp(changed, (x,), (tg.ones(1),))
