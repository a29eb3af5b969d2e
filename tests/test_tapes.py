"""Tapes within the tape: membership, running them again, local Jacobians."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.modes import switch
from tapegrad.tensor import Tensor

rng = np.random.default_rng(0)


def leaf(*shape):
    return tg.from_numpy(rng.normal(size=shape)).requires_grad_()


def test_the_records_made_within():
    plain = switch.plain
    x = leaf(3)
    before = x * 2.0
    with tg.Tape() as tape:
        y = before * x
        with tg.Tape() as inner:
            z = y.sum()
    after = z * 2.0
    assert (len(tape), len(inner)) == (2, 1)
    assert "sum(v?)" in str(inner)
    assert repr(tape) == "<Tape with 2 records>"
    after.backward()
    np.testing.assert_allclose(x.grad._array, 8 * x._array)
    assert switch.plain == plain
    assert "_array" in vars(Tensor)
    assert not isinstance(vars(Tensor)["_array"], property)


def test_records_die_as_others_do():
    x = leaf(3)
    with tg.Tape() as tape:
        y = x * x
        z = (y * y).sum()
        stats = tape.stats()
        assert (stats.records, stats.live, stats.dead) == (3, 3, 0)
        assert stats.by_operator == {"mul": 2, "sum": 1}
        assert stats.bytes_by_operator == {"mul": 48}
        assert "3 records (3 live, 0 dead), 48 bytes saved" in str(stats)
        del z
        stats = tape.stats()
        assert (stats.live, stats.dead) == (1, 2)
        tg.tape.sweep(full=True)
        assert len(tape) == 1
    del y


def test_many_records_leave_no_trace():
    x = leaf(3)
    with tg.Tape(replayable=False) as tape:
        for _ in range(30_000):
            x * 2.0
    assert len(tape._places) < 30_000


def test_threads_have_tapes_of_their_own():
    x = leaf(3)
    lengths = {}
    barrier = threading.Barrier(2, timeout=60)

    def work(name, count):
        with tg.Tape() as tape:
            barrier.wait()
            kept = [x * float(i) for i in range(count)]
            barrier.wait()
        lengths[name] = len(tape)
        del kept

    threads = [threading.Thread(target=work, args=(n, 10 * (n + 1))) for n in range(2)]
    for thread in threads:
        thread.start()
    with tg.Tape() as tape:
        for thread in threads:
            thread.join()
    assert lengths == {0: 10, 1: 20}
    assert len(tape) == 0


def test_reset():
    x = leaf(3)
    with tg.Tape() as tape:
        y = x * 2.0
        position = tape.position()
        z = y * x
        with tg.Tape() as inner:
            pass
        inner.reset_to(0)
        assert len(tape) == 2
        tape.reset_to(position)
    assert len(tape) == 1
    with pytest.raises(RuntimeError, match=r"dropped by tape.reset_to"):
        z.sum().backward()
    y.sum().backward()


def test_entered_twice():
    with tg.Tape() as tape, pytest.raises(RuntimeError, match="records already"), tape:
        pass


# -- replay ----------------------------------------------------------------------------------------


def network(x, w, b):
    h = x
    for _ in range(3):
        h = tg.tanh(h @ w + b)
    low, high = h.chunk(2, -1)
    both = tg.cat([low.exp(), high.abs().sqrt()], -1)
    values, _ = tg.linalg.qr(both.mT @ both + 3.0 * tg.eye(4, dtype=tg.float64))
    scale = h.detach().pow(2).sum()
    with tg.no_grad():
        shift = (h * 0.5).mean()
    return (tg.nn.functional.softmax(h, -1).log().sum() + values.sum() - shift) / scale


def test_replay_is_the_code_run_again():
    x, w, b = leaf(5, 4), leaf(4, 4), leaf(4)
    with tg.Tape() as tape:
        y = network(x, w, b)
    for _ in range(2):
        new = [leaf(5, 4), leaf(4, 4)]
        found = tape.replay(dict(zip((x, w), new, strict=True)), y)
        expected = network(*new, b)
        assert found.item() == pytest.approx(expected.item(), rel=1e-12)
        grads = [tg.autograd.grad(out, [*new, b], create_graph=True) for out in (found, expected)]
        seconds = [tg.autograd.grad(sum(g.sum() for g in gs), [*new, b]) for gs in grads]
        for a, c in zip((*grads[0], *seconds[0]), (*grads[1], *seconds[1]), strict=True):
            np.testing.assert_allclose(a.detach().numpy(), c.detach().numpy(), 1e-9, 1e-9)


def test_replay_of_a_long_tape():
    def f(x):
        h, first = x, x * 3.0
        for _ in range(3_000):
            h = h * 1.0001 + x
        return h.sum(), first * h

    x, x2 = leaf(3), leaf(3)
    with tg.Tape() as tape:
        outs = f(x)
    for a, b in zip(tape.replay({x: x2}, outs), f(x2), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy())


def test_replay_of_numbers_dtypes_and_comparisons():
    def f(x):
        y = 2.0 - x.float() / 3
        y = tg.where(y > x, y.double() ** 2, 2.0**y) + 1 / (1 + np.exp(x))
        return tg.maximum(y, x).sum(), (y == x).sum(), y.argmax()

    x, x2 = leaf(6), leaf(6)
    with tg.Tape() as tape:
        outs = f(x)
    found, expected = tape.replay({x: x2}, outs[:2]), f(x2)[:2]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert a.requires_grad == b.requires_grad
        assert a.item() == b.item()


def test_replay_of_data_that_needs_no_gradient():
    w, data = leaf(3), tg.ones(3, dtype=tg.float64)
    with tg.Tape() as tape:
        scaled = data * 2.0
        loss = (w * scaled).sum()
    found = tape.replay({data: np.full(3, 5.0)}, loss)
    assert found.item() == pytest.approx(10 * w.sum().item())
    found.backward()
    assert w.grad.tolist() == [10.0] * 3


def test_replay_recorded_and_not():
    x = leaf(3)
    with tg.Tape() as tape:
        y = x.sum()
    assert not tape.replay({x: np.ones(3)}, y).requires_grad
    with tg.no_grad():
        assert not tape.replay({x: leaf(3)}, y).requires_grad
    assert tape.replay({}, y).requires_grad


@pytest.mark.parametrize(
    "read",
    [
        lambda x: bool(x.sum() > 0),
        lambda x: x.sum() > 0 and 1,
        lambda x: int(x.sum()),
        lambda x: float(x.sum()),
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: np.asarray(x.detach()),
        lambda x: x.data,
        lambda x: x.argsort(),
        lambda x: x.nonzero(),
        lambda x: 3.0 in x,
        lambda x: x._array,
        lambda x: tg.equal(x, x * 2),
    ],
)
def test_reads_are_guarded(read):
    x = tg.tensor([0.5, 2.0], requires_grad=True)
    with tg.Tape() as tape:
        read(x)
        y = (x * x).sum()
    assert tape.replay({x: np.array([0.5, 2.0], np.float32)}, y).item() == 4.25
    with pytest.raises(RuntimeError, match=r"would read .* now, so that the code might go"):
        tape.replay({x: np.array([-3.0, -2.0], np.float32)}, y)


def test_branches_that_go_the_same_way():
    x = tg.tensor(2.0, requires_grad=True)
    with tg.Tape() as tape:
        y = x * x if x > 0 else -x
        y = y * int(x)
        repr(y), f"{x}", x.shape, x.dtype
    assert tape.replay({x: np.float32(2.5)}, y).item() == 12.5
    with pytest.raises(RuntimeError, match=r"bool\(\) at .*test_tapes.py:\d+ read True"):
        tape.replay({x: np.float32(-2)}, y)
    with pytest.raises(RuntimeError, match=r"int\(\) at .* read 2 .* would read 3"):
        tape.replay({x: np.float32(3)}, y)


class Double(tg.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def set_first(x):
    y = x.clone()
    y[0] = 1.0
    return y


def scaled(x):
    y = x * 1.0
    return y.mul_(2.0)


def stepped(x):
    (g,) = tg.autograd.grad((x * x).sum(), x)
    return x - 0.1 * g


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (set_first, "change in place"),
        (scaled, "change in place"),
        (lambda x: tg.nn.functional.dropout(x), "random numbers"),
        (lambda x: x * tg.randn(2), "random numbers"),
        (lambda x: Double.apply(x), "DoubleBackward"),
        (stepped, "after a backward pass"),
    ],
)
def test_what_is_not_run_again_is_refused(function, reason):
    x = tg.tensor([0.5, 2.0], requires_grad=True)
    with tg.Tape() as tape:
        y = function(x).sum()
    with pytest.raises(RuntimeError, match=reason):
        tape.replay({x: np.ones(2, np.float32)}, y)


def test_gradients_within_a_tape():
    def f(x):
        (g,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
        return (g * g).sum()

    x, x2 = leaf(3), leaf(3)
    with tg.Tape() as tape:
        y = f(x)
    found, expected = tape.replay({x: x2}, y), f(x2)
    (a,) = tg.autograd.grad(found, x2)
    (b,) = tg.autograd.grad(expected, x2)
    np.testing.assert_allclose(a._array, b._array)


def test_wrong_inputs_and_outputs():
    x = leaf(3)
    with tg.Tape() as tape:
        y = x * 2.0
    with pytest.raises(ValueError, match=r"was float64\[3\] when .* can't be float64\[4\]"):
        tape.replay({x: np.ones(4)}, y)
    with pytest.raises(ValueError, match="none that the tape has used"):
        tape.replay({leaf(3): np.ones(3)}, y)
    with pytest.raises(ValueError, match="none that the tape has used and not made"):
        tape.replay({y: np.ones(3)}, y)
    with pytest.raises(ValueError, match="an output wasn't made within"):
        tape.replay({x: np.ones(3)}, x * 2.0)
    with tg.Tape(replayable=False) as tape:
        y = x * 2.0
    with pytest.raises(RuntimeError, match="replayable=True"):
        tape.replay({x: np.ones(3)}, y)


# -- preaccumulation -------------------------------------------------------------------------------


def chain(x, w):
    h = x
    for _ in range(20):
        h = tg.sin(h * w) + x
    return h.sum(), h * 2.0


def test_preaccumulate():
    x, w = leaf(3), leaf(3)
    a = x * 2.0
    expected = tg.autograd.grad(sum(y.sum() for y in chain(a, w)), [x, w], retain_graph=True)
    with tg.Tape(replayable=False) as tape:
        outs = chain(a, w)
    tape.preaccumulate([a, w], outs)
    tg.tape.sweep(full=True)
    assert tape.stats().by_operator == {"preaccumulated": 2}
    found = tg.autograd.grad(sum(y.sum() for y in outs), [x, w])
    for p, q in zip(found, expected, strict=True):
        np.testing.assert_allclose(p._array, q._array)
    with pytest.raises(NotImplementedError, match="no derivatives of higher order"):
        tg.autograd.grad(outs[0], x, create_graph=True)


def test_preaccumulate_what_can_not_be():
    x, w = leaf(3), leaf(3)
    with tg.Tape() as tape:
        y = (x * w).sum()
    with pytest.raises(RuntimeError, match="depends on something else"):
        tape.preaccumulate(x, y)
    with pytest.raises(RuntimeError, match="wasn't recorded by this Tape"):
        tape.preaccumulate(x, (x * 2.0).sum())
    with pytest.raises(RuntimeError, match="require grad"):
        tape.preaccumulate(x.detach(), y)
