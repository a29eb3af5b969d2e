"""Functions that look at arrays, under vmap: by a rule of their own, or sample by sample.

A rule takes the function's arguments, of which some are Batched. It is found by the function's
name, and may return NotImplemented.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tapegrad.batched import Batched, batched, levels
from tapegrad.batching.apply import slow
from tapegrad.batching.functions import FUNCTIONS
from tapegrad.rules.joining import stack
from tapegrad.tensor import Tensor

__all__ = ["call", "one_by_one"]

#: What can't have a result of one shape for all samples.
OF_ITS_OWN_SHAPE = {
    *("nonzero", "argwhere", "unique", "unique_consecutive", "masked_select", "bincount"),
    *("histogram", "histogramdd"),
}
#: What draws random numbers.
DRAWS = {
    *("rand_like", "randn_like", "randint_like", "normal", "bernoulli", "poisson", "multinomial"),
    *("uniform_", "normal_", "exponential_", "log_normal_", "cauchy_", "geometric_"),
    *("bernoulli_", "random_", "dropout", "dropout_at_top", "dropout1d", "dropout2d"),
    *("dropout3d", "alpha_dropout", "feature_alpha_dropout", "rrelu"),
}
#: What decides something by all values.
DECIDES = {"equal", "allclose"}


def call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of a function that raised BatchedAccess."""
    if not levels.running:
        return function(*args, **kwargs)
    name = function.__name__
    if not any(map(_is_batched, _flat((args, kwargs)))) or name in DRAWS:
        from tapegrad.batching.drawing import draw

        return draw(function, args, kwargs)
    if name in OF_ITS_OWN_SHAPE:
        raise RuntimeError(
            "vmap: We do not support batching operators that can output dynamic shape. Attempted "
            f"to vmap over aten::{name}. Please voice your support in "
            "https://github.com/pytorch/functorch/issues/256"
        )
    if name in DECIDES:
        bool(next(filter(_is_batched, args)))
    rule = FUNCTIONS.get(name)
    if rule is not None:
        out = rule(*args, **kwargs)
        if out is not NotImplemented:
            return out
    slow(name)
    return one_by_one(function, args, kwargs)


def _is_batched(value: Any) -> bool:
    return type(value) is Batched


def one_by_one(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The results for one sample after the other, put together again."""
    found = list(filter(_is_batched, _flat((args, kwargs))))
    level = max(x._level for x in found)
    size = next(x._value._spec.shape[0] for x in found if x._level == level)
    inputs = [_sample((args, kwargs), level, i) for i in range(size)]
    return _stacked([function(*a, **k) for a, k in inputs], level)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _flat(item)]
    if isinstance(value, dict):
        return _flat(list(value.values()))
    return [value]


def _sample(value: Any, level: int, i: int) -> Any:
    if type(value) is Batched and value._level == level:
        return value._value[i].clone()  # in memory of its own
    if isinstance(value, (list, tuple)):
        return type(value)([_sample(x, level, i) for x in value])
    if isinstance(value, dict):
        return {k: _sample(x, level, i) for k, x in value.items()}
    return value


def _stacked(rows: list[Any], level: int) -> Any:
    first = rows[0]
    if isinstance(first, Tensor):
        return batched(stack(rows), level)
    if isinstance(first, (list, tuple)):
        items = [_stacked(list(column), level) for column in zip(*rows, strict=True)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    return first
