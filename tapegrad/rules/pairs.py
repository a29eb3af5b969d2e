"""Complex numbers seen as pairs of reals, and back: views, each the other's transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural


def as_real_forward(x):
    return x[..., None].view(x.real.dtype)


def as_real_x(out_bar):
    return as_complex(out_bar)


def as_complex_forward(x):
    x = x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)
    return x.view(np.result_type(x, np.complex64))[..., 0]


def as_complex_x(out_bar):
    return as_real(out_bar)


as_real = structural("view_as_real", as_real_forward, as_real_x, view=True, casts=True)
as_complex = structural("view_as_complex", as_complex_forward, as_complex_x, view=True, casts=True)


@public(method=False)
def view_as_real(input: Any) -> Any:
    """The real and imaginary parts of complex numbers as a new last dimension of size 2. A view."""
    if not input._spec.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    return Primitive.apply(as_real, (input,))


@public(method=False)
def view_as_complex(input: Any) -> Any:
    """Complex numbers, whose parts are the last dimension of the input, of size 2. A view.

    Raises RuntimeError for integers and where the parts don't lie side by side.
    """
    shape = input._spec.shape
    if input._spec.dtype.char not in "fd":
        raise RuntimeError(
            f"view_as_complex is only supported for floating-point tensors, but got a tensor of "
            f"dtype {input.dtype}"
        )
    if not shape or shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    if input.stride(-1) != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    return Primitive.apply(as_complex, (input,))
