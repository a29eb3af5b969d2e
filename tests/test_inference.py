"""Tensors made in inference mode: which are, what may be done with them, what may not."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tapegrad as tg


def made_in_inference_mode():
    with tg.inference_mode():
        return tg.ones(3)


MADE = {
    "ones": lambda x: tg.ones(2),
    "tensor": lambda x: tg.tensor([1.0]),
    "from_numpy": lambda x: tg.from_numpy(np.ones(2)),
    "rand": lambda x: tg.rand(2),
    "zeros_like": tg.zeros_like,
    "exp": lambda x: x.exp(),
    "add": lambda x: x + x,
    "rsub": lambda x: 1 - x,
    "compare": lambda x: x > 0,
    "sum": lambda x: x.sum(),
    "matmul": lambda x: x @ x,
    "cat": lambda x: tg.cat([x, x]),
    "index": lambda x: x[[0, 1]],
    "sort": lambda x: x.sort().values,
    "clone": lambda x: x.clone(),
    "double": lambda x: x.double(),
    "large": lambda x: tg.ones(5000) * 2,
    "integers": lambda x: tg.arange(3) * 2,
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_made_within_is_marked(make):
    x = tg.ones(3, requires_grad=True)
    with tg.inference_mode():
        assert make(x).is_inference()
    assert not make(x).is_inference()
    with tg.no_grad():
        assert not make(x).is_inference()


def test_views_are_what_their_base_is():
    x, r = tg.ones(3), made_in_inference_mode()
    with tg.inference_mode():
        views = [x[1:], x.view(3, 1), x.detach(), x.data, x.reshape(3, 1), x.unbind()[0]]
    assert not any(view.is_inference() for view in views)
    views = [r[1:], r.view(3, 1), r.detach(), r.data, r.reshape(3, 1), r.unbind()[0]]
    assert all(view.is_inference() for view in views)
    assert r[1:]._base is None


def test_outside_they_serve_as_constants():
    x, r = tg.ones(3, requires_grad=True), made_in_inference_mode()
    assert tg.is_inference(r)
    assert not (r * 2).is_inference()
    (x + r).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * r
    (x * r.clone()).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]


def test_in_place_changes_within():
    x, r = tg.ones(3, requires_grad=True), made_in_inference_mode()
    with tg.inference_mode():
        r.add_(1)
        r[0] = 5
        x.mul_(3)
    assert (r.tolist(), x.tolist()) == ([5, 2, 2], [3, 3, 3])
    assert x.requires_grad
    assert not x.is_inference()


def test_data_passes_the_mark_on():
    x, r = tg.ones(3), made_in_inference_mode()
    x.data = r
    r.data = tg.ones(3)
    assert x.is_inference()
    assert not r.is_inference()


def test_other_threads_are_not_in_the_mode():
    marked = []
    with tg.inference_mode():
        thread = threading.Thread(target=lambda: marked.append((tg.ones(2) * 2).is_inference()))
        thread.start()
        thread.join()
    assert marked == [False]


def test_leaving_the_mode_within():
    with tg.inference_mode(), tg.inference_mode(False):
        assert not tg.ones(2).is_inference()
        assert tg.is_grad_enabled()


def test_data_is_watched_apart():
    x = tg.ones(3, requires_grad=True)
    y = x * 1
    z = y * y
    y.data.mul_(3)
    assert (y._version, y.data._version, y.tolist()) == (0, 0, [3, 3, 3])
    z.sum().backward()
    assert x.grad.tolist() == [6, 6, 6]


LAYOUTS = {
    "0-d": lambda: tg.ones(()),
    "transposed": lambda: tg.ones(2, 3).T,
    "expanded": lambda: tg.ones(3).expand(2, 3),
    "bool": lambda: tg.tensor([True]),
    "complex": lambda: tg.ones(2, dtype=tg.complex64),
    "half": lambda: tg.ones(2).half(),
}


@pytest.mark.parametrize("make", LAYOUTS.values(), ids=LAYOUTS)
def test_data_shares_memory_of_any_layout(make):
    x = make()
    data = x.data
    assert (data.shape, data.stride(), data.dtype) == (x.shape, x.stride(), x.dtype)
    assert data.data_ptr() == x.data_ptr()
