"""Hypothesis strategies for Tensors, their shapes, layouts and values.

    from hypothesis import given
    from tapegrad.testing import strategies as tgst

    @given(tgst.tensors(shape=(3, 4)))
    def test_sum(x):
        ...

Values are floats that a test can differentiate at: `off_kinks` keeps them away from 0 and all
multiples of 0.05, where functions such as `abs`, `clamp` and `round` have kinks; differences can't
judge a gradient there. Importing this module makes ``st.from_type(tapegrad.Tensor)`` work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import hypothesis.extra.numpy as hnp
    import hypothesis.strategies as st
except ImportError as error:
    raise ImportError(
        "tapegrad.testing.strategies needs Hypothesis: pip install 'tapegrad[hypothesis]', or "
        "pip install hypothesis"
    ) from error

from tapegrad import dtypes as tgdtypes
from tapegrad.tensor import Tensor, from_array

__all__ = [
    "away_from",
    "broadcastable_shapes",
    "broadcastable_tensors",
    "dtypes",
    "matrices",
    "off_kinks",
    "positive_definite_matrices",
    "shapes",
    "strided_tensors",
    "tensors",
]

Shape = tuple[int, ...]
Shapes = Shape | st.SearchStrategy[Shape]
#: `off_kinks` draws multiples of the first plus the second: neither is a multiple of 0.05.
SPACING, OFFSET = 0.1, 0.03

_FLOATING = (tgdtypes.float64, tgdtypes.float32, tgdtypes.float16)
_COMPLEX = (tgdtypes.complex128, tgdtypes.complex64)
_INTEGER = (tgdtypes.int64, tgdtypes.int32, tgdtypes.int16, tgdtypes.int8, tgdtypes.uint8)
_KINDS = {"floating": _FLOATING, "complex": _COMPLEX, "integer": _INTEGER}


# -- dtypes, shapes --------------------------------------------------------------------------------


def dtypes(*kinds: str) -> st.SearchStrategy[tgdtypes.dtype]:
    """Dtypes of the kinds "floating", "complex", "integer" and "bool"; by default of all."""
    every = {**_KINDS, "bool": (tgdtypes.bool_,)}
    return st.sampled_from([d for kind in kinds or every for d in every[kind]])


def shapes(
    *, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[Shape]:
    """Shapes. ``min_side=0`` has empty ones among them."""
    return hnp.array_shapes(
        min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    )


def broadcastable_shapes(
    count: int, *, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[tuple[Shape, ...]]:
    """Tuples of ``count`` shapes that broadcast with each other."""
    return hnp.mutually_broadcastable_shapes(
        num_shapes=count, min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side
    ).map(lambda found: tuple(found.input_shapes))


# -- values ----------------------------------------------------------------------------------------


def off_kinks(min_value: float = -3.0, max_value: float = 3.0) -> st.SearchStrategy[float]:
    """0.03, 0.13, -0.07 and so on: numbers at least 0.02 away from every multiple of 0.05.

    They are 0.1 apart, so that those which differ stay different in a small step, and few digits
    show them.
    """
    least = math.ceil((min_value - OFFSET) / SPACING - 1e-9)
    most = math.floor((max_value - OFFSET) / SPACING + 1e-9)
    return st.integers(least, most).map(lambda k: round(k * SPACING + OFFSET, 2))


def away_from(
    *points: float, margin: float = 0.05, min_value: float = -3.0, max_value: float = 3.0
) -> st.SearchStrategy[float]:
    """Floats of the range that are at least ``margin`` away from each of the points.

    For functions whose kinks are elsewhere than `off_kinks` expects them. Raises ValueError if
    nothing of the range is left.
    """
    intervals, low = [], min_value
    for point in sorted(points):
        if low <= min(point - margin, max_value):
            intervals.append((low, min(point - margin, max_value)))
        low = max(low, point + margin)
    if low <= max_value:
        intervals.append((low, max_value))
    if not intervals:
        raise ValueError(
            f"no number in [{min_value}, {max_value}] is {margin} away from all of {points}"
        )
    return st.one_of(*(st.floats(a, b) for a, b in intervals))


def _elements(dtype: tgdtypes.dtype) -> st.SearchStrategy[Any]:
    """The values of a Tensor of that dtype, where none are asked for."""
    if dtype.is_floating_point:
        return off_kinks()
    if dtype.is_complex:
        return st.builds(complex, off_kinks(), off_kinks())
    if dtype is tgdtypes.bool_:
        return st.booleans()
    return st.integers(-9 if dtype.is_signed else 0, 9)


# -- Tensors ---------------------------------------------------------------------------------------


@st.composite
def tensors(
    draw: st.DrawFn,
    dtype: tgdtypes.dtype | st.SearchStrategy[tgdtypes.dtype] = tgdtypes.float64,
    shape: Shapes | None = None,
    *,
    elements: st.SearchStrategy[Any] | None = None,
    unique: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Tensors, contiguous.

    Args:
        dtype: a dtype, or a strategy for them.
        shape: a shape, or a strategy for them; by default `shapes`.
        elements: a strategy for the values; by default `off_kinks` of each part, small integers,
            bools.
        unique: whether values must differ, for functions with kinks at ties, such as `max`;
            `off_kinks` has 60 values to draw from.
        requires_grad: whether floating and complex Tensors are to be differentiated.
    """
    kind = _drawn(draw, dtype)
    array = _array(draw, kind, shape, elements, unique)
    return from_array(array, requires_grad and array.dtype.kind in "fc")


@st.composite
def strided_tensors(
    draw: st.DrawFn,
    dtype: tgdtypes.dtype | st.SearchStrategy[tgdtypes.dtype] = tgdtypes.float64,
    shape: Shapes | None = None,
    *,
    elements: st.SearchStrategy[Any] | None = None,
    unique: bool = False,
    requires_grad: bool = False,
    layouts: Sequence[str] = ("contiguous", "transposed", "sliced", "stepped"),
) -> Tensor:
    """Tensors as views lay them out, of which each dimension has a positive stride.

    Args:
        layouts: those to draw from: "contiguous", "transposed" (dimensions in another order in
            memory), "sliced" (a part of a larger array), "stepped" (every second element along a
            dimension) and "expanded" (one dimension of stride 0, all of whose elements are one;
            `gradcheck` refuses it).
        dtype, shape, elements, unique, requires_grad: as for `tensors`.
    """
    kind = _drawn(draw, dtype)
    array = _array(draw, kind, shape, elements, unique)
    layout = draw(st.sampled_from(list(layouts)))
    laid_out = LAYOUTS[layout](draw, array)
    return from_array(laid_out, requires_grad and laid_out.dtype.kind in "fc")


def broadcastable_tensors(
    count: int,
    dtype: tgdtypes.dtype | st.SearchStrategy[tgdtypes.dtype] = tgdtypes.float64,
    shapes: st.SearchStrategy[tuple[Shape, ...]] | None = None,
    **options: Any,
) -> st.SearchStrategy[tuple[Tensor, ...]]:
    """Tuples of ``count`` Tensors that broadcast with each other.

    ``shapes`` is a strategy for their shapes, by default `broadcastable_shapes`. The other options
    are those of `tensors`.
    """
    drawn = broadcastable_shapes(count) if shapes is None else shapes
    return drawn.flatmap(lambda sizes: st.tuples(*(tensors(dtype, s, **options) for s in sizes)))


def _drawn(draw: st.DrawFn, value: Any) -> Any:
    return draw(value) if isinstance(value, st.SearchStrategy) else value


def _array(
    draw: st.DrawFn,
    dtype: tgdtypes.dtype,
    shape: Shapes | None,
    elements: st.SearchStrategy[Any] | None,
    unique: bool,
) -> np.ndarray:
    size = _drawn(draw, shapes() if shape is None else shape)
    values = _elements(dtype) if elements is None else elements
    return draw(hnp.arrays(dtype.numpy, size, elements=values, unique=unique))


def _contiguous(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    return array


def _transposed(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    order = draw(st.permutations(range(array.ndim)))
    return array.transpose(order).copy().transpose(np.argsort(order))


def _sliced(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    padded = np.pad(array, 1, constant_values=7)
    return padded[(slice(1, -1),) * array.ndim]


def _stepped(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    if not array.ndim:
        return array
    dim = draw(st.integers(0, array.ndim - 1))
    steps = (slice(None),) * dim + (slice(1, None, 2),)
    return np.repeat(array, 2, dim)[steps]


def _expanded(draw: st.DrawFn, array: np.ndarray) -> np.ndarray:
    if not array.size or not array.ndim:
        return array
    dim = draw(st.integers(0, array.ndim - 1))
    one = array[(slice(None),) * dim + (slice(0, 1),)].copy()
    expanded = np.broadcast_to(one, array.shape)
    return np.lib.stride_tricks.as_strided(one, array.shape, expanded.strides)  # writeable


LAYOUTS = {
    "contiguous": _contiguous,
    "transposed": _transposed,
    "sliced": _sliced,
    "stepped": _stepped,
    "expanded": _expanded,
}


# -- matrices --------------------------------------------------------------------------------------


@st.composite
def matrices(
    draw: st.DrawFn,
    rows: int | st.SearchStrategy[int] = st.integers(1, 3),  # noqa: B008  (immutable)
    columns: int | None = None,
    *,
    batch: Shapes = (),
    condition: float = 10.0,
    distinct: bool = False,
    dtype: tgdtypes.dtype = tgdtypes.float64,
    requires_grad: bool = False,
) -> Tensor:
    """Matrices of full rank and of a condition number of at most ``condition``.

    ``P (D + E)``: a permutation, singular values in between 1/c and 1, and a perturbation that
    changes those by little (Weyl's inequality), so that no draw is rejected and examples shrink to
    a diagonal matrix.

    Args:
        rows, columns: the shape; None: as many columns as rows.
        batch: the shape of a batch of them.
        condition: the greatest ratio of singular values.
        distinct: whether singular values must differ, by a gap, as for `linalg.svd`.
        dtype: floating or complex.
        requires_grad: whether they are to be differentiated.
    """
    m = _drawn(draw, rows)
    n = m if columns is None else columns
    leading = _drawn(draw, batch)
    values, size = _spectrum(min(m, n), condition, distinct)
    noise = _noise(draw, dtype, (*leading, m, n)) * (size / math.sqrt(m * n))
    order = draw(st.permutations(range(m)))
    array = (np.eye(m, n) * np.pad(values, (0, n - len(values))) + noise)[..., order, :]
    return from_array(array.astype(dtype.numpy), requires_grad)


@st.composite
def positive_definite_matrices(
    draw: st.DrawFn,
    size: int | st.SearchStrategy[int] = st.integers(1, 3),  # noqa: B008  (immutable)
    *,
    batch: Shapes = (),
    condition: float = 10.0,
    distinct: bool = False,
    dtype: tgdtypes.dtype = tgdtypes.float64,
    requires_grad: bool = False,
) -> Tensor:
    """Symmetric positive-definite matrices, or Hermitian ones for a complex dtype.

    Their eigenvalues lie between 1/condition and 1, and with ``distinct`` differ by a gap, as for
    `linalg.eigh`. The other arguments are those of `matrices`.
    """
    n = _drawn(draw, size)
    values, bound = _spectrum(n, condition, distinct)
    noise = _noise(draw, dtype, (*_drawn(draw, batch), n, n)) * (bound / n)
    order = draw(st.permutations(range(n)))
    array = np.diag(values[order]) + (noise + noise.swapaxes(-1, -2).conj()) / 2
    return from_array(array.astype(dtype.numpy), requires_grad)


def _spectrum(count: int, condition: float, distinct: bool) -> tuple[np.ndarray, float]:
    """Values, and how far a perturbation may move them within [1/condition, 1]."""
    if condition <= 1:
        raise ValueError(f"the condition number must be greater than 1, but got {condition}")
    width = 1 - 1 / condition
    if distinct and count > 1:
        bound = width / (3 * count)  # of the gap, which is 3 bounds wide, one is left
        return 1 / condition + bound + np.linspace(0, width - 2 * bound, count)[::-1], bound
    return np.full(count, 1 - width / 2), width / 2


def _noise(draw: st.DrawFn, dtype: tgdtypes.dtype, shape: Shape) -> np.ndarray:
    """Entries of at most 1 in absolute value."""
    part = st.integers(-8, 8).map(lambda k: k / 8)
    array: np.ndarray = draw(hnp.arrays(np.float64, shape, elements=part))
    if not dtype.is_complex:
        return array
    return (array + 1j * draw(hnp.arrays(np.float64, shape, elements=part))) / math.sqrt(2)


st.register_type_strategy(Tensor, tensors())
