"""``out=``: results written into Tensors that there are already.

Every function that computes a new Tensor takes it, though most don't declare it: what wraps public
functions calls `into_out` where they raise a TypeError for it, so that calls without it cost
nothing. The result is computed first, and copied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.modes import modes
from tapegrad.storage import repeats

__all__ = ["flat", "into_out", "is_out_unknown", "write_out"]


def is_out_unknown(error: TypeError, kwargs: dict[str, Any]) -> bool:
    """Whether a function raised this because it doesn't declare ``out``."""
    return "out" in kwargs and "unexpected keyword argument 'out'" in str(error)


def into_out(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function without its argument ``out``, and write its result there.

    An operand may be written to, all of it. Raises TypeError for a result that is no Tensor, and
    what `write_out` raises.
    """
    kwargs = dict(kwargs)
    out = kwargs.pop("out")
    result = function(*args, **kwargs)
    if out is None:
        return result
    name = getattr(function, "__qualname__", "function").rpartition(".")[2]
    many = isinstance(result, tuple)
    results, targets = (result, out) if many else ((result,), (out,))
    if not all([hasattr(value, "_spec") for value in results]):
        raise TypeError(f"{name}() got an unexpected keyword argument 'out'")
    if many and not (isinstance(out, (tuple, list)) and len(out) == len(results)):
        raise TypeError(f"{name}(): argument 'out' must be tuple of {len(results)} Tensors")
    inputs = [x for x in flat((args, tuple(kwargs.values()))) if hasattr(x, "_spec")]
    for target, value in zip(targets, results, strict=True):
        if not hasattr(target, "_spec"):
            kind = type(target).__name__
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {kind}")
        others = [x for x in inputs if not _is_whole(x._array, target._array)]
        write_out(name, target, value, others, promotes=True)
    return type(result)(*targets) if many else out


def _is_whole(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two arrays are the same elements of the same memory."""
    one, other = x.__array_interface__, y.__array_interface__
    return one["data"] == other["data"] and (x.shape, x.strides) == (y.shape, y.strides)


def flat(values: Any) -> list[Any]:
    """The items of nested lists and tuples."""
    if not isinstance(values, (list, tuple)):
        return [values]
    return [x for value in values for x in flat(value)]


def write_out(name: str, out: Any, result: Any, inputs: list[Any], promotes: bool = False) -> None:
    """Make ``out`` hold a result of some inputs."""
    if modes.grad and (out.requires_grad or result.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, "
            "but one of the arguments requires grad."
        )
    target, value = out._array, result._array
    if target.dtype != value.dtype and not (
        promotes and np.can_cast(value.dtype, target.dtype, "same_kind")
    ):
        raise RuntimeError(
            f"{name}(): Expected out tensor to have dtype {result.dtype}, but got {out.dtype} "
            "instead"
        )
    resized = target.shape != value.shape and isinstance(target.base, np.ndarray)
    memory = target.base if resized else target
    if repeats(target) or any(out is x or np.shares_memory(memory, x._array) for x in inputs):
        raise RuntimeError(
            "unsupported operation: some elements of the input tensors or of the written-to tensor "
            "refer to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )
    if target.shape != value.shape:
        if target.size:
            warnings.warn(
                "An output with one or more elements was resized since it had shape "
                f"{list(target.shape)}, which does not match the required output shape "
                f"{list(value.shape)}. Give an empty Tensor, or one of that shape.",
                UserWarning,
                stacklevel=4,
            )
        out._array, out._spec = value.astype(target.dtype), result.to(out.dtype)._spec
    else:
        out.copy_(result)
