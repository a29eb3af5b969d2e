"""torch.nn.init: the first values of parameters.

Each function fills a Tensor in place, unrecorded, and returns it. The numbers are those that torch
draws from the same seed. "Fan" is how many values an output depends on (``fan_in``), or how many
outputs a value has a share in (``fan_out``).

>>> import tapegrad as torch
>>> _ = torch.manual_seed(0)
>>> torch.nn.init.xavier_uniform_(torch.empty(1, 2))
tensor([[-0.0106,  0.7586]])
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.alike import empty_like
from tapegrad.modes import no_grad
from tapegrad.operators import functions
from tapegrad.random import Generator
from tapegrad.tensor import Tensor, from_array

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {
    **dict.fromkeys(("linear", "sigmoid"), 1),
    **{f"conv{kind}{n}d": 1 for kind in ("", "_transpose") for n in (1, 2, 3)},
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity's input should be scaled to keep its variance.

    ``param`` is the negative slope of "leaky_relu" (0.01). Raises ValueError for another name or
    a slope that is no number.
    """
    if nonlinearity == "leaky_relu":
        if param is not None and (isinstance(param, bool) or not isinstance(param, (int, float))):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return _GAINS[nonlinearity]


@no_grad()
def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal, of this mean and standard deviation."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, but within [a, b]: what falls outside is drawn again.

    Where that would mean to draw often, because [a, b] holds less than 0.3 of the distribution,
    uniform numbers are accepted in proportion to their density.
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )
    below = [(1 + math.erf((end - mean) / std / math.sqrt(2))) / 2 for end in (a, b)]
    if below[1] - below[0] > 0.3:
        low, high = tensor._array.dtype.type([a, b])
        result = tensor.normal_(mean, std, generator=generator)._array.copy()
        outside = (result < low) | (result > high)
        while outside.any():
            again = empty_like(tensor).normal_(mean, std, generator=generator)._array
            result = np.where(outside, again, result)
            outside = (result < low) | (result > high)
        return tensor.copy_(from_array(result))
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    accept = from_array(np.empty_like(tensor._array))
    pending: Any = True
    result = np.empty_like(tensor._array)
    while np.any(pending):
        candidates = tensor.uniform_(a, b, generator=generator)
        result = np.where(pending, candidates._array, result)
        density = ((candidates - mean) / std).pow(2).mul(-0.5).sub(log_peak)
        rejected = accept.uniform_(generator=generator).log_().gt(density)
        pending = pending & rejected._array
    return tensor.copy_(from_array(result))


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    """The one value ``val``."""
    return tensor.fill_(val)


@no_grad()
def ones_(tensor: Tensor) -> Tensor:
    """Ones."""
    return tensor.fill_(1)


@no_grad()
def zeros_(tensor: Tensor) -> Tensor:
    """Zeros."""
    return tensor.zero_()


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity matrix, as far as it fits. Raises ValueError for other than 2 dimensions."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return tensor.copy_(from_array(np.eye(*tensor.shape, dtype=tensor._array.dtype)))


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """The kernel of a convolution that hands its input on, for as many channels as there are.

    For (out channels, in channels / groups, kernel...), of 1 to 3 spatial dimensions; ValueError
    otherwise, or if the groups don't divide the channels.
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.shape[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    kernel = np.zeros_like(tensor._array)
    each = tensor.shape[0] // groups
    centre = [size // 2 for size in tensor.shape[2:]]
    for channel in range(min(each, tensor.shape[1])):
        kernel[(slice(channel, None, each), channel, *centre)] = 1
    return tensor.copy_(from_array(kernel))


def _fans(tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """torch's name, which programs use though it is private."""
    return _fans(tensor)


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform, of the variance ``gain² · 2 / (fan_in + fan_out)`` (Glorot & Bengio 2010)."""
    std = gain * math.sqrt(2.0 / float(sum(_fans(tensor))))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal, of the variance ``gain² · 2 / (fan_in + fan_out)`` (Glorot & Bengio 2010)."""
    std = gain * math.sqrt(2.0 / float(sum(_fans(tensor))))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    modes = ("fan_in", "fan_out")
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of {[*modes]}")
    return calculate_gain(nonlinearity, a) / math.sqrt(_fans(tensor)[modes.index(mode.lower())])


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform, of the variance ``gain² / fan`` (He et al. 2015); ``a`` is leaky_relu's slope."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal, of the variance ``gain² / fan`` (He et al. 2015); ``a`` is leaky_relu's slope."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """``gain`` times a matrix with orthonormal rows or columns (Saxe, McClelland & Ganguli 2014).

    The Q of a normal matrix, with the signs that make it uniformly distributed (Mezzadri 2007).
    Dimensions after the first are taken as one.
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if not tensor._spec.size:
        return tensor
    rows = tensor.shape[0]
    matrix = tensor.new_empty((rows, tensor._spec.size // rows)).normal_(0, 1, generator=generator)
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = functions["qr"](matrix.t() if wide else matrix)
    q = q * functions["diag"](r).sign()
    tensor.copy_((q.t() if wide else q).reshape(tensor.shape))
    return tensor.mul_(gain)


@no_grad()
def sparse_(
    tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None
) -> Tensor:
    """Normal numbers, of which a part ``sparsity`` of each column is 0 (Martens 2010)."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    tensor.normal_(0, std, generator=generator)
    from tapegrad.random import permutation

    for column in range(columns):
        chosen = permutation(rows)[: math.ceil(sparsity * rows)]
        tensor[chosen, column] = 0
    return tensor
