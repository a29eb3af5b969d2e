"""utils.checkpoint, on tapegrad and on torch."""

import contextlib
import gc
import warnings
import weakref

import numpy as np
import pytest

import tapegrad

BOTH = pytest.mark.parametrize("reentrant", [False, True])


@pytest.fixture
def module(lib):
    return pytest.importorskip(f"{lib.__name__}.utils.checkpoint")


@pytest.fixture
def x(lib):
    return lib.tensor([1.0, 2.0], requires_grad=True)


def check(tensor, values):
    np.testing.assert_allclose(tensor.detach().numpy(), values, rtol=1e-5)


def f(x):
    return x.exp().sin() * x


def derivative(x):
    x = np.array(x)
    return np.cos(np.exp(x)) * np.exp(x) * x + np.sin(np.exp(x))


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


@BOTH
def test_gradients(lib, module, x, reentrant):
    function = Counted(f)
    y = module.checkpoint(function, x * 1, use_reentrant=reentrant)
    check(y, f(x).detach().numpy())
    y.sum().backward()
    check(x.grad, derivative([1, 2]))
    assert function.calls == 2


@BOTH
def test_several_and_other_arguments(lib, module, x, reentrant):
    y = lib.tensor([3.0, 4.0], requires_grad=True)

    def function(x, k, y, z):
        assert z is None
        return x * y * k, (x.exp() * y).sum()

    a, b = module.checkpoint(function, x, 2, y, None, use_reentrant=reentrant)
    (a.sum() + b).backward()
    check(x.grad, [6 + 3 * np.e, 8 + 4 * np.exp(2)])
    check(y.grad, [2 + np.e, 4 + np.exp(2)])


@BOTH
def test_parameters_outside(lib, module, x, reentrant):
    w = lib.tensor([3.0, 4.0], requires_grad=True)
    module.checkpoint(lambda x: (w * x).exp(), x, use_reentrant=reentrant).sum().backward()
    check(w.grad, [np.exp(3), 2 * np.exp(8)])


@BOTH
def test_random_numbers_are_the_same(lib, module, x, reentrant):
    lib.manual_seed(0)
    drawn = []

    def function(x):
        drawn.append(lib.rand(2))
        return (x * drawn[-1]).exp()

    y = module.checkpoint(function, x, use_reentrant=reentrant)
    following = lib.rand(1)
    state = lib.get_rng_state()
    y.sum().backward()
    assert drawn[0].equal(drawn[1])
    assert lib.get_rng_state().equal(state)
    lib.manual_seed(0)
    lib.rand(2)
    assert lib.rand(1).equal(following)
    y = module.checkpoint(function, x, use_reentrant=reentrant, preserve_rng_state=False)
    y.sum().backward()
    assert not drawn[2].equal(drawn[3])


@BOTH
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_nested(lib, module, x, reentrant):
    inner, outer = Counted(f), Counted(None)

    def function(x):
        return module.checkpoint(inner, x.sin(), use_reentrant=reentrant).cos()

    outer.function = function
    module.checkpoint(outer, x, use_reentrant=reentrant).sum().backward()
    expected = lib.autograd.grad(f(x.sin()).cos().sum(), x)[0]
    check(x.grad, expected.numpy())
    assert outer.calls == 2
    assert inner.calls in (2, 3)


@BOTH
def test_without_recording(lib, module, x, reentrant):
    with lib.no_grad():
        y = module.checkpoint(f, x, use_reentrant=reentrant)
    assert not y.requires_grad


@BOTH
def test_a_second_time(lib, module, x, reentrant):
    function = Counted(f)
    y = module.checkpoint(function, x, use_reentrant=reentrant).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert function.calls == 3
    check(x.grad, 2 * derivative([1, 2]))
    with pytest.raises(RuntimeError, match=r"backward through the graph a second time"):
        y.backward()


def test_keywords_and_grad(lib, module, x):
    y = module.checkpoint(lambda x, k=1: (x * k).exp(), x, k=2, use_reentrant=False)
    check(lib.autograd.grad(y.sum(), x)[0], 2 * np.exp([2, 4]))


def test_second_order(lib, module, x):
    y = module.checkpoint(lambda x: x.exp(), x, use_reentrant=False)
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    check(lib.autograd.grad(first.sum(), x)[0], np.exp([1, 2]))


def test_early_stop(lib, module, x):
    reached = []

    def function(x):
        y = x.exp()
        reached.append("saved")
        y = y + 1
        reached.append("end")
        return y

    module.checkpoint(function, x, use_reentrant=False).sum().backward()
    assert reached == ["saved", "end"]
    with module.set_checkpoint_early_stop(False):
        y = module.checkpoint(function, x, use_reentrant=False)
    y.sum().backward()
    assert reached[2:] == ["saved", "end"] * 2


def test_context_fn(lib, module, x):
    log = []

    @contextlib.contextmanager
    def context(name):
        log.append(name)
        yield

    contexts = lambda: (context("first"), context("second"))  # noqa: E731
    y = module.checkpoint(f, x, use_reentrant=False, context_fn=contexts)
    assert log == ["first"]
    y.sum().backward()
    assert log == ["first", "second"]


def test_a_function_that_does_something_else(lib, module, x):
    def changing(*functions):
        remaining = list(functions)
        return lambda x: remaining.pop(0)(x)

    fewer = changing(f, lambda x: x.exp())
    y = module.checkpoint(fewer, x, use_reentrant=False)
    with pytest.raises(module.CheckpointError, match=r"different number of tensors was saved"):
        y.sum().backward()
    larger = changing(lambda x: x.exp(), lambda x: lib.cat([x, x]).exp())
    y = module.checkpoint(larger, x, use_reentrant=False)
    with pytest.raises(module.CheckpointError, match=r"different metadata than during the forw"):
        y.sum().backward()
    other = changing(lambda x: x.exp(), lambda x: x.double().exp())
    y = module.checkpoint(other, x, use_reentrant=False, determinism_check="none")
    y.sum().backward()


def test_reentrant_and_grad(lib, module, x):
    y = module.checkpoint(f, x, use_reentrant=True)
    with pytest.raises(RuntimeError, match=r"use_reentrant=True, .* is incompatible with .grad"):
        lib.autograd.grad(y.sum(), x)
    with pytest.raises(RuntimeError, match=r"none of output has requires_grad=True"):
        module.checkpoint(lambda x: x.detach() * 1, x, use_reentrant=True).sum().backward()


def test_arguments_of_checkpoint(lib, module, x):
    with pytest.warns(UserWarning, match=r"use_reentrant parameter should be passed explicitly"):
        module.checkpoint(f, x)
    with pytest.warns(UserWarning, match=r"None of the inputs have requires_grad=True"):
        module.checkpoint(f, x.detach(), use_reentrant=True)
    with pytest.raises(ValueError, match=r"Unexpected keyword arguments: k"):
        module.checkpoint(f, x, k=1, use_reentrant=True)
    with pytest.raises(ValueError, match=r"`context_fn` or `debug` is only supported when"):
        module.checkpoint(f, x, use_reentrant=True, debug=True)
    with pytest.raises(ValueError, match=r"one of .'default', 'none'., but got often"):
        module.checkpoint(f, x, use_reentrant=False, determinism_check="often")


@BOTH
def test_checkpoint_sequential(lib, module, x, reentrant):
    functions = [Counted(g) for g in (lib.exp, lib.sin, lib.cos, lib.tanh, lib.exp)]
    y = module.checkpoint_sequential(functions, 2, x, use_reentrant=reentrant)
    y.sum().backward()
    expected = lib.autograd.grad(x.exp().sin().cos().tanh().exp().sum(), x)[0]
    check(x.grad, expected.numpy())
    assert [g.calls for g in functions[2:]] == [1, 1, 1]
    assert functions[0].calls == 2


def test_the_memory_is_freed():
    checkpoint = tapegrad.utils.checkpoint.checkpoint
    x = tapegrad.ones(1000, requires_grad=True)
    alive = []

    def function(x):
        y = x.exp()
        alive.append(weakref.ref(y._array))
        return y.sin()

    y = x
    for _ in range(4):
        y = checkpoint(function, y, use_reentrant=False)
    gc.collect()
    assert [ref() for ref in alive] == [None] * 4
    held = []
    y.register_hook(lambda grad: None)
    x.register_hook(lambda grad: held.append(sum(ref() is not None for ref in alive)))
    with warnings.catch_warnings():
        y.sum().backward()
    assert held[0] <= 1
