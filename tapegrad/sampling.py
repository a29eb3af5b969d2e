"""Tensors of random numbers: torch's functions over `tapegrad.random`, which reproduces its draws.

    >>> import tapegrad
    >>> _ = tapegrad.manual_seed(0)
    >>> tapegrad.rand(3)
    tensor([0.4963, 0.7682, 0.0885])

They take the arguments of `tapegrad.creation`, and ``generator``: where the numbers come from, if
not from the default generator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import random
from tapegrad.alike import array_like
from tapegrad.declaration import by_sample
from tapegrad.factory import check_options, integer, leaf, numpy_dtype, shape_from
from tapegrad.fromdata import number_of
from tapegrad.random import Generator, default_generator, initial_seed, manual_seed, seed
from tapegrad.rules.drawing import bernoulli_ as drawn
from tapegrad.rules.drawing import normal_both, normal_mean, normal_std, poisson_
from tapegrad.tensor import Tensor

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "multinomial",
    "normal",
    "poisson",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]


def get_rng_state() -> Tensor:
    """The state of the default generator, a Tensor of bytes."""
    return leaf(default_generator.get_state())


def set_rng_state(new_state: Tensor) -> None:
    """Set the state of the default generator to one from `get_rng_state`."""
    default_generator.set_state(_state_array(new_state))


def _state_array(state: Any) -> Any:
    return state._array if isinstance(state, Tensor) else state


def check_generator(function: str, generator: Any) -> None:
    """Raise TypeError unless ``generator`` is a Generator or None."""
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(
            f"{function}(): argument 'generator' must be tapegrad.Generator, not "
            f"{type(generator).__name__}"
        )


def _check(function: str, generator: Any, out: Any, layout: Any, device: Any, pin: Any) -> None:
    if generator is not None:
        check_generator(function, generator)
    if out is not None or layout is not None or device is not None or pin:
        check_options(function, out, layout, device, pin)


# -- of a size -------------------------------------------------------------------------------------


@by_sample
def rand(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers, uniform in [0, 1)."""
    _check("rand", generator, out, layout, device, pin_memory)
    shape = shape_from("rand", sizes, size)
    return leaf(random.uniform(shape, numpy_dtype(dtype, "rand"), generator), requires_grad)


@by_sample
def randn(
    *sizes: Any,
    size: Any = None,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Random numbers, normal with mean 0 and variance 1."""
    _check("randn", generator, out, layout, device, pin_memory)
    shape = shape_from("randn", sizes, size)
    return leaf(random.normal(shape, numpy_dtype(dtype, "randn"), generator), requires_grad)


@by_sample
def randint(
    *args: Any,
    low: Any = None,
    high: Any = None,
    size: Any = None,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Random integers in [low, high): ``randint(high, size)`` or ``randint(low, high, size)``."""
    _check("randint", generator, out, layout, device, pin_memory)
    values = list(args)
    if size is None and values:
        size = values.pop()
    if high is None and values:
        high = values.pop()
    if low is None:
        low = values.pop() if values else 0
    if values or size is None or high is None:
        got = ", ".join(type(arg).__name__ for arg in args)
        raise TypeError(
            f"randint() received an invalid combination of arguments - got ({got}), but expected "
            "one of:\n * (int high, tuple of ints size, ...)\n"
            " * (int low, int high, tuple of ints size, ...)\n"
        )
    if not isinstance(size, (tuple, list)):
        position = len(args) if args else 1
        raise TypeError(
            f"randint(): argument 'size' (position {position}) must be tuple of ints, not "
            f"{type(size).__name__}"
        )
    position = 2 if len(args) > 2 else 1
    bounds = _integer_bounds("randint", low, high, position)
    wanted = np.dtype(np.int64) if dtype is None else numpy_dtype(dtype, "randint")
    shape = shape_from("randint", (tuple(size),))
    return leaf(random.integers(*bounds, shape, wanted, generator), requires_grad)


def _integer_bounds(function: str, low: Any, high: Any, position: int) -> tuple[int, int]:
    return (
        integer(_plain(low), function, "'low' (position 1)"),
        integer(_plain(high), function, f"'high' (position {position})"),
    )


def _integers(
    shape: tuple[int, ...], low: int, high: int, dtype: Any, generator: Generator | None
) -> np.ndarray:
    return random.integers(low, high, shape, dtype, generator)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


@by_sample
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    _check("randperm", generator, out, layout, device, pin_memory)
    count = integer(n, "randperm", "'n' (position 1)")
    wanted = np.dtype(np.int64) if dtype is None else numpy_dtype(dtype, "randperm")
    return leaf(random.permutation(count, wanted, generator), requires_grad)


# -- after the pattern of another ------------------------------------------------------------------


@by_sample
def rand_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`rand` of the input's shape, and its dtype unless one is given."""
    _check("rand_like", generator, None, layout, device, pin_memory)
    array = array_like("rand_like", input, dtype, memory_format)
    array[...] = random.drawn_as(array, random.uniform, array.dtype, generator)
    return leaf(array, requires_grad)


@by_sample
def randn_like(
    input: Tensor,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`randn` of the input's shape, and its dtype unless one is given."""
    _check("randn_like", generator, None, layout, device, pin_memory)
    array = array_like("randn_like", input, dtype, memory_format)
    contiguous = array.flags.c_contiguous
    array[...] = random.drawn_as(array, random.normal, array.dtype, generator, 0.0, 1.0, contiguous)
    return leaf(array, requires_grad)


@by_sample
def randint_like(
    input: Tensor,
    low: Any = None,
    high: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """`randint` of the input's shape, and its dtype unless one is given.

    It is ``randint_like(input, high)`` or ``randint_like(input, low, high)``.
    """
    _check("randint_like", generator, None, layout, device, pin_memory)
    if high is None:
        low, high = 0, low
    bounds = _integer_bounds("randint_like", 0 if low is None else low, high, 3)
    array = array_like("randint_like", input, dtype, memory_format)
    array[...] = random.drawn_as(array, _integers, *bounds, array.dtype, generator)
    return leaf(array, requires_grad)


# -- with parameters -------------------------------------------------------------------------------


@by_sample
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Normal random numbers: of a ``size``, or one for each element of ``mean`` and of ``std``.

    A Tensor ``mean`` or ``std`` sets the shape (both are broadcast) and the dtype. Gradients don't
    flow through the draw. Raises RuntimeError if ``std`` is negative.
    """
    _check("normal", generator, out, layout, device, pin_memory)
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    if not tensors:
        if not isinstance(size, (tuple, list)):
            got = f"{type(mean).__name__}, {type(std).__name__}"
            got += "" if size is None else f", size={type(size).__name__}"
            raise TypeError(
                f"normal() received an invalid combination of arguments - got ({got}), but "
                "expected one of:\n * (Tensor mean, Tensor std, ...)\n"
                " * (Tensor mean, float std = 1, ...)\n * (float mean, Tensor std, ...)\n"
                " * (float mean, float std, tuple of ints size, ...)\n"
            )
        center = float(number_of(mean, "normal", "'mean' (position 1)"))
        width = float(number_of(std, "normal", "'std' (position 2)"))
        shape = shape_from("normal", (tuple(size),))
        array = random.normal(shape, numpy_dtype(dtype, "normal"), generator, center, width)
        return leaf(array, requires_grad)
    if size is not None:
        raise TypeError("normal() takes no size where mean or std is a Tensor")
    if isinstance(std, Tensor):
        if std._array.dtype.kind != "c" and not (std._array >= 0).all():
            raise RuntimeError("normal expects all elements of std >= 0.0")
    elif not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    means, stds = (x._array if isinstance(x, Tensor) else x for x in (mean, std))
    shape = _broadcast(np.shape(means), np.shape(stds))
    wanted = tensors[0]._array.dtype
    draws = random.normal(shape, wanted, generator)
    draws *= stds
    draws += means
    if len(tensors) == 2:
        return normal_both(mean, std, draws)
    return (normal_mean if tensors[0] is mean else normal_std)(tensors[0], draws)


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        pass
    for k in range(1, min(len(a), len(b)) + 1):
        if a[-k] != b[-k] and 1 not in (a[-k], b[-k]):
            dim = max(len(a), len(b)) - k
            raise RuntimeError(
                f"The size of tensor a ({a[-k]}) must match the size of tensor b ({b[-k]}) at "
                f"non-singleton dimension {dim}"
            )
    raise AssertionError("some dimension is at odds")


@by_sample
def bernoulli(
    input: Tensor,
    p: float | None = None,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """1 with the probabilities ``input``, else 0; with ``p`` that probability for all elements.

    Of the input's shape and dtype. Raises RuntimeError for a probability out of [0, 1].
    """
    _check("bernoulli", generator, out, None, None, False)
    if p is not None:
        spec = input._spec
        draws = random.bernoulli_scalar(spec.shape, spec.dtype, float(p), generator)
    else:
        draws = random.bernoulli(input._array, generator)
    return drawn(input, draws)


@by_sample
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """How many events there are, of the rates ``input``: of its shape and dtype.

    The gradient is 0. Raises RuntimeError for a rate below 0, NotImplementedError for integers.
    """
    check_generator("poisson", generator)
    return poisson_(input, random.poisson(input._array, generator))


@by_sample
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Indices drawn with the weights of a row, or of each row of a matrix: int64.

    Raises RuntimeError for weights that are negative, not finite or all zero, and for more samples
    than weights without ``replacement``.
    """
    _check("multinomial", generator, out, None, None, False)
    return leaf(random.multinomial(input._array, num_samples, replacement, generator))
