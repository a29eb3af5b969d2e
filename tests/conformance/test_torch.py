"""One program text under both namespaces: values, shapes, dtypes, gradients of two orders, reprs.

A program is a few statements; its result is the value of the last, which is an expression. The
names of `LEAVES` and `CONSTANTS` are there when a program mentions them.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

import numpy as np
import pytest

import tapegrad
from tests.same_as_torch import outcome

torch = pytest.importorskip("torch")

INF, NAN = float("inf"), float("nan")

#: Leaves that require grad, float64.
LEAVES: dict[str, Any] = {
    "x": [0.5, -1.5, 2.0, 3.25],
    "y": [1.5, 0.25, -2.0, 0.75],
    "p": [0.25, 0.5, 0.75, 0.9],  # inside every domain
    "z": [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN, 2.5, 0.5, -2.5],
    "m": [[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]],
    "n": [[2.0, 0.5], [-1.0, 1.0], [0.25, 3.0]],
    "q": [[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]],
    "c": [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[-1.0, 0.5], [0.25, 2.0], [1.5, -3.0]]],
    "v": [1.0, 2.0, -0.5],
    "s": 1.5,
    "ties": [2.0, 1.0, 2.0, -1.0, 1.0, 2.0],
    "e": [[], []],
}
CONSTANTS: dict[str, tuple[Any, str]] = {
    "i": ([1, 2, 3], "int64"),
    "i32": ([[3, -2], [0, 7]], "int32"),
    "u": ([1, 200, 255], "uint8"),
    "b": ([True, False, True], "bool"),
    "b4": ([True, False, False, True], "bool"),
    "f": ([1.5, -2.5, 0.0], "float32"),
    "h": ([1.5, -2.5, 0.0], "float16"),
    "d": ([1.5, -2.5, 0.0], "float64"),
    "i0": (3, "int64"),
    "f0": (2.5, "float32"),
    "d0": (2.5, "float64"),
}

ELEMENTWISE = [
    *(
        f"torch.{name}(z)"
        for name in [
            "abs",
            "acos",
            "asin",
            "asinh",
            "atan",
            "atanh",
            "ceil",
            "cos",
            "cosh",
            "deg2rad",
            "erf",
            "erfc",
            "erfinv",
            "exp",
            "exp2",
            "expm1",
            "floor",
            "frac",
            "isfinite",
            "isinf",
            "isnan",
            "log",
            "log10",
            "log1p",
            "log2",
            "logical_not",
            "logit",
            "nan_to_num",
            "neg",
            "positive",
            "rad2deg",
            "reciprocal",
            "relu",
            "round",
            "rsqrt",
            "sigmoid",
            "sgn",
            "sign",
            "signbit",
            "sin",
            "sinc",
            "sinh",
            "sqrt",
            "square",
            "tan",
            "tanh",
            "trunc",
        ]
    ),
    *(
        f"F.{name}(z)"
        for name in [
            "celu",
            "elu",
            "gelu",
            "hardshrink",
            "hardswish",
            "hardtanh",
            "leaky_relu",
            "logsigmoid",
            "mish",
            "relu6",
            "selu",
            "silu",
            "softplus",
            "softshrink",
            "softsign",
            "tanhshrink",
        ]
    ),
    "F.gelu(x, approximate='tanh')",
    "F.softplus(x, beta=2.0, threshold=3.0)",
    "F.threshold(x, 0.5, -7.0)",
    "F.prelu(x, s.reshape(1))",
    "F.hardsigmoid(z.float())",  # torch multiplies by 1/6 in float32, whatever the dtype
    # Within their domains: beyond, torch shows what its formula happens to give.
    "torch.acosh(1 + z.abs())",
    "torch.digamma(z.abs())",
    "torch.sinc(z)",  # torch: nan near 0
    "torch.lgamma(z.abs())",
    *(
        f"torch.{name}(x, y)"
        for name in [
            "add",
            "sub",
            "mul",
            "div",
            "atan2",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "hypot",
            "copysign",
            "fmod",
            "remainder",
            "logaddexp",
            "logaddexp2",
            "true_divide",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
        ]
    ),
    *(
        f"torch.{name}(z, z.flip(0))"
        for name in [
            "add",
            "mul",
            "div",
            "atan2",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "hypot",
            "fmod",
            "remainder",
            "pow",
            "xlogy",
            "logaddexp",
            "eq",
            "le",
        ]
    ),
    *(f"torch.{name}(ties, ties.clone())" for name in ("maximum", "minimum", "fmax", "fmin")),
    "torch.maximum(ties, torch.tensor(1.0, dtype=torch.float64))",
    "p ** y",
    "p ** 2.5",
    "z ** 0",
    "z ** 0.5",
    "z ** 1",
    "z ** 2",
    "z ** 3",
    "z ** -1",
    "z ** -2.0",
    "2.0 ** z",
    "0.0 ** z",
    "torch.pow(torch.zeros(3, dtype=torch.float64), v)",
    "torch.xlogy(torch.zeros(4, dtype=torch.float64), x)",
    "torch.xlogy(x, p)",
    "torch.heaviside(torch.tensor([0.0, -1.0, 2.0]), torch.tensor([0.5, 0.5, 0.5]))",
    "torch.lerp(x, y, 0.25)",
    "torch.lerp(x, y, p)",
    "torch.addcmul(x, y, p, value=0.5)",
    "torch.addcdiv(x, y, p, value=2)",
    "torch.ldexp(x, torch.tensor([1, 2, 3, 0]))",
    "torch.div(x, y, rounding_mode='floor')",
    "torch.div(x, y, rounding_mode='trunc')",
    "torch.round(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5]))",
    "torch.round(x * 1.2345, decimals=2)",
    "torch.nan_to_num(z, nan=1.0, posinf=2.0, neginf=-2.0)",
    "torch.float_power(i, 2)",
    "1 / z",
    "3 - z",
    "z / 2",
    "x % 2",
    "7.5 % y.detach()",
    "x.detach() // 2, torch.floor_divide(x.detach(), y.detach())",
    "-x + abs(y)",
    "x.sub(y, alpha=3)",
]

CLAMP_WHERE = [
    "x.clamp(0.5, 2.0)",
    "x.clamp(min=0.5)",
    "x.clamp(max=2.0)",
    "z.clamp(-1.0, 1.0)",
    "z.clamp(min=0.0)",
    "x.clamp(2.0, 0.5)",
    "x.clamp(NAN, 1.0)",
    "x.clamp(min=y)",
    "ties.clamp(torch.full((6,), 1.0, dtype=torch.float64), ties * 0 + 2.0)",
    "i.clamp(2)",
    "i.clamp(max=2.5)",
    "torch.where(b4, x, y)",
    "torch.where(z > 0, z.sqrt(), 0.0)",  # nan in the untaken branch's derivative
    "torch.where(z > 0, z.sqrt(), z)",
    "torch.where(x > 0, torch.log(x.clamp(min=1e-3)), x)",
    "torch.where(b, v, 1.0)",
    "torch.where(b, 1, 2.5)",
    "torch.where(b, i, 2.5)",
    "torch.where(b, f, i)",
    "torch.where(b)",
    "torch.where(b, s, v)",
    "x.masked_fill(b4, 7.0)",
    "x.masked_fill(b4, s)",
    "x.masked_select(b4)",
]

PROMOTION = [
    "i + 1",
    "i + 1.5",
    "i + True",
    "i / 2",
    "i // 2",
    "i ** 2",
    "i * 2.5",
    "b + b",
    "b * 2",
    "b + 1.5",
    "b & True",
    "u + 300 - 300",
    "u * -1",
    "u + i",
    "u * u",
    "u.sum()",
    "-i",
    "f + i",
    "f + d0",
    "f + i0",
    "i + f0",
    "i + d0",
    "i0 + f0",
    "f0 + d0",
    "h + f0",
    "h + f",
    "h + d0",
    "h * 2.5",
    "h + i",
    "d + f",
    "i32 + i0",
    "i32 + i32.long()",
    "i32 / i32",
    "f * 1j",
    "d * 1j",
    "d + torch.tensor(1j)",
    "torch.add(i, 1, alpha=2)",
    "torch.sin(i)",
    "torch.exp(b)",
    "torch.sqrt(i0)",
    "torch.mean(f)",
    "i.sum(), i.prod(), i.cumsum(0), b.sum(), b.prod(), i.max(), b.any()",
    "i.sum(dtype=torch.float32)",
    "torch.cat([f, d]).dtype, torch.cat([i, f]).dtype, torch.stack([b, i]).dtype",
    "torch.result_type(i, 2.5), torch.result_type(f, d0), torch.promote_types(torch.uint8, "
    "torch.int8)",
    "torch.tensor([1, 2.5]), torch.tensor([True, 2]), torch.tensor(1), torch.tensor(1j)",
    "torch.arange(3), torch.arange(0.0, 1.0, 0.25), torch.linspace(0, 1, 3), torch.full((2,), 3)",
    "f.to(torch.int32), i.float(), f.bool(), h.double()",
    "x.float()",
    "x.float() + y",
    "x.half().float()",
    "s + i",
    "f0 + x",
    "x * f.sum()",
    "i == 2.0, i < 2.5, b == 1, f > i",
    "1 << i, i >> 1, i & 3, i | 4, i ^ 5, ~i, ~b, b ^ b",
    "torch.tensor(7) // torch.tensor(-2), torch.tensor(7) % torch.tensor(-2)",
    "torch.fmod(torch.tensor(7), torch.tensor(-2)), torch.div(i, 2, rounding_mode='trunc')",
]

BROADCASTING = [
    "m + v",
    "m * s",
    "m - v[:2].unsqueeze(1)",
    "v.unsqueeze(1) / n",
    "c * v[:, None] + s",
    "v[:, None] * v",
    "m.sum(1, keepdim=True) * v",
    "v.expand(2, 3) * m",
    "v.expand(4, -1)",
    "torch.broadcast_to(s, (2, 2))",
    "torch.broadcast_tensors(v, v[:, None])",
    "v.repeat(2, 2)",
    "v.repeat_interleave(2)",
    "e + s",
    "e + e.sum(1, keepdim=True)",
    "m.expand_as(c.permute(2, 0, 1)) * c.permute(2, 0, 1)",
]

REDUCTIONS = [
    *(
        f"{name}({arguments})"
        for name in ("m.sum", "m.mean", "m.amax", "m.amin", "m.logsumexp", "m.var", "m.std")
        for arguments in ("0", "1, keepdim=True", "(0, 1)", "-1")
    ),
    "m.sum(), m.mean(), m.prod(), m.max(), m.min(), m.var(), m.std()",
    "m.prod(0)",
    "m.prod(1, keepdim=True)",
    "x.prod()",
    "(x * torch.tensor([1.0, 0.0, 1.0, 1.0])).prod()",
    "(x * torch.tensor([1.0, 0.0, 0.0, 1.0])).prod()",
    "(m * torch.tensor([0.0, 1.0, 0.0])).prod(1)",
    "(m * torch.tensor([0.0, 1.0, 1.0])).cumprod(1)",
    "e.sum(), e.sum(1), e.prod(1), e.prod(), e.logsumexp(1)",
    "e.sum(0)",
    "z.sum(), z.nansum(), z.nanmean(), z.max(), z.argmax(), z.argmin()",
    "ties.max()",
    "ties.min()",
    "ties.amax(0)",
    "ties.amin(0)",
    "ties.reshape(2, 3).max(1)",
    "ties.reshape(2, 3).min(0, keepdim=True)",
    "ties.reshape(2, 3).amax((0, 1))",
    "ties.argmax(), ties.argmin()",
    "ties.median()",
    "ties.reshape(2, 3).median(1)",
    "torch.aminmax(m, dim=1)",
    "m.cumsum(1)",
    "m.cumprod(0)",
    "m.std(unbiased=False)",
    "m.var(1, correction=0)",
    "torch.std_mean(m, 0)",
    "torch.var_mean(m)",
    *(
        f"s.{name}(0)"
        for name in [
            "sum",
            "mean",
            "prod",
            "amax",
            "max",
            "logsumexp",
            "median",
            "sort",
            "cumsum",
            "argmax",
        ]
    ),
    "s.sum(-1, keepdim=True)",
    "s.norm(dim=0)",
    "s.var(0, correction=0)",
    "(s > 0).all(0), s.flip(0)",
    "(x > 0).all(), (x > 0).any(), (m > 0).all(1), (m > 0).any(0, keepdim=True)",
    "torch.count_nonzero(m), torch.count_nonzero(z)",
    "x.logsumexp(0)",
    "q.trace()",
    "m.sort(1)",
    "m.sort(1, descending=True)",
    "ties.sort(stable=True)",
    "m.topk(2, 1)",
    "m.kthvalue(2, 1)",
    "m.argsort(1)",
]

NORMS = [
    "x.norm()",
    "x.norm(1)",
    "x.norm(3)",
    "x.norm(INF)",
    "x.norm(0).detach(), x.norm(0).requires_grad",
    "m.norm(dim=1)",
    "m.norm(2, dim=0, keepdim=True)",
    "(x * 0).norm()",
    "(x * 0).norm(1)",
    "(x * 0).norm(INF)",
    "(m * torch.tensor([[1.0], [0.0]])).norm(dim=1)",
    "(x * 0).abs()",
    "torch.linalg.vector_norm(x, 3)",
    "(x * 0).sqrt()",
    "torch.hypot(x * 0, y * 0)",
    "torch.atan2(x * 0, y * 0)",
    "F.cosine_similarity(m, m.flip(0), dim=1)",
]

INDEXING = [
    "m[0]",
    "m[-1, 1]",
    "m[:, 1]",
    "m[..., 1:]",
    "m[None]",
    "m[:, None, 1:]",
    "c[0, ..., 1]",
    "c[:, ::2]",
    "c[1:, 1, :]",
    "x[::3]",
    "x[5:]",
    "x[-3:-1]",
    "x[[0, 2, 0]]",
    "x[torch.tensor([[0, 1], [-1, 0]])]",
    "x[torch.tensor(2)]",
    "x[np.array([1, 1, 3])]",
    "x[b4]",
    "x[x > 0]",
    "m[torch.tensor([True, False])]",
    "m[m > 0]",
    "m[:, torch.tensor([2, 0])]",
    "m[torch.tensor([0, 1]), torch.tensor([2, 0])]",
    "m[[0, 1], [2, 0]]",
    "c[:, torch.tensor([0, 2]), 1]",
    "c[torch.tensor([0, 1]), :, torch.tensor([1, 0])]",
    "c[0, :, torch.tensor([1, 0, 1])]",
    "c[torch.tensor([[0], [1]]), torch.tensor([0, 2])]",
    "x[True]",
    "x[False]",
    "s[None]",
    "s[...]",
    "s[()]",
    "x[i0]",
    "x[torch.tensor([0, 2], dtype=torch.int32)]",
    "m[()] * 1",
    "m.select(1, 2)",
    "m.narrow(1, 1, 2)",
    "m.index_select(1, torch.tensor([2, 0, 2]))",
    "m.gather(1, torch.tensor([[0, 2], [1, 1]]))",
    "m.take(torch.tensor([0, 5, 5]))",
    "torch.take_along_dim(m, torch.tensor([[0], [2]]), 1)",
    "m.scatter(1, torch.tensor([[0], [2]]), n[:2, :1])",
    "m.scatter(1, torch.tensor([[0], [2]]), 9.0)",
    "m.scatter_add(1, torch.tensor([[0, 0], [2, 0]]), n[:2])",
    "m.scatter_reduce(1, torch.tensor([[0, 0], [2, 0]]), n[:2], 'sum')",
    "m.index_add(0, torch.tensor([1, 1]), n.T[:, :3], alpha=2)",
    "m.index_copy(1, torch.tensor([2, 0]), n[:2])",
    "m.index_fill(1, torch.tensor([1]), 5.0)",
    "m.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), v[:2], accumulate=True)",
    "x.masked_scatter(b4, y)",
    "list(m)",
    "m.unbind(1)",
    "m.split(2, 1)",
    "x.chunk(3)",
    "m.tensor_split(2, 1)",
    "m.diagonal()",
    "q.diagonal(1)",
    "v.diag()",
    "q.diag()",
    "q.tril()",
    "q.triu(1)",
    "x.argsort(), (x > 0).nonzero(), torch.searchsorted(i, 2)",
]

SHAPES = [
    "m.reshape(3, 2)",
    "m.view(-1)",
    "m.T",
    "m.mT",
    "m.t()",
    "c.permute(2, 0, 1)",
    "c.transpose(0, -1)",
    "c.movedim(0, 2)",
    "c.flatten(1)",
    "x.unflatten(0, (2, 2))",
    "c.squeeze(), s.squeeze()",
    "m.unsqueeze(-1).squeeze(2)",
    "m.flip(0, 1)",
    "m.roll(1, 1)",
    "m.roll((1, -1), (0, 1))",
    "m.rot90()",
    "m.tile(2, 1)",
    "torch.cat([m, n.T, m], 1)",
    "torch.cat([m, v[None]])",
    "torch.stack([x, y], -1)",
    "torch.hstack([x, y]), torch.vstack([x, y]), torch.dstack([x, y])",
    "torch.atleast_2d(x)",
    "torch.meshgrid(x, v, indexing='ij')",
    "torch.diag_embed(m)",
    "m.contiguous(), m.T.contiguous()",
    "m.T.reshape(-1)",
    "(m.T.stride(), m.T.is_contiguous(), c[:, 1:].storage_offset(), m.expand(4, 2, 3).stride())",
]

PRODUCTS = [
    "m @ n",
    "m @ v",
    "v @ n",
    "v @ v",
    "c @ n.T[:2, :2]",
    "c.transpose(1, 2) @ v",
    "v @ c",
    "c @ c.transpose(1, 2)",
    "torch.bmm(c, c.mT)",
    "torch.mm(m, n)",
    "torch.mv(m, v)",
    "torch.dot(x, y)",
    "torch.outer(x, v)",
    "torch.inner(m, v)",
    "torch.addmm(q, n, m, beta=0.5, alpha=2)",
    "torch.addmv(v, n, v[:2])",
    "torch.mv(n, v[:2])",
    "torch.baddbmm(q, c, c.mT)",
    "torch.tensordot(m, n, 1)",
    "torch.tensordot(c, m, dims=([0, 1], [0, 1]))",
    "torch.einsum('ij,jk->ik', m, n)",
    "torch.einsum('ij,jk', m, n)",
    "torch.einsum('ii', q)",
    "torch.einsum('ii->i', q)",
    "torch.einsum('ij->ji', m)",
    "torch.einsum('i,j->ij', x, v)",
    "torch.einsum('bij,bkj->bik', c, c)",
    "torch.einsum('...ij,j->...i', c, v[:2])",
    "torch.einsum('ij,kj,j->ik', m, q, v)",
    "torch.einsum('ij->', m)",
    "F.linear(m, q, v)",
    "F.bilinear(m, m, q[None] * 1.0)",
    "e.T @ e",
    "e @ e.T",
    "i @ i",
]

LOSSES = [
    *(
        f"F.{name}(x, y{reduction})"
        for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
        for reduction in ("", ", reduction='none'", ", reduction='sum'")
    ),
    "F.l1_loss(x, x.detach())",
    "F.smooth_l1_loss(x, y, beta=0.5)",
    "F.smooth_l1_loss(x, y, beta=0.0)",
    "F.huber_loss(x, y, delta=0.5)",
    "F.binary_cross_entropy(p, p.flip(0))",
    "F.binary_cross_entropy(p.round(), torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64))",
    "F.binary_cross_entropy(p, torch.ones(4, dtype=torch.float64), weight=y.detach())",
    "F.binary_cross_entropy_with_logits(x, p)",
    "F.binary_cross_entropy_with_logits(1000 * x, p)",
    "F.binary_cross_entropy_with_logits(x, p, pos_weight=torch.tensor(2.0, dtype=torch.float64))",
    "F.nll_loss(F.log_softmax(m, 1), torch.tensor([2, 0]))",
    "F.nll_loss(m, torch.tensor([2, 0]), reduction='none')",
    "F.cross_entropy(m, torch.tensor([2, 0]))",
    "F.cross_entropy(m, torch.tensor([2, -100]))",
    "F.cross_entropy(m, torch.tensor([-100, -100]))",
    "F.cross_entropy(m, torch.tensor([1, 0]), ignore_index=1)",
    "F.cross_entropy(m, torch.tensor([2, 0]), weight=torch.tensor([1.0, 2.0, 3.0]).double())",
    "F.cross_entropy(m, torch.tensor([2, 0]), reduction='none', label_smoothing=0.1)",
    "F.cross_entropy(m, F.softmax(m.flip(0), 1))",
    "F.cross_entropy(v, torch.tensor(1))",
    "F.cross_entropy(1000 * m, torch.tensor([2, 0]))",
    "F.cross_entropy(c, torch.tensor([[1, 2], [0, 0]]))",
    "F.kl_div(F.log_softmax(m, 1), F.softmax(m.flip(0), 1), reduction='batchmean')",
    "F.kl_div(F.log_softmax(m, 1), F.log_softmax(m.flip(0), 1), reduction='sum', log_target=True)",
    "F.one_hot(torch.tensor([0, 2, 1]))",
]

SOFTMAX = [
    "m.softmax(0)",
    "F.softmax(m, dim=1)",
    "F.softmax(m, dim=-1, dtype=torch.float32)",
    "F.log_softmax(m, 1)",
    "F.softmin(m, dim=1)",
    "torch.softmax(1000 * x, 0)",
    "torch.log_softmax(1000 * x, 0)",
    "torch.logsumexp(1000 * m, (0, 1))",
    "s.softmax(0)",
    "e.softmax(1)",
    "torch.softmax(torch.tensor([-INF, 0.0, 1.0], dtype=torch.float64) + v, 0)",
    "torch.softmax(torch.tensor([-INF] * 3, dtype=torch.float64) + v, 0)",
    "torch.logsumexp(torch.tensor([-INF] * 3, dtype=torch.float64) + v, 0)",
    "torch.logsumexp(torch.tensor([INF, 0.0, 1.0], dtype=torch.float64) + v, 0)",
    "torch.log_softmax(torch.tensor([-INF, 0.0, 1.0], dtype=torch.float64) + v, 0)",
]

IN_PLACE = [
    "t = x * 1; t[1:].mul_(2); t",
    "t = x * 1; t += y; t *= 3; t",
    "t = x * 1; u = t.exp(); t.add_(1); u * t",
    "t = m * 1; t.view(-1)[::2].exp_(); t",
    "t = m * 1; t.T[0] = v[:2]; t",
    "t = m * 1; t[0] = v; t * t",
    "t = m * 1; t[:, 1] = 7.0; t",
    "t = m * 1; t[t > 0] = s; t",
    "t = m * 1; t[[0, 1], [2, 0]] = x[:2]; t",
    "t = m * 1; t[torch.tensor([0, 1]), torch.tensor([0, 1])] += 2 * s; t",
    "t = m * 1; r = t[0]; t.mul_(3); r, t",
    "t = m * 1; r = t[0]; r.mul_(3); r * r, t",
    "t = m * 1; r = t.T; r2 = r[1]; r2.copy_(x[:2]); t, r, r2",
    "t = m * 1; a = t[0]; b2 = t[:, 0]; a.mul_(2); b2.add_(s); t, a, b2",
    "t = torch.zeros(4, dtype=torch.float64); t[1:3] = x[:2]; t.sin()",
    "t = torch.zeros(4, dtype=torch.float64); t.copy_(x); t.mul_(y); t",
    "t = torch.zeros(2, 3); t.copy_(m); t",
    "t = torch.zeros(2, 3, dtype=torch.float64); r = t[1]; r += v; t, r",
    "t = x * 1; t.zero_(); t",
    "t = x * 1; t.fill_(2.0); t * x",
    "t = x * 1; t.fill_(s); t",
    "t = x * 1; t.clamp_(0.0, 2.0); t",
    "t = x * 1; t.relu_(); t",
    "t = x * 1; t.sigmoid_(); t",
    "t = x * 1; t.masked_fill_(b4, 0.0); t",
    "t = m * 1; t.index_add_(0, torch.tensor([1]), v[None]); t",
    "t = m * 1; t.scatter_(1, torch.tensor([[0], [2]]), 3.0); t",
    "t = m * 1; t.unsqueeze(0).squeeze(0).neg_(); t",
    "t = m * 1; t.diagonal().zero_(); t",
    "t = c * 1; t[..., 0].T[1].div_(2); t",
    "t = x * 1; a, b2 = t[:2], t[2:]; a.mul_(b2.clone()); t",
    "t = x * 1; t.detach().mul_(2); t + x",
    "t = x * 1\nwith torch.no_grad(): t.mul_(2)\nt * 1",
    "t = x * 1; t.data.mul_(2); t * x",
    "t = x.detach().clone(); t.mul_(2); t * x",
    "t = x * 1; t[...] = y; t",
    "t = s * 1; t[()] = 4.0; t",
    "t = s * 1; t.add_(s); t",
    "t = x * 1; t[None].mul_(2); t",
    "t = x * 1; t[1:] = t[:-1].clone(); t",
    "t = i.clone(); t += 1; t[0] = 9; t //= 2; t",
    "t = f.clone(); t.add_(d); t",
    "t = f.clone(); t[0] = 3; t[1] = True; t",
    "t = i.clone(); t[0] = 2.9; t",
    "t = b.clone(); t[1] = 5; t |= b; t",
    "t = x * 1; w = t._version; t.mul_(2); t[0] = 1; t._version - w",
]

MODES_AND_VALUES = [
    "x.detach(), (x * 2).detach()",
    "x[0].item(), x.tolist(), s.tolist(), float(s), int(i0), bool(b[0])",
    "len(m), m.shape, m.size(1), m.numel(), m.dim(), m.dtype, x.is_leaf, (x * 1).is_leaf",
    "x.requires_grad, (x * 2).requires_grad, (x > 0).requires_grad, x.long().requires_grad",
    "x.detach().requires_grad, (i * 2).requires_grad, (x.detach() * 2).requires_grad",
    "(x + y.detach()) * y",
    "x * 2 if x[0] > 0 else x * 3",
    "torch.equal(x, x.clone()), torch.allclose(x, x + 1e-12), torch.isclose(x, y)",
    "torch.unique(ties.detach()), torch.unique_consecutive(ties.detach())",
    "x.clone() * x",
    "x.real, x.conj() * 2",
    "x.mean() + torch.zeros_like(x).sum()",
    "torch.ones_like(m), torch.zeros(2, 0), torch.eye(2), torch.empty(0)",
    "3 in i, 2.5 in x",
    "torch.no_grad()(lambda: x * 2)()",
    "torch.bincount(torch.tensor([0, 1, 1, 3]))",
    "torch.tril_indices(3, 3), torch.triu_indices(2, 3)",
]

PROGRAMS = [
    *ELEMENTWISE, *CLAMP_WHERE, *PROMOTION, *BROADCASTING, *REDUCTIONS, *NORMS, *INDEXING, *SHAPES,
    *PRODUCTS, *LOSSES, *SOFTMAX, *IN_PLACE, *MODES_AND_VALUES,
]  # fmt: skip

#: Differentiated once only: their second derivatives are nan in one library or both, where there
#: is none or it is 0, depending on the formula for the first.
ONCE = {
    "torch.fmod(z, z.flip(0))",
    "torch.remainder(z, z.flip(0))",
    "torch.pow(z, z.flip(0))",
    "torch.logaddexp(z, z.flip(0))",
    "torch.atan2(x * 0, y * 0)",
    "torch.pow(torch.zeros(3, dtype=torch.float64), v)",
    "0.0 ** z",
    "z ** 0.5",
    "(x * 0).norm()",
    "(m * torch.tensor([[1.0], [0.0]])).norm(dim=1)",
    "torch.digamma(z.abs())",
    "torch.sinc(z)",  # torch: nan near 0
    "F.hardsigmoid(z.float())",  # torch: not implemented
}


def run(library: Any, program: str) -> tuple[list[Any], dict[str, Any]]:
    """The program's results, and the leaves that it mentions."""
    tree = ast.parse(program)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    used = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}
    names: dict[str, Any] = {"torch": library, "np": np, "INF": INF, "NAN": NAN}
    names["F"] = library.nn.functional
    leaves = {
        name: library.tensor(LEAVES[name], dtype=library.float64, requires_grad=True)
        for name in LEAVES
        if name in used
    }
    for name in used & CONSTANTS.keys():
        values, dtype = CONSTANTS[name]
        names[name] = library.tensor(values, dtype=getattr(library, dtype))
    names |= leaves
    exec(compile(tree, program, "exec"), names)
    result = eval(compile(ast.Expression(last.value), program, "eval"), names)
    flat = list(result) if isinstance(result, (tuple, list)) else [result]
    return flat, leaves


def weights(library: Any, like: Any) -> Any:
    """Different for each element, so that no two gradients can be mixed up."""
    numbers = (np.arange(like.numel()) * 0.37 + 0.5).reshape(tuple(like.shape))
    return library.tensor(numbers.tolist(), dtype=like.dtype).reshape(tuple(like.shape))


def weighted(library: Any, results: list[Any]) -> list[Any]:
    return [
        (part * weights(library, part)).sum()
        for part in results
        if isinstance(part, library.Tensor) and part.requires_grad
    ]


def array(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().numpy(force=True)  # some gradients of torch's are "zero tensors"
    return value.detach().numpy()


def same(mine: Any, theirs: Any, what: str, rtol: float = 0.0) -> None:
    if not isinstance(theirs, torch.Tensor):
        assert str(mine).replace("tapegrad", "torch") == str(theirs), what
        return
    assert isinstance(mine, tapegrad.Tensor), what
    assert tuple(mine.shape) == tuple(theirs.shape), f"{what}: shape"
    assert str(mine.dtype).replace("tapegrad", "torch") == str(theirs.dtype), f"{what}: dtype"
    assert mine.requires_grad == theirs.requires_grad, f"{what}: requires_grad"
    rtol = max(rtol, {torch.float16: 1e-3, torch.float32: 1e-5}.get(theirs.dtype, 1e-9))
    np.testing.assert_allclose(
        array(mine), array(theirs), rtol=rtol, atol=rtol * 1e-2, equal_nan=True, err_msg=what
    )


def derivatives(library: Any, scalars: list[Any], leaves: list[Any]) -> list[Any]:
    return list(
        library.autograd.grad(scalars, leaves, create_graph=True, allow_unused=True)
        if scalars and leaves
        else [None] * len(leaves)
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str) -> None:
    mine, my_leaves = run(tapegrad, program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on rarely used paths
        theirs, their_leaves = run(torch, program)
    assert len(mine) == len(theirs)
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        same(a, b, f"value {k}")
    narrow = any(isinstance(b, torch.Tensor) and b.dtype == torch.float32 for b in theirs)
    first = derivatives(tapegrad, weighted(tapegrad, mine), list(my_leaves.values()))
    expected = derivatives(torch, weighted(torch, theirs), list(their_leaves.values()))
    for name, a, b in zip(my_leaves, first, expected, strict=True):
        assert (a is None) == (b is None), f"gradient of {name}: {a}, {b}"
        if a is not None:
            same(a.detach(), b.detach(), f"gradient of {name}", rtol=1e-5 if narrow else 0.0)
    if program in ONCE:
        return
    # Once more. Whether a constant gradient is recorded is each library's affair: 0 is None.
    second = derivatives(tapegrad, weighted(tapegrad, first), list(my_leaves.values()))
    expected = derivatives(torch, weighted(torch, expected), list(their_leaves.values()))
    for name, leaf, a, b in zip(my_leaves, my_leaves.values(), second, expected, strict=True):
        zero = np.zeros(tuple(leaf.shape))
        np.testing.assert_allclose(
            zero if a is None else array(a),
            zero if b is None else array(b),
            rtol=1e-5 if narrow else 1e-8,
            atol=1e-7 if narrow else 1e-10,
            err_msg=f"second derivative for {name}",
        )


SIGNED = [
    "torch.zeros(2) * -1",
    "torch.tensor([-0.0, 0.0]).abs()",
    "torch.tensor([-0.0, 0.0]).sqrt()",
    "torch.tensor([-0.4, 0.4, -0.0]).round()",
    "torch.tensor([-0.4, 0.4, -0.0]).trunc()",
    "torch.tensor([-0.0, 0.0]).sign()",
    "torch.tensor([-0.0, 0.0]).relu()",
    "torch.tensor([-0.0, 0.0]).sin()",
    "torch.tensor([-0.0, 0.0]).clamp(-1, 1)",
    "torch.tensor([-5.0, 6.0]) % 3",
    "torch.fmod(torch.tensor([-6.0, 6.0]), 3)",
    "torch.tensor([-0.0, 0.0]) // 3",
    "torch.tensor([-0.0, 0.0]).neg()",
    "torch.tensor([-0.0, 0.0]).sum()",
    "torch.tensor([-0.0, -0.0]).sum()",
    "torch.copysign(torch.ones(2), torch.tensor([-0.0, 0.0]))",
]


@pytest.mark.parametrize("program", SIGNED)
def test_signs_of_zero(program: str) -> None:
    (mine,), _ = run(tapegrad, program)
    (theirs,), _ = run(torch, program)
    same(mine, theirs, "value")
    assert np.signbit(mine.numpy()).tolist() == np.signbit(theirs.numpy()).tolist()


REPRS = [
    "torch.tensor([1.0, 2.5])",
    "torch.tensor([1.0, 2.5], dtype=torch.float64)",
    "torch.tensor([1, 2])",
    "torch.tensor([True, False])",
    "torch.tensor(3.0, requires_grad=True)",
    "torch.tensor([1.0, 2.0], requires_grad=True) * 2",
    "torch.tensor([1.0, 2.0], requires_grad=True).sum()",
    "torch.tensor([[1.0, 2.0]], requires_grad=True).T",
    "torch.tensor([1.0, 2.0], requires_grad=True)[0]",
    "torch.tensor([1.0, 2.0], requires_grad=True).double().exp()",
    "torch.zeros(2, 0)",
    "torch.tensor([1e-8, 1.0, 1e8])",
    "torch.tensor([float('nan'), float('inf'), 1.0])",
    "torch.arange(2000)",
    "torch.eye(3) / 3",
    "torch.tensor(1 + 2j)",
    "torch.ones(2, 2, 2, dtype=torch.float16)",
    "torch.Size([2, 3]), torch.float32, torch.ones(2, 3).shape",
    "torch.ones(2, 3).max(1)",
    "torch.ones(2).sort()",
    "torch.tensor([1.0, 2.0], requires_grad=True).max(0)",
    "torch.device('cpu'), torch.ones(1).device",
    "str(torch.ones(2)), f'{torch.tensor(1.5):.3f}', format(torch.ones(2))",
    "torch.finfo(torch.float32), torch.iinfo(torch.int8)",
]


@pytest.mark.parametrize("program", REPRS)
def test_repr(program: str) -> None:
    assert outcome(tapegrad, program) == outcome(torch, program)


NODES = [
    "x + y", "x + 1", "x - y", "1 - x", "x * y", "x * 2", "x / y", "1 / x", "-x", "x ** 2",
    "x ** y", "2 ** x", "x @ y", "m @ n", "m @ v", "c @ c.mT", "x.exp()", "x.log()", "x.sin()",
    "x.cos()", "x.tan()", "x.tanh()", "x.sigmoid()", "x.relu()", "x.sqrt()", "x.abs()",
    "x.square()", "x.reciprocal()", "x.rsqrt()", "x.erf()", "x.atan()", "x.asin()", "x.expm1()",
    "x.log1p()", "x.sign()", "x.floor()", "x.round()", "x.clamp(0, 1)", "x.clamp(min=0)",
    "x.clamp(min=y)", "torch.maximum(x, y)", "torch.atan2(x, y)", "torch.where(b4, x, y)",
    "torch.lerp(x, y, 0.5)", "torch.lerp(x, y, y)", "torch.addcmul(x, y, y)",
    "torch.addmm(q, n, m)", "x % 2", "x % y", "torch.fmod(x, 2)", "torch.logaddexp(x, y)",
    "torch.xlogy(x, p)", "x.sum()", "m.sum(0)", "x.mean()", "m.mean(0)", "x.prod()", "m.prod(0)",
    "x.max()", "x.min()", "m.max(0)[0]", "m.amax(0)", "m.var(0)", "m.std(0)", "m.logsumexp(0)",
    "x.norm()", "x.median()", "m.cumsum(0)", "m.cumprod(0)", "m.sort()[0]", "m.topk(1)[0]", "x[0]",
    "x[1:]", "x[None]", "x[...]", "m[:, 0]", "x[[0, 1]]", "x[b4]", "m.reshape(-1)", "m.view(3, 2)",
    "m.T", "m.t()", "c.mT", "c.permute(2, 1, 0)", "c.transpose(0, 1)", "m.flatten()",
    "m.unsqueeze(0)", "m.squeeze()", "m.squeeze(0)", "v.expand(2, 3)", "v.repeat(2)", "m.flip(0)",
    "m.roll(1, 0)", "x.clone()", "x.float()", "x.to(torch.float32)", "torch.cat([x, y])",
    "torch.stack([x, y])", "m.unbind()[0]", "m.split(1)[0]", "x.chunk(2)[0]", "m.diagonal()",
    "q.tril()", "q.triu()", "m.narrow(0, 0, 1)", "m.select(0, 0)",
    "m.gather(0, torch.zeros(1, 3, dtype=torch.int64))", "m.index_select(0, torch.tensor([0]))",
    "m.scatter(0, torch.zeros(1, 3, dtype=torch.int64), 0.0)",
    "m.scatter_add(0, torch.zeros(1, 3, dtype=torch.int64), v[None])", "x.masked_fill(b4, 0.0)",
    "x.masked_select(b4)", "torch.einsum('ij,jk->ik', m, n)", "torch.outer(x, y)",
    "torch.dot(x, y)", "torch.mv(m, v)", "torch.bmm(c, c.mT)", "m.softmax(0)", "m.log_softmax(0)",
    "F.softplus(x)", "F.gelu(x)", "F.silu(x)", "F.elu(x)", "F.leaky_relu(x)", "F.logsigmoid(x)",
    "F.hardtanh(x)", "F.mse_loss(x, y)", "F.l1_loss(x, y)", "F.huber_loss(x, y)",
    "F.smooth_l1_loss(x, y)", "F.binary_cross_entropy(p, p.detach())",
    "F.binary_cross_entropy_with_logits(x, p.detach())", "F.nll_loss(m, torch.tensor([0, 1]))",
    "F.cross_entropy(m, torch.tensor([0, 1]))", "F.linear(m, q, v)", "F.linear(m, q)",
    "t = x * 1; t.add_(1); t", "t = x * 1; t.mul_(2); t", "t = x * 1; t[1:].mul_(2); t",
    "t = x * 1; t[0] = 1.0; t", "t = x * 1; t.zero_(); t", "t = x * 1; t.copy_(y); t",
    "t = x * 1; t.fill_(2.0); t", "t = x * 1; t.relu_(); t", "t = x * 1; t[b4] = 1.0; t",
]  # fmt: skip


@pytest.mark.parametrize("program", NODES)
def test_grad_fn_names(program: str) -> None:
    names = []
    for library in (tapegrad, torch):
        (result,), _ = run(library, program)
        node = result.grad_fn
        names.append((node.name().removeprefix("torch::autograd::"), type(node).__name__))
    assert names[0] == names[1]


BACKWARDS = [
    "x.sum().backward(); x.grad",
    "(x * x).sum().backward(); (x * 2).sum().backward(); x.grad",
    "r = (x * y).sum(); r.backward(retain_graph=True); r.backward(); x.grad, y.grad",
    "(x * y).backward(y.detach()); x.grad, y.grad",
    "t = x * 2; t.retain_grad(); (t * t).sum().backward(); t.grad, x.grad",
    "(x ** 3).sum().backward(create_graph=True); x.grad.sum()",
    "torch.autograd.backward([x.sum(), y.sum()]); x.grad, y.grad",
    "torch.autograd.backward([x, y], [y.detach(), x.detach()]); x.grad, y.grad",
    "(x * y).sum().backward(inputs=[x]); x.grad, y.grad",
    "x.register_hook(lambda g: g * 2); (x * x).sum().backward(); x.grad",
    "t = x * 2; t.register_hook(lambda g: g.clamp(max=1)); (t * t).sum().backward(); x.grad",
    "x.float().sum().backward(); x.grad",
    "x.register_post_accumulate_grad_hook(lambda l: setattr(l, 'grad', l.grad * 3)); "
    "x.sum().backward(); x.grad",
    "torch.autograd.grad(x.sum(), [x, y], allow_unused=True)",
    "torch.autograd.grad(x.sum(), [x, y], materialize_grads=True)",
    "torch.autograd.grad([x.sum(), (x * y).sum()], [x, y])",
    "torch.autograd.grad(x * y, x, grad_outputs=y)",
    "torch.autograd.grad(x.sum(), x), torch.autograd.grad(x, x, torch.ones_like(x))",
    "t = x * 2; torch.autograd.grad((t * t).sum(), t)",
    "t = x * 2; torch.autograd.grad((t * t).sum(), [t, x])",
    "torch.func.jvp(lambda a: a * a.sin(), (x.detach(),), (y.detach(),))",
    "torch.func.jvp(lambda a, b: (a @ b, a + 1), (v.detach(), v.detach()), (v.detach() * 0 + 1, "
    "v.detach() * 2))[0]",
    "r = (m @ n).sum(); r.backward(); m.grad, n.grad",
    "x.grad = y.detach().clone(); x.sum().backward(); x.grad",
    "x.sum().backward(); x.grad.zero_(); (x * 3).sum().backward(); x.grad",
    "x.sum().backward(); x.grad = None; x.grad",
    "x.requires_grad_(False); (x * y).sum().backward(); x.grad, y.grad, x.requires_grad",
    "x.expand(2, 4).sum().backward(); x.grad, x.grad.is_contiguous()",
    "m.T.sum().backward(); m.grad.stride()",
    "x.sum().backward(); x.grad.requires_grad, x.grad.is_leaf, x.grad.grad_fn",
    "r = x * 2; (r.requires_grad, r.is_leaf, r.retains_grad, x.retains_grad, r.output_nr)",
    "(x * 2 + y).grad_fn.next_functions[0][0].name()",
    "type((x * 2).grad_fn.next_functions[0][0]).__name__",
    "((x * 2).grad_fn.next_functions[0][0].variable is x)",
    "(x * 2).grad_fn.next_functions[1]",
]


@pytest.mark.parametrize("program", BACKWARDS)
def test_backward(program: str) -> None:
    mine, _ = run(tapegrad, program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # create_graph's, of a reference cycle
        theirs, _ = run(torch, program)
    assert len(mine) == len(theirs)
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        parts = zip(a, b, strict=True) if isinstance(b, tuple) else [(a, b)]
        for a_part, b_part in parts:
            same(a_part, b_part, f"value {k}")
