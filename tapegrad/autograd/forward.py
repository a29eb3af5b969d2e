"""Forward mode: tangents pushed along the tape, in the order in which it was recorded.

For ``z = x * y`` with tangents ``x_dot`` and ``y_dot``:

    z_dot = x_dot * mul_x(y) + y_dot * mul_y(x)

The rules are those of the backward pass. An elementwise rule gives the local partial, which serves
both ways. A structural primitive that is linear in an input is its own derivative. Of others the
rule gives the transpose of the derivative, ``v -> v J``; it is linear in ``v``, so running *it*
backward gives ``x_dot -> J x_dot`` (Townsend's trick of the double vjp), with no rule more.

What depends on nothing but the seeds is pushed as arrays. Where a value depends on something else
that requires grad (a parameter, the seeds of a jvp around this one), tangents are Tensors and their
computation is recorded, so that they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.autograd.function import function_dot
from tapegrad.autograd.linear import LINEAR
from tapegrad.autograd.saved import released, unpacked
from tapegrad.autograd.walk import Walk
from tapegrad.batched import Batched, is_recorded
from tapegrad.broadcast import cast, expand
from tapegrad.contributions import check_saved, contribution, environment
from tapegrad.loading import native
from tapegrad.modes import enable_grad, modes
from tapegrad.primitive import Primitive, primitives, quietly
from tapegrad.recording import record as append_record
from tapegrad.recording import wrap, wrap_saved
from tapegrad.rules.conversion import clone_
from tapegrad.spec import specs
from tapegrad.storage import clock
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, SPEC, Record, arity, tape, unshared
from tapegrad.tensor import Tensor, detached, from_array, place_of

__all__ = ["Pushforward", "constant", "jvp", "linearized"]

#: What makes Tensors of what records saved: at their places (`wrap_saved`) or not (`constant`);
#: None where all are arrays.
Wrapping = Callable[[Any, int | None], Any] | None


def jvp(
    func: Callable[..., Any], primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[Any, Any]:
    """The value of ``func(*primals)`` and its derivative in the direction of the tangents.

    Args:
        func: a function of Tensors that returns a Tensor or a tuple of them.
        primals: where it is evaluated, floating or complex Tensors.
        tangents: one for each primal, of its shape and dtype.

    Returns:
        The output and its tangent, each as ``func`` returns them. Both can be differentiated for
        what requires grad outside; jvp can be nested.

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
    values, push = linearized(func, primals)
    return values, push(*tangents)


def linearized(
    func: Callable[..., Any], primals: tuple[Tensor, ...]
) -> tuple[Any, Callable[..., Any]]:
    """The value of ``func(*primals)``, and the function that pushes tangents to it.

    ``func`` runs once, however often the tangents are pushed.
    """
    push = Pushforward(modes.grad)
    with enable_grad():
        inputs = tuple(map(push.input, primals))
        result = func(*inputs)
    end = tape.next_serial()
    several = isinstance(result, tuple)
    outputs = result if several else (result,)
    for output in outputs:
        if not isinstance(output, Tensor):
            raise RuntimeError(
                "jvp(f, primals, tangents): expected f(*primals) to return only tensors, got "
                f"unsupported type {type(output)}"
            )

    def pushed(*tangents: Tensor) -> Any:
        push.seed(inputs, tangents)
        push.advance(end)
        dots = tuple(map(push.tangent, outputs))
        return dots if several else dots[0]

    push.advance(end)  # to know what depends on more than the inputs
    values = tuple(map(push.value, outputs))
    return (values if several else values[0]), pushed


class Pushforward:
    """Tangents of what is recorded from now on; ``recording``: they may be differentiated."""

    def __init__(self, recording: bool) -> None:
        self.recording = recording
        self.start = self._done = tape.next_serial()
        #: Tangents by place: arrays, Tensors, or tuples of them.
        self.dots: dict[int, Any] = {}
        #: The places of values that depend on more than the inputs.
        self._outer: set[int] = set()
        self._inputs: set[int] = set()
        self._leaves: list[Tensor] = []

    def input(self, primal: Tensor) -> Tensor:
        """A Tensor over the same memory, at a place of its own."""
        array = primal._array
        if primal._spec.dtype.kind not in "fc":
            raise RuntimeError(
                f"forward mode takes floating and complex Tensors, not {primal.dtype}"
            )
        outer = self.recording and place_of(primal) is not None
        source = primal
        if not outer:
            source = detached(primal, array)
            source._place = tape.new_leaf(source)
        made = detached(primal, array)
        place = append_record(clone_, (source,), (array,), None, made._spec, array)
        assert place is not None
        made._place = place
        self._inputs.add(unshared(place))
        if outer:
            self._outer.add(unshared(place))
        else:
            self._leaves.append(source)
        return made

    def seed(self, inputs: tuple[Tensor, ...], tangents: tuple[Tensor, ...]) -> None:
        """Begin again, with tangents for the inputs."""
        self.dots, self._done = {}, self.start
        for x, x_dot in zip(inputs, tangents, strict=True):
            self.add(x, x_dot)

    def add(self, x: Tensor, x_dot: Tensor) -> None:
        """Give an input its tangent."""
        dot: Any = x_dot
        if type(x_dot) is Batched:
            dot = x_dot if self.recording else x_dot.detach()
        elif not self.recording or place_of(x_dot) is None:
            dot = x_dot._array
        self.dots[unshared(place_of(x) or 0)] = dot

    def skip(self, x: Tensor) -> None:
        """Give a value no tangent, though what it was made from has one."""
        self._inputs.add(unshared(place_of(x) or 0))
        self._outer.add(unshared(place_of(x) or 0))

    def value(self, out: Tensor) -> Tensor:
        """A value, with its place only if it depends on more than the inputs."""
        place = place_of(out)
        return out if place is not None and self._is_outer(place) else wrap(out._array)

    def tangent(self, out: Tensor) -> Tensor:
        """The tangent of a value, zeros if it doesn't depend on the inputs."""
        dot = self.dots.get(place_of(out) or 0)
        if isinstance(dot, Tensor):
            return dot
        return wrap(np.zeros_like(out._array) if dot is None else np.array(dot))

    def advance(self, end: int | None = None) -> None:
        """Push the tangents along the records that are new, up to the serial ``end``."""
        records = tape.records
        first = tape.after(self._done)
        # What recorded tangents append comes after it.
        last = len(records) if end is None else tape.after(end)
        push = object()
        try:
            tape.begin_replay(push)
            if modes.grad:
                self._push_along(first, last)
            else:
                with enable_grad():  # for `_double_vjp`, which records
                    self._push_along(first, last)
        finally:
            tape.replays.pop(push, None)
        self._done = tape.next_serial()

    def _push_along(self, first: int, last: int) -> None:
        if native.loaded and not any("packed" in noted for noted in list(tape.notes.values())):
            from tapegrad.kernels.push import push_natively

            start = self.start if self.recording else 0
            known = (self.dots, self._inputs, self._outer)
            push_natively(first, last, *known, start, self._push, _linear_call)
        else:
            for index in range(first, last):
                self._push(tape.records[index])

    def _push(self, record: Record) -> None:
        place = record[PLACE]
        if place in self._inputs:
            return
        known, recording, start = self.dots, self.recording, self.start
        pushed = outer = False
        plain = True
        dots: list[Any] = []
        for source in record[INPUTS : INPUTS + arity(record)]:
            dot = None
            if source is not None:
                if recording and not outer:
                    outer = source in self._outer or (
                        source < start if source > 0 else self._is_outer(source)
                    )
                dot = known.get(source)
                if dot is not None:
                    pushed = True
                    plain = plain and type(dot) is np.ndarray
            dots.append(dot)
        if outer:
            self._outer.add(unshared(place))
        if not pushed:
            return
        wrapping: Wrapping = wrap_saved if outer else None
        if not outer and not plain:
            for dot in dots:
                if dot is not None and type(dot) is not np.ndarray:
                    if _is_recorded(dot):
                        wrapping = wrap_saved
                        break
                    wrapping = constant if _is_tensor(dot) else wrapping
        if record[-1] is RELEASED or tape.notes or place < clock.latest:
            record = _usable(record)
        dot = _out_dot(record, dots, wrapping)
        if dot is not None:
            known[unshared(place)] = dot

    def _is_outer(self, place: int) -> bool:
        if not self.recording or place in self._outer:
            return self.recording
        if place > 0:
            return place < self.start
        return not any(leaf._place == place for leaf in self._leaves)


def _is_tensor(dot: Any) -> bool:
    return any(map(_is_tensor, dot)) if isinstance(dot, tuple) else isinstance(dot, Tensor)


def _is_recorded(dot: Any) -> bool:
    if isinstance(dot, tuple):
        return any(map(_is_recorded, dot))
    return isinstance(dot, Tensor) and is_recorded(dot)


def _usable(record: Record) -> Record:
    """The record with what it saved. Raises RuntimeError if that was freed or changed."""
    if record[-1] is RELEASED:
        raise released()
    if tape.notes and "packed" in tape.notes.get(record[PLACE], ()):
        return unpacked(record)
    if record[PLACE] < clock.latest:
        check_saved(record)
    return record


def _out_dot(record: Record, dots: list[Any], wrapping: Wrapping) -> Any:
    """The tangent of a record's result; a tuple for one of several outputs."""
    primitive = primitives[record[CODE]]
    if primitive.is_output:
        return dots[0][record[PARAMS][0]]
    if primitive.joint is not None:
        return function_dot(record, dots, wrapping is not None)
    same = wrapping is None and primitive.elementwise and record[PARAMS] is None
    spec = specs[record[SPEC]] if same else None
    total: Any = None
    for i, dot in enumerate(dots):
        if dot is not None:
            if spec is not None and not spec.is_complex and dot.dtype is spec.dtype:
                # The inputs are of one shape and dtype: the local derivative, and no more.
                share = contribution(primitive, record, i, (dot, *record[INPUTS + len(dots) :]))
            else:
                share = _share(record, i, _converted(dot, wrapping), wrapping)
            total = share if total is None else _plus(total, share)
    return total


def _converted(dot: Any, wrapping: Wrapping) -> Any:
    if isinstance(dot, tuple):
        return tuple(_converted(d, wrapping) for d in dot)
    return wrap(dot) if wrapping is not None and isinstance(dot, np.ndarray) else dot


def _plus(a: Any, b: Any) -> Any:
    if isinstance(a, tuple):
        return tuple(_plus(x, y) for x, y in zip(a, b, strict=True))
    if a is None or b is None:  # an output without a tangent
        return b if a is None else a
    total = np.add(a, b)
    return total if isinstance(total, Tensor) else np.asarray(total)


def _share(record: Record, i: int, x_dot: Any, wrapping: Wrapping) -> Any:
    """What the tangent of input i adds to that of the result."""
    primitive = primitives[record[CODE]]
    if not primitive.elementwise:
        linear = _is_linear(primitive, i)
        return (_applied if linear else _double_vjp)(record, i, x_dot, wrapping)
    rule = primitive.bound[i]
    assert rule is not None
    spec = specs[record[SPEC]]
    dtype = getattr(x_dot.dtype, "numpy", x_dot.dtype)
    is_complex = spec.is_complex or dtype.kind == "c"
    if is_complex and not rule.partial:
        return _double_vjp(record, i, x_dot, wrapping)
    if dtype != spec.dtype:
        x_dot = cast(x_dot, spec.dtype, dtype)
    if tuple(x_dot.shape) != spec.shape:
        x_dot = expand(x_dot, spec.shape)
    # The same formula as the adjoint's, which is conjugated: a local derivative is its own
    # transpose. It isn't fitted to the input's shape.
    if is_complex:
        x_dot = np.conjugate(x_dot)
    values = environment(primitive, record, primitive.arity, x_dot, wrapping)
    share: Any = contribution(primitive, (*record[:PARAMS], None, *record[INPUTS:]), i, values)
    return np.conjugate(share) if is_complex else share


_linear: dict[tuple[int, int], bool] = {}


def _is_linear(primitive: Primitive, i: int) -> bool:
    """Whether a structural primitive is linear in input i: its rule reads neither i nor out."""
    key = primitive.code, i
    found = _linear.get(key)
    if found is None:
        found = (
            primitive.usual
            and not primitive.is_output
            and primitive.bound[i] is not None
            and primitive.saves[i].isdisjoint((i, primitive.arity))
            and primitive.forward in LINEAR
        )
        _linear[key] = found
    return found


def _linear_call(code: int, i: int) -> tuple[Any, ...] | None:
    """How machine code calls a primitive that is linear in input i; None: it can't.

    See `tapegrad.kernels.push`.
    """
    primitive = primitives[code]
    if i >= primitive.arity or not _is_linear(primitive, i):
        return None
    saved = primitive.saves[i]
    if any(j != i and j not in saved for j in range(primitive.arity)):
        return None  # zeros are to be made
    given = [-1 if j == i else j for j in range(primitive.arity)]
    return primitive.forward, len(primitive.params), *given


def _applied(record: Record, i: int, x_dot: Any, wrapping: Wrapping) -> Any:
    """``J x_dot`` of a primitive that is linear in input i: the primitive itself at ``x_dot``.

    The inputs that the rule doesn't read are summands, so they are 0.
    """
    primitive = primitives[record[CODE]]
    n = primitive.arity
    count = len(primitive.params)
    params, shapes = record[PARAMS][:count], record[PARAMS][count:]
    inputs = []
    for j in range(n):
        if j == i:
            inputs.append(x_dot)
        elif j in primitive.saves[i]:
            saved = record[INPUTS + n + j]
            inputs.append(saved if wrapping is None else wrapping(saved, record[INPUTS + j]))
        else:
            inputs.append(np.zeros(shapes[j], getattr(x_dot.dtype, "numpy", x_dot.dtype)))
    if wrapping is None:
        return np.asarray(quietly(primitive.forward, (*inputs, *params)))
    return Primitive.apply(primitive, tuple(inputs), params)


def _double_vjp(record: Record, i: int, x_dot: Any, wrapping: Wrapping) -> Any:
    """``J x_dot`` by running the rule ``v -> v J`` backward; it doesn't matter at which v."""
    primitive = primitives[record[CODE]]
    start = tape.next_serial()
    cotangents: list[Any] = [None] * primitive.outputs
    if primitive.outputs > 1:
        for other in tape.records[tape.after(record[PLACE]) :]:
            if other[INPUTS] == record[PLACE] and primitives[other[CODE]].is_output:
                cotangents[other[PARAMS][0]] = _zeros(specs[other[SPEC]])
        v: Any = cotangents
    else:
        v = cotangents[0] = _zeros(specs[record[SPEC]])
    values = environment(
        primitive, record, arity(record), v, wrap_saved if wrapping is wrap_saved else constant
    )
    share: Any = contribution(primitive, record, i, values)
    targets = {c._place for c in cotangents if c is not None}
    results: list[Any] = [None if c is None else wrap(c._array) for c in cotangents]
    place = place_of(share) if isinstance(share, Tensor) else None
    if place is not None:
        shape = share._spec.shape
        root = expand(x_dot, shape) if tuple(x_dot.shape) != shape else x_dot
        walk = Walk(
            tape,
            [(place, root)],
            retain=wrapping is wrap_saved,
            wrap=wrapping,
            targets=frozenset(targets),
        )
        walk.needed = _between(targets, start)
        leaves, _ = walk.run()
        for k, c in enumerate(cotangents):
            if c is not None and c._place in leaves:
                results[k] = leaves[c._place]
    if wrapping is None:
        results = [getattr(r, "_array", r) for r in results]
    return tuple(results) if primitive.outputs > 1 else results[0]


def _zeros(spec: Any) -> Tensor:
    return from_array(np.zeros(spec.shape, spec.dtype), requires_grad=True)


def _between(targets: set[int], start: int) -> set[int]:
    """The places after ``start`` that depend on the targets."""
    needed = set(targets)
    for record in tape.records[tape.after(start) :]:
        if not needed.isdisjoint(record[INPUTS : INPUTS + arity(record)]):
            needed.add(record[PLACE])
    return needed


def constant(array: Any, place: int | None) -> Any:
    """What a record saved, as a Tensor without its place."""
    if isinstance(array, tuple):
        return tuple(wrap(a) for a in array)
    return wrap(array)
