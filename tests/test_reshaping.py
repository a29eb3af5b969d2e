"""Changes of shape in place, and the smaller methods of Tensor."""

from __future__ import annotations

import pytest

import tapegrad as tg
from tests.same_as_torch import outcome


@pytest.fixture
def m():
    return tg.arange(1.0, 7.0).view(2, 3).requires_grad_()


def test_shapes():
    x = tg.ones(2, 3)
    assert x.unsqueeze_(0) is x
    assert x.shape == (1, 2, 3)
    assert x.squeeze_(0).t_().shape == (3, 2)
    assert x.stride() == (1, 3)
    assert x.transpose_(0, 1).swapaxes_(0, 1).swapdims_(0, 1).shape == (2, 3)
    assert tg.ones(1, 2, 1, 1).squeeze_((0, 2)).shape == (2, 1)


def test_gradient(m):
    y = m * 2
    y.t_()
    y.mul_(3)
    (y * tg.arange(6.0).view(3, 2)).sum().backward()
    assert m.grad.tolist() == [[0, 12, 24], [6, 18, 30]]


@pytest.mark.parametrize("part", [slice(None), (slice(None), slice(1, 3))])
@pytest.mark.parametrize("made", ["itself", "a view"])
@pytest.mark.parametrize("mode", [tg.no_grad, tg.inference_mode, tg.enable_grad])
def test_gradient_in_any_mode(m, mode, made, part):
    whole = m * 1
    y = whole[part] if made == "a view" else (m[part] * 1)
    n = y.numel()
    with mode():
        y.t_().unsqueeze_(0).swapaxes_(1, 2).squeeze_().t_()
    assert y.requires_grad
    assert not y.is_leaf
    y.mul_(2)
    (y * tg.arange(1.0, 1 + n).view(-1, 2)).sum().backward()
    expected = tg.zeros(2, 3)
    expected[part] = 2 * tg.arange(1.0, 1 + n).view(-1, 2).t()
    assert tg.equal(m.grad, expected)


def test_of_a_leaf_under_no_grad(m):
    with tg.no_grad():
        m.t_()
    assert m.is_leaf
    (m * tg.arange(6.0).view(3, 2)).sum().backward()
    assert m.grad.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_view_made_under_no_grad_does_not_require_grad(m):
    # As torch's documentation has it. Its Tensors say that they do if their base does: they are
    # leaves that take gradients which their base never gets.
    with tg.no_grad():
        row = m[0]
    assert not row.requires_grad
    assert row._is_view()
    with pytest.raises(RuntimeError, match="does not require grad"):
        row.sum().backward()


def test_of_a_view(m):
    y = m * 1
    row = y[0]
    row.unsqueeze_(0)
    row.mul_(2)
    assert row.shape == (1, 3)
    assert row._base is y
    y.mul_(3)
    row.sum().backward(retain_graph=True)
    assert m.grad.tolist() == [[6, 6, 6], [0, 0, 0]]


def test_of_a_column(m):
    y = m * 1
    part = y[:, 1:]
    part.t_()
    part[0].mul_(5)
    y.sum().backward()
    assert m.grad.tolist() == [[1, 5, 1], [1, 5, 1]]


def test_earlier_views_keep_their_values_and_say_when_they_are_cut_off(m):
    y = m * 1
    row = y[0]
    y.unsqueeze_(0)
    y.mul_(2)
    assert row.tolist() == [2, 4, 6]
    with pytest.raises(RuntimeError, match="given another shape"):
        row.sum()
    with pytest.raises(RuntimeError, match="given another shape"):
        row.mul_(2)


def test_leaves_under_no_grad():
    x = tg.ones(3, requires_grad=True)
    with tg.no_grad():
        x.unsqueeze_(0)
    (x * 2).sum().backward()
    assert x.is_leaf
    assert x.grad.tolist() == [[2, 2, 2]]


def test_recorded_tensors_are_not_set():
    with pytest.raises(NotImplementedError, match="copy_"):
        (tg.ones(2, requires_grad=True) * 1).set_(tg.ones(2))


PROGRAMS = [
    "torch.arange(3.).resize_(2), torch.arange(3.).resize_(2, 2).flatten()[:3]",
    "torch.arange(3.).resize_as_(torch.ones(1, 2)), torch.ones(3).set_(torch.ones(2)).shape",
    "torch.arange(6.).view(2, 3).t_().resize_(3)",
    "torch.zeros(3, 3).fill_diagonal_(1), torch.zeros(2, 2, 2).fill_diagonal_(1)",
    "torch.zeros(7, 3).fill_diagonal_(5), torch.zeros(7, 3).fill_diagonal_(5, wrap=True)",
    "torch.arange(3.).apply_(lambda v: v * 2 + 1), torch.arange(3).apply_(lambda v: v + 1)",
    "torch.arange(3.).map_(torch.ones(3), lambda v, w: v * 10 + w)",
    "torch.arange(3.).map2_(torch.ones(3), torch.ones(3), lambda v, w, u: v * 10 + w + u)",
    "list(reversed(torch.arange(3))), torch.ones(2, 3).new([1, 2]), torch.arange(3).new(2).dtype",
    "torch.tensor([1j]).conj_physical_(), torch.isreal(torch.tensor([1 + 0j, 1j]))",
    "torch.arange(3.).isreal(), torch.arange(3.).is_neg(), torch.is_conj(torch.ones(2))",
    "torch.typename(torch.ones(2)), torch.typename(3), torch.is_signed(torch.ones(2))",
    "torch.ones(2, 3).t().dim_order(), torch.ones(2, 3).dim_order(), torch.ones(2).to_dense()",
    "torch.ones(2)._is_view(), torch.ones(2)[1:]._is_view(), torch.ones(2).resolve_neg()",
    "torch.exp_(torch.zeros(2)), torch.fill_(torch.ones(2), 3), torch.clamp_(torch.ones(2), 2, 3)",
    "torch.empty(5).geometric_(0.3), torch.empty(5, dtype=torch.int64).geometric_(0.5)",
    "torch.empty(40).log_normal_(), torch.empty(3, 3, dtype=torch.float64).log_normal_(0, 1)",
    "torch.empty(5).cauchy_(), torch.empty(2, 2, dtype=torch.float64).cauchy_(1, 2)",
    "torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()",
]


@pytest.mark.torch
@pytest.mark.parametrize("program", PROGRAMS)
def test_as_torch(program):
    torch = pytest.importorskip("torch")
    assert outcome(tg, program) == outcome(torch, program)
