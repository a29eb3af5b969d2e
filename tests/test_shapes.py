"""Shapes, joining and splitting: as in torch, with shared memory, and in numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tapegrad as tg
from tests.differences import check_derivatives
from tests.expressions import assert_same, expressions

AS_IN_TORCH = """
a.reshape(4,3)  ;; a.reshape((2,6))  ;; a.reshape(-1)  ;; a.reshape([2,-1])
a.reshape(shape=(6,2))  ;; torch.reshape(a, (12,))  ;; a.reshape(5,-1)  ;; a.reshape(5)
a.reshape(-1,-1)  ;; a.reshape(-2, 3)  ;; e.reshape(-1)  ;; e.reshape(0,-1)  ;; e.reshape(3,0)
s.reshape(1)  ;; s.reshape(())  ;; s.reshape(1,1)  ;; a.reshape(())  ;; a.T.reshape(12)
a.T.reshape(2,6)  ;; a.view(4,3)  ;; a.view(-1)  ;; a.view((12,))  ;; a.view(5)
a.T.view(12)  ;; a.T.view(4,3)  ;; a.t().view(4,3,1)  ;; a.view(torch.float64)
a.view(torch.Size([2,6]))  ;; s.view(1)  ;; s.view(())  ;; s.view(-1)  ;; e.view(-1)
e.view(0)  ;; e.view(3,0)  ;; a.expand(2,3,4).view(24)  ;; a.expand(2,3,4).view(2,12)
a.view_as(torch.ones(2,6))  ;; a.reshape_as(torch.ones(4,3))  ;; a.reshape_as(torch.ones(4,2))
a.flatten()  ;; b4.flatten(1)  ;; b4.flatten(1,2)  ;; b4.flatten(-2)  ;; b4.flatten(2,1)
b4.flatten(0,-1)  ;; b4.flatten(5)  ;; s.flatten()  ;; v.flatten()  ;; e.flatten()
torch.flatten(b, start_dim=1)  ;; b4.unflatten(1,(1,3))  ;; b4.unflatten(2,(2,-1))
b4.unflatten(3,(2,3))  ;; b4.unflatten(-1,(5,1))  ;; b4.unflatten(2,())
torch.unflatten(b, 2, [2,2])  ;; a.ravel()  ;; a.T.ravel()  ;; s.ravel()  ;; torch.ravel(b)
a.transpose(0,1)  ;; b.transpose(0,2)  ;; b.transpose(-1,-2)  ;; b.transpose(0,3)
s.transpose(0,0)  ;; s.transpose(0,-1)  ;; s.transpose(0,1)
torch.transpose(a, dim0=0, dim1=1)  ;; torch.swapaxes(a,0,1)
torch.swapaxes(a,axis0=0,axis1=1)  ;; torch.swapdims(a,dim0=0,dim1=1)  ;; a.swapdims(0,1)
b.permute(2,0,1)  ;; b.permute((2,0,1))  ;; b.permute([-1,0,1])  ;; b.permute(0,1)
b.permute(0,1,1)  ;; b.permute(0,1,3)  ;; s.permute(())  ;; torch.permute(b, (1,0,2))
torch.permute(b, dims=(1,0,2))  ;; b.movedim(0,2)  ;; b.movedim((0,1),(2,0))
torch.movedim(b, 0, -1)  ;; torch.moveaxis(b, 0, 1)  ;; b.moveaxis((0,1),(1,0))
b.movedim((0,0),(1,2))  ;; b.movedim((0,1),(1,1))  ;; b.movedim(0,3)  ;; a.T  ;; s.T  ;; v.T
b.mT  ;; v.mT  ;; s.mT  ;; a.mT  ;; a.H  ;; v.H  ;; b.H  ;; s.H  ;; b.mH  ;; v.mH
b.adjoint()  ;; v.adjoint()  ;; a.t()  ;; v.t()  ;; s.t()  ;; b.t()  ;; torch.t(a)
a.expand(2,3,4)  ;; a.expand(-1,4)  ;; v.expand(3,-1)  ;; v.expand(3,5)  ;; s.expand(2,3)
s.expand(())  ;; a.expand(4)  ;; a.expand(3,5)  ;; a.expand(-1,3,4)  ;; a.expand((2,-1,-1))
a.expand(-2,4)  ;; one.expand(4,3,5,2)  ;; one.expand(0,3,1,2)  ;; a.expand(size=(2,3,4))
v.expand_as(torch.ones(3,5))  ;; torch.broadcast_to(v, (2,5))  ;; v.broadcast_to(2,5)
v.broadcast_to((3,4))  ;; torch.broadcast_tensors(v, torch.ones(3,1))
torch.broadcast_tensors(v, torch.ones(3,2))  ;; torch.broadcast_tensors()
torch.broadcast_shapes((3,1),(1,4))  ;; torch.broadcast_shapes((3,2),(4,))
torch.broadcast_shapes((2,),(3,1),(1,1,1))  ;; torch.broadcast_shapes(3,(4,1))
torch.broadcast_shapes()  ;; torch.broadcast_shapes((2,-1))  ;; one.squeeze()
one.squeeze(0)  ;; one.squeeze(1)  ;; one.squeeze((0,2))  ;; one.squeeze((0,1))
one.squeeze(-2)  ;; one.squeeze(4)  ;; one.squeeze((0,0))  ;; s.squeeze()  ;; s.squeeze(0)
s.squeeze(1)  ;; torch.squeeze(one, dim=0)  ;; a.unsqueeze(0)  ;; a.unsqueeze(-1)
a.unsqueeze(2)  ;; a.unsqueeze(3)  ;; a.unsqueeze(-4)  ;; s.unsqueeze(0)  ;; s.unsqueeze(-1)
s.unsqueeze(1)  ;; torch.unsqueeze(a, dim=1)  ;; a.diagonal()  ;; b.diagonal()
b.diagonal(1, 1, 2)  ;; b.diagonal(-1, 0, 2)  ;; b.diagonal(offset=0, dim1=-2, dim2=-1)
b.diagonal(0,1,1)  ;; a.diagonal(10)  ;; a.diagonal(-10)  ;; v.diagonal()  ;; a.diagonal(0,0,2)
v.diag()  ;; v.diag(1)  ;; v.diag(-2)  ;; a.diag()  ;; a.diag(1)  ;; a.diag(-1)  ;; a.diag(7)
b.diag()  ;; s.diag()  ;; torch.diag(a, diagonal=1)  ;; v.diag_embed()  ;; a.diag_embed()
a.diag_embed(1)  ;; a.diag_embed(0,0,2)  ;; a.diag_embed(-1,2,0)  ;; a.diag_embed(0,1,1)
a.diag_embed(0,0,4)  ;; s.diag_embed()  ;; torch.diagflat(a)  ;; torch.diagflat(v, 1)
s.diagflat()  ;; a.tril()  ;; a.tril(1)  ;; a.tril(-1)  ;; b.tril()  ;; v.tril()  ;; s.tril()
a.triu()  ;; a.triu(1)  ;; a.triu(-2)  ;; b.triu(diagonal=1)  ;; inf.tril(-1)  ;; n.triu(1)
a.tril(10)  ;; e.tril()  ;; bo.triu()  ;; sq.trace()  ;; a.trace()  ;; b.trace()  ;; v.trace()
i.trace()  ;; i32.trace()  ;; bo.trace()  ;; e.trace()  ;; f32.trace()  ;; c.trace()
torch.trace(sq)  ;; a.contiguous()  ;; a.T.contiguous()  ;; a.is_contiguous()
a.T.is_contiguous()  ;; a.stride()  ;; a.T.stride()  ;; a.stride(0)  ;; a.stride(-1)
a.expand(2,3,4).stride()  ;; e.stride()  ;; torch.numel(a)  ;; a.numel()  ;; a.nelement()
a.size()  ;; a.size(0)  ;; a.size(-1)  ;; a.size(2)  ;; a.size(dim=1)  ;; a.dim()  ;; a.ndim
a.element_size()  ;; a[1:].storage_offset()  ;; a[1:,2:].storage_offset()
a.T.storage_offset()  ;; v.unfold(0,2,1)  ;; v.unfold(0,3,2)  ;; v.unfold(0,6,1)
v.unfold(0,2,0)  ;; a.unfold(1,2,1)  ;; a.unfold(0,2,1)  ;; a.unfold(-1,2,2).unfold(0,2,1)
s.unfold(0,1,1)  ;; s.unfold(0,2,1)  ;; v.unfold(dimension=0,size=2,step=3)  ;; v.unfold(0,0,1)
v.unfold(0,-1,1)  ;; torch.atleast_1d(s)  ;; torch.atleast_2d(s)  ;; torch.atleast_3d(s)
torch.atleast_1d(v)  ;; torch.atleast_2d(v)  ;; torch.atleast_3d(v)  ;; torch.atleast_3d(a)
torch.atleast_1d(s, v)  ;; torch.atleast_2d((s, v))  ;; torch.atleast_3d([s, v, a])
torch.atleast_1d(b4)  ;; torch.ones(2,3).sum_to_size(1,3)  ;; a.sum_to_size(3,1)
a.view_as(a)  ;; torch.cat([a,a])  ;; torch.cat((a,a), 1)  ;; torch.cat([a,f32],dim=1)
torch.cat([a, i[:1, :1].expand(3,1)],1)  ;; torch.cat([a,h],-1)  ;; torch.concat([a,a])
torch.concatenate([a,a],dim=1)  ;; torch.cat(tensors=[a])  ;; torch.cat([])  ;; torch.cat([s])
torch.cat([s,s])  ;; torch.cat([a,v])  ;; torch.cat([a,a.T])
torch.cat([a,torch.zeros(0,dtype=torch.float64)])  ;; torch.cat([torch.zeros(0),v])
torch.cat([torch.zeros(0),torch.zeros(0)])  ;; torch.cat([a,a],2)  ;; torch.cat([a,3])
torch.cat(a)  ;; torch.cat(b)  ;; torch.cat([e,a[:,:3]])  ;; torch.cat([bo,i])
torch.cat([c,a[:2,:3]])  ;; torch.cat([a,a],axis=1)  ;; torch.cat(3)  ;; torch.stack([a,a])
torch.stack([a,a],1)  ;; torch.stack([a,a],-1)  ;; torch.stack([a,a],3)  ;; torch.stack([s,s])
torch.stack([a,v])  ;; torch.stack([])  ;; torch.stack((a,f32))  ;; torch.stack([s])
torch.stack([bo,i])  ;; torch.hstack([a,a])  ;; torch.hstack([v,v])  ;; torch.hstack([s,s])
torch.hstack((a,a[:,:1]))  ;; torch.hstack([])  ;; torch.hstack([a,v])  ;; torch.vstack([a,a])
torch.vstack([v,v])  ;; torch.vstack([s,s])  ;; torch.vstack([v,a])  ;; torch.row_stack([v,v])
torch.dstack([a,a])  ;; torch.dstack([v,v])  ;; torch.dstack([s,s])  ;; torch.dstack([b,b])
torch.column_stack([v,v])  ;; torch.column_stack([s,s])  ;; torch.column_stack([v[:3],a])
torch.column_stack([b,b])  ;; torch.vstack([])  ;; torch.column_stack([])  ;; a.split(2)
a.split(2,1)  ;; a.split(3,dim=1)  ;; a.split([1,2])  ;; a.split([1,3],1)  ;; a.split([1,1])
a.split((1,2),0)  ;; a.split(-1)  ;; a.split(0)  ;; a.split(2,2)  ;; s.split(1)  ;; e.split(0)
e.split(1)  ;; e2.split(1,1)  ;; a.split([3,0])  ;; a.split([4,-1])  ;; torch.split(v, 2)
torch.split(v, [2,3])  ;; torch.split(v, split_size_or_sections=2)  ;; a.split(split_size=2)
torch.split_with_sizes(v,[2,3])  ;; v.split_with_sizes([2,3])
v.split_with_sizes(split_sizes=[2,3],dim=0)  ;; a.chunk(2)  ;; a.chunk(2,1)  ;; v.chunk(3)
v.chunk(4)  ;; v.chunk(9)  ;; a.chunk(0)  ;; a.chunk(-1)  ;; s.chunk(1)  ;; e.chunk(3)
e2.chunk(3,1)  ;; torch.chunk(a, chunks=3, dim=1)  ;; v.tensor_split(2)  ;; v.tensor_split(3)
v.tensor_split(7)  ;; v.tensor_split((1,3))  ;; v.tensor_split((3,1))  ;; v.tensor_split((1,9))
v.tensor_split((-1,))  ;; v.tensor_split([])  ;; a.tensor_split(2,1)
a.tensor_split((1,2),dim=1)  ;; a.tensor_split(0)  ;; s.tensor_split(1)
v.tensor_split(torch.tensor(2))  ;; v.tensor_split(torch.tensor([1,3]))
v.tensor_split(torch.tensor([1.,3.]))  ;; torch.tensor_split(v, indices=(1,2))
torch.tensor_split(v, sections=2)  ;; torch.hsplit(a,2)  ;; torch.hsplit(a,[1,3])
torch.hsplit(v,5)  ;; torch.hsplit(a,3)  ;; torch.vsplit(a,3)  ;; torch.vsplit(a,2)
torch.vsplit(v,1)  ;; torch.dsplit(b,2)  ;; torch.dsplit(b,[1])  ;; torch.dsplit(a,2)
torch.hsplit(s,1)  ;; a.unbind()  ;; a.unbind(1)  ;; b.unbind(-1)  ;; s.unbind()
a.unbind(2)  ;; e.unbind()  ;; e2.unbind()  ;; torch.unbind(a, dim=1)  ;; a.flip(0)
a.flip(0,1)  ;; a.flip((0,1))  ;; a.flip([0])  ;; a.flip(dims=(1,))  ;; torch.flip(a,(0,))
torch.flip(a,dims=[0,1])  ;; a.flip(0,0)  ;; a.flip(2)  ;; a.flip(())  ;; s.flip(())
s.flip(0)  ;; bo.flip(1)  ;; a.fliplr()  ;; torch.fliplr(a)  ;; torch.flipud(v)  ;; v.fliplr()
s.flipud()  ;; a.roll(1)  ;; a.roll(1,0)  ;; a.roll(-1,1)  ;; a.roll((1,2),(0,1))
a.roll(shifts=1,dims=0)  ;; a.roll((1,2))  ;; a.roll((1,),(0,1))  ;; a.roll(1,2)
a.roll(7,0)  ;; s.roll(1)  ;; s.roll(1,0)  ;; e.roll(1,0)  ;; a.roll((1,1),(0,0))
torch.roll(a,shifts=(1,-1),dims=(0,1))  ;; a.rot90()  ;; a.rot90(2)  ;; a.rot90(3)
a.rot90(-1)  ;; a.rot90(4)  ;; b.rot90(1,(1,2))  ;; b.rot90(1,[2,0])  ;; v.rot90()
a.rot90(1,(0,0))  ;; a.rot90(1,(0,3))  ;; a.rot90(1,(0,))  ;; a.rot90(1,(0,-2))
a.repeat(2,3)  ;; a.repeat(2,1,2)  ;; a.repeat((2,2))  ;; a.repeat(2)  ;; v.repeat(3)
v.repeat(0)  ;; v.repeat(2,0)  ;; s.repeat(3)  ;; s.repeat(())  ;; a.repeat(-1,2)
e.repeat(2,2)  ;; a.repeat(1,1)  ;; bo.repeat(2,1)  ;; a.tile(2)  ;; a.tile((2,3))
a.tile(2,1,2)  ;; torch.tile(a,(2,))  ;; torch.tile(a,dims=(2,2))  ;; s.tile(2)  ;; a.tile(())
a.repeat_interleave(2)  ;; a.repeat_interleave(2,0)  ;; a.repeat_interleave(2,dim=1)
torch.repeat_interleave(v, torch.tensor([1,0,2,1,3]))
a.repeat_interleave(torch.tensor([1,2,0]),dim=0)
torch.repeat_interleave(torch.tensor([1,2,3]))
a.repeat_interleave(torch.tensor([1,2]),dim=0)  ;; a.repeat_interleave(-1)
a.repeat_interleave(torch.tensor([2]),dim=0)
a.repeat_interleave(torch.tensor([1,2,0]),dim=0,output_size=3)
a.repeat_interleave(torch.tensor([1.,2.,0.]),dim=0)  ;; s.repeat_interleave(3)
a.repeat_interleave(0,0)  ;; a.repeat_interleave(torch.tensor([[1,2,0]]),dim=0)
a.narrow(0,1,2)  ;; a.narrow(1,-2,2)  ;; a.narrow(1,0,0)  ;; a.narrow(1,3,2)
a.narrow(1,5,0)  ;; a.narrow(1,-5,1)  ;; a.narrow(0,0,-1)  ;; a.narrow(2,0,1)
s.narrow(0,0,1)  ;; torch.narrow(a,dim=1,start=1,length=2)  ;; a.narrow(0,torch.tensor(1),1)
a.select(0,1)  ;; a.select(1,-1)  ;; a.select(0,3)  ;; a.select(0,-4)  ;; a.select(2,0)
s.select(0,0)  ;; b.select(1,2)  ;; torch.select(a,dim=0,index=1)
torch.meshgrid(v, v, indexing='ij')  ;; torch.meshgrid(v, a[0], indexing='xy')
torch.meshgrid([v, a[0], s], indexing='xy')  ;; torch.meshgrid(v, v)
torch.meshgrid(v, v, indexing='zz')  ;; torch.meshgrid()
torch.meshgrid(v, f32[0], indexing='ij')  ;; torch.meshgrid(s, indexing='ij')  ;; b.T
torch.meshgrid(v)  ;; a.T.view(3,4)  ;; a[:, ::2].view(3,2,1)  ;; a[:, ::2].reshape(6)
a.T.flatten()  ;; b.transpose(0,1).flatten(1)  ;; a.T.unflatten(0,(2,2))
torch.cat([a.T, a.T[:2]])  ;; torch.stack([a.T, a.T], 1)  ;; a.T.split(2)  ;; a.T.flip(0)
a.T.roll(1,1)  ;; a.T.repeat(2,1)  ;; a.T.tril()  ;; a.T.unfold(0,2,1)  ;; a.T.diagonal(1)
i.view(torch.int32)  ;; a.detach().view(torch.float32)  ;; f32.detach().view(torch.int32)
a.detach().T.view(torch.float32)  ;; bo.view(torch.uint8)
torch.ones(3, dtype=torch.float32).view(torch.float64)
torch.tensor(1.5).view(torch.float64)  ;; a.view(dtype=torch.int64)
torch.repeat_interleave(v, 3)  ;; torch.repeat_interleave(input=v, repeats=2)  ;; e2.tril()
e2.flip(0)  ;; e2.roll(1)  ;; e2.T  ;; e2.reshape(0)  ;; e.repeat(2,1)  ;; torch.cat([e, e])
torch.stack([e, e])  ;; e.split(2, 1)  ;; e.unfold(1, 2, 1)  ;; e.squeeze()  ;; e.unsqueeze(0)
e.diagonal()  ;; c.flip(1)  ;; c.T  ;; c.diagonal()  ;; c.tril()  ;; c.reshape(3,2)
c.expand(2,2,3)  ;; torch.cat([c, c], 1)  ;; c.roll(1,0)  ;; c.repeat(1,2)
"""


@pytest.mark.torch
@pytest.mark.parametrize("expression", expressions(AS_IN_TORCH))
def test_as_in_torch(expression):
    import torch

    assert_same(torch, expression)


VIEWS = {
    "view": lambda x: x.view(6, 2),
    "reshape": lambda x: x.reshape(-1),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "H": lambda x: x.H,
    "t": lambda x: x.t(),
    "permute": lambda x: x.permute(1, 0),
    "movedim": lambda x: x.movedim(0, 1),
    "unsqueeze": lambda x: x.unsqueeze(-1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "expand": lambda x: x.expand(2, 3, 4),
    "broadcast_to": lambda x: tg.broadcast_to(x[:1], (3, 4)),
    "split": lambda x: x.split(2)[1],
    "split_with_sizes": lambda x: x.split([1, 2])[1],
    "chunk": lambda x: x.chunk(2, 1)[1],
    "tensor_split": lambda x: x.tensor_split(3, 1)[2],
    "hsplit": lambda x: x.hsplit(2)[1],
    "unbind": lambda x: x.unbind()[2],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(0, 1),
    "diagonal": lambda x: x.diagonal(),
    "unfold": lambda x: x.unfold(1, 2, 1),
    "atleast_3d": lambda x: tg.atleast_3d(x),
    "meshgrid": lambda x: tg.meshgrid(x[0], x[1], indexing="xy")[1],
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_share_memory(name):
    x = tg.arange(12.0).reshape(3, 4)
    view = VIEWS[name](x)
    assert np.shares_memory(view._array, x._array)
    before = view.tolist()
    x.mul_(2)
    assert np.array_equal(view.numpy(), 2 * np.array(before))


IN_PLACE = sorted(set(VIEWS) - {"expand", "broadcast_to", "meshgrid", "unfold", "split",
                                "split_with_sizes", "chunk", "unbind"})  # fmt: skip


@pytest.mark.parametrize("name", IN_PLACE)
def test_views_changed_in_place(name):
    def function(x, factor):
        y = x * 1.0
        VIEWS[name](y).mul_(factor)
        return y

    check_derivatives(function, [np.random.default_rng(0).normal(size=(3, 4)), np.array(1.5)])


COPIES = {
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1),
    "repeat": lambda x: x.repeat(1, 1),
    "rot90": lambda x: x.rot90(4),
    "tril": lambda x: x.tril(9),
    "diag": lambda x: x.diag(),
    "cat": lambda x: tg.cat([x]),
    "reshape": lambda x: x.T.reshape(12),
    "contiguous": lambda x: x.T.contiguous(),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_share_no_memory(name):
    x = tg.arange(12.0).reshape(3, 4)
    assert not np.shares_memory(COPIES[name](x)._array, x._array)


@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    size=st.integers(1, 3),
    step=st.integers(1, 3),
    data=st.data(),
)
def test_windows(shape, size, step, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    size = min(size, shape[axis])
    array = np.random.default_rng(0).normal(size=shape)
    found = tg.from_numpy(array).unfold(axis, size, step).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(array, size, axis)
    every = (*[slice(None)] * axis, slice(None, None, step))
    assert np.array_equal(found, windows[every])
    check_derivatives(lambda x: x.unfold(axis, size, step), [array])


@given(
    shape=st.lists(st.integers(1, 3), max_size=3),
    extra=st.integers(0, 1),
    data=st.data(),
)
def test_repeat_and_tile(shape, extra, data):
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(shape) + extra,
                               max_size=len(shape) + extra))  # fmt: skip
    array = np.random.default_rng(0).normal(size=shape)
    assert np.array_equal(tg.from_numpy(array).repeat(times).numpy(), np.tile(array, times))
    check_derivatives(lambda x: x.repeat(times), [array], second=False)


def test_grids():
    x, y = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0, 5.0])
    for indexing in ("ij", "xy"):
        grids = tg.meshgrid(x, y, indexing=indexing)
        expected = np.meshgrid(x.numpy(), y.numpy(), indexing=indexing)
        for grid, wanted in zip(grids, expected, strict=True):
            assert np.array_equal(grid.numpy(), wanted)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(3, 1), (2, 3, 1), (2, 3, 4), (1, 3, 0)])
def test_what_is_expanded_has_the_strides_of_numpy(shape, turned):
    x = np.arange(3.0).reshape(1, 3).T if turned else np.arange(3.0).reshape(3, 1)
    ours, expected = tg.from_numpy(x).expand(shape).numpy(), np.broadcast_to(x, shape)
    assert (ours.strides, ours.flags.writeable) == (expected.strides, False)
    assert np.array_equal(ours, expected)
    assert not ours.size or np.shares_memory(ours, x)


def test_view_that_is_impossible():
    x = tg.arange(12.0).reshape(3, 4)
    with pytest.raises(RuntimeError, match=r"Use \.reshape"):
        x.T.view(12)
    assert x.T.reshape(12).tolist() == x.numpy().T.ravel().tolist()


NUMPY = {
    "expand_dims": lambda x: np.expand_dims(x, (0, 2)),
    "squeeze": lambda x: np.squeeze(x[:1], axis=0),
    "reshape": lambda x: np.reshape(x, (4, 3)),
    "ravel": np.ravel,
    "transpose": np.transpose,
    "permuted": lambda x: np.transpose(x, (1, 0)),
    "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, 3, 4)),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "concatenate_first": lambda x: np.concatenate((x, x)),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "flip": lambda x: np.flip(x, 1),
    "flip_all": np.flip,
    "roll": lambda x: np.roll(x, 1, axis=0),
    "roll_flat": lambda x: np.roll(x, 2),
    "tile": lambda x: np.tile(x, (2, 1)),
    "split": lambda x: np.split(x, 2, axis=1)[1],
    "split_at": lambda x: np.split(x, [1])[1],
    "hstack": lambda x: np.hstack([x, x]),
    "vstack": lambda x: np.vstack([x, x]),
    "diagonal": np.diagonal,
    "trace": np.trace,
}


@pytest.mark.parametrize("name", NUMPY)
def test_numpy_functions(name):
    array = np.random.default_rng(0).normal(size=(3, 4))
    x = tg.from_numpy(array).requires_grad_()
    result = NUMPY[name](x)
    assert result.requires_grad
    np.testing.assert_allclose(result.detach().numpy(), NUMPY[name](array))
    check_derivatives(NUMPY[name], [array], second=False)


def test_conjugate_transposes():
    array = np.random.default_rng(0).normal(size=(2, 3)) + 1j
    x = tg.from_numpy(array)
    for made in (x.H, x.mH, x.adjoint(), tg.adjoint(x)):
        assert np.array_equal(made.numpy(), array.conj().T)
