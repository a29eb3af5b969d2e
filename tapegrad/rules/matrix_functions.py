"""Exponentials, powers and chains of matrices; Kronecker, cross and inner products.

Source of the exponential's gradient: Najfeld and Havel, *Derivatives of the matrix exponential and
their computation*, 1995: the derivative is a block of the exponential of a block matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.diagonals import diagonal
from tapegrad.rules.matrices import (
    adjoint,
    check_batches,
    check_floating,
    check_matrix,
    check_same_dtype,
    check_square,
    conjugate,
    eye_like,
    fitted,
)
from tapegrad.rules.matrix_products import matmul as times
from tapegrad.rules.solvers import inv

# -- exponentials and powers -----------------------------------------------------------------------


def matrix_exp_forward(x):
    from scipy.linalg import expm

    return expm(x) if x.size else x.copy()


def matrix_exp_x(out_bar, x):
    n = x.shape[-1]
    turned = adjoint(x)
    upper = np.concatenate([turned, out_bar], axis=-1)
    lower = np.concatenate([turned * 0, turned], axis=-1)
    return matrix_exp_(np.concatenate([upper, lower], axis=-2))[..., :n, n:]


matrix_exp_ = structural(
    "matrix_exp", matrix_exp_forward, matrix_exp_x, grad_name="LinalgMatrixExpBackward0"
)


@public(module=("", "linalg"))
def matrix_exp(input: Any) -> Any:
    """The exponentials of square matrices (..., n, n): the sums of ``A**k / k!``."""
    check_square(input, "linalg.matrix_exp")
    return matrix_exp_(input)


@public(module=("", "linalg"), numpy=[np.linalg.matrix_power])
def matrix_power(input: Any, n: int) -> Any:
    """The n-th powers of square matrices; of inverses if n is negative.

    Raises LinAlgError for a negative power of a singular matrix.
    """
    if not isinstance(n, int):
        raise TypeError(
            f"linalg_matrix_power(): argument 'n' (position 2) must be int, not {type(n).__name__}"
        )
    check_matrix(input, "linalg.matrix_power")
    check_square(input, "linalg.matrix_power")
    if n == 0:
        return np.where(np.True_, eye_like(input), input)
    base = input if n > 0 else inv(input)
    n = abs(n)
    if n == 1:
        return base.clone() if base is input else base
    power = None
    while n:
        if n & 1:
            power = base if power is None else times(power, base)
        n >>= 1
        if n:
            base = times(base, base)
    return power


# -- chains ----------------------------------------------------------------------------------------


def _order(sizes: list[int]) -> list[list[int]]:
    """Where to split the chain from i to j for the fewest multiplications: split[i][j].

    Source: Cormen et al., *Introduction to Algorithms*, section 15.2.
    """
    n = len(sizes) - 1
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )
    return split


@public(module=("linalg",), method=False)
def multi_dot(tensors: Any) -> Any:
    """The product of matrices in the order that takes the fewest multiplications.

    The first and the last may be vectors: a row and a column. Raises RuntimeError for fewer than
    two, and where shapes or dtypes don't fit.
    """
    given = list(tensors)
    if len(given) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(given)}")
    first, last = given[0].ndim == 1, given[-1].ndim == 1
    for i, x in enumerate(given):
        ends = i in (0, len(given) - 1)
        if x.ndim != 2 and not (ends and x.ndim == 1):
            which = f"the {'last' if i else 'first'} tensor" if ends else f"tensor {i}"
            kind = "1D or 2D" if ends else "2D"
            raise RuntimeError(f"multi_dot(): {which} must be {kind} but got {x.ndim}D")
        if x._spec.dtype != given[0]._spec.dtype:
            raise RuntimeError(
                f"multi_dot(): all tensors must have the same dtype, but tensor 0 is "
                f"{dtype_name(given[0])} and tensor {i} {dtype_name(x)}"
            )
    chain = list(given)
    if first:
        chain[0] = given[0].unsqueeze(0)
    if last:
        chain[-1] = given[-1].unsqueeze(-1)
    for i in range(len(chain) - 1):
        if chain[i]._spec.shape[1] != chain[i + 1]._spec.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(given[i].shape)} and "
                f"{list(given[i + 1].shape)} cannot be multiplied"
            )
    split = _order([x._spec.shape[0] for x in chain] + [chain[-1]._spec.shape[1]])

    def product(i: int, j: int) -> Any:
        if i == j:
            return chain[i]
        k = split[i][j]
        return times(product(i, k), product(k + 1, j))

    out = product(0, len(chain) - 1)
    shape = ([] if first else [out.shape[0]]) + ([] if last else [out.shape[1]])
    return out.reshape(shape) if first or last else out


@public(method=False)
def chain_matmul(*matrices: Any) -> Any:
    """`linalg.multi_dot` of matrices given one by one."""
    return multi_dot(matrices) if len(matrices) > 1 else matrices[0]


# -- other products --------------------------------------------------------------------------------


def cross_forward(x, y, axis):
    a, b = np.swapaxes(x, axis, 0), np.swapaxes(y, axis, 0)
    out = np.empty((3, *np.broadcast_shapes(a.shape[1:], b.shape[1:])), x.dtype)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        out[i] = a[j] * b[k] - a[k] * b[j]
    return np.swapaxes(out, axis, 0)


def cross_x(out_bar, y, x_shape, axis):
    return fitted(cross_(conjugate(y), out_bar, axis), x_shape)


def cross_y(out_bar, x, y_shape, axis):
    return fitted(cross_(out_bar, conjugate(x), axis), y_shape)


cross_ = structural(
    "linalg_cross", cross_forward, cross_x, cross_y, grad_name="LinalgCrossBackward0"
)


@public(module="linalg", method=False, name="cross")
def linalg_cross(input: Any, other: Any, *, dim: int = -1) -> Any:
    """The cross products of vectors of length 3 along ``dim``; other dimensions broadcast."""
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = wrap_axis(dim, input.ndim)
    sizes = input._spec.shape[axis], other._spec.shape[axis]
    if sizes != (3, 3):
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and "
            f"{sizes[1]}"
        )
    check_same_dtype(input, other, "linalg.cross", "input", "other")
    check_batches(input, other, 0)
    return cross_(input, other, axis)


@public(numpy=[np.cross])
def cross(input: Any, other: Any, dim: int | None = None) -> Any:
    """`linalg.cross`; without ``dim`` along the first dimension of size 3."""
    if dim is None:
        found = [i for i, n in enumerate(input._spec.shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    return linalg_cross(input, other, dim=dim)


@public(module="linalg", method=False, name="diagonal")
def linalg_diagonal(A: Any, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """The diagonals of matrices, as the last dimension. A view."""
    return diagonal(A, offset, dim1, dim2)


@public(module="linalg", method=False)
def vecdot(x: Any, y: Any, *, dim: int = -1) -> Any:
    """The sums of ``x.conj() * y`` over ``dim``; other dimensions broadcast."""
    check_same_dtype(x, y, "linalg.vecdot", "x", "y")
    check_floating(x, "linalg.vecdot")
    return (x.conj() * y).sum(dim)


@public(numpy=[np.kron])
def kron(input: Any, other: Any) -> Any:
    """The Kronecker product: each element of ``input`` times all of ``other``, in blocks."""
    ndim = max(input.ndim, other.ndim)
    a = (1,) * (ndim - input.ndim) + tuple(input._spec.shape)
    b = (1,) * (ndim - other.ndim) + tuple(other._spec.shape)
    left = input.reshape([n for size in a for n in (size, 1)])
    right = other.reshape([n for size in b for n in (1, size)])
    return (left * right).reshape([m * n for m, n in zip(a, b, strict=True)])


@public(module="linalg", method=False, name="vander")
def linalg_vander(x: Any, *, N: int | None = None) -> Any:
    """Vandermonde matrices: ``x[..., i] ** j`` at (i, j), for j below N (default: as many as i)."""
    x = x.reshape(1) if not x.ndim else x
    count = x._spec.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    one = x.new_ones(*x._spec.shape, 1)
    powers = x.unsqueeze(-1).expand(*x._spec.shape, count - 1).cumprod(-1)
    return np.concatenate([one.to(powers.dtype), powers], axis=-1)


@public(method=False)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The Vandermonde matrix of a vector: falling powers, or ``increasing`` ones."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x._spec.shape[0] if N is None else N
    one = x.new_ones(*x._spec.shape, 1)
    parts = [one, x.unsqueeze(-1).expand(len(x), max(count - 1, 0)).cumprod(-1)]
    out: Any = np.concatenate([one.to(parts[1].dtype), parts[1]], axis=-1)[:, :count]
    return out if increasing else out.flip(-1)
