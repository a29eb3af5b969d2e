"""Machine code under stress: threads, the collector, failing calls, odd memory, changed data."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import replay
from tapegrad.primitive import structural
from tapegrad.tape import tape

pytestmark = pytest.mark.skipif(
    not replay.load_native(), reason="the native loop can't be used here"
)


def both_walks(function):
    """What a function gives, its replays run natively and in Python."""
    results = []
    loaded = replay.native.loaded
    for native in (True, False):
        replay.native.loaded = native
        try:
            results.append(function())
        finally:
            replay.native.loaded = loaded
    return results


# -- data that was changed between its use and backward --------------------------------------------


def shrunk_leaf():
    x = tg.ones(20_000, requires_grad=True)
    y = x * 3
    x.data = tg.ones(2)
    y.backward(tg.ones(20_000))


def turned_leaf():
    x = tg.ones(2, 3, requires_grad=True)
    y = x * 3
    with tg.no_grad():
        x.t_()
    y.sum().backward()


def shrunk_value():
    x = tg.ones(4, requires_grad=True)
    y = x * 3
    y.data = tg.ones(2)
    (y * 2).sum().backward()


def shrunk_root():
    x = tg.ones(20_000, requires_grad=True)
    y = x * 3
    y.data = tg.ones(2)
    y.backward(tg.ones(2))


def grown_value():
    x = tg.ones(4, requires_grad=True)
    y = x * 3
    y.data = tg.ones(20_000)
    y.sum().backward()


def reshaped_value():
    x = tg.ones(4, requires_grad=True)
    y = x * 3
    y.data = tg.ones(20_000)
    (y.reshape(200, 100) * 1.5).sum().backward()


@pytest.mark.parametrize(
    "work", [shrunk_leaf, turned_leaf, shrunk_value, shrunk_root, grown_value, reshaped_value]
)
def test_a_gradient_of_another_shape_than_its_value_is_refused(work):
    def message():
        with pytest.raises(RuntimeError, match="gradient of shape") as error:
            work()
        return str(error.value)

    native, python = both_walks(message)
    assert native == python


def test_a_leaf_given_data_of_another_dtype_has_a_gradient_of_that_dtype():
    def gradient():
        x = tg.ones(3, dtype=tg.float64, requires_grad=True)
        y = x * 3
        x.data = tg.ones(3)
        y.sum().backward()
        return x.grad.dtype, x.grad._array.dtype, x.grad.tolist()

    native, python = both_walks(gradient)
    assert native == python == (tg.float32, np.float32, [3, 3, 3])


def test_a_rule_that_gives_another_shape_is_an_error():
    def rule(out_bar):
        return np.ones(3)

    wrong = structural("wrong_shape", lambda x: x * 1, rule)
    x = tg.ones(20_000, dtype=tg.float64, requires_grad=True)
    y = wrong(x * 2) * 3
    with pytest.raises(RuntimeError, match="gradient of shape"):
        y.sum().backward()


# -- threads ---------------------------------------------------------------------------------------


@contextmanager
def switching(interval=1e-6):
    before = sys.getswitchinterval()
    sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def in_threads(count, work):
    errors = []

    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    with switching():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def test_threads_that_bring_new_shapes():
    def work(number):
        for k in range(100):
            x = tg.full((7 + number, 1 + k % 90), 2.0, requires_grad=True)
            ((x * x).sin() * x + 1.5).sum().backward()
            y = x.detach()
            expected = 2 * y * y * (y * y).cos() + (y * y).sin()
            assert x.grad.shape == x.shape
            np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)

    in_threads(4, work)


def test_threads_record_replay_and_sweep_in_all_modes():
    shared = tg.full((5,), 0.5, dtype=tg.float64)

    def work(number):
        x = tg.full((5,), 0.3 + number, dtype=tg.float64, requires_grad=True)
        for k in range(60):
            y = x
            for _ in range(10):
                y = y * shared + x
            with tg.no_grad():
                assert not (y * x).requires_grad
            assert (y * x).requires_grad
            if k % 10 == number:
                tape.sweep(full=True)
            x.grad = None
            y.sum().backward()
            np.testing.assert_allclose(x.grad.numpy(), np.full(5, 2.0 - 0.5**10), rtol=1e-12)

    in_threads(4, work)


def test_hooks_run_on_records_appended_out_of_order():
    x = tg.ones(3, requires_grad=True)
    a = x * 2
    b = x * 3
    # As two threads leave it of which the first was stopped between counting and appending.
    tape.records[-2:] = tape.records[:-3:-1]
    seen = []
    a.register_hook(lambda g: seen.append("a"))
    b.register_hook(lambda g: seen.append("b"))
    (a * b).sum().backward()
    assert sorted(seen) == ["a", "b"]
    assert x.grad.tolist() == [12, 12, 12]
