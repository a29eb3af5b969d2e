"""In-place operations under vmap: the values of all samples are changed in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.batched import Batched, is_recorded
from tapegrad.batching.apply import align, lower
from tapegrad.batching.indices import front
from tapegrad.modes import modes
from tapegrad.recording import wrap

__all__ = ["changed", "copy_into", "set_items"]

ALL = slice(None)


def changed(function: Callable[..., Any], target: Any, args: Any, kwargs: Any) -> Any:
    """``target.function_(*args)``."""
    # The record may save the old value, which is about to be overwritten.
    source = target.clone() if modes.grad and is_recorded(target) else target
    result = function(source, *args, **kwargs)
    return result if result is NotImplemented else copy_into(target, result)


def copy_into(target: Any, source: Any) -> Any:
    """``target.copy_(source)``.

    Raises RuntimeError if only ``source`` differs from sample to sample.
    """
    own = target._level if type(target) is Batched else 0
    other = source._level if type(source) is Batched else 0
    if other > own:
        raise RuntimeError(
            "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a "
            "Tensor `other` in extra_args that has more elements than `self`. This happened due to "
            "`other` being vmapped over but `self` not being vmapped over in a vmap. Please try to "
            "use out-of-place operators instead of inplace arithmetic. If said operator is being "
            "called inside the PyTorch framework, please file a bug report instead."
        )
    if not own:
        target.copy_(source)
    elif other == own:
        copy_into(target._value, align(source._value, target.ndim))
    else:
        copy_into(target._value, source)
    return target


def set_items(input: Any, index: tuple[Any, ...], value: Any) -> None:
    """``input[index] = value``."""
    tensors = [i for i in index if type(i) is Batched]
    if type(input) is not Batched or any(i._level > input._level for i in tensors):
        copy_into(input, next(v for v in (value, *tensors) if type(v) is Batched))
    _, size, (x, y, *items), (_, mapped, *of_items) = lower(
        (input, value, *index) if type(value) is Batched else (input, None, *index)
    )
    y = y if type(value) is Batched else value
    if any(of_items):
        if not all(hasattr(i, "_spec") for i in index):
            raise NotImplementedError(
                "vmap: x[index] = value with an index that is mapped is only possible with Tensors "
                "of integers at the front: use torch.where or scatter"
            )
        ndim = max(i.ndim for i in index)
        items = [align(i, ndim) if up else i for i, up in zip(items, of_items, strict=True)]
        rows = np.arange(size).reshape(size, *(1,) * ndim)
        x[(input.new_tensor(rows), *items)] = align(y, ndim) if mapped else y
        return
    if mapped:
        part = wrap(np.broadcast_to(np.zeros((), np.bool_), input._spec.shape))[index]
        y = align(y, part.ndim)
        moved = front(tuple([getattr(i, "_array", i) for i in index]))
        y = y.movedim(0, moved) if moved else y
    x[(ALL, *index)] = y
