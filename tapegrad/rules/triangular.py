"""Triangular systems, and systems solved with a Cholesky factor.

Source: Giles, *Collected matrix derivative results for forward and reverse mode algorithmic
differentiation*, 2008, section 2.3.1; the adjoint of a triangular matrix is its triangle of that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.diagonals import tril_, triu_
from tapegrad.rules.matrices import (
    adjoint,
    check_batches,
    check_columns,
    check_matrix,
    check_same_dtype,
    check_square,
    each,
    eye_like,
    fitted,
)
from tapegrad.rules.results import named


def solve_triangular_forward(x, y, upper, left, unitriangular):
    from scipy.linalg import get_blas_funcs

    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    out = np.empty((*batch, *y.shape[-2:]), y.dtype)
    if not out.size:
        return out
    trsm = get_blas_funcs("trsm", (x, y))
    x, y = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (x, y))
    # BLAS has columns where NumPy has rows, so it is given the transposes, which need no copy.
    side, lower, unit = int(left), int(upper), int(unitriangular)
    for i in each(batch):
        out[i] = trsm(1.0, x[i].T, y[i].T, side=side, lower=lower, diag=unit).T
    return out


def solve_triangular_x(out_bar, x, out, x_shape, upper, left, unitriangular):
    y_bar = solve_triangular_(adjoint(x), out_bar, not upper, left, unitriangular)
    turned = adjoint(out)
    share = np.matmul(y_bar, turned) if left else np.matmul(turned, y_bar)
    k = 1 if unitriangular else 0
    return -fitted(triu_(share, k) if upper else tril_(share, -k), x_shape)


def solve_triangular_y(out_bar, x, y_shape, upper, left, unitriangular):
    share = solve_triangular_(adjoint(x), out_bar, not upper, left, unitriangular)
    return fitted(share, y_shape)


solve_triangular_ = structural(
    "linalg_solve_triangular", solve_triangular_forward, solve_triangular_x, solve_triangular_y,
    grad_name="LinalgSolveTriangularBackward0",
)  # fmt: skip


@public(module="linalg", method=False)
def solve_triangular(
    A: Any, B: Any, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Any:
    """The X of ``A @ X = B`` or ``X @ A = B`` for triangular A; the other triangle isn't read.

    A is (..., n, n), B (..., n, k), or (..., k, n) if not ``left``; batches broadcast. With
    ``unitriangular`` the diagonal counts as 1 and isn't read. A 0 on it gives inf and nan.
    """
    name = "linalg.solve_triangular"
    check_same_dtype(A, B, name)
    check_square(A, name)
    check_matrix(B, name, "B")
    check_columns(A, B, left, name)
    check_batches(A, B)
    return solve_triangular_(A, B, bool(upper), bool(left), bool(unitriangular))


@public
def triangular_solve(
    input: Any, A: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """The X of ``A @ X = input`` for triangular A (of ``A.T @ X`` with ``transpose``), and A.

    A named tuple; `linalg.solve_triangular` is the newer name.
    """
    check_square(A, "triangular_solve")
    turned, lies = (A.mT, not upper) if transpose else (A, upper)
    solution = solve_triangular(turned, input, upper=lies, unitriangular=unitriangular)
    batch = solution.shape[:-2]
    cloned = A.expand(*batch, *A.shape[-2:]).clone()
    return named("triangular_solve", ("solution", "cloned_coefficient"))(solution, cloned)


@public
def cholesky_solve(input: Any, input2: Any, upper: bool = False) -> Any:
    """The X of ``A @ X = input``, given the Cholesky factor of A (or the ``upper`` one), input2.

    input is (..., n, k), input2 (..., n, n); batches broadcast.
    """
    first, second = (adjoint(input2), input2) if upper else (input2, adjoint(input2))
    half = solve_triangular(first, input, upper=False)
    return solve_triangular(second, half, upper=True)


@public
def cholesky_inverse(input: Any, upper: bool = False) -> Any:
    """The inverse of the matrix whose Cholesky factor is ``input`` (or the ``upper`` one)."""
    check_square(input, "cholesky_inverse")
    return cholesky_solve(input.new_tensor(eye_like(input)), input, upper)
