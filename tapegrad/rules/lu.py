"""LU factorizations with partial pivoting, and systems solved with them.

Source of the gradient: from P.T A = L U follows
L^-1 (P.T dA) U^-1 = L^-1 dL + dU U^-1, a strictly lower and an upper triangular matrix (Walter and
Lehmann, *Algorithmic differentiation of linear algebra functions*, 2012). Where A isn't square the
rows below, or the columns to the right of, the leading block follow from triangular systems.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.diagonals import tril_, triu_
from tapegrad.rules.matrices import (
    LinAlgError,
    adjoint,
    check_columns,
    check_floating,
    check_info,
    check_matrix,
    check_same_dtype,
    check_square,
    dtype_of,
    each,
)
from tapegrad.rules.results import named
from tapegrad.rules.triangular import solve_triangular_


def lu_factor_forward(x):
    from scipy.linalg import get_lapack_funcs

    batch, (m, n) = x.shape[:-2], x.shape[-2:]
    k = min(m, n)
    out = np.array(x, order="C")
    pivots, info = np.zeros((*batch, k), np.int32), np.zeros(batch, np.int32)
    if x.size:
        getrf = get_lapack_funcs("getrf", (x,))
        for i in each(batch):
            out[i], pivots[i], info[i] = getrf(x[i])
        pivots += 1  # SciPy counts from 0
    return out, pivots, info


def lu_factor_x(out_bar, out):
    lu, lu_bar = out[0], out_bar[0]
    m, n = lu.shape[-2:]
    k = min(m, n)
    lower, upper = unit_lower(lu[..., :k, :k]), triu_(lu[..., :k, :k], 0)
    l_bar, u_bar = tril_(lu_bar, -1)[..., :k], triu_(lu_bar, 0)[..., :k, :]
    right, right_bar = lu[..., :k, k:], u_bar[..., k:]
    below, below_bar = lu[..., k:, :], l_bar[..., k:, :]
    from_l = np.matmul(adjoint(lower), l_bar[..., :k, :])
    from_u = np.matmul(u_bar[..., :k], adjoint(upper))
    if n > k:
        from_l = from_l - np.matmul(right_bar, adjoint(right))
    if m > k:
        from_u = from_u - np.matmul(adjoint(below), below_bar)
    square = divided(left_divided(lower, tril_(from_l, -1) + triu_(from_u, 0)), upper)
    if n > k:
        square = np.concatenate([square, left_divided(lower, right_bar)], axis=-1)
    if m > k:
        square = np.concatenate([square, divided(below_bar, upper)], axis=-2)
    return np.matmul(permutation(out[1], m, dtype_of(lu)), square)


def left_divided(lower: Any, x: Any) -> Any:
    """The solution of ``adjoint(lower) @ out = x``, with 1 on the diagonal."""
    return solve_triangular_(adjoint(lower), x, True, True, True)


def divided(x: Any, upper: Any) -> Any:
    """The solution of ``out @ adjoint(upper) = x``."""
    return solve_triangular_(adjoint(upper), x, False, False, False)


def unit_lower(x: Any) -> Any:
    """The lower triangle with 1 on the diagonal."""
    m, n = x.shape[-2:]
    return tril_(x, -1) + np.eye(m, n, dtype=dtype_of(x))


def permutation_forward(pivots, n, dtype):
    """The matrix P of ``A = P @ L @ U``, from the rows with which each was swapped (from 1)."""
    batch = pivots.shape[:-1]
    rows = np.array(np.broadcast_to(np.arange(n), (*batch, n)))
    for i in each(batch):
        row = rows[i]
        for k, p in enumerate(pivots[i]):
            row[k], row[p - 1] = row[p - 1], row[k]
    out = np.zeros((*batch, n, n), dtype)
    np.put_along_axis(out, rows[..., None, :], 1, -2)
    return out


permutation = structural("lu_permutation", permutation_forward, None)


lu_factor_ = structural(
    "linalg_lu_factor_ex", lu_factor_forward, lu_factor_x, outputs=3,
    grad_name="LinalgLuFactorExBackward0",
)  # fmt: skip


def _factored(A: Any, pivot: bool, name: str) -> Any:
    check_matrix(A, name)
    check_floating(A, name)
    if not pivot:
        raise RuntimeError(f"{name}: LU without pivoting is not implemented on the CPU")
    return lu_factor_(A)


def _check_pivots(info: Any, name: str) -> None:
    try:
        check_info(
            info, name,
            "U[{info},{info}] is zero and using it on lu_solve would result in a division by zero. "
            "If you still want to perform the factorization, consider calling linalg.lu(A, pivot) "
            "or linalg.lu_factor_ex(A, pivot)",
        )  # fmt: skip
    except LinAlgError as error:
        raise RuntimeError(str(error)) from None  # as torch: here it isn't a LinAlgError


@public(module="linalg", method=False)
def lu_factor_ex(A: Any, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """`lu_factor` that says in ``info`` which pivot is 0, if one is: (LU, pivots, info)."""
    out = _factored(A, pivot, "linalg.lu_factor_ex")
    if check_errors:
        _check_pivots(out[2], "torch.linalg.lu_factor_ex")
    return named("linalg_lu_factor_ex", ("LU", "pivots", "info"))(*out)


@public(module="linalg", method=False)
def lu_factor(A: Any, *, pivot: bool = True) -> Any:
    """The compact LU factorization of matrices (..., m, n), for `lu_solve`: (LU, pivots).

    LU holds U, and below its diagonal L without its own, which is 1. The k-th row was swapped with
    row ``pivots[k]``, counted from 1 (int32). Raises RuntimeError for a pivot that is 0.
    """
    lu, pivots, info = _factored(A, pivot, "linalg.lu_factor")
    _check_pivots(info, "torch.linalg.lu_factor")
    return named("linalg_lu_factor", ("LU", "pivots"))(lu, pivots)


@public(module="linalg", method=False)
def lu(A: Any, *, pivot: bool = True) -> Any:
    """The factors of ``A = P @ L @ U`` of matrices (..., m, n): (P, L, U), a named tuple."""
    out = _factored(A, pivot, "linalg.lu")
    return named("linalg_lu", ("P", "L", "U"))(*_unpacked(out[0], out[1]))


def _unpacked(lu: Any, pivots: Any) -> tuple[Any, Any, Any]:
    m, n = lu._spec.shape[-2:]
    k = min(m, n)
    matrix = permutation(pivots, m, lu._spec.dtype)
    return matrix, unit_lower(lu[..., :k]), triu_(lu[..., :k, :], 0)


@public(name="lu")
def lu_packed(A: Any, pivot: bool = True, get_infos: bool = False) -> Any:
    """`linalg.lu_factor`; with ``get_infos`` `linalg.lu_factor_ex`."""
    lu, pivots, info = _factored(A, pivot, "lu")
    if get_infos:
        return named("_lu_with_info", ("LU", "pivots", "info"))(lu, pivots, info)
    return lu, pivots


def _check_integers(pivots: Any, name: str, argument: str) -> None:
    if pivots._spec.dtype != np.int32:
        raise RuntimeError(
            f"{name}: {argument} is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by "
            "torch.linalg.lu_factor"
        )


@public(method=False)
def lu_unpack(
    LU_data: Any, LU_pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True
) -> Any:
    """The matrices P, L and U of a compact factorization: a named tuple.

    What isn't wanted is an empty Tensor.
    """
    if unpack_pivots:
        _check_integers(LU_pivots, "torch.lu_unpack", "LU_pivots")
    empty = LU_data.new_empty(0)
    parts = _unpacked(LU_data, LU_pivots) if unpack_pivots or unpack_data else (empty,) * 3
    p = parts[0] if unpack_pivots else empty
    lower, upper = parts[1:] if unpack_data else (empty, empty)
    return named("lu_unpack", ("P", "L", "U"))(p, lower, upper)


@public(module="linalg", method=False, name="lu_solve")
def lu_solve_factored(
    LU: Any, pivots: Any, B: Any, *, left: bool = True, adjoint: bool = False
) -> Any:
    """The X of ``A @ X = B`` for the A that `lu_factor` has factored.

    Or of ``X @ A = B`` if not ``left``; with ``adjoint`` of the conjugate transpose of A. B is
    (..., n, k) or (..., k, n); batches broadcast.
    """
    check_floating(LU, "torch.linalg.lu_solve")
    check_same_dtype(LU, B, "linalg.lu_solve", "LU")
    _check_integers(pivots, "linalg.lu_solve", "pivots")
    check_square(LU, "torch.linalg.lu_solve", "LU")
    check_matrix(B, "torch.linalg.lu_solve", "B")
    check_columns(LU, B, left, "torch.linalg.lu_solve")
    if not left:
        return _solved(LU, pivots, B.mH, not adjoint).mH
    return _solved(LU, pivots, B, adjoint)


def _solved(lu: Any, pivots: Any, y: Any, turned: bool) -> Any:
    n = lu._spec.shape[-1]
    p = permutation(pivots, n, lu._spec.dtype)
    if turned:
        half = solve_triangular_(lu.mH, y, False, True, False)
        return np.matmul(p, solve_triangular_(lu.mH, half, True, True, True))
    half = solve_triangular_(lu, np.matmul(p.mT, y), False, True, True)
    return solve_triangular_(lu, half, True, True, False)


@public
def lu_solve(input: Any, LU_data: Any, LU_pivots: Any) -> Any:
    """`linalg.lu_solve`, with its arguments in another order."""
    return lu_solve_factored(LU_data, LU_pivots, input)
