"""What the functions of matrices share: checks and errors, adjoints, triangles, batches.

The numbers come from NumPy's LAPACK routines, which run over a batch of matrices in the precision
of their input (`np.linalg` computes singles as doubles, and takes twice as long for small
matrices). What fails there comes back as nan.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import all_values, public
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.diagonals import tril_, triu_

#: Generalized ufuncs: inv, solve, det, slogdet, cholesky_lo, eigh_lo, eig, svd_s, lstsq, ...
lapack: Any = np.linalg._umath_linalg


@public(module="linalg", method=False)
class LinAlgError(RuntimeError):
    """A matrix that can't be inverted or factored: singular, or not positive definite."""

    __module__ = "tapegrad.linalg"


# -- on arrays and on Tensors ----------------------------------------------------------------------


def is_complex(x: Any) -> bool:
    """Whether an array or a Tensor is complex."""
    return bool((x if type(x) is np.ndarray else x._spec).dtype.kind == "c")


def conjugate(x: Any) -> Any:
    """The complex conjugate; of reals themselves."""
    return np.conjugate(x) if is_complex(x) else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose of matrices."""
    turned = x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)
    return np.conjugate(turned) if is_complex(x) else turned


def fitted(share: Any, shape: tuple[int, ...]) -> Any:
    """Batch dimensions that were broadcast, summed."""
    return share if tuple(share.shape) == shape else sum_to_shape(share, shape)


def transposed(x: Any) -> Any:
    """Matrices with rows for columns."""
    return np.swapaxes(x, -1, -2)


def dtype_of(x: Any) -> Any:
    """NumPy's dtype of an array or a Tensor."""
    return getattr(x.dtype, "numpy", x.dtype)


def eye_like(x: Any) -> np.ndarray:
    """The identity matrix of the size of square matrices, in their dtype."""
    return np.eye(x.shape[-1], dtype=dtype_of(x))


def lower_half(x: Any) -> Any:
    """The lower triangle with half the diagonal: ``x + adjoint(x)`` of that is Hermitian."""
    return (tril_(x, 0) + tril_(x, -1)) * 0.5


def upper_half(x: Any) -> Any:
    """The upper triangle with half the diagonal."""
    return (triu_(x, 0) + triu_(x, 1)) * 0.5


def off_diagonal(x: Any) -> Any:
    """Square matrices with zeros on the diagonal, whatever stood there."""
    return np.where(np.eye(x.shape[-1], dtype=bool), np.zeros((), dtype_of(x)), x)


def diagonal_matrix(x: Any) -> Any:
    """Vectors as the diagonals of square matrices."""
    eye = np.eye(x.shape[-1], dtype=bool)
    return np.where(eye, np.expand_dims(x, -2), np.zeros((), dtype_of(x)))


def real_of(x: Any) -> Any:
    """The real part as numbers of the same dtype."""
    return (x + np.conjugate(x)) * 0.5 if is_complex(x) else x


# -- on arrays -------------------------------------------------------------------------------------


def each(batch: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The index of every matrix of a batch."""
    return itertools.product(*map(range, batch))


def any_nan(x: np.ndarray) -> bool:
    """Whether a routine has failed: it fills the whole matrix with nan."""
    return bool(x.size) and bool(np.isnan(x[..., 0, 0]).any())


# -- checks ----------------------------------------------------------------------------------------


def check_matrix(x: Any, name: str, argument: str = "A") -> None:
    """Raise RuntimeError for a Tensor of fewer than 2 dimensions."""
    if x._spec.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")


def check_floating(x: Any, name: str) -> None:
    """Raise RuntimeError for integers, bools and halves."""
    kind = x._spec.dtype.kind
    if kind not in "fc":
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {dtype_name(x)}"
        )
    if x._spec.dtype.char == "e":
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got Half")


def check_square(x: Any, name: str, argument: str = "A") -> None:
    """Raise RuntimeError for what isn't a batch of square matrices of floating-point numbers."""
    check_matrix(x, name, argument)
    rows, columns = x._spec.shape[-2:]
    if rows != columns:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {rows} by "
            f"{columns} matrices"
        )
    check_floating(x, name)


def check_same_dtype(x: Any, y: Any, name: str, first: str = "A", second: str = "B") -> None:
    """Raise RuntimeError for two dtypes."""
    if x._spec.dtype != y._spec.dtype:
        raise RuntimeError(
            f"{name}: Expected {first} and {second} to have the same dtype, but found {first} of "
            f"type {dtype_name(x)} and {second} of type {dtype_name(y)} instead"
        )


def check_columns(x: Any, y: Any, left: bool, name: str) -> None:
    """Raise RuntimeError if ``x @ out = y`` (``left``) or ``out @ x = y`` has no fitting shapes."""
    a, b = x._spec.shape, y._spec.shape
    if a[-2] != (b[-2] if left else b[-1]):
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation {equation} "
            f"({a[-2]}x{a[-1]} and {b[-2]}x{b[-1]})"
        )


def check_batches(x: Any, y: Any, last: int = 2) -> None:
    """Raise torch's RuntimeError if the dimensions before the last two don't broadcast."""
    a, b = x._spec.shape, y._spec.shape
    for k in range(last + 1, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and a[-k] != 1 and b[-k] != 1:
            raise RuntimeError(
                f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                f"non-singleton dimension {max(len(a), len(b)) - k}"
            )


def check_info(info: Any, name: str, message: str) -> None:
    """Raise LinAlgError with ``message`` (of ``{info}``) for the first matrix that has failed."""
    codes = all_values(info)
    if not codes.any():
        return
    where = np.flatnonzero(codes)[0]
    batch = f"(Batch element {where}): " if codes.ndim else ""
    raise LinAlgError(f"{name}: {batch}" + message.format(info=codes.flat[where]))
