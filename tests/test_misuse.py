"""Misuse raises torch's errors: each row runs under tapegrad, and under torch where it is."""

from __future__ import annotations

import copy
import importlib

import pytest

import tapegrad as tg


def twice(t):
    y = (t.ones(2, requires_grad=True) ** 2).sum()
    y.backward()
    y.backward()


def changed(t):
    x = t.ones(2, requires_grad=True)
    y = x * 1
    z = y * y
    y.add_(1)
    z.sum().backward()


def hook_of_another_shape(t):
    x = t.ones(2, requires_grad=True)
    x.register_hook(lambda grad: t.ones(3))
    x.sum().backward()


def set_grad(t, value):
    x = t.ones(2, requires_grad=True)
    x.grad = value


def view_of_leaf(t):
    t.ones(3, requires_grad=True)[1:].mul_(2)


def non_leaf_flag(t):
    y = t.ones(2, requires_grad=True) * 2
    y.requires_grad = False


def shifted(t, change):
    x = t.arange(5.0)
    change(x[1:], x[:-1])


def shift(target, source):
    target += source


def transposed(t):
    x = t.ones(3, 3)
    x.mul_(x.T)


SHARED = "input tensor and the written-to tensor refer to a single memory location. Please clone"


def must_be_tensor(function, name, position, kind):
    return rf"{function}\(\): argument '{name}' \(position {position}\) must be Tensor, not {kind}"


def test_memory_that_may_be_shared():
    x = tg.arange(6.0)
    x[:3].add_(x[:3])  # all of it
    x[::2].add_(x[1::2])
    x[:2].add_(x[2:4])
    x[:4].masked_fill_(x[2:] > 3, 0)
    x[1:].addmv_(tg.ones(5, 5), x[:5])


# (what is done, the exception, what its message says)
ROWS = [
    (lambda t: t.ones(2, requires_grad=True).backward(), RuntimeError,
     "grad can be implicitly created only for scalar outputs"),
    (twice, RuntimeError, "Trying to backward through the graph a second time"),
    (lambda t: t.ones(()).backward(), RuntimeError,
     "element 0 of tensors does not require grad and does not have a grad_fn"),
    (lambda t: (t.ones(2, requires_grad=True) * 2).backward(t.ones(3)), RuntimeError,
     r"Mismatch in shape: grad_output\[0\] has a shape of .*\[3\]\) and output\[0\] has a shape"),
    (lambda t: t.tensor([1, 2], requires_grad=True), RuntimeError,
     "Only Tensors of floating point and complex dtype can require"),
    (lambda t: t.tensor([1, 2]).requires_grad_(), RuntimeError, "require grad"),
    (lambda t: t.ones(2, requires_grad=True).numpy(), RuntimeError,
     r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\)"),
    (non_leaf_flag, RuntimeError, "you can only change requires_grad flags of leaf variables"),
    (lambda t: t.ones(2) + t.ones(3), RuntimeError,
     r"The size of tensor a \(2\) must match the size of tensor b \(3\) at non-singleton"),
    (lambda t: t.ones(2, requires_grad=True).add_(1), RuntimeError,
     "a leaf Variable that requires grad is being used in an in-place"),
    (view_of_leaf, RuntimeError,
     "a view of a leaf Variable that requires grad is being used in an in-place"),
    (changed, RuntimeError,
     "needed for gradient computation has been modified by an inplace operation"),
    (lambda t: t.ones(2).item(), RuntimeError, "a Tensor with 2 elements cannot be converted to"),
    (lambda t: bool(t.ones(2)), RuntimeError,
     "Boolean value of Tensor with more than one value is ambiguous"),
    (lambda t: len(t.ones(())), TypeError, r"len\(\) of a 0-d tensor"),
    (lambda t: iter(t.ones(())), TypeError, "iteration over a 0-d tensor"),
    (lambda t: t.ones(3)[5], IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    (lambda t: t.ones(3)[0, 0], IndexError, "too many indices for tensor of dimension 1"),
    (lambda t: t.ones(3)[::-1], ValueError, "step must be greater than zero"),
    (lambda t: t.ones(6).reshape(4, 2), RuntimeError,
     r"shape '\[4, 2\]' is invalid for input of size 6"),
    (lambda t: t.ones(2, 3).T.view(6), RuntimeError,
     "view size is not compatible with input tensor's size and stride"),
    (lambda t: t.ones(2, 3) @ t.ones(4, 5), RuntimeError,
     r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)"),
    (lambda t: t.ones(2, 2) @ t.ones(2, 2, dtype=t.float64), RuntimeError,
     "to have the same dtype"),
    (lambda t: t.cat([t.ones(2, 3), t.ones(2, 4)]), RuntimeError,
     "Sizes of tensors must match except in dimension 0"),
    (lambda t: t.autograd.grad(t.ones((), requires_grad=True) * 1, t.ones(2, requires_grad=True)),
     RuntimeError, "The differentiated Tensor at index 0 appears to not have been used"),
    (lambda t: t.ones(2).sum(5), IndexError,
     r"Dimension out of range \(expected to be in range of \[-1, 0\], but got 5\)"),
    (hook_of_another_shape, RuntimeError, "hook .* has changed the size of value"),
    (lambda t: t.ones(2).register_hook(print), RuntimeError,
     "cannot register a hook on a tensor that doesn't require gradient"),
    (lambda t: set_grad(t, t.ones(3)), RuntimeError,
     r"attempting to assign a gradient of size '\[3\]' to a tensor of size"),
    (lambda t: set_grad(t, 1.0), TypeError, "assigned grad"),
    (lambda t: copy.deepcopy(t.ones(2, requires_grad=True) * 2), RuntimeError,
     "Only Tensors created explicitly by the user"),
    (lambda t: t.ones(2, device="cuda"), AssertionError, "not compiled with CUDA enabled"),
    (lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(3), t.ones(2)), ValueError,
     r"Target size .* must be the same as input size"),
    (lambda t: t.ones(2).backward(inputs=[]), RuntimeError, "cannot be empty"),
    (lambda t: t.tensor([[1.0], [1.0, 2.0]]), ValueError, "expected sequence of length 1 at dim 1"),
    (lambda t: t.ones(2, dtype=t.int64) ** -1, RuntimeError,
     "Integers to negative integer powers are not allowed"),
    (lambda t: t.ones(2, dtype=t.int64).mean(), RuntimeError, "could not infer output dtype"),
    (lambda t: t.ones(2, dtype=t.int64).add_(1.5), RuntimeError,
     "result type .* can't be cast to the desired output type"),
    (lambda t: shifted(t, shift), RuntimeError, SHARED),
    (lambda t: shifted(t, lambda x, y: x.copy_(y)), RuntimeError, SHARED),
    (lambda t: shifted(t, lambda x, y: x.lerp_(y, 0.5)), RuntimeError, SHARED),
    (lambda t: shifted(t, lambda x, y: x.clamp_(max=y)), RuntimeError, SHARED),
    (lambda t: shifted(t, lambda x, y: x.__setitem__(..., y)), RuntimeError, SHARED),
    (transposed, RuntimeError, SHARED),
    (lambda t: t.sum([1.0]), TypeError, must_be_tensor("sum", "input", 1, "list")),
    (lambda t: t.nn.functional.relu("a"), TypeError, must_be_tensor("relu", "input", 1, "str")),
    (lambda t: t.nn.functional.gelu(1.0), TypeError, must_be_tensor("gelu", "input", 1, "float")),
    (lambda t: t.bmm(t.ones(1, 1, 1), [1]), TypeError, must_be_tensor("bmm", "mat2", 2, "list")),
    (lambda t: t.nn.functional.linear([1.0], t.ones(1, 1)), TypeError,
     must_be_tensor("linear", "input", 1, "list")),
    (lambda t: t.sin_([1.0]), TypeError, must_be_tensor("sin_", "input", 1, "list")),
    (lambda t: t.flip(None, (0,)), TypeError, must_be_tensor("flip", "input", 1, "NoneType")),
]  # fmt: skip


def run(name, row):
    action, kind, message = row
    with pytest.raises(kind, match=message):
        action(importlib.import_module(name))


@pytest.mark.parametrize("row", ROWS, ids=[str(i) for i in range(len(ROWS))])
def test_misuse(row):
    run("tapegrad", row)


@pytest.mark.torch
@pytest.mark.parametrize("row", ROWS, ids=[str(i) for i in range(len(ROWS))])
def test_misuse_as_torch(row):
    pytest.importorskip("torch")
    run("torch", row)
