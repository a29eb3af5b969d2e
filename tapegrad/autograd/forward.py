"""Forward mode: tangents pushed along the tape, in the order in which it was recorded.

For ``z = x * y`` with tangents ``x_dot`` and ``y_dot``:

    z_dot = x_dot * mul_x(y) + y_dot * mul_y(x)

The rules are those of the backward pass. An elementwise rule gives the local partial, which serves
both ways. A structural rule gives the transpose of the derivative, ``v -> v J``; it is linear in
``v``, so running *it* backward gives ``x_dot -> J x_dot`` (Townsend's trick of the double vjp),
with no rule more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.modes import enable_grad, modes
from tapegrad.primitive import Primitive, primitives
from tapegrad.recording import wrap
from tapegrad.replay import Replay, check_saved, contribution, environment
from tapegrad.spec import specs
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, SPEC, Record, arity, tape
from tapegrad.tensor import Tensor, from_array, place_of

__all__ = ["jvp"]


def jvp(
    func: Callable[..., Any], primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[Any, Any]:
    """The value of ``func(*primals)`` and its derivative in the direction of the tangents.

    Args:
        func: a function of Tensors that returns a Tensor or a tuple of them.
        primals: where it is evaluated, real floating Tensors.
        tangents: one for each primal, of its shape and dtype.

    Returns:
        The output and its tangent, each as ``func`` returns them.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2.])
    >>> tapegrad.func.jvp(lambda x: x * x, (x,), (tapegrad.ones(2),))
    (tensor([1., 4.]), tensor([2., 4.]))
    """
    given: Any = (primals, tangents)
    if not all(isinstance(values, tuple) for values in given):
        raise RuntimeError("jvp(func, primals, tangents): primals and tangents must be tuples")
    if len(primals) != len(tangents):
        raise RuntimeError(
            f"jvp got {len(primals)} primals and {len(tangents)} tangents; it needs as many"
        )
    for primal, tangent in zip(primals, tangents, strict=True):
        if primal._spec.shape != tangent._spec.shape or primal._spec.dtype != tangent._spec.dtype:
            raise RuntimeError(
                f"jvp got a primal of {primal._spec!r} with a tangent of {tangent._spec!r}; they "
                "must have the same shape and dtype"
            )
        if modes.grad and (primal.requires_grad or tangent.requires_grad):
            raise NotImplementedError(
                "jvp of a primal or a tangent that requires grad, such as jvp within jvp, is not "
                "supported: detach() it, or take reverse mode with create_graph=True"
            )
        if primal._spec.dtype.kind != "f":
            raise NotImplementedError(
                f"jvp of {primal.dtype} is not supported: use real floating primals"
            )
    with enable_grad():
        inputs = tuple(from_array(primal._array, requires_grad=True) for primal in primals)
        start = tape.next_serial()
        result = func(*inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise RuntimeError(
                "jvp(f, primals, tangents): expected f(*primals) to return only tensors, got "
                f"unsupported type {type(output)}"
            )
    seeds = {place_of(leaf): tangent._array for leaf, tangent in zip(inputs, tangents, strict=True)}
    dots = _push(start, seeds)
    values = tuple(wrap(out._array) for out in outputs)
    out_dots = tuple(
        wrap(
            np.array(dots[place]) if (place := place_of(out)) in dots else np.zeros_like(out._array)
        )
        for out in outputs
    )
    return (values, out_dots) if isinstance(result, tuple) else (values[0], out_dots[0])


def _push(start: int, seeds: dict[int | None, Any]) -> dict[int | None, Any]:
    """The tangents of all that records after ``start`` made from the seeds."""
    dots = dict(seeds)
    tape.begin_replay()
    try:
        # A copy: the double vjp appends records of its own.
        records = [r for r in tape.records if r[PLACE] > start]
        for record in records:
            n = arity(record)
            total: Any = None
            for i, place in enumerate(record[INPUTS : INPUTS + n]):
                if place is None or place not in dots:
                    continue
                check_saved(record)
                dot = _out_dot(record, i, dots[place])
                if dot is not None:
                    total = dot if total is None else _plus(total, dot)
            if total is not None:
                dots[record[PLACE]] = total
    finally:
        tape.end_replay()
    return dots


def _plus(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(None if x is None else _plus(x, y) for x, y in zip(a, b, strict=True))
    return np.asarray(np.add(a, b))


def _out_dot(record: Record, i: int, x_dot: Any) -> Any:
    primitive = primitives[record[CODE]]
    if primitive.name == "output":
        return x_dot[record[PARAMS][0]]
    rule = primitive.bound[i] if primitive.arity >= 0 else primitive.bound[0]
    if rule is None:
        return None
    # A rule that isn't a partial may be that of a function which isn't holomorphic, such as abs.
    if primitive.elementwise and (rule.partial or x_dot.dtype.kind != "c"):
        spec = specs[record[SPEC]]
        # The adjoint's formula, but for the conjugate: an elementwise derivative is its own
        # transpose, and conj(conj(partial) * conj(x_dot)) is partial * x_dot.
        conj: Any = np.conjugate if spec.is_complex else np.asarray
        wide = conj(np.broadcast_to(x_dot.astype(spec.dtype, copy=False), spec.shape))
        unmixed = (*record[:PARAMS], None, *record[INPUTS:])
        values = environment(primitive, record, primitive.arity, np.asarray(wide), None)
        return np.asarray(conj(contribution(primitive, unmixed, i, values)))
    return _double_vjp(primitive, record, i, x_dot)


def _double_vjp(primitive: Primitive, record: Record, i: int, x_dot: Any) -> Any:
    """``J x_dot`` by running the rule ``v -> v J`` backward; it doesn't matter at which v."""
    with enable_grad():
        if primitive.outputs > 1:
            shapes = [(r[SPEC], r[PARAMS][0]) for r in tape.records if r[INPUTS] is record[PLACE]]
            cotangents: list[Any] = [None] * primitive.outputs
            for number, position in shapes:
                spec = specs[number]
                cotangents[position] = from_array(np.zeros(spec.shape, spec.dtype), True)
            v: Any = cotangents
        else:
            spec = specs[record[SPEC]]
            v = from_array(np.zeros(spec.shape, spec.dtype), True)
            cotangents = [v]
        share: Any = contribution(
            primitive, record, i, environment(primitive, record, arity(record), v, _constant)
        )
    results: list[Any] = [np.zeros_like(c._array) if c is not None else None for c in cotangents]
    place = place_of(share) if isinstance(share, Tensor) else None
    if place is not None:
        targets = frozenset(c._place for c in cotangents if c is not None)
        adjoint = np.broadcast_to(x_dot, share._spec.shape)
        leaves, _ = Replay(tape, [(place, adjoint)], retain=False, targets=targets).run()
        for k, c in enumerate(cotangents):
            if c is not None and c._place in leaves:
                results[k] = leaves[c._place]
    return tuple(results) if primitive.outputs > 1 else results[0]


def _constant(array: Any, place: int | None) -> Any:
    if isinstance(array, tuple):
        return tuple(wrap(a) for a in array)
    return wrap(array)
