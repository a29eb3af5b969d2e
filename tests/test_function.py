"""autograd.Function: each test runs on tapegrad and, where it is installed, on torch."""

import gc
import re
import weakref

import numpy as np
import pytest

import tapegrad


def function(lib, forward, backward=None, **methods):
    """A Function from plain functions."""
    space = {"forward": forward, **methods}
    if backward is not None:
        space["backward"] = backward
    space = {name: staticmethod(method) for name, method in space.items()}
    return type("MyFn", (lib.autograd.Function,), space)


def double(ctx, x):
    return x * 2


def double_backward(ctx, grad):
    return grad * 2


def check(tensor, values):
    np.testing.assert_allclose(tensor.detach().numpy(), values, rtol=1e-6)


@pytest.fixture
def x(lib):
    return lib.tensor([1.0, 2.0], requires_grad=True)


def test_forward_and_backward(lib, x):
    def forward(ctx, x, y):
        assert not lib.is_grad_enabled()
        ctx.save_for_backward(x, y)
        return x * y

    def backward(ctx, grad):
        assert not lib.is_grad_enabled()
        a, b = ctx.saved_tensors
        assert a is x
        return grad * b, grad * a

    y = lib.tensor([3.0, 4.0], requires_grad=True)
    out = function(lib, forward, backward).apply(x, y)
    assert out.requires_grad
    assert not out.is_leaf
    out.sum().backward()
    check(x.grad, [3, 4])
    check(y.grad, [1, 2])


def test_setup_context_with_defaults_and_keywords(lib, x):
    def forward(x, k=3):
        return x * k

    def setup_context(ctx, inputs, output):
        ctx.k = inputs[1]
        assert output.shape == x.shape

    def backward(ctx, grad):
        return grad * ctx.k, None

    fn = function(lib, forward, backward, setup_context=setup_context)
    for out, factor in ((fn.apply(x), 3), (fn.apply(x, 5), 5), (fn.apply(x, k=4), 4)):
        check(lib.autograd.grad(out.sum(), x)[0], [factor, factor])


def test_vjp_is_another_name_of_backward(lib, x):
    fn = function(lib, double, vjp=double_backward)
    fn.apply(x).sum().backward()
    check(x.grad, [2, 2])


def test_the_node_is_the_context(lib, x):
    kept = []

    def forward(ctx, x, y):
        ctx.note = "mine"
        kept.append(ctx)
        return x * y

    out = function(lib, forward).apply(x, 3.0)
    assert out.grad_fn is kept[0]
    assert out.grad_fn.note == "mine"
    assert out.grad_fn.name() == "MyFnBackward"
    assert re.match(r"<.*MyFnBackward object at ", repr(out.grad_fn))
    assert isinstance(out.grad_fn, lib.autograd.graph.Node)
    ((accumulate, number),) = out.grad_fn.next_functions
    assert accumulate.variable is x
    assert number == 0
    assert repr(out) == "tensor([3., 6.], grad_fn=<MyFnBackward>)"


def test_needs_input_grad(lib, x):
    seen = []

    def forward(ctx, *args):
        seen.append(ctx.needs_input_grad)
        return args[0] * args[1]

    function(lib, forward).apply(x, lib.ones(2), 3, "text", None)
    assert seen == [(True, False, False, False, False)]


def test_several_outputs(lib, x):
    def forward(ctx, x):
        return x * 2, 7, x * 3, None

    got = []

    def backward(ctx, first, number, second, none):
        got.append((first, number, second, none))
        return first * 2 + second * 3

    fn = function(lib, forward, backward)
    a, number, b, none = fn.apply(x)
    assert (number, none) == (7, None)
    assert a.grad_fn is b.grad_fn
    assert (a.output_nr, b.output_nr) == (0, 2)
    (a + 10 * b).sum().backward()
    check(x.grad, [32, 32])
    assert got[0][1] is None
    assert got[0][3] is None
    x.grad = None
    fn.apply(x)[2].sum().backward()
    check(x.grad, [3, 3])
    check(got[1][0], [0, 0])


def test_set_materialize_grads(lib, x):
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def backward(ctx, first, second):
        assert first is None
        return second * 3

    function(lib, forward, backward).apply(x)[1].sum().backward()
    check(x.grad, [3, 3])


def test_mark_non_differentiable(lib, x):
    def forward(ctx, x):
        order = x.argsort()
        size = x * 0
        ctx.mark_non_differentiable(size)
        return x * 2, size, order

    def backward(ctx, grad, size, order):
        check(size, [0, 0])
        return grad * 2

    a, size, order = function(lib, forward, backward).apply(x)
    assert a.requires_grad
    assert not size.requires_grad
    assert not order.requires_grad
    a.sum().backward()
    check(x.grad, [2, 2])


def test_mark_dirty(lib, x):
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    def backward(ctx, grad):
        return grad * 3

    fn = function(lib, forward, backward)
    y = x * 2
    out = fn.apply(y)
    assert out is y
    assert out.grad_fn.name() == "MyFnBackward"
    out.sum().backward()
    check(x.grad, [6, 6])
    with pytest.raises(RuntimeError, match=r"a leaf Variable that requires grad .* in-place"):
        fn.apply(x.detach().requires_grad_())


def test_mark_dirty_of_a_view(lib, x):
    def forward(ctx, x):
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    y = x * 2
    part = y[0]
    function(lib, forward, lambda ctx, grad: grad * 3).apply(part)
    y.sum().backward()
    check(x.grad, [6, 2])


def test_what_is_dirty_must_be_returned(lib, x):
    def forward(ctx, x):
        x.add_(1)
        ctx.mark_dirty(x)
        return x * 2

    with pytest.raises(RuntimeError, match=r"marked as dirty .* must all be outputs"):
        function(lib, forward).apply(x * 1)


def test_an_input_that_is_returned(lib, x):
    y = x * 1
    out = function(lib, lambda ctx, x: x, lambda ctx, grad: grad * 5).apply(y)
    assert out is not y
    assert out._base is y
    with pytest.raises(RuntimeError, match=r"is a view and is being modified inplace"):
        out.add_(1)
    out.sum().backward()
    check(x.grad, [5, 5])


def test_views_made_within_are_not_changed_in_place(lib, x):
    fn = function(lib, lambda ctx, x: x.view(2, 1), lambda ctx, grad: grad.view(2))
    with pytest.raises(RuntimeError, match=r"is a view and is being modified inplace"):
        fn.apply(x).add_(1)


def test_second_order(lib, x):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2

    out = function(lib, forward, backward).apply(x)
    (first,) = lib.autograd.grad(out.sum(), x, create_graph=True)
    check(first, [3, 12])
    (second,) = lib.autograd.grad(first.sum(), x, create_graph=True)
    check(second, [6, 12])
    (third,) = lib.autograd.grad(second.sum(), x)
    check(third, [6, 6])


@pytest.mark.parametrize("several", [False, True])
def test_second_order_through_a_saved_output(lib, x, several):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return (x * 2, y) if several else y

    def backward(ctx, *grads):
        (y,) = ctx.saved_tensors
        return grads[-1] * y + (2 * grads[0] if several else 0)

    out = function(lib, forward, backward).apply(x)
    y = out[1] if several else out
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    check(second, np.exp([1, 2]))


def test_once_differentiable(lib, x):
    once = lib.autograd.function.once_differentiable
    fn = function(lib, double, once(double_backward))
    (first,) = lib.autograd.grad((fn.apply(x) ** 2).sum(), x, create_graph=True)
    check(first, [8, 16])
    with pytest.raises(RuntimeError, match=r"differentiate twice .* @once_differentiable"):
        first.sum().backward()


def test_a_saved_tensor_that_was_changed(lib, x):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * 2

    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]

    y = x * 1
    out = function(lib, forward, backward).apply(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace .* version 1; expected .* 0"):
        out.sum().backward()


def test_a_second_time(lib, x):
    def forward(ctx, x, save):
        ctx.save_for_backward(x if save else None)
        return x * 2

    def backward(ctx, grad):
        (_saved,) = ctx.saved_tensors
        return grad * 2, None

    fn = function(lib, forward, backward)
    out = fn.apply(x, True)
    out.sum().backward(retain_graph=True)
    out.sum().backward()
    check(x.grad, [4, 4])
    with pytest.raises(RuntimeError, match=r"backward through the graph a second time"):
        out.sum().backward()
    with pytest.raises(RuntimeError, match=r"directly access saved tensors"):
        out.grad_fn.saved_tensors  # noqa: B018 - reading it is the test
    free = function(lib, double, double_backward).apply(x)
    free.sum().backward()
    free.sum().backward()


MISTAKES = [
    (lambda ctx, g: (g, g), "returned an incorrect number of gradients .expected 1, got 2."),
    (lambda ctx, g: (), "returned an incorrect number of gradients .expected 1, got 0."),
    (lambda ctx, g: 1.0, r"expected Variable or None \(got float\)"),
    (lambda ctx, g: [g], r"expected Variable or None \(got list\)"),
    (lambda ctx, g: g[:1], r"an invalid gradient at index 0 - got \[1\] but expected .* \[2\]"),
    (lambda ctx, g: g.sum(), r"an invalid gradient at index 0 - got \[\] but expected .* \[2\]"),
]


@pytest.mark.parametrize(("backward", "message"), MISTAKES)
def test_wrong_gradients(lib, x, backward, message):
    out = function(lib, double, backward).apply(x)
    with pytest.raises(RuntimeError, match=message):
        out.sum().backward()


def test_gradients_of_what_is_no_tensor(lib, x):
    fn = function(lib, lambda ctx, x, k: x * k, lambda ctx, grad: (grad, grad))
    with pytest.raises(RuntimeError, match=r"different than None at position 2, but the .* Variab"):
        fn.apply(x, 2.0).sum().backward()
    fn = function(lib, lambda ctx, x, k: x * k, lambda ctx, grad: grad)
    with pytest.raises(RuntimeError, match=r"incorrect number of gradients .expected 2, got 1."):
        fn.apply(x, 2.0).sum().backward()


def test_gradients_that_fit_after_all(lib, x):
    trailing = function(lib, double, lambda ctx, grad: (grad * 2, None, None))
    wide = function(lib, double, lambda ctx, grad: grad.double())
    expanded = function(lib, double, lambda ctx, grad: lib.ones(3, 2))
    for fn, values in ((trailing, [2, 2]), (wide, [1, 1]), (expanded, [3, 3])):
        (gradient,) = lib.autograd.grad(fn.apply(x).sum(), x)
        assert gradient.dtype == lib.float32
        check(gradient, values)
    none = function(lib, double, lambda ctx, grad: None)
    assert lib.autograd.grad(none.apply(x).sum(), x, allow_unused=True) == (None,)


def test_methods_that_are_missing(lib, x):
    with pytest.raises(NotImplementedError, match=r"must implement the forward function"):
        function(lib, lib.autograd.Function.forward).apply(x)
    with pytest.raises(NotImplementedError, match=r"either the backward or vjp method"):
        function(lib, double).apply(x).sum().backward()
    both = function(lib, double, double_backward, vjp=double_backward)
    with pytest.raises(RuntimeError, match=r"both 'backward' and 'vjp' .* only implement one"):
        both.apply(x).sum().backward()


def test_it_is_not_instantiated(lib, x):
    fn = function(lib, double, double_backward)
    with pytest.warns(DeprecationWarning, match=r"should not be instantiated"):
        instance = fn()
    with pytest.raises(RuntimeError, match=r"Legacy autograd function"):
        instance(x)


def test_only_tensors_are_saved(lib, x):
    def forward(ctx, x):
        ctx.save_for_backward(x, 3)
        return x

    with pytest.raises(TypeError, match=r"can only save variables, but argument 1 is of type int"):
        function(lib, forward).apply(x)


def test_nothing_is_recorded_without_need(lib, x):
    fn = function(lib, double)
    with lib.no_grad():
        assert not fn.apply(x).requires_grad
    assert not fn.apply(x.detach()).requires_grad


def test_an_unneeded_function_is_not_run(lib, x):
    def backward(ctx, grad):
        raise AssertionError

    y = function(lib, double, backward).apply(x)
    assert len(lib.autograd.grad((y * y).sum(), y)) == 1


def test_hooks_and_retain_grad_on_outputs(lib, x):
    y = function(lib, double, double_backward).apply(x)
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)
    y.sum().backward()
    check(y.grad, [10, 10])
    check(x.grad, [20, 20])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_jvp(lib, x):
    def forward(ctx, x, y):
        ctx.save_for_forward(x, y)
        return x * y

    def jvp(ctx, x_dot, y_dot):
        x, y = ctx.saved_tensors
        return x_dot * y + x * y_dot

    fn = function(lib, forward, jvp=jvp)
    primals = (lib.tensor([1.0, 2.0]), lib.tensor([3.0, 4.0]))
    tangents = (lib.tensor([1.0, 0.0]), lib.tensor([0.0, 1.0]))
    with lib.autograd.forward_ad.dual_level():
        duals = map(lib.autograd.forward_ad.make_dual, primals, tangents)
        out = lib.autograd.forward_ad.unpack_dual(fn.apply(*duals))
    check(out.primal, [3, 8])
    check(out.tangent, [3, 2])


def test_the_tape_shows_it():
    x = tapegrad.ones(2, requires_grad=True)
    y = function(tapegrad, double, double_backward).apply(x)
    assert "v1 : float32[2] = MyFn(x1)" in tapegrad.tape.history(y)


def test_records_die_with_their_outputs():
    def forward(ctx, x):
        ctx.mine = Mark()
        y = x.exp()
        ctx.save_for_backward(x, y)
        return y, x * 2

    class Mark:
        pass

    x = tapegrad.ones(2, requires_grad=True)
    gc.collect()
    tapegrad.tape.sweep(full=True)
    before = len(tapegrad.tape)
    y, z = function(tapegrad, forward, lambda ctx, a, b: a).apply(x * 1)
    mark = weakref.ref(y.grad_fn.mine)
    del y, z
    gc.collect()
    tapegrad.tape.sweep(full=True)
    assert len(tapegrad.tape) <= before
    assert mark() is None


def test_a_long_chain():
    fn = function(tapegrad, double, lambda ctx, grad: grad)
    x = y = tapegrad.ones(2, requires_grad=True)
    for _ in range(3000):
        y = fn.apply(y) * 0.5
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 0.5 ** np.full(2, 3000.0, np.float32))
    del y
    gc.collect()
