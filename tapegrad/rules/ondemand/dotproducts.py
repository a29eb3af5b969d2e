"""Scaled dot-product attention as one primitive, whose scores are never all in memory at once.

It is for when machine code is there; what it computes is what its rules are written in.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.fused import fused
from tapegrad.primitive import structural
from tapegrad.rules.gathering import unspread
from tapegrad.rules.softmax import softmax_forward, softmax_x

#: Elements that are whole vectors of any processor: rows of matrices are rounded up to that.
CHUNK = 16
#: Bytes of a line of the cache.
LINE = 64
#: Parts that the work is shared in, and queries of a block: few where a causal mask cuts it short.
PARTS = 16
BLOCK, LONG_BLOCK = 32, 48


@lru_cache(maxsize=64)
def future(queries: int, keys: int) -> np.ndarray:
    """True where a key comes after the query."""
    return np.triu(np.ones((queries, keys), bool), 1)


def masked_softmax_forward(x, mask):
    kernel = fused("masked_softmax", x)
    if kernel is not None:
        hidden = unspread(mask)
        if hidden.shape[-1:] == x.shape[-1:] and hidden.flags.c_contiguous:
            out = np.empty_like(x)
            kernel(x.size // x.shape[-1], x, hidden, out, x.shape[-1])
            return out
    seen = np.where(mask & ~mask.all(-1, keepdims=True), -np.inf, x).astype(x.dtype)
    return np.where(mask, 0, softmax_forward(seen, x.ndim - 1)).astype(x.dtype)


def masked_softmax_x(out_bar, out):
    # As of softmax: what is hidden is 0 in the result, hence in the adjoint, too.
    return softmax_x(out_bar, out, out.ndim - 1)


#: The softmax of the last dimension over what the mask doesn't hide; 0 where all is hidden.
masked_softmax = structural(
    "masked_softmax", masked_softmax_forward, masked_softmax_x, grad_name="SoftmaxBackward0"
)


# -- the rules -------------------------------------------------------------------------------------


def weights_of(x, y, hidden, is_causal, scale):
    """What each query gives to the keys."""
    scores = np.matmul(x * scale, np.swapaxes(y, -1, -2))
    shape = tuple(scores.shape)
    mask = future(*shape[-2:]) if is_causal else hidden
    return masked_softmax(scores, np.broadcast_to(np.False_ if mask is None else mask, shape))


def attention_forward(x, y, z, hidden, is_causal, scale):
    out = np.empty((*x.shape[:-1], z.shape[-1]), x.dtype)
    kernel = fused("attention", out)
    if kernel is None:
        return np.matmul(weights_of(x, y, hidden, is_causal, scale), z)
    plan = Plan.of(x.shape, y.shape[-2], z.shape[-1], is_causal, x.itemsize, False)
    masks = 0 if hidden is None else id(hidden)
    room = plan.new_room(x.dtype)
    kernel(
        plan.parts, id(x), id(y), id(z), masks, out, plan.numbers, room, scale, work=plan.work,
    )  # fmt: skip
    return out


def attention_adjoint(out_bar, x, y, z, hidden, is_causal, scale):
    """The shares of queries, keys and values."""
    if type(out_bar) is np.ndarray:
        bars = tuple([np.empty(value.shape, x.dtype) for value in (x, y, z)])
        kernel = fused("attention_adjoint", *bars)
        if kernel is not None:
            plan = Plan.of(x.shape, y.shape[-2], z.shape[-1], is_causal, x.itemsize, True)
            masks = 0 if hidden is None else id(hidden)
            room = plan.new_room(x.dtype)
            kernel(
                plan.parts, id(out_bar), id(x), id(y), id(z), masks, *bars, plan.numbers,
                room, scale, work=plan.work,
            )  # fmt: skip
            return bars
    weights = weights_of(x, y, hidden, is_causal, scale)
    bar = masked_softmax_x(np.matmul(out_bar, np.swapaxes(z, -1, -2)), weights)
    return (
        np.matmul(bar, y) * scale,
        np.matmul(np.swapaxes(bar, -1, -2), x) * scale,
        np.matmul(np.swapaxes(weights, -1, -2), out_bar),
    )


attention_ = structural(
    "scaled_dot_product_attention", attention_forward, shares=attention_adjoint,
    inputs=("x", "y", "z"), grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
)  # fmt: skip


# -- what the machine code is told -----------------------------------------------------------------


class Plan:
    """How the work on arrays of some shapes lies in memory: see `kernels.fused.attention`."""

    def __init__(
        self, shape: tuple[int, ...], keys: int, values: int, is_causal: bool, itemsize: int,
        adjoint: bool,
    ) -> None:  # fmt: skip
        *lead, queries, width = shape
        batches = math.prod(lead)
        step = whole(keys) + CHUNK  # the columns of a block's rows aren't powers of 2 apart
        block = min(BLOCK if keys <= 8 * BLOCK else LONG_BLOCK, queries)
        self.parts = min(batches, PARTS)
        self.room = self.parts * block * step * (2 if adjoint else 1)
        self.work = batches * queries * keys * itemsize
        sizes = (batches, queries, keys, width, values)
        self.numbers = np.array([self.parts, *sizes, is_causal, block, step])

    def new_room(self, dtype: np.dtype[Any]) -> np.ndarray:
        """Memory whose vectors don't lie across the lines of the cache."""
        room = np.empty(self.room + CHUNK, dtype)
        return room[-room.ctypes.data % LINE // dtype.itemsize :]

    @staticmethod
    @lru_cache(maxsize=256)
    def of(*sizes: Any) -> Plan:
        """A plan, made once."""
        return Plan(*sizes)


def whole(n: int) -> int:
    """``n``, rounded up to whole vectors."""
    return -(-n // CHUNK) * CHUNK
