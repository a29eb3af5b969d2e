"""Distances between vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.gathering import index_select_

NN = ("", "nn.functional")


@public(module=NN, method=False)
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """The p-norm of ``x1 - x2 + eps`` over the last dimension; both broadcast."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@public(module=NN, method=False)
def pdist(input: Any, p: float = 2.0) -> Any:
    """The p-norms of the differences of all pairs of rows of (N, C), i < j: (N (N - 1) / 2,).

    The gradient of a distance 0 is 0. Raises RuntimeError for other than two dimensions.
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    first, second = np.triu_indices(input._spec.shape[0], 1)
    left, right = (Primitive.apply(index_select_, (input,), ((i,),)) for i in (first, second))
    return (left - right).norm(p, 1)
