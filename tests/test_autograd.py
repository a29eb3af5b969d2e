"""Hooks, `grad`, accumulation, higher orders, modes, views and in-place changes, without torch."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import backward, grad
from tapegrad.func import jvp


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype=tg.float64, requires_grad=True)


def test_gradients_accumulate():
    x = leaf(1, 2)
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5, 7]
    x.grad = None
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]
    assert not x.grad.requires_grad
    assert x.grad.is_leaf


def test_accumulation_is_in_place_and_the_gradient_is_nobody_elses():
    x = leaf(1, 2)
    given = tg.tensor([3.0, 4.0], dtype=tg.float64)
    x.backward(given)
    first = x.grad
    x.backward(given)
    assert x.grad is first
    assert first.tolist() == [6, 8]
    assert given.tolist() == [3, 4]
    x.grad.zero_()
    assert given.tolist() == [3, 4]


def test_two_leaves_of_one_sum_have_gradients_of_their_own():
    x, y = leaf(1, 2), leaf(3, 4)
    (x + y).backward(tg.ones(2, dtype=tg.float64))
    x.grad.mul_(5)
    assert y.grad.tolist() == [1, 1]


def test_a_gradient_that_was_set_is_added_to():
    x = leaf(1, 2)
    x.grad = tg.tensor([10.0, 20.0], dtype=tg.float64)
    x.sum().backward()
    assert x.grad.tolist() == [11, 21]


def test_accumulation_with_retain_graph():
    x = leaf(1, 2)
    y = (x**3).sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [9, 36]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()
    assert x.grad.tolist() == [9, 36]


def test_a_part_of_the_graph_that_saved_nothing_can_run_again():
    x = leaf(1, 2)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2]


def test_shared_parts_are_freed_by_the_first_walk():
    x = leaf(1, 2)
    shared = x.exp()
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        (shared * 2).sum().backward()


def test_backward_of_several_tensors():
    x, y = leaf(1, 2), leaf(3, 4)
    backward([(x * y).sum(), x.sum()])
    assert x.grad.tolist() == [4, 5]
    assert y.grad.tolist() == [1, 2]
    backward([x * 1, y * 1], [tg.ones(2, dtype=tg.float64), 2 * tg.ones(2, dtype=tg.float64)])
    assert x.grad.tolist() == [5, 6]
    assert y.grad.tolist() == [3, 4]


def test_one_tensor_twice_counts_twice():
    x = leaf(1, 2)
    y = (x * x).sum()
    backward([y, y])
    assert x.grad.tolist() == [4, 8]


def test_backward_of_a_leaf():
    x = tg.tensor(2.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1
    assert grad(x, x)[0].item() == 1


def test_backward_inputs():
    x, y = leaf(1, 2), leaf(3, 4)
    middle = x * y
    out = (middle * middle).sum()
    out.backward(inputs=[x], retain_graph=True)
    assert x.grad.tolist() == [18, 64]
    assert y.grad is None
    out.backward(inputs=x, retain_graph=True)
    assert x.grad.tolist() == [36, 128]
    out.backward(inputs=[middle, y])
    assert middle.grad.tolist() == [6, 16]
    assert y.grad.tolist() == [6, 32]
    assert x.grad.tolist() == [36, 128]
    with pytest.raises(RuntimeError, match="cannot be empty"):
        x.sum().backward(inputs=[])


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_grad_of_a_non_leaf_is_none():
    x = leaf(1, 2)
    y = x * 2
    y.sum().backward()
    assert y.grad is None


def test_grad_accumulates_nothing():
    x, y = leaf(1, 2), leaf(3, 4)
    gx, gy = grad((x * y).sum(), [x, y])
    assert gx.tolist() == [3, 4]
    assert gy.tolist() == [1, 2]
    assert x.grad is None
    assert y.grad is None
    assert not gx.requires_grad


def test_grad_of_something_between():
    x = leaf(1, 2)
    y = x * 3
    gy, gx = grad((y * y).sum(), [y, x])
    assert gy.tolist() == [6, 12]
    assert gx.tolist() == [18, 36]


def test_grad_of_the_output_itself():
    x = tg.tensor(2.0, requires_grad=True)
    y = x * x
    gy, gx = grad(y, [y, x])
    assert gy.item() == 1
    assert gx.item() == 4


def test_grad_with_unused_inputs():
    x, y = leaf(1, 2), leaf(3, 4)
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        grad(x.sum(), [x, y])
    gx, gy = grad(x.sum(), [x, y], allow_unused=True)
    assert gx.tolist() == [1, 1]
    assert gy is None
    gx, gy = grad(x.sum(), [x, y], materialize_grads=True)
    assert gy.tolist() == [0, 0]
    assert gy.dtype is tg.float64
    with pytest.raises(ValueError, match="materialize_grads"):
        grad(x.sum(), [x, y], allow_unused=False, materialize_grads=True)


def test_grad_outputs():
    x = leaf(1, 2)
    (g,) = grad(x * x, x, tg.tensor([1.0, 10.0], dtype=tg.float64))
    assert g.tolist() == [2, 40]
    (g,) = grad([x * 2, x.sum()], x, [tg.tensor([1.0, 0.0], dtype=tg.float64), None])
    assert g.tolist() == [3, 1]
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        grad(x * x, x, tg.ones(3))
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        grad(x * x, x)


def test_the_grad_output_is_not_changed_and_may_be_differentiated():
    x, w = leaf(1, 2), leaf(3, 4)
    (g,) = grad(x * x, x, w, create_graph=True)
    assert g.tolist() == [6, 16]
    gx, gw = grad(g.sum(), [x, w])
    assert gx.tolist() == [6, 8]
    assert gw.tolist() == [2, 4]
    assert w.tolist() == [3, 4]


def test_create_graph_to_third_order():
    x = tg.tensor(2.0, dtype=tg.float64, requires_grad=True)
    y = x**4 + x.exp()
    e = float(np.exp(2.0))
    for expected in (32 + e, 48 + e, 48 + e, 24 + e):
        (y,) = grad(y, x, create_graph=True)
        assert y.requires_grad
        assert y.item() == pytest.approx(expected)


def test_create_graph_in_backward():
    x = leaf(1, 2)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    assert first.requires_grad
    assert first.tolist() == [3, 12]
    x.grad = None
    first.sum().backward()
    assert x.grad.tolist() == [6, 12]


def test_mixed_derivatives_are_symmetric():
    x, y = leaf(0.5), leaf(1.5)
    z = ((x * y).sin() * y.exp()).sum()
    gx, gy = grad(z, [x, y], create_graph=True)
    (xy,) = grad(gx.sum(), y, retain_graph=True)
    (yx,) = grad(gy.sum(), x)
    assert xy.item() == pytest.approx(yx.item(), rel=1e-12)


def test_a_penalty_on_the_gradient():
    x = leaf(1, 2)
    loss = (x**3).sum()
    (g,) = grad(loss, x, create_graph=True)
    (loss + (g * g).sum()).backward()
    assert x.grad.tolist() == [3 + 36, 12 + 36 * 8]


def test_without_create_graph_the_gradient_is_a_constant():
    x = leaf(1, 2)
    (g,) = grad((x**3).sum(), x)
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad(g.sum(), x)


# Hooks


def test_hooks_run_in_the_order_of_registration():
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda g: seen.append(("a", g.tolist())))
    x.register_hook(lambda g: 10 * g)
    x.register_hook(lambda g: seen.append(("b", g.tolist())))
    (x * 3).sum().backward()
    assert seen == [("a", [3, 3]), ("b", [30, 30])]
    assert x.grad.tolist() == [30, 30]


def test_hooks_between_change_what_flows_on():
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g + 1)
    z = y * 5
    z.register_hook(lambda g: g * 0)
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_a_hook_sees_the_whole_gradient_once():
    x = leaf(1, 2)
    y = x * 2
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 3 + y.exp() * 0 + y).sum().backward()
    assert seen == [[4, 4]]


def test_leaf_hooks_see_one_walks_gradient():
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x + x).sum().backward()
    (x * 2).sum().backward()
    assert seen == [[3, 5], [2, 2]]
    assert x.grad.tolist() == [5, 7]


def test_hooks_are_removed():
    x = leaf(1, 2)
    seen = []
    handle = x.register_hook(lambda g: seen.append(1))
    other = x.register_hook(lambda g: seen.append(2))
    x.sum().backward()
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert seen == [1, 2, 2]
    with other:
        x.sum().backward()
    x.sum().backward()
    assert seen == [1, 2, 2, 2]


def test_hooks_run_in_grad_too():
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 7)
    x.register_hook(lambda g: g * 10)
    out = y.sum()
    assert grad(out, y, retain_graph=True)[0].tolist() == [7, 7]
    assert grad(out, x)[0].tolist() == [140, 140]


def test_hooks_with_create_graph_are_differentiated():
    x = leaf(1, 2)
    y = x * x
    y.register_hook(lambda g: g * x)
    (g,) = grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [2, 8]
    assert grad(g.sum(), x)[0].tolist() == [4, 8]


def test_what_a_hook_returns_must_fit():
    x = leaf(1, 2)
    handle = x.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="has changed the size of value"):
        x.sum().backward()
    handle.remove()
    handle = x.register_hook(lambda g: 3)
    with pytest.raises(TypeError, match="hook"):
        x.sum().backward()
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_an_error_in_a_hook_is_raised_and_leaves_everything_in_order():
    x = leaf(1, 2)
    y = x.exp()

    def hook(g):
        raise ZeroDivisionError("mine")

    handle = y.register_hook(hook)
    with pytest.raises(ZeroDivisionError, match="mine"):
        y.sum().backward(retain_graph=True)
    assert tg.is_grad_enabled()
    assert x.grad is None
    handle.remove()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1, 2]))


def test_hooks_need_a_gradient():
    x = tg.ones(2)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        x.register_hook(print)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        x.register_post_accumulate_grad_hook(print)


def test_retain_grad():
    x = leaf(1, 2)
    y = x * 2
    assert not y.retains_grad
    y.retain_grad()
    y.retain_grad()
    assert y.retains_grad
    z = y * y
    z.sum().backward(retain_graph=True)
    assert y.grad.tolist() == [4, 8]
    z.sum().backward()
    assert y.grad.tolist() == [8, 16]
    x.retain_grad()
    assert not x.retains_grad
    with pytest.raises(RuntimeError, match="can't retain_grad"):
        tg.ones(2).retain_grad()


def test_retain_grad_comes_after_all_hooks():
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    y.retain_grad()
    y.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert y.grad.tolist() == [11, 11]
    assert x.grad.tolist() == [22, 22]


def test_retained_gradient_is_a_copy():
    x = leaf(1, 2)
    y = x + 0
    y.retain_grad()
    y.sum().backward()
    y.grad.zero_()
    assert x.grad.tolist() == [1, 1]


def test_post_accumulate_grad_hooks():
    x = leaf(1, 2)
    seen = []

    def step(parameter):
        seen.append(parameter.grad.tolist())
        assert parameter is x
        with tg.no_grad():
            parameter.sub_(parameter.grad)
        parameter.grad = None

    handle = x.register_post_accumulate_grad_hook(step)
    (x * 3).sum().backward()
    assert seen == [[3, 3]]
    assert x.grad is None
    assert x.tolist() == [-2, -1]
    grad((x * 3).sum(), x)
    assert len(seen) == 1
    handle.remove()
    x.sum().backward()
    assert x.grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="cannot be registered on non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(step)


def test_post_accumulate_hooks_see_the_accumulated_gradient():
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda g: g * 2)
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    x.sum().backward()
    x.sum().backward()
    assert seen == [[2, 2], [4, 4]]


def test_backward_within_a_hook():
    x, w = leaf(1, 2), leaf(3, 4)

    def hook(g):
        with tg.enable_grad():
            (w * w * g.detach()).sum().backward()

    x.register_hook(hook)
    (x * 5).sum().backward()
    assert x.grad.tolist() == [5, 5]
    assert w.grad.tolist() == [30, 40]


def test_backward_of_the_same_leaf_within_backward():
    x = leaf(1, 2)
    y = x * x

    def hook(g):
        with tg.enable_grad():
            (x * 100).sum().backward()

    y.register_hook(hook)
    y.sum().backward()
    assert x.grad.tolist() == [102, 104]


def test_grad_within_a_hook_of_the_graph_under_way():
    x = leaf(1, 2)
    middle = x * 3
    y = middle * middle
    part = middle.sum()
    seen = []
    y.register_hook(lambda g: seen.append(grad(part, x, retain_graph=True)[0].tolist()))
    y.sum().backward()
    assert seen == [[3, 3]]
    assert x.grad.tolist() == [18, 36]


def test_a_hook_records_only_with_create_graph():
    x = leaf(1, 2)
    seen = []
    x.register_hook(lambda g: seen.append((tg.is_grad_enabled(), (g * x).requires_grad)))
    (x * x).sum().backward()
    (x * x).sum().backward(create_graph=True)
    assert seen == [(False, False), (True, True)]


def test_backward_under_no_grad():
    x = leaf(1, 2)
    y = (x * x).sum()
    z = (x**3).sum()
    with tg.no_grad():
        y.backward()
        assert not tg.is_grad_enabled()
        (g,) = grad(z, x, create_graph=True)
        assert not tg.is_grad_enabled()
    assert x.grad.tolist() == [2, 4]
    assert g.requires_grad
    assert grad(g.sum(), x)[0].tolist() == [6, 12]


# Modes


def test_detach():
    x = leaf(1, 2)
    y = x.detach()
    assert not y.requires_grad
    assert np.shares_memory(y.numpy(), x.detach().numpy())
    (x * y).sum().backward()
    assert x.grad.tolist() == [1, 2]
    z = x * 2
    assert z.detach_() is z
    assert z.is_leaf
    assert z.grad_fn is None


def test_no_grad_and_enable_grad():
    x = leaf(1, 2)
    with tg.no_grad():
        assert not tg.is_grad_enabled()
        y = x * 2
        with tg.enable_grad():
            z = x * 2
        assert not tg.is_grad_enabled()
        made = tg.ones(2, requires_grad=True)
    assert tg.is_grad_enabled()
    assert not y.requires_grad
    assert y.is_leaf
    assert z.requires_grad
    assert made.requires_grad
    assert not (y * 2).requires_grad


def test_modes_end_with_errors():
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        raise ZeroDivisionError
    assert tg.is_grad_enabled()


def test_set_grad_enabled():
    x = leaf(1, 2)
    with tg.set_grad_enabled(False):
        assert not (x * 2).requires_grad
        with tg.set_grad_enabled(True):
            assert (x * 2).requires_grad
    assert tg.is_grad_enabled()
    tg.set_grad_enabled(False)
    try:
        assert not (x * 2).requires_grad
    finally:
        tg.set_grad_enabled(True)
    assert (x * 2).requires_grad


def test_modes_as_decorators():
    x = leaf(1, 2)

    @tg.no_grad()
    def quiet(factor, *, plus=0):
        "The docstring."
        return x * factor + plus

    @tg.no_grad
    def bare():
        return x * 2

    @tg.no_grad()
    @tg.enable_grad()
    def inner_wins():
        return x * 2

    @tg.set_grad_enabled(False)
    def off():
        return x * 2

    @tg.inference_mode()
    def inference():
        return x * 2

    assert tg.is_grad_enabled()
    assert not quiet(3, plus=1).requires_grad
    assert quiet(3, plus=1).tolist() == [4, 7]
    assert quiet.__name__ == "quiet"
    assert quiet.__doc__ == "The docstring."
    assert not bare().requires_grad
    assert inner_wins().requires_grad
    assert not off().requires_grad
    assert tg.is_grad_enabled()


def test_a_decorated_function_may_call_itself():
    x = leaf(1, 2)

    @tg.no_grad()
    def down(n):
        assert not tg.is_grad_enabled()
        if n:
            down(n - 1)
        assert not tg.is_grad_enabled()
        return x * n

    assert not down(3).requires_grad
    assert tg.is_grad_enabled()


def test_one_context_within_itself():
    mode = tg.no_grad()
    with mode:
        with mode:
            assert not tg.is_grad_enabled()
        assert not tg.is_grad_enabled()
    assert tg.is_grad_enabled()


def test_modes_of_generators_hold_while_they_run():
    x = leaf(1, 2)

    @tg.no_grad()
    def numbers():
        sent = None
        for k in range(3):
            assert not tg.is_grad_enabled()
            sent = yield (x * k, sent)
        return "end"

    generator = numbers()
    assert tg.is_grad_enabled()
    y, _ = next(generator)
    assert tg.is_grad_enabled()
    assert not y.requires_grad
    y, sent = generator.send("hello")
    assert sent == "hello"
    assert tg.is_grad_enabled()
    assert (x * 2).requires_grad
    next(generator)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "end"
    assert tg.is_grad_enabled()


def test_generators_are_closed_and_thrown_into():
    seen = []

    @tg.no_grad()
    def watchful():
        try:
            yield 1
            yield 2
        except ValueError:
            seen.append(tg.is_grad_enabled())
            yield 3
        finally:
            seen.append("closed")

    generator = watchful()
    assert next(generator) == 1
    assert generator.throw(ValueError) == 3
    generator.close()
    assert seen == [False, "closed"]
    assert tg.is_grad_enabled()


def test_inference_mode():
    x = leaf(1, 2)
    with tg.inference_mode():
        assert tg.is_inference_mode_enabled()
        assert not tg.is_grad_enabled()
        y = x * 2
        made = tg.ones(2)
        made.add_(1)
    assert not tg.is_inference_mode_enabled()
    assert tg.is_grad_enabled()
    assert not y.requires_grad
    with tg.inference_mode(False):
        assert (x * 2).requires_grad
    with tg.inference_mode(), tg.inference_mode(False):
        assert (x * 2).requires_grad


def test_modes_are_per_thread():
    x = leaf(1, 2)
    seen = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        seen["fresh"] = tg.is_grad_enabled()
        with tg.no_grad():
            inside.set()
            done.wait(10)
            seen["quiet"] = (x * 2).requires_grad
        seen["after"] = (x * 2).requires_grad

    with tg.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad  # while the other thread is still within its no_grad
    done.set()
    thread.join(10)
    assert seen == {"fresh": True, "quiet": False, "after": True}


def test_threads_run_backward_at_the_same_time():
    results = {}

    def work(k):
        x = leaf(k, k + 1)
        for _ in range(50):
            x.grad = None
            (x**2 * k).sum().backward()
        results[k] = x.grad.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {k: [2 * k * k, 2 * k * (k + 1)] for k in range(1, 5)}


# Views and in-place changes


def test_gradients_through_views():
    x = tg.arange(6, dtype=tg.float64).reshape(2, 3).requires_grad_()
    (x.T[1] * x[:, 1:].reshape(-1)[:2] * x.view(-1)[::5]).sum().backward()
    # x01 * x01 * x00 + x11 * x02 * x12
    assert x.grad.tolist() == [[1, 0, 20], [0, 10, 8]]


def test_an_in_place_change_of_a_view_reaches_the_base():
    x = leaf(1, 2, 3)
    y = x * 1
    y[1:].mul_(2)
    assert y.tolist() == [1, 4, 6]
    (y * y).sum().backward()
    assert x.grad.tolist() == [2, 16, 24]


def test_an_in_place_change_of_the_base_reaches_its_views():
    x = leaf(1, 2, 3)
    y = x * 1
    part = y[1:]
    y.mul_(3)
    assert part.tolist() == [6, 9]
    (part * part).sum().backward()
    assert x.grad.tolist() == [0, 36, 54]


@pytest.mark.parametrize("change", ["add_(1.0)", "mul_(2)", "sub_(other)"])
@pytest.mark.parametrize("first", [True, False])
def test_a_view_from_before_its_base_was_recorded_is_changed(change, first):
    w = leaf(1, 2, 3)
    base = tg.ones(3, dtype=tg.float64)
    part = base[:2]
    other = tg.ones(2, dtype=tg.float64)
    if first:
        part.mul_(2.0)  # in one step, as nothing is recorded yet
    base.mul_(w)
    eval(f"part.{change}", {"part": part, "other": other})
    base.sum().backward()
    expected = 2 if first else 1
    expected *= 2 if change == "mul_(2)" else 1
    assert w.grad.tolist() == [expected, expected, 1]
    assert base._version == 2 + first


def test_views_of_views_change_together():
    x = tg.arange(1, 7, dtype=tg.float64).reshape(2, 3).requires_grad_()
    y = x * 1
    row, column = y[0], y.T[1]
    row.mul_(10)
    column.add_(1)
    assert y.tolist() == [[10, 21, 30], [4, 6, 6]]
    assert row.tolist() == [10, 21, 30]
    row.sum().backward()
    assert x.grad.tolist() == [[10, 10, 10], [0, 0, 0]]


def test_assignment():
    x, v = leaf(1, 2, 3), leaf(5)
    y = x * 1
    y[0] = 7
    y[1:2] = v
    (y * y).sum().backward()
    assert x.grad.tolist() == [0, 0, 6]
    assert v.grad.tolist() == [10]


def test_assignment_into_a_constant_makes_it_require_grad():
    x = leaf(1, 2)
    buffer = tg.zeros(3, dtype=tg.float64)
    part = buffer[1:]
    buffer[1:] = x * 2
    assert buffer.requires_grad
    assert not buffer.is_leaf
    assert part.tolist() == [2, 4]
    (buffer * buffer).sum().backward()
    assert x.grad.tolist() == [8, 16]


def test_assignment_with_masks_and_lists():
    x = leaf(1, -2, 3)
    y = x * 2
    y[y < 0] = 0.0
    y[[2, 2]] = 1.0
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_second_order_through_an_in_place_change():
    x = leaf(1, 2, 3)
    y = x**2
    y[1:].mul_(x[:2])
    (g,) = grad((y * x).sum(), x, create_graph=True)  # x0**3 + x1**3 * x0 + x2**3 * x1
    assert g.tolist() == [3 + 8, 12 + 27, 54]
    (h,) = grad(g.sum(), x)
    assert h.tolist() == [6 + 12, 12 + 12 + 27, 36 + 27]


def test_a_leaf_is_not_changed_in_place():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[1:].add_(1)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x[0] = 1
    assert x.tolist() == [1, 2]
    with tg.no_grad():
        x.add_(1)
        x[0] = 5
    assert x.tolist() == [5, 3]
    assert x.is_leaf
    assert x.requires_grad


VERSIONS = (
    r"one of the variables needed for gradient computation has been modified by an inplace "
    r"operation: .*is at version {}; expected version {} instead"
)


def test_a_changed_saved_value_is_noticed():
    x = leaf(1, 2)
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match=VERSIONS.format(1, 0)):
        z.sum().backward()
    y.add_(1)
    with pytest.raises(RuntimeError, match=VERSIONS.format(2, 0)):
        z.sum().backward()
    w = y * y
    y[0] = 0
    with pytest.raises(RuntimeError, match=VERSIONS.format(3, 2)):
        w.sum().backward()


def test_a_changed_saved_result_is_noticed():
    x = leaf(1, 2)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match=VERSIONS.format(1, 0)):
        y.sum().backward()


def test_changes_through_views_and_detached_tensors_are_noticed():
    x, constant = leaf(1, 2), tg.ones(2, dtype=tg.float64)
    y = x * constant
    constant.view(2, 1)[0].zero_()
    with pytest.raises(RuntimeError, match=VERSIONS.format(1, 0)):
        y.sum().backward()
    z = x.exp()
    z.detach().add_(1)
    with pytest.raises(RuntimeError, match=VERSIONS.format(1, 0)):
        z.sum().backward()


def test_changes_that_do_no_harm_are_allowed():
    x = leaf(1, 2)
    y = x * 1
    z = y + 1  # saves nothing
    y.mul_(2)
    z.sum().backward()
    assert x.grad.tolist() == [1, 1]
    w = x * 3
    w.add_(1)
    w.sum().backward()
    assert x.grad.tolist() == [4, 4]


def test_the_version_counter():
    x = tg.ones(3)
    assert x._version == 0
    x.add_(1)
    x[0] = 2
    assert x._version == 2
    assert x[1:]._version == 2
    assert x.detach()._version == 2
    assert x.clone()._version == 0


# Lifetimes


def test_a_hook_goes_with_its_tensor():
    class Marker:
        def __call__(self, gradient):
            return None

    marker = Marker()
    x = leaf(1, 2)
    x.register_hook(marker)
    gone = weakref.ref(marker)
    del marker, x
    gc.collect()
    assert gone() is None


def test_a_graph_outlives_the_names_of_its_parts():
    x = leaf(1, 2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    z = y.sum()
    del y
    gc.collect()
    z.backward()
    assert x.grad.tolist() == [20, 20]


# Forward mode


def test_jvp():
    x = tg.tensor([1.0, 2.0], dtype=tg.float64)
    t = tg.tensor([1.0, 10.0], dtype=tg.float64)
    value, tangent = jvp(lambda a: a * a, (x,), (t,))
    assert value.tolist() == [1, 4]
    assert tangent.tolist() == [2, 40]
    assert not tangent.requires_grad


def test_jvp_of_several():
    x = tg.tensor([1.0, 2.0], dtype=tg.float64)
    y = tg.tensor([3.0, 4.0], dtype=tg.float64)
    one = tg.ones(2, dtype=tg.float64)
    (product, total), (product_t, total_t) = jvp(
        lambda a, b: (a * b, (a + b).sum()), (x, y), (one, 2 * one)
    )
    assert product.tolist() == [3, 8]
    assert total.item() == 10
    assert product_t.tolist() == [5, 8]
    assert total_t.item() == 6


def test_jvp_agrees_with_the_gradient():
    x = leaf(0.5, 1.5, 2.5)
    t = tg.tensor([1.0, -2.0, 0.5], dtype=tg.float64)

    def f(a):
        return (a.sin() * a.cumsum(0)).softmax(0)[1:].prod()

    _, tangent = jvp(f, (x.detach(),), (t,))
    (g,) = grad(f(x), x)
    assert tangent.item() == pytest.approx((g * t).sum().item(), rel=1e-12)


def test_jvp_of_a_constant_is_zero():
    x = tg.ones(2)
    value, tangent = jvp(lambda a: tg.full((3,), 5.0), (x,), (x,))
    assert value.tolist() == [5, 5, 5]
    assert tangent.tolist() == [0, 0, 0]
