"""Losses of margins, in ``nn.functional``: what lies far enough on the right side costs nothing.

All are composed of other operators; at the margin itself gradients are torch's. Sources: the
triplet loss and its swap, Balntas et al. 2016; the losses of several classes, Weston and Watkins
1999 and Crammer and Singer 2001.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.activations import logsigmoid_, relu
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.arithmetic import clamp_min, minimum, mul
from tapegrad.rules.exponential import sqrt
from tapegrad.rules.ondemand.losses import NN, reduce_, reduction_of
from tapegrad.rules.reductions import sum
from tapegrad.rules.selection import where

#: Added to squared lengths, so that no cosine divides by 0.
TINY = 1e-12


@public(module=NN, method=False)
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: Any = None,
    reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``max(0, margin - target * (input1 - input2))``: a target of 1 ranks input1 higher, -1 lower.

    Raises RuntimeError where the numbers of dimensions differ.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return reduce_(clamp_min(-target * (input1 - input2) + margin, 0), kind)


@public(module=NN, method=False)
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """A distance ``input`` itself where the target is 1, ``max(0, margin - input)`` where -1."""
    kind = reduction_of(reduction, size_average, reduce)
    far = where(target != 1, clamp_min(margin - input, 0), 0.0)
    return reduce_(far + where(target != -1, input, 0.0), kind)


@public(module=NN, method=False)
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0, size_average: Any = None,
    reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """1 less the cosine where the target is 1, ``max(0, cosine - margin)`` where it is -1.

    Vectors (N, D) with targets (N,), or (D,) with (). Raises RuntimeError for other shapes.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if target.ndim > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.ndim == input2.ndim == target.ndim + 1:
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    lengths = [sum(mul(x, x), -1) + TINY for x in (input1, input2)]
    cosine = sum(mul(input1, input2), -1) / sqrt(mul(*lengths))
    apart = where(target == -1, clamp_min(cosine - margin, 0), 0.0)
    return reduce_(where(target == 1, 1 - cosine, 0.0) + apart, kind)


def _triplets(closer: Any, farther: Any, margin: float, kind: int) -> Any:
    return reduce_(clamp_min(margin + closer - farther, 0), kind)


@public(module=NN, method=False)
def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``max(0, margin + |anchor - positive| - |anchor - negative|)`` in the p-norm, ``eps`` added.

    With ``swap`` the nearer of anchor and positive is what the negative is measured from. Vectors
    lie along the last dimension. Raises ValueError for a margin that isn't positive.
    """
    kind = reduction_of(reduction, size_average, reduce)
    _check_margin(margin)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )

    def distance(x: Any, y: Any) -> Any:
        return (x - y + eps).norm(p, -1)

    closer, farther = distance(anchor, positive), distance(anchor, negative)
    if swap:
        farther = minimum(farther, distance(positive, negative))
    return _triplets(closer, farther, margin, kind)


def _check_margin(margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")


@public(module=NN, method=False)
def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *,
    distance_function: Callable[[Any, Any], Any] | None = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """`triplet_margin_loss` with a distance of one's own; by default the Euclidean one."""
    if distance_function is None:
        return triplet_margin_loss(
            anchor, positive, negative, margin=margin, swap=swap, reduction=reduction
        )
    kind = reduction_of(reduction)
    _check_margin(margin)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative "
            f"{negative.ndim}D inputs"
        )
    closer = distance_function(anchor, positive)
    farther = distance_function(anchor, negative)
    if swap:
        farther = minimum(farther, distance_function(positive, negative))
    return _triplets(closer, farther, margin, kind)


# -- of one class or several -----------------------------------------------------------------------


@public(module=NN, method=False)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    """``log(1 + exp(-target * input))`` for targets of 1 and -1, without overflow."""
    kind = reduction_of(reduction, size_average, reduce)
    return reduce_(-logsigmoid_(mul(target, input)), kind)


@public(module=NN, method=False)
def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """Binary cross entropy of each class (the last dimension), weighted, and its mean over them."""
    kind = reduction_of(reduction, size_average, reduce)
    losses = -(target * logsigmoid_(input) + (1 - target) * logsigmoid_(-input))
    if weight is not None:
        losses = losses * weight
    return reduce_(losses.mean(-1), kind)


@public(module=NN, method=False)
def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
    size_average: Any = None, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """``sum(max(0, margin - input[y] + input[i]) ** p) / C`` over the classes i other than y.

    Inputs (N, C) with targets (N,), or (C,) with (). ``weight`` (C,) scales by the target's class.
    Raises ValueError for a p other than 1 and 2, RuntimeError for shapes that don't fit.
    """
    kind = reduction_of(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    _check_classes(input)
    rows, classes = (1, 1, *input._spec.shape)[-2:]
    if weight is not None:
        if weight.ndim != 1:
            raise ValueError("weight must be one-dimensional")
        if weight._spec.size != classes:
            raise RuntimeError(
                f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
            )
    given = target._array
    if given.ndim > 1 or given.size != rows:
        raise RuntimeError(
            f"target tensor should be 1-D with size equal to the batch size. Expected target size "
            f"[{rows}], but got {list(given.shape)}"
        )
    _check_long(target)
    if given.size and not (given.min() >= 0 and given.max() < classes):
        raise RuntimeError("target out of range")
    index = given.reshape(rows, 1)
    x = input.reshape(rows, classes)
    losses = relu(margin - x.gather(1, input.new_tensor(index, dtype=int)) + x)
    losses = losses if p == 1 else mul(losses, losses)
    factors = np.ones((rows, classes), input._spec.dtype) / classes
    np.put_along_axis(factors, index, 0, 1)
    losses = losses * input.new_tensor(factors)
    if weight is not None:
        losses = losses * input.new_tensor(weight._array[index])
    losses = sum(losses, 1)
    return reduce_(losses.reshape(()) if input.ndim < 2 else losses, kind)


@public(module=NN, method=False)
def multilabel_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Any:
    """``sum(max(0, 1 - input[y] + input[i])) / C`` over the target classes y and the others i.

    Input and target are (N, C) or (C,); a target of -1 ends a row's list of classes. Raises
    RuntimeError for other shapes, and for a class out of range.
    """
    kind = reduction_of(reduction, size_average, reduce)
    _check_classes(input)
    if target._spec.shape != input._spec.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}"
        )
    _check_long(target)
    rows, classes = (1, 1, *input._spec.shape)[-2:]
    given = target._array.reshape(rows, classes)
    listed = np.logical_and.accumulate(given >= 0, 1)
    if given.size and not (given.min() >= -1 and given.max() < classes):
        raise RuntimeError("target out of range")
    wanted = np.zeros((rows, classes), bool)
    row, place = np.nonzero(listed)
    wanted[row, given[row, place]] = True
    x = input.reshape(rows, classes)
    chosen = x.gather(1, input.new_tensor(np.where(listed, given, 0), dtype=int))
    losses = relu(1 - chosen.unsqueeze(2) + x.unsqueeze(1))
    factors = (listed[:, :, None] & ~wanted[:, None, :]).astype(input._spec.dtype) / classes
    losses = sum(losses * input.new_tensor(factors), (1, 2))
    return reduce_(losses.reshape(()) if input.ndim < 2 else losses, kind)


def _check_classes(input: Any) -> None:
    if input.ndim > 2 or 0 in input._spec.shape[-1:]:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(input.shape)}"
        )


def _check_long(target: Any) -> None:
    if target._array.dtype != np.int64:
        raise RuntimeError(f"expected scalar type Long but found {dtype_name(target)}")
