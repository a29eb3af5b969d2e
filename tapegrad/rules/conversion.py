"""Copies, and complex numbers and their parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.broadcast import cast
from tapegrad.declaration import public
from tapegrad.primitive import elementwise, select, structural
from tapegrad.rules.arguments import check_tensor


def clone_forward(x):
    # What `expand` repeated has no order.
    return x.copy(order="C" if x.base is not None and 0 in x.strides else "K")


def clone_contiguous_forward(x):
    return x.copy(order="C")


def same(out_bar):
    return out_bar


clone_ = elementwise("clone", clone_forward, same, hidden=True)
clone_contiguous = elementwise("clone", clone_contiguous_forward, same, hidden=True)


# -- the parts of complex numbers ------------------------------------------------------------------


def real_forward(x, x_dtype):
    return np.real(x).copy()


def real_x(out_bar, x_dtype):
    return cast(out_bar, x_dtype, getattr(out_bar.dtype, "numpy", out_bar.dtype))


def imag_forward(x, x_dtype):
    return np.imag(x).copy()


def imag_x(out_bar, x_dtype):
    return cast(out_bar, x_dtype, getattr(out_bar.dtype, "numpy", out_bar.dtype)) * 1j


def conj_forward(x):
    return np.conjugate(x)


def conj_x(out_bar):
    return np.conjugate(out_bar)


real_ = structural("real", real_forward, real_x)
imag_ = structural("imag", imag_forward, imag_x)
conj_ = structural("conj", conj_forward, conj_x)


@public(name="real", method="property")
def real_part(input: Any) -> Any:
    """The real part; a real Tensor itself. A copy."""
    return real_(input, input._spec.dtype) if input._spec.is_complex else input


@public(name="imag", method="property")
def imag_part(input: Any) -> Any:
    """The imaginary part. A copy. Raises RuntimeError for a real Tensor."""
    if not input._spec.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return imag_(input, input._spec.dtype)


@public(method=False, numpy=[np.real])
def real(input: Any) -> Any:
    """The real part; a real Tensor itself."""
    return real_part(input)


@public(method=False, numpy=[np.imag])
def imag(input: Any) -> Any:
    """The imaginary part."""
    return imag_part(input)


@public(numpy=[np.conjugate], aliases=("conj_physical",))
def conj(input: Any) -> Any:
    """The complex conjugate; a real Tensor itself."""
    return conj_(input) if input._spec.is_complex else input


@public(aliases=("resolve_neg",))
def resolve_conj(input: Any) -> Any:
    """The Tensor itself: tapegrad has no lazy conjugates and negatives."""
    return input


def angle_forward(x):
    return np.where(x < 0, np.pi, np.where(x == x, 0, x)).astype(x.dtype)


def angle_x(out_bar):
    return select(False, out_bar, 0.0)


angle_real = elementwise("angle", angle_forward, angle_x, floating=True, hidden=True)


@public
def angle(input: Any) -> Any:
    """The argument of complex numbers, in radians; 0 or pi for real ones."""
    if input._spec.is_complex:
        return imag_part(input).atan2(real_part(input))
    return angle_real(input)


def complex_forward(x, y):
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x, np.complex64))
    out.real, out.imag = x, y
    return out


def complex_x(out_bar):
    dtype = getattr(out_bar.dtype, "numpy", out_bar.dtype)
    return cast(out_bar, np.dtype(f"f{dtype.itemsize // 2}"), dtype)  # the real part


def complex_y(out_bar):
    return complex_x(out_bar * -1j)


complex_ = structural("complex", complex_forward, complex_x, complex_y)


def _check_parts(function: str, names: tuple[str, str], parts: tuple[Any, Any]) -> None:
    for position, (name, part) in enumerate(zip(names, parts, strict=True), 1):
        check_tensor(function, part, name, position)
    first, second = (part.type().removeprefix("tapegrad.")[: -len("Tensor")] for part in parts)
    if any(part._spec.dtype.kind != "f" for part in parts):
        raise RuntimeError(
            f"Expected both inputs to be Half, Float or Double tensors but got {first} and {second}"
        )
    if first != second:
        raise RuntimeError(
            f"Expected object of scalar type {first} but got scalar type {second} for second "
            "argument"
        )


@public(name="complex", method=False)
def complex_of(real: Any, imag: Any) -> Any:
    """Complex numbers with these parts, two floating-point Tensors of one dtype, broadcast.

    Raises RuntimeError for other dtypes.
    """
    _check_parts("complex", ("real", "imag"), (real, imag))
    return complex_(real, imag)


@public(method=False)
def polar(abs: Any, angle: Any) -> Any:
    """Complex numbers with these absolute values and arguments (in radians), as `complex`."""
    _check_parts("polar", ("abs", "angle"), (abs, angle))
    return complex_(abs * np.cos(angle), abs * np.sin(angle))
