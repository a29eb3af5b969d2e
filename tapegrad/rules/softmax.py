"""Softmax and its logarithm, each one record whose rule is in terms of the result.

Source: the maximum is taken out before the exponentials, as in Blanchard, Higham and Higham,
*Accurately computing the log-sum-exp and softmax functions*, IMA J. Numer. Anal. 41 (2021).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import dtype_name, with_numpy_names


def softmax_forward(x, axis):
    if not x.size or not x.ndim:
        return x * 0 + 1
    x = np.ascontiguousarray(x)
    kernel = fused("softmax", x) if axis == x.ndim - 1 else None
    if kernel is not None:
        out = np.empty_like(x)
        kernel(x.size // x.shape[axis], x, out, x.shape[axis])
        return out
    wide = x.astype(np.float32) if x.dtype.char == "e" else x
    e = wide - np.maximum.reduce(wide, axis, None, None, True)
    np.exp(e, e)
    e /= np.add.reduce(e, axis, None, None, True)
    return e.astype(x.dtype, copy=False)


def softmax_x(out_bar, out, axis):
    if not out.ndim:
        return out_bar * 0
    kernel = fused("softmax_x", out_bar, out) if axis == out.ndim - 1 else None
    if kernel is not None:
        x_bar = np.empty_like(out)
        kernel(out.size // out.shape[axis], out_bar, out, x_bar, out.shape[axis])
        return x_bar
    weighted = out_bar * out
    return weighted - out * np.add.reduce(weighted, axis=axis, keepdims=True)


def log_softmax_forward(x, axis):
    if not x.size or not x.ndim:
        return x * 0
    x = np.ascontiguousarray(x)
    kernel = fused("log_softmax", x) if axis == x.ndim - 1 else None
    if kernel is not None:
        out = np.empty_like(x)
        kernel(x.size // x.shape[axis], x, out, x.shape[axis])
        return out
    wide = x.astype(np.float32) if x.dtype.char == "e" else x
    shifted = wide - np.maximum.reduce(wide, axis, None, None, True)
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis, None, None, True))
    return shifted.astype(x.dtype, copy=False)


def log_softmax_x(out_bar, out, axis):
    if not out.ndim:
        return out_bar * 0
    kernel = fused("log_softmax_x", out_bar, out) if axis == out.ndim - 1 else None
    if kernel is not None:
        x_bar = np.empty_like(out)
        kernel(out.size // out.shape[axis], out_bar, out, x_bar, out.shape[axis])
        return x_bar
    return out_bar - np.exp(out) * np.add.reduce(out_bar, axis=axis, keepdims=True)


softmax_ = structural("softmax", softmax_forward, softmax_x)
log_softmax_ = structural("log_softmax", log_softmax_forward, log_softmax_x)


def _along(made: Any, input: Any, dim: int, dtype: Any) -> Any:
    if dtype is not None:
        input = input.to(dtype)
    axis = wrap_axis(dim, input._spec.ndim)
    if input._spec.dtype.kind != "f":
        which = "_lastdim" if axis == input._spec.ndim - 1 else ""
        raise NotImplementedError(
            f"\"{made.name}{which}_kernel_impl\" not implemented for '{dtype_name(input)}'"
        )
    return Primitive.apply(made, (input,), (axis,))


@public(module=("", "special"))
@with_numpy_names
def softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """``exp(input)`` over its sum along ``dim``, in ``dtype`` if it is given.

    Raises NotImplementedError for integers, bools and complex numbers.
    """
    return _along(softmax_, input, dim, dtype)


@public(module=("", "special"))
@with_numpy_names
def log_softmax(input: Any, dim: int, dtype: Any = None) -> Any:
    """The logarithm of `softmax`, without its overflow."""
    return _along(log_softmax_, input, dim, dtype)


def _implicit(name: str, input: Any, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        UserWarning,
        stacklevel=3,
    )
    return 0 if input._spec.ndim in (0, 1, 3) else 1


@public(module="nn.functional", name="softmax", method=False)
def functional_softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    """`tapegrad.softmax`; without ``dim`` a dimension is chosen with a warning, as in torch."""
    return _along(softmax_, input, _implicit("softmax", input, dim), dtype)


@public(module="nn.functional", name="log_softmax", method=False)
def functional_log_softmax(
    input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Any:
    """`tapegrad.log_softmax`; without ``dim`` as `softmax` here."""
    return _along(log_softmax_, input, _implicit("log_softmax", input, dim), dtype)


@public(module="nn.functional", method=False)
def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """`softmax` of ``-input``."""
    return _along(softmax_, -input, _implicit("softmin", input, dim), dtype)


@public(module="nn.functional", method=False)
def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """A sample of the Gumbel-softmax distribution along ``dim``, differentiable in the logits.

    ``hard`` gives a one-hot vector with the gradient of the soft sample. ``eps`` does nothing, in
    torch neither. (Jang, Gu, Poole 2017; Maddison, Mnih, Teh 2017.)
    """
    noise = -logits.new_empty(logits.shape).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().argmax(dim, keepdim=True)
    return soft.new_zeros(soft.shape).scatter(dim, index, 1.0) - soft.detach() + soft
