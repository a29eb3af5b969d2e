"""Random numbers in place: ``uniform_``, ``normal_`` and the like, methods of Tensor.

>>> import tapegrad
>>> _ = tapegrad.manual_seed(0)
>>> tapegrad.empty(3).uniform_(-1, 1)
tensor([-0.0075,  0.5364, -0.8230])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad import dtypes, random
from tapegrad.declaration import by_sample
from tapegrad.inplace import check_memory, check_writable, move
from tapegrad.modes import modes
from tapegrad.random import Generator, default_generator
from tapegrad.sampling import check_generator
from tapegrad.storage import memory_order, stamp
from tapegrad.tape import tape
from tapegrad.tensor import Tensor
from tapegrad.variates import DOUBLE

__all__ = [
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "log_normal_",
    "normal_",
    "random_",
    "uniform_",
]


def _fill(
    target: Tensor, function: str, generator: Any, draw: Callable[..., Any], *args: Any
) -> Tensor:
    """Write ``draw(shape, dtype, *args)`` to the Tensor, whose old value is forgotten."""
    if generator is not None:
        check_generator(function, generator)
    check_writable(target)
    array, spec = target._array, target._spec
    check_memory(array)
    numbers = random.drawn_as(array, draw, spec.dtype, *args)
    stamp(array, tape.next_serial(), True)
    array[...] = numbers
    if (spec.special or target._place is not None) and modes.grad:
        move(target, None)
    return target


@by_sample
def uniform_(
    self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill the Tensor with random numbers, uniform in [from, to)."""
    return _fill(self, "uniform_", generator, random.uniform, generator, from_, to)


@by_sample
def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill the Tensor with normal random numbers."""
    contiguous = self._array.flags.c_contiguous
    return _fill(self, "normal_", generator, random.normal, generator, mean, std, contiguous)


@by_sample
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill the Tensor with exponential random numbers of rate ``lambd``."""
    return _fill(self, "exponential_", generator, random.exponential, lambd, generator)


@by_sample
def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers whose logarithms are normal, of this mean and standard deviation.

    Raises RuntimeError for a ``std`` that isn't positive.
    """
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    return _fill(self, "log_normal_", generator, _log_normal, mean, std, generator)


def _log_normal(shape: Any, dtype: Any, mean: float, std: float, generator: Any) -> np.ndarray:
    normal = (generator or default_generator)._few_normals(math.prod(shape))
    return random.cast(np.exp(normal * std + mean), dtype).reshape(shape)


@by_sample
def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill with numbers of the Cauchy distribution: ``median + sigma * tan(pi (u - 1/2))``.

    Raises RuntimeError for a ``sigma`` that isn't positive.
    """
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return _fill(self, "cauchy_", generator, _cauchy, median, sigma, generator)


def _cauchy(shape: Any, dtype: Any, median: float, sigma: float, generator: Any) -> np.ndarray:
    u = (generator or default_generator)._units(shape, DOUBLE)
    return random.cast(median + sigma * np.tan(np.pi * (u - 0.5)), dtype)


@by_sample
def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with how many trials of probability ``p`` it takes to the first success, 1 or more.

    Raises RuntimeError for a ``p`` out of (0, 1).
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return _fill(self, "geometric_", generator, _geometric, p, generator)


def _geometric(shape: Any, dtype: Any, p: float, generator: Any) -> np.ndarray:
    u = (generator or default_generator)._units(shape, DOUBLE)
    with np.errstate(divide="ignore"):
        return np.ceil(np.log(u) / math.log1p(-p)).astype(dtype)


@by_sample
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with 1 with probability ``p`` (a number, or a Tensor of them), else 0."""
    if not isinstance(p, Tensor):
        draw = random.bernoulli_scalar
        return _fill(self, "bernoulli_", generator, draw, float(p), generator)
    chances = np.broadcast_to(p._array, self._spec.shape)
    chances = chances.transpose(memory_order(self._array))
    return _fill(self, "bernoulli_", generator, _by_probabilities, chances, generator)


def _by_probabilities(
    shape: tuple[int, ...], dtype: Any, p: np.ndarray, generator: Generator | None
) -> np.ndarray:
    return random.bernoulli(p, generator).astype(dtype)


@by_sample
def random_(
    self: Tensor,
    from_: int | None = None,
    to: int | None = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with random integers: in [from, to), in [0, to), or without bounds all of the dtype's.

    A floating-point dtype holds those up to 2 ** (the digits of its mantissa) exactly.
    """
    if from_ is None:
        return _fill(self, "random_", generator, _all_integers, generator)
    low, high = (0, from_) if to is None else (from_, to)
    return _fill(self, "random_", generator, _between, low, high, generator)


def _between(shape: Any, dtype: Any, low: int, high: int, generator: Any) -> np.ndarray:
    return random.integers(low, high, shape, dtype, generator)


def _all_integers(shape: tuple[int, ...], dtype: np.dtype[Any], generator: Any) -> np.ndarray:
    if dtype.kind == "c":
        raise NotImplementedError(f"random_ is not supported for {dtypes.from_numpy(dtype)}")
    if dtype.kind == "f":
        span = 2 ** (np.finfo(dtype).nmant + 1) + 1
    else:
        span = 2 if dtype.kind == "b" else int(np.iinfo(dtype).max) + 1
    words = (generator or default_generator)._words(math.prod(shape), wide=dtype.itemsize == 8)
    return (words % words.dtype.type(span)).astype(dtype).reshape(shape)
