"""Products of vectors, of matrices and of batches of them: matmul, mm, bmm, mv, dot, vdot, outer.

Source: the adjoints of matrix products, as in Giles, *Collected matrix derivative results*, 2008.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import from_numpy
from tapegrad.outs import into_out
from tapegrad.primitive import Primitive, structural
from tapegrad.products import batch_products, matrix_product
from tapegrad.rules.arguments import c_name, dtype_name
from tapegrad.rules.arithmetic import mul
from tapegrad.rules.matrices import adjoint, conjugate, fitted


def matmul_x(out_bar, y, x_shape):
    if len(x_shape) == 1 and y.ndim == 1:
        return out_bar * conjugate(y)
    if y.ndim == 1:
        return fitted(np.expand_dims(out_bar, -1) * conjugate(y), x_shape)
    if len(x_shape) == 1:
        share = np.matmul(conjugate(y), np.expand_dims(out_bar, -1))
        return fitted(np.reshape(share, share.shape[:-1]), x_shape)
    return fitted(batch_products(out_bar, adjoint(y)), x_shape)


def matmul_y(out_bar, x, y_shape):
    if x.ndim == 1 and len(y_shape) == 1:
        return out_bar * conjugate(x)
    if x.ndim == 1:
        return fitted(np.reshape(conjugate(x), (-1, 1)) * np.expand_dims(out_bar, -2), y_shape)
    if len(y_shape) == 1:
        share = np.matmul(adjoint(x), np.expand_dims(out_bar, -1))
        return fitted(np.reshape(share, share.shape[:-1]), y_shape)
    return fitted(batch_products(adjoint(x), out_bar), y_shape)


def dot_forward(x, y):
    # Of vectors np.matmul takes twice as long, and three times for integers.
    return x.dot(y)


def mm_forward(x, y):
    return matrix_product(x, y)


def mm_x(out_bar, y):
    return matrix_product(out_bar, adjoint(y))


def mm_y(out_bar, x):
    return matrix_product(adjoint(x), out_bar)


def mv_x(out_bar, y):
    return out_bar.reshape(-1, 1) * conjugate(y)


def mv_y(out_bar, x):
    return np.matmul(adjoint(x), out_bar)


def dot_x(out_bar, y):
    return out_bar * conjugate(y)


def dot_y(out_bar, x):
    return out_bar * conjugate(x)


def vdot_x(out_bar, y):
    return conjugate(out_bar) * y


def vdot_y(out_bar, x):
    return out_bar * x


def vdot_forward(x, y):
    return np.vdot(x, y)


def vector_matrix_x(out_bar, y):
    return y @ out_bar


def vector_matrix_y(out_bar, x):
    return x.reshape(-1, 1) * out_bar


def folded_forward(x, y):
    # One product of matrices, where np.matmul would do one for each batch.
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    out = matrix_product(rows, y) if y.ndim == 2 else rows.dot(y)
    return out.reshape(*x.shape[:-1], *y.shape[1:])


def folded_x(out_bar, y, x_shape):
    if y.ndim == 1:
        return np.expand_dims(out_bar, -1) * conjugate(y)
    return rows_times(out_bar, adjoint(y))


def rows_times(x, y):
    """``x @ y`` of rows, in any number of dimensions, and a matrix."""
    if x.ndim == 2:
        return matrix_product(x, y)
    if x.ndim == 1:
        return np.matmul(x, y)
    rows = np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    return np.reshape(matrix_product(rows, y), (*x.shape[:-1], y.shape[1]))


def folded_y(out_bar, x, y_shape):
    rows = np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1]))
    if len(y_shape) == 1:
        return np.matmul(adjoint(rows), np.reshape(out_bar, (rows.shape[0],)))
    bars = np.reshape(out_bar, (rows.shape[0], y_shape[1]))
    return matrix_product(adjoint(rows), bars)


matmul_ = structural("matmul", batch_products, matmul_x, matmul_y, grad_name="UnsafeViewBackward0")
mm_ = structural("mm", mm_forward, mm_x, mm_y)
bmm_ = structural("bmm", batch_products, matmul_x, matmul_y)
mv_ = structural("mv", dot_forward, mv_x, mv_y)
dot_ = structural("dot", dot_forward, dot_x, dot_y)
vdot_ = structural("vdot", vdot_forward, vdot_x, vdot_y)
#: A real vector times a real matrix: what a layer does with one example.
vector_matrix = structural(
    "vm", dot_forward, vector_matrix_x, vector_matrix_y, grad_name="SqueezeBackward4"
)
#: Batches of matrices times one matrix or vector.
folded_ = structural("matmul", folded_forward, folded_x, folded_y, grad_name="UnsafeViewBackward0")


def check_dtypes(x: Any, y: Any, names: str = "m1 and m2") -> None:
    """Raise torch's RuntimeError for factors of two dtypes."""
    if x._spec.dtype is y._spec.dtype or x._spec.dtype == y._spec.dtype:
        return
    n, m = x.ndim, y.ndim
    if n == 1 and m == 1:
        raise RuntimeError(
            "dot : expected both vectors to have same dtype, but found "
            f"{dtype_name(x)} and {dtype_name(y)}"
        )
    if n == 2 and m == 1:
        mat, vec = dtype_name(x), dtype_name(y)
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {vec}, {mat}, and {vec}"
        )
    if n > 2 and m > 2:
        raise RuntimeError(f"expected scalar type {dtype_name(x)} but found {dtype_name(y)}")
    raise RuntimeError(
        f"expected {names} to have the same dtype, but got: {c_name(x)} != {c_name(y)}"
    )


@public(numpy=[np.matmul, np.dot], module=("", "linalg"))
def matmul(input: Any, other: Any, *, out: Any = None) -> Any:
    """The matrix product: of vectors, matrices, and batches of matrices, which broadcast.

    Raises RuntimeError where the sizes or dtypes don't fit.
    """
    if out is not None:
        return into_out(matmul, (input, other), {"out": out})
    try:
        first, second = input._spec, other._spec
    except AttributeError:
        input, other = _tensors(input, other)
        first, second = input._spec, other._spec
    n, m = first.ndim, second.ndim
    a, b = first.shape, second.shape
    if not n or not m:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {n}D and {m}D"
        )
    if n > 2 and m > 2:
        _check_batches(a, b)
    if a[-1] != b[-2 if m > 1 else 0]:
        raise size_error(a, b)
    if first.dtype is not second.dtype:
        check_dtypes(input, other)
    if n == 1 and m == 2 and first.dtype.kind != "c":
        return Primitive.apply(vector_matrix, (input, other), ())
    if n == 2 and m <= 2:
        return Primitive.apply(mm_ if m == 2 else mv_, (input, other), ())
    if n == 1 and m == 1:
        return Primitive.apply(dot_, (input, other), ())
    return (folded_ if m <= 2 and n > 2 else matmul_)(input, other)


def _tensors(input: Any, other: Any) -> tuple[Any, Any]:
    """Both as Tensors, where one is an array. Raises Python's error for what is neither."""
    if hasattr(input, "_spec") and isinstance(other, np.ndarray):
        return input, input.new_tensor(other, dtype=from_numpy(other.dtype))
    if hasattr(other, "_spec") and isinstance(input, np.ndarray):
        return other.new_tensor(input, dtype=from_numpy(input.dtype)), other
    names = f"{type(input).__name__!r} and {type(other).__name__!r}"
    raise TypeError(f"unsupported operand type(s) for @: {names}")


def _check_batches(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    for k in range(3, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and a[-k] != 1 and b[-k] != 1:
            raise RuntimeError(
                f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                f"non-singleton dimension {max(len(a), len(b)) - k}"
            )
    if a[-1] != b[-2]:
        count = math.prod(np.broadcast_shapes(a[:-2], b[:-2]))
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{count}, {a[-1]}] but got: [{count}, {b[-2]}]."
        )


def size_error(a: tuple[int, ...], b: tuple[int, ...]) -> RuntimeError:
    """torch's error for shapes that can't be multiplied: it folds batches into rows first."""
    if len(a) == 1 and len(b) == 1:
        return RuntimeError(
            "inconsistent tensor size, expected tensor "
            f"[{a[0]}] and src [{b[0]}] to have the same number of elements, but got {a[0]} and "
            f"{b[0]} elements respectively"
        )
    if len(b) > 2:  # torch multiplies the transposes
        a, b = (*b[:-2], b[-1], b[-2]), a[::-1]
    rows = math.prod(a[:-1])
    if len(b) == 1:
        return RuntimeError(
            f"size mismatch, got input ({rows}), mat ({rows}x{a[-1]}), vec ({b[0]})"
        )
    return RuntimeError(
        f"mat1 and mat2 shapes cannot be multiplied ({rows}x{a[-1]} and {b[-2]}x{b[-1]})"
    )


@public
def mm(input: Any, mat2: Any) -> Any:
    """The product of two matrices."""
    for position, x in (("self", input), ("mat2", mat2)):
        if x.ndim != 2:
            raise RuntimeError(f"{position} must be a matrix")
    return matmul(input, mat2)


@public
def bmm(input: Any, mat2: Any) -> Any:
    """The products of two batches of as many matrices."""
    for position, x in (("batch1", input), ("batch2", mat2)):
        if x.ndim != 3:
            raise RuntimeError(f"{position} must be a 3D tensor")
    a, b = input._spec.shape, mat2._spec.shape
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{a[0]}, {a[2]}] but got: [{b[0]}, {b[1]}]."
        )
    check_dtypes(input, mat2)
    return bmm_(input, mat2)


@public
def mv(input: Any, vec: Any) -> Any:
    """A matrix times a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {vec.ndim}, {input.ndim}, {vec.ndim}"
        )
    return matmul(input, vec)


def _check_vectors(input: Any, other: Any) -> None:
    if input.ndim != 1 or other.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {other.ndim}D tensors")
    check_dtypes(input, other)
    if input._spec.shape != other._spec.shape:
        raise size_error(input._spec.shape, other._spec.shape)


@public
def dot(input: Any, tensor: Any) -> Any:
    """The inner product of two vectors, without conjugation."""
    _check_vectors(input, tensor)
    return dot_(input, tensor)


@public
def vdot(input: Any, other: Any) -> Any:
    """The inner product of two vectors, the first conjugated."""
    _check_vectors(input, other)
    return vdot_(input, other)


@public(aliases=("ger",), numpy=[np.outer])
def outer(input: Any, vec2: Any) -> Any:
    """The outer product of two vectors."""
    for position, x in (("self", input), ("vec2", vec2)):
        if x.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {position}, but got {x.ndim}-D")
    return mul(input.reshape(-1, 1), vec2)
