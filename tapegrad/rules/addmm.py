"""A Tensor plus a product of matrices, each scaled: addmm, addmv, baddbmm, addbmm, addr."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.matrices import fitted
from tapegrad.rules.matrix_products import check_dtypes, matmul_x, matmul_y, size_error


def addmm_forward(x, y, z, beta, alpha):
    product = np.matmul(y, z)
    if alpha != 1:
        product *= alpha
    if beta == 0:
        return product
    product += x if beta == 1 else x * beta
    return product


def addmm_x(out_bar, x_shape, beta):
    share = out_bar if beta == 1 else out_bar * beta.conjugate()
    return fitted(share, x_shape)


def addmm_y(out_bar, z, y_shape, alpha):
    share = matmul_x(out_bar, z, y_shape)
    return share if alpha == 1 else share * alpha.conjugate()


def addmm_z(out_bar, y, z_shape, alpha):
    share = matmul_y(out_bar, y, z_shape)
    return share if alpha == 1 else share * alpha.conjugate()


addmm_ = structural("addmm", addmm_forward, addmm_x, addmm_y, addmm_z)
addmv_ = structural("addmv", addmm_forward, addmm_x, addmm_y, addmm_z)
baddbmm_ = structural("baddbmm", addmm_forward, addmm_x, addmm_y, addmm_z)


def _added(primitive: Any, input: Any, x: Any, y: Any, beta: Any, alpha: Any) -> Any:
    """``beta * input + alpha * x @ y``, checked; the input broadcasts to the product's shape."""
    a, b, sizes = x._spec.shape, y._spec.shape, input._spec.shape
    if a[-1] != b[-2 if len(b) > 1 else 0]:
        raise size_error(a, b)
    check_dtypes(x, y, "mat1 and mat2")
    if input._spec.dtype != y._spec.dtype:
        names = f"{dtype_name(input)} and {dtype_name(y)}"
        raise RuntimeError(f"self and mat2 must have the same dtype, but got {names}")
    shape = a[:-1] + b[len(a) - 1 :]
    for k in range(1, len(sizes) + 1):
        if k > len(shape):
            raise RuntimeError(
                f"The number of sizes provided ({len(shape)}) must be greater or equal to the "
                f"number of dimensions in the tensor ({len(sizes)})"
            )
        if sizes[-k] not in (1, shape[-k]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[-k]}) must match the existing size "
                f"({sizes[-k]}) at non-singleton dimension {len(shape) - k}.  Target sizes: "
                f"{list(shape)}.  Tensor sizes: {list(sizes)}"
            )
    return primitive(input, x, y, beta, alpha)


@public(inplace=True)
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * mat1 @ mat2``; a beta of 0 leaves the input out, nan and all."""
    for position, x in (("mat1", mat1), ("mat2", mat2)):
        if x.ndim != 2:
            raise RuntimeError(f"{position} must be a matrix, got {x.ndim}-D tensor")
    return _added(addmm_, input, mat1, mat2, beta, alpha)


@public(inplace=True)
def addmv(input: Any, mat: Any, vec: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * mat @ vec``."""
    if mat.ndim != 2 or vec.ndim != 1 or input.ndim > 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {input.ndim}, {mat.ndim}, {vec.ndim}"
        )
    (rows, columns), (n,) = mat._spec.shape, vec._spec.shape
    size = input._spec.size if input.ndim else 1
    if columns != n or size not in (1, rows):
        size = rows if size == 1 else size
        raise RuntimeError(f"size mismatch, got input ({size}), mat ({rows}x{columns}), vec ({n})")
    return _added(addmv_, input, mat, vec, beta, alpha)


@public(inplace=True)
def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * batch1 @ batch2``, for each matrix of two batches."""
    for position, x in (("batch1", batch1), ("batch2", batch2)):
        if x.ndim != 3:
            raise RuntimeError(f"{position} must be a 3D tensor")
    a, b = batch1._spec.shape, batch2._spec.shape
    if a[0] != b[0]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a[0]}, {a[2]}] but got: [{b[0]}, {b[1]}]."
        )
    return _added(baddbmm_, input, batch1, batch2, beta, alpha)


@public(inplace=True)
def addbmm(input: Any, batch1: Any, batch2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha *`` the sum of the products of two batches of matrices."""
    for position, x in (("batch1", batch1), ("batch2", batch2)):
        if x.ndim != 3:
            raise RuntimeError(f"{position} must be a 3D tensor")
    rows = batch1.transpose(0, 1).reshape(batch1._spec.shape[1], -1)
    return addmm(input, rows, batch2.reshape(-1, batch2._spec.shape[2]), beta=beta, alpha=alpha)


@public(inplace=True)
def addr(input: Any, vec1: Any, vec2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    return addmm(input, vec1.reshape(-1, 1), vec2.reshape(1, -1), beta=beta, alpha=alpha)
