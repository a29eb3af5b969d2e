"""Inverses and linear systems.

Source: Giles, *Collected matrix derivative results for forward and reverse mode algorithmic
differentiation*, 2008, sections 2.2.3 and 2.3.1; for complex matrices with adjoints in place of
transposes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.lu import lu_factor_forward
from tapegrad.rules.matrices import (
    adjoint,
    any_nan,
    check_batches,
    check_columns,
    check_floating,
    check_info,
    check_matrix,
    check_same_dtype,
    check_square,
    fitted,
    lapack,
)
from tapegrad.rules.results import named

# -- inverses --------------------------------------------------------------------------------------


def zero_pivots(x: np.ndarray, failed: bool) -> np.ndarray:
    """For each matrix the number (from 1) of the pivot that is 0; 0 where none is."""
    if failed:
        return lu_factor_forward(x)[2]
    return np.zeros(x.shape[:-2], np.int32)


def inv_ex_forward(x):
    out = lapack.inv(x)
    return out, zero_pivots(x, any_nan(out))


def inv_ex_x(out_bar, out):
    turned = adjoint(out[0])
    return -np.matmul(turned, np.matmul(out_bar[0], turned))


inv_ex_ = structural(
    "linalg_inv_ex", inv_ex_forward, inv_ex_x, outputs=2, grad_name="LinalgInvExBackward0"
)
SINGULAR = (
    "The diagonal element {info} is zero, the inversion could not be completed because the input "
    "matrix is singular."
)


@public(module="linalg", method=False)
def inv_ex(A: Any, *, check_errors: bool = False) -> Any:
    """The inverses of square matrices (..., n, n), and what went wrong: a named tuple.

    ``info`` (..., int32) is 0, or k where the k-th pivot is 0: that inverse is nan. With
    ``check_errors`` it raises LinAlgError instead.
    """
    check_square(A, "linalg.inv")
    inverse, info = inv_ex_(A)
    if check_errors:
        check_info(info, "linalg.inv_ex", SINGULAR)
    return named("linalg_inv_ex", ("inverse", "info"))(inverse, info)


@public(module="linalg", method=False, numpy=[np.linalg.inv])
def inv(A: Any) -> Any:
    """The inverses of square matrices (..., n, n). Raises LinAlgError for a singular one."""
    check_square(A, "linalg.inv")
    inverse, info = inv_ex_(A)
    check_info(info, "linalg.inv", SINGULAR)
    return inverse


@public
def inverse(input: Any) -> Any:
    """`linalg.inv`."""
    return inv(input)


# -- systems ---------------------------------------------------------------------------------------


def solve_ex_forward(x, y, left):
    # out @ x = y  <=>  x.T @ out.T = y.T
    out = lapack.solve(x, y) if left else lapack.solve(x.mT, y.mT).mT
    info = zero_pivots(x, any_nan(out))
    return out, np.array(np.broadcast_to(info, out.shape[:-2]))


def solve_ex_x(out_bar, x, out, x_shape, left):
    y_bar = solve_ex_(adjoint(x), out_bar[0], left)[0]
    turned = adjoint(out[0])
    share = np.matmul(y_bar, turned) if left else np.matmul(turned, y_bar)
    return -fitted(share, x_shape)


def solve_ex_y(out_bar, x, y_shape, left):
    return fitted(solve_ex_(adjoint(x), out_bar[0], left)[0], y_shape)


solve_ex_ = structural(
    "linalg_solve_ex", solve_ex_forward, solve_ex_x, solve_ex_y, outputs=2,
    grad_name="LinalgSolveExBackward0",
)  # fmt: skip


@public(module="linalg", method=False)
def solve_ex(A: Any, B: Any, *, left: bool = True, check_errors: bool = False) -> Any:
    """`solve` that says in ``info`` (..., int32) which pivot is 0, if one is: a named tuple.

    The solution is nan there. With ``check_errors`` it raises LinAlgError instead.
    """
    result, info = _solution(A, B, left)
    if check_errors:
        _check_solved(info, "torch.linalg.solve_ex")
    return named("linalg_solve_ex", ("result", "info"))(result, info)


@public(module="linalg", method=False, numpy=[np.linalg.solve])
def solve(A: Any, B: Any, *, left: bool = True) -> Any:
    """The X of ``A @ X = B``, or of ``X @ A = B`` if not ``left``.

    A is a batch of square matrices (..., n, n); B of matrices (..., n, k), or a batch of vectors:
    (n,), or of the shape of A without its last dimension. Batches broadcast. Raises LinAlgError
    if a matrix is singular, RuntimeError for shapes and dtypes that don't fit.
    """
    result, info = _solution(A, B, left)
    _check_solved(info, "torch.linalg.solve")
    return result


def _check_solved(info: Any, name: str) -> None:
    check_info(info, name, "The solver failed because the input matrix is singular.")


def _is_vector(A: Any, B: Any) -> bool:
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B._spec.shape == A._spec.shape[:-1])


def _solution(A: Any, B: Any, left: bool) -> tuple[Any, Any]:
    check_floating(A, "linalg.solve")
    check_same_dtype(A, B, "linalg.solve")
    check_square(A, "linalg.solve")
    if not _is_vector(A, B):
        check_matrix(B, "linalg.solve", "B")
        check_columns(A, B, left, "linalg.solve")
        check_batches(A, B)
        result: Any = solve_ex_(A, B, bool(left))
        return result[0], result[1]
    if not left:
        raise RuntimeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for "
            "left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    column = B.unsqueeze(-1)
    check_columns(A, column, True, "linalg.solve")
    check_batches(A, column)
    result = solve_ex_(A, column, True)
    return result[0].squeeze(-1), result[1]


# -- tensors as matrices ---------------------------------------------------------------------------


@public(module="linalg", method=False, numpy=[np.linalg.tensorinv])
def tensorinv(A: Any, ind: int = 2) -> Any:
    """The inverse with respect to `tensordot` over ``ind`` dimensions.

    The sizes of A's first ``ind`` dimensions and those of the others have the same product.
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = A._spec.shape
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {columns} != {rows}"
        )
    return inv(A.reshape(rows, columns)).reshape(*shape[ind:], *shape[:ind])


@public(module="linalg", method=False, numpy=[np.linalg.tensorsolve])
def tensorsolve(A: Any, B: Any, dims: Any = None) -> Any:
    """The X of ``tensordot(A, X, X.ndim) = B``; ``dims`` of A are moved to the end first."""
    if dims is not None:
        axes = [wrap_axis(d, A.ndim) for d in dims]
        A = A.movedim(axes, list(range(A.ndim - len(axes), A.ndim)))
    shape = A._spec.shape
    rows, columns = math.prod(shape[: B.ndim]), math.prod(shape[B.ndim :])
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {columns} != {rows}"
        )
    return solve(A.reshape(rows, columns), B.reshape(-1)).reshape(*shape[B.ndim :])
