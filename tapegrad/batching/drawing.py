"""Random numbers under vmap: the same for all samples, or different ones for each.

They are drawn outside of the innermost vmap: once, or for all samples in one call, so that a seed
gives the numbers that it gives in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tapegrad import sampling
from tapegrad.batched import Batched, Level, batched, before_draw, levels
from tapegrad.batching.apply import filled
from tapegrad.batching.writing import copy_into
from tapegrad.rules.arguments import sizes_of
from tapegrad.rules.joining import stack

__all__ = ["draw"]

Function = Callable[..., Any]

#: Functions that take a size, and where among their arguments.
SIZED = {"rand": 0, "randn": 0, "randint": -1}
#: Functions of one Tensor, of which they need shape and dtype, or which they fill.
SHAPED = ("rand_like", "randn_like", "randint_like")
#: Functions of a Tensor that can be of all samples.
WHOLE = (*SHAPED, "dropout", "dropout_at_top", "alpha_dropout", "bernoulli", "poisson")


@contextmanager
def _outside() -> Iterator[Level]:
    """Outside of the innermost vmap."""
    level = levels.running.pop()
    try:
        yield level
    finally:
        levels.running.append(level)


def draw(function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function that was about to draw random numbers."""
    if levels.running[-1].randomness == "error":
        before_draw()
    name = function.__name__
    in_place = name.endswith("_")
    same = levels.running[-1].randomness == "same"
    if in_place and not same and type(args[0]) is not Batched:
        raise RuntimeError(
            "vmap: Cannot ask for different inplace randomness on an unbatched tensor. This will "
            "appear like same randomness. If this is necessary for your usage, please file an "
            "issue with functorch."
        )
    with _outside() as level:
        if same:
            return _same(function, args, kwargs, level, in_place)
        return _different(function, args, kwargs, level, in_place)


def _same(function: Function, args: Any, kwargs: Any, level: Level, in_place: bool) -> Any:
    if in_place and type(args[0]) is Batched:
        sample = sampling.rand_like(_sample(args[0], level))
        return copy_into(args[0], function(sample, *args[1:], **kwargs))
    if function.__name__ == "bernoulli" and kwargs.get("p") is None and type(args[0]) is Batched:
        raise RuntimeError(
            "vmap: We do not support same randomness with batched probabilities: use "
            "randomness='different'"
        )
    if function.__name__ in SHAPED:
        args = (_sample(args[0], level), *args[1:])
    return function(*args, **kwargs)


def _sample(tensor: Any, level: Level) -> Any:
    mapped = type(tensor) is Batched and tensor._level == level.number
    return tensor._value[0] if mapped else tensor


def _different(function: Function, args: Any, kwargs: Any, level: Level, in_place: bool) -> Any:
    name, size = function.__name__, level.size
    if in_place and args[0]._level == level.number:
        function(args[0]._value, *args[1:], **kwargs)
        return args[0]
    if name in SIZED:
        return batched(_sized(function, SIZED[name], size, args, kwargs), level.number)
    if name in WHOLE:
        mapped = type(args[0]) is Batched and args[0]._level == level.number
        value = filled(args[0]._value if mapped else args[0], mapped, size)
        return batched(function(value, *args[1:], **kwargs), level.number)
    rows = [function(*[_row(x, level, i) for x in args], **kwargs) for i in range(size)]
    return batched(stack(rows), level.number)


def _row(value: Any, level: Level, i: int) -> Any:
    mapped = type(value) is Batched and value._level == level.number
    return value._value[i] if mapped else value


def _sized(function: Function, position: int, size: int, args: Any, kwargs: Any) -> Any:
    if "size" in kwargs:
        return function(*args, **{**kwargs, "size": (size, *sizes_of((kwargs["size"],)))})
    if position == 0:
        return function(size, *sizes_of(args), **kwargs)
    return function(*args[:-1], (size, *sizes_of(args[-1:])), **kwargs)
