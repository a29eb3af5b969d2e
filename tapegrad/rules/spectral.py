"""Eigenvalues and eigenvectors, singular values and vectors.

Vectors are determined up to a sign (a phase, for complex ones), and only functions that don't
depend on it have a gradient. Where eigenvalues or singular values meet, that of the vectors is
infinite or nan.

Sources: Giles, *Collected matrix derivative results*, 2008, section 3; Townsend, *Differentiating
the singular value decomposition*, 2016; Wan and Zhang, *Automatic differentiation for complex
valued SVD*, 2019; Boeddeker et al., *On the computation of complex-valued gradients with
application to statistically optimum beamforming*, 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import all_values, public
from tapegrad.primitive import structural
from tapegrad.rules.conversion import real_
from tapegrad.rules.diagonals import diagonal_copy
from tapegrad.rules.matrices import (
    LinAlgError,
    adjoint,
    any_nan,
    check_floating,
    check_matrix,
    check_square,
    diagonal_matrix,
    dtype_of,
    is_complex,
    lapack,
    off_diagonal,
    real_of,
)
from tapegrad.rules.results import named
from tapegrad.rules.solvers import solve_ex_


def gaps(x: Any) -> Any:
    """``x[j] - x[i]`` at (i, j), and 1 on the diagonal."""
    wide = np.expand_dims(x, -2) - np.expand_dims(x, -1)
    return wide + np.eye(x.shape[-1], dtype=dtype_of(x))


def diagonal_of(x: Any) -> Any:
    """The diagonal of square matrices, as the last dimension."""
    return diagonal_copy(x, 0, -2, -1)


def check_phase(turns: Any, name: str, vectors: str) -> None:
    """Raise RuntimeError if a function depends on the phase of complex vectors.

    ``turns`` holds on its diagonal the derivative by each phase, as the imaginary part.
    """
    if not is_complex(turns):
        return
    turns = all_values(turns)
    slope = np.abs(diagonal_of(turns).imag)
    if np.any(slope > 1e-2 * (1 + np.abs(turns).max(initial=0))):
        raise RuntimeError(
            f"{name}_backward: The {vectors} in the complex case are specified up to "
            "multiplication by e^{i phi}. The specified loss function depends on this quantity, so "
            "it is ill-defined."
        )


# -- Hermitian matrices ----------------------------------------------------------------------------


def eigh_forward(x, upper):
    return (lapack.eigh_up if upper else lapack.eigh_lo)(x)


def eigh_x(out_bar, out):
    values, vectors = out
    values_bar, vectors_bar = out_bar
    turned = adjoint(vectors)
    if vectors_bar is None:
        return np.matmul(vectors * np.expand_dims(values_bar, -2), turned)
    inner = np.matmul(turned, vectors_bar)
    check_phase(inner, "linalg_eigh", "eigenvectors")
    # A turn of the vectors is skew: so the share is Hermitian, as the matrix.
    inner = off_diagonal(0.5 * (inner - adjoint(inner)) / gaps(values))
    if values_bar is not None:
        inner = inner + diagonal_matrix(values_bar)
    return np.matmul(vectors, np.matmul(inner, turned))


def eigvalsh_forward(x, upper):
    return (lapack.eigvalsh_up if upper else lapack.eigvalsh_lo)(x)


eigh_ = structural("linalg_eigh", eigh_forward, eigh_x, outputs=2, grad_name="LinalgEighBackward0")
#: Without the vectors, which only the gradient needs: several times quicker.
eigvalsh_ = structural("linalg_eigvalsh", eigvalsh_forward, None)


def _upper(A: Any, uplo: str, name: str) -> bool:
    check_square(A, name)
    if uplo.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return uplo.upper() == "U"


@public(module="linalg", method=False, numpy=[np.linalg.eigh])
def eigh(A: Any, UPLO: str = "L") -> Any:
    """Eigenvalues (ascending, real) and eigenvectors of Hermitian matrices: a named tuple.

    A is (..., n, n), of which the lower ("L") or upper ("U") triangle is read. The eigenvectors
    are the columns of a unitary matrix, each up to its sign or phase.
    """
    return named("linalg_eigh", ("eigenvalues", "eigenvectors"))(
        *eigh_(A, _upper(A, UPLO, "linalg.eigh"))
    )


@public(module="linalg", method=False, numpy=[np.linalg.eigvalsh])
def eigvalsh(A: Any, UPLO: str = "L") -> Any:
    """The eigenvalues of Hermitian matrices, as `eigh`."""
    upper = _upper(A, UPLO, "linalg.eigvalsh")
    return eigh_(A, upper)[0] if A.requires_grad else eigvalsh_(A, upper)


# -- square matrices -------------------------------------------------------------------------------


def eig_forward(x, real):
    values, vectors = lapack.eig(x)
    wide = np.result_type(x.dtype, np.complex64)
    return values.astype(wide, copy=False), vectors.astype(wide, copy=False)


def eig_x(out_bar, out, real):
    values, vectors = out
    values_bar, vectors_bar = out_bar
    turned = adjoint(vectors)
    if vectors_bar is None:
        inner = np.expand_dims(values_bar, -1) * turned
    else:
        within = np.matmul(turned, vectors_bar)
        check_phase(within, "linalg_eig", "eigenvectors")
        # Vectors of length 1: what would lengthen them is taken out.
        length = np.expand_dims(real_of(diagonal_of(within)), -2)
        within = within - np.matmul(turned, vectors) * length
        within = off_diagonal(within / np.conjugate(gaps(values)))
        if values_bar is not None:
            within = within + diagonal_matrix(values_bar)
        inner = np.matmul(within, turned)
    share = solve_ex_(turned, inner, True)[0]
    return real_(share, dtype_of(share)) if real else share


def eigvals_forward(x):
    return lapack.eigvals(x).astype(np.result_type(x.dtype, np.complex64), copy=False)


eigvals_ = structural("linalg_eigvals", eigvals_forward, None)
eig_ = structural("linalg_eig", eig_forward, eig_x, outputs=2, grad_name="LinalgEigBackward0")


def _check_finite(A: Any, name: str) -> None:
    check_square(A, name)
    if not np.isfinite(all_values(A)).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")


@public(module="linalg", method=False, numpy=[np.linalg.eig])
def eig(A: Any) -> Any:
    """Eigenvalues and eigenvectors of square matrices (..., n, n), both complex: a named tuple.

    The eigenvectors are columns of length 1, each up to its phase. Raises RuntimeError for inf and
    nan.
    """
    _check_finite(A, "linalg.eig")
    return named("linalg_eig", ("eigenvalues", "eigenvectors"))(*eig_(A, not is_complex(A)))


@public(module="linalg", method=False, numpy=[np.linalg.eigvals])
def eigvals(A: Any) -> Any:
    """The eigenvalues of square matrices, complex, as `eig`."""
    _check_finite(A, "linalg.eigvals")
    return eig_(A, not is_complex(A))[0] if A.requires_grad else eigvals_(A)


# -- singular values -------------------------------------------------------------------------------


def svd_forward(x, full):
    return (lapack.svd_f if full else lapack.svd_s)(x)


def svd_x(out_bar, out):
    u, s, vh = out
    u_bar, s_bar, vh_bar = out_bar
    k = s.shape[-1]
    # Of square U and V only the first k columns have a gradient.
    u, vh = u[..., :k], vh[..., :k, :]
    if u_bar is None and vh_bar is None:
        return np.matmul(u * np.expand_dims(s_bar, -2), vh)
    rows, columns = np.expand_dims(s, -1), np.expand_dims(s, -2)
    spread = gaps(s) * (rows + columns)
    inner: Any = 0.0 if s_bar is None else diagonal_matrix(s_bar)
    turns: Any = 0.0
    if u_bar is not None:
        u_bar = u_bar[..., :k]
        within = np.matmul(adjoint(u), u_bar)
        turns = turns + within
        skew = within - adjoint(within)
        inner = inner + off_diagonal(skew / spread) * columns
        if is_complex(u):
            inner = inner + diagonal_matrix(diagonal_of(skew) / (2 * s))
    if vh_bar is not None:
        vh_bar = vh_bar[..., :k, :]
        within = adjoint(np.matmul(vh_bar, adjoint(vh)))
        turns = turns + within
        inner = inner + rows * off_diagonal((within - adjoint(within)) / spread)
    check_phase(turns, "linalg_svd", "singular vectors")
    share = np.matmul(u, np.matmul(inner, vh))
    if u_bar is not None and u.shape[-2] > k:
        outside = (u_bar - np.matmul(u, np.matmul(adjoint(u), u_bar))) / columns
        share = share + np.matmul(outside, vh)
    if vh_bar is not None and vh.shape[-1] > k:
        outside = (vh_bar - np.matmul(np.matmul(vh_bar, adjoint(vh)), vh)) / rows
        share = share + np.matmul(u, outside)
    return share


def svdvals_forward(x):
    return lapack.svd(x)


svdvals_ = structural("linalg_svdvals", svdvals_forward, None)
svd_ = structural("linalg_svd", svd_forward, svd_x, outputs=3, grad_name="LinalgSvdBackward0")


def _singular(A: Any, full: bool | None, name: str, driver: Any = None) -> Any:
    check_matrix(A, name)
    check_floating(A, name)
    if driver is not None:
        raise RuntimeError(
            f"torch.{name}: keyword argument `driver=` is only supported on CUDA inputs with "
            "cuSOLVER backend."
        )
    out: Any = (None, svdvals_(A), None) if full is None else svd_(A, full)
    if any_nan(all_values(out[1])[..., None]):
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix contained "
            "non-finite values."
        )
    return out


@public(module="linalg", method=False, name="svd", numpy=[np.linalg.svd])
def linalg_svd(A: Any, full_matrices: bool = True, *, driver: Any = None) -> Any:
    """The factors of ``A = U @ diag(S) @ Vh``: unitary U and Vh, singular values S, descending.

    A is (..., m, n); k is the smaller of m and n. With ``full_matrices`` U is (..., m, m) and Vh
    (..., n, n), of which only the first k columns (rows) have a gradient; else (..., m, k) and
    (..., k, n). S is (..., k), real. Raises LinAlgError for nan and inf.
    """
    return named("linalg_svd", ("U", "S", "Vh"))(
        *_singular(A, bool(full_matrices), "linalg.svd", driver)
    )


@public(module="linalg", method=False, numpy=[np.linalg.svdvals])
def svdvals(A: Any, *, driver: Any = None) -> Any:
    """The singular values of matrices (..., m, n), descending, as `svd`."""
    return _singular(A, False if A.requires_grad else None, "linalg.svdvals", driver)[1]


@public
def svd(input: Any, some: bool = True, compute_uv: bool = True) -> Any:
    """The factors of ``input = U @ diag(S) @ V.mH``, as `linalg.svd`: (U, S, V).

    Square U and V if not ``some``; zeros for them if not ``compute_uv``.
    """
    u, s, vh = _singular(input, not some, "linalg.svd")
    if not compute_uv:
        m, n = input._spec.shape[-2:]
        u, vh = u.new_zeros(*u.shape[:-2], m, m), u.new_zeros(*u.shape[:-2], n, n)
    return named("svd", ("U", "S", "V"))(u, s, vh.mH)
