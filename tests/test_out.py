"""``out=``: results written into given Tensors."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg


def test_out_is_written_and_returned():
    x, out = tg.tensor([[1.0, 2.0], [4.0, 3.0]]), tg.zeros(2)
    view = out[:1]
    assert tg.amax(x, 1, out=out) is out
    assert out.tolist() == [2, 4]
    assert view.tolist() == [2]
    assert tg.amax(x, 1, out=None).tolist() == [2, 4]


def test_out_of_another_shape_gets_the_result_s():
    out = tg.empty(0)
    assert tg.cat((tg.ones(2), tg.zeros(1)), out=out) is out
    assert out.tolist() == [1, 1, 0]


def test_resizing_what_holds_something_warns():
    out = tg.zeros(3)
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        tg.arange(0, 1, 0.25, out=out)
    assert out.tolist() == [0, 0.25, 0.5, 0.75]


def test_arange():
    out = tg.empty(0, dtype=tg.int64)
    assert tg.arange(3, out=out).tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="step must be nonzero"):
        tg.arange(0, 64, 0.5, out=out)
    with pytest.raises(RuntimeError, match="dtype Float does not match dtype of out parameter"):
        tg.arange(3, dtype=tg.float32, out=out)


def test_cat_casts_into_out():
    out = tg.zeros(2, dtype=tg.float64)
    assert tg.cat((tg.ones(1), tg.ones(1)), out=out).dtype == tg.float64


X = "x = torch.tensor([[0.25, 0.5], [0.75, 0.125]])\n"
WRITTEN = """
torch.abs(x, out=out)
torch.exp(x, out=out)
torch.add(x, x, out=out)
torch.add(x, 1, alpha=2, out=out)
torch.sub(x, 1.0, out=out)
torch.mul(x, x[0], out=out)
torch.div(x, 2, rounding_mode="floor", out=out)
torch.pow(x, 2, out=out)
torch.maximum(x, x.t(), out=out)
torch.atan2(x, x, out=out)
torch.where(x > 0.3, x, -x, out=out)
torch.clamp(x, 0.2, 0.6, out=out)
torch.lerp(x, x.t(), 0.5, out=out)
torch.addcmul(x, x, x, out=out)
torch.matmul(x, x, out=out)
torch.mm(x, x, out=out)
torch.addmm(x, x, x, out=out)
torch.sum(x, 0, out=out)
torch.mean(x, 0, keepdim=True, out=out)
torch.cumsum(x, 0, out=out)
torch.stack([x, x], out=out)
torch.softmax(x, 0, out=out)
torch.gather(x, 0, torch.zeros(2, 2, dtype=torch.int64), out=out)
torch.tril(x, out=out)
torch.linalg.inv(x, out=out)
torch.linalg.norm(x, out=out)
torch.special.expit(x, out=out)
torch.special.i1(x, out=out)
torch.fft.rfft(x, out=complex)
torch.eq(x, x.t(), out=bools)
torch.isneginf(x, out=bools)
torch.logical_not(x, out=bools)
torch.argmax(x, 1, out=indices)
torch.sort(x, out=(out, indices))
torch.topk(x, 1, out=(out, indices))
torch.max(x, 0, out=(out, indices))
torch.mul(x, x, out=x)
torch.neg(x, out=x)
torch.add(x, 1, out=out.double())
""".strip().splitlines()


@pytest.mark.parametrize("call", WRITTEN)
@pytest.mark.parametrize("native", [False, True])
def test_written_as_by_torch(call, native):
    torch = pytest.importorskip("torch")
    if native:
        tg.warmup()

    def made(lib):
        space = {"torch": lib}
        exec(X, space)
        space |= {"out": lib.empty(0), "bools": lib.empty(0).bool(), "complex": lib.empty(0) + 0j}
        space["indices"] = lib.empty(0).long()
        result = eval(call, space)
        names = [n for n in ("out", "x", "bools", "complex", "indices") if f"={n})" in call]
        assert [space[n] is result for n in names] == [True] * len(names)
        return [space[n].tolist() for n in ("x", "out", "bools", "complex", "indices")]

    for mine, wanted in zip(made(tg), made(torch), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-6)


def test_a_write_into_out_is_seen_by_backward():
    x = tg.ones(3, requires_grad=True)
    factor = tg.ones(3)
    y = (x * factor).sum()
    tg.add(factor, 1, out=factor)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_refusals_of_what_is_computed():
    x = tg.arange(4.0)
    for call, error, message in (
        (lambda: tg.exp(x, out=tg.empty(4).long()), RuntimeError, "Expected out tensor to have dt"),
        (
            lambda: tg.exp(x.clone().requires_grad_(), out=tg.empty(4)),
            RuntimeError,
            "don't support",
        ),
        (lambda: tg.add(x, x, out=tg.empty(4, requires_grad=True)), RuntimeError, "don't support"),
        (lambda: tg.add(x[1:], 1, out=x[:3]), RuntimeError, "refer to a single memory location"),
        (lambda: tg.add(x, 1, out=tg.empty(1).expand(4)), RuntimeError, "single memory location"),
        (lambda: tg.matmul(x, x, out=3), TypeError, "argument 'out' must be Tensor, not int"),
        (lambda: tg.sort(x, out=x), TypeError, "argument 'out' must be tuple of 2 Tensors"),
        (lambda: tg.equal(x, x, out=x), TypeError, "unexpected keyword argument 'out'"),
        (lambda: tg.sum(x, nothing=3), TypeError, "unexpected keyword argument 'nothing'"),
    ):
        with pytest.raises(error, match=message):
            call()
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        tg.exp(x, out=tg.empty(2))


def test_without_grad():
    x, out = tg.ones(2, requires_grad=True), tg.zeros(())
    with tg.no_grad():
        assert tg.amax(x, 0, out=out).item() == 1


def test_several_results():
    values, indices = tg.zeros(()), tg.zeros((), dtype=tg.int64)
    found = tg.kthvalue(tg.tensor([3.0, 1.0, 2.0]), 2, out=(values, indices))
    assert found.values is values
    assert (values.item(), indices.item()) == (2, 2)


def test_refusals():
    x = tg.arange(4.0)
    index = tg.tensor([0, 1])
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype"):
        tg.gather(x, 0, index, out=tg.zeros(2, dtype=tg.float64))
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        tg.gather(x, 0, index, out=x[:2])
    with pytest.raises(RuntimeError, match="refer to a single memory location"):
        tg.take(x, index, out=tg.zeros(1).expand(2))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tg.take(x.requires_grad_(), index, out=tg.zeros(2))


def test_under_no_grad_the_target_may_require_grad():
    p = tg.nn.Parameter(tg.ones(3))
    with tg.no_grad():
        assert tg.add(p, tg.ones(3), alpha=-0.5, out=p) is p
    assert p.tolist() == [0.5] * 3
    assert p.requires_grad
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tg.add(p, tg.ones(3), out=p)
