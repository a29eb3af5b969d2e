"""The tape: lifetimes, sweeps, positions, threads, long chains."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import weakref

import numpy as np
import pytest

from tapegrad import loading
from tapegrad.autograd import backward, grad
from tapegrad.modes import no_grad, switch
from tapegrad.tape import RELEASED, tape
from tapegrad.tensor import from_array


def leaf(*shape, value=1.01):
    return from_array(np.full(shape, value), requires_grad=True)


def own_records(before):
    return [r for r in tape.records if r[0] > before]


def test_one_operation_adds_one_record():
    x, y = leaf(3), leaf(3)
    before = tape.next_serial()
    z = x * y
    assert len(own_records(before)) == 1
    (record,) = own_records(before)
    assert record[0] is z._place
    assert record[4] is x._place
    assert record[5] is y._place


def test_a_record_saves_only_what_its_rules_need():
    x, c = leaf(3), from_array(np.ones(3))
    before = tape.next_serial()
    kept = [x + c, x * c]
    add, mul = own_records(before)
    assert add[6:] == (None, None, None)
    assert mul[6] is None
    assert mul[7] is c._array
    assert mul[8] is None
    del kept


def test_nothing_is_recorded_without_need():
    c = from_array(np.ones(3))
    x = leaf(3)
    before = tape.next_serial()
    with no_grad():
        y = x * c
    assert not y.requires_grad
    assert not (c * c).requires_grad
    assert own_records(before) == []


def test_sweep_drops_what_nothing_depends_on():
    x = leaf(3)
    tape.sweep(full=True)
    before = len(tape.records)
    y = x
    for _ in range(100):
        y = y * x
    assert len(tape.records) == before + 100
    tape.sweep(full=True)
    assert len(tape.records) == before + 100
    del y
    tape.sweep(full=True)
    assert len(tape.records) == before


def test_sweep_keeps_the_history_of_each_result():
    x = leaf(3)
    tape.sweep(full=True)
    before = len(tape.records)
    losses = []
    for _ in range(10):
        h = x * 2.0
        losses.append(h * x)
        h * 3.0  # a value that nobody keeps
    tape.sweep(full=True)
    assert len(tape.records) == before + 20
    losses[3].sum()
    backward(losses[3], from_array(np.ones(3)))
    np.testing.assert_allclose(x.grad._array, 4 * x._array)


def test_replay_after_a_sweep_removed_records_from_the_middle():
    x = leaf(10)
    kept, y = [], x
    for i in range(400):
        y = y * 1.001
        if i % 7 == 0:
            kept.append(y * x)
        dead = y * 5.0
        dead = dead * dead
    del dead
    tape.sweep(full=True)
    backward(kept[-1], from_array(np.ones(10)))
    count = 7 * (len(kept) - 1) + 1
    np.testing.assert_allclose(x.grad._array, 2 * x._array * 1.001**count, rtol=1e-12)


@pytest.mark.parametrize("native", [False, True])
def test_evaluation_without_no_grad_does_not_grow(native):
    if native and not loading.load_native():
        pytest.skip("no native loop here")
    weights = [leaf(8) for _ in range(10)]
    x = from_array(np.ones(8))
    tape.sweep(full=True)
    before = len(tape.records)
    most = 0
    for _ in range(2_500):
        h = x
        for w in weights:
            h = h * w
        most = max(most, len(tape.records))
    assert most - before < 30_000
    del h
    tape.sweep(full=True)
    assert len(tape.records) == before


def test_large_arrays_are_swept_by_their_bytes():
    w = leaf(1 << 20)
    tape.sweep(full=True)
    seen = []
    for _ in range(40):
        y = w * w
        seen.append(weakref.ref(y._array))
    assert sum(1 for r in seen if r() is not None) < 16


def test_backward_frees_saved_values_at_once():
    x = leaf(5)
    h = x * 2.0
    y = h * h
    saved = weakref.ref(h._array)
    out_place = y._place
    del h
    assert saved() is not None
    backward(y, from_array(np.ones(5)))
    assert saved() is None
    assert tape.record(out_place)[-1] is RELEASED


def test_second_backward_raises_only_where_something_was_saved():
    x = leaf(3)
    y = (x + x).sum()
    backward(y)
    backward(y)
    np.testing.assert_array_equal(x.grad._array, [4, 4, 4])
    z = (x * x).sum()
    backward(z)
    before = x.grad._array.copy()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        backward(z)
    np.testing.assert_array_equal(x.grad._array, before)


@pytest.mark.parametrize("count", [1, 30, 3000])
def test_gradients_never_share_memory(count):
    x, y = leaf(4), leaf(4)
    z = x + y
    for _ in range(count - 1):
        z = z + 0.0
    g = from_array(np.ones(4))
    backward(z, g)
    g._array[...] = 7
    np.testing.assert_array_equal(x.grad._array, np.ones(4))
    np.testing.assert_array_equal(y.grad._array, np.ones(4))
    assert not np.shares_memory(x.grad._array, y.grad._array)
    w = leaf(4)
    backward(w + w, g)
    np.testing.assert_array_equal(w.grad._array, [14] * 4)
    v = leaf(4)
    backward(v * v, from_array(np.ones(4)))
    np.testing.assert_allclose(v.grad._array, 2 * v._array)


def test_a_position_is_watched_as_long_as_it_lives():
    assert not switch.watched
    position = tape.position()
    assert switch.watched
    with pytest.raises(TypeError, match=r"takes what tape.position\(\) gave, not int"):
        tape.reset_to(int(position))
    del position
    assert not switch.watched


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_gets_the_tape_from_the_middle_of_others_work():
    program = """
import os, threading
import tapegrad as tg
from tapegrad.tape import tape
x = tg.ones(3, requires_grad=True)
go = True
def record():
    while go:
        y = x
        for _ in range(50):
            y = y * 1.01
        y.sum().backward()
        tape.sweep(full=True)
threads = [threading.Thread(target=record) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for _ in range(20):
    child = os.fork()
    if not child:
        z = tg.ones(2, requires_grad=True)
        (z * z).sum().backward()
        tape.sweep(full=True)
        os._exit(0 if z.grad.tolist() == [2, 2] and not tape.replays else 1)
    codes.append(os.waitpid(child, 0)[1])
go = False
for thread in threads:
    thread.join()
print(set(codes))
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "{0}", run.stderr


def test_positions():
    x = leaf(3)
    y = x * x
    position = tape.position()
    z = y * x
    records = len(tape.records)
    tape.reset_to(position)
    assert len(tape.records) == records - 1
    with pytest.raises(RuntimeError, match="reset_to"):
        backward(z, from_array(np.ones(3)))
    with pytest.raises(RuntimeError, match="reset_to"):
        grad(z * 2.0, x, from_array(np.ones(3)))
    backward(y, from_array(np.ones(3)))
    np.testing.assert_allclose(x.grad._array, 2 * x._array)


def test_a_position_that_is_gone_slows_nothing_down():
    watchers = switch.watchers
    position = tape.position()
    assert switch.watchers == watchers + 1
    leaf(3) * 2.0
    tape.reset_to(position)
    del position
    assert switch.watchers == watchers


def test_reset_leaves_other_threads_alone():
    x = leaf(3)
    position = tape.position()
    made = []
    thread = threading.Thread(target=lambda: made.append(x * 2.0))
    thread.start()
    thread.join()
    mine = x * 3.0
    tape.reset_to(position)
    backward(made[0], from_array(np.ones(3)))
    np.testing.assert_array_equal(x.grad._array, [2, 2, 2])
    with pytest.raises(RuntimeError, match="reset_to"):
        backward(mine, from_array(np.ones(3)))


@pytest.fixture(autouse=True)
def alone():
    """Each test counts its own records: those of earlier tests' garbage are gone before it."""
    gc.collect()
    tape.sweep(full=True)


def test_stats():
    x = leaf(1000)
    tape.sweep(full=True)
    before = tape.stats()
    y = (x * x).sum()
    after = tape.stats()
    assert after.records == before.records + 2
    assert after.by_operator["mul"] == before.by_operator.get("mul", 0) + 1
    assert after.saved_bytes == before.saved_bytes + 8000
    assert after.dead == before.dead
    del y
    assert tape.stats().dead == before.dead + 2


def chain(x, length):
    y = x
    for _ in range(length):
        y = y * 1.0000001
    return y


def test_a_million_records():
    x = leaf(4)
    y = chain(x, 1_000_000)
    backward(y, from_array(np.ones(4)))
    np.testing.assert_allclose(x.grad._array, np.exp(0.1) * np.ones(4), rtol=1e-5)
    place = int(str(y._place))  # the number, not the object that keeps the record alive
    del y
    tape.sweep(full=True)
    assert tape.record(place) is None


def test_threads_get_the_gradients_of_one():
    def work(seed):
        rng = np.random.default_rng(seed)
        results = []
        for _ in range(400):
            x = from_array(rng.uniform(0.5, 1.5, 3), requires_grad=True)
            y = x
            for c in rng.uniform(0.9, 1.1, rng.integers(1, 25)):
                y = y * float(c) + x
            backward(y.sum())
            results.append(x.grad._array)
        return results

    # From here on every replay may be run by the native loop or in Python: the bits are the same.
    expected = [work(seed) for seed in range(8)]
    found = [None] * 8
    errors = []

    def run(seed):
        try:
            found[seed] = work(seed)
        except BaseException as error:
            errors.append(error)
            raise

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(interval)
    assert not errors
    for a, b in zip(expected, found, strict=True):
        for g, h in zip(a, b, strict=True):
            np.testing.assert_array_equal(g, h)


def test_the_collector_has_nothing_to_follow():
    x = leaf(4)
    y = chain(x, 2000)
    gc.collect()
    assert not any(gc.is_tracked(record) for record in own_records(0)[-2000:])
    del y


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


INTERRUPTED = """
    import _thread, threading, time
    import numpy as np
    from tapegrad import loading
    from tapegrad.autograd import backward
    from tapegrad.tape import tape
    from tapegrad.tensor import from_array
    {prepare}
    x = from_array(np.ones(200), requires_grad=True)
    y = x
    for _ in range({length}):
        y = y * 1.0000001
    other = []
    def tick():
        for _ in range(20):
            time.sleep(0.005)
            other.append(time.perf_counter())
    ticker = threading.Thread(target=tick)
    def interrupt():
        time.sleep(0.06)
        interrupt.at = time.perf_counter()
        _thread.interrupt_main()
    threading.Thread(target=interrupt).start()
    ticker.start()
    try:
        while True:
            backward(y, from_array(np.ones(200)), retain_graph=True)
    except KeyboardInterrupt:
        late = time.perf_counter() - interrupt.at
    print("late", late, "ticks", len(other))
    x.grad = None
    backward(y, from_array(np.ones(200)))
    np.testing.assert_allclose(x.grad._array, 1.0000001 ** {length} * np.ones(200))
    z = (x * x).sum()
    x.grad = None
    backward(z)
    np.testing.assert_allclose(x.grad._array, 2 * np.ones(200))
    print("usable")
"""


@pytest.mark.parametrize("native", [False, True])
def test_an_interrupt_leaves_the_tape_usable(native):
    prepare = "assert loading.load_native()" if native else "loading.native.loaded = False"
    length = 500_000 if native else 20_000
    result = run_python(INTERRUPTED.format(prepare=prepare, length=length))
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    assert "usable" in words
    assert float(words[1]) < 2, "an interrupt should end a replay within some milliseconds"
    assert int(words[3]) >= 1, "other threads should run during a replay"


def test_an_exception_amid_forward_leaves_the_tape_usable():
    x, wrong = leaf(3), leaf(4)
    before = tape.next_serial()
    with pytest.raises(RuntimeError, match="must match the size"):
        x * wrong
    assert own_records(before) == []
    backward((x * x).sum())
    np.testing.assert_allclose(x.grad._array, 2 * x._array)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork():
    result = run_python(
        """
        import os, numpy as np
        from tapegrad import loading
        from tapegrad.autograd import backward
        from tapegrad.tensor import from_array
        loading.load_native()
        x = from_array(np.ones(3), requires_grad=True)
        y = x
        for _ in range(100):
            y = y * 1.5
        pid = os.fork()
        backward(y, from_array(np.ones(3)))
        assert np.allclose(x.grad._array, 1.5 ** 100)
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
        else:
            os._exit(0)
        """
    )
    assert result.returncode == 0, result.stderr


AMID_LOADING = """
    import os, threading
    import tapegrad as tg
    from tapegrad.loading import LOAD_AFTER, load_native, native

    amid, go_on = threading.Event(), threading.Event()

    def hold():
        amid.set()
        assert go_on.wait(60)
        assert not tg.warmup()  # which doesn't begin again

    native.when_loaded.append(hold)
    warm = []
    threads = [threading.Thread(target=lambda: warm.append(tg.warmup())) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert amid.wait(60)
    x = tg.ones(3, requires_grad=True)
    native.replayed = LOAD_AFTER
    (2 * x).sum().backward()  # which goes on in Python meanwhile
    assert x.grad.tolist() == [2, 2, 2]
    assert native.loaded is None and not load_native(wait=False) and not warm
    if hasattr(os, "fork"):
        child = os.fork()
        if not child:
            (2 * x).sum().backward()
            os._exit(0 if x.grad.tolist() == [4, 4, 4] and not tg.warmup() else 1)
        assert os.waitpid(child, 0)[1] == 0
    go_on.set()
    for thread in threads:
        thread.join()
    assert warm == [True] * 3
"""


def test_whoever_asks_for_machine_code_waits_for_the_thread_that_loads_it():
    result = run_python(AMID_LOADING)
    assert result.returncode == 0, result.stderr


def test_an_interrupted_load_begins_again():
    result = run_python(
        """
        import tapegrad as tg
        from tapegrad.loading import native

        def interrupt():
            native.when_loaded.remove(interrupt)
            raise KeyboardInterrupt

        native.when_loaded.append(interrupt)
        try:
            tg.warmup()
            raise AssertionError("should be interrupted")
        except KeyboardInterrupt:
            assert native.loaded is None
        assert tg.warmup()
        x = tg.ones(3, requires_grad=True)
        (2 * x).sum().backward()
        assert x.grad.tolist() == [2, 2, 2]
        """
    )
    assert result.returncode == 0, result.stderr


def test_results_pickle_as_leaves():
    x = leaf(3)
    backward((x * x).sum())
    again = pickle.loads(pickle.dumps(x))
    assert again.requires_grad
    np.testing.assert_array_equal(again._array, x._array)
    np.testing.assert_array_equal(again.grad._array, x.grad._array)
    again = pickle.loads(pickle.dumps(x * 2.0))
    assert again.is_leaf
    assert again.requires_grad


def test_sums_of_adjoints_are_quiet():
    x = leaf(100_000)
    with np.errstate(all="raise"):
        total = x * np.inf + x * -np.inf + x * 1.0
        backward(total, from_array(np.ones(100_000)))
    assert np.isnan(x.grad._array).all()


def test_the_history_of_a_leaf_is_the_leaf():
    x = leaf(3)
    assert str(tape.history(x)).split() == ["x1", ":", "float64[3]", "leaf"]
    assert tape.history(x, x * 2.0).count("leaf") == 1
    with pytest.raises(TypeError, match="takes Tensors, not int"):
        tape.history(3)
