"""Rules of products: of vectors and matrices, einsum, convolutions."""

from __future__ import annotations

from typing import Any

from tapegrad.batching.apply import Values, align, filled
from tapegrad.batching.shapes import Lifted
from tapegrad.primitive import Primitive
from tapegrad.rules.arithmetic import add_
from tapegrad.rules.batches import layers, product
from tapegrad.rules.contraction import LETTERS
from tapegrad.rules.matrix_products import folded_, matmul_, mm_, mv_
from tapegrad.rules.ondemand.convolution import conv_, transposed_


def matmul(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x @ y`` of samples of any numbers of dimensions from 1."""
    (x, y), (of_x, of_y) = values, lifted
    n, m = x.ndim - of_x, y.ndim - of_y
    if of_x and not of_y and m <= 2:  # the samples are rows
        made = folded_ if n > 1 else mm_ if m == 2 else mv_
        return Primitive.apply(made, (x, y), ())
    if of_y and not of_x and n == 1 and m == 1:
        return Primitive.apply(mv_, (y, x), ())
    if of_y and not of_x and n == 2 and m == 1:
        return Primitive.apply(mm_, (y, x.t()), ())
    if n == 1 and m == 1:
        return Primitive.apply(product, (x.unsqueeze(1), y.unsqueeze(2)), ()).reshape(size)
    if n == 1:
        x = x.unsqueeze(-2)
    if m == 1:
        y = y.unsqueeze(-1)
    ndim = max(n, m, 2)
    x = align(x, ndim) if of_x else x
    y = align(y, ndim) if of_y else y
    both = of_x and of_y and ndim == 2
    out = Primitive.apply(product if both else matmul_, (x, y), ())
    if n == 1:
        out = out.squeeze(-2)
    return out.squeeze(-1) if m == 1 else out


def vdot(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The inner product of two vectors, the first conjugated."""
    return matmul(primitive, size, (values[0].conj(), values[1]), lifted, params)


def linear(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``x @ y.T + z``."""
    x, y, z = values
    if not lifted[1] and not lifted[2]:
        return Primitive.apply(primitive, (x, y, z), ())
    if lifted[1] and x.ndim - lifted[0] < 3:
        full = tuple([filled(v, up, size) for v, up in zip(values, lifted, strict=True)])
        return Primitive.apply(layers, full, ())
    out = matmul(primitive, size, (x, y.mT), lifted[:2], ())
    up = lifted[0] or lifted[1]
    if lifted[2]:
        z = align(z, out.ndim - up)
    return Primitive.apply(add_, (out, z), ())


def added(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """``beta * x + alpha * y @ z``."""
    x, y, z = values
    beta, alpha = params
    ndim = y.ndim - lifted[1] + z.ndim - lifted[2] - 2 if z.ndim - lifted[2] < 3 else 3
    product_lifted = lifted[1] or lifted[2]
    out = matmul(primitive, size, (y, z), lifted[1:], ()) if product_lifted else y @ z
    out = out if alpha == 1 else out * alpha
    if beta == 0:
        return filled(out, product_lifted, size)
    x = align(x, ndim) if lifted[0] else x
    return out + (x if beta == 1 else x * beta)


def einsum(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """A letter more, that of the samples."""
    (equation,) = params
    terms, result = equation.split("->")
    letter = next(c for c in LETTERS if c not in equation)
    names = [letter * up + term for term, up in zip(terms.split(","), lifted, strict=True)]
    return Primitive.apply(primitive, values, (f"{','.join(names)}->{letter}{result}",))


# -- convolutions ----------------------------------------------------------------------------------


def _one_batch(value: Any) -> Any:
    """(B, N, ...) to (B N, ...)."""
    b, n, *rest = value._spec.shape
    return value.reshape(b * n, *rest)


def _one_image(value: Any, up: bool, size: int) -> Any:
    """(B, N, C, ...) to (N, B C, ...): the samples become channels."""
    _, n, c, *rest = (value := filled(value, up, size))._spec.shape
    return value.transpose(0, 1).reshape(n, size * c, *rest)


def convolution(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """Images that are mapped are one batch; weights that are, groups of channels of one image."""
    x, y, *bias = values
    *options, groups = params
    made = transposed_ if "sizes" in primitive.params else conv_
    if not lifted[1]:
        out = Primitive.apply(made, (_one_batch(x), y), params) if lifted[0] else None
        if out is None:  # only the bias
            out = filled(Primitive.apply(made, (x, y), params), False, size)
        else:
            out = out.reshape(size, -1, *out._spec.shape[1:])
    else:
        image = _one_image(x, lifted[0], size)
        out = Primitive.apply(made, (image, _one_batch(y)), (*options, groups * size))
        n, channels, *rest = out._spec.shape
        out = out.reshape(n, size, channels // size, *rest).transpose(0, 1)
    if not bias:
        return out
    (z,) = bias
    return out + z.reshape(*z._spec.shape[: lifted[2]], 1, -1, *(1,) * (out.ndim - 3))


def correlation(
    primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any
) -> Any:
    """The adjoint of a convolution's weight: the samples are groups of channels."""
    *options, groups = params
    images = tuple([_one_image(v, up, size) for v, up in zip(values, lifted, strict=True)])
    out = Primitive.apply(primitive, images, (*options, groups * size))
    return out.reshape(size, -1, *out._spec.shape[1:])


def solved(primitive: Primitive, size: int, values: Values, lifted: Lifted, params: Any) -> Any:
    """The solutions of systems of equations; a vector counts as a matrix of one column."""
    x, y = (filled(v, up, size) for v, up in zip(values, lifted, strict=True))
    (left,) = params
    if y.ndim == x.ndim - 1 and y._spec.shape == x._spec.shape[:-1]:
        out, info = Primitive.apply(primitive, (x, y.unsqueeze(-1)), (left,))
        return out.squeeze(-1), info
    ndim = max(x.ndim, y.ndim) - 1
    x, y = align(x, ndim), align(y, ndim)
    return Primitive.apply(primitive, (x, y), (left,))
