"""``out=``: results written into given Tensors."""

from __future__ import annotations

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
