"""Threads that share work in machine code: every part is run once, whatever the others do."""

import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from numba import carray, types

import tapegrad as tg
from tapegrad import loading

if not loading.load_native():
    pytest.skip("there is no machine code here", allow_module_level=True)

from tapegrad.kernels import native, pool
from tapegrad.kernels.cache import source_cache


def _counted(begin: int, end: int, at: int) -> None:
    """Count each of a range of numbers; 5 microseconds for each."""
    counts = carray(native.pointer_to(at, types.int64(1)), 1)
    for i in range(begin, end):
        x = 1.0
        for k in range(1, 1000):
            x += k / x
        counts[i] += 1 if x > 0 else 0


def _signed(begin: int, end: int, at: int) -> None:
    """Write the thread's own number to each of a range; 5 microseconds for each."""
    marks = carray(native.pointer_to(at, types.int64(1)), 1)
    for i in range(begin, end):
        x = 1.0
        for k in range(1, 1000):
            x += k / x
        marks[i] = native.thread_identity() if x > 0 else 0


@functools.cache
def signed() -> int:
    signature = types.void(*[types.int64] * 3)
    compiled = native.compile_native(_signed, signature, source_cache("test-signed", _signed))
    native.keep_forever(compiled)
    return int(compiled.address)


@pytest.fixture(scope="module")
def counted() -> int:
    signature = types.void(*[types.int64] * 3)
    compiled = native.compile_native(_counted, signature, source_cache("test-pool", _counted))
    native.keep_forever(compiled)
    return compiled.address


@pytest.fixture(autouse=True)
def four_threads():
    before = tg.get_num_threads()
    tg.set_num_threads(4)
    yield
    tg.set_num_threads(before)


def run(code: int, count: int) -> np.ndarray:
    """How often each part of the work was done."""
    counts = np.zeros(count + 1, np.int64)
    pool.run_without_gil(code, count, counts.ctypes.data, 3)
    assert counts[count] == 0
    return counts[:count]


def running() -> int:
    """How many threads have been started."""
    return int(pool.pool()[pool.RUNNING])


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 16, 17, 100, 1000])
def test_all_is_done_once(counted, count):
    for _ in range(20):
        assert (run(counted, count) == 1).all()


def test_sequences_with_and_without_sleep(counted):
    random = np.random.default_rng(0)
    for _ in range(2000):
        count = int(random.integers(2, 40))
        assert (run(counted, count) == 1).all()
        if random.random() < 0.05:
            time.sleep(random.random() * 2e-3)


def takers(count: int, wanted: int) -> set[int]:
    """The numbers of the threads that take parts, until there are so many of them."""
    seen: set[int] = set()
    until = time.monotonic() + 60
    while len(seen) < wanted and time.monotonic() < until:
        marks = np.zeros(count, np.int64)
        pool.run_without_gil(signed(), marks.size, marks.ctypes.data, 3)
        assert marks.all()
        seen.update(marks.tolist())
    return seen


def test_threads_take_parts():
    assert len(takers(400, 4)) == 4
    assert running() >= 3
    assert threading.get_ident() in takers(400, 4)


def test_fewer_threads_than_there_are(counted):
    takers(400, 4)
    tg.set_num_threads(2)
    seen: set[int] = set()
    for _ in range(50):
        seen |= takers(400, 1)
    assert threading.get_ident() in seen
    assert len(seen) <= 2
    tg.set_num_threads(1)
    assert takers(400, 1) == {threading.get_ident()}
    assert (run(counted, 50) == 1).all()


def test_from_several_threads_at_once(counted):
    """One of them has the pool, the others do their work alone; the number is set meanwhile."""
    good = []

    def work() -> None:
        for i in range(200):
            good.append(bool((run(counted, 10 + i % 7) == 1).all()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(50):
        tg.set_num_threads(2 + i % 3)
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert good == [True] * 800


def test_number_of_threads(counted):
    assert tg.get_num_threads() == 4
    with pytest.raises(RuntimeError, match="expects a positive integer"):
        tg.set_num_threads(0)
    with pytest.raises(RuntimeError, match="expects an int, but got float"):
        tg.set_num_threads(2.0)
    assert tg.get_num_threads() == 4


@pytest.mark.skipif(not os.path.isfile("/proc/self/statm"), reason="no size of a process")
def test_threads_that_cannot_be_started():
    code = """
        import resource
        import tapegrad as tg
        tg.set_num_threads(1)
        tg.warmup()
        from tapegrad.kernels import pool
        x = tg.rand(300, 300)
        expected = x.numpy().dot(x.numpy())
        x @ x
        tg.set_num_threads(3)
        pages = int(open("/proc/self/statm").read().split()[0])
        room = pages * resource.getpagesize() + (2 << 20)  # less than a stack
        resource.setrlimit(resource.RLIMIT_AS, (room, -1))
        y = x @ x
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        (x @ x).sum()  # and doesn't try again
        assert abs(y.numpy() - expected).max() < 1e-3
        print(pool.pool()[[pool.RUNNING, pool.LIMIT]])
        tg.set_num_threads(3)
        assert abs((x @ x).numpy() - expected).max() < 1e-3
        print(pool.pool()[[pool.RUNNING, pool.LIMIT]])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=300, text=True
    )
    assert (done.stdout, done.stderr) == ("[0 0]\n[2 2]\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_after_fork(counted):
    run(counted, 100)
    go_on = True

    def work() -> None:
        while go_on:
            run(counted, 30)

    thread = threading.Thread(target=work)  # which may have the pool at that moment
    thread.start()
    codes = []
    for _ in range(10):
        child = os.fork()
        if not child:
            signal.alarm(30)
            good = running() == 0 and (run(counted, 100) == 1).all() and running() == 3
            os._exit(0 if good else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    go_on = False
    thread.join()
    assert codes == [0] * 10


@pytest.mark.parametrize(
    "end", ["", "os._exit(0)", "threading.Thread(target=forever, daemon=True).start()"]
)
def test_a_process_ends(end):
    code = f"""
        import os, threading
        import numpy as np
        import tapegrad as tg
        tg.set_num_threads(3)
        tg.warmup()
        x = tg.rand(300, 300, requires_grad=True)
        def forever():
            while True:
                (x @ x).sum().backward()
        (x @ x).sum().backward()
        {end}
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=300, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_rules_that_need_the_gil():
    """The thread that waits for others has it: a person's rule isn't run by them."""
    code = """
        import numpy as np
        import tapegrad as tg
        tg.set_num_threads(4)
        tg.warmup()

        @tg.primitive
        def cube(x):
            return x**3

        def cube_x(x):
            if x > 9:
                raise ValueError("too large")
            return 3 * x**2

        cube.defpartials(x=cube_x)
        for _ in range(20):
            x = tg.full((70_000,), 2.0, requires_grad=True)
            with tg.no_grad():
                x[::10] = 10.0
            cube(x).sum().backward()
            y = tg.ones(70_000, requires_grad=True)
            cube(y).sum().backward()
            assert (y.grad == 3).all()
        print("done")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=300, text=True
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "ValueError: too large" in done.stderr


def test_own_rules_are_shared():
    from tapegrad.kernels import compiled, loop
    from tapegrad.primitive import primitives

    foreign = [p for p in primitives if compiled._kind(p.code) == loop.FOREIGN]
    assert all(
        not (r.__module__ or "").startswith("tapegrad.") for p in foreign for r in p.rules if r
    )
    assert {"exp", "multiply", "where"}.isdisjoint(p.name for p in foreign)


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_gradients_are_those_of_one_thread(dtype):
    tg.manual_seed(0)
    x, w = tg.randn(200, 300, dtype=dtype), tg.randn(100, 300, dtype=dtype)
    q = tg.randn(40, 64, 30, dtype=dtype)
    found = []
    for count in (1, 2, 4):
        tg.set_num_threads(count)
        leaves = [v.clone().requires_grad_() for v in (x, w, q)]
        h = tg.nn.functional.gelu(tg.nn.functional.linear(leaves[0], leaves[1]))
        scores = leaves[2] @ leaves[2].transpose(1, 2)
        ((h * h).sum() + (scores * scores).sum() + tg.exp(-scores * scores).sum()).backward()
        found.append([v.grad.numpy() for v in leaves])
    eps = tg.finfo(dtype).eps
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert np.abs(other - one).max() < 10 * eps * np.abs(one).max()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_parameters_that_share_memory_are_updated_one_after_the_other(name):
    found = []
    for count in (1, 4):
        tg.set_num_threads(count)
        p = tg.nn.Parameter(tg.zeros(200_000))
        q = tg.nn.Parameter(p.data)
        optimizer = getattr(tg.optim, name)([p, q], lr=1.0)
        for _ in range(100):
            p.grad, q.grad = tg.ones(200_000), tg.ones(200_000)
            optimizer.step()
        found.append(p.tolist())
    assert found[0] == found[1]
    assert set(found[0]) == {found[0][0]}


@pytest.mark.parametrize("n", [1000, 100_000, 400_000])  # double precision: shared, and large
def test_what_has_an_order_is_not_shared(n):
    """Random numbers are drawn one after the other."""
    tg.set_num_threads(1)
    tg.manual_seed(0)
    one = tg.rand(n, dtype=tg.float64)
    tg.set_num_threads(4)
    for _ in range(5):
        tg.manual_seed(0)
        assert tg.equal(tg.rand(n, dtype=tg.float64), one)


def test_ctrl_c_amid_the_import_of_numba():
    """It comes afterwards: a module that was half imported could not be used any more."""
    code = """
        import _thread, sys, threading
        import tapegrad as tg

        def interrupt():
            while "numba.core.config" not in sys.modules:
                pass
            _thread.interrupt_main()

        threading.Thread(target=interrupt, daemon=True).start()
        try:
            tg.warmup()
        except KeyboardInterrupt:
            print("interrupted")
        x = tg.ones(10, requires_grad=True)
        (x * 2).sum().backward()
        print(tg.warmup(), x.grad.sum().item())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, timeout=300, text=True
    )
    assert (done.stdout, done.stderr) == ("interrupted\nTrue 20.0\n", "")
