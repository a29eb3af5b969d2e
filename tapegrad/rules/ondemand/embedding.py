"""Embedding: rows of a matrix at given indices, one for each or reduced in bags.

The gradient of the matrix is dense: what is read several times adds up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import check_dtype, dtype_name
from tapegrad.rules.indexing import add_rows
from tapegrad.rules.indexing import index_ as at

NN = "nn.functional"


def embedding_forward(x, index, scale):
    return x.take(index, 0)


def embedding_x(out_bar, x_shape, index, scale):
    return embedded_rows(out_bar, x_shape[0], index, scale)


def rows_forward(x, count, index, scale):
    rows = x.reshape(index.size, x.shape[-1])
    out = np.zeros((count, x.shape[-1]), x.dtype)
    if scale is not None:
        rows = rows * scale.reshape(-1, 1).astype(rows.real.dtype)
    add_rows(out, index.reshape(-1), rows)
    return out


def rows_x(out_bar, index, scale):
    share = embedding_(out_bar, index, scale)
    if scale is None:
        return share
    return share * np.expand_dims(scale, -1).astype(getattr(share.dtype, "numpy", share.dtype))


#: Rows of ``x`` at an index; a gradient that comes back is scaled at each position.
embedding_ = structural("embedding", embedding_forward, embedding_x)
#: The transpose: zeros of ``count`` rows, with those of ``x`` added.
embedded_rows = structural(
    "embedding_dense", rows_forward, rows_x, grad_name="EmbeddingDenseBackwardBackward0"
)


def _indices(input: Any, weight: Any, name: str) -> np.ndarray:
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    if input._spec.dtype not in (np.int64, np.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got tapegrad.{dtype_name(input)}Tensor instead (while checking "
            f"arguments for {name})"
        )
    index = np.array(input._array)
    if index.size and not (index.min() >= 0 and index.max() < weight._spec.shape[0]):
        raise IndexError("index out of range in self")
    return index


def _scale(index: np.ndarray, padding: int | None, by_frequency: bool) -> Any:
    """What gradients are scaled by at each position; None: by 1."""
    if padding is None and not by_frequency:
        return None
    scale = np.ones(index.shape)
    if by_frequency and index.size:
        scale /= np.bincount(index.reshape(-1))[index]
    if padding is not None:
        scale[index == padding] = 0
    return scale


def _padding(padding_idx: int | None, count: int) -> int | None:
    if padding_idx is None:
        return None
    if not -count <= padding_idx < count:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % count


def _renormalise(weight: Any, index: np.ndarray, max_norm: float, p: float) -> None:
    """Scale the rows that are read down to ``max_norm``, in place."""
    rows = np.unique(index)
    values = weight._array[rows]
    sizes = np.linalg.norm(values, p, axis=1)
    long = sizes > max_norm
    if long.any():
        scale = (max_norm / (sizes[long] + 1e-7)).astype(values.dtype)
        weight.detach()[rows[long]] = values[long] * scale[:, None]


def _refuse_sparse(sparse: bool) -> None:
    if sparse:
        raise NotImplementedError(
            "embedding: sparse gradients are not supported; leave sparse=False"
        )


@public(module=NN, method=False)
def embedding(
    input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    """The rows of ``weight`` (V, C) at ``input``, integers of any shape (*): (*, C).

    The row ``padding_idx`` gets no gradient; with ``max_norm`` longer rows are first scaled down,
    in place; with ``scale_grad_by_freq`` gradients are divided by how often a row is read. Raises
    IndexError for an index out of range.
    """
    _refuse_sparse(sparse)
    index = _indices(input, weight, "embedding")
    padding = _padding(padding_idx, weight._spec.shape[0])
    if max_norm is not None:
        _renormalise(weight, index, max_norm, norm_type)
    params = (index, _scale(index, padding, scale_grad_by_freq))
    return Primitive.apply(embedding_, (weight,), params)


# -- bags ------------------------------------------------------------------------------------------


def segment_sum_forward(x, starts, ends):
    # An empty segment would be one of length 1 to reduceat.
    out = np.zeros((len(starts), *x.shape[1:]), x.dtype)
    full = ends > starts
    if full.any():
        out[full] = np.add.reduceat(x[: ends[-1]], starts[full], 0)
    return out


def segment_sum_x(out_bar, x_shape, starts, ends):
    return segment_spread(out_bar, x_shape[0], starts, ends)


def segment_spread_forward(x, count, starts, ends):
    out = np.zeros((count, *x.shape[1:]), x.dtype)
    out[: ends[-1] if len(ends) else 0] = np.repeat(x, ends - starts, 0)
    return out


def segment_spread_x(out_bar, starts, ends):
    return segment_sum(out_bar, starts, ends)


#: Sums of successive runs of rows; and each row's sum again.
segment_sum = structural("segment_sum", segment_sum_forward, segment_sum_x)
segment_spread = structural("segment_spread", segment_spread_forward, segment_spread_x)


def _bags(input: Any, offsets: Any, include_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where each bag begins and ends in the flattened input."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        n, length = input._spec.shape
        starts = np.arange(n) * length
        return starts, starts + length
    if input.ndim != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}"
        )
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    at = offsets._array.astype(np.int64)
    total = input._spec.size
    if at.size and at[0]:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {at[0]}"
        )
    if at.size and (at[-1] > total or (np.diff(at) < 0).any()):
        raise RuntimeError(
            "offsets have to grow, and offsets[-1] can not be greater than input's length of "
            f"{total}, but got {at.tolist()}"
        )
    return (at[:-1], at[1:]) if include_last else (at, np.append(at[1:], total))


def _largest(rows: Any, kept: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Any:
    """The maximum of each bag, the first of equal ones; 0 of an empty one."""
    values = rows._array
    winners = np.zeros((len(starts), values.shape[1]), np.int64)
    empty = np.ones((len(starts), 1), bool)
    for bag, (start, end) in enumerate(zip(starts, ends, strict=True)):
        inside = start + np.flatnonzero(kept[start:end])
        if inside.size:
            winners[bag] = inside[values[inside].argmax(0)]
            empty[bag] = False
    if not values.size:
        return rows.new_zeros(winners.shape)
    columns = np.arange(values.shape[1])
    chosen = Primitive.apply(at, (rows,), ((winners, columns),))
    return chosen * (~empty).astype(values.dtype)


@public(module=NN, method=False)
def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean",
    sparse: bool = False, per_sample_weights: Any = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """Rows of ``weight`` (V, C) reduced in bags: "sum", "mean" or "max" of each: (bags, C).

    ``input`` is (bags, n), or (N,) with the bags beginning at ``offsets``. With ``mode`` "sum",
    ``per_sample_weights`` in the input's shape scale the rows. Rows ``padding_idx`` don't count.
    Raises ValueError for shapes that don't fit.
    """
    _refuse_sparse(sparse)
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if per_sample_weights is not None:
        if per_sample_weights._spec.shape != input._spec.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, "
                f"then it must have the same shape as the input ({input.shape})"
            )
        check_dtype(weight, per_sample_weights)
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}')."
            )
    starts, ends = _bags(input, offsets, include_last_offset)
    index = _indices(input, weight, "embedding_bag").reshape(-1)
    padding = _padding(padding_idx, weight._spec.shape[0])
    if max_norm is not None:
        _renormalise(weight, index, max_norm, norm_type)
    params = (index, _scale(index, padding, scale_grad_by_freq))
    rows = Primitive.apply(embedding_, (weight,), params)
    kept = np.ones(index.shape, bool) if padding is None else index != padding
    if mode == "max":
        return _largest(rows, kept, starts, ends)
    dtype = weight._spec.dtype
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    if padding is not None:
        rows = rows * kept[:, None].astype(dtype)
    sums = Primitive.apply(segment_sum, (rows,), (starts, ends))
    if mode == "sum":
        return sums
    counts = np.append(0, np.cumsum(kept))
    return sums / np.maximum(counts[ends] - counts[starts], 1)[:, None].astype(dtype)
