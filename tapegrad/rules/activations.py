"""Activation functions, elementwise; in ``nn.functional``, some of them at the top too.

Sources: gelu, Hendrycks and Gimpel 2016; silu, Elfwing et al. 2017; mish, Misra 2019.

Where ``exp`` could overflow, it is taken of ``-|x|``: an inf in a branch not taken would come back
as nan in second derivatives. Arguments that are numbers are inputs without a rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import elementwise, select
from tapegrad.rules.arguments import check_tensor
from tapegrad.rules.arithmetic import add_, div_
from tapegrad.rules.exponential import sigmoid
from tapegrad.rules.special import erf
from tapegrad.rules.trigonometric import tanh

NN = "nn.functional"
#: Where torch's kernel, which its messages name, isn't called as the primitive here.
KERNELS = {
    "softplus_usual": "softplus_cpu",
    "gelu": "GeluKernelImpl",
    "gelu_tanh": "GeluKernelImpl",
    "celu": "elu_cpu",
    "logsigmoid": "log_sigmoid_cpu",
    "softshrink": "softshrink_cpu",
}


def applied(function: Any, input: Any, inplace: bool, *numbers: float) -> Any:
    """The function's value, in place if that is wanted; for floating-point Tensors only."""
    try:
        kind = input._spec.dtype.kind
    except AttributeError:
        check_tensor(function.name.partition("_")[0], input)
        raise
    if kind != "f":
        kernel = KERNELS.get(function.name, function.name + "_cpu")
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{TYPE_NAMES[input._spec.dtype.name]}'"
        )
    return input._activate_(function, *numbers) if inplace else function(input, *numbers)


@public(name="_activate", method="only", inplace=True)
def activate(input: Any, function: Any, *numbers: float) -> Any:
    """An activation function's value. It is there for its in-place form."""
    return function(input, *numbers)


def relu_forward(x):
    return np.maximum(0, x)  # in this order it keeps -0.0, as torch does


def relu_x(out_bar, out):
    # A nan passes its gradient on.
    return select(out <= 0, 0.0, out_bar)


def check_relu(input: Any) -> None:
    """Raise torch's errors."""
    kind = input._spec.dtype.kind
    if kind == "b":
        raise RuntimeError("Boolean inputs not supported for relu")
    if kind == "c":
        raise NotImplementedError("clamp is not supported for complex types")


relu = elementwise("relu", relu_forward, relu_x, check=check_relu, scalar=True)


@public(module=NN, name="relu")
def nn_relu(input: Any, inplace: bool = False) -> Any:
    """``max(input, 0)``."""
    try:
        return input.relu_() if inplace else input.relu()
    except AttributeError:
        check_tensor("relu", input)
        raise


@public(module=NN, name="sigmoid")
def nn_sigmoid(input: Any) -> Any:
    """``1 / (1 + exp(-input))``."""
    return sigmoid(input)


@public(module=NN, name="tanh")
def nn_tanh(input: Any) -> Any:
    """The hyperbolic tangent."""
    return tanh(input)


def softplus_forward(x, y, z):
    # y is beta and z the threshold above which it is the identity.
    scaled = x * y
    positive = np.maximum(scaled, 0)
    return np.where(scaled > z, x, (positive + np.log1p(np.exp(-np.abs(scaled)))) / y)


def softplus_x(out_bar, x, y, z, out):
    # sigmoid(beta x) = 1 - exp(-beta out)
    return select(x * y > z, out_bar, -out_bar * np.expm1(-y * out))


softplus_ = elementwise(
    "softplus", softplus_forward, softplus_x, None, None, hidden=True, scalar=True
)


def softplus_usual_forward(x):
    return np.where(x > 20, x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


def softplus_usual_x(out_bar, x, out):
    return select(x > 20, out_bar, -out_bar * np.expm1(-out))


#: With the usual beta of 1 and threshold of 20.
softplus_usual = elementwise(
    "softplus_usual", softplus_usual_forward, softplus_usual_x,
    hidden=True, scalar=True, grad_name="SoftplusBackward0",
)  # fmt: skip


@public(module=NN)
def softplus(input: Any, beta: float = 1, threshold: float = 20) -> Any:
    """``log(1 + exp(beta * input)) / beta``; the identity where ``beta * input > threshold``."""
    if beta == 1 and threshold == 20:
        return applied(softplus_usual, input, False)
    return applied(softplus_, input, False, float(beta), float(threshold))


SQRT_HALF = 0.7071067811865476
NORMAL = 0.3989422804014327  # 1 / sqrt(2 pi)
TANH_GELU = 0.7978845608028654  # sqrt(2 / pi)
CUBIC = 0.044715


def gelu_forward(x):
    return 0.5 * x * (1 + erf(x * SQRT_HALF))


def gelu_x(x):
    return 0.5 * (1 + erf(x * SQRT_HALF)) + x * NORMAL * np.exp(-0.5 * x * x)


gelu_ = elementwise("gelu", gelu_forward, gelu_x, hidden=True, scalar="gelu")


def gelu_tanh_forward(x):
    return 0.5 * x * (1 + np.tanh(TANH_GELU * (x + CUBIC * x * x * x)))


def gelu_tanh_x(x):
    t = np.tanh(TANH_GELU * (x + CUBIC * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * TANH_GELU * (1 + 3 * CUBIC * x * x)


gelu_tanh = elementwise(
    "gelu_tanh", gelu_tanh_forward, gelu_tanh_x, hidden=True, scalar=True, grad_name="GeluBackward0"
)


@public(module=NN)
def gelu(input: Any, *, approximate: str = "none") -> Any:
    """``input`` times the normal distribution function of it; "tanh" approximates that."""
    if approximate == "none":
        return applied(gelu_, input, False)
    if approximate == "tanh":
        return applied(gelu_tanh, input, False)
    raise RuntimeError("approximate argument must be either none or tanh.")


def silu_forward(x):
    return x / (1 + np.exp(-x))


def silu_x(x):
    e = np.exp(select(x < 0, x, -x))
    s = select(x < 0, e, 1.0) / (1 + e)
    return s * (1 + x * (1 - s))


silu_ = elementwise("silu", silu_forward, silu_x, hidden=True, scalar=True)


@public(module=NN)
def silu(input: Any, inplace: bool = False) -> Any:
    """``input * sigmoid(input)``."""
    return applied(silu_, input, inplace)


def mish_forward(x):
    return x * np.tanh(np.logaddexp(x, 0))


def mish_x(x):
    softplus = np.logaddexp(x, 0.0)
    t = np.tanh(softplus)
    return t - x * np.expm1(-softplus) * (1 - t * t)


mish_ = elementwise("mish", mish_forward, mish_x, hidden=True, scalar=True)


@public(module=NN)
def mish(input: Any, inplace: bool = False) -> Any:
    """``input * tanh(softplus(input))``."""
    return applied(mish_, input, inplace)


def logsigmoid_forward(x):
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def logsigmoid_x(out):
    # 1 - sigmoid(x)
    return -np.expm1(out)


logsigmoid_ = elementwise(
    "logsigmoid", logsigmoid_forward, logsigmoid_x,
    hidden=True, scalar=True, grad_name="LogSigmoidBackward0",
)  # fmt: skip


@public(module=NN)
def logsigmoid(input: Any) -> Any:
    """``log(sigmoid(input))``, without overflow."""
    return applied(logsigmoid_, input, False)


@public(module=NN)
def softsign(input: Any) -> Any:
    """``input / (1 + |input|)``."""
    return div_(input, add_(abs(input), 1))


@public(module=NN)
def tanhshrink(input: Any) -> Any:
    """``input - tanh(input)``."""
    return input - tanh(input)
