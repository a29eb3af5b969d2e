"""Norms of vectors and matrices, condition numbers, distances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import all_values, public
from tapegrad.primitive import select, structural
from tapegrad.rules.arguments import check_dtype, dtype_name, refuse, with_numpy_names
from tapegrad.rules.matrices import check_floating, check_matrix, check_square, fitted, transposed
from tapegrad.rules.solvers import inv_ex_
from tapegrad.rules.spectral import svdvals
from tapegrad.rules.statistics import vector_norm_of

# -- vectors ---------------------------------------------------------------------------------------


@public
@with_numpy_names
def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Any:
    """The p-norm over ``dim`` (an int, several, or None: all); "fro" and None are 2.

    "nuc" is the sum of the singular values of matrices, over two dimensions. The gradient where
    the norm is 0 is 0. Raises RuntimeError for integers, for a dtype that is narrower than the
    input's, and for an infinite or negative norm of nothing.
    """
    if p == "nuc":
        dims = tuple(range(input.ndim)) if dim is None else dim
        return matrix_norm(input, "nuc", dims, keepdim, dtype=dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
    p = 2.0 if p == "fro" or p is None else float(p)
    return vector_norm_of(input, p, dim, keepdim, dtype)


@public(module="linalg", method=False)
def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """The ``ord``-norm over ``dim`` (None: all), as `tapegrad.norm`."""
    return vector_norm_of(x, float(ord), dim, keepdim, dtype)


# -- matrices --------------------------------------------------------------------------------------


@public(module="linalg", method=False)
def matrix_norm(
    A: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """A norm of matrices, which lie in the two dimensions ``dim``.

    "fro" (the root of the sum of squares) and "nuc" (the sum of the singular values); 2 and -2 (the
    largest and least singular value); 1 and -1 (the largest and least sum of absolute values of a
    column), inf and -inf (of a row).
    """
    name = "linalg.matrix_norm"
    check_matrix(A, name)
    check_floating(A, name)
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    rows, columns = (wrap_axis(d, A.ndim) for d in dims)
    if rows == columns:
        raise RuntimeError(f"{name}: dims must be different. Got ({dims[0]}, {dims[1]})")
    if (ord if isinstance(ord, str) else abs(ord)) not in ("fro", "nuc", 1, 2, math.inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    if ord == "fro":
        return vector_norm_of(A, 2.0, (rows, columns), keepdim, dtype)
    if ord == "nuc" or abs(ord) == 2:
        return _spectral_norm(A if dtype is None else A.to(dtype), ord, rows, columns, keepdim)
    summed, compared = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = vector_norm_of(A, 1.0, summed, True, dtype)
    out = sums.amax(compared, True) if ord > 0 else sums.amin(compared, True)
    return out if keepdim else out.squeeze((rows, columns))


def _spectral_norm(A: Any, ord: Any, rows: int, columns: int, keepdim: bool) -> Any:
    s = svdvals(A.movedim((rows, columns), (-2, -1)))
    if ord == "nuc" or (ord == 2 and not s._spec.shape[-1]):
        out = s.sum(-1)
    else:
        out = s.amax(-1) if ord > 0 else s.amin(-1)
    if keepdim:
        for axis in sorted((rows, columns)):
            out = out.unsqueeze(axis)
    return out


@public(module="linalg", method=False, name="norm", numpy=[np.linalg.norm])
def linalg_norm(
    input: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """A vector norm over one dimension, or a matrix norm over two: `vector_norm`, `matrix_norm`.

    Without ``ord`` the 2-norm of all elements over ``dim`` (None: all). With it but without
    ``dim`` the Tensor is a vector or a matrix.
    """
    dims = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
    if isinstance(ord, str):
        both = range_of(input) if dims is None else dims
        return matrix_norm(input, ord, both, keepdim, dtype=dtype)
    if ord is None:
        return vector_norm_of(input, 2.0, dims, keepdim, dtype)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}"
        )
    if dims is None and input.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{input.ndim}D."
        )
    if (input.ndim if dims is None else len(dims)) == 2:
        return matrix_norm(input, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm_of(input, float(ord), dims, keepdim, dtype)


def range_of(A: Any) -> tuple[int, ...]:
    """All dimensions."""
    return tuple(range(A.ndim))


@public(module="linalg", method=False, numpy=[np.linalg.cond])
def cond(A: Any, p: Any = None) -> Any:
    """Condition numbers: a `matrix_norm` of A times that of its inverse; inf for a singular one.

    ``p`` None and 2: the largest singular value over the least, which matrices that aren't square
    have too; -2: the other way round.
    """
    name = "linalg.cond"
    check_matrix(A, name)
    check_floating(A, name)
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        s = svdvals(A)
        if not s._spec.shape[-1]:
            return s.sum(-1)
        first, last = s[..., 0], s[..., -1]
        return last / first if p == -2 else first / last
    if (p if isinstance(p, str) else abs(p)) not in ("fro", "nuc", 1, math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    check_square(A, f"{name}(ord={p})")
    inverse, info = inv_ex_(A)
    out = matrix_norm(A, p) * matrix_norm(inverse, p)
    return out.masked_fill(info != 0, math.inf) if all_values(info).any() else out


# -- distances -------------------------------------------------------------------------------------


@public
def dist(input: Any, other: Any, p: Any = 2) -> Any:
    """The p-norm of ``input - other``, which broadcast. Its gradient where it is 0 is 0."""
    refuse(
        input, "bui",
        "norm(): input dtype should be either floating point or complex. Got {dtype} instead.",
    )  # fmt: skip
    return vector_norm_of(input - other, float(p), None, False)


def euclidean_forward(x, y):
    squares = np.add.reduce(x * x, -1)[..., :, None] + np.add.reduce(y * y, -1)[..., None, :]
    squares -= 2 * np.matmul(x, y.mT)
    return np.sqrt(np.maximum(squares, 0))


def euclidean_x(out_bar, x, y, out, x_shape):
    weights = select(out == 0, 0 * out_bar, out_bar / select(out == 0, 1, out))
    total = np.sum(weights, axis=-1, keepdims=True)
    return fitted(x * total - np.matmul(weights, y), x_shape)


def euclidean_y(out_bar, x, y, out, y_shape):
    return euclidean_x(transposed(out_bar), y, x, transposed(out), y_shape)


#: Distances from a product of matrices, which is quick where there are many.
euclidean = structural(
    "cdist", euclidean_forward, euclidean_x, euclidean_y, grad_name="CdistBackward0"
)
MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)
#: As in torch, so many points are many.
MANY_POINTS = 25


@public(method=False)
def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: str = MODES[0]) -> Any:
    """The p-norms of the differences of all pairs of points.

    (..., m, n) from (..., m, d) and (..., n, d). Batches broadcast. Distances for p = 2 of more
    than 25 points come from a matrix product, which is less exact for points that are close
    together, unless ``compute_mode`` says "donot_use_mm_for_euclid_dist". The gradient where a
    distance is 0 is 0.
    """
    for position, x in (("X1", x1), ("X2", x2)):
        if x._spec.dtype.kind != "f":
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {position} got: {dtype_name(x)}"
            )
        if x.ndim < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {position} got: {x.ndim}D"
            )
    (m, d), (n, e) = x1._spec.shape[-2:], x2._spec.shape[-2:]
    if d != e:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {d} X2: {e}")
    check_dtype(x1, x2)
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    if compute_mode not in MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    many = m > MANY_POINTS or n > MANY_POINTS
    if p == 2 and d and (compute_mode == MODES[1] or (compute_mode == MODES[0] and many)):
        return euclidean(x1, x2)
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if not d:
        return difference.sum(-1)
    return vector_norm_of(difference, float(p), -1, False)


@public(inplace=True)
def renorm(input: Any, p: float, dim: int, maxnorm: float) -> Any:
    """The parts along ``dim``, those whose p-norm is above ``maxnorm`` scaled down to it."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions"
        )
    axis = wrap_axis(dim, input.ndim)
    rest = tuple(i for i in range(input.ndim) if i != axis)
    size = vector_norm_of(input, float(p), rest, True)
    return input * np.where(size > maxnorm, maxnorm / (size + 1e-7), size.new_ones(()))
