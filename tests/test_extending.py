"""A person's own primitives."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.loading import load_native, native
from tapegrad.primitive import select
from tapegrad.testing import check_primitive

rng = np.random.default_rng(0)
RATE = 0.75


def damped_forward(x, rate):
    return np.exp(-rate * x)


def damped_x(rate, out):
    return -rate * out


def damped_rate(x, out):
    return -x * out


def hinge_x(x, out_bar):
    return select(x > 0, RATE * out_bar, 0.0)


def hinge_forward(x):
    return RATE * np.maximum(x, 0)


def logsum_forward(x, axis=-1):
    return np.log(np.exp(x).sum(axis))


def logsum_x(out_bar, x, out, axis):
    return np.expand_dims(out_bar, axis) * np.exp(x - np.expand_dims(out, axis))


def damped():
    return tg.primitive(damped_forward, name="damped").defpartials(x=damped_x, rate=damped_rate)


def logsum():
    return tg.primitive(logsum_forward, name="logsum").defvjp(x=logsum_x)


def test_elementwise_gets_all_that_ours_have():
    assert check_primitive(damped(), rng.normal(size=(3, 4)), rng.uniform(0.5, 2, (3, 4)))
    hinge = tg.primitive(hinge_forward, name="hinge").defpartials(hinge_x)
    assert check_primitive(hinge, np.array([-1.0, 0.5, 2.0]), second=False)


def test_structural():
    assert check_primitive(logsum(), rng.normal(size=(3, 4)))
    assert check_primitive(logsum(), rng.normal(size=(3, 4)), 0)
    x = tg.randn(3, 4, requires_grad=True)
    np.testing.assert_allclose(
        logsum()(x, axis=0).detach().numpy(), tg.logsumexp(x, 0).detach().numpy(), rtol=1e-5
    )


def test_names_on_the_tape():
    f = damped()
    x = tg.ones(2, requires_grad=True)
    y = f(x, rate=2.0)
    assert y.grad_fn.name() == "DampedBackward0"
    assert "damped(x1, 2)" in tg.tape.history(y)
    assert repr(f) == "<primitive damped(x, rate)>"
    assert "axis=-1" in tg.tape.history(logsum()(tg.ones(2, 2, requires_grad=True)))


def test_promotion_and_broadcasting():
    f = damped()
    x = tg.ones(3, 1, requires_grad=True)
    r = tg.ones(4, dtype=tg.float64, requires_grad=True)
    y = f(x, r)
    assert (y.shape, y.dtype) == ((3, 4), tg.float64)
    y.sum().backward()
    assert (x.grad.shape, x.grad.dtype, r.grad.dtype) == ((3, 1), tg.float32, tg.float64)
    assert f(tg.tensor([1, 2]), 1).dtype == tg.float32
    assert f(tg.tensor(1.0), 1.0).shape == ()
    assert isinstance(f(np.ones(2), 1.0), np.ndarray)


def test_structural_promotion():
    def weighted(x, w):
        return (x * w).sum(-1)

    def weighted_x(out_bar, w):
        return out_bar[..., None] * w

    def weighted_w(out_bar, x):
        return out_bar[..., None] * x

    f = tg.primitive(weighted).defvjp(weighted_x, weighted_w)
    x = tg.ones(3, requires_grad=True)
    w = tg.ones(3, dtype=tg.float64, requires_grad=True)
    y = f(x, w)
    assert y.dtype == tg.float64
    y.backward()
    assert (x.grad.dtype, w.grad.dtype) == (tg.float32, tg.float64)
    assert check_primitive(f, rng.normal(size=(2, 3)), rng.normal(size=(2, 3)))


def test_several_outputs():
    def halves(x):
        return x[:2] * 2.0, x[2:] * 3.0

    def halves_x(out_bar, x_shape):
        a, b = (0.0 if bar is None else bar for bar in out_bar)
        return np.concatenate([np.ones(2) * a * 2.0, np.ones(x_shape[0] - 2) * b * 3.0])

    f = tg.primitive(halves, outputs=2).defvjp(halves_x)
    x = tg.ones(5, dtype=tg.float64, requires_grad=True)
    a, b = f(x)
    (a.sum() + b.sum()).backward()
    assert x.grad.tolist() == [2, 2, 3, 3, 3]
    x.grad = None
    f(x)[1].sum().backward()
    assert x.grad.tolist() == [0, 0, 3, 3, 3]


def test_results_are_arrays_of_their_own():
    def same(x):
        return x

    def one(x):
        return 1.0

    f = tg.primitive(same).defpartials(one)
    x = tg.ones(3, requires_grad=True)
    y = f(x)
    assert not np.shares_memory(y._array, x._array)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_numba_functions():
    numba = pytest.importorskip("numba")

    @numba.njit
    def huber(x):
        if abs(x) < 1:
            return 0.5 * x * x
        return abs(x) - 0.5

    @numba.njit
    def huber_x(x):
        return max(-1.0, min(1.0, x))

    @numba.njit
    def cumulated(x):
        out = x.copy()
        for i in range(1, len(x)):
            out[i] += out[i - 1]
        return out

    def cumulated_x(out_bar):
        return np.flip(np.cumsum(np.flip(out_bar, (0,)), 0), (0,))

    f = tg.primitive(huber).defpartials(huber_x)
    assert check_primitive(f, [0.2, -0.5, 2.0, -3.0], second=False)
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="huber_x doesn't run on Tensors"):
        tg.autograd.grad(f(x).sum(), x, create_graph=True)
    assert check_primitive(tg.primitive(cumulated).defvjp(cumulated_x), rng.normal(size=5))


def test_a_rule_that_numba_cannot_compile_runs_in_python():
    def cube(x):
        return x**3

    def cube_x(x):
        return np.where(x > 0, 3 * x**2, 3 * x**2) + np.linalg.norm(np.zeros(2))

    f = tg.primitive(cube).defpartials(cube_x)
    loaded = load_native()
    x = tg.tensor([1.0, -2.0], requires_grad=True)
    f(x).sum().backward()
    assert x.grad.tolist() == [3, 12]
    assert native.loaded == loaded


def test_a_rule_is_compiled_anew_when_a_value_that_it_names_changes():
    if not load_native():
        pytest.skip("no native loop here")
    for scale in (2.0, 3.0):
        space = {"np": np, "SCALE": scale}
        exec("def f(x):\n    return SCALE * x\ndef df(x):\n    return SCALE + 0.0 * x", space)
        f = tg.primitive(space["f"]).defpartials(space["df"])
        x = tg.ones(3, requires_grad=True)
        f(x).sum().backward()
        assert x.grad.tolist() == [scale] * 3


def test_the_kernel_can_be_read():
    assert "OUT_BAR[i] * rule(Y[i], OUT[i])" in damped().kernel("x")
    with pytest.raises(TypeError, match="damped has no derivative for 'q'"):
        damped().kernel("q")
    with pytest.raises(TypeError, match="the derivative for 'x' runs in Python"):
        logsum().kernel("x")

    def norm_x(x):
        return np.linalg.norm(x, ord="nuc")

    with pytest.raises(TypeError, match="runs in Python"):
        tg.primitive(lambda x: x, name="f").defpartials(norm_x).kernel("x")


def test_check_primitive_finds_what_maps_and_empties_do():
    def first(x):
        return x * (1 if x.ndim == 1 else 2)  # under vmap there is a dimension more

    def first_x(x):
        return np.ones_like(x)

    with pytest.raises(AssertionError, match="first: under vmap"):
        check_primitive(tg.primitive(first).defpartials(first_x), [1.0, 2.0], second=False)

    def never_empty(x):
        return np.resize(x, x.shape) if x.size else np.zeros(1)

    with pytest.raises((AssertionError, RuntimeError), match="never_empty"):
        check_primitive(tg.primitive(never_empty).defpartials(first_x), [1.0, 2.0], second=False)


def test_closures_have_kernels_of_their_own():
    def scaled(factor):
        def forward(x):
            return factor * x

        def partial(x):
            return factor + 0 * x

        return tg.primitive(forward, name="scaled").defpartials(partial)

    assert check_primitive(scaled(2.0), [1.0, 2.0])
    assert check_primitive(scaled(3.0), [1.0, 2.0])


def test_redefined():
    f = damped()
    f.defpartials(damped_x, None)
    rate = tg.ones(2, requires_grad=True)
    assert not f(tg.ones(2), rate).requires_grad
    assert f(tg.ones(2, requires_grad=True), rate).requires_grad


def test_errors_of_declarations():
    f = damped()
    with pytest.raises(TypeError, match=r"a rule for 'q', which is none of the arguments x, rate"):
        f.defpartials(q=damped_x)
    with pytest.raises(TypeError, match="got two rules for 'x'"):
        f.defpartials(damped_x, x=damped_x)
    with pytest.raises(TypeError, match="got 3 functions for the 2 arguments x, rate"):
        f.defpartials(damped_x, damped_x, damped_x)
    with pytest.raises(TypeError, match="got no rule"):
        f.defpartials()
    with pytest.raises(TypeError, match=r"names 'axis', which is none of out_bar, x, rate, out"):
        f.defpartials(logsum_x)
    with pytest.raises(TypeError, match="damped_x must take out_bar"):
        f.defvjp(damped_x)
    with pytest.raises(TypeError, match="a rule must be a Python function"):
        f.defpartials(np.sin)
    with pytest.raises(ValueError, match="pass name="):
        tg.primitive(lambda x: x)
    with pytest.raises(TypeError, match=r"passed by position; f has \*x"):
        tg.primitive(lambda *x: x, name="f")
    with pytest.raises(TypeError, match="no argument can be called 'out_bar'"):
        tg.primitive(lambda out_bar: out_bar, name="f")
    with pytest.raises(TypeError, match="takes a function, not int"):
        tg.primitive(3)
    with pytest.raises(TypeError, match=r"has no derivative yet: declare it by f\.defpartials"):
        tg.primitive(lambda x: x, name="f")(tg.ones(2))
    assert tg.primitive(lambda x: x, name="f")(3) == 3


def test_errors_of_results():
    def short(x):
        return x[:1]

    def wide(x):
        return x + 1j

    def one(x):
        return 1.0

    x = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"short returned shape \[1\] for \[3\]"):
        tg.primitive(short).defpartials(one)(x)
    with pytest.raises(RuntimeError, match="wide returned complex64 for float32"):
        tg.primitive(wide).defpartials(one)(x)

    def bad_x(out_bar):
        return out_bar

    total = tg.primitive(lambda x: x.sum(), name="total").defvjp(bad_x)
    with pytest.raises(RuntimeError, match=r"bad_x returned a share of shape \[\] for x, where"):
        total(x).backward()

    def square_x(x):
        return np.stack([x, x])

    square = tg.primitive(lambda x: x * x, name="square").defpartials(square_x)
    with pytest.raises(RuntimeError, match=r"square_x returned a partial of shape \[2, 3\] for x"):
        tg.autograd.grad(square(x).sum(), x, create_graph=True)
    with pytest.raises(TypeError, match="axis requires grad, and has no vjp"):
        logsum()(x, tg.tensor(1.0, requires_grad=True))


def test_defined_without_a_source_file():
    program = """
        import numpy as np, tapegrad as tg
        @tg.primitive
        def f(x):
            return x * x
        def df(x):
            return 2 * x
        f.defpartials(df)
        print(tg.testing.check_primitive(f, [1.0, 2.0]))
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "True"


def test_a_tuple_from_a_primitive_of_one_output():
    two = tg.primitive(lambda x: (x, x * 2), name="two").defvjp(lambda out_bar: out_bar)
    with pytest.raises(RuntimeError, match=r"a tuple of 2.*primitive\(outputs=2\)"):
        two(tg.ones(2))


def test_what_is_no_primitive_of_ones_own():
    with pytest.raises(TypeError, match="gradcheck checks any function"):
        check_primitive(tg.sin, [1.0])
