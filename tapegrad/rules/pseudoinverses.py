"""Pseudoinverses, ranks and least squares.

Source: Golub and Pereyra, *The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate*, 1973, equation 4.12; it holds where the rank is constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.matrices import (
    adjoint,
    check_batches,
    check_floating,
    check_matrix,
    check_same_dtype,
    check_square,
    fitted,
    lapack,
)
from tapegrad.rules.results import named

# -- what counts as 0 ------------------------------------------------------------------------------


def tolerances(A: Any, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """Both as numbers or arrays, with torch's defaults: the one that isn't given is 0.

    If neither is given rtol is the machine epsilon times the larger size.
    """
    atol, rtol = (getattr(t, "_array", t) for t in (atol, rtol))
    if rtol is None:
        epsilon = max(A._spec.shape[-2:]) * float(np.finfo(A._spec.dtype).eps)
        rtol = np.where(np.asarray(0.0 if atol is None else atol) > 0, 0.0, epsilon)
    return tuple(_plain(t) for t in (0.0 if atol is None else atol, rtol))


def _plain(value: Any) -> Any:
    """A parameter of a record: a number, which can be hashed, where it is one."""
    return float(value) if np.ndim(value) == 0 else np.expand_dims(np.asarray(value), -1)


def counted(size: np.ndarray, atol: Any, rtol: Any) -> np.ndarray:
    """Which singular values aren't 0."""
    largest = size.max(-1, keepdims=True) if size.shape[-1] else size
    return size > np.maximum(atol, rtol * largest)


# -- pseudoinverses --------------------------------------------------------------------------------


def pinv_forward(x, atol, rtol, hermitian):
    if hermitian:
        s, u = lapack.eigh_lo(x)
        v = u
    else:
        u, s, vh = lapack.svd_s(x)
        v = adjoint(vh)
    keep = counted(np.abs(s), atol, rtol)
    inverse = np.where(keep, 1 / np.where(keep, s, 1), 0).astype(s.dtype)
    return np.matmul(v * inverse[..., None, :], adjoint(u))


def pinv_x(out_bar, x, out):
    h, xh = adjoint(out_bar), adjoint(out)
    share = -np.matmul(xh, np.matmul(out_bar, xh))
    # (1 - A out) out_bar.mH out out.mH, and out.mH out out_bar.mH (1 - out A)
    first = np.matmul(np.matmul(h, out), xh)
    share = share + first - np.matmul(x, np.matmul(out, first))
    second = np.matmul(xh, np.matmul(out, h))
    return share + second - np.matmul(np.matmul(second, out), x)


pinv_ = structural("linalg_pinv", pinv_forward, pinv_x, grad_name="LinalgPinvBackward0")


@public(module="linalg", method=False, numpy=[np.linalg.pinv])
def pinv(A: Any, rcond: Any = None, hermitian: bool = False, *, atol: Any = None,
         rtol: Any = None) -> Any:  # fmt: skip
    """The Moore-Penrose pseudoinverses (..., n, m) of matrices (..., m, n).

    Singular values up to ``max(atol, rtol * largest)`` count as 0; by default rtol is the machine
    epsilon times the larger size, or 0 where atol is given. Both may be Tensors, one number for
    each matrix. With ``hermitian`` the lower triangle of Hermitian matrices is read.
    """
    if A.ndim < 2 or A._spec.dtype.kind not in "fc":
        raise RuntimeError(
            f"linalg.pinv({dtype_name(A)}{{{list(A.shape)}}}): expected a tensor with 2 or more "
            "dimensions of float, double, cfloat or cdouble types"
        )
    check_floating(A, "linalg.pinv")
    if hermitian:
        check_square(A, "linalg.pinv")
    rtol = rcond if rtol is None else rtol
    return pinv_(A, *tolerances(A, atol, rtol), bool(hermitian))


@public
def pinverse(input: Any, rcond: float = 1e-15) -> Any:
    """`linalg.pinv` with ``rtol=rcond``."""
    return pinv(input, rtol=rcond)


# -- ranks -----------------------------------------------------------------------------------------


def matrix_rank_forward(x, atol, rtol, hermitian):
    size = np.abs(lapack.eigvalsh_lo(x)) if hermitian else lapack.svd(x)
    return np.add.reduce(counted(size, atol, rtol), -1, np.int64)


matrix_rank_ = structural("linalg_matrix_rank", matrix_rank_forward, None)


@public(module="linalg", method=False, numpy=[np.linalg.matrix_rank])
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, atol: Any = None,
                rtol: Any = None) -> Any:  # fmt: skip
    """How many singular values of matrices (..., m, n) aren't 0, int64, as `pinv` counts them."""
    check_matrix(A, "linalg.matrix_rank", "input")
    check_floating(A, "linalg.matrix_rank")
    if hermitian:
        check_square(A, "linalg.matrix_rank")
    if tol is not None:
        atol, rtol = tol, 0.0
    return matrix_rank_(A, *tolerances(A, atol, rtol), bool(hermitian))


# -- least squares ---------------------------------------------------------------------------------


def lstsq_forward(x, y, rcond):
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    n, k = x.shape[-1], y.shape[-1]
    if not x.size or not y.size:
        size = min(x.shape[-2:])
        return (
            np.zeros((*batch, n, k), x.dtype),
            np.zeros(batch, np.int64),
            np.zeros((*batch, size), x.real.dtype),
        )
    out, _, rank, s = lapack.lstsq(x, y, x.real.dtype.type(rcond))
    return out, rank.astype(np.int64), s


def lstsq_x(out_bar, x, y, x_shape, rcond):
    # out = pinv(x) @ y
    inverse = pinv_(x, 0.0, rcond, False)
    return fitted(pinv_x(np.matmul(out_bar[0], adjoint(y)), x, inverse), x_shape)


def lstsq_y(out_bar, x, y_shape, rcond):
    return fitted(np.matmul(adjoint(pinv_(x, 0.0, rcond, False)), out_bar[0]), y_shape)


lstsq_ = structural(
    "linalg_lstsq", lstsq_forward, lstsq_x, lstsq_y, outputs=3, grad_name="LinalgLstsqBackward0"
)
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@public(module="linalg", method=False)
def lstsq(A: Any, B: Any, rcond: Any = None, *, driver: str | None = None) -> Any:
    """The X for which ``A @ X - B`` is least in the 2-norm, and of these the least X itself.

    A is (..., m, n); B a batch of matrices (..., m, k), or of vectors (..., m). Singular values up
    to ``rcond`` times the largest count as 0 (default: the machine epsilon times the larger size).

    Returns a named tuple: the solution (..., n, k); the residuals, the sums of squares of
    ``A @ X - B`` over its rows, (..., k), empty unless m > n, all of A have full rank, and a driver
    other than "gelsy", the default, is named; the rank (empty for "gels"); the singular values
    (empty but for "gelsd" and "gelss"). In fact all drivers compute by the singular values. The
    gradient holds where the rank is constant.
    """
    name = "torch.linalg.lstsq"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    check_floating(A, name)
    if driver is not None and driver not in DRIVERS:
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    check_same_dtype(A, B, name, "input", "other")
    m, n = A._spec.shape[-2:]
    vector = A.ndim - 1 == B.ndim and A._spec.shape[:-1] == B._spec.shape
    columns = B.unsqueeze(-1) if vector or B.ndim == 1 else B
    if columns._spec.shape[-2] != m:
        raise RuntimeError(
            f"{name}: input.size(-2) should match other.size({-1 if vector else -2})"
        )
    check_batches(A, columns)
    rcond = tolerances(A, None, rcond)[1]
    solution, rank, s = lstsq_(A, columns, rcond)
    if m > n and driver not in (None, "gelsy") and (rank._array == n).all():
        difference = np.matmul(A, solution) - columns
        residuals = difference.abs().square().sum(-2)
    else:
        residuals = solution.reshape(-1)[:0].abs()
    if driver == "gels":
        rank = rank.new_empty(0)
    s = s.detach() if driver in ("gelsd", "gelss") else s.new_empty(0)
    solution = solution.squeeze(-1) if columns is not B else solution
    return named("linalg_lstsq", ("solution", "residuals", "rank", "singular_values"))(
        solution, residuals, rank, s
    )
