"""Determinants and their logarithms.

Source: Jacobi's formula, as in Giles, *Collected matrix derivative results*, 2008, section 2.2.4;
for singular matrices the adjugate from the singular values, as in Stewart, *On the adjugate
matrix*, 1998, and its derivative from the expansion of ``det(S + P)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import all_values, public
from tapegrad.primitive import structural
from tapegrad.rules.diagonals import diagonal_copy
from tapegrad.rules.matrices import (
    adjoint,
    check_square,
    diagonal_matrix,
    dtype_of,
    is_complex,
    lapack,
    off_diagonal,
)
from tapegrad.rules.reductions import others
from tapegrad.rules.results import named
from tapegrad.rules.solvers import inv_ex_
from tapegrad.rules.spectral import svd_


def matrixwise(x: Any) -> Any:
    """Numbers that multiply matrices."""
    return np.expand_dims(x, (-1, -2)) if type(x) is np.ndarray else x[..., None, None]


def det_forward(x):
    return lapack.det(x)


def det_x(out_bar, x, out):
    inverse = inv_ex_(x)[0]
    if well_conditioned(x, inverse):
        return matrixwise(out_bar * np.conjugate(out)) * adjoint(inverse)
    return matrixwise(out_bar) * cofactors_(x)


def well_conditioned(x: Any, inverse: Any) -> bool:
    """Whether products of inverses are exact to half the digits, for all of a batch."""
    x, inverse = (all_values(m) for m in (x, inverse))
    condition = np.abs(x).sum((-1, -2)) * np.abs(inverse).sum((-1, -2))
    return bool(np.all(condition * math.sqrt(np.finfo(x.dtype).eps) < 1))


def cofactors_forward(x):
    u, s, vh = svd_(x, False)
    rest = others(s, (s.ndim - 1,))
    return matrixwise(phase(u, vh)) * np.matmul(u * np.expand_dims(rest, -2), vh)


def cofactors_x(out_bar, x):
    # The derivative of det(S + P) of second order in P, for a diagonal S: the sum over i != j of
    # (P[i, i] * P[j, j] - P[i, j] * P[j, i]) times all s but the i-th and the j-th.
    u, s, vh = svd_(x, False)
    n = s.shape[-1]
    number = np.arange(n)
    left_out = (number[:, None, None] == number) | (number[:, None] == number)
    wide = np.expand_dims(np.expand_dims(s, -2), -2)
    rest = off_diagonal(np.prod(np.where(left_out, np.ones((), dtype_of(s)), wide), axis=-1))
    turned = np.matmul(adjoint(u), np.matmul(out_bar, adjoint(vh)))
    sums = np.matmul(rest, np.expand_dims(diagonal_copy(turned, 0, -2, -1), -1))
    inner = diagonal_matrix(np.conjugate(sums[..., 0])) - adjoint(rest * turned)
    return matrixwise(phase(u, vh)) * np.matmul(u, np.matmul(inner, vh))


def phase(u: Any, vh: Any) -> Any:
    """The conjugate of the sign of ``det(u @ s @ vh)``, or what it could be."""
    return np.conjugate(det_(u) * det_(vh))


#: The derivative of the determinant by its conjugate, from the singular values: exact for singular
#: matrices too.
cofactors_ = structural("cofactors", cofactors_forward, cofactors_x)


def slogdet_forward(x):
    return lapack.slogdet(x)


def slogdet_x(out_bar, x, out):
    sign_bar, log_bar = out_bar
    share = 0.0 if log_bar is None else log_bar
    if sign_bar is not None and is_complex(x):
        turn = sign_bar * np.conjugate(out[0])
        share = share + (turn - np.conjugate(turn)) * 0.5
    elif log_bar is None:
        share = sign_bar * 0
    return matrixwise(share) * adjoint(inv_ex_(x)[0])


det_ = structural("linalg_det", det_forward, det_x, grad_name="LinalgDetBackward0")
slogdet_ = structural(
    "linalg_slogdet", slogdet_forward, slogdet_x, outputs=2, grad_name="LinalgSlogdetBackward0"
)


@public(module="linalg", method=False, name="det", numpy=[np.linalg.det])
def linalg_det(A: Any) -> Any:
    """The determinants of square matrices (..., n, n), with a gradient where they are 0 too."""
    check_square(A, "linalg.det")
    return det_(A)


@public
def det(input: Any) -> Any:
    """`linalg.det`."""
    return linalg_det(input)


@public(module="linalg", method=False, name="slogdet", numpy=[np.linalg.slogdet])
def linalg_slogdet(A: Any) -> Any:
    """The sign (for complex matrices of absolute value 1) of determinants and log(abs(det)).

    A is (..., n, n). For a singular matrix 0 and -inf. Returns a named tuple (sign, logabsdet).
    """
    check_square(A, "linalg.slogdet")
    return named("linalg_slogdet", ("sign", "logabsdet"))(*slogdet_(A))


@public
def slogdet(input: Any) -> Any:
    """`linalg.slogdet`."""
    return named("slogdet", ("sign", "logabsdet"))(*linalg_slogdet(input))


@public
def logdet(input: Any) -> Any:
    """The logarithm of determinants: nan for a negative one, -inf for 0."""
    check_square(input, "logdet")
    sign, logabs = slogdet_(input)
    if is_complex(input):
        return sign.log() + logabs
    return np.where(sign == -1, np.nan, logabs)
