"""Attention in one pass: beside its rules, and what it leaves to others."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading, threads
from tapegrad.fused import library
from tapegrad.rules.ondemand import dotproducts

F = tg.nn.functional
RNG = np.random.default_rng(0)

machine_code = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)


@pytest.fixture
def rooms_of_nan(monkeypatch):
    """What a kernel's memory holds before must not matter."""
    new_room = dotproducts.Plan.new_room

    def filled(self, dtype):
        room = new_room(self, dtype)
        room[:] = np.nan
        return room

    monkeypatch.setattr(dotproducts.Plan, "new_room", filled)


def shares(q, k, v, hidden, is_causal, bar):
    """The result and the adjoints, in one pass if there is machine code."""
    rest = hidden, is_causal, 0.3
    out = dotproducts.attention_forward(q, k, v, *rest)
    return [out, *dotproducts.attention_adjoint(bar, q, k, v, *rest)]


SHAPES = [
    ((), 1, 1, 1, 1), ((2,), 5, 7, 3, 4), ((2, 3), 64, 64, 16, 16), ((3,), 33, 50, 20, 17),
    ((1, 2), 50, 33, 1, 40), ((2,), 250, 210, 8, 33),
]  # fmt: skip


@machine_code
@pytest.mark.parametrize("mask", ["none", "causal", "some", "each"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_pass_is_the_rules(shape, dtype, mask, rooms_of_nan, monkeypatch):
    lead, queries, keys, width, values = shape
    sizes = ((queries, width), (keys, width), (keys, values), (queries, values))
    q, k, v, bar = (RNG.standard_normal((*lead, *size)).astype(dtype) for size in sizes)
    k = np.ascontiguousarray(k.swapaxes(-1, -2)).swapaxes(-1, -2)
    hidden = None
    if mask in ("some", "each"):
        own = () if mask == "some" else lead
        hidden = RNG.random((*own, queries, keys)) < 0.6
        hidden[..., 0, :] = True
        hidden = np.broadcast_to(hidden, (*lead, queries, keys))
    fast = shares(q, k, v, hidden, mask == "causal", bar)
    monkeypatch.setattr(library, "find", None)
    limit = 2e-5 if dtype == np.float32 else 1e-13
    for a, b in zip(fast, shares(q, k, v, hidden, mask == "causal", bar), strict=True):
        np.testing.assert_allclose(a, b, rtol=limit, atol=limit * max(1, queries // 10))


@machine_code
def test_on_several_threads(monkeypatch):
    q, k, v, bar = (RNG.standard_normal((9, 30, 4)) for _ in range(4))
    alone = shares(q, k, v, None, True, bar)
    monkeypatch.setattr(threads, "LARGE_BYTES", 0)
    before = tg.get_num_threads()
    tg.set_num_threads(3)
    try:
        for a, b in zip(alone, shares(q, k, v, None, True, bar), strict=True):
            np.testing.assert_array_equal(a, b)
    finally:
        tg.set_num_threads(before)


@machine_code
def test_not_all_inputs_want_a_gradient():
    q, k, v = (tg.from_numpy(RNG.standard_normal((2, 5, 4))) for _ in range(3))
    found = []
    for wanted in ((0, 1, 2), (0,), (1,), (2,)):
        leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate((q, k, v))]
        F.scaled_dot_product_attention(*leaves, is_causal=True).sum().backward()
        found.append([x.grad for x in leaves])
    for i in range(3):
        assert tg.allclose(found[0][i], found[i + 1][i])
        assert found[i + 1][i - 1] is None


@machine_code
def test_a_key_that_a_mask_hides_may_be_nan():
    q, k, v = (RNG.standard_normal((1, 4, 3)) for _ in range(3))
    k[0, 3] = np.nan
    out = F.scaled_dot_product_attention(*map(tg.from_numpy, (q, k, v)), is_causal=True)
    assert out[0, :3].isfinite().all()
    assert out[0, 3].isnan().all()


@pytest.mark.parametrize("mask", ["causal", "bool", "float"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", range(3))
def test_nan_spreads_no_farther_than_in_torch(which, bad, mask):
    # 0 * nan is nan: torch's two ways differ in where a hidden nan arrives. Here it is never in
    # more places than where torch computes all scores, and the row that has it never loses it.
    torch = pytest.importorskip("torch")
    given = [RNG.normal(size=(1, 2, 5, 4)) for _ in range(3)]
    given[which][0, 0, 2, 1] = bad
    bar = RNG.normal(size=(1, 2, 5, 4))
    seen = np.tril(np.ones((5, 5), bool))
    if mask != "causal":
        seen[:, 2] &= which == 0  # nobody sees the bad key
    added = np.where(seen, 0, -np.inf)

    def nans(lib):
        leaves = [lib.tensor(a, requires_grad=True) for a in given]
        hidden = None if mask == "causal" else lib.tensor(seen if mask == "bool" else added)
        attend = lib.nn.functional.scaled_dot_product_attention
        out = attend(*leaves, attn_mask=hidden, is_causal=mask == "causal")
        out.backward(lib.tensor(bar))
        return [~np.isfinite(t.numpy()) for t in (out.detach(), *[x.grad for x in leaves])]

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        theirs = nans(torch)
    ours = nans(tg)
    for mine, wanted in zip(ours, theirs, strict=True):
        assert not (mine & ~wanted).any()
    assert not ours[0][0, 1].any()  # the other head
    if which == 0:
        assert ours[0][0, 0, 2].all()


def test_queries_of_no_numbers():
    q, k = tg.ones(2, 3, 0, requires_grad=True), tg.ones(2, 4, 0)
    v = tg.rand(2, 4, 2, requires_grad=True)
    out = F.scaled_dot_product_attention(q, k, v)
    out.sum().backward()
    assert tg.allclose(out, v.mean(1, keepdim=True).expand(2, 3, 2))
    assert tg.allclose(v.grad, tg.full((2, 4, 2), 0.75))
    assert q.grad.shape == (2, 3, 0)


@machine_code
def test_under_vmap():
    q, v = (tg.from_numpy(RNG.standard_normal((3, 2, 5, 4))) for _ in range(2))
    one = tg.from_numpy(RNG.standard_normal((2, 5, 4)))
    mask = tg.from_numpy(RNG.random((5, 5)) < 0.7)
    for options in ({"is_causal": True}, {"attn_mask": mask}, {}):

        def attend(q, k, v, options=options):
            return F.scaled_dot_product_attention(q, k, v, **options)

        expected = tg.stack([attend(q[i], one, v[i]) for i in range(3)])
        assert tg.allclose(tg.vmap(attend, (0, None, 0))(q, one, v), expected)
