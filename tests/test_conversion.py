"""Other dtypes and copies: what is returned, what is recorded, and the same calls in torch."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.autograd import grad
from tests.same_as_torch import outcome

REAL = [tg.float16, tg.float32, tg.float64]


def test_nothing_to_do_returns_the_tensor_itself():
    x = tg.ones(2, requires_grad=True)
    for same in (x.to(tg.float32), x.to("cpu"), x.to(), x.to(None), x.float(), x.cpu(),
                 x.type(tg.float32), x.type_as(tg.ones(1)), x.to(tg.ones(1)),
                 x.to("cpu", tg.float32), x.to(tg.float32, True, False)):  # fmt: skip
        assert same is x
    copy = x.to(tg.float32, copy=True)
    assert copy is not x
    assert copy.grad_fn.name() == "ToCopyBackward0"
    assert not np.shares_memory(copy.detach().numpy(), x.detach().numpy())


@pytest.mark.parametrize("source", REAL)
@pytest.mark.parametrize("target", REAL)
def test_gradients_come_back_in_the_dtype_of_the_input(source, target):
    x = tg.tensor([1.0, 2.0], dtype=source, requires_grad=True)
    y = x.to(target, copy=True)
    assert y.dtype is target
    (gradient,) = grad((y * y).sum(), x, create_graph=True)
    assert gradient.dtype is source
    assert gradient.tolist() == [2, 4]
    (second,) = grad(gradient.sum(), x, create_graph=True)
    assert second.tolist() == [2, 2]
    assert second.dtype is source


def test_third_order_through_a_conversion():
    x = tg.tensor(2.0, requires_grad=True)
    y = x.double() ** 4
    for expected in (32.0, 48.0, 48.0):
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == expected
        assert y.dtype is tg.float32


def test_complex_and_back():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = x.to(tg.complex64)
    (gradient,) = grad(z, x, tg.tensor([1 + 2j, 3 + 4j]))
    assert gradient.tolist() == [1, 3]
    w = tg.tensor([1 + 2j], requires_grad=True)
    with pytest.warns(UserWarning, match="discards the imaginary part"):
        y = w.to(tg.float32)
    (gradient,) = grad(y, w, tg.tensor([3.0]))
    assert gradient.tolist() == [3 + 0j]
    assert tg.tensor([1j, 0]).bool().tolist() == [True, False]


def test_integers_are_off_the_tape():
    x = tg.tensor([1.5, 300.0], requires_grad=True)
    for y in (x.int(), x.long(), x.short(), x.char(), x.byte(), x.bool()):
        assert not y.requires_grad
    assert x.byte().tolist() == [1, 44]


def test_what_does_not_fit_makes_no_noise():
    with np.errstate(all="raise"):
        assert tg.tensor([1e10]).half().tolist() == [np.inf]
        tg.tensor([np.nan, np.inf, 1e30]).int()
        assert tg.tensor([1e300], dtype=tg.float64).float().tolist() == [np.inf]


def test_clone():
    x = tg.arange(6.0).reshape(2, 3).t().requires_grad_()
    y = x.clone()
    assert y.stride() == x.stride()
    assert x.clone(memory_format=tg.contiguous_format).is_contiguous()
    assert x.contiguous().is_contiguous()
    assert y.grad_fn.name() == "CloneBackward0"
    (y * y).sum().backward()
    assert tg.equal(x.grad, 2 * x.detach())
    assert tg.tensor(True).clone().item() is True
    assert tg.clone(tg.tensor([1, 2])).dtype is tg.int64
    assert not np.shares_memory(y.detach().numpy(), x.detach().numpy())
    with tg.no_grad():
        assert not x.clone().requires_grad
    (first,) = grad((x.clone() ** 3).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    np.testing.assert_allclose(second.numpy(), 6 * x.detach().numpy())


def test_detach_shares_memory():
    x = tg.ones(2, requires_grad=True)
    y = x.detach()
    assert not y.requires_grad
    assert y.grad_fn is None
    y[0] = 5
    assert x.tolist() == [5, 1]
    z = x * 2
    assert z.detach_() is z
    assert z.is_leaf
    assert not z.requires_grad
    with pytest.raises(RuntimeError, match="Can't detach views in-place"):
        x.view(2).detach_()


def test_a_change_through_detach_is_noticed():
    x = tg.ones(2, requires_grad=True)
    y = x.exp()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_requires_grad():
    x = tg.ones(2)
    assert x.requires_grad_() is x
    assert x.requires_grad
    assert x.requires_grad_(False).requires_grad is False
    y = tg.ones(2, requires_grad=True) * 2
    assert y.requires_grad_() is y
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="only Tensors of floating point dtype"):
        tg.tensor([1]).requires_grad_()


def test_there_is_no_gpu():
    x = tg.ones(2)
    for call in (x.cuda, lambda: x.to("cuda"), tg.cuda.current_device, tg.cuda.synchronize):
        with pytest.raises(AssertionError, match="not compiled with CUDA enabled"):
            call()
    assert not tg.cuda.is_available()
    assert tg.cuda.device_count() == 0
    tg.cuda.manual_seed_all(0)
    with pytest.raises(AttributeError):
        tg.cuda.nonsense  # noqa: B018


SAME = """
x.to(torch.float64)
x.to(torch.float64, False, True)
x.to('cpu', torch.float64)
x.to(device='cpu', dtype=torch.float64)
x.to(i)
x.to(float)
x.to('float64')
x.to(torch.int64)
f.half()
f.cfloat()
f.cdouble()
f.bool()
torch.tensor([300, -1, 70000]).byte()
torch.tensor([300., -1., 70000.]).short()
torch.tensor([0+1j]).to(torch.bool)
f.type()
i.type()
torch.tensor([1j]).type()
f.type('torch.DoubleTensor')
f.type('abc')
f.type(int)
f.type(3)
f.type_as(i)
f.type_as(3)
x.clone()
torch.clone(3)
torch.ones(2, 3).t().clone().stride()
torch.ones(2, 1).expand(2, 3).clone().stride()
torch.detach(x)
x.view(2).detach_()
x.detach().requires_grad_('a')
"""


@pytest.mark.torch
@pytest.mark.parametrize("expression", SAME.strip().splitlines())
def test_as_torch(expression):
    import torch

    both = []
    for module in (tg, torch):
        names = {"x": module.ones(2, requires_grad=True), "i": module.tensor([1, 2])}
        both.append(outcome(module, expression, f=module.tensor([1.5, 2.5]), **names))
    assert both[0] == both[1]
