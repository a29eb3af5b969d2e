"""Views copied: ``permute_copy`` and the like, and parts that may be changed in place each.

An in-place change isn't seen by the Tensor that they were made of.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.broadcasting import expand
from tapegrad.rules.diagonals import diagonal, unfold
from tapegrad.rules.gathering import constant
from tapegrad.rules.indexing import ALL
from tapegrad.rules.pairs import view_as_complex, view_as_real
from tapegrad.rules.permuting import permute, t, transpose
from tapegrad.rules.replacing import as_strided
from tapegrad.rules.shape import squeeze, unsqueeze, view
from tapegrad.rules.splitting import chunk, narrow, select, split, split_with_sizes, unbind


def copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same with every result copied."""

    @functools.wraps(function)
    def copy(*args: Any, **kwargs: Any) -> Any:
        out = function(*args, **kwargs)
        return tuple([x.clone() for x in out]) if isinstance(out, tuple) else out.clone()

    copy.__doc__ = f"`{function.__name__}`, copied."
    return copy


for of in (
    as_strided, diagonal, expand, permute, select, split, split_with_sizes, squeeze, t, transpose,
    unbind, unfold, unsqueeze, view, view_as_complex, view_as_real,
):  # fmt: skip
    public(copied(of), name=of.__name__ + "_copy", method=False)
public(copied(narrow), name="narrow_copy")
for of in (chunk, split, split_with_sizes):
    public(copied(of), name="unsafe_" + of.__name__)


@public(method=False)
def alias_copy(input: Any) -> Any:
    """A copy."""
    return input.clone()


@public(method=False)
def slice_copy(
    input: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    """The elements ``start:end:step`` along a dimension, copied."""
    return input[(*(ALL,) * (dim % max(input.ndim, 1)), slice(start, end, step))].clone()


@public
def nonzero_static(input: Any, *, size: int, fill_value: int = -1) -> Any:
    """The first ``size`` rows of `nonzero`, and rows of ``fill_value`` where there are fewer."""
    found = np.argwhere(input._array)[:size]
    rows = np.full((size - len(found), input.ndim), fill_value)
    return constant(input, np.concatenate((found, rows)).astype(np.int64))
