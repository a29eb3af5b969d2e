"""Samples of every structural primitive: a function of Tensors and the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tapegrad as tg
from tapegrad.rules.ondemand.dotproducts import attention_, masked_softmax
from tapegrad.rules.ondemand.recurrent import (
    gru_,
    gru_cell_,
    lstm_,
    lstm_cell_,
    lstm_output_,
    rnn_,
    states_,
)

F = tg.nn.functional


@dataclass(frozen=True)
class Sample:
    """``call(*tensors)`` on inputs of these shapes, which exercises the primitive ``name``."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]

    def arrays(self, seed: int = 0) -> list[np.ndarray]:
        """Random inputs: distinct values, so that no extremum has a tie."""
        rng = np.random.default_rng(seed)
        return [np.asarray(rng.uniform(-1.5, 1.5, shape)) for shape in self.shapes]

    def __str__(self) -> str:
        return f"{self.name}-{'x'.join(map(str, self.shapes))}"


def sample(name: str, call: Callable[..., Any], *shapes: tuple[int, ...]) -> Sample:
    return Sample(name, call, shapes)


ROWS = np.array([2, 0, 2])
MASK = np.array([[True, False, True], [False, True, True]])
INDEX = np.array([[0, 1, 1], [1, 0, 1]])
QUARTERS = np.array([[0.0, 1.0], [0.25, 0.75]])
HALVES = np.array([0.25, 0.5, 0.75])


def t(array: Any) -> Any:
    return tg.from_numpy(np.array(array))


def real(z: Any) -> Any:
    """A real function of complex numbers that depends on both of their parts."""
    return z.real * 2.0 + z.imag


def in_place(change: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function that changes a copy of its first input in place and returns it."""

    def call(x: Any, *others: Any) -> Any:
        y = x * 1.0
        change(y, *others)  # type: ignore[call-arg]
        return y

    return call


L = tg.linalg


def positive(x: Any) -> Any:
    """A symmetric positive-definite matrix from any square one."""
    return x @ x.mT + 2 * t(np.eye(x.shape[-1])).to(x.dtype)


def regular(x: Any) -> Any:
    """A matrix far from singular, with distinct eigenvalues, from any square one."""
    return 0.3 * x + t(np.diag(np.arange(1.0, x.shape[-1] + 1))).to(x.dtype)


def symmetric(x: Any) -> Any:
    """A symmetric matrix with distinct eigenvalues from any square one."""
    y = regular(x)
    return y + y.mT


def low_rank(x: Any) -> Any:
    """A matrix of rank 2 from any of two columns."""
    return x @ (x[:3] + 1.0).mT


def lengths(x: Any) -> Any:
    """The squares of absolute values of complex numbers."""
    return x.real.square() + x.imag.square()


def singular(x: Any) -> Any:
    """A matrix of determinant 0, exactly, from any."""
    return x * t([[1.0, 0.0, 1.0]] * 3).to(x.dtype)


SAMPLES = [
    sample("sum", lambda x: x.sum(), (2, 3)),
    sample("sum", lambda x: x.sum(0), (2, 3)),
    sample("sum", lambda x: x.sum((0, 2), keepdim=True), (2, 3, 4)),
    sample("sum", lambda x: x.sum(), ()),
    sample("mean", lambda x: x.mean(), (2, 3)),
    sample("mean", lambda x: x.mean(1), (2, 3)),
    sample("prod", lambda x: x.prod(), (2, 3)),
    sample("prod", lambda x: x.prod(1, keepdim=True), (2, 3)),
    sample("prod", lambda x: (x * t([1.0, 0.0, 2.0])).prod(0), (3,)),
    sample("cumsum", lambda x: x.cumsum(1), (2, 3)),
    sample("cumprod", lambda x: x.cumprod(1), (2, 3)),
    sample("amax", lambda x: x.amax(1), (2, 3)),
    sample("amin", lambda x: x.amin((0, 1)), (2, 3)),
    sample("max", lambda x: x.max(), (2, 3)),
    sample("min", lambda x: x.min(), (2, 3)),
    sample("gather", lambda x: x.max(1).values, (2, 3)),
    sample("gather", lambda x: x.gather(0, t(INDEX)), (2, 3)),
    sample("gather", lambda x: x.sort(1).values, (2, 3)),
    sample("gather", lambda x: x.median(1).values, (2, 3)),
    sample("var", lambda x: x.var(1), (2, 3)),
    sample("var", lambda x: x.var(), (2, 3)),
    sample("std", lambda x: x.std(0, keepdim=True), (3, 2)),
    sample("logsumexp", lambda x: x.logsumexp(1), (2, 3)),
    sample("softmax", lambda x: x.softmax(1), (2, 3)),
    sample("log_softmax", lambda x: x.log_softmax(0), (2, 3)),
    sample("norm2", lambda x: x.norm(), (2, 3)),
    sample("norm2", lambda x: x.norm(2, 1), (2, 3)),
    sample("view", lambda x: x.reshape(3, 2), (2, 3)),
    sample("view", lambda x: x.T.reshape(6), (2, 3)),
    sample("view", lambda x: x.flatten(), (2, 3)),
    sample("permute", lambda x: x.permute(2, 0, 1), (2, 3, 4)),
    sample("transpose", lambda x: x.transpose(0, 1), (2, 3)),
    sample("t", lambda x: x.t(), (2, 3)),
    sample("unsqueeze", lambda x: x.unsqueeze(1), (2, 3)),
    sample("squeeze", lambda x: x.squeeze(), (2, 1, 3)),
    sample("expand", lambda x: x.expand(4, 2, 3), (2, 1)),
    sample("sum_to_shape", lambda x, y: x * y, (2, 3), (3,)),
    sample("clone", lambda x: x.clone(), (2,)),
    sample("diagonal", lambda x: x.diagonal(1), (3, 4)),
    sample("diagonal_embed", lambda x: x.diag(), (3,)),
    sample("tril", lambda x: x.tril(), (3, 3)),
    sample("triu", lambda x: x.triu(1), (3, 3)),
    sample("cat", lambda x, y: tg.cat([x, y, x], 1), (2, 3), (2, 1)),
    sample("stack", lambda x, y: tg.stack([x, y], 1), (2, 3), (2, 3)),
    sample("flip", lambda x: x.flip(0, 1), (2, 3)),
    sample("roll", lambda x: x.roll(1, 0), (3, 2)),
    sample("roll", lambda x: x.roll(2), (3, 2)),
    sample("view", lambda x: x.repeat(2, 3), (2, 2)),
    sample("index", lambda x: x[t(ROWS)], (3, 2)),
    sample("index", lambda x: x[t(MASK)], (2, 3)),
    sample("index", lambda x: x[t(ROWS), 0], (3, 2)),
    sample("index", lambda x: x[:, None, t(ROWS)], (2, 3)),
    sample("slice", lambda x: x[1:, ::2], (3, 3)),
    sample("slice", lambda x: x[..., None], (3,)),
    sample("select", lambda x: x[1], (3, 2)),
    sample("index_select", lambda x: x.index_select(0, t(ROWS)), (3, 2)),
    sample("index_add", lambda x, y: x.index_add(0, t(ROWS), y), (3, 2), (3, 2)),
    sample("scatter_add", lambda x, y: x.scatter_add(0, t(INDEX), y), (2, 3), (2, 3)),
    sample("scatter", lambda x, y: x.scatter(1, t([[1, 0]]), y), (2, 3), (1, 2)),
    sample("index_put", in_place(lambda y, v: y.__setitem__(1, v)), (3, 2), (2,)),
    sample("index_put", in_place(lambda y, v: y[1:].__setitem__((slice(None), 0), v)), (3, 2), ()),
    sample("copy_slices", in_place(lambda y: y[1:].mul_(2.0)), (3,)),
    sample("copy_slices", in_place(lambda y: y.T[0].exp_()), (3, 2)),
    sample("copy_slices", in_place(lambda y, v: y.view(6)[2:5].mul_(v)), (3, 2), (3,)),
    sample("matmul", lambda x, y: x @ y, (2, 3, 4), (4, 2)),
    sample("matmul", lambda x, y: x @ y, (2, 1, 3, 4), (5, 4, 2)),
    sample("matmul", lambda x, y: x @ y, (3,), (2, 3, 4)),
    sample("matmul", lambda x, y: x @ y, (2, 3, 4), (4,)),
    sample("mm", lambda x, y: x @ y, (2, 3), (3, 4)),
    sample("bmm", lambda x, y: tg.bmm(x, y), (2, 3, 4), (2, 4, 1)),
    sample("mv", lambda x, y: x.mv(y), (2, 3), (3,)),
    sample("dot", lambda x, y: x.dot(y), (3,), (3,)),
    sample("vm", lambda x, y: x @ y, (3,), (3, 2)),
    sample("linear", F.linear, (2, 3), (4, 3), (4,)),
    sample("linear", F.linear, (3,), (4, 3), (4,)),
    sample("linear", F.linear, (2, 2, 3), (4, 3), (4,)),
    sample("einsum", lambda x, y: tg.einsum("ij,jk->ik", x, y), (2, 3), (3, 4)),
    sample("einsum", lambda x, y: tg.einsum("bij,bjk->b", x, y), (2, 3, 2), (2, 2, 3)),
    sample("einsum", lambda x: tg.einsum("ii->i", x), (3, 3)),
    sample("einsum", lambda x: tg.einsum("ij->", x), (3, 2)),
    sample("einsum", lambda x, y: tg.einsum("...i,i", x, y), (2, 3), (3,)),
    sample("mm", lambda x, y: tg.tensordot(x, y, 2), (2, 3, 4), (3, 4, 2)),
    sample("mse_loss", F.mse_loss, (2, 3), (2, 3)),
    sample("mse_loss", lambda x, y: F.mse_loss(x, y, reduction="none"), (2,), (2,)),
    sample("huber_loss", F.huber_loss, (2, 3), (2, 3)),
    sample("smooth_l1_loss", F.smooth_l1_loss, (2, 3), (2, 3)),
    sample("bce_with_logits", F.binary_cross_entropy_with_logits, (70,), (70,)),
    sample("bce_with_logits", F.binary_cross_entropy_with_logits, (3,), (3,)),
    sample("bce_with_logits",
      lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="sum"), (2, 3), (2, 3)),
    sample("bce_with_logits",
      lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"), (2, 3), (2, 3)),
    sample("bce_with_logits", lambda x, y: F.binary_cross_entropy_with_logits(
        x, y, weight=t(HALVES), pos_weight=t(1 + HALVES)), (2, 3), (2, 3)),
    sample("binary_cross_entropy",
      lambda x: F.binary_cross_entropy(x.sigmoid(), t(QUARTERS).to(x.dtype)), (2, 2)),
    sample("nll_loss", lambda x: F.cross_entropy(x, t([1, 0])), (2, 3)),
    sample("nll_loss", lambda x: F.cross_entropy(x, t([1, -100]), reduction="sum"), (2, 3)),
    sample("nll_loss", lambda x: F.cross_entropy(x, t([1, 2]), t(HALVES).to(x.dtype)), (2, 3)),
    sample("nll_loss", lambda x: F.cross_entropy(x, t(2)), (3,)),
    sample("nll_loss", lambda x: F.nll_loss(x, t([[1, 0], [2, 1]]), reduction="none"), (2, 3, 2)),
    sample("mul", lambda x: F.cross_entropy(x, t([1, 2]), label_smoothing=0.1), (2, 3)),
    sample("mul", lambda x, y: F.cross_entropy(x, y.softmax(1)), (2, 3), (2, 3)),
    sample("xlogy", lambda x, y: F.kl_div(x, y.softmax(1), reduction="batchmean"), (2, 3), (2, 3)),
    sample("div", F.cosine_similarity, (2, 3), (2, 3)),
    sample("addmm", lambda x, y, z: tg.addmm(x, y, z, beta=2, alpha=3), (2,), (3, 4), (4, 2)),
    sample("addmv", tg.addmv, (3,), (3, 4), (4,)),
    sample("baddbmm", tg.baddbmm, (2, 3, 2), (2, 3, 4), (2, 4, 2)),
    sample("vdot", tg.vdot, (3,), (3,)),
    sample("take", lambda x: x.take(t([0, 4, 0])), (2, 3)),
    sample("masked_select", lambda x: x.masked_select(t(MASK)), (2, 3)),
    sample("masked_fill", lambda x: x.masked_fill(t(MASK), 2.0), (2, 3)),
    sample("masked_fill", lambda x, y: x.masked_fill(t(MASK), y), (2, 3), ()),
    sample("masked_scatter", lambda x, y: x.masked_scatter(t(MASK), y), (2, 3), (4,)),
    sample("index_put", lambda x, y: x.index_put((t(ROWS),), y, accumulate=True), (3,), (3,)),
    sample("index_put", lambda x, y: x.index_put((t([2, 0]),), y), (3,), (2,)),
    sample("index_fill", lambda x: x.index_fill(0, t([0, 2]), 3.0), (3, 2)),
    sample("index_copy", lambda x, y: x.index_copy(0, t([2, 0]), y), (3, 2), (2, 2)),
    sample("scatter_reduce",
           lambda x, y: x.scatter_reduce(0, t(INDEX), y, "amax"), (2, 3), (2, 3)),
    sample("topk", lambda x: x.topk(2).values, (2, 4)),
    sample("kthvalue", lambda x: x.kthvalue(2).values, (2, 4)),
    sample("fill", lambda x, y: x.fill(y), (2,), ()),
    sample("fill", in_place(lambda y, v: y[0].fill_(v)), (2, 2), ()),
    sample("zero", in_place(lambda y: y[0].zero_()), (2, 2)),
    sample("copy", in_place(lambda y, v: y[0].copy_(v)), (2, 2), (2,)),
    sample("nansum", lambda x: x.nansum(1), (2, 3)),
    sample("diagonal_copy", lambda x: x.diag(), (3, 3)),
    sample("trace", lambda x: x.trace(), (3, 3)),
    sample("unfold", lambda x: x.unfold(0, 2, 1), (4,)),
    sample("aminmax", lambda x: tg.cat(x.aminmax(dim=1)), (2, 3)),
    sample("nanmedian", lambda x: x.nanmedian(), (5,)),
    sample("nanmedian", lambda x: x.nanmedian(1).values, (2, 3)),
    sample("var_mean", lambda x: tg.stack(tg.var_mean(x, 1)), (2, 3)),
    sample("std_mean", lambda x: tg.stack(tg.std_mean(x, 1)), (2, 3)),
    sample("split", lambda x: x.split(2)[1] * x.split(2)[0], (4,)),
    sample("split_with_sizes", lambda x: x.split([1, 2])[1], (3, 2)),
    sample("unbind", lambda x: x.unbind(1)[0] * x.unbind(1)[2], (2, 3)),
    sample("rot90", lambda x: x.rot90(1), (2, 3)),
    sample("repeat", lambda x: x.repeat(2, 1, 2), (2, 3)),
    sample("repeat_interleave", lambda x: x.repeat_interleave(2, 0), (2, 3)),
    sample("reshape_copy", lambda x: x.t().reshape(6), (2, 3)),
    sample("norm", lambda x: x.norm(3, 1), (2, 3)),
    sample("norm", lambda x: x.norm(0.5), (3,)),
    sample("norm", lambda x: x.norm(float("inf"), 0), (2, 3)),
    sample("median", lambda x: x.median(1).values, (2, 3)),
    sample("max", lambda x: x.max(1).values, (2, 3)),
    sample("min", lambda x: x.min(0, keepdim=True).values, (2, 3)),
    sample("reshape_alias", lambda x: x[:, ::2].reshape(4), (2, 4)),
    # -- nn.functional: layers --
    sample("convolution", F.conv1d, (2, 4, 7), (6, 4, 3), (6,)),
    sample("convolution", lambda x, w: F.conv1d(x, w, None, 2, 1, 2, 2), (2, 4, 7), (6, 2, 2)),
    sample("convolution", lambda x, w: F.conv2d(x, w, padding="same"), (2, 5, 4), (3, 2, 3, 2)),
    sample("conv_transpose", F.conv_transpose1d, (2, 4, 3), (4, 2, 3), (2,)),
    sample("conv_transpose",
      lambda x, w: F.conv_transpose2d(x, w, None, (2, 3), 1, 1, 2, (1, 2)), (2, 4, 3, 2),
      (4, 1, 2, 3)),
    sample("max_pool", lambda x: F.max_pool1d(x, 3, 2, 1), (2, 2, 7)),
    sample("max_pool", lambda x: F.max_pool2d(x, 2), (2, 4, 6)),
    sample("max_pool", lambda x: F.adaptive_max_pool2d(x, (2, 3)), (2, 5, 4)),
    sample("max_unpool", lambda x: F.max_unpool1d(x, t([[1, 2]]), 2), (1, 2)),
    sample("avg_pool", lambda x: F.avg_pool1d(x, 3, 2, 1), (2, 2, 7)),
    sample("avg_pool", lambda x: F.avg_pool2d(x, 2, 1, 1, True, False), (2, 4, 3)),
    sample("adaptive_avg_pool", lambda x: F.adaptive_avg_pool2d(x, (2, 3)), (2, 5, 4)),
    sample("resample", lambda x: F.adaptive_max_pool1d(x, 3), (2, 5)),
    sample("layer_norm", lambda x, w, b: F.layer_norm(x, (3, 2), w, b), (2, 3, 2), (3, 2), (3, 2)),
    sample("layer_norm", lambda x: F.layer_norm(x, (4,)), (3, 4)),
    sample("batch_norm",
      lambda x, w, b: F.batch_norm(x, None, None, w, b, True), (4, 2, 3), (2,), (2,)),
    sample("batch_norm", lambda x, w: F.instance_norm(x, weight=w), (2, 3, 4), (3,)),
    sample("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), (2, 4, 3), (4,), (4,)),
    sample("resample", lambda x: F.local_response_norm(x, 2), (2, 3, 2)),
    sample("pad", lambda x: F.pad(x, (1, -1, 0, 2), value=3.0), (2, 3)),
    sample("pad", lambda x: F.pad(x, (2, 1), "reflect"), (1, 2, 4)),
    sample("pad", lambda x: F.pad(x, (2, 1, 1, -1), "replicate"), (1, 2, 3, 4)),
    sample("resample", lambda x: F.pad(x, (3, 1), "circular"), (1, 2, 4)),
    sample("im2col", lambda x: F.unfold(x, (2, 3), 1, 1, 2), (2, 2, 3, 4)),
    sample("col2im", lambda x: F.fold(x, (3, 4), 2), (2, 8, 6)),
    sample("permute", lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3)),
    sample("permute", lambda x: F.pixel_unshuffle(x, 2), (1, 2, 2, 4)),
    sample("transpose", lambda x: F.channel_shuffle(x, 2), (1, 6, 2)),
    sample("split", lambda x: F.glu(x, 1), (2, 4)),
    sample("embedding", lambda w: F.embedding(t([[2, 0], [2, 1]]), w), (3, 2)),
    sample("segment_sum", lambda w: F.embedding_bag(t([0, 2, 1, 2]), w, t([0, 1, 1])), (3, 2)),
    sample("index", lambda w: F.embedding_bag(t([[0, 2], [1, 2]]), w, mode="max"), (3, 2)),
    sample("mul", lambda w, s: F.embedding_bag(
        t([[0, 2], [1, 2]]), w, mode="sum", per_sample_weights=s, padding_idx=1), (3, 2), (2, 2)),
    sample("upsample_nearest", lambda x: F.interpolate(x, (3, 5)), (1, 2, 2, 3)),
    sample("upsample_linear", lambda x: F.interpolate(x, 5, mode="linear"), (1, 2, 3)),
    sample("upsample_linear", lambda x: F.interpolate(
        x, (3, 2), mode="bilinear", align_corners=True), (1, 2, 2, 3)),
    sample("upsample_bicubic", lambda x: F.interpolate(
        x, scale_factor=1.5, mode="bicubic"), (1, 1, 3, 4)),
    sample("norm", F.pairwise_distance, (2, 3), (2, 3)),
    sample("norm", F.pdist, (3, 2)),
    sample("mul", lambda x, g: F.grid_sample(
        x, g * 0.7, align_corners=False), (1, 2, 3, 4), (1, 2, 2, 2)),
    sample("mul", lambda x, g: F.grid_sample(
        x, g, "bicubic", "reflection", True), (1, 1, 4, 4), (1, 2, 2, 2)),
    sample("einsum", lambda x: F.affine_grid(x, (1, 1, 2, 3), True), (1, 2, 3)),
    sample("masked_fill", lambda q, k, v: F.scaled_dot_product_attention(
        q, k, v, is_causal=True), (2, 3, 4), (2, 3, 4), (2, 3, 2)),
    sample("nll_loss", lambda x, w: F.linear_cross_entropy(x, w, t([1, 0])), (2, 3), (4, 3)),
    sample("scatter_reduce",
           lambda x, y: x.scatter_reduce(0, t(INDEX), y, "prod"), (2, 3), (2, 3)),
    sample("scatter_reduce", lambda x, y: (x * t([0.0, 1.0])).scatter_reduce(
        0, t([0, 0, 1]), y * t([1.0, 2.0, 0.0]), "prod"), (2,), (3,)),
    sample("index_reduce", lambda x, y: x.index_reduce(0, t(ROWS), y, "prod"), (3, 2), (3, 2)),
    sample("index_reduce", lambda x, y: x.index_reduce(
        1, t(ROWS), y, "amin", include_self=False), (2, 3), (2, 3)),
    sample("lerp", lambda x: x.quantile(t(HALVES).to(x.dtype), 1), (2, 4)),
    sample("fft_c2c", lambda x: real(tg.fft.fft(x)), (5,)),
    sample("fft_c2c", lambda x: real(tg.fft.ifft2(x, norm="ortho")), (2, 3)),
    sample("fft_resized", lambda x: real(tg.fft.fft(x, 7)) + real(tg.fft.fft(x, 3)).sum(), (5,)),
    sample("fft_r2c", lambda x: real(tg.fft.rfft(x)), (5,)),
    sample("fft_r2c", lambda x: real(tg.fft.rfftn(x, norm="forward")), (3, 4)),
    sample("fft_c2r", lambda x, y: tg.fft.irfft(tg.complex(x, y), 5), (3,), (3,)),
    sample("fft_c2r", lambda x, y: tg.fft.irfft2(tg.complex(x, y)), (2, 3), (2, 3)),
    sample("fft_c2r", lambda x, y: tg.fft.hfft(tg.complex(x, y)), (4,), (4,)),
    sample("fft_r2c", lambda x, w: real(tg.stft(
        x, 4, 2, window=w, return_complex=True)), (9,), (4,)),
    sample("fft_c2r", lambda x, w: tg.istft(
        tg.stft(x, 4, 1, return_complex=True), 4, 1, window=w + 3), (7,), (4,)),
    sample("cummax", lambda x: x.cummax(1).values, (2, 5)),
    sample("cummin", lambda x: x.cummin(0).values, (5, 2)),
    sample("logcumsumexp", lambda x: x.logcumsumexp(1), (2, 4)),
    sample("logcumsumexp", lambda x: x.logcumsumexp(0), (3, 2)),
    sample("select_scatter", lambda x, y: x.select_scatter(y, 1, -2), (2, 3), (2,)),
    sample("slice_scatter", lambda x, y: x.slice_scatter(y, 1, 1, None, 2), (2, 4), (2, 2)),
    sample("diagonal_scatter", lambda x, y: x.diagonal_scatter(y, 1), (3, 4), (3,)),
    sample("as_strided", lambda x: x.as_strided((2, 3), (1, 2), 1), (2, 4)),
    sample("as_strided", in_place(lambda y: y.as_strided((2,), (3,), 1).mul_(2)), (2, 4)),
    sample("index_put", lambda x, y: x.as_strided_scatter(y, (2,), (3,), 1), (2, 4), (2,)),
    sample("block_diag", tg.block_diag, (2, 3), (2,), ()),
    sample("stack", tg.cartesian_prod, (2,), (3,), (2,)),
    sample("index_select", lambda x: tg.combinations(x, 2), (4,)),
    sample("mode", lambda x: x.mode(1).values, (2, 3)),
    sample("sub", lambda x, y: x.diff(2, prepend=y), (2, 4), (2, 1)),
    sample("cat", lambda x: tg.stack(tg.gradient(x, spacing=0.5, edge_order=2)), (4, 3)),
    sample("cat", lambda x: tg.gradient(x, spacing=[t([0.0, 1, 3, 4])], dim=1)[0], (2, 4)),
    sample("sum", lambda x, y: tg.trapezoid(x, y), (2, 4), (4,)),
    sample("cumsum", lambda x, y: tg.cumulative_trapezoid(x, y, dim=0), (4, 2), (4, 2)),
    sample("mul", lambda x: x.renorm(2, 0, 1.0), (3, 4)),
    sample("view_as_complex", lambda x: tg.view_as_complex(x).imag, (3, 2)),
    sample("view_as_real", lambda x, y: tg.view_as_real(tg.complex(x, y)), (2, 3), (2, 3)),
    sample("linalg_inv_ex", lambda x: L.inv(regular(x)), (2, 3, 3)),
    sample("linalg_inv_ex", lambda x: L.matrix_power(regular(x), -3), (2, 2)),
    sample("linalg_solve_ex", lambda x, y: L.solve(regular(x), y), (3, 3), (2, 3, 2)),
    sample("linalg_solve_ex",
      lambda x, y: L.solve(regular(x), y, left=False), (2, 3, 3), (2, 2, 3)),
    sample("linalg_solve_ex", lambda x, y: L.solve(regular(x), y), (2, 3, 3), (2, 3)),
    sample("linalg_solve_triangular",
      lambda x, y: L.solve_triangular(regular(x), y, upper=True), (2, 3, 3), (3, 2)),
    sample("linalg_solve_triangular", lambda x, y: L.solve_triangular(
        x, y, upper=False, left=False, unitriangular=True), (3, 3), (2, 2, 3)),
    sample("linalg_solve_triangular",
      lambda x, y: tg.triangular_solve(y, regular(x), transpose=True)[0], (3, 3), (3, 2)),
    sample("linalg_solve_triangular",
      lambda x, y: tg.cholesky_solve(y, regular(x)), (3, 3), (3, 2)),
    sample("linalg_solve_triangular", lambda x: tg.cholesky_inverse(regular(x), True), (3, 3)),
    sample("linalg_cholesky_ex", lambda x: L.cholesky(positive(x)), (2, 3, 3)),
    sample("linalg_cholesky_ex", lambda x: L.cholesky(positive(x), upper=True), (3, 3)),
    sample("linalg_lu_factor_ex", lambda x: L.lu_factor(regular(x)).LU, (2, 3, 3)),
    sample("linalg_lu_factor_ex", lambda x: L.lu(x).L, (4, 2)),
    sample("linalg_lu_factor_ex", lambda x: L.lu(x).U * L.lu(x).L.sum(), (2, 4)),
    sample("linalg_solve_triangular",
      lambda x, y: L.lu_solve(*L.lu_factor(regular(x)), y, adjoint=True), (2, 3, 3), (3, 2)),
    sample("linalg_qr", lambda x: L.qr(x).R, (2, 4, 2)),
    sample("linalg_qr", lambda x: L.qr(x).Q, (3, 3)),
    sample("linalg_qr", lambda x: tg.cat(L.qr(x), 1), (2, 4)),
    sample("linalg_qr", lambda x: L.qr(x, "complete").Q, (2, 3)),
    sample("linalg_qr", lambda x: L.qr(x, "r").R, (3, 2)),
    sample("mm", L.householder_product, (4, 3), (2,)),
    sample("mm", lambda x, y, z: tg.ormqr(x, y, z, False, True), (4, 3), (3,), (2, 4)),
    sample("linalg_ldl_solve", lambda x: L.ldl_solve(
        *L.ldl_factor(t([[1.0, 2.0], [2.0, 1.0]]).to(x.dtype)), x), (2, 3)),
    sample("linalg_eigh", lambda x: L.eigvalsh(symmetric(x)), (2, 3, 3)),
    sample("linalg_eigh", lambda x: L.eigh(symmetric(x), "U")[1].abs(), (3, 3)),
    sample("linalg_eig", lambda x: L.eigvals(regular(x)).real, (2, 3, 3)),
    sample("linalg_eig", lambda x: lengths(L.eig(x)[0]) * lengths(L.eig(x)[1]), (3, 3)),
    sample("linalg_svd", lambda x: L.svdvals(x), (2, 3, 2)),
    sample("linalg_svd", lambda x: L.svd(x)[0][:, :2].abs(), (3, 2)),
    sample("linalg_svd", lambda x: L.svd(x, False)[2].abs() * L.svd(x, False)[1].sum(), (2, 4)),
    sample("linalg_det", lambda x: L.det(x), (2, 3, 3)),
    sample("linalg_det", lambda x: L.det(tg.stack([x, singular(x), x.T])), (3, 3)),
    sample("cofactors", lambda x: L.det(singular(x)), (3, 3)),
    sample("linalg_slogdet", lambda x: L.slogdet(x)[1], (2, 3, 3)),
    sample("linalg_slogdet", lambda x: tg.logdet(regular(x)), (3, 3)),
    sample("linalg_pinv", L.pinv, (2, 4, 2)),
    sample("linalg_pinv", lambda x: L.pinv(low_rank(x), rtol=1e-5), (4, 2)),
    sample("linalg_pinv", lambda x: L.pinv(symmetric(x), hermitian=True), (3, 3)),
    sample("linalg_lstsq", lambda x, y: L.lstsq(x, y)[0], (4, 2), (4, 3)),
    sample("linalg_lstsq", lambda x, y: L.lstsq(x, y, driver="gelsd")[1], (4, 2), (4, 3)),
    sample("linalg_lstsq", lambda x, y: L.lstsq(x, y)[0], (2, 3), (2,)),
    sample("matrix_exp", lambda x: x.matrix_exp(), (2, 3, 3)),
    sample("matmul", lambda x: x.matrix_power(5), (2, 3, 3)),
    sample("mm", lambda x, y, z: L.multi_dot([x, y, z]), (3,), (3, 4), (4, 2)),
    sample("linalg_cross", L.cross, (2, 3), (1, 3)),
    sample("linalg_cross", lambda x, y: tg.cross(x, y, 0), (3, 2), (3, 2)),
    sample("mul", tg.kron, (2, 3), (2,)),
    sample("mul", L.vecdot, (2, 3), (3,)),
    sample("cat", lambda x: L.vander(x, N=4), (2, 3)),
    sample("amax", lambda x: L.matrix_norm(x, 1), (2, 3, 2)),
    sample("linalg_svd", lambda x: x.norm("nuc", (0, 1), keepdim=True), (3, 2)),
    sample("linalg_svd", lambda x: L.norm(x, -2), (3, 2)),
    sample("linalg_svd", lambda x: L.cond(x), (2, 3, 3)),
    sample("linalg_inv_ex", lambda x: L.cond(regular(x), "fro"), (3, 3)),
    sample("norm", lambda x, y: tg.dist(x, y, 3), (2, 3), (3,)),
    sample("cdist", lambda x, y: tg.cdist(
        x, y, compute_mode="use_mm_for_euclid_dist"), (2, 3, 2), (4, 2)),
    sample("norm", lambda x, y: tg.cdist(x, y, 1.5), (3, 2), (2, 4, 2)),
    sample("norm", lambda x: x.renorm(2, 0, 1.0), (3, 2)),
    sample("sum", lambda x, y: tg.trapezoid(y, x), (3,), (2, 3)),
    sample("cumsum", lambda x: tg.cumulative_trapezoid(x, dx=0.5, dim=0), (3, 2)),
    sample("mm", lambda x: tg.cov(x, aweights=t([1.0, 2.0, 1.0]).to(x.dtype)), (2, 3)),
    sample("mm", tg.corrcoef, (3, 4)),
    sample("convolution", lambda x, w, b: F.conv2d(x, w, b, (1, 2), 1), (2, 3, 4, 5), (7, 3, 3, 2),
           (7,)),
    sample("convolution", lambda x, w: F.conv2d(x, w, None, 2, 1, 1, 4), (1, 4, 5, 4),
           (4, 1, 3, 3)),
    sample("max_pool", lambda x: F.max_pool2d(x, 2), (1, 2, 2, 5)),
    # Those for which there are fused functions.
    sample("layer_norm", lambda x, w, b: F.layer_norm(x, (2, 5), w, b), (3, 2, 5), (2, 5), (2, 5)),
    sample("layer_norm", lambda x, w: F.layer_norm(x, (20,), w), (70, 20), (20,)),
    sample("layer_norm", lambda x: F.layer_norm(x, (2100,)), (2, 2100)),
    sample("layer_norm", lambda x: F.layer_norm(x, (5,)), (5,)),
    sample("layer_norm", lambda x, b: F.layer_norm(x, (3, 4), None, b), (3, 4), (3, 4)),
    sample("bce_with_logits", lambda x, y: F.binary_cross_entropy_with_logits(
        x, y, reduction="none"), (70,), (70,)),
    sample("binary_cross_entropy", lambda x, y: F.binary_cross_entropy(
        x.sigmoid(), y.sigmoid(), reduction="none"), (70,), (70,)),
    sample("binary_cross_entropy", lambda x, y: F.binary_cross_entropy(
        x.sigmoid(), y.sigmoid()), (70,), (70,)),
    sample("huber_loss", lambda x, y: F.huber_loss(x, y, "sum", 0.7), (7, 10), (7, 10)),
    sample("smooth_l1_loss",
      lambda x, y: F.smooth_l1_loss(x, y, reduction="none", beta=0.3), (70,), (70,)),
    sample("rms_norm", lambda x, w: F.rms_norm(x, (2, 5), w), (3, 2, 5), (2, 5)),
    sample("rms_norm", lambda x, w: F.rms_norm(x, (20,), w, 0.1), (70, 20), (20,)),
    sample("rms_norm", lambda x: F.rms_norm(x, (2100,)), (2, 2100)),
    sample("rms_norm", lambda x: F.rms_norm(x, (5,)), (5,)),
    sample("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), (3, 4, 5), (4,), (4,)),
    sample("group_norm", lambda x, w: F.group_norm(x, 1, w), (2, 3, 2, 2), (3,)),
    sample("group_norm", lambda x, w: F.group_norm(x, 2, w), (3, 4), (4,)),
    sample("group_norm", lambda x, w: F.group_norm(x, 2, w), (1, 4, 2, 3), (4,)),
    sample("batch_norm", lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
      (3, 2, 4, 2), (2,), (2,)),
    sample("batch_norm", lambda x: F.batch_norm(x, None, None, training=True), (5, 3)),
    sample("batch_norm", lambda x, w: F.instance_norm(x, weight=w), (3, 2, 40), (2,)),
    sample("masked_fill", lambda x: x.masked_fill(t(MASK), -1.0), (3, 2, 3)),
    sample("masked_softmax", lambda x: masked_softmax(x, np.array([[False, True], [True, True]])),
      (3, 2, 2)),
    sample("scaled_dot_product_attention", lambda q: attention_(q, q, q, None, True, 0.7),
      (2, 40, 3)),
    sample("scaled_dot_product_attention", lambda q, k, v: attention_(q, k, v, None, False, 0.7),
      (2, 2, 4), (2, 3, 4), (2, 3, 2)),
    sample("scaled_dot_product_attention", lambda q, k: F.scaled_dot_product_attention(
        q, k, k, t([[False, True, False], [False, False, False]])), (2, 2, 4), (2, 3, 4)),
    sample("lstm", lambda *given: lstm_(*given)[0], (3, 2, 8), (2, 2), (2, 2), (8, 2)),
    sample("lstm", lambda *given: tg.cat(lstm_(*given)[:2]), (2, 1, 12), (1, 3), (1, 3), (12, 3)),
    sample("lstm", lambda *given: lstm_(*given)[1], (1, 2, 4), (2, 1), (2, 1), (4, 1)),
    sample("lstm", lambda *given: tg.cat(lstm_(*given), -1), (2, 2, 8), (2, 2), (2, 2), (8, 2)),
    sample("gru", lambda *given: gru_(*given)[0], (3, 2, 6), (2, 2), (6, 2), (6,)),
    sample("gru", lambda *given: gru_(*given)[0], (1, 1, 9), (1, 3), (9, 3), (9,)),
    sample("gru", lambda *given: gru_(*given)[1], (2, 1, 6), (1, 2), (6, 2), (6,)),
    sample("gru", lambda *given: tg.cat(gru_(*given), -1), (2, 2, 6), (2, 2), (6, 2), (6,)),
    sample("rnn", lambda *given: rnn_(*given, False), (3, 2, 2), (2, 2), (2, 2)),
    sample("rnn", lambda *given: rnn_(*given, True), (2, 2, 3), (2, 3), (3, 3)),
    sample("states", states_, (2, 3)),
    sample("lstm_cell", lstm_cell_, (3, 8), (3, 2)),
    sample("lstm_cell", lstm_cell_, (2, 1, 12), (2, 1, 3)),
    sample("lstm_output", lstm_output_, (3, 8), (3, 2)),
    sample("gru_cell", gru_cell_, (3, 6), (3, 6), (3, 2)),
    sample("gru_cell", gru_cell_, (2, 1, 9), (2, 1, 9), (2, 1, 3)),
    sample("log_softmax", lambda x: tg.log_softmax(x, -1), (3, 2, 9)),
    sample("nll_loss", lambda x: F.cross_entropy(x, tg.tensor([1, 16, 0])), (3, 17)),
    sample("nll_loss", lambda x: F.nll_loss(x, tg.tensor([1, 2]), reduction="sum"), (2, 3)),
    sample("linear", F.linear, (9, 70, 8), (9, 8), (9,)),
]  # fmt: skip
