"""Determinants and their logarithms.

Source: Jacobi's formula, as in Giles, *Collected matrix derivative results*, 2008, section 2.2.4;
for singular matrices the adjugate from the singular values, as in Stewart, *On the adjugate
matrix*, 1998.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.primitive import public, structural
from tapegrad.rules.matrices import adjoint, check_square, eye_like, is_complex, lapack
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
    if np.all(out != 0):
        return matrixwise(out_bar * np.conjugate(out)) * adjoint(inv_ex_(x)[0])
    # In a branch that isn't taken stands a matrix with simple singular values.
    singular = matrixwise(out == 0)
    regular = np.where(singular, eye_like(x), x)
    simple = np.diag(np.arange(1, x.shape[-1] + 1)).astype(eye_like(x).dtype)
    cofactors = matrixwise(np.conjugate(out)) * adjoint(inv_ex_(regular)[0])
    cofactors = np.where(singular, adjugate_adjoint(np.where(singular, x, simple)), cofactors)
    return matrixwise(out_bar) * cofactors


def adjugate_adjoint(x):
    """The adjoint of the adjugate: ``conj(det) * adjoint(inverse)`` where there is an inverse."""
    u, s, vh = svd_(x, False)
    phase = np.conjugate(det_(u) * det_(vh))
    rest = others(s, (s.ndim - 1,))
    return matrixwise(phase) * np.matmul(u * np.expand_dims(rest, -2), vh)


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


@public(module=("linalg", ""), numpy=[np.linalg.det])
def det(A: Any) -> Any:
    """The determinants of square matrices (..., n, n), with a gradient where they are 0 too."""
    check_square(A, "linalg.det")
    return det_(A)


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
