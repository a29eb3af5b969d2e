"""The graph: nodes, their hooks, what is saved, edges. On tapegrad and on torch."""

import contextlib
import gc
import weakref

import numpy as np
import pytest

import tapegrad
from tests.samples import SAMPLES


def check(tensor, values):
    np.testing.assert_allclose(tensor.detach().numpy(), values, rtol=1e-6)


@pytest.fixture
def graph(lib):
    return lib.autograd.graph


@pytest.fixture
def x(lib):
    return lib.tensor([1.0, 2.0], requires_grad=True)


# -- grad and backward -----------------------------------------------------------------------------


def test_grads_batched(lib, x):
    y = x.exp() * x
    (jacobian,) = lib.autograd.grad(y, x, lib.eye(2), is_grads_batched=True, retain_graph=True)
    check(jacobian, np.diag(np.exp([1, 2]) * [2, 3]))
    (first,) = lib.autograd.grad(y, x, lib.eye(2), is_grads_batched=True, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    check(second, np.exp([1, 2]) * [3, 4])
    z = lib.ones(1, requires_grad=True)
    y = x * 2
    options = {"is_grads_batched": True, "allow_unused": True}
    assert lib.autograd.grad(y, (x, z), lib.eye(2), **options)[1] is None


def test_grads_batched_of_wrong_shape(lib, x):
    with pytest.raises(RuntimeError, match=r"is_grads_batched=True.*mismatch was detected"):
        lib.autograd.grad(x * 2, x, lib.ones(2, 3), is_grads_batched=True)


def test_several_outputs_and_inputs(lib, x):
    y = lib.tensor([3.0, 4.0], requires_grad=True)
    outputs = (x * y, (x**2).sum())
    gradients = lib.autograd.grad(outputs, (y, x), (lib.ones(2), None))
    check(gradients[0], [1, 2])
    check(gradients[1], [5, 8])


def test_grad_for_a_value_leaves_what_is_before_it_alone(lib, x):
    y = x
    for _ in range(1500):
        y = y.sin()
    (gradient,) = lib.autograd.grad((y * y).sum(), y)
    check(gradient, 2 * y.detach().numpy())
    y.sum().backward()
    assert x.grad is not None


# -- nodes -----------------------------------------------------------------------------------------


def test_nodes(lib, graph, x):
    y = x.exp() * x
    node = y.grad_fn
    assert isinstance(node, graph.Node)
    assert node.name() == "MulBackward0"
    (exp, number), (accumulate, _) = node.next_functions
    assert (exp.name(), number, accumulate.name()) == (
        "ExpBackward0",
        0,
        "torch::autograd::AccumulateGrad",
    )
    assert accumulate.variable is x
    assert (x * 2).grad_fn.next_functions[1] == (None, 0)
    assert y.grad_fn == node


def test_saved_values(lib, x):
    y = x.exp() * x
    assert y.grad_fn._saved_other is x
    check(y.grad_fn._saved_self, np.exp([1, 2]))
    exp = y.grad_fn.next_functions[0][0]
    check(exp._saved_result, np.exp([1, 2]))
    assert exp._saved_result.grad_fn.name() == "ExpBackward0"
    assert "_saved_result" in dir(exp)
    assert (x * 2.0).grad_fn._saved_self is None
    assert x.pow(3.0).grad_fn._saved_self is x
    with pytest.raises(AttributeError):
        exp._saved_nothing  # noqa: B018 - reading it is the test
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"directly access saved tensors"):
        exp._saved_result  # noqa: B018


def test_a_saved_value_that_was_changed(lib, x):
    y = x.exp()
    y.add_(1)
    y = x.exp()
    node = y.grad_fn
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        node._saved_result  # noqa: B018


def test_metadata(lib, x):
    y = x.max(0)[0]
    y.grad_fn.metadata["note"] = 1
    assert y.grad_fn.metadata == {"note": 1}
    y.backward()


# -- hooks of nodes --------------------------------------------------------------------------------


def test_hooks_of_nodes(lib, x):
    y = x.exp() * x
    node, seen = y.grad_fn, []
    node.register_hook(lambda inputs, outputs: seen.append(("post", inputs, outputs)))
    node.register_prehook(lambda outputs: (seen.append(("pre", outputs)), (outputs[0] * 2,))[1])
    y.register_hook(lambda grad: seen.append(("tensor", grad)))
    y.sum().backward()
    assert [s[0] for s in seen] == ["tensor", "pre", "post"]
    check(seen[1][1][0], [1, 1])
    check(seen[2][1][0], [2, 4])
    check(seen[2][1][1], 2 * np.exp([1, 2]))
    check(seen[2][2][0], [2, 2])
    check(x.grad, 2 * np.exp([1, 2]) * [2, 3])


def test_a_hook_replaces_gradients(lib, x):
    y = x * 3
    handle = y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10, None))
    (gradient,) = lib.autograd.grad(y.sum(), x, retain_graph=True)
    check(gradient, [30, 30])
    handle.remove()
    (gradient,) = lib.autograd.grad(y.sum(), x)
    check(gradient, [3, 3])


def test_hooks_with_create_graph(lib, x):
    y = x**2
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    (first,) = lib.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    check(second, [4, 4])


def test_hooks_of_several_outputs(lib):
    x = lib.tensor([[1.0, 4.0], [3.0, 2.0]], requires_grad=True)
    values, _ = x.max(0)
    seen = []
    values.grad_fn.register_prehook(lambda outputs: seen.append(outputs))
    values.sum().backward()
    check(seen[0][0], [1, 1])
    variance, mean = lib.var_mean(x)
    assert variance.grad_fn == mean.grad_fn
    mean.grad_fn.register_prehook(lambda outputs: (None, outputs[1] * 5))
    (gradient,) = lib.autograd.grad(mean, x)
    check(gradient, [[1.25, 1.25], [1.25, 1.25]])


def test_hooks_of_accumulate_grad(lib, x):
    node = (x * 2).grad_fn.next_functions[0][0]
    seen = []
    node.register_prehook(lambda outputs: (outputs[0] * 5,))
    node.register_hook(lambda inputs, outputs: seen.append((inputs, outputs)))
    (x * 2).sum().backward()
    check(x.grad, [10, 10])
    assert seen[0][0] == ()
    check(seen[0][1][0], [10, 10])
    check(lib.autograd.grad((x * 2).sum(), x)[0], [2, 2])
    assert len(seen) == 1


def test_hooks_record_nothing(lib, x):
    y, seen = x * 2, []

    def hook(tensor):
        seen.append((lib.is_grad_enabled(), (tensor * x).requires_grad))

    y.register_hook(hook)
    x.register_post_accumulate_grad_hook(
        lambda t: seen.append((lib.is_grad_enabled(), (t * 2).requires_grad))
    )
    y.sum().backward()
    assert seen == [(False, False)] * 2
    assert (x * 2).requires_grad


def test_multi_grad_hooks(lib, graph, x):
    y, z = x * 2, x * 3
    every, first = [], []
    handle = graph.register_multi_grad_hook((x, y, z), every.append)
    graph.register_multi_grad_hook((x, y, z), first.append, mode="any")
    (y + z).sum().backward(retain_graph=True)
    assert len(every) == len(first) == 1
    for gradient, values in zip(every[0], ([5, 5], [1, 1], [1, 1]), strict=True):
        check(gradient, values)
    y.sum().backward(retain_graph=True)
    assert every[1][2] is None
    assert len(first) == 2
    check(every[1][0], [2, 2])
    lib.autograd.grad(y.sum(), y, retain_graph=True)
    assert every[2][0] is None
    assert every[2][2] is None
    handle.remove()
    y.sum().backward()
    assert len(every) == 3
    with pytest.raises(ValueError, match=r"one of .'all', 'any'. but got each"):
        graph.register_multi_grad_hook((x,), every.append, mode="each")


# -- edges -----------------------------------------------------------------------------------------


def test_gradient_edges(lib, graph, x):
    y = x * x
    z = y.sum()
    edge = graph.get_gradient_edge(y)
    assert edge.node == y.grad_fn
    assert edge.output_nr == 0
    del y
    check(lib.autograd.grad(z, edge, retain_graph=True)[0], [1, 1])
    check(lib.autograd.grad(edge, x, lib.ones(2), retain_graph=True)[0], [2, 4])
    lib.autograd.backward(edge, lib.ones(2))
    check(x.grad, [2, 4])
    leaf = graph.get_gradient_edge(x)
    check(lib.autograd.grad((x * 3).sum(), leaf)[0], [3, 3])
    with pytest.raises(RuntimeError, match=r"gradient edge for a Tensor that does not require"):
        graph.get_gradient_edge(lib.ones(1))


def test_edges_made_by_hand(lib, graph, x):
    _, mean = lib.var_mean(x)
    edge = graph.GradientEdge(mean.grad_fn, mean.output_nr)
    check(lib.autograd.grad(mean * 2, edge)[0], 2)


# -- hooks on saved tensors ------------------------------------------------------------------------


def test_saved_tensors_hooks(lib, graph, x):
    packed, loaded = [], []

    def pack(tensor):
        assert not lib.is_grad_enabled()
        packed.append(tensor)
        return len(packed) - 1

    def unpack(number):
        loaded.append(number)
        return packed[number]

    with graph.saved_tensors_hooks(pack, unpack):
        y = (x * x).exp().sum()
    z = (x * x).sum()
    assert len(packed) == 3
    assert packed[0] is x
    assert packed[1] is x
    y.backward()
    assert sorted(loaded) == [0, 1, 2]
    check(x.grad, 2 * np.exp([1, 4]) * [1, 2])
    z.backward()
    assert len(packed) == 3


def test_saved_tensors_hooks_change_what_is_saved(lib, graph, x):
    with graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t):
        y = x * x
    (gradient,) = lib.autograd.grad(y.sum(), x)
    check(gradient, [20, 40])


def test_saved_tensors_hooks_within_each_other(lib, graph, x):
    log = []

    def logging(name):
        return graph.saved_tensors_hooks(lambda t: (log.append(name), t)[1], lambda t: t)

    with logging("outer"):
        x.exp()
        with logging("inner"):
            x.exp()
        x.exp()
    assert log == ["outer", "inner", "outer"]


def test_saved_tensors_hooks_and_second_order(lib, graph, x):
    with graph.saved_tensors_hooks(lambda t: t.detach().numpy().copy(), lib.from_numpy):
        y = (x**3).sum()
        (first,) = lib.autograd.grad(y, x, create_graph=True)
    (second,) = lib.autograd.grad(first.sum(), x)
    check(second, [6, 12])


def test_saved_tensors_hooks_of_functions(lib, graph, x):
    class Square(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2 * ctx.saved_tensors[0]

    with graph.saved_tensors_hooks(lambda t: t * 10, lambda t: t):
        y = Square.apply(x)
    y.sum().backward()
    check(x.grad, [20, 40])


def test_an_error_in_hooks_on_saved_tensors(lib, graph, x):
    with (
        graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t),
        pytest.raises(RuntimeError, match=r"pack hook is modifying its input in place"),
    ):
        (x * 1).exp()
    with graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    with pytest.raises(TypeError, match=r"unpack_hook expected to be a Tensor but got .*int"):
        y.sum().backward()


def test_saved_tensors_hooks_are_disabled(lib, graph, x):
    hooks = graph.saved_tensors_hooks(lambda t: t, lambda t: t)
    with graph.disable_saved_tensors_hooks("none here"):
        (x * x).sum().backward()
        with pytest.raises(RuntimeError, match=r"none here"):
            hooks.__enter__()
    with hooks, pytest.raises(RuntimeError, match=r"none here"):
        graph.disable_saved_tensors_hooks("none here").__enter__()


def test_save_on_cpu(lib, graph, x):
    with graph.save_on_cpu():
        y = (x * x).sum()
    y.backward()
    check(x.grad, [2, 4])


def test_increment_version(lib, graph, x):
    y = x.exp()
    graph.increment_version(y)
    assert y._version == 1
    graph.increment_version([y, y])
    assert y._version == 3
    with pytest.raises(RuntimeError, match=r"modified by an inplace .* version 3; expected .* 0"):
        y.sum().backward()


# -- tapegrad alone --------------------------------------------------------------------------------


def test_what_is_noted_goes_with_its_record():
    class Mark:
        pass

    x = tapegrad.ones(2, requires_grad=True)
    gc.collect()
    tapegrad.tape.sweep(full=True)
    before, notes = len(tapegrad.tape), len(tapegrad.tape.notes)
    mark = Mark()
    y = (x * 2).exp()
    y.register_hook(lambda grad, mark=mark: None)
    y.grad_fn.register_hook(lambda inputs, outputs, mark=mark: None)
    y.grad_fn.metadata["mark"] = mark
    with tapegrad.autograd.graph.saved_tensors_hooks(
        lambda t, mark=mark: (t, mark), lambda p: p[0]
    ):
        z = (y * y).exp()
    gone = weakref.ref(mark)
    del y, z, mark
    gc.collect()
    tapegrad.tape.sweep(full=True)
    assert len(tapegrad.tape) <= before
    assert len(tapegrad.tape.notes) <= notes
    assert gone() is None


def test_mutation_on_saved_tensors(lib, graph):
    with graph.allow_mutation_on_saved_tensors():
        a = lib.ones(2, 3, requires_grad=True)
        b = a.clone()
        out = (b**2).sum() + b.exp().mul_(3).sum()
        b.sin_()
        out.backward()
        check(a.grad, np.full((2, 3), 2 + 3 * np.e))
        with (
            pytest.raises(RuntimeError, match="contexts cannot be nested"),
            graph.allow_mutation_on_saved_tensors(),
        ):
            pass


def test_mutation_on_saved_tensors_ends_with_the_context(lib, graph, x):
    with graph.allow_mutation_on_saved_tensors() as context:
        y = (x * x).exp().sum()
        z = (x * x).exp().sum()
        context.clear()
        with pytest.raises(AssertionError, match="outside of the 'allow_mutation"):
            z.backward()
    with pytest.raises(AssertionError, match="outside of the 'allow_mutation"):
        y.backward()


def test_hooks_of_one_saved_tensor(lib, graph, x):
    y = x.pow(2)
    saved = y.grad_fn._raw_saved_self
    check(saved.unpack(), [1, 2])
    saved.register_hooks(lambda t: (t * 2).detach(), lambda t: t)
    check(y.grad_fn._saved_self, [2, 4])
    with pytest.raises(RuntimeError, match="hooks have already been set"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    y.sum().backward()
    check(x.grad, [4, 8])
    z = x.exp()
    saved = z.grad_fn._raw_saved_result
    with pytest.raises(TypeError):
        saved.register_hooks(3, 4)
    z.sum().backward()
    with pytest.raises(RuntimeError, match="after it has been freed"):
        saved.register_hooks(lambda t: t, lambda t: t)
    with pytest.raises(AttributeError):
        z.grad_fn._raw_saved_other  # noqa: B018


def test_a_hook_of_one_saved_tensor_that_changes_it():
    x = tapegrad.ones(2, requires_grad=True)  # torch refuses it, too, and may crash later
    saved = x.exp().grad_fn._raw_saved_result
    with pytest.raises(RuntimeError, match="modifying its input in place"):
        saved.register_hooks(lambda t: t.mul_(2), lambda t: t)


def test_hooks_of_one_saved_tensor_within_others(lib, graph, x):
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = x.pow(2)
    with pytest.raises(RuntimeError, match="hooks have already been set"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)


def test_a_node_is_a_function(lib, x):
    y = x * 2 + x
    first, second = y.grad_fn(lib.ones(2))
    check(first, [1, 1])
    check(second, [1, 1])
    node = (x * x).exp().grad_fn
    out = node(lib.tensor([1.0, 3.0]))
    check(out, np.exp([1, 4]) * [1, 3])
    assert out.requires_grad
    assert node(None) is None
    with lib.no_grad():
        assert not node(lib.ones(2)).requires_grad
    with pytest.raises(TypeError, match="expected 1 arguments, got 2 instead"):
        node(lib.ones(2), lib.ones(2))
    with pytest.raises(TypeError, match="argument 0 is not a Variable"):
        node(3)
    accumulate = x.mul(1).grad_fn.next_functions[0][0]
    accumulate(lib.ones(2))
    accumulate(lib.ones(2))
    check(x.grad, [2, 2])
    assert node.requires_grad
    assert node._sequence_nr() < (x * 1).grad_fn._sequence_nr()


def test_a_node_of_a_function_cannot_be_called(lib, x):
    class Double(lib.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a * 2

        @staticmethod
        def backward(ctx, bar):
            (a,) = ctx.saved_tensors
            return bar * 2 * a / a

    with pytest.raises(TypeError, match="'DoubleBackward' object is not callable"):
        Double.apply(x).grad_fn(lib.ones(2))


def test_a_node_that_was_freed_is_called(lib, x):
    y = x.exp()
    y.sum().backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.grad_fn(lib.ones(2))


def test_a_node_is_called_with_another_shape():
    x = tapegrad.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"shape \[4\] for an output of shape \[2\]"):
        x.exp().grad_fn(tapegrad.ones(4))


def test_variables_are_tensors(lib):
    made = lib.autograd.Variable(lib.ones(2), requires_grad=True)
    assert made.requires_grad
    assert isinstance(lib.ones(2), lib.autograd.Variable)
    assert not isinstance(3, lib.autograd.Variable)
    assert lib.autograd.Variable().shape == (0,)
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got int"):
        lib.autograd.Variable(3)
    assert lib.autograd.grad_mode.no_grad is lib.no_grad


def test_gradgradcheck_draws_from_the_generator(lib):
    x = lib.ones(2, 3, dtype=lib.float64, requires_grad=True)
    for strided in (False, True):
        lib.manual_seed(5)
        assert lib.autograd.gradgradcheck(
            lambda a: (a**3).sum(0), (x,), gen_non_contig_grad_outputs=strided
        )
        after = lib.rand(1, dtype=lib.float64)
        lib.manual_seed(5)
        lib.rand(6 if strided else 3, dtype=lib.float64)
        check(after, lib.rand(1, dtype=lib.float64).numpy())


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_packed_values_serve_every_primitive(sample):
    def gradients(*contexts):
        leaves = [tapegrad.from_numpy(a).requires_grad_() for a in sample.arrays()]
        with contextlib.ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            out = sample.call(*leaves)
            outputs = [out] if isinstance(out, tapegrad.Tensor) else list(out)
            total = sum((o * o).sum() for o in outputs if o.requires_grad)
            first = tapegrad.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        used = [g for g in first if g is not None and g.requires_grad]
        second = ()
        if used:
            squares = sum((g * g).sum() for g in used)
            second = tapegrad.autograd.grad(squares, leaves, allow_unused=True)
        return [None if g is None else g.detach().numpy() for g in (*first, *second)]

    copies = tapegrad.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)
    anomaly = tapegrad.autograd.set_detect_anomaly(True, check_nan=False)
    with anomaly:
        watched = gradients(copies)
    for a, b in zip(gradients(), watched, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
