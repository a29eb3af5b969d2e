"""Products of matrices.

Source: the adjoints of matrix products, as in Giles, *Collected matrix derivative results*, 2008.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import public
from tapegrad.dtypes import from_numpy
from tapegrad.outs import into_out
from tapegrad.primitive import Primitive, structural
from tapegrad.products import matrix_product
from tapegrad.rules.arguments import c_name, dtype_name
from tapegrad.rules.arithmetic import add_, mul


def conjugate_transpose(x):
    turned = x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)
    return np.conjugate(turned) if is_complex(x) else turned


def is_complex(x: Any) -> bool:
    """Whether an array or a Tensor is complex."""
    return bool((x if type(x) is np.ndarray else x._spec).dtype.kind == "c")


def fitted(share: Any, shape: tuple[int, ...]) -> Any:
    """Batch dimensions that were broadcast, summed."""
    return share if tuple(share.shape) == shape else sum_to_shape(share, shape)


def matmul_x(out_bar, y, x_shape):
    if len(x_shape) == 1 and y.ndim == 1:
        return out_bar * conjugate(y)
    if y.ndim == 1:
        return fitted(np.expand_dims(out_bar, -1) * conjugate(y), x_shape)
    if len(x_shape) == 1:
        share = np.matmul(conjugate(y), np.expand_dims(out_bar, -1))
        return fitted(np.reshape(share, share.shape[:-1]), x_shape)
    return fitted(np.matmul(out_bar, conjugate_transpose(y)), x_shape)


def matmul_y(out_bar, x, y_shape):
    if x.ndim == 1 and len(y_shape) == 1:
        return out_bar * conjugate(x)
    if x.ndim == 1:
        return fitted(np.reshape(conjugate(x), (-1, 1)) * np.expand_dims(out_bar, -2), y_shape)
    if len(y_shape) == 1:
        share = np.matmul(conjugate_transpose(x), np.expand_dims(out_bar, -1))
        return fitted(np.reshape(share, share.shape[:-1]), y_shape)
    return fitted(np.matmul(conjugate_transpose(x), out_bar), y_shape)


def conjugate(x):
    return np.conjugate(x) if is_complex(x) else x


def matmul_forward(x, y):
    return np.matmul(x, y)


def dot_forward(x, y):
    # Of vectors np.matmul takes twice as long, and three times for integers.
    return x.dot(y)


def mm_forward(x, y):
    return matrix_product(x, y)


def mm_x(out_bar, y):
    return matrix_product(out_bar, conjugate_transpose(y))


def mm_y(out_bar, x):
    return matrix_product(conjugate_transpose(x), out_bar)


def mv_x(out_bar, y):
    return out_bar.reshape(-1, 1) * conjugate(y)


def mv_y(out_bar, x):
    return np.matmul(conjugate_transpose(x), out_bar)


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
    return rows_times(out_bar, conjugate_transpose(y))


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
        return np.matmul(conjugate_transpose(rows), np.reshape(out_bar, (rows.shape[0],)))
    bars = np.reshape(out_bar, (rows.shape[0], y_shape[1]))
    return matrix_product(conjugate_transpose(rows), bars)


matmul_ = structural("matmul", matmul_forward, matmul_x, matmul_y, grad_name="UnsafeViewBackward0")
mm_ = structural("mm", mm_forward, mm_x, mm_y)
bmm_ = structural("bmm", matmul_forward, matmul_x, matmul_y)
mv_ = structural("mv", dot_forward, mv_x, mv_y)
dot_ = structural("dot", dot_forward, dot_x, dot_y)
vdot_ = structural("vdot", vdot_forward, vdot_x, vdot_y)
#: A real vector times a real matrix: what a layer does with one example.
vector_matrix = structural(
    "vm", dot_forward, vector_matrix_x, vector_matrix_y, grad_name="SqueezeBackward4"
)
#: Batches of matrices times one matrix or vector.
folded_ = structural("matmul", folded_forward, folded_x, folded_y, grad_name="UnsafeViewBackward0")


def _check_dtypes(x: Any, y: Any, names: str = "m1 and m2") -> None:
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
        _check_dtypes(input, other)
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
    _check_dtypes(input, mat2)
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
    _check_dtypes(input, other)
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


# -- products and sums -----------------------------------------------------------------------------


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
    _check_dtypes(x, y, "mat1 and mat2")
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


# -- linear ----------------------------------------------------------------------------------------


def linear_forward(x, y, z):
    if x.ndim != 2:
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return linear_forward(rows, y, z).reshape(*x.shape[:-1], len(y))
    return matrix_product(x, y.T, z)


def linear_x(out_bar, y):
    return rows_times(out_bar, conjugate(y))


def linear_y(out_bar, x, y_shape):
    if x.ndim == 1:
        return out_bar.reshape(-1, 1) * conjugate(x)
    if x.ndim > 2:
        rows = math.prod(x.shape[:-1])
        out_bar, x = np.reshape(out_bar, (rows, y_shape[0])), np.reshape(x, (rows, y_shape[1]))
    return matrix_product(out_bar.T, conjugate(x))


def linear_z(out_bar, z_shape):
    return fitted(out_bar, z_shape)


linear_ = structural(
    "linear", linear_forward, linear_x, linear_y, linear_z, grad_name="AddmmBackward0"
)
#: The same for batches, and for one example, under the name that torch gives it then.
linear_view = structural(
    "linear", linear_forward, linear_x, linear_y, linear_z, grad_name="ViewBackward0"
)


@public(module="nn.functional", method=False)
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``input @ weight.T + bias``: input (..., in), weight (out, in) or (in,), bias (out,)."""
    a, b = input._spec.shape, weight._spec.shape
    if len(b) == 1:
        if bias is not None and bias.ndim:
            raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
        product = matmul(input, weight)
        return product if bias is None else add_(product, bias)
    if not a:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are 0D and {len(b)}D"
        )
    if a[-1] != b[-1]:
        raise size_error(a, b[::-1])
    if bias is None:
        return matmul(input, weight.t())
    _check_dtypes(input, weight, "m1 and m2" if len(a) == 1 else "mat1 and mat2")
    sizes = bias._spec.shape
    if sizes != b[:1] or bias._spec.dtype != weight._spec.dtype:
        shape = (*a[:-1], b[0])
        if bias._spec.dtype != weight._spec.dtype:
            names = f"{dtype_name(bias)} and {dtype_name(weight)}"
            raise RuntimeError(f"self and mat2 must have the same dtype, but got {names}")
        return _bias_of_another_shape(input, weight, bias, shape)
    return Primitive.apply(linear_ if len(a) == 2 else linear_view, (input, weight, bias))


def _bias_of_another_shape(input: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    sizes = bias._spec.shape
    for k in range(1, min(len(sizes), len(shape)) + 1):
        if sizes[-k] not in (1, shape[-k]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[-k]}) must match the existing size "
                f"({sizes[-k]}) at non-singleton dimension {len(shape) - k}.  Target sizes: "
                f"{list(shape)}.  Tensor sizes: {list(sizes)}"
            )
    if len(sizes) > len(shape):
        if len(shape) > 1 or sizes != (1, *shape):  # which torch takes with one example
            made = list(np.broadcast_shapes(sizes, shape))
            raise RuntimeError(
                f"output with shape {list(shape)} doesn't match the broadcast shape {made}"
            )
        bias = bias.reshape(shape)
    return add_(matmul(input, weight.t()), bias)
