"""Cholesky and QR factorizations, and products of Householder reflectors.

Sources: Murray, *Differentiation of the Cholesky decomposition*, 2016; for QR Walter and Lehmann,
*Algorithmic differentiation of linear algebra functions with application in optimum experimental
design*, 2012, and for wide matrices Roberts and Roberts, *QR and LQ decomposition matrix
backpropagation algorithms*, 2020; for reflectors Schreiber and Van Loan, *A storage-efficient WY
representation for products of Householder transformations*, 1989.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.diagonals import triu_
from tapegrad.rules.lu import unit_lower
from tapegrad.rules.matrices import (
    adjoint,
    any_nan,
    check_floating,
    check_info,
    check_matrix,
    check_same_dtype,
    check_square,
    each,
    eye_like,
    lapack,
    lower_half,
    upper_half,
)
from tapegrad.rules.results import named
from tapegrad.rules.triangular import solve_triangular_

# -- Cholesky --------------------------------------------------------------------------------------


def cholesky_ex_forward(x, upper):
    out = (lapack.cholesky_up if upper else lapack.cholesky_lo)(x)
    info = np.zeros(x.shape[:-2], np.int32)
    if any_nan(out):
        from scipy.linalg import get_lapack_funcs

        potrf = get_lapack_funcs("potrf", (x,))
        for i in each(x.shape[:-2]):
            out[i], info[i] = potrf(x[i], lower=not upper)
    return out, info


def cholesky_ex_x(out_bar, out, upper):
    factor, bar = out[0], out_bar[0]
    if upper:
        factor, bar = adjoint(factor), adjoint(bar)
    turned = adjoint(factor)
    half = lower_half(np.matmul(turned, bar))
    left = solve_triangular_(turned, half, True, True, False)
    share = solve_triangular_(factor, left, False, False, False)
    return (share + adjoint(share)) * 0.5


cholesky_ex_ = structural(
    "linalg_cholesky_ex", cholesky_ex_forward, cholesky_ex_x, outputs=2,
    grad_name="LinalgCholeskyExBackward0",
)  # fmt: skip


def _check_positive(info: Any, name: str) -> None:
    check_info(
        info, name,
        "The factorization could not be completed because the input is not positive-definite (the "
        "leading minor of order {info} is not positive-definite).",
    )  # fmt: skip


@public(module="linalg", method=False)
def cholesky_ex(A: Any, *, upper: bool = False, check_errors: bool = False) -> Any:
    """`linalg.cholesky` that says in ``info`` (..., int32) what failed: (L, info).

    It is 0, or the order of the leading minor that isn't positive definite.
    """
    check_square(A, "linalg.cholesky")
    factor, info = cholesky_ex_(A, bool(upper))
    if check_errors:
        _check_positive(info, "linalg.cholesky_ex")
    return named("linalg_cholesky_ex", ("L", "info"))(factor, info)


@public(module="linalg", method=False, name="cholesky", numpy=[np.linalg.cholesky])
def linalg_cholesky(A: Any, *, upper: bool = False) -> Any:
    """The lower triangular L of ``A = L @ L.mH``, or with ``upper`` its conjugate transpose.

    A is a batch (..., n, n) of Hermitian positive-definite matrices, of which the lower (upper)
    triangle is read; the gradient is Hermitian. Raises LinAlgError for one that isn't such.
    """
    check_square(A, "linalg.cholesky")
    factor, info = cholesky_ex_(A, bool(upper))
    _check_positive(info, "linalg.cholesky")
    return factor


@public
def cholesky(input: Any, upper: bool = False) -> Any:
    """`linalg.cholesky`."""
    check_square(input, "cholesky")
    factor, info = cholesky_ex_(input, bool(upper))
    _check_positive(info, "cholesky")
    return factor


# -- QR --------------------------------------------------------------------------------------------


def qr_forward(x, complete):
    q, r = np.linalg.qr(x, "complete" if complete else "reduced")
    return q, r


def qr_x(out_bar, out, complete):
    q, r = out
    q_bar, r_bar = out_bar
    m, n = q.shape[-2], r.shape[-1]
    if complete and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
        )
    k = min(m, n)
    square = r[..., :k]
    within: Any = 0.0
    if r_bar is not None:
        within = np.matmul(r_bar[..., :k], adjoint(square))
    if n > k and r_bar is not None:
        # The columns to the right are adjoint(Q) times those of A: a product like any other.
        right, right_bar = r[..., k:], r_bar[..., k:]
        within = within - np.matmul(right, adjoint(right_bar))
    if q_bar is not None:
        within = within - np.matmul(adjoint(q), q_bar)
    half = upper_half(within)
    total = np.matmul(q, half + adjoint(half))
    if q_bar is not None:
        total = total + q_bar
    if n > k and r_bar is not None:
        total = total + np.matmul(q, np.matmul(right, adjoint(right_bar)))
    share = solve_triangular_(adjoint(square), total, False, False, False)
    if n == k:
        return share
    rest = np.matmul(q, r_bar[..., k:]) if r_bar is not None else q[..., :1] * np.zeros(n - k)
    return np.concatenate([share, rest], axis=-1)


qr_ = structural("linalg_qr", qr_forward, qr_x, outputs=2, grad_name="LinalgQrBackward0")


@public(module="linalg", method=False, name="qr", numpy=[np.linalg.qr])
def linalg_qr(A: Any, mode: str = "reduced") -> Any:
    """The factors of ``A = Q @ R``, Q with orthonormal columns, R upper triangular: (Q, R).

    A is (..., m, n). Mode "reduced": Q (..., m, k) and R (..., k, n), k the smaller of m and n;
    "complete": Q (..., m, m) and R (..., m, n), which has no gradient where m > n; "r": R alone,
    with an empty Q. The gradient asks that the first k columns be linearly independent.
    """
    check_matrix(A, "linalg.qr")
    check_floating(A, "linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    q, r = qr_(A, mode == "complete")
    return named("linalg_qr", ("Q", "R"))(q if mode != "r" else A.new_empty(0), r)


@public
def qr(input: Any, some: bool = True) -> Any:
    """`linalg.qr`: reduced, or complete if not ``some``."""
    return named("qr", ("Q", "R"))(*linalg_qr(input, "reduced" if some else "complete"))


# -- reflectors ------------------------------------------------------------------------------------


def geqrf_forward(x):
    h, tau = np.linalg.qr(x, "raw")
    return h.mT, tau


def geqrf_x(out_bar):
    raise NotImplementedError("the derivative for 'geqrf' is not implemented: use linalg.qr")


geqrf_ = structural("geqrf", geqrf_forward, geqrf_x, outputs=2)


@public
def geqrf(input: Any) -> Any:
    """R, with the reflectors whose product is Q below its diagonal, and their factors: (a, tau).

    Not differentiable: `linalg.qr` is.
    """
    check_matrix(input, "torch.geqrf", "input")
    check_floating(input, "torch.geqrf")
    return named("geqrf", ("a", "tau"))(*geqrf_(input))


def _reflected(A: Any, tau: Any, other: Any, turned: bool) -> Any:
    """The product of the reflectors ``1 - tau[i] * outer(v[i], v[i].conj())`` times ``other``.

    It is ``1 - V @ T @ V.mH`` with ``T = inverse(1 + D @ N) @ D``, where D has tau on its diagonal
    and N is the strictly upper triangle of ``V.mH @ V``. ``turned``: its conjugate transpose.
    """
    k = tau._spec.shape[-1]
    v = unit_lower(A[..., :k])
    scale = tau.unsqueeze(-1)
    upper = scale * triu_(np.matmul(v.mH, v), 1)
    upper = upper + eye_like(upper)
    inner = np.matmul(v.mH, other)
    if turned:
        half = scale.conj() * solve_triangular_(adjoint(upper), inner, False, True, True)
    else:
        half = solve_triangular_(upper, scale * inner, True, True, True)
    return other - np.matmul(v, half)


def _check_reflectors(A: Any, tau: Any, name: str) -> None:
    check_matrix(A, name, "input")
    check_floating(A, name)
    m, n = A._spec.shape[-2:]
    if m < n:
        raise RuntimeError(
            f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    if tau.ndim < 1 or n < tau._spec.shape[-1]:
        raise RuntimeError(
            f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
        )
    if A.ndim - tau.ndim != 1 or A._spec.shape[:-2] != tau._spec.shape[:-1]:
        raise RuntimeError(
            f"{name}: Expected input to have one more dimension than tau, and the same batch, but "
            f"got input of shape {list(A.shape)} and tau of shape {list(tau.shape)}"
        )
    check_same_dtype(A, tau, name, "input", "tau")


@public(module="linalg", method=False)
def householder_product(A: Any, tau: Any) -> Any:
    """The first n columns of a product of k Householder reflectors of size m: Q of `geqrf`.

    Column i of A (..., m, n) holds the i-th reflector below its diagonal, and tau (..., k) its
    factor. Raises RuntimeError unless m >= n >= k.
    """
    _check_reflectors(A, tau, "torch.linalg.householder_product")
    m, n = A._spec.shape[-2:]
    eye = A.new_tensor(np.eye(m, n, dtype=A._spec.dtype)).expand(*A.shape)
    return _reflected(A, tau, eye, False)


@public
def orgqr(input: Any, input2: Any) -> Any:
    """`linalg.householder_product`."""
    return householder_product(input, input2)


@public
def ormqr(input: Any, input2: Any, input3: Any, left: bool = True, transpose: bool = False) -> Any:
    """The product of Householder reflectors of `geqrf` (its adjoint with ``transpose``) and other.

    ``Q @ other``, or ``other @ Q`` if not ``left``, where Q is the whole square matrix. The
    reflectors are ``input``, their factors tau ``input2``, the other matrix ``input3``.
    """
    name = "torch.ormqr"
    tau, other = input2, input3
    check_matrix(input, name, "input")
    check_floating(input, name)
    check_matrix(other, name, "other")
    where = -2 if left else -1
    if other._spec.shape[where] != input._spec.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{where}] must be equal to input.shape[-2]")
    if other._spec.shape[where] < tau._spec.shape[-1]:
        raise RuntimeError(
            f"{name}: other.shape[{where}] must be greater than or equal to tau.shape[-1]"
        )
    if left:
        return _reflected(input, tau, other, transpose)
    # other @ Q is the conjugate transpose of Q.mH @ other.mH.
    return _reflected(input, tau, other.mH, not transpose).mH
