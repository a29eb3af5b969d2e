"""A user's `Function` under vmap: by its own ``vmap``, or sample by sample."""

from __future__ import annotations

from typing import Any, NamedTuple

from tapegrad.batched import Batched, batched, levels, rules
from tapegrad.tensor import Tensor

__all__ = ["VmapInfo", "apply_mapped"]


class VmapInfo(NamedTuple):
    """What ``vmap`` of a Function is told of the vmap that runs it."""

    batch_size: int
    randomness: str


def apply_mapped(function: Any, args: tuple[Any, ...], own_vmap: bool) -> Any:
    """What ``function.apply(*args)`` gives for samples of the innermost vmap among the arguments.

    Raises RuntimeError if the Function has neither a ``vmap`` nor ``generate_vmap_rule``, or both.
    """
    name, generated = function.__name__, function.generate_vmap_rule
    if generated and own_vmap:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it has both generate_vmap_rule=True and an "
            "overridden vmap staticmethod. Please set generate_vmap_rule=False or delete the "
            "overridden vmap staticmethod to avoid ambiguity."
        )
    if generated:
        return rules.one_by_one(function.apply, args, {})
    if not own_vmap:
        raise RuntimeError(
            f"You tried to vmap over {name}, but it does not have vmap support. Please override "
            "and implement the vmap staticmethod or set generate_vmap_rule=True."
        )
    number = max(x._level for x in args if type(x) is Batched)
    level = levels.running[number - 1]
    mapped = [type(x) is Batched and x._level == number for x in args]
    values = [x._value if is_mapped else x for x, is_mapped in zip(args, mapped, strict=True)]
    in_dims = tuple(0 if is_mapped else None for is_mapped in mapped)
    running = levels.running
    levels.running = running[: number - 1]  # to it the samples of this vmap are ordinary Tensors
    try:
        result = function.vmap(VmapInfo(level.size, level.randomness), in_dims, *values)
        if not isinstance(result, tuple) or len(result) != 2:
            raise RuntimeError(
                "Expected the vmap staticmethod to have two returns, an output and out_dims with "
                "pytree structure compatible with the output."
            )
        return _separated(*result, number)
    finally:
        levels.running = running


def _separated(out: Any, dim: Any, number: int) -> Any:
    """The samples of the outputs, of which each has its mapped dimension, or None."""
    if isinstance(out, (tuple, list)):
        dims = dim if isinstance(dim, (tuple, list)) else [dim] * len(out)
        parts = [_separated(o, d, number) for o, d in zip(out, dims, strict=True)]
        return type(out)(parts)
    if not isinstance(out, Tensor) or dim is None:
        return out
    return batched(out.movedim(dim, 0), number)
