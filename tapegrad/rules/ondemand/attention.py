"""Attention (Vaswani et al. 2017): of queries to keys, and with projections in several heads."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.fused import library
from tapegrad.rules.joining import cat
from tapegrad.rules.linear import linear
from tapegrad.rules.matrix_products import matmul
from tapegrad.rules.ondemand.dotproducts import attention_, future, masked_softmax
from tapegrad.rules.ondemand.dropout import dropout
from tapegrad.rules.ondemand.padding import pad
from tapegrad.rules.reductions import mean
from tapegrad.rules.softmax import softmax

NN = "nn.functional"


def _hidden(scores: Any, hidden: np.ndarray) -> Any:
    """The softmax over keys of the scores that aren't hidden; 0 where all of a query's are."""
    return masked_softmax(scores, np.broadcast_to(hidden, scores._spec.shape))


def attention_weights(scores: Any, attn_mask: Any, is_causal: bool) -> Any:
    """The softmax over keys, under a mask."""
    queries, keys = scores._spec.shape[-2:]
    if is_causal:
        if attn_mask is not None:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
                "is_causal=True"
            )
        return _hidden(scores, future(queries, keys))
    if attn_mask is None:
        return softmax(scores, -1)
    if attn_mask._spec.dtype == np.bool_:
        return _hidden(scores, ~attn_mask._array)
    if attn_mask._spec.dtype != scores._spec.dtype:
        if attn_mask._spec.dtype != np.float32:
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                f"attn_mask.dtype: {attn_mask.dtype} and  query.dtype: {scores.dtype} instead."
            )
        attn_mask = attn_mask.to(scores.dtype)
    lowest = np.isneginf(attn_mask._array)
    if lowest.any() and lowest.all(-1).any():
        return _hidden(scores + attn_mask.masked_fill(attn_mask == -np.inf, 0.0), lowest)
    return softmax(scores + attn_mask, -1)


def _in_one_pass(query: Any, key: Any, value: Any, attn_mask: Any, is_causal: bool) -> bool:
    """Whether there is machine code, and all is of the usual shapes."""
    q, k, v = query._spec, key._spec, value._spec
    return (
        library.find is not None
        and q.dtype.char in "fd"
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and (q.shape[-1], k.shape[-2]) == (k.shape[-1], v.shape[-2])
        and bool(q.size and v.size)
        and (attn_mask is None or (not is_causal and attn_mask._spec.dtype == np.bool_))
    )


def _hidden_keys(attn_mask: Any, query: Any, key: Any) -> np.ndarray:
    return np.broadcast_to(~attn_mask._array, (*query._spec.shape[:-1], key._spec.shape[-2]))


@public(module=NN, method=False)
def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """``softmax(query @ key.mT * scale + mask) @ value``.

    Shapes (..., L, E), (..., S, E), (..., S, V) give (..., L, V). A bool mask is True where a key
    takes part, another one is added; ``is_causal`` hides the keys after each query. A query without
    keys gives 0. ``scale`` is 1 / sqrt(E) by default. With ``enable_gqa`` key and value may have a
    divisor of the query's heads, dimension -3. Dropout with ``dropout_p`` is always done. Raises
    RuntimeError for dtypes and shapes that don't fit.
    """
    for other in (key, value):
        if other._spec.dtype != query._spec.dtype:
            raise RuntimeError(
                "Expected query, key, and value to have the same dtype, but got query.dtype: "
                f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
            )
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim}, key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if enable_gqa:
        heads = query._spec.shape[-3]
        key = key.repeat_interleave(heads // key._spec.shape[-3], -3)
        value = value.repeat_interleave(heads // value._spec.shape[-3], -3)
    # (Of queries of no numbers any scale is right.)
    factor = 1.0 / math.sqrt(query._spec.shape[-1] or 1) if scale is None else float(scale)
    if not dropout_p and _in_one_pass(query, key, value, attn_mask, is_causal):
        hidden = None if attn_mask is None else _hidden_keys(attn_mask, query, key)
        return attention_(query, key, value, hidden, is_causal, factor)
    scores = matmul(query * factor, key.transpose(-2, -1))
    weights = attention_weights(scores, attn_mask, is_causal)
    return matmul(dropout(weights, dropout_p) if dropout_p else weights, value)


# -- in several heads ------------------------------------------------------------------------------


def _additive(mask: Any, dtype: Any, name: str) -> Any:
    """A mask to be added: a bool one is -inf where it is True."""
    if mask is None or mask._spec.dtype.kind == "f":
        return mask
    if mask._spec.dtype != np.bool_:
        raise RuntimeError(f"only bool and floating types of {name} are supported")
    return mask.new_zeros(mask._spec.shape, dtype=dtype).masked_fill(mask, -math.inf)


def _projected(
    query: Any, key: Any, value: Any, weight: Any, bias: Any, separate: Any
) -> tuple[Any, Any, Any]:
    """Query, key and value, each by its part of the projection."""
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    if separate is None and query is key and key is value:
        return tuple(linear(query, weight, bias).chunk(3, -1))
    weights = weight.chunk(3) if separate is None else separate
    for name, w in zip("qkv", weights, strict=True):
        if w is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    q, k, v = (
        linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    return q, k, v


def _check_sequences(query: Any, key: Any, value: Any, embed_dim: int, heads: int) -> None:
    if query.ndim not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{query.ndim}-D query tensor"
        )
    for name, x in (("key", key), ("value", value)):
        if x.ndim != query.ndim:
            raise AssertionError(
                f"For {'batched (3-D)' if query.ndim == 3 else 'unbatched (2-D)'} `query`, "
                f"expected `key` and `value` to be {query.ndim}-D but found {x.ndim}-D {name}"
            )
    if query._spec.shape[-1] != embed_dim:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim}, but got {query._spec.shape[-1]}"
        )
    if embed_dim % heads:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {heads}")
    if key._spec.shape[:-1] != value._spec.shape[:-1]:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")


def _mask_of_heads(mask: Any, batch: int, heads: int, queries: int, keys: int) -> Any:
    """An attention mask as (1 or N, 1 or heads, L, S)."""
    if mask is None:
        return None
    shape = mask._spec.shape
    if len(shape) not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {len(shape)} is not supported")
    wanted = (queries, keys) if len(shape) == 2 else (batch * heads, queries, keys)
    if shape != wanted:
        raise RuntimeError(
            f"The shape of the {len(shape)}D attn_mask is {mask.shape}, but should be {wanted}."
        )
    return mask.reshape(*((1, 1) if len(shape) == 2 else (batch, heads)), queries, keys)


@public(module=NN, method=False)
def multi_head_attention_forward(
    query: Any, key: Any, value: Any, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: bool,
    dropout_p: float, out_proj_weight: Any, out_proj_bias: Any, training: bool = True,
    key_padding_mask: Any = None, need_weights: bool = True, attn_mask: Any = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """What ``nn.MultiheadAttention`` computes: the result (L, N, E), and the weights or None.

    Query (L, N, E), key and value (S, N, .), or without N. Masks hide keys where they are True, or
    are added; ``attn_mask`` is (L, S) or (N * heads, L, S), ``key_padding_mask`` (N, S). Weights
    are (N, L, S), or for each head (N, heads, L, S). Raises AssertionError or RuntimeError for
    shapes that don't fit, as torch does.
    """
    _check_sequences(query, key, value, embed_dim_to_check, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    batched = query.ndim == 3
    if not batched:
        same = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if same else (key.unsqueeze(1), value.unsqueeze(1))
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    masks = [m for m in (key_padding_mask, attn_mask) if m is not None]
    if len(masks) == 2 and masks[0]._spec.dtype != masks[1]._spec.dtype:
        warnings.warn(
            "Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type "
            "for both instead.",
            UserWarning,
            stacklevel=2,
        )
    length, batch, embed_dim = query._spec.shape
    head_dim = embed_dim // num_heads
    mask = _additive(attn_mask, query.dtype, "attn_mask")
    mask = _mask_of_heads(mask, batch, num_heads, length, key._spec.shape[0])
    hidden_keys = _additive(key_padding_mask, query.dtype, "key_padding_mask")
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else None
    if separate is None and in_proj_weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    q, k, v = _projected(query, key, value, in_proj_weight, in_proj_bias, separate)

    added = 0  # keys beyond those given
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k and bias_v must be set both, or neither")
    if bias_k is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key and value.")
        k = cat([k, bias_k.repeat(1, batch, 1)])
        v = cat([v, bias_v.repeat(1, batch, 1)])
        added += 1

    def in_heads(x: Any) -> Any:
        return x.reshape(x._spec.shape[0], batch, num_heads, head_dim).permute(1, 2, 0, 3)

    q = in_heads(q)
    k = in_heads(k) if static_k is None else static_k.reshape(batch, num_heads, -1, head_dim)
    v = in_heads(v) if static_v is None else static_v.reshape(batch, num_heads, -1, head_dim)
    if add_zero_attn:
        k, v = (cat([x, x.new_zeros(batch, num_heads, 1, head_dim)], 2) for x in (k, v))
        added += 1
    if mask is not None and added:
        mask = pad(mask, (0, added))
    if hidden_keys is not None:
        hidden_keys = pad(hidden_keys, (0, added)).reshape(batch, 1, 1, -1)
        mask = hidden_keys if mask is None else mask + hidden_keys

    dropout_p = dropout_p if training else 0.0
    if need_weights:
        scores = matmul(q * math.sqrt(1.0 / head_dim), k.transpose(-2, -1))
        weights = softmax(scores if mask is None else scores + mask, -1)
        weights = dropout(weights, dropout_p)
        out = matmul(weights, v)
    else:
        out = scaled_dot_product_attention(q, k, v, mask, dropout_p)
    out = out.permute(2, 0, 1, 3).reshape(length * batch, embed_dim)
    out = linear(out, out_proj_weight, out_proj_bias)
    out = out.reshape(length, batch, out._spec.shape[1])
    if not need_weights:
        return (out if batched else out.squeeze(1)), None
    if average_attn_weights:
        weights = mean(weights, 1)
    return (out, weights) if batched else (out.squeeze(1), weights.squeeze(0))
