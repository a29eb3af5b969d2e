"""Machine code under stress: threads, the collector, failing calls, odd memory, changed data."""

from __future__ import annotations

import gc
import inspect
import subprocess
import sys
import textwrap
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad import loading
from tapegrad.kernels import loop
from tapegrad.kernels.run import _idle
from tapegrad.primitive import Primitive, structural
from tapegrad.recording import apply
from tapegrad.shortpaths import short_paths
from tapegrad.tape import tape
from tapegrad.tensor import from_array

pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="the native loop can't be used here"
)


def both_walks(function):
    """What a function gives, its replays run natively and in Python."""
    results = []
    loaded = loading.native.loaded
    for native in (True, False):
        loading.native.loaded = native
        try:
            results.append(function())
        finally:
            loading.native.loaded = loaded
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


# -- what runs in the middle of machine code -------------------------------------------------------


def test_freed_arrays_whose_callbacks_look_at_the_tape():
    x = tg.ones(2, requires_grad=True)
    seen = []

    def callback(kept):
        try:
            tape.sweep(full=True)
            seen.append((kept * 2).sum().requires_grad)
            kept.sum().backward(retain_graph=True)
            tape.reset_to(tape.position())
        except RuntimeError as error:
            seen.append(str(error))

    kept = x * 3
    for _ in range(20):
        y = (x * 2).exp()
        weakref.finalize(y._array, callback, kept)
        z = y * kept
        del y, z
    tape.sweep(full=True)
    assert len([s for s in seen if s is True]) == 20
    assert all(None not in (r[0], r[1]) and r[0] > 0 for r in tape.records)
    assert x.grad.tolist() == [60, 60]


def test_released_values_whose_callbacks_replay_the_record():
    x = tg.ones(2, requires_grad=True)
    y = x.exp()
    total = (y * x * y).sum()  # a callback runs in whatever mode the replay has set
    seen = []

    def callback():
        try:
            total.backward()
        except RuntimeError as error:
            seen.append("second time" in str(error))

    weakref.finalize(y._array, callback)
    y = y._place  # the records alone have the array
    total.backward()
    del y
    assert seen == [True]
    np.testing.assert_allclose(x.grad.numpy(), [3 * np.e**2] * 2, rtol=1e-6)


@contextmanager
def collecting_always():
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def test_the_collector_runs_at_every_step():
    class Cycle:
        """Garbage whose end uses the tape."""

        def __init__(self, x):
            self.x, self.me = x, self

        def __del__(self):
            (self.x * self.x).sum().backward()

    x = tg.full((3,), 2.0, dtype=tg.float64, requires_grad=True)
    other = tg.ones(3, dtype=tg.float64, requires_grad=True)
    with collecting_always():
        for _ in range(50):
            Cycle(other)
            y = x
            for _ in range(5):
                y = y * x + 0.25
            y.reshape(3, 1).sum().backward()
    gc.collect()
    assert other.grad.tolist() == [100] * 3
    x2 = np.full(3, 2.0)
    expected = 6 * x2**5 + 0.25 * (4 * x2**3 + 3 * x2**2 + 2 * x2 + 1)
    np.testing.assert_allclose(x.grad.numpy(), 50 * expected, rtol=1e-12)


class Interrupt(BaseException):
    """As KeyboardInterrupt, which nobody expects either."""


def interrupted(work, k):
    """Run ``work`` with an exception at the k-th place where a signal's could come; whether it did.

    Python looks for signals where a function of its own begins, and after a function in C.
    """
    places = 0

    def look(frame, event, arg):
        nonlocal places
        if event in ("call", "c_return"):
            places += 1
            if places == k:
                sys.setprofile(None)
                raise Interrupt

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        work()
    except Interrupt:
        pass
    finally:
        sys.setprofile(before)
    return places >= k


def test_a_replay_in_python_slows_no_later_one():
    x = tg.ones(1 << 19, requires_grad=True)
    (x.tanh() * x).sum().backward()  # Python adds the shares of large leaves
    assert _idle
    for walk in _idle:
        assert walk.state[loop.SHARED] or not walk._alone  # or no leaf gets its array natively


REPLAYS = {
    "of a number": lambda y: y.sum().backward(),
    "with steps in Python": lambda y: tg.fft.fft(y).abs().sum().backward(),
    "of several": lambda y: y.backward(tg.ones(4, dtype=tg.float64)),
    "of targets": lambda y: tg.autograd.grad(y.sum(), y),
    "create_graph": lambda y: tg.autograd.grad(y.sum(), y, create_graph=True),
}


@pytest.mark.parametrize("hooks", [False, True], ids=["", "with hooks"])
@pytest.mark.parametrize("name", REPLAYS)
def test_an_interrupt_anywhere(name, hooks):
    x = tg.linspace(0.5, 1.5, 4, dtype=tg.float64).requires_grad_()
    if hooks:
        x.register_hook(lambda bar: bar * 1)
        position = tape.position()  # all see that this thread doesn't record

    def work():
        REPLAYS[name]((x * x).exp() * x)

    work()  # what is imported or compiled at first is interrupted elsewhere
    for k in range(1, 10_000):
        came = interrupted(work, k)
        assert not tape.replays  # or nothing would ever be swept again
        assert tg.is_grad_enabled()
        assert (x * 2).requires_grad
        if not came:
            break
    assert k > 20
    if hooks:
        del position
    x.grad = None
    ((x * x).exp() * x).sum().backward()
    y = x.detach().numpy()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(y * y) * (1 + 2 * y * y), rtol=1e-12)


# -- references, on every path ---------------------------------------------------------------------


class Failing:
    """Primitives whose forward functions raise."""

    def __init__(self, error):
        def forward(x, y):
            raise error("on purpose")

        def rule(out_bar):
            return out_bar

        self.primitive = structural("failing", forward, rule, rule)

    def __call__(self, x):
        with pytest.raises(BaseException, match="on purpose"):
            self.primitive(x, x)


def raising(error, work):
    with pytest.raises(error):
        work()


def quiet(x):
    with np.errstate(all="raise"):
        (x * 1e308).sum()
        (x * 1e308).mean()


PATHS = {
    "unary": lambda x: x.exp(),
    "binary": lambda x: x * x,
    "number": lambda x: x * 1.25 + 3,
    "reflected": lambda x: 1.5 / x,
    "zero": lambda x: x + 0.0,
    "no_grad": tg.no_grad()(lambda x: (x * x).sum()),
    "inference": tg.inference_mode()(lambda x: (x * x).sum()),
    "view": lambda x: x.reshape(3, 4) * 2,
    "structural": lambda x: x.reshape(3, 4).sum(0).mean(),
    "refused": lambda x: raising(RuntimeError, lambda: x.reshape(5)),
    "mismatch": lambda x: raising(RuntimeError, lambda: x * x[:5]),
    "misuse": lambda x: raising(TypeError, lambda: x.mul()),
    "failing": Failing(ValueError),
    "interrupted": Failing(KeyboardInterrupt),
    "raising": quiet,
    "expanded": lambda x: (x[:1].expand(12) * x).sum().backward(),
    "backward": lambda x: ((x * x).exp() / 3).sum().backward(),
    "retained": lambda x: (x * x).sum().backward(retain_graph=True),
    "grad": lambda x: tg.autograd.grad((x * x).sum(), x),
    "twice": lambda x: tg.autograd.grad((x * x).sum(), x, create_graph=True),
}


@pytest.mark.parametrize("name", PATHS)
def test_references_balance(name):
    work = PATHS[name]
    x = tg.linspace(0.5, 1.5, 12, dtype=tg.float64).requires_grad_()
    x.grad = tg.zeros(12, dtype=tg.float64)
    spec = x._spec
    held = [x._array, x._place, x.grad._array, spec, spec.number, spec.shape, tg.Tensor, 1.25]

    def counts():
        tape.sweep(full=True)
        gc.collect()
        return [*map(sys.getrefcount, held), len(tape.records), len(gc.get_objects())]

    for _ in range(10):
        work(x)
    before = counts()
    for _ in range(60):
        work(x)
    for a, b in zip(before, counts(), strict=True):
        assert abs(a - b) < 30


def test_memory_that_runs_out():
    """Whatever allocation fails, a MemoryError comes of it, and afterwards all is as before."""
    code = """
        import ctypes
        import sys
        from contextlib import contextmanager
        import numpy as np
        try:
            from _testcapi import remove_mem_hooks, set_nomemory
        except ImportError:
            sys.exit()
        import tapegrad as tg
        from tapegrad import loading
        from tapegrad.kernels.compiled import compiled
        from tapegrad.primitive import structural
        assert loading.load_native()
        x = tg.rand(3, dtype=tg.float64, requires_grad=True)
        for k in range(256):
            x * (k + 0.5)  # from here on numbers are made arrays each time
        ones = tg.ones(3, dtype=tg.float64)

        def rule(out_bar):
            return out_bar

        # NumPy's own functions don't all fail well.
        copy = structural("copied", lambda x: x.copy(), rule)
        view = structural("seen", lambda x, a: x[:], rule, view=True)
        works = [
            lambda: x * x,
            lambda: x.exp(),
            lambda: x * 1234.5,
            lambda: copy(x),
            lambda: view(x, 1000),
        ]
        for work in works:
            work()
        failures = 0

        @contextmanager
        def failing(start):
            global failures
            set_nomemory(start, start + 1)
            try:
                yield
            except MemoryError:
                failures += 1
            finally:
                remove_mem_hooks()

        for work in works:
            for start in range(60):
                with failing(start):
                    work()
        # An array, a Tensor, a record: how many more there are depends on what is used again.
        assert failures >= 3 * len(works), failures

        # Of a replay the loop alone: Python and ctypes don't all fail well.
        def short_of_memory(address):
            set_nomemory(start, start + 1)
            try:
                return loop(address)
            finally:
                remove_mem_hooks()

        code = compiled()
        loop = code.loop
        failures = 0
        for start in range(20):
            x.grad = None
            z = (x * x).exp() * x
            code.loop = short_of_memory
            try:
                z.backward(ones, retain_graph=True)
            except (MemoryError, ctypes.ArgumentError):
                failures += 1
            finally:
                code.loop = loop
        assert failures > 2, failures
        assert not tg.tape.replays
        x.grad = None
        (x * x).sum().backward()
        assert np.array_equal(x.grad.numpy(), 2 * x.detach().numpy())
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr[-3000:]


# -- memory of all kinds ---------------------------------------------------------------------------

NUMBER = [2.0, 3, -0.0, 0.0, float("inf"), float("nan"), 1e300, 10**20, True, np.float64(0.5)]


@contextmanager
def in_python():
    """No machine code: neither for operators nor for `apply` nor for replays."""
    native = {path: inspect.getclosurevars(f).nonlocals["run"] for f, path in short_paths.items()}
    loaded, apply_natively = loading.native.loaded, Primitive.apply
    try:
        loading.native.loaded = False
        Primitive.apply = staticmethod(apply)
        for path in native:
            path.become(path.short)
        yield
    finally:
        loading.native.loaded = loaded
        Primitive.apply = staticmethod(apply_natively)
        for path, function in native.items():
            path.become(function)


#: The functions that call machine code, or what stands in for it: methods call it directly.
CALLS = {path.primitive.name: f for f, path in short_paths.items() if not path.swapped}


def memory(rng, shape, dtype, kind):
    """An array of a shape in memory of some kind."""
    whole = rng.uniform(0.5, 1.5, (*shape, 3)).astype(dtype)
    if kind == "reversed":
        return whole[..., 0][tuple(slice(None, None, -1) for _ in shape)]
    if kind == "strided":
        return whole[..., 1]
    if kind == "fortran":
        return np.asfortranarray(whole[..., 2])
    if kind == "expanded":
        return np.broadcast_to(whole[..., 0].ravel()[:1].reshape((1,) * len(shape)), shape)
    if kind == "odd":
        return np.lib.stride_tricks.as_strided(
            np.ascontiguousarray(whole[..., 0]),
            shape,
            [s if n > 1 else 7 * s + 8 for n, s in zip(shape, whole[..., 0].copy().strides)],
        )
    return np.ascontiguousarray(whole[..., 0])


@given(st.data())
def test_any_memory(data):
    """Machine code and Python agree on values, gradients and their shapes, for any memory."""
    shape = data.draw(st.sampled_from([(), (1,), (5,), (2, 3), (3, 1), (1, 4, 1), (2, 1, 3)]))
    kinds = st.sampled_from(["plain", "reversed", "strided", "fortran", "expanded", "odd"])
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    arrays = [memory(rng, shape, dtype, data.draw(kinds)) for _ in range(2)]
    number = data.draw(st.sampled_from(NUMBER))
    mul, add, sub, div, tanh = (CALLS[name] for name in ("mul", "add", "sub", "div", "tanh"))

    def run():
        x, y = (from_array(np.asarray(a), requires_grad=True) for a in arrays)
        z = sub(add(tanh(mul(x, y)), x), div(y, 2))
        w = add(mul(mul(z, number), x).sum(), mul(z.reshape(-1).mean(), y.sum()))
        w.backward()
        return [a.numpy() for a in (w.detach(), x.grad, y.grad, z.detach())]

    natively = run()
    with in_python():
        python = run()
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for a, b in zip(natively, python, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
