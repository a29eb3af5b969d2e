"""Fused functions beside their rules; and the threads that share their work."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading, threads
from tapegrad.fused import fused, library
from tests.samples import SAMPLES

pytestmark = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)


def gradients(sample, dtype, scale):
    arrays = [np.asarray(a * scale, dtype) for a in sample.arrays()]
    leaves = [tg.from_numpy(a).requires_grad_() for a in arrays]
    out = sample.call(*leaves)
    weights = np.random.default_rng(1).uniform(-1, 1, out.shape)
    loaded, loading.native.loaded = loading.native.loaded, False  # small ones would be the loop's
    try:
        out.backward(tg.from_numpy(np.asarray(weights)).to(out.dtype))
    finally:
        loading.native.loaded = loaded
    return [out.detach().numpy(), *(x.grad.numpy() for x in leaves if x.grad is not None)]


@pytest.fixture
def called(monkeypatch):
    """The names of the fused functions that are called, as they are called."""
    from tapegrad.kernels.fused import find as found

    names = []

    def find(name, dtype):
        names.append(name)
        return found(name, dtype)

    monkeypatch.setattr(library, "find", find)
    return names


def assert_fused_is_rule(sample, dtype, scale, monkeypatch):
    with_it = gradients(sample, dtype, scale)
    monkeypatch.setattr(library, "find", None)
    without = gradients(sample, dtype, scale)
    for a, b in zip(with_it, without, strict=True):
        eps = np.finfo(dtype).eps
        if "attention" in str(sample):
            # Exponentials of scores of hundreds: each way is hundreds of eps from the truth.
            eps *= max(1.0, scale)
        limit = 100 * eps * max(1.0, float(np.abs(b).max(initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=100 * eps, atol=limit, strict=True)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_fused_is_rule(sample, dtype, scale, monkeypatch, called):
    gradients(sample, dtype, scale)
    if called:
        assert_fused_is_rule(sample, dtype, scale, monkeypatch)


def test_every_fused_function_has_a_sample(called):
    from tapegrad.kernels.fused import FAMILIES, FAMILY_OF

    for sample in SAMPLES:
        gradients(sample, np.float64, 1.0)
    # Those of optimizers, of larger arrays than samples have, of random numbers: see test_optim,
    # test_products, test_reductions, test_large and test_random.
    apart = [FAMILIES[name] for name in ("updates", "products", "draws", "sums", "looped")]
    assert set(called).union(*apart) == set(FAMILY_OF)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shares_of_large_arrays(count):
    x = np.random.default_rng(0).uniform(-1, 1, (17, 9))
    before = tg.get_num_threads()
    tg.set_num_threads(count)
    try:
        out = np.empty_like(x)
        fused("softmax", x)(17, x, out, 9, work=threads.LARGE_BYTES + 1)
    finally:
        tg.set_num_threads(before)
    expected = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(out, expected, rtol=1e-14)


def test_not_for_other_arrays():
    x = np.ones((4, 4))
    assert fused("softmax", x) is not None
    for other in (x.T[:2], x.astype(np.float16), x[:0], x.astype(">f8"), tg.ones(2, 2), None):
        assert fused("softmax", other) is None
    assert fused("softmax", x, x.astype(np.float32)) is None


def test_when_the_process_ends():
    # What `sys` has is dropped last of all, when the modules are empty.
    code = """
        import os, sys
        import numpy as np
        from tapegrad import replay
        from tapegrad.kernels.fused import find
        from tapegrad.rules.ondemand.dotproducts import Plan
        replay.load_native()
        x = np.ones((1, 4, 4))
        out, row = np.empty_like(x), np.empty(4)
        plan = Plan.of(x.shape, 4, 4, False, 8, False)
        room = plan.new_room(x.dtype)
        class Last:
            def __init__(self, *given):
                self.given = given
            def __del__(self):
                write, attention, softmax, x, out, row, *rest = self.given
                attention(1, id(x), id(x), id(x), 0, out, *rest)
                softmax(1, x, row, 4)
                write(1, out.tobytes() + row.tobytes())
        rest = plan.numbers, room, 0.5
        kernels = find("attention", x.dtype), find("softmax", x.dtype)
        sys.last = Last(os.write, *kernels, x, out, row, *rest)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONMALLOC": "debug"},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert np.frombuffer(done.stdout).tolist() == [1.0] * 16 + [0.25] * 4


def test_state_of_another_shape_is_refused():
    p, q = tg.nn.Parameter(tg.ones(1000)), tg.nn.Parameter(tg.ones(4))
    large, small = tg.optim.Adam([p]), tg.optim.Adam([q])
    for parameter, optimizer in ((p, large), (q, small)):
        parameter.grad = tg.ones_like(parameter)
        optimizer.step()
    large.load_state_dict(small.state_dict())
    with pytest.raises(ValueError, match="broadcast"):
        large.step()


def test_a_step_changes_the_state_that_a_record_saved():
    x, y = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    optimizer = tg.optim.Adam([x])
    x.grad = tg.ones(3)
    optimizer.step()
    z = (y * optimizer.state[x]["exp_avg"]).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
