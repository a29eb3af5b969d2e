"""Losses, in ``nn.functional``: one record each, where torch has one.

A forward function computes all of a loss at once, and reduces it. Binary cross entropy of logits is
``(1 - y) z + log(1 + exp(-z))``, as in torch, with an exponential that doesn't overflow. What
chooses among classes is in `tapegrad.rules.ondemand.classification`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import all_values, public
from tapegrad.dtypes import promote_types
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import refuse
from tapegrad.rules.arithmetic import clamp_min, mul
from tapegrad.rules.exponential import sigmoid, xlogy
from tapegrad.rules.reductions import mean, sum

NN = "nn.functional"
REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}

#: 0 and 1 of each dtype, as arrays: NumPy takes twice as long for Python's numbers.
UNITS = {np.dtype(c): (np.zeros((), c), np.ones((), c)) for c in "efdFD"}
_counts: dict[Any, np.ndarray] = {}


def reduced(values, reduction):
    """Losses of the elements, reduced: 0 none, 1 mean, 2 sum."""
    if reduction == 0:
        return values
    total = np.add.reduce(values, axis=None)
    return total / values.size if reduction == 1 else total


def count(out_bar: Any, shape: tuple[int, ...]) -> Any:
    """The number of elements, in a form that is quick to divide by."""
    n = math.prod(shape)
    if type(out_bar) is not np.ndarray:
        return n
    key = (out_bar.dtype, n)
    found = _counts.get(key)
    if found is None:
        found = np.array(n, out_bar.dtype)
        if len(_counts) < 1000:
            _counts[key] = found
    return found


def unreduced(out_bar, shape, reduction):
    """The adjoint of each element's loss, up to broadcasting."""
    return out_bar / count(out_bar, shape) if reduction == 1 else out_bar


def reduction_of(name: str, size_average: Any = None, reduce: Any = None) -> int:
    """The number of a reduction. Raises ValueError for what is none."""
    if size_average is not None or reduce is not None:
        average = size_average is None or size_average
        name = "none" if reduce is not None and not reduce else "mean" if average else "sum"
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{name}' instead.",
            UserWarning,
            stacklevel=3,
        )
    if name not in REDUCTIONS:
        raise ValueError(f"{name} is not a valid value for reduction")
    return REDUCTIONS[name]


def reduce_(values: Any, kind: int) -> Any:
    """Losses reduced, as operations of their own."""
    return values if kind == 0 else mean(values) if kind == 1 else sum(values)


def matched(input: Any, target: Any) -> tuple[Any, Any]:
    """Both of one shape and dtype, with torch's warning where they broadcast."""
    if input._spec is target._spec:
        return input, target
    a, b = input._spec.shape, target._spec.shape
    if a != b:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            UserWarning,
            stacklevel=3,
        )
        for k in range(1, min(len(a), len(b)) + 1):
            if a[-k] != b[-k] and a[-k] != 1 and b[-k] != 1:
                raise RuntimeError(
                    f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                    f"non-singleton dimension {max(len(a), len(b)) - k}"
                )
        shape = np.broadcast_shapes(a, b)
        input, target = input.expand(shape), target.expand(shape)
    if input._spec.dtype != target._spec.dtype:
        wanted = promote_types(input.dtype, target.dtype)
        input, target = input.to(wanted), target.to(wanted)
    return input, target


#: For so few numbers NumPy's functions are as fast as a call of a fused one.
FEW = 64


def in_one_pass(name, x, y, *numbers):
    """The losses of the elements by a fused function; None where that is for NumPy."""
    kernel = fused(name, x, y) if x.size > FEW and x.shape == y.shape else None
    if kernel is None:
        return None
    values = np.empty_like(x)
    kernel(x.size, x, y, values, *numbers)
    return values


def adjoint_in_one_pass(name, out_bar, x, y, reduction, *numbers):
    """The same for the adjoint of x."""
    kernel = fused(name, x, y, out_bar)
    if kernel is None or x.size <= FEW or x.shape != y.shape:
        return None
    x_bar = np.empty_like(x)
    share = np.asarray(unreduced(out_bar, x.shape, reduction))
    kernel(x.size, share, x, y, x_bar, reduction == 0, *numbers)
    return x_bar


def weighted(values: Any, weight: Any, kind: int) -> Any:
    """The losses of the elements times their weights, reduced; the mean is by the weights' sum."""
    if weight._spec.shape != values._spec.shape:
        raise ValueError("Weights and input must have the same size.")
    values = mul(values, weight)
    return sum(values) / sum(weight) if kind == 1 else reduce_(values, kind)


# -- of numbers ------------------------------------------------------------------------------------


def mse_forward(x, y, reduction):
    difference = x - y
    return reduced(difference * difference, reduction)


def mse_x(out_bar, x, y, reduction):
    share = unreduced(out_bar, x.shape, reduction)
    return (x - y) * (share + share)


def mse_y(out_bar, x, y, reduction):
    share = unreduced(out_bar, x.shape, reduction)
    return (y - x) * (share + share)


mse_ = structural("mse_loss", mse_forward, mse_x, mse_y)


@public(module=NN, method=False)
def mse_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """``(input - target) ** 2``: their mean, their sum, or ("none") each."""
    kind = reduction_of(reduction, size_average, reduce)
    input, target = matched(input, target)
    if input._spec.dtype.kind != "f":
        refuse(input, "buic", "\"mse_cpu\" not implemented for '{dtype}'", NotImplementedError)
    if weight is not None:
        return weighted(mse_(input, target, 0), weight, kind)
    return Primitive.apply(mse_, (input, target), (kind,))


@public(module=NN, method=False)
def l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", weight: Any = None,
) -> Any:  # fmt: skip
    """``|input - target|``: their mean, their sum, or ("none") each."""
    kind = reduction_of(reduction, size_average, reduce)
    input, target = matched(input, target)
    values = (input - target).abs()
    return reduce_(values, kind) if weight is None else weighted(values, weight, kind)


def huber_forward(x, y, delta, scale, reduction):
    values = in_one_pass("huber", x, y, delta, scale)
    if values is None:
        size = np.abs(x - y)
        # The line's slope is delta; below delta the line lies under the parabola.
        near = np.minimum(size, delta)
        values = near * (size - 0.5 * near) / scale
    return reduced(values, reduction)


def huber_x(out_bar, x, y, delta, scale, reduction):
    x_bar = adjoint_in_one_pass("huber_x", out_bar, x, y, reduction, delta, scale)
    if x_bar is not None:
        return x_bar
    slope = np.minimum(np.maximum(x - y, -delta), delta)
    return unreduced(out_bar, x.shape, reduction) * (slope / scale)


def huber_y(out_bar, x, y, delta, scale, reduction):
    return huber_x(out_bar, y, x, delta, scale, reduction)


huber_ = structural("huber_loss", huber_forward, huber_x, huber_y)
smooth_l1_ = structural("smooth_l1_loss", huber_forward, huber_x, huber_y)


@public(module=NN, method=False)
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Any:
    """Squares within ``delta`` of the target, lines beyond (Huber 1964)."""
    kind = reduction_of(reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    input, target = matched(input, target)
    refuse(input, "buic", "\"huber_cpu\" not implemented for '{dtype}'", NotImplementedError)
    if weight is not None:
        return reduce_(mul(huber_(input, target, float(delta), 1.0, 0), weight), kind)
    return huber_(input, target, float(delta), 1.0, kind)


@public(module=NN, method=False)
def smooth_l1_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", beta: float = 1.0,
) -> Any:  # fmt: skip
    """`huber_loss` over ``beta``; with a beta of 0 it is `l1_loss`."""
    kind = reduction_of(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    input, target = matched(input, target)
    if beta == 0:
        return reduce_((input - target).abs(), kind)
    refuse(input, "buic", "\"smooth_l1_cpu\" not implemented for '{dtype}'", NotImplementedError)
    return smooth_l1_(input, target, float(beta), float(beta), kind)


# -- of probabilities ------------------------------------------------------------------------------


def bce_logits_forward(x, y, reduction):
    values = in_one_pass("bce_logits", x, y)
    if values is None:
        zero, one = UNITS[x.dtype]
        values = np.logaddexp(np.negative(x), zero)
        values += (one - y) * x
    return reduced(values, reduction)


def bce_logits_x(out_bar, x, y, reduction):
    x_bar = adjoint_in_one_pass("bce_logits_x", out_bar, x, y, reduction)
    if x_bar is not None:
        return x_bar
    share = unreduced(out_bar, x.shape, reduction)
    if type(x) is not np.ndarray:
        return (sigmoid(x) - y) * share
    one = UNITS[x.dtype][1]
    p = np.exp(np.negative(x))
    p += one
    return (one / p - y) * share


def bce_logits_y(out_bar, x, reduction):
    return -x * unreduced(out_bar, x.shape, reduction)


bce_logits_ = structural(
    "bce_with_logits",
    bce_logits_forward,
    bce_logits_x,
    bce_logits_y,
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
)


def bce_weighted_forward(x, y, z, w, reduction):
    # z weighs the elements, w the positive ones: w scales what belongs to y.
    soft = np.logaddexp(np.negative(x), UNITS[x.dtype][0])
    return reduced(z * ((1 - y) * x + (1 + (w - 1) * y) * soft), reduction)


def bce_weighted_x(out_bar, x, y, z, w, reduction):
    share = unreduced(out_bar, x.shape, reduction)
    return share * z * ((1 - y) - (1 + (w - 1) * y) * sigmoid(-x))


def bce_weighted_y(out_bar, x, z, w, reduction):
    share = unreduced(out_bar, x.shape, reduction)
    return share * z * ((w - 1) * np.logaddexp(-x, 0 * x) - x)


bce_weighted_ = structural(
    "bce_with_logits",
    bce_weighted_forward,
    bce_weighted_x,
    bce_weighted_y,
    None,
    None,
    grad_name="BinaryCrossEntropyWithLogitsBackward0",
)


@public(module=NN, method=False)
def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", pos_weight: Any = None,
) -> Any:  # fmt: skip
    """Binary cross entropy of ``sigmoid(input)`` with ``target``, both of one shape.

    ``weight`` scales each element, ``pos_weight`` the positive ones; both broadcast. Raises
    ValueError where the shapes differ.
    """
    if size_average is None and reduce is None and reduction in REDUCTIONS:
        kind = REDUCTIONS[reduction]
    else:
        kind = reduction_of(reduction, size_average, reduce)
    if input._spec is not target._spec:
        if input._spec.shape != target._spec.shape:
            raise ValueError(
                f"Target size ({target.shape}) must be the same as input size ({input.shape})"
            )
        if input._spec.dtype != target._spec.dtype:
            wanted = promote_types(input.dtype, target.dtype)
            input, target = input.to(wanted), target.to(wanted)
    refuse(input, "buic", "\"log_sigmoid_cpu\" not implemented for '{dtype}'", NotImplementedError)
    if weight is None and pos_weight is None:
        return Primitive.apply(bce_logits_, (input, target), (kind,))
    one = UNITS[input._spec.dtype][1]
    z = one if weight is None else _weight(weight, input)
    w = one if pos_weight is None else _weight(pos_weight, input)
    return bce_weighted_(input, target, z, w, kind)


def _weight(weight: Any, input: Any) -> np.ndarray:
    array = weight._array.astype(input._spec.dtype, copy=False)
    try:
        np.broadcast_to(array, input._spec.shape)
    except ValueError:
        raise RuntimeError(
            f"a weight of shape {list(array.shape)} doesn't broadcast to the input's shape "
            f"{list(input.shape)}"
        ) from None
    return array


def bce_forward(x, y, z, reduction):
    # torch bounds the logarithms by -100, so that 0 and 1 give finite losses.
    losses = (y - 1) * np.maximum(np.log1p(-x), -100) - y * np.maximum(np.log(x), -100)
    return reduced(losses if z is None else losses * z, reduction)


def bce_x(out_bar, x, y, z, reduction):
    x_bar = None if z.ndim else adjoint_in_one_pass("bce_x", out_bar, x, y, reduction)
    if x_bar is not None:
        return x_bar if z is UNITS[x.dtype][1] else x_bar * z
    share = unreduced(out_bar, x.shape, reduction) * (x - y) / np.maximum((1 - x) * x, 1e-12)
    return share * z


def bce_y(out_bar, x, z, reduction):
    return unreduced(out_bar, x.shape, reduction) * (np.log1p(-x) - np.log(x)) * z


bce_ = structural(
    "binary_cross_entropy",
    bce_forward,
    bce_x,
    bce_y,
    None,
    grad_name="BinaryCrossEntropyBackward0",
)


@public(module=NN, method=False)
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """``-(y log(p) + (1 - y) log(1 - p))`` for probabilities ``input`` in [0, 1].

    The logarithms are bounded by -100, as in torch. Raises ValueError where the shapes differ,
    RuntimeError for what isn't a probability.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if input._spec.shape != target._spec.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size "
            f"({input.shape}) is deprecated. Please ensure they have the same size."
        )
    if input._spec.dtype != target._spec.dtype:
        raise RuntimeError(
            f"binary_cross_entropy needs input and target of one dtype, but got {input.dtype} and "
            f"{target.dtype}"
        )
    refuse(
        input, "buic", "\"binary_cross_entropy\" not implemented for '{dtype}'", NotImplementedError
    )
    array = all_values(input)
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    z = UNITS[array.dtype][1] if weight is None else _weight(weight, input)
    return bce_(input, target, z, kind)


@public(module=NN, method=False)
def kl_div(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", log_target: bool = False,
) -> Any:  # fmt: skip
    """The Kullback-Leibler divergence of ``target`` from log probabilities ``input``.

    ``reduction="batchmean"`` divides the sum by the size of the first dimension.
    """
    for what, kinds in (("Integral", "bui"), ("Complex", "c")):
        message = f"kl_div: {what} inputs not supported."
        refuse(input, kinds, message)
        refuse(target, kinds, message)
    if log_target:
        values = target.exp() * (target - input)
    else:
        values = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return sum(values) / input._spec.shape[0] if input.ndim else sum(values)
    return reduce_(values, reduction_of(reduction, size_average, reduce))


@public(module=(NN, ""), method=False)
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """The cosine of the angle between vectors along ``dim``; norms count at least ``eps``."""
    product = x1 * x2
    shape = product._spec.shape
    x1, x2 = (x if x._spec.shape == shape else x.expand(shape) for x in (x1, x2))
    return sum(product, dim) / (clamp_min(x1.norm(2, dim), eps) * clamp_min(x2.norm(2, dim), eps))
