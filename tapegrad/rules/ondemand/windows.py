"""Windows that slide over the last dimensions of an array, and what they have in common.

A window has a size, a stride, a dilation and a padding (before, after) in each of these dimensions.
Convolution reads all windows at once, as one strided view; pooling, and the adjoints of both, go
through the positions within the window, each of which is a strided part of the array.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Sizes = tuple[int, ...]
Padding = tuple[tuple[int, int], ...]


def per_dim(value: Any, dims: int, name: str) -> Sizes:
    """A number for each of ``dims`` dimensions, from one for all or a sequence of 1 or ``dims``."""
    if isinstance(value, int):
        return (value,) * dims
    values = tuple([int(v) for v in value])
    if len(values) == 1:
        return values * dims
    if len(values) != dims:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {dims} values to match the "
            f"dimensions, but got {name}={list(values)}"
        )
    return values


def symmetric(padding: Sizes) -> Padding:
    """The same padding before and after."""
    return tuple([(p, p) for p in padding])


def window_count(
    sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> Sizes:
    """How many windows fit, in each dimension."""
    return tuple(
        [
            (n + p[0] + p[1] - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
        ]
    )


def last_dims(items: Sequence[Any]) -> tuple[Any, ...]:
    """An index of the last dimensions."""
    return (..., *items)


def padded(x: np.ndarray, padding: Padding, value: Any = 0) -> np.ndarray:
    """``x`` with its last dimensions padded, or cut where the padding is negative."""
    if not any(map(any, padding)):
        return x
    lead = x.ndim - len(padding)
    if min(map(min, padding)) < 0:
        left = last_dims(
            [
                slice(max(-p[0], 0), n - max(-p[1], 0))
                for n, p in zip(x.shape[lead:], padding, strict=True)
            ]
        )
        return padded(x[left], tuple([(max(p[0], 0), max(p[1], 0)) for p in padding]), value)
    sizes = [n + p[0] + p[1] for n, p in zip(x.shape[lead:], padding, strict=True)]
    shape = (*x.shape[:lead], *sizes)
    out = np.zeros(shape, x.dtype) if value == 0 else np.full(shape, value, x.dtype)
    inside = [slice(p[0], p[0] + n) for n, p in zip(x.shape[lead:], padding, strict=True)]
    out[last_dims(inside)] = x
    return out


def windows(x: np.ndarray, kernel: Sizes, stride: Sizes, dilation: Sizes) -> np.ndarray:
    """All windows over the last dimensions, a view: (..., *kernel, *counts)."""
    lead = x.ndim - len(kernel)
    counts = window_count(x.shape[lead:], kernel, stride, ((0, 0),) * len(kernel), dilation)
    steps = x.strides[lead:]
    inner = [d * step for d, step in zip(dilation, steps, strict=True)]
    outer = [s * step for s, step in zip(stride, steps, strict=True)]
    return np.lib.stride_tricks.as_strided(
        x,
        (*x.shape[:lead], *kernel, *counts),
        (*x.strides[:lead], *inner, *outer),
        writeable=False,
    )


@lru_cache(maxsize=256)
def positions(
    sizes: Sizes, counts: Sizes, kernel: Sizes, stride: Sizes, padding: Padding, dilation: Sizes
) -> list[tuple[Sizes, tuple[Any, ...], tuple[Any, ...]]]:
    """For each position in the window: it, the part of the input there, and of which windows.

    Both parts are indices of the last dimensions, of one shape; what falls into the padding isn't
    in them.
    """
    axes = [
        _parts(n, count, k, s, p[0], d)
        for n, count, k, s, p, d in zip(
            sizes, counts, kernel, stride, padding, dilation, strict=True
        )
    ]
    return [
        (
            tuple([k for k, _, _ in parts]),
            (..., *[source for _, source, _ in parts]),
            (..., *[goal for _, _, goal in parts]),
        )
        for parts in itertools.product(*axes)
    ]


def _parts(
    n: int, count: int, kernel: int, stride: int, before: int, dilation: int
) -> Sequence[tuple[int, slice, slice]]:
    found = []
    for k in range(kernel):
        offset = k * dilation - before  # of the first window
        first = max(-(offset // stride), 0)
        last = min((n - 1 - offset) // stride, count - 1)
        if first <= last:
            start = first * stride + offset
            source = slice(start, start + (last - first) * stride + 1, stride)
            found.append((k, source, slice(first, last + 1)))
    return found


def overlap_added(
    columns: np.ndarray,
    sizes: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    trailing: int = 0,
) -> np.ndarray:
    """The sum of windows where they lie: the transpose of `windows`.

    From (..., *kernel, *counts, *rest) to (..., *sizes, *rest), the rest ``trailing`` dimensions.
    """
    dims = len(sizes)
    inner = columns.ndim - dims - trailing
    lead = inner - dims
    kernel, counts = columns.shape[lead:inner], columns.shape[inner : inner + dims]
    rest = columns.shape[inner + dims :]
    out = np.zeros((*columns.shape[:lead], *sizes, *rest), columns.dtype)
    left, right = (slice(None),) * lead, (slice(None),) * trailing
    for k, source, goal in positions(sizes, counts, kernel, stride, padding, dilation):
        out[(*source, *right)] += columns[(*left, *k, *goal[1:], *right)]
    return out
