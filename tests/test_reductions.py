"""Reductions, softmax and norms: as in torch, against differences, and in numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tapegrad.recording import wrap
from tests.differences import check_derivatives
from tests.expressions import assert_same, expressions

AS_IN_TORCH = """
a.sum()  ;; torch.sum(a)  ;; torch.sum(a, 0)  ;; torch.sum(a, 1, True)  ;; torch.sum(b, (0,2))
torch.sum(b, [0,-1], keepdim=True)  ;; torch.sum(a, dim=())  ;; a.sum(dim=None, keepdim=True)
s.sum()  ;; s.sum(0)  ;; s.sum(-1, keepdim=True)  ;; s.sum(1)  ;; a.sum(2)  ;; a.sum(-3)
a.sum((0,0))  ;; a.sum((0,-2))  ;; e.sum()  ;; e.sum(0)  ;; e.sum(1)  ;; e.sum(0,keepdim=True)
i.sum()  ;; i32.sum(0)  ;; u8.sum()  ;; bo.sum()  ;; bo.sum(1)  ;; f32.sum(0)
f32.sum(dtype=torch.float64)  ;; i.sum(dtype=torch.float32)  ;; f32.sum(0, dtype=torch.int32)
h.sum()  ;; h.sum(1)  ;; c.sum()  ;; c.sum(0)  ;; a.sum(axis=0)
a.sum(axis=(0,1), keepdims=True)  ;; torch.nansum(n)  ;; n.nansum(0)
n.nansum(1, keepdim=True)  ;; i.nansum()  ;; bo.nansum(0)  ;; n.nansum(dtype=torch.float32)
c.nansum()  ;; a.mean()  ;; a.mean(0)  ;; a.mean((0,1))  ;; a.mean(-1, keepdim=True)
a.mean(dim=[])  ;; i.mean()  ;; bo.mean()  ;; u8.mean(0)  ;; i32.mean()
i.mean(dtype=torch.float32)  ;; i.mean(dtype=torch.int64)  ;; a.mean(dtype=torch.int64)
f32.mean(dtype=torch.float64)  ;; f32.mean(1)  ;; h.mean()  ;; h.mean(0)  ;; e.mean(1)
s.mean()  ;; s.mean(0)  ;; c.mean()  ;; c.mean(1)  ;; a.mean(axis=1, keepdims=True)
a.mean(5)  ;; n.nanmean()  ;; n.nanmean(0)  ;; n.nanmean(1,keepdim=True)  ;; i.nanmean()
inf.nanmean(1)  ;; a.prod()  ;; a.prod(0)  ;; a.prod(1, keepdim=True)  ;; a.prod(-1)
z.prod()  ;; z.prod(0)  ;; z.prod(1)  ;; b.prod(1)  ;; a.prod(2)  ;; i.prod()  ;; i32.prod(0)
u8.prod()  ;; bo.prod()  ;; i.prod(dtype=torch.float64)  ;; f32.prod(1)
f32.prod(dtype=torch.float64)  ;; h.prod()  ;; s.prod()  ;; s.prod(0)  ;; e.prod()
e.prod(0)  ;; e.prod(1)  ;; zero.prod()  ;; zero.prod(1)  ;; c.prod()  ;; c.prod(1)
n.prod(1)  ;; a.var()  ;; a.var(0)  ;; a.var(1, keepdim=True)  ;; a.var((0,1))  ;; a.var(False)
a.var(True)  ;; a.var(unbiased=False)  ;; a.var(0, False)
a.var(0, unbiased=False, keepdim=True)  ;; a.var(0, True, True)  ;; a.var(correction=0)
a.var(0, correction=2)  ;; a.var(0, correction=0.5)
torch.var(a, dim=None, correction=0, keepdim=True)  ;; i.var()  ;; i.var(0)  ;; bo.var()
f32.var(0)  ;; h.var(0)  ;; h.var()  ;; s.var(unbiased=False)  ;; v.var(0)  ;; c.var()
c.var(0)  ;; n.var()  ;; a.var(3)  ;; a.var(axis=1)  ;; a.std()  ;; a.std(0)
a.std(1, keepdim=True)  ;; a.std(False)  ;; a.std(unbiased=False)  ;; a.std(0, False)
a.std(correction=0)  ;; ties.std(1)  ;; ties.std(1, unbiased=False)  ;; zero.std()
s.std(unbiased=False)  ;; f32.std(1)  ;; h.std(1)  ;; c.std()  ;; c.std(1)  ;; i.std()
torch.var_mean(a)  ;; torch.var_mean(a, 0)  ;; torch.var_mean(a, 0, False)
torch.var_mean(a, False)  ;; torch.var_mean(a, 0, keepdim=True)
torch.var_mean(a, (0,1), correction=0)  ;; torch.var_mean(i)  ;; torch.std_mean(a)
torch.std_mean(a, 1)  ;; torch.std_mean(a, 1, unbiased=False, keepdim=True)
torch.std_mean(f32)  ;; torch.std_mean(c)  ;; a.amax()  ;; a.amax(0)  ;; a.amax((0,1))
a.amax(1, keepdim=True)  ;; ties.amax(1)  ;; ties.amax()  ;; ties.amin(1)
ties.amin((0,1),True)  ;; e.amax()  ;; e.amax(0)  ;; e.amax(1)  ;; s.amax()  ;; s.amax(0)
i.amax(1)  ;; bo.amax(1)  ;; c.amax()  ;; h.amax(0)  ;; a.amax(dim=())
a.amin(dim=1, keepdim=True)  ;; a.amax(axis=1)  ;; a.max()  ;; a.max(0)  ;; a.max(1, True)
a.max(dim=-1, keepdim=True)  ;; torch.max(a, 0)  ;; torch.max(a, 0)[0]
torch.max(a, dim=1).values  ;; torch.max(a, dim=1).indices  ;; ties.max()  ;; ties.max(1)
ties.min(1)  ;; ties.min()  ;; n.max()  ;; n.max(1)  ;; n.min(1)  ;; n.min()  ;; inf.max(1)
e.max()  ;; e.max(0)  ;; e.max(1)  ;; s.max()  ;; s.max(0)  ;; s.max(-1, True)  ;; i.max()
i.max(1)  ;; u8.max(0)  ;; bo.max()  ;; bo.max(1)  ;; c.max()  ;; c.max(0)  ;; a.max(2)
torch.max(a, a*2-1)  ;; a.max(a.flip(0))  ;; a.min(a*0)  ;; torch.max(i, i32)
a.min(0, keepdim=True)  ;; b.max(1)  ;; h.max(1)  ;; a.max(axis=1)  ;; a.argmax()
a.argmax(0)  ;; a.argmax(1, keepdim=True)  ;; a.argmax(dim=None, keepdim=True)  ;; a.argmax(-1)
ties.argmax(1)  ;; ties.argmin(1)  ;; n.argmax()  ;; n.argmax(1)  ;; n.argmin(1)  ;; e.argmax()
e.argmax(0)  ;; e.argmax(1)  ;; s.argmax()  ;; s.argmax(0)  ;; bo.argmax()  ;; bo.argmax(1)
c.argmax()  ;; i.argmin(1)  ;; a.argmax(3)  ;; torch.aminmax(a)  ;; torch.aminmax(a, dim=1)
a.aminmax(dim=0, keepdim=True)  ;; torch.aminmax(s)  ;; torch.aminmax(e)
torch.aminmax(e, dim=0)  ;; torch.aminmax(bo)  ;; torch.aminmax(ties, dim=1)  ;; torch.all(bo)
bo.all(1)  ;; bo.all((0,1))  ;; bo.all(dim=0, keepdim=True)  ;; bo.any()  ;; bo.any(1)
bo.any(dim=(0,1))  ;; bo.any(dim=None)  ;; a.all()  ;; a.any(0)  ;; i.any(1)  ;; u8.all()
u8.any(0)  ;; u8.all(0)  ;; e.all()  ;; e.any()  ;; e.all(0)  ;; s.any()  ;; s.all(0)
n.any(1)  ;; c.all()  ;; a.any(4)  ;; torch.count_nonzero(z)  ;; z.count_nonzero(0)
z.count_nonzero(dim=(0,1))  ;; torch.count_nonzero(bo, dim=1)  ;; torch.count_nonzero(e)
torch.count_nonzero(s)  ;; torch.count_nonzero(n)  ;; torch.count_nonzero(c)
z.count_nonzero(2)  ;; torch.logsumexp(a, 0)  ;; a.logsumexp(1)
a.logsumexp(1, keepdim=True)  ;; a.logsumexp((0,1))  ;; a.logsumexp(-1)  ;; inf.logsumexp(0)
(a*1000).logsumexp(0)  ;; e.logsumexp(1)  ;; s.logsumexp(0)  ;; i.logsumexp(0)
bo.logsumexp(0)  ;; f32.logsumexp(1)  ;; h.logsumexp(1)  ;; n.logsumexp(1)  ;; c.logsumexp(1)
a.logsumexp(2)  ;; a.cumsum(0)  ;; a.cumsum(1)  ;; a.cumsum(-1)  ;; i.cumsum(1)
i32.cumsum(0)  ;; bo.cumsum(0)  ;; u8.cumsum(0)  ;; s.cumsum(0)  ;; s.cumsum(-1)
e.cumsum(0)  ;; e2.cumsum(1)  ;; a.cumsum(2)  ;; c.cumsum(1)  ;; h.cumsum(0)  ;; f32.cumsum(1)
a.cumprod(0)  ;; a.cumprod(1)  ;; z.cumprod(1)  ;; z.cumprod(0)  ;; b.cumprod(1)
i.cumprod(1)  ;; bo.cumprod(0)  ;; s.cumprod(0)  ;; e.cumprod(0)  ;; e2.cumprod(1)
c.cumprod(1)  ;; f32.cumprod(1)  ;; h.cumprod(1)  ;; n.cumprod(1)  ;; zero.cumprod(1)
torch.norm(a)  ;; a.norm()  ;; a.norm(2)  ;; a.norm(1)  ;; a.norm(3)  ;; a.norm(0)
a.norm(0.5)  ;; a.norm(-1)  ;; a.norm(math.inf)  ;; a.norm(-math.inf)  ;; a.norm('fro')
a.norm('fro', dim=(0,1))  ;; a.norm(dim=1)  ;; a.norm(2, 1)  ;; a.norm(2, dim=1, keepdim=True)
a.norm(1, 0)  ;; a.norm(3, (0,1))  ;; a.norm(math.inf, 1)  ;; a.norm(-math.inf, 1)
torch.norm(a, p=2, dim=-1)  ;; torch.norm(a, p='fro', dim=1, keepdim=True)
torch.norm(a, dtype=torch.float32)  ;; zero.norm(1)  ;; zero.norm(3)  ;; zero.norm(math.inf)
zero.norm(3, 1)  ;; zero.norm(0)  ;; z.norm(1)  ;; z.norm(3)  ;; z.norm(2, 0)
z.norm(math.inf)  ;; z.norm(math.inf, 1)  ;; z.norm(-math.inf, 1)  ;; ties.norm(math.inf)
ties.norm(math.inf, 1)  ;; ties.norm(-math.inf, 1)  ;; s.norm()  ;; s.norm(1)  ;; s.norm(2, 0)
e.norm()  ;; e.norm(2, 0)  ;; e.norm(2, 1)  ;; e.norm(math.inf)  ;; e.norm(math.inf, 1)
i.norm()  ;; f32.norm()  ;; f32.norm(3)  ;; h.norm()  ;; h.norm(1)  ;; c.norm()  ;; c.norm(1)
c.norm(3)  ;; c.norm(math.inf)  ;; c.norm(2, 1)  ;; n.norm()  ;; inf.norm()  ;; inf.norm(2,1)
a.norm(2, 3)  ;; torch.median(a)  ;; a.median()  ;; a.median(0)  ;; a.median(1)
a.median(1, keepdim=True)  ;; v.median()  ;; v.median(0)  ;; ties.median()  ;; ties.median(1)
n.median()  ;; n.median(1)  ;; n.median(0)  ;; i.median()  ;; i.median(1)  ;; s.median()
s.median(0)  ;; e.median()  ;; e.median(0)  ;; e.median(1)  ;; bo.median()  ;; h.median(1)
a.median(4)  ;; torch.nanmedian(n)  ;; n.nanmedian(1)  ;; a.softmax(0)  ;; a.softmax(1)
torch.softmax(a, -1)  ;; f32.softmax(0, dtype=torch.float64)  ;; f32.softmax(1)
h.softmax(1)  ;; i.softmax(1)  ;; i.softmax(1, dtype=torch.float32)  ;; bo.softmax(0)
s.softmax(0)  ;; s.softmax(-1)  ;; e.softmax(0)  ;; e.softmax(1)  ;; n.softmax(1)
(a*1000).softmax(1)  ;; c.softmax(1)  ;; a.softmax(2)  ;; b.softmax(1)  ;; F.softmax(a, 1)
F.softmax(a, dim=-1)  ;; F.softmax(a)  ;; F.softmax(b)  ;; F.softmax(v)
F.log_softmax(a, dim=1)  ;; F.log_softmax(a)  ;; F.log_softmax(i, 1)  ;; F.softmin(a, dim=1)
F.softmin(a)  ;; F.softmin(i, dim=1, dtype=torch.float32)  ;; a.log_softmax(0)
a.log_softmax(1)  ;; torch.log_softmax(a, -1)  ;; f32.log_softmax(0, dtype=torch.float64)
f32.log_softmax(1)  ;; h.log_softmax(1)  ;; i.log_softmax(1)
i.log_softmax(1, dtype=torch.float32)  ;; s.log_softmax(0)  ;; e.log_softmax(0)
e.log_softmax(1)  ;; n.log_softmax(1)  ;; (a*1000).log_softmax(1)  ;; a.log_softmax(2)
b.log_softmax(1)  ;; F.softmax(s)  ;; F.log_softmax(f32, 1, dtype=torch.float64)
F.softmax(a, 1, 3)  ;; e.mean()  ;; e.mean(0)
torch.var(a, 1, correction=5)  ;; e.var()  ;; e.var(0)  ;; e2.var(1)
a.std(0, correction=3)  ;; a.std(0, correction=4)  ;; s.std()  ;; one.std(0)  ;; e.std()
inf.logsumexp(1)  ;; e.logsumexp(0)  ;; inf.softmax(1)  ;; inf.softmax(0)
inf.log_softmax(1)  ;; a.T.sum(0)  ;; b.transpose(0,2).sum((0,1))  ;; b.transpose(0,2).mean(1)
b.permute(2,0,1).amax(2)  ;; a.T.max(1)  ;; a.T.softmax(1)  ;; a.T.cumsum(0)  ;; a.T.var(0)
a[::2].std(1)  ;; a[:, ::2].prod(1)  ;; a[:, ::2].norm(2, 1)  ;; f32.T.logsumexp(0)
a.T.median(1)  ;; (a*2).sum(0).max(0)  ;; f32.sum(0) + f32.mean(1).sum()  ;; h.mean() * 2
s.max(0, keepdim=True)  ;; s.median(0, keepdim=True)  ;; s.argmax(0, keepdim=True)
torch.max(a, other=a.flip(0))  ;; torch.max(input=a, dim=1)  ;; torch.sum(input=a, dim=0)
a.sum(dim=[0, 1])  ;; a.sum(torch.tensor(0).item())  ;; i.max(1, keepdim=True)  ;; i.amin(0)
i.prod(1)  ;; i.sum(0, dtype=torch.int32)  ;; i32.sum(dtype=torch.int32)
u8.sum(dtype=torch.uint8)  ;; i.cumsum(0, dtype=torch.int32)  ;; u8.prod(dtype=torch.uint8)
bo.cumprod(1)  ;; bo.sum(dtype=torch.bool)  ;; i.to(torch.int16).sum()
v.expand(0, 5).sum(0)  ;; e.max(1, keepdim=True)  ;; e2.sum(1)  ;; e2.mean(1)  ;; e2.amax(0)
e2.max(0)  ;; e2.logsumexp(1)  ;; e2.softmax(1)  ;; e2.prod(1)  ;; e2.median(0)
e2.norm(2, 1)  ;; a.norm(p=2.5, dim=0)  ;; c.norm(3, 1)  ;; c.norm(1, 1)
c.norm(math.inf, 1)  ;; c.norm(0.5)  ;; c.norm(0)  ;; c.var(1, keepdim=True)  ;; c.std(0)
c.mean((0,1))  ;; c.prod(0)  ;; c.cumsum(0)  ;; c.cumprod(0)
"""


@pytest.mark.torch
@pytest.mark.parametrize("expression", expressions(AS_IN_TORCH))
def test_as_in_torch(expression):
    import torch

    assert_same(torch, expression)


REDUCTIONS = {
    "sum": tg.sum,
    "mean": tg.mean,
    "var": lambda x, dim, keepdim: tg.var(x, dim, keepdim=keepdim),
    "std": lambda x, dim, keepdim: tg.std(x, dim, keepdim=keepdim, correction=0),
    "amax": tg.amax,
    "amin": tg.amin,
    "logsumexp": tg.logsumexp,
    "norm": lambda x, dim, keepdim: tg.norm(x, 2, dim, keepdim),
    "norm3": lambda x, dim, keepdim: tg.norm(x, 3, dim, keepdim),
    "norm1.5": lambda x, dim, keepdim: tg.norm(x, 1.5, dim, keepdim),
    "var_mean": lambda x, dim, keepdim: tg.stack(tg.var_mean(x, dim, keepdim=keepdim)),
}


@given(
    name=st.sampled_from(sorted(REDUCTIONS)),
    shape=st.lists(st.integers(2, 3), min_size=1, max_size=3),
    data=st.data(),
    keepdim=st.booleans(),
)
def test_derivatives_over_any_dims(name, shape, data, keepdim):
    dims = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    signed = tuple(d - len(shape) * data.draw(st.booleans()) for d in dims)
    values = np.random.default_rng(len(shape)).permutation(math.prod(shape)).reshape(shape)

    def function(x):
        return REDUCTIONS[name](x, signed, keepdim)

    check_derivatives(function, [values * 0.4 - 0.9])


@given(
    name=st.sampled_from(["softmax", "log_softmax", "cumsum", "cumprod", "prod"]),
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    zeros=st.booleans(),
    data=st.data(),
)
def test_derivatives_along_a_dim(name, shape, zeros, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    values = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    if zeros:
        values[tuple(0 for _ in shape)] = 0.0
    check_derivatives(lambda x: getattr(x, name)(dim), [values])


def test_products_with_zeros():
    for zeros in range(4):
        values = np.array([2.0, 3.0, 5.0])
        values[:zeros] = 0.0
        x = tg.from_numpy(values).requires_grad_()
        x.prod().backward()
        expected = {0: [15, 10, 6], 1: [15, 0, 0], 2: [0, 0, 0], 3: [0, 0, 0]}[zeros]
        assert x.grad.tolist() == expected


def test_ties_share_the_gradient():
    values = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    shares = [[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]
    for function in (lambda x: x.amax(1), lambda x: x.aminmax(dim=1).max):
        x = tg.tensor(values, requires_grad=True)
        function(x).sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), shares, rtol=1e-6)
    x = tg.tensor(values, requires_grad=True)
    x.max(1).values.sum().backward()
    assert x.grad.tolist() == [[0, 1, 0], [1, 0, 0]]


def test_named_results_look_like_torchs():
    result = tg.tensor([[1.0, 5.0], [7.0, 2.0]]).max(1)
    assert repr(result) == (
        "tapegrad.return_types.max(\nvalues=tensor([5., 7.]),\nindices=tensor([1, 0]))"
    )
    values, indices = result
    assert values is result.values
    assert indices is result[1]


def test_indices_may_be_changed():
    x = tg.tensor([[1.0, 5.0], [7.0, 2.0]], requires_grad=True)
    values, indices = x.max(1, keepdim=True)
    indices.zero_()
    values.sum().backward()
    assert x.grad.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, math.inf, -math.inf])
def test_norms_at_zero_have_the_gradient_zero(p):
    x = tg.zeros(3, requires_grad=True)
    x.norm(p).backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_long_sums_in_single_precision_are_exact():
    rng = np.random.default_rng(0)
    array = rng.random((200_000, 2), np.float32)
    exact = array.sum(0, dtype=np.float64)
    found = tg.from_numpy(array)
    np.testing.assert_allclose(found.sum(0).numpy(), exact, rtol=2e-7)
    np.testing.assert_allclose(found.mean(0).numpy(), exact / len(array), rtol=2e-7)
    np.testing.assert_allclose(found.cumsum(0)[-1].numpy(), exact, rtol=2e-7)
    halves = tg.from_numpy(np.full((4096, 2), 0.1, np.float16))
    assert halves.mean(0).tolist() == [0.0999755859375] * 2


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, (0, 1), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(7, 50, 9), (2, 3, 20_000), (40_000, 1, 1), (1, 1, 40_000)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_large_arrays(dtype, shape, axis, keepdim):
    tg.warmup()
    array = np.random.default_rng(0).normal(3, 2, shape).astype(dtype)
    x, wide = tg.from_numpy(array), array.astype(np.longdouble)
    dims = {"axis": axis, "keepdims": keepdim}
    limit = 8 * np.finfo(dtype).eps
    for found, expected in (
        (x.sum(axis, keepdim), wide.sum(**dims)),
        (x.mean(axis, keepdim), wide.mean(**dims)),
        (tg.var(x, axis, correction=0, keepdim=keepdim), wide.var(**dims)),
        (tg.norm(x, 2, axis, keepdim), np.sqrt((wide * wide).sum(**dims))),
    ):
        np.testing.assert_allclose(found.numpy(), expected.astype(dtype), limit, limit, strict=True)


@pytest.mark.parametrize("shape", [(1000,), (3, 70), (2, 5, 40), (120, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_longer_running_sums(dtype, shape):
    tg.warmup()
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    weights = np.random.default_rng(1).normal(size=shape).astype(dtype)
    x = tg.from_numpy(array).requires_grad_()
    out = x.cumsum(-1)
    (reversed_sum,) = tg.autograd.grad(out, x, tg.from_numpy(weights), create_graph=True)
    exact = np.flip(np.flip(weights, -1).cumsum(-1, dtype=np.longdouble), -1)
    limit = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
    expected = array.cumsum(-1, dtype=np.longdouble)
    np.testing.assert_allclose(out.detach().numpy(), expected.astype(dtype), **limit)
    np.testing.assert_allclose(reversed_sum.numpy(), exact.astype(dtype), **limit)


def test_infinities_and_nans_in_large_sums():
    tg.warmup()
    x = tg.ones(3, 5000)
    x[0, 7], x[1, 8], x[2, 9], x[2, 4900] = math.inf, math.nan, math.inf, -math.inf
    assert x.sum(1)[0] == math.inf
    assert x.sum(1).isnan().tolist() == [False, True, True]
    assert x[0].norm() == math.inf
    assert x.var(1).isnan().all()
    assert x.sum().isnan()


@pytest.mark.parametrize("function", [np.sum, np.mean, np.prod, np.max, np.min, np.std, np.var])
@pytest.mark.parametrize("axis", [None, 1])
def test_numpy_functions(function, axis):
    array = np.random.default_rng(0).normal(size=(3, 4))
    found = function(tg.from_numpy(array), axis=axis)
    np.testing.assert_allclose(found.numpy(), function(array, axis=axis))
    kept = function(tg.from_numpy(array), axis=1, keepdims=True)
    assert kept.shape == (3, 1)


def test_numpy_spread_of_a_sample():
    array = np.random.default_rng(0).normal(size=(3, 4))
    for function in (np.var, np.std):
        found = function(tg.from_numpy(array), axis=0, ddof=1)
        np.testing.assert_allclose(found.numpy(), function(array, axis=0, ddof=1))


def test_numpy_running_sums():
    array = np.random.default_rng(0).normal(size=(3, 4))
    x = tg.from_numpy(array)
    np.testing.assert_allclose(np.cumsum(x, 1).numpy(), np.cumsum(array, 1))
    np.testing.assert_allclose(np.cumsum(x).numpy(), np.cumsum(array))
    np.testing.assert_allclose(np.cumprod(x, axis=0).numpy(), np.cumprod(array, 0))
    assert np.count_nonzero(x).item() == 12
    assert np.argmax(x).item() == array.argmax()


def test_reductions_give_arrays():
    for dtype in (np.float16, np.float32, np.float64):
        x = tg.from_numpy(np.ones((2, 3), dtype)).requires_grad_()
        for result in (x.sum(), x.mean(), x.prod(), x.var(), x.norm(), x.max(), x.median()):
            assert type(result._array) is np.ndarray
            assert result._array.dtype == dtype
            (g,) = tg.autograd.grad(result, x)
            assert g._array.dtype == dtype


def test_outputs_that_are_not_used():
    x = tg.tensor([1.0, 2.0, 4.0], requires_grad=True)
    variance, mean = tg.var_mean(x)
    mean.backward(retain_graph=True)
    np.testing.assert_allclose(x.grad.numpy(), [1 / 3] * 3, rtol=1e-6)
    x.grad = None
    variance.backward()
    np.testing.assert_allclose(x.grad.numpy(), [-4 / 3, -1 / 3, 5 / 3], rtol=1e-6)
    low, high = tg.aminmax(x)
    (g,) = tg.autograd.grad(high, x)
    assert g.tolist() == [0, 0, 1]
    assert wrap(g._array).dtype is low.dtype


def test_several_outputs_in_a_long_replay():
    # Long enough for the native loop, which leaves records of several outputs to Python.
    from tapegrad.loading import load_native

    load_native()
    x = tg.tensor([0.1, 0.2, 0.4], requires_grad=True)
    y = x
    for _ in range(100):
        y = y * 1.0
    variance, mean = tg.var_mean(y)
    z = variance + mean
    for _ in range(100):
        z = z * 1.0
    z.backward()
    expected = 1 / 3 + (x.detach() - x.detach().mean())
    np.testing.assert_allclose(x.grad.numpy(), expected.numpy(), rtol=1e-5)
