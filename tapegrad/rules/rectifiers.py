"""Activation functions of pieces, elementwise: rectifiers, clipped lines and shrinkage.

Kinks as in torch, and nan as in its vectorised kernels (the others differ there).
Sources: elu, Clevert et al. 2015; selu, Klambauer et al. 2017 (its two constants are theirs); celu,
Barron 2017; prelu, He et al. 2015; rrelu, Xu et al. 2015; hardswish, Howard et al. 2019.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import float64
from tapegrad.primitive import elementwise, select
from tapegrad.rules.activations import NN, applied, nn_relu
from tapegrad.rules.arguments import dtype_name, refuse


def leaky_relu_forward(x, y):
    return np.where(x > 0, x, x * y)


def leaky_relu_x(out_bar, x, y):
    return select(x > 0, out_bar, out_bar * y)


leaky_relu_ = elementwise(
    "leaky_relu", leaky_relu_forward, leaky_relu_x, None, hidden=True, scalar=True
)


@public(module=NN)
def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """``input`` where it is positive, ``negative_slope * input`` elsewhere."""
    return applied(leaky_relu_, input, inplace, float(negative_slope))


def prelu_y(out_bar, x):
    return select(x > 0, 0.0, out_bar * x)


prelu_ = elementwise(
    "prelu", leaky_relu_forward, leaky_relu_x, prelu_y, grad_name="PreluKernelBackward0",
    hidden=True, scalar=True,
)  # fmt: skip


@public(module=("", NN))
def prelu(input: Any, weight: Any) -> Any:
    """`leaky_relu` with a learned slope: one, or one for each index of dimension 1.

    Raises RuntimeError if the number or dtype of the slopes doesn't fit.
    """
    if weight._spec.dtype != input._spec.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {dtype_name(input)} and {dtype_name(weight)}"
        )
    refuse(input, "buic", "\"prelu_cpu\" not implemented for '{dtype}'", NotImplementedError)
    slopes = weight._spec.size
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if slopes != 1:
        if not input.ndim:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._spec.shape[1] if input.ndim > 1 else 1
        if channels != slopes:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{slopes} and channel size = {channels}."
            )
        weight = weight.reshape(slopes, *[1] * (input.ndim - 2))
    elif weight.ndim > input.ndim:
        weight = weight.reshape(())
    return prelu_(input, weight)


@public(module=("", NN), method=False)
def rrelu(
    input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False,
    inplace: bool = False,
) -> Any:  # fmt: skip
    """`leaky_relu` with a random slope for each element, uniform between the bounds.

    When not training the slope is their mean. Raises RuntimeError if they cross. (Xu et al. 2015.)
    """
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    # Drawn for the elements that need one, in double precision, as torch does.
    slopes = np.ones(input._spec.shape)
    sloped = input._array <= 0
    draws = input.new_empty(int(sloped.sum()), dtype=float64).uniform_(lower, upper)
    slopes[sloped] = draws._array
    return applied(prelu_, input, inplace, input.new_tensor(slopes))


def elu_forward(x, y):
    return np.where(x > 0, x, y * np.expm1(np.minimum(x, 0)))


def elu_x(out_bar, x, y):
    return select(x <= 0, out_bar * y * np.exp(select(x < 0, x, 0.0)), out_bar)


elu_ = elementwise("elu", elu_forward, elu_x, None, hidden=True, scalar=True)


@public(module=NN)
def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``input`` where it is positive, ``alpha * (exp(input) - 1)`` elsewhere."""
    return applied(elu_, input, inplace, float(alpha))


SELU_SCALE = 1.0507009873554805
SELU_BOTH = 1.7580993408473766  # times alpha, 1.6732632423543772


def selu_forward(x):
    return np.where(x > 0, SELU_SCALE * x, SELU_BOTH * np.expm1(np.minimum(x, 0)))


def selu_x(out_bar, x):
    return select(x <= 0, SELU_BOTH * out_bar * np.exp(select(x < 0, x, 0.0)), SELU_SCALE * out_bar)


selu_ = elementwise("elu", selu_forward, selu_x, hidden=True, scalar=True)


@public(module=("", NN), method=False)
def selu(input: Any, inplace: bool = False) -> Any:
    """The self-normalising scaled `elu`."""
    return applied(selu_, input, inplace)


def celu_forward(x, y):
    return np.where(x > 0, x, y * np.expm1(np.minimum(x, 0) / y))


def celu_x(out_bar, x, y):
    return select(x <= 0, out_bar * np.exp(select(x < 0, x, 0.0) / y), out_bar)


celu_ = elementwise("celu", celu_forward, celu_x, None, hidden=True, scalar=True)


@public(module=("", NN), method=False)
def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``. Raises RuntimeError for alpha 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return applied(celu_, input, inplace, float(alpha))


def hardtanh_forward(x, y, z):
    return np.minimum(np.maximum(x, y), z)


def hardtanh_x(out_bar, x, y, z):
    # Unlike clamp's, the gradient at the bounds is 0.
    return select((x > y) & (x < z), out_bar, 0.0)


hardtanh_ = elementwise(
    "hardtanh", hardtanh_forward, hardtanh_x, None, None, hidden=True, scalar=True
)


@public(module=NN)
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Any:
    """``input`` kept between two numbers. Raises ValueError if they cross."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    kind = input._spec.dtype.kind
    if kind == "b":
        raise RuntimeError("Bool inputs not supported for hardtanh")
    number = int if kind in "iu" else float
    bounds = number(min_val), number(max_val)
    return input._activate_(hardtanh_, *bounds) if inplace else hardtanh_(input, *bounds)


@public(module=NN)
def relu6(input: Any, inplace: bool = False) -> Any:
    """``input`` kept between 0 and 6."""
    return hardtanh(input, 0, 6, inplace)


def hardsigmoid_forward(x):
    return np.minimum(np.maximum(x + 3, 0), 6) / 6


def hardsigmoid_x(out_bar, x):
    return select((x > -3) & (x < 3), out_bar / 6, 0.0)


hardsigmoid_ = elementwise(
    "hardsigmoid", hardsigmoid_forward, hardsigmoid_x, hidden=True, scalar=True
)


@public(module=NN)
def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """``input / 6 + 1 / 2`` kept between 0 and 1."""
    return applied(hardsigmoid_, input, inplace)


def hardswish_forward(x):
    return x * np.minimum(np.maximum(x + 3, 0), 6) / 6


def hardswish_x(out_bar, x):
    return select(x <= -3, 0.0, select(x < 3, out_bar * (x / 3 + 0.5), out_bar))


hardswish_ = elementwise("hardswish", hardswish_forward, hardswish_x, hidden=True, scalar=True)


@public(module=NN)
def hardswish(input: Any, inplace: bool = False) -> Any:
    """``input * hardsigmoid(input)``."""
    return applied(hardswish_, input, inplace)


def softshrink_forward(x, y):
    return np.where(x > y, x - y, np.where(x < -y, x + y, x * 0))


def hardshrink_forward(x, y):
    return np.where((x >= -y) & (x <= y), 0, x)


def shrink_x(out_bar, x, y):
    return select((x < -y) | (x > y), out_bar, 0.0)


softshrink_ = elementwise(
    "softshrink", softshrink_forward, shrink_x, None, hidden=True, scalar=True
)
hardshrink_ = elementwise(
    "hardshrink", hardshrink_forward, shrink_x, None, hidden=True, scalar=True
)


@public(module=NN)
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """``input`` moved towards 0 by ``lambd``, and 0 where it is nearer than that."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return applied(softshrink_, input, False, float(lambd))


@public(module=("", NN))
def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """``input``, and 0 where it is no farther from 0 than ``lambd``."""
    return applied(hardshrink_, input, False, float(lambd))


def threshold_forward(x, y, z):
    return np.where(x <= y, z, x)


def threshold_x(out_bar, x, y):
    return select(x <= y, 0.0, out_bar)


threshold_ = elementwise("threshold", threshold_forward, threshold_x, None, None, hidden=True)


@public(module=("", NN), method=False)
def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """``input``, and ``value`` where it doesn't exceed the threshold."""
    if inplace:
        return input._activate_(threshold_, threshold, value)
    return threshold_(input, threshold, value)


# -- the in-place forms ----------------------------------------------------------------------------


def declare_in_place(function: Any, modules: tuple[str, ...]) -> None:
    """``<name>_``, which changes its input: the function with ``inplace=True``."""
    name = function.__name__.removeprefix("nn_") + "_"

    @public(module=modules, name=name, method=False)
    def changed(input: Any, *args: Any, **kwargs: Any) -> Any:
        return function(input, *args, **kwargs, inplace=True)

    changed.__name__ = changed.__qualname__ = name
    changed.__doc__ = f"`{name[:-1]}` in place: returns its input, changed."


for activation in (elu, leaky_relu, hardtanh):
    declare_in_place(activation, (NN,))
for activation in (nn_relu, celu, selu, threshold, rrelu):
    declare_in_place(activation, (NN, ""))
