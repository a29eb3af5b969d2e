"""Jacobians and Hessians: products with all unit vectors at once, by `vmap`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad.batched import Level
from tapegrad.func.transforms import Argnums, Linearization, pullback
from tapegrad.recording import wrap
from tapegrad.rules.joining import cat
from tapegrad.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["hessian", "jacfwd", "jacrev"]

Shape = tuple[int, ...]


def units(tensors: list[Any], chunk_size: int | None) -> Iterator[tuple[int, list[Any]]]:
    """All unit vectors of the space of these Tensors, some at a time: how many, and their parts."""
    sizes = [math.prod(x._spec.shape) for x in tensors]
    total = sum(sizes)
    step = total if chunk_size is None else chunk_size
    for start in range(0, total, max(step, 1)):
        count = min(step, total - start)
        parts, offset = [], start
        for x, n in zip(tensors, sizes, strict=True):
            part = np.eye(count, n, offset, x._spec.dtype) if n else np.zeros((count, 0))
            parts.append(wrap(part.reshape(count, *x._spec.shape)))
            offset -= n
        yield count, parts


def _products(
    tensors: list[Any], function: Callable[[list[Any]], list[Any]], results: int,
    chunk_size: int | None, randomness: str,
) -> list[Any]:  # fmt: skip
    """What a linear function makes of all unit vectors, in a first dimension."""
    chunks: list[list[Any]] = []
    for count, parts in units(tensors, chunk_size):
        if count == 1:  # such as the output of a loss
            chunks.append([x.unsqueeze(0) for x in function([p.squeeze(0) for p in parts])])
            continue
        with Level(count, randomness) as level:
            found = function([level.batch(part) for part in parts])
        chunks.append([level.lowered(x) for x in found])
    if len(chunks) == 1:
        return chunks[0]
    return [cat([chunk[k] for chunk in chunks], 0) for k in range(results)] if chunks else []


def _check_real(name: str, what: str, tensors: list[Any]) -> None:
    for i, tensor in enumerate(tensors):
        if tensor._spec.is_complex:
            raise RuntimeError(
                f"{name}: Expected all {what} to be real but received complex tensor at flattened "
                f"input idx: {i}"
            )


def _split(rows: Any, tensors: list[Any]) -> list[Any]:
    """The rows that belong to each of the Tensors."""
    parts, start = [], 0
    for x in tensors:
        n = math.prod(x._spec.shape)
        parts.append(rows if len(tensors) == 1 else rows[start : start + n])
        start += n
    return parts


def jacrev(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function that computes the Jacobian of ``func`` in reverse mode.

    Args:
        func: a function of Tensors, or nested tuples, lists and dicts of them, which returns such.
        argnums: the argument that it is differentiated for, or several, as a tuple.
        has_aux: ``func`` returns ``(output, aux)``; so ``(jacobian, aux)`` is returned.
        chunk_size: how many rows are computed at a time. Default: all.

    Returns:
        A function that returns, nested as the output and within that as the argument, Tensors of
        shape ``output.shape + argument.shape``. It can be differentiated and mapped again.

    Raises RuntimeError for complex numbers.

    >>> import tapegrad
    >>> tapegrad.func.jacrev(lambda x: x ** 2)(tapegrad.tensor([1., 2.]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any) -> Any:
        _check_real("jacrev", "inputs", tensors_in(args))
        out, pull, aux = pullback(func, args, argnums, has_aux)
        outputs, out_spec = tree_flatten(out)
        _check_real("jacrev", "outputs", outputs)
        spec: Any = None

        def rows_of(bars: list[Any]) -> list[Any]:
            nonlocal spec
            rows, spec = tree_flatten(pull(tree_unflatten(bars, out_spec)))
            return rows

        inputs, spec = tree_flatten(_chosen(args, argnums))
        rows = _products(outputs, rows_of, len(inputs), chunk_size, "error")
        blocks: list[list[Any]] = [[] for _ in outputs]
        for k, x in enumerate(inputs):
            for block, y, part in zip(blocks, outputs, _split(rows[k], outputs), strict=True):
                block.append(part.reshape(*y._spec.shape, *x._spec.shape))
        jacobian = tree_unflatten([tree_unflatten(b, spec) for b in blocks], out_spec)
        return (jacobian, aux) if has_aux else jacobian

    return wrapped


def _chosen(args: tuple[Any, ...], argnums: Argnums) -> Any:
    return args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in argnums)


def tensors_in(tree: Any) -> list[Any]:
    """The Tensors among the leaves."""
    return [x for x in tree_flatten(tree)[0] if hasattr(x, "_spec")]


def jacfwd(
    func: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """As `jacrev`, in forward mode: better where there are more outputs than inputs.

    ``chunk_size`` counts columns; ``randomness`` is that of `vmap`.

    >>> import tapegrad
    >>> tapegrad.func.jacfwd(lambda x: x ** 2)(tapegrad.tensor([1., 2.]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacfwd: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapped(*args: Any) -> Any:
        _check_real("jacfwd", "inputs", tensors_in(args))
        linear = Linearization(func, args, argnums, has_aux)
        outputs, inputs = linear.values, linear.primals
        _check_real("jacfwd", "outputs", outputs)
        columns = _products(inputs, linear.push, len(outputs), chunk_size, randomness)
        blocks = []
        for y, column in zip(outputs, columns, strict=True):
            row = [
                part.movedim(0, -1).reshape(*y._spec.shape, *x._spec.shape)
                for x, part in zip(inputs, _split(column, inputs), strict=True)
            ]
            blocks.append(tree_unflatten(row, linear.spec))
        jacobian = tree_unflatten(blocks, linear.out_spec)
        return (jacobian, linear.aux) if has_aux else jacobian

    return wrapped


def hessian(func: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """A function that computes the Hessian of ``func``: forward mode over reverse mode.

    For an output and two arguments, of shape ``output.shape + first.shape + second.shape``, nested
    as the output, then as the first, then as the second.

    >>> import tapegrad
    >>> tapegrad.func.hessian(lambda x: (x ** 3).sum())(tapegrad.tensor([1., 2.]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
