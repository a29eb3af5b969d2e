"""Dropout, with torch's random numbers (`tapegrad.random`).

Sources: Srivastava et al. 2014; of whole channels, Tompson et al. 2015; alpha dropout, which keeps
the mean and variance that selu aims at, Klambauer et al. 2017.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.random import chosen, chosen_like
from tapegrad.rules.arguments import refuse
from tapegrad.rules.arithmetic import mul
from tapegrad.rules.gathering import constant
from tapegrad.rules.rectifiers import SELU_BOTH

NN = "nn.functional"


def _kept(input: Any, p: float, channels: bool) -> np.ndarray:
    """Whether an element (or a whole channel) stays."""
    refuse(input, "biu", "result type Float can't be cast to the desired output type {dtype}")
    shape = input._spec.shape
    if channels:
        if len(shape) < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        shape = (*shape[:2], *[1] * (len(shape) - 2))
    if p == 1:
        return np.zeros(shape, np.bool_)  # nothing is drawn
    return chosen(shape, 1.0 - p) if channels else chosen_like(input, 1.0 - p)


def _idle(input: Any, p: float, training: bool) -> bool:
    """Whether there is nothing to do. Raises ValueError for what is no probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return not training or p == 0 or not input._spec.size


def _dropped(input: Any, p: float, training: bool, inplace: bool, channels: bool = False) -> Any:
    if _idle(input, p, training):
        return input
    number = input._spec.dtype.type
    kept = _kept(input, p, channels)
    noise = constant(input, kept * (number(1.0) / number(1.0 - p) if p < 1 else number(0.0)))
    return input.mul_(noise) if inplace else mul(input, noise)


def _alpha_dropped(
    input: Any, p: float, training: bool, inplace: bool, channels: bool = False
) -> Any:
    if _idle(input, p, training):
        return input
    if p == 1:
        return _dropped(input, p, training, inplace, channels)
    noise = _kept(input, p, channels).astype(input._spec.dtype)
    # What is dropped becomes what selu tends to; this keeps the mean and the variance.
    scale = 1.0 / math.sqrt((SELU_BOTH**2 * p + 1.0) * (1.0 - p))
    shift = ((noise - 1 + p) * (SELU_BOTH * scale)).astype(noise.dtype)
    noise *= noise.dtype.type(scale)
    return input.mul_(noise).add_(shift) if inplace else mul(input, noise) + shift


@public(module=NN, method=False)
def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """In training each element 0 with probability ``p``, else over 1 - p; otherwise ``input``.

    Raises ValueError for a probability out of [0, 1], RuntimeError for integers.
    """
    return _dropped(input, p, training, inplace)


@public(module=NN, method=False)
def dropout1d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, L) or (C, L). Raises RuntimeError for other shapes."""
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that "
            "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, "
            "a channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
        )
    return _of_channels(input, p, training, inplace, 3)


def _of_channels(input: Any, p: float, training: bool, inplace: bool, batched: int) -> Any:
    if input.ndim == batched:
        return _dropped(input, p, training, inplace, True)
    return _dropped(input.unsqueeze(0), p, training, inplace, True).squeeze(0)


def _warn_of_shape(name: str, input: Any, dims: int) -> None:
    if input.ndim not in (dims + 1, dims + 2):
        warnings.warn(
            f"{name}: Received a {input.ndim}-D input to {name}, which is deprecated and will "
            "result in an error in a future release. To retain the behavior and silence this "
            "warning, please use dropout instead. Note that "
            f"{name} exists to provide channel-wise dropout on inputs with {dims} spatial "
            "dimensions, a channel dimension, and an optional batch dimension (i.e. "
            f"{dims + 1}D or {dims + 2}D inputs).",
            UserWarning,
            stacklevel=3,
        )


@public(module=NN, method=False)
def dropout2d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, H, W); of (N, C, L) with a warning."""
    _warn_of_shape("dropout2d", input, 2)
    if input.ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            UserWarning,
            stacklevel=2,
        )
    return _dropped(input, p, training, inplace, True)


@public(module=NN, method=False)
def dropout3d(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """`dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    _warn_of_shape("dropout3d", input, 3)
    return _of_channels(input, p, training, inplace, 5)


@public(module=NN, method=False)
def alpha_dropout(input: Any, p: float = 0.5, training: bool = False, inplace: bool = False) -> Any:
    """In training each element -scale * alpha of selu with probability ``p``, then made standard.

    That is, mean 0 and variance 1 are kept. Raises ValueError for a probability out of [0, 1].
    """
    return _alpha_dropped(input, p, training, inplace)


@public(module=NN, method=False)
def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    return _alpha_dropped(input, p, training, inplace, True)


# -- with the arguments that torch has at the top --------------------------------------------------


@public(name="dropout", method=False)
def dropout_at_top(input: Any, p: float, train: bool) -> Any:
    """`nn.functional.dropout`, where ``train`` has to be said."""
    return _dropped(input, p, train, False)


@public(name="dropout_", method=False)
def dropout_in_place(input: Any, p: float, train: bool) -> Any:
    """`dropout` in place."""
    return _dropped(input, p, train, True)


@public(method=False)
def feature_dropout(input: Any, p: float, train: bool) -> Any:
    """`dropout` of whole channels of (N, C, ...)."""
    return _dropped(input, p, train, False, True)


@public(name="feature_dropout_", method=False)
def feature_dropout_in_place(input: Any, p: float, train: bool) -> Any:
    """`feature_dropout` in place."""
    return _dropped(input, p, train, True, True)


@public(name="alpha_dropout", method=False)
def alpha_dropout_at_top(input: Any, p: float, train: bool) -> Any:
    """`nn.functional.alpha_dropout`, where ``train`` has to be said."""
    return _alpha_dropped(input, p, train, False)


@public(name="alpha_dropout_", method=False)
def alpha_dropout_in_place(input: Any, p: float, train: bool) -> Any:
    """`alpha_dropout` in place."""
    return _alpha_dropped(input, p, train, True)


@public(name="feature_alpha_dropout", method=False)
def feature_alpha_dropout_at_top(input: Any, p: float, train: bool) -> Any:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    return _alpha_dropped(input, p, train, False, True)


@public(name="feature_alpha_dropout_", method=False)
def feature_alpha_dropout_in_place(input: Any, p: float, train: bool) -> Any:
    """`feature_alpha_dropout` in place."""
    return _alpha_dropped(input, p, train, True, True)
