"""A Tensor as a Python object: numbers, sequences, copies, pickles, arrays, attributes."""

import copy
import multiprocessing
import pickle
import sys

import numpy as np
import pytest

import tapegrad as tg
from tests.same_as_torch import outcome


def test_numbers():
    assert float(tg.tensor(2.5)) == 2.5
    assert int(tg.tensor(2.7)) == 2
    assert complex(tg.tensor(1j)) == 1j
    assert bool(tg.tensor([[3.0]]))
    assert [10, 20][tg.tensor(1)] == 20
    assert tg.tensor([2.5]).item() == 2.5
    assert type(tg.tensor(True).item()) is bool
    assert tg.ones(2, 1).tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: float(tg.ones(2)), ValueError, "only one element tensors can be converted"),
        (lambda: float(tg.tensor(1j)), RuntimeError, "without overflow"),
        (lambda: tg.ones(2).item(), RuntimeError, "a Tensor with 2 elements cannot be converted"),
        (lambda: bool(tg.ones(2)), RuntimeError, "more than one value is ambiguous"),
        (lambda: bool(tg.ones(0)), RuntimeError, "no values is ambiguous"),
        (lambda: [1][tg.tensor(0.0)], TypeError, "only integer tensors of a single element"),
        (lambda: len(tg.tensor(1)), TypeError, "len() of a 0-d tensor"),
        (lambda: iter(tg.tensor(1)), TypeError, "iteration over a 0-d tensor"),
        (lambda: "a" in tg.ones(2), RuntimeError, "only supports Tensor or scalar"),
        (lambda: f"{tg.ones(2):.2f}", TypeError, "unsupported format string passed to Tensor"),
        (lambda: np.asarray(tg.ones(2, requires_grad=True)), RuntimeError, "Can't call numpy()"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_sequences():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(x) == 2
    first, second = x
    assert second.tolist() == [3, 4]
    first.sum().backward()
    assert x.grad.tolist() == [[1, 1], [0, 0]]
    assert 3 in x
    assert tg.tensor(3.0) in x
    assert 5 not in x


def test_a_tensor_is_its_own_key():
    x, y = tg.ones(2), tg.ones(2)
    assert hash(x) == id(x)
    assert {x: 1, y: 2}[x] == 1


def test_format():
    x = tg.tensor(3.14159)
    assert f"{x:.3f}" == "3.142"
    assert f"{x}" == str(x.item())
    assert f"{tg.ones(2)}" == "tensor([1., 1.])"
    assert f"{tg.tensor(2.0, requires_grad=True) * 2:.1f}" == "4.0"


def test_copies():
    x = tg.ones(2, requires_grad=True)
    x.grad = tg.ones(2)
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    assert np.shares_memory(shallow.detach().numpy(), x.detach().numpy())
    assert not np.shares_memory(deep.detach().numpy(), x.detach().numpy())
    assert deep.grad.tolist() == [1, 1]
    assert deep.grad is not x.grad
    assert shallow.is_leaf
    assert deep.requires_grad
    twice = copy.deepcopy([x, x])
    assert twice[0] is twice[1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(protocol):
    x = tg.arange(6.0).reshape(2, 3).t().detach().requires_grad_()
    again = pickle.loads(pickle.dumps(x, protocol))
    assert tg.equal(again, x)
    assert again.requires_grad
    assert again.is_leaf
    (again * 2).sum().backward()
    assert again.grad.shape == (3, 2)
    assert pickle.loads(pickle.dumps(again, protocol)).grad.tolist() == [[2, 2]] * 3
    assert not pickle.loads(pickle.dumps(tg.tensor([1, 2]), protocol)).requires_grad


def gradient_of(x):
    (x * x).sum().backward()
    return x.grad


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork with threads, since 3.12
def test_a_child_process_takes_and_returns_tensors():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * 3).sum().backward()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result = pool.apply(gradient_of, (x.detach().requires_grad_(),))
    assert result.tolist() == [2, 4]
    assert x.grad.tolist() == [3, 3]


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")
def test_arrays():
    x = tg.tensor([1.0, 2.0])
    x.numpy().shape = 2, 1  # of an array of one's own
    given = np.ones(4)
    y = tg.from_numpy(given)
    given.shape = 2, 2
    assert (x.shape, (y * 2).shape) == ((2,), (4,))
    assert np.shares_memory(np.asarray(x), x.numpy())
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(x), x.numpy())
    assert np.array(x, copy=False) is not None
    y = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Use tensor.detach\(\).numpy\(\) instead"):
        y.numpy()
    assert y.numpy(force=True).tolist() == [1, 1]


def test_leaves():
    x = tg.ones(2, requires_grad=True)
    assert x.is_leaf
    assert not (x * 2).is_leaf
    assert tg.ones(2).is_leaf
    assert (tg.ones(2) * 2).is_leaf
    assert (x > 0).is_leaf
    assert (x * 2).detach().is_leaf


def test_the_gradient_can_be_set():
    x = tg.ones(2, requires_grad=True)
    assert x.grad is None
    x.grad = g = tg.ones(2)
    assert x.grad is g
    x.grad = None
    assert x.grad is None
    with pytest.raises(TypeError, match="expected to be a Tensor or None but got grad of type int"):
        x.grad = 3
    with pytest.raises(RuntimeError, match=r"of size '\[3\]' to a tensor of size '\[2\]'"):
        x.grad = tg.ones(3)
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with dtype"):
        x.grad = tg.ones(2, dtype=tg.float64)
    with pytest.raises(RuntimeError, match="can't assign Variable as its own grad"):
        x.grad = x
    assert x.grad is None
    with pytest.warns(UserWarning, match="not a leaf Tensor is being accessed"):
        assert (x * 2).grad is None


def test_requires_grad_can_be_set_on_leaves():
    x = tg.ones(2)
    x.requires_grad = True
    assert (x * 2).requires_grad
    y = x * 2
    for value in (True, False):
        with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf"):
            y.requires_grad = value
    with pytest.raises(RuntimeError, match="requires_grad must be a bool"):
        x.requires_grad = 1
    with pytest.raises(RuntimeError, match="only Tensors of floating point and complex dtype"):
        tg.tensor([1]).requires_grad = True


def test_data():
    x = tg.ones(2, requires_grad=True)
    assert not x.data.requires_grad
    x.data.add_(1)
    assert x.tolist() == [2, 2]
    x.data = tg.zeros(3)
    assert x.shape == (3,)
    assert x.requires_grad
    (x + 1).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="Variable data has to be a tensor, but got int"):
        x.data = 3
    with pytest.raises(RuntimeError, match="must be floating point or complex"):
        x.data = tg.tensor([1])


def test_backward_and_hooks_are_methods():
    x = tg.ones(2, requires_grad=True)
    seen = []
    x.register_hook(seen.append)
    y = x * 2
    y.retain_grad()
    assert y.retains_grad
    assert not x.retains_grad
    y.backward(tg.ones(2), retain_graph=True)
    assert y.grad.tolist() == [1, 1]
    assert seen[0].tolist() == [2, 2]
    y.sum().backward(inputs=[x])
    assert x.grad.tolist() == [4, 4]
    with pytest.raises(TypeError, match=r"Tensor.backward\(\) got an unexpected keyword"):
        y.backward(foo=1)


def test_questions():
    x = tg.ones(2, 3)
    assert (x.numel(), x.nelement(), x.element_size(), x.dim(), x.ndimension()) == (6, 6, 4, 2, 2)
    assert (x.size(), x.size(1), x.size(-1), x.stride()) == ((2, 3), 3, 3, (3, 1))
    assert x.is_floating_point()
    assert x.is_signed()
    assert not x.is_complex()
    assert tg.is_tensor(x)
    assert not tg.is_tensor(1)
    assert x.get_device() == -1
    assert x.data_ptr() == x.numpy().ctypes.data
    assert x.is_set_to(x.detach())
    assert x[1].storage_offset() == 3
    assert x.is_cpu
    assert not any([x.is_cuda, x.is_sparse, x.is_shared(), x.is_pinned()])


def test_the_package():
    import tapegrad.nn.functional as F
    from tapegrad.tape import Tape
    from tapegrad.tensor import Tensor

    assert F.relu is tg.nn.functional.relu
    assert isinstance(tg.tape, Tape)
    assert tg.Tensor is Tensor
    assert callable(tg.tensor)
    assert tg.float is tg.float32
    assert tg.long is tg.int64
    assert {"tensor", "zeros", "matmul", "no_grad", "float32", "nn"} <= set(tg.__all__)
    assert len(set(tg.__all__)) == len(tg.__all__)
    assert all(hasattr(tg, name) for name in tg.__all__)


def test_the_demo_runs(capsys):
    from tapegrad import demo

    demo.main()
    shown = capsys.readouterr().out
    assert "grad_fn=<BinaryCrossEntropyWithLogitsBackward0>" in shown
    assert "leaf" in shown
    assert "tensor([[8., 4., 4., 4., 4.]," in shown


SAME = """
f"{s:.3f}"
f"{s}"
f"{x}"
f"{torch.ones(1):.2f}"
f"{torch.tensor(3):d}"
float(torch.ones(2))
float(torch.tensor(1j))
int(torch.tensor(2.7))
range(3)[torch.tensor([1])]
range(3)[torch.tensor(1.)]
None in x
[1.5] in x
x.detach().numpy()
torch.ones(2).item()
list(torch.ones(2))
torch.Tensor(torch.Size([2, 3])).shape
x.layout
x.backward()
torch.ones(2).sum().backward()
x.sum().backward(torch.ones(3))
x.sum().backward(inputs=[])
torch.ones(2).retain_grad()
torch.ones(2).register_hook(print)
(x * 2).register_post_accumulate_grad_hook(print)
"""


@pytest.mark.torch
@pytest.mark.parametrize("expression", SAME.strip().splitlines())
def test_as_torch(expression):
    import torch

    both = []
    for module in (tg, torch):
        names = {"x": module.ones(2, requires_grad=True), "s": module.tensor(3.14159)}
        both.append(outcome(module, expression, **names))
    assert both[0] == both[1]


def test_integers_in_place():
    x = tg.arange(4)
    memory = x.numpy()
    x += 1
    x *= tg.tensor([2, 3, 4, 5])
    x.sub_(2)
    assert memory.tolist() == [0, 4, 10, 18]
    count = tg.tensor((1 << 63) - 1)
    assert count.add_(1).item() == -(1 << 63)  # as in torch
    with pytest.raises(RuntimeError, match="can't be cast"):
        x += 0.5
    with pytest.raises(RuntimeError, match="can't be cast"):
        x /= 2
    with pytest.raises((RuntimeError, OverflowError)):
        x += 1 << 70
    assert memory.tolist() == [0, 4, 10, 18]
    x += True
    assert memory.tolist() == [1, 5, 11, 19]


@pytest.mark.parametrize("view", [False, True])
def test_in_place_with_an_operand_alone_that_requires_grad(view):
    """The old value is kept for the operand's gradient, as torch keeps it."""
    v = tg.tensor([0.5, 0.25], requires_grad=True)

    def scaled(v):
        y = tg.tensor([[2.0, 3.0], [4.0, 5.0]])
        (y[0] if view else y).mul_(v)
        return y

    scaled(v).sum().backward()
    assert v.grad.tolist() == ([2.0, 3.0] if view else [6.0, 8.0])
    _, dot = tg.func.jvp(scaled, (v.detach(),), (tg.ones(2),))
    assert dot.tolist() == [[2.0, 3.0], [0.0, 0.0] if view else [4.0, 5.0]]


def test_forward_mode_refuses_a_saved_value_that_has_changed():
    def spoilt(v):
        y = tg.ones(2)
        out = y * v
        y.zero_()
        return out

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        tg.func.jvp(spoilt, (tg.ones(2),), (tg.ones(2),))


@pytest.mark.torch
def test_arrays_and_pickles_of_what_requires_grad():
    torch = pytest.importorskip("torch")

    def work(lib):
        x = lib.ones(2, requires_grad=True)
        with lib.no_grad():
            array = x.numpy()
        hooks = lib.autograd.graph.saved_tensors_hooks(lambda t: t.numpy().copy(), lib.from_numpy)
        with hooks:
            y = (x * 2.0 * x).exp()
        again = pickle.loads(pickle.dumps(y))
        y.sum().backward()
        return array.tolist(), repr(again), again.is_leaf, x.grad.numpy().round(3).tolist()

    assert work(tg) == work(torch)
