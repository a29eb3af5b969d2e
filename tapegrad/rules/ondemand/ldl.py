"""LDL factorizations of symmetric and Hermitian matrices, and systems solved with them.

Source: Bunch and Kaufman, *Some stable methods for calculating inertia and solving symmetric linear
systems*, 1977; LAPACK's sytrf and hetrf.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.matrices import (
    check_batches,
    check_columns,
    check_info,
    check_matrix,
    check_same_dtype,
    check_square,
    each,
    fitted,
)
from tapegrad.rules.results import named


def routine(name: str, x: np.ndarray, hermitian: bool) -> Any:
    """LAPACK's ``sytrf`` or ``sytrs``, or for Hermitian complex matrices ``hetrf`` or ``hetrs``."""
    from scipy.linalg import get_lapack_funcs

    kind = "he" if hermitian and x.dtype.kind == "c" else "sy"
    return get_lapack_funcs(kind + name, (x,))


def ldl_factor_forward(x, hermitian):
    out = np.tril(x)
    pivots, info = np.zeros(x.shape[:-1], np.int32), np.zeros(x.shape[:-2], np.int32)
    if x.size:
        trf = routine("trf", x, hermitian)
        for i in each(x.shape[:-2]):
            out[i], pivots[i], info[i] = trf(x[i], lower=1)
    return np.tril(out), pivots, info


def ldl_factor_x(out_bar):
    raise NotImplementedError(
        "the derivative for 'linalg_ldl_factor_ex' is not implemented: use linalg.solve"
    )


def ldl_solve_forward(x, y, z, hermitian):
    batch = np.broadcast_shapes(x.shape[:-2], z.shape[:-2])
    out = np.empty((*batch, *z.shape[-2:]), z.dtype)
    if out.size:
        trs = routine("trs", x, hermitian)
        x, z = (np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in (x, z))
        y = np.broadcast_to(y, (*batch, y.shape[-1]))
        for i in each(batch):
            out[i], _ = trs(x[i], y[i], z[i], lower=1)
    return out


def ldl_solve_x(out_bar):
    raise NotImplementedError(
        "the derivative for 'linalg_ldl_solve' by LD is not implemented: use linalg.solve"
    )


def ldl_solve_z(out_bar, x, y, z_shape, hermitian):
    if hermitian:
        return fitted(ldl_solve_(x, y, out_bar, hermitian), z_shape)
    return fitted(np.conjugate(ldl_solve_(x, y, np.conjugate(out_bar), hermitian)), z_shape)


ldl_factor_ = structural(
    "linalg_ldl_factor_ex", ldl_factor_forward, ldl_factor_x, outputs=3,
    grad_name="LinalgLdlFactorExBackward0",
)  # fmt: skip
ldl_solve_ = structural(
    "linalg_ldl_solve", ldl_solve_forward, ldl_solve_x, None, ldl_solve_z,
    grad_name="LinalgLdlSolveBackward0",
)  # fmt: skip


def _check_pivots(info: Any, name: str) -> None:
    check_info(info, name, "D[{info},{info}] is zero: the matrix is singular.")


@public(module="linalg", method=False)
def ldl_factor_ex(A: Any, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """`ldl_factor` that says in ``info`` (..., int32) which pivot is 0, if one is."""
    check_square(A, "torch.linalg.ldl_factor_ex")
    out = ldl_factor_(A, bool(hermitian))
    if check_errors:
        _check_pivots(out[2], "torch.linalg.ldl_factor_ex")
    return named("linalg_ldl_factor_ex", ("LD", "pivots", "info"))(*out)


@public(module="linalg", method=False)
def ldl_factor(A: Any, *, hermitian: bool = False) -> Any:
    """The compact factorization ``L @ D @ L.mT`` of symmetric matrices, for `ldl_solve`.

    With ``hermitian`` of Hermitian ones, ``L @ D @ L.mH``. Returns (LD, pivots) as LAPACK has
    them, D with blocks of size 1 and 2. Not differentiable. Raises LinAlgError for a singular D.
    """
    check_square(A, "torch.linalg.ldl_factor")
    ld, pivots, info = ldl_factor_(A, bool(hermitian))
    _check_pivots(info, "torch.linalg.ldl_factor")
    return named("linalg_ldl_factor", ("LD", "pivots"))(ld, pivots)


@public(module="linalg", method=False)
def ldl_solve(LD: Any, pivots: Any, B: Any, *, hermitian: bool = False) -> Any:
    """The X of ``A @ X = B`` for the A that `ldl_factor` has factored. Differentiable by B."""
    name = "torch.linalg.ldl_solve"
    check_square(LD, name, "LD")
    check_matrix(B, name, "B")
    check_same_dtype(LD, B, name, "LD")
    check_columns(LD, B, True, name)
    check_batches(LD, B)
    return ldl_solve_(LD, pivots, B, bool(hermitian))
