"""`vmap`: a function of one sample as a function of many.

    >>> import tapegrad
    >>> dot = tapegrad.func.vmap(tapegrad.dot, in_dims=(0, None))
    >>> dot(tapegrad.tensor([[1., 2.], [3., 4.]]), tapegrad.tensor([1., 10.]))
    tensor([21., 43.])

The function runs once, on `tapegrad.batched.Batched` Tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tapegrad.batched import Batched, Level
from tapegrad.rules.joining import cat
from tapegrad.rules.splitting import split
from tapegrad.tensor import Tensor
from tapegrad.utils._pytree import (
    TreeSpec,
    broadcast_to_and_flatten,
    tree_flatten,
    tree_unflatten,
)

__all__ = ["vmap"]

Dims = Any


def vmap(
    func: Callable[..., Any],
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps ``func`` over a dimension of its arguments, all at once.

    Args:
        func: a function of Tensors, which may stand in nested tuples, lists and dicts, and returns
            such. Keyword arguments are handed on as they are.
        in_dims: which dimension of an argument is mapped: an int, None (it is the same for all), or
            a nested structure of those that begins as the arguments do.
        out_dims: where that dimension is in the outputs, likewise.
        randomness: whether random numbers are an "error", "different" for each sample, or the
            "same".
        chunk_size: how many samples are computed at a time. Default: all.

    Returns:
        A function of the same signature. Maps, and the derivatives of `tapegrad.func`, can be
        nested.

    Raises:
        ValueError: ``in_dims`` or ``out_dims`` don't fit, or the mapped dimensions differ in size.
        RuntimeError: the function looks at the value of a sample, or changes in place what isn't
            mapped by what is.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )
    if chunk_size is not None and not chunk_size > 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, in_dims, out_dims, randomness, kwargs)
        leaves, dims, spec, size = call.inputs(args)
        if chunk_size is None or size <= chunk_size:
            return call.run(leaves, dims, spec, size)
        return call.by_chunks(leaves, dims, spec, size, chunk_size)

    return wrapped


def name_of(func: Any) -> str:
    """The name of a function, or how it looks."""
    if hasattr(func, "__name__"):
        return str(func.__name__)
    if isinstance(func, functools.partial):
        return f"functools.partial({name_of(func.func)}, ...)"
    return repr(func)


class _Call:
    """One call of what `vmap` returned."""

    def __init__(
        self, func: Any, in_dims: Dims, out_dims: Dims, randomness: str, kwargs: dict[str, Any]
    ) -> None:
        self.func = func
        self.in_dims = in_dims
        self.out_dims = out_dims
        self.randomness = randomness
        self.kwargs = kwargs

    def inputs(self, args: tuple[Any, ...]) -> tuple[list[Any], list[Any], TreeSpec, int]:
        """The leaves of the arguments, their dims, their structure, and the size of the batch."""
        in_dims, name = self.in_dims, name_of(self.func)
        called = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>): "
        if not isinstance(in_dims, (int, tuple)):
            raise ValueError(
                f"{called}expected `in_dims` to be int or a (potentially nested) tuple matching "
                f"the structure of inputs, got: {type(in_dims)}."
            )
        if not args:
            raise ValueError(
                f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you "
                "are trying to vmap over a function with no inputs. The latter is unsupported."
            )
        leaves, spec = tree_flatten(args)
        dims = broadcast_to_and_flatten(in_dims, spec)
        if dims is None:
            raise ValueError(
                f"{called}in_dims is not compatible with the structure of `inputs`. in_dims has "
                f"structure {tree_flatten(in_dims)[1]} but inputs has structure {spec}."
            )
        dims = [_checked(leaf, dim, called) for leaf, dim in zip(leaves, dims, strict=True)]
        sizes = [x._spec.shape[dim] for x, dim in zip(leaves, dims, strict=True) if dim is not None]
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if any(size != sizes[0] for size in sizes):
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sizes} for the mapped dimension"
            )
        return leaves, dims, spec, sizes[0]

    def run(self, leaves: list[Any], dims: list[Any], spec: TreeSpec, size: int) -> Any:
        """The outputs."""
        with Level(size, self.randomness) as level:
            given = [
                x if dim is None else level.batch(x.movedim(dim, 0) if dim else x)
                for x, dim in zip(leaves, dims, strict=True)
            ]
            out = self.func(*tree_unflatten(given, spec), **self.kwargs)
        outputs, out_spec = tree_flatten(out)
        out_dims = self._out_dims(out, out_spec)
        results = [self._output(x, dim, level) for x, dim in zip(outputs, out_dims, strict=True)]
        return tree_unflatten(results, out_spec)

    def by_chunks(
        self, leaves: list[Any], dims: list[Any], spec: TreeSpec, size: int, chunk_size: int
    ) -> Any:
        """The outputs, ``chunk_size`` samples at a time."""
        parts = [
            None if dim is None else split(x, chunk_size, dim)
            for x, dim in zip(leaves, dims, strict=True)
        ]
        chunks = []
        for k in range(-(-size // chunk_size)):
            given = [x if part is None else part[k] for x, part in zip(leaves, parts, strict=True)]
            count = min(chunk_size, size - k * chunk_size)
            out, out_spec = tree_flatten(self.run(given, dims, spec, count))
            chunks.append(out)
        out_dims = self._out_dims(tree_unflatten(chunks[0], out_spec), out_spec)
        joined = [
            column[0] if dim is None else cat(list(column), dim)
            for column, dim in zip(zip(*chunks, strict=True), out_dims, strict=True)
        ]
        return tree_unflatten(joined, out_spec)

    def _out_dims(self, out: Any, spec: TreeSpec) -> list[Any]:
        out_dims = self.out_dims
        if isinstance(out, Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1:
            out_dims = out_dims[0]
        if isinstance(out, Tensor) and not (isinstance(out_dims, int) or out_dims is None):
            found = None
        else:
            found = broadcast_to_and_flatten(out_dims, spec)
        if found is None:
            raise ValueError(
                f"vmap({name_of(self.func)}, ..., out_dims={self.out_dims})(<inputs>): out_dims is "
                "not compatible with the structure of `outputs`. out_dims has structure "
                f"{tree_flatten(self.out_dims)[1]} but outputs has structure {spec}."
            )
        if not all(dim is None or isinstance(dim, int) for dim in found):
            raise ValueError(
                f"vmap({name_of(self.func)}, ..., out_dims={self.out_dims}): `out_dims` must be an "
                "int, None or a python collection of ints representing where in the outputs the "
                "vmapped dimension should appear."
            )
        return found

    def _output(self, out: Any, dim: int | None, level: Level) -> Any:
        name = name_of(self.func)
        mapped = type(out) is Batched and out._level == level.number
        if dim is None:
            if mapped:
                raise ValueError(
                    f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is "
                    "None"
                )
            return out
        if not isinstance(out, Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(out)}. Did "
                "you mean to set out_dims= to None for output?"
            )
        value = level.lowered(out)
        return value.movedim(0, dim) if dim else value


def _checked(leaf: Any, dim: Any, called: str) -> int | None:
    """The mapped dimension of an argument, counted from the front."""
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(
            f"{called}Got in_dim={dim} for an input but in_dim must be either an integer dimension "
            "or None."
        )
    if not isinstance(leaf, Tensor):
        raise ValueError(
            f"{called}Got in_dim={dim} for an input but the input is of type {type(leaf)}. We "
            "cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
        )
    ndim = leaf._spec.ndim
    if not -ndim <= dim < ndim:
        raise ValueError(
            f"{called}Got in_dim={dim} for some input, but that input is a Tensor of "
            f"dimensionality {ndim} so expected in_dim to satisfy -{ndim} <= in_dim < {ndim}."
        )
    return dim % ndim
