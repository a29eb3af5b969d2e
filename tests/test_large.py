"""Large arrays: shared between threads forward, block by block backward, in memory used again."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import buffers, loading
from tapegrad.fused import library
from tapegrad.kernels import blocks, run

pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)

SHAPE = (600, 521)  # more than a MiB of float32, and no whole number of blocks
F = tg.nn.functional


def leaf(seed, dtype=np.float32, shape=SHAPE):
    values = np.random.default_rng(seed).uniform(-1.5, 1.5, shape).astype(dtype)
    return tg.from_numpy(values).requires_grad_()


def shared_leaf(x, y):
    return (tg.tanh(x * y + 1.5) * tg.sigmoid(x) + tg.exp(-x * x)).sum()


def numbers(x, y):
    return (2.0 * x - y / 3.0 + (1.0 - x) ** 2).mean()


def selected(x, y):
    return tg.where(x > y, x * y, x.exp()).sum()


def through_matmul(x, y):
    z = (x * y).sin()
    return (z.T @ (z * x)).sum() + z.cos().sum()


def broadcast(x, y):
    return ((x + y[0]) * y).sum() + (x * x).sum(0).exp().mean()


def strided(x, y):
    return (x.T.contiguous() * y.T).sum() + (x[::1] * x.exp()).sum()


def several_roots(x, y):
    a = x * y
    return (a.exp() * x).sum() + (a * a).relu().sum() + a.abs().sqrt().max()


def beside_each_other(x, y):
    a = x * 2.0
    b = y.exp()  # complete before the run that begins at a.sin() comes by
    return a.sin().sum() + b.sum()


def compiled_forward(x, y):
    return (F.gelu(x) + F.silu(y) * tg.erf(x) + F.softplus(y)).sum()


def of_three(x, y):
    return (x.clamp(-0.5, 0.5).lerp(y, 0.3) * tg.where(x > 0, y, 0.0)).sum()


def transposed(x, y):
    z = x.T
    w = F.silu(z * y.T) + z.exp() * (z + z)
    return (w.relu() * x.T).sum() + (w + y.T).clamp(-1, 1).mean() + (z - w).T.square().sum()


def transposed_leaves(x, y):
    u, v = (a.detach().T.requires_grad_() for a in (x, y))
    (u.sin() * v + (u + v)).sum().backward()
    return (x * u.grad.T + y.T.mul(v.grad).T).sum()


def in_place(x, y):
    z = x * y
    z.mul_(x).add_(1.0)
    return (z * y).sum()


def views(x, y):
    z = (x * y).reshape(-1)
    return (z * z.exp()).sum() + (z.view(SHAPE) * x).sum()


PROGRAMS = [
    shared_leaf, numbers, selected, through_matmul, broadcast, strided, several_roots,
    beside_each_other, compiled_forward, of_three, transposed, transposed_leaves, in_place, views,
]  # fmt: skip


@pytest.fixture
def by_rules(monkeypatch):
    """As it is done without machine code for large arrays."""

    def switch_off():
        monkeypatch.setattr(library, "forward", None)
        monkeypatch.setattr(run, "run_blocks", lambda walk, index: False)

    return switch_off


@pytest.fixture
def runs(monkeypatch):
    """The numbers of records of the runs."""
    counts = []
    whole = blocks.Planner.run

    def counted(planner):
        counts.append(len(planner.found))
        whole(planner)

    monkeypatch.setattr(blocks.Planner, "run", counted)
    return counts


def gradients(program, dtype):
    x, y = leaf(0, dtype), leaf(1, dtype)
    loss = program(x, y)
    loss.backward(retain_graph=True)
    once = [x.grad.clone(), y.grad.clone()]
    loss.backward()
    return [t.detach().numpy() for t in (loss, *once, x.grad, y.grad)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("program", PROGRAMS)
def test_large_is_as_small(program, dtype, by_rules, runs):
    found = gradients(program, dtype)
    assert sum(runs) > 2
    by_rules()
    for a, b in zip(found, gradients(program, dtype), strict=True):
        eps = np.finfo(dtype).eps
        limit = 50 * eps * max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=50 * eps, atol=limit, strict=True)


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same_bits(threads):
    expected = gradients(shared_leaf, np.float32)
    before = tg.get_num_threads()
    tg.set_num_threads(threads)
    try:
        found = gradients(shared_leaf, np.float32)
    finally:
        tg.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


def test_one_run_for_an_expression(runs):
    x, y = leaf(0), leaf(1)
    shared_leaf(x, y).backward()
    assert runs == [9]


def test_intermediate_targets(by_rules):
    def work():
        x, y = leaf(0), leaf(1)
        a = x * y
        b = a.exp()
        return tg.autograd.grad((b * x + a).sum(), (a, x))

    found = work()
    by_rules()
    for a, b in zip(found, work(), strict=True):
        tg.testing.assert_close(a, b)


def test_what_is_off_the_way_keeps_what_it_saved():
    x, y = leaf(0), leaf(1)
    aside = y.exp()
    loss = (x * y * aside).sum()
    (grad,) = tg.autograd.grad(loss, x)
    tg.testing.assert_close(grad, (y * aside).detach())
    (grad,) = tg.autograd.grad(aside.sum(), y)
    tg.testing.assert_close(grad, aside.detach())


def test_hooks_are_called():
    x = leaf(0)
    seen = []
    a = x * 2.0
    b = a.exp()
    a.register_hook(lambda bar: seen.append(bar.shape) or bar * 0.5)
    b.sum().backward()
    assert seen == [SHAPE]
    tg.testing.assert_close(x.grad, (x * 2.0).exp().detach())


def test_second_order():
    x = leaf(0, np.float64)
    (first,) = tg.autograd.grad((x * x.exp()).sum(), x, create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), x)
    tg.testing.assert_close(second, ((x + 2.0) * x.exp()).detach())


def test_leaves_that_are_gone():
    x = leaf(0)
    y = leaf(1) * x
    z = (y * leaf(2)).exp()
    gc.collect()
    z.sum().backward()
    assert x.grad.shape == SHAPE


def test_a_changed_value_is_found():
    x = leaf(0)
    y = x * 1.0
    z = (y * y).exp().sum()
    with tg.no_grad():
        y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    assert x.grad is None


def test_released_records_say_so():
    x = leaf(0)
    y = (x * x).exp()
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        (y * 1.0).sum().backward()


def test_other_data_since_its_use():
    x = leaf(0)
    y = (x * x).exp().sum()
    x.data = tg.zeros(3)
    with pytest.raises(RuntimeError, match="another shape"):
        y.backward()


def test_an_interrupt_leaves_the_tape_usable(monkeypatch):
    x, y = leaf(0), leaf(1)
    loss = shared_leaf(x, y)

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(blocks.Run, "go", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loss.backward()
    assert x.grad is None
    loss.backward()
    other_x, other_y = leaf(0), leaf(1)
    shared_leaf(other_x, other_y).backward()
    np.testing.assert_array_equal(x.grad.numpy(), other_x.grad.numpy())


def test_special_values(by_rules):
    values = np.tile(np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], np.float32), 60_000)

    def work():
        x = tg.from_numpy(values.copy()).requires_grad_()
        (x * x + 1.0 / x).sum().backward()
        return x.grad.numpy()

    with np.errstate(all="raise"):
        found = work()
    by_rules()
    np.testing.assert_array_equal(found, work())


# -- memory ----------------------------------------------------------------------------------------


def test_memory_is_used_again_when_nobody_holds_it():
    first = buffers.empty((1 << 19,), np.dtype(np.float32))
    view = first[5:].reshape(-1)
    address = first.ctypes.data
    del first
    second = buffers.empty((1 << 19,), np.dtype(np.float32))
    assert second.ctypes.data != address  # a view holds it
    del view
    third = buffers.empty((1 << 10, 1 << 9), np.dtype(np.float32))
    assert third.ctypes.data == address
    assert third.flags.writeable
    assert third.flags.c_contiguous


def test_free_memory_is_bounded(monkeypatch):
    buffers.release_all()
    monkeypatch.setattr(buffers, "MOST_FREE", 5 << 20)
    held = [buffers.empty((n << 20,), np.dtype(np.uint8)) for n in (1, 2, 3, 8)]
    while held:
        held.pop(0)
        assert buffers._pool.nbytes <= 5 << 20
    buffers.release_all()
    assert buffers._pool.nbytes == 0


def test_arrays_in_another_order_are_not_numpys(monkeypatch):
    def results(x, y):
        return [x * y, x.erf(), x.clamp(-1, 1), tg.where(x > y, x, 0.5)]

    for shape, order in ((SHAPE, (1, 0)), ((600, 7, 100), (2, 0, 1))):
        x, y = (leaf(seed, shape=shape).detach().permute(order) for seed in (0, 1))
        found = results(x, y)
        with monkeypatch.context() as patch:
            patch.setattr(library, "forward", None)
            for result, again in zip(found, results(x, y), strict=True):
                np.testing.assert_allclose(result.numpy(), again.numpy(), rtol=1e-6, strict=True)
                assert result.stride() == again.stride() == x.stride()


def test_small_arrays_are_numpys():
    assert buffers.empty((3, 4), np.dtype(np.float64)).base is None


def test_results_outlive_everything():
    x = leaf(0)
    kept = [(x * float(i)).detach().numpy() for i in range(4)]
    for i, array in enumerate(kept):
        np.testing.assert_array_equal(array, x.detach().numpy() * np.float32(i))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "shapes",
    [
        [(900, 901), (901,)],
        [(900, 901), (900, 1)],
        [(900, 1), (901,)],
        [(130, 1, 70), (120, 70)],
        [(64, 40, 1, 1), (1, 40, 16, 32)],
        [(40, 1, 30, 40), (30, 30, 40)],  # four dimensions that can't be merged
        [(1, 600, 700), (3, 600, 1)],
    ],
    ids=str,
)
def test_what_is_broadcast_to_a_large_array(shapes, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=shape).astype(dtype) for shape in shapes)
    for a, b in ((x, y), (y, x), (x[..., ::-1], y)):
        for ufunc in (np.subtract, np.maximum, np.less):
            found = ufunc(tg.from_numpy(a.copy()), tg.from_numpy(b)).numpy()
            np.testing.assert_array_equal(found, ufunc(a, b), strict=True)
            assert found.flags.c_contiguous


def test_what_is_broadcast_to_a_transposed_array():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(700, 700)), rng.normal(size=700)
    for row in (y, y[:, None]):
        found = tg.from_numpy(x).T - tg.from_numpy(row.copy())
        np.testing.assert_array_equal(found.numpy(), x.T - row)
    with pytest.raises(RuntimeError, match="must match the size"):
        tg.from_numpy(x) - tg.from_numpy(rng.normal(size=(701, 1)))


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
@pytest.mark.parametrize("count", [1, 3])
def test_in_place(dtype, count):
    """Beside NumPy's: arrays and numbers, itself, gaps, and what is broadcast."""
    before = tg.get_num_threads()
    tg.set_num_threads(count)
    try:
        x, y = (leaf(i).detach().to(dtype) for i in range(2))
        expected = x.numpy().copy()
        x -= 0.25 * y
        expected -= np.asarray(0.25, expected.dtype) * y.numpy()
        x *= 1.5
        expected *= 1.5
        x.mul_(x).div_(y)
        expected = expected * expected / y.numpy()
        x += y[0]  # left to NumPy
        expected += y.numpy()[0]
        x[:, ::2] += 2.0
        expected[:, ::2] += 2.0
        x.t().sub_(y.t())
        expected -= y.numpy()
        np.testing.assert_array_equal(x.numpy(), expected)
    finally:
        tg.set_num_threads(before)


def test_in_place_is_seen_by_the_version_check():
    x = leaf(0)
    y = x.exp()
    out = (y * y).sum()
    with tg.no_grad():
        y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
