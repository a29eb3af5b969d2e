"""Losses of classes, in ``nn.functional``: the negative log likelihood and cross entropy."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import check_dtype, dtype_name, refuse
from tapegrad.rules.linear import linear
from tapegrad.rules.ondemand.losses import NN, reduction_of
from tapegrad.rules.reductions import sum
from tapegrad.rules.softmax import log_softmax


def nll_forward(x, index, scale, reduction):
    # ``scale``: the weight of each target, or None; of those that are ignored it is 0.
    if scale is None and reduction and len(index) == 2:
        kernel = fused("nll", x)
        if kernel is not None:
            total = np.empty((), x.dtype)
            kernel(1, x, index[1], total, x.shape[1], len(x) if reduction == 1 else 1)
            return total
    losses = -x[index]
    if scale is not None:
        losses = np.where(scale == 0, 0, losses * scale)
    if reduction == 0:
        return losses
    total = np.add.reduce(losses, axis=None)
    return total if reduction == 2 else total / divisor(losses.size, scale)


def divisor(size, scale):
    """What the mean divides by: the sum of the targets' weights."""
    return size if scale is None else np.add.reduce(scale, axis=None)


def nll_x(out_bar, x_shape, index, scale, reduction):
    if reduction == 1:
        n = divisor(index[min(len(index) - 1, 1)].size, scale)
        out_bar = out_bar / n if n else out_bar * 0
    return scattered(out_bar, x_shape, index, scale)


def scattered_forward(x, shape, index, scale):
    whole = np.zeros(shape, x.dtype)
    whole[index] = -x if scale is None else -x * scale
    return whole


def scattered_x(out_bar, x_shape, index, scale):
    part = -out_bar[index]
    if scale is not None:
        part = part * scale
    return part if part.shape == x_shape else np.sum(part)


nll_ = structural("nll_loss", nll_forward, nll_x)
nll2d_ = structural("nll_loss2d", nll_forward, nll_x, grad_name="NllLoss2DBackward0")
#: Zeros with the (weighted, negated) adjoints of the losses where the targets are.
scattered = structural("nll_loss_backward", scattered_forward, scattered_x)


@public(module=NN, method=False)
def nll_loss(
    input: Any, target: Any, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """The negative log likelihood of classes: input (N, C, ...) or (C,), target (N, ...) of ints.

    The mean is weighted by ``weight`` (C,); targets equal to ``ignore_index`` don't count. Raises
    ValueError or RuntimeError where the shapes don't fit, IndexError for a class out of range.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if not input.ndim:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    shape, sizes = input._spec.shape, target._spec.shape
    if len(shape) > 1 and sizes[:1] != shape[:1]:
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({sizes[0] if sizes else 0})."
        )
    if len(shape) <= 2 and len(sizes) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target._spec.dtype.char not in "lqB":
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {dtype_name(target)}"
        )
    if len(shape) > 2 and sizes[1:] != shape[2:]:
        wanted = [shape[0], *shape[2:]]
        raise RuntimeError(f"Expected target size {wanted}, got {list(sizes)}")
    if len(shape) == 1 and sizes not in ((), (1,)):
        raise RuntimeError(
            "For 1D input, 1D target must have size 1, but got target size: " + str(sizes[0])
        )
    message = "\"nll_loss_out_frame\" not implemented for '{dtype}'"
    refuse(input, "buic", message, NotImplementedError)
    check_dtype(input, weight)
    index, scale = _choice(shape, target._array, weight, ignore_index, input._spec.dtype)
    return (nll_ if len(shape) <= 2 else nll2d_)(input, index, scale, kind)


def _choice(
    shape: tuple[int, ...], target: np.ndarray, weight: Any, ignore_index: int, dtype: Any
) -> tuple[Any, np.ndarray | None]:
    """The index of the targets' elements, and their weights (None: all 1)."""
    axis = min(len(shape) - 1, 1)
    classes = shape[axis]
    if weight is not None and weight._spec.shape != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but "
            f"got weight tensor of shape: {list(weight.shape)}"
        )
    if len(shape) == 1:
        target = target.reshape(())
    elif weight is None and len(shape) == 2 and target.dtype == np.int64 and target.size:
        kernel = fused("known_classes", NO_NUMBERS)
        if kernel is not None:
            chosen, found = np.array(target, order="C"), np.empty(3, np.int64)
            kernel(1, chosen, found, ignore_index)
            least, greatest, count = found.tolist()
            if least >= 0 and greatest < classes and not count:
                return (rows_up_to(len(chosen)), chosen), None
    ignored = target == ignore_index
    some = bool(ignored.any())
    chosen = np.where(ignored, 0, target) if some else np.array(target, np.int64)
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < classes):
        bad = chosen.min() if chosen.min() < 0 else chosen.max()
        raise IndexError(f"Target {bad} is out of bounds.")
    scale = None
    if weight is not None:
        scale = weight._array[chosen].astype(dtype)
    if some:
        scale = np.where(ignored, 0, np.ones((), dtype) if scale is None else scale).astype(dtype)
    if len(shape) == 1:
        return (chosen,), scale
    grids = [
        np.arange(n).reshape([-1 if k == d else 1 for k in range(chosen.ndim)])
        for d, n in enumerate(chosen.shape)
    ]
    return (grids[0], chosen, *grids[1:]), scale


#: For `fused`, which wants an array that tells the dtype; there is none.
NO_NUMBERS = np.zeros(1)


@lru_cache(maxsize=64)
def rows_up_to(n: int) -> np.ndarray:
    """The numbers of n rows; nobody writes to them."""
    return np.arange(n)


@public(module=NN, method=False)
def cross_entropy(
    input: Any, target: Any, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """`nll_loss` of the log softmax: input (N, C, ...) or (C,) of logits.

    The target is of class indices (N, ...), or of probabilities in the input's shape.
    ``label_smoothing`` is the share of each target that is spread over all classes.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if not input.ndim:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    axis = 0 if input.ndim == 1 else 1
    shape, sizes = input._spec.shape, target._spec
    if sizes.dtype.kind == "f" and sizes.shape == shape:
        return _of_probabilities(input, target, weight, axis, kind, label_smoothing)
    logs = log_softmax(input, axis)
    usual = weight is None and not label_smoothing and sizes.dtype.char == "l"
    if usual and len(shape) == 2 and sizes.shape == shape[:1]:
        # What `nll_loss` comes to when there is nothing to refuse.
        index, scale = _choice(shape, target._array, None, ignore_index, logs._spec.dtype)
        return Primitive.apply(nll_, (logs,), (index, scale, kind))
    reduction = ("none", "mean", "sum")[kind]
    loss = nll_loss(logs, target, weight, None, ignore_index, None, reduction)
    if not label_smoothing:
        return loss
    smooth = _smooth(logs, target._array, weight, ignore_index, axis, kind)
    part = label_smoothing / input._spec.shape[axis]
    return loss * (1 - label_smoothing) + smooth * part


def _smooth(
    logs: Any, target: np.ndarray, weight: Any, ignore_index: int, axis: int, kind: int
) -> Any:
    """The losses against all classes alike, reduced as those against the targets."""
    if weight is not None:
        logs = logs * weight.reshape([-1 if i == axis else 1 for i in range(logs.ndim)])
    losses = -sum(logs, axis)
    check_dtype(logs, weight)
    _, scale = _choice((*logs._spec.shape,), target, weight, ignore_index, logs._spec.dtype)
    ignored = (target == ignore_index).reshape(losses._spec.shape)
    if ignored.any():
        losses = losses.masked_fill(losses.new_tensor(ignored, dtype=bool), 0)
    if kind == 0:
        return losses
    total = sum(losses)
    return total if kind == 2 else total / float(divisor(ignored.size, scale))


def _of_probabilities(
    input: Any, target: Any, weight: Any, axis: int, kind: int, label_smoothing: float
) -> Any:
    classes = input._spec.shape[axis]
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    values = log_softmax(input, axis) * target
    if weight is not None:
        values = values * weight.reshape([-1 if i == axis else 1 for i in range(input.ndim)])
    if kind == 0:
        return -sum(values, axis)
    total = -sum(values)
    rows = input._spec.size // classes if classes else 0
    return total if kind == 2 else total / (rows if rows else math.nan)


@public(module=NN, method=False)
def linear_cross_entropy(
    input: Any, linear_weight: Any, target: Any, *, linear_bias: Any = None, weight: Any = None,
    reduction: str = "mean", ignore_index: int | None = None, label_smoothing: float = 0.0,
    options: Any = None,
) -> Any:  # fmt: skip
    """`cross_entropy` of ``linear(input, linear_weight, linear_bias)``.

    ``input`` is (N, in) or (in,), ``linear_weight`` (C, ..., in), where what stands between belongs
    to the target, as `cross_entropy` has it. Raises RuntimeError for shapes that don't fit,
    NotImplementedError for ``options``.
    """
    if options is not None:
        raise NotImplementedError(
            "linear_cross_entropy(options=...) is not supported: leave it out"
        )
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}"
        )
    *outputs, features = linear_weight._spec.shape
    if input._spec.shape[-1] != features:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input._spec.shape[-1]} and {features}, respectively"
        )
    if linear_bias is not None and linear_bias._spec.shape != tuple(outputs):
        raise RuntimeError(
            f"expected linear_bias shape {tuple(outputs)}, got {linear_bias._spec.shape}"
        )
    if len(outputs) > 1 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {linear_weight._spec.shape} "
            f"requires batched input, (N, {features}), got unbatched input with shape "
            f"{input._spec.shape}"
        )
    shape = (*input._spec.shape[:-1], *outputs)
    if target._spec.shape == shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight.reshape(-1, features), bias).reshape(shape)
    return cross_entropy(
        logits, target, weight, ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction, label_smoothing=label_smoothing,
    )  # fmt: skip
