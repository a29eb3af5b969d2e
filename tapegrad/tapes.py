"""`Tape`: a part of the process's tape, to look at, to run again, or to replace by its Jacobian.

    with tg.Tape() as tape:
        loss = f(x, w)
    print(tape)
    print(tape.stats())
    loss2 = tape.replay({x: x2}, loss)

There is one list of records, `tapegrad.tape`: recording appends to it and ``backward`` walks it. A
`Tape` only knows which of its records were made by its thread within its context; they live no
longer for that, may refer to records elsewhere, and are referred to from elsewhere.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapegrad.autograd.engine import grad
from tapegrad.modes import unwatch, watch
from tapegrad.primitive import Primitive, structural
from tapegrad.recording import record as append_record
from tapegrad.recording import wrap
from tapegrad.stats import TapeStats, stats_of
from tapegrad.tape import INPUTS, PLACE, Record, arity, unshared
from tapegrad.tape import tape as whole
from tapegrad.tensor import Tensor, from_array, place_of
from tapegrad.tracing import Guard, Step, Trace, detach
from tapegrad.wengert import wengert_list

__all__ = ["Tape"]


class _Local(threading.local):
    def __init__(self) -> None:
        self.tapes: list[Tape] = []


_local = _Local()
_lock = threading.Lock()
_open = 0


class Tape:
    """The records that this thread makes within the context. Contexts may be nested.

    Args:
        replayable: note what `replay` needs as well, which makes recording some times slower.

    >>> import tapegrad as tg
    >>> x = tg.tensor([1., 2.], requires_grad=True)
    >>> with tg.Tape() as tape:
    ...     y = (x * x).sum()
    >>> print(tape)
    x1 : float32[2]   leaf
    v1 : float32[2] = mul(x1, x1)
    v2 : float32[]  = sum(v1)
    >>> tape.replay({x: tg.tensor([3., 4.])}, y)
    tensor(25.)
    """

    def __init__(self, replayable: bool = True) -> None:
        self._trace = Trace() if replayable else None
        self._places: set[int] = set()
        self._many = 1_000
        self._programs: dict[Any, list[Any]] = {}

    def __enter__(self) -> Tape:
        global _open
        if self in _local.tapes:
            raise RuntimeError("this Tape records already")
        _local.tapes.append(self)
        with _lock:
            if not _open:
                whole.watchers.append(_note)
            _open += 1
        watch()
        if self._trace is not None:
            self._trace.start()
        return self

    def __exit__(self, *exception: object) -> None:
        global _open
        if self._trace is not None:
            self._trace.stop()
        unwatch()
        with _lock:
            _open -= 1
            if not _open:
                whole.watchers.remove(_note)
        _local.tapes.remove(self)

    # -- reading -----------------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """Those of its records that are still on the tape, oldest first."""
        with whole._lock:
            return [r for r in whole.records if r[PLACE] in self._places]

    def __len__(self) -> int:
        return len(self.records)

    def __str__(self) -> str:
        return wengert_list(whole, self.records)

    def __repr__(self) -> str:
        return f"<Tape with {len(self)} records>"

    def stats(self) -> TapeStats:
        """How much it holds: records, live and dead ones, bytes saved, by operator."""
        return stats_of(self.records)

    # -- positions ---------------------------------------------------------------------------------

    def position(self) -> int:
        """The current end, to `reset_to` later."""
        return whole.next_serial()

    def reset_to(self, position: int) -> None:
        """Drop its records after ``position``; those of other tapes stay.

        See `tapegrad.tape.reset_to`.
        """
        whole.reset_to(position, self._places)
        self._places = {p for p in self._places if p <= position}
        if self._trace is not None:
            self._trace.reset_to(position)

    def _add(self, place: int) -> None:
        self._places.add(place)
        if len(self._places) > self._many:  # most of them may have been swept
            self._places.intersection_update(r[PLACE] for r in whole.records)
            self._places.add(place)
            self._many = 2 * len(self._places) + 1_000

    # -- running it again --------------------------------------------------------------------------

    def replay(
        self,
        new_inputs: Mapping[Tensor, Any],
        outputs: Tensor | Sequence[Tensor],
    ) -> Any:
        """Compute ``outputs`` again from other values of its inputs, without running the code.

        Args:
            new_inputs: for Tensors that were used, but not made, within the context: the Tensors or
                arrays to take in their places, of the same shape and dtype. Others are what they
                are now.
            outputs: a Tensor made within, or several.

        Returns:
            A Tensor, or a tuple of as many. It is recorded as if the code had run, so
            ``backward`` reaches the new inputs that require grad.

        Raises:
            RuntimeError: Python has read a value that is another one now: ``bool(x)`` that would go
                the other way, ``item()``, ``numpy()`` or a function that looks at its input (such
                as ``argsort``) where values differ. Or the tape has what can't be run again: an
                in-place change, random numbers, a custom ``Function``, a value that may come from a
                backward pass without ``create_graph``.
            ValueError: a new input has another shape or dtype, or isn't one.

        >>> import tapegrad as tg
        >>> x = tg.tensor(2., requires_grad=True)
        >>> with tg.Tape() as tape:
        ...     y = x * x if x > 0 else -x
        >>> x2 = tg.tensor(3., requires_grad=True)
        >>> tape.replay({x: x2}, y).backward()
        >>> x2.grad
        tensor(6.)
        >>> tape.replay({x: -x2}, y)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        RuntimeError: tape.replay(): bool() at ... read True when the tape was recorded, and ...
        """
        trace = self._trace
        if trace is None:
            raise RuntimeError("tape.replay() needs a Tape(replayable=True)")
        if trace.refusal:
            raise RuntimeError(f"tape.replay(): the tape has {trace.refusal}. Run the code again.")
        several = not isinstance(outputs, Tensor)
        wanted = tuple(map(self._slot_of, (outputs,) if isinstance(outputs, Tensor) else outputs))
        values: dict[int, Any] = {
            slot: from_array(value) if isinstance(value, np.ndarray) else value
            for slot, value in trace.given.items()
        }
        for tensor, value in new_inputs.items():
            slot, aliases = trace.find(tensor), trace.aliases(tensor)
            if slot not in trace.given and not aliases:
                raise ValueError(
                    "tape.replay(): a Tensor among the new inputs is none that the tape has used "
                    "and not made"
                )
            if not isinstance(value, Tensor):
                value = from_array(np.asarray(value))
            if value._spec.detached is not tensor._spec.detached:
                raise ValueError(
                    f"tape.replay(): an input was {tensor._spec!r} when the tape was recorded, and "
                    f"can't be {value._spec!r}"
                )
            values.update({alias: _detached(value) for alias in aliases})
            if slot is not None:
                values[slot] = value
        key = (wanted, len(trace.steps))
        if key not in self._programs:
            self._programs[key] = _program(trace, wanted)
        for piece in self._programs[key]:
            piece(values)
        results = tuple(values[slot] for slot in wanted)
        return results if several else results[0]

    def _slot_of(self, tensor: Tensor) -> int:
        slot = self._trace.find(tensor) if self._trace is not None else None
        if slot is None:
            raise ValueError("tape.replay(): an output wasn't made within this Tape")
        return slot

    # -- preaccumulation ---------------------------------------------------------------------------

    def preaccumulate(
        self, inputs: Tensor | Sequence[Tensor], outputs: Tensor | Sequence[Tensor]
    ) -> None:
        """Replace the way from ``inputs`` to ``outputs`` by one record: its Jacobian.

        Pays where few inputs and outputs are far apart, and backward runs more than once, or memory
        is short. The outputs keep their values and get new places; the records between die, unless
        something else needs them (as the base of an output that is a view does).

        Args:
            inputs: real Tensors on which the outputs depend by this tape's records.
            outputs: Tensors of their dtype, which aren't leaves.

        Raises RuntimeError if the outputs depend on something else that requires grad, or aren't
        recorded. Derivatives of higher order through the new record raise NotImplementedError.

        >>> import tapegrad as tg
        >>> x = tg.tensor([1., 2.], requires_grad=True)
        >>> with tg.Tape(replayable=False) as tape:
        ...     y = (x * x * x).sum()
        >>> tape.preaccumulate(x, y)
        >>> y
        tensor(9., grad_fn=<PreaccumulatedBackward0>)
        >>> y.backward()
        >>> x.grad
        tensor([ 3., 12.])
        """
        xs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        ys = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        places = [place_of(x) for x in xs]
        for t in (*xs, *ys):
            if t._spec.is_complex:
                raise NotImplementedError("preaccumulate() takes real Tensors")
            if place_of(t) is None:
                raise RuntimeError("preaccumulate() takes Tensors that require grad")
        self._check_closed({p for p in places if p is not None}, ys)
        jacobians = [_local_jacobian(y, xs) for y in ys]
        for y, jacobian in zip(ys, jacobians, strict=True):
            place = append_record(
                preaccumulated, xs, tuple(x._array for x in xs), (y._array, jacobian), y._spec,
                y._array,
            )  # fmt: skip
            y._place = place
            if place is not None:
                self._add(unshared(place))

    def _check_closed(self, inputs: set[int], outputs: tuple[Tensor, ...]) -> None:
        """Raise unless all ways from the outputs end at the inputs, within this tape."""
        wanted = {p for p in map(place_of, outputs) if p is not None} - inputs
        if any(p < 0 or p not in self._places for p in wanted):
            raise RuntimeError("preaccumulate(): an output wasn't recorded by this Tape")
        for record in reversed(self.records):
            if record[PLACE] not in wanted or record[PLACE] in inputs:
                continue
            for source in _sources(record):
                if source not in inputs and (source < 0 or source not in self._places):
                    raise RuntimeError(
                        "preaccumulate(): an output depends on something else than the inputs that "
                        "requires grad; name it among the inputs"
                    )
                wanted.add(source)


def _sources(record: Record) -> list[int]:
    return [s for s in record[INPUTS : INPUTS + arity(record)] if s is not None]


def _note(record: Record) -> Record:
    for tape in _local.tapes:
        tape._add(unshared(record[PLACE]))
    return record


# -- the steps of a replay -------------------------------------------------------------------------


#: Steps in one piece of a program.
PIECE = 1_000


def _program(trace: Trace, wanted: tuple[int, ...]) -> list[Callable[[dict[int, Any]], None]]:
    """The steps that the outputs or a guard needs, as Python functions of the values by slot.

    Within one a value is a local variable, which goes after its last use.
    """
    needed = set(wanted)
    lines: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []  # with slots read and written
    space: dict[str, Any] = {"apply": _apply}
    for step in reversed(trace.steps):
        name = f"f{len(lines)}"
        if isinstance(step, Guard):
            needed.add(step.slot)
            space[name] = _checking(step)
            lines.append((f"{name}(v{step.slot})", (step.slot,), ()))
        elif not needed.isdisjoint(step.outputs):
            needed.update(step.inputs)
            lines.append((_line(step, trace, space, name), step.inputs, step.outputs))
    pieces = []
    later = set(wanted)  # the slots that are read after a piece
    for first in range(0, len(lines), PIECE):
        part = lines[first : first + PIECE]
        written = {slot for _, _, outputs in part for slot in outputs}
        kept = written & later
        body: list[str] = []
        seen = set(later)
        for text, inputs, outputs in part:  # from the end
            gone = sorted({*inputs, *outputs} - seen)
            seen.update(gone)
            if gone:
                body.append("del " + ", ".join(f"v{slot}" for slot in gone))
            body.append(text)
        read = {slot for _, inputs, _ in part for slot in inputs} - written
        body += [f"v{slot} = v[{slot}]" for slot in sorted(read)]
        body = [*body[::-1], *(f"v[{slot}] = v{slot}" for slot in sorted(kept))]
        exec(compile("def piece(v):\n " + "\n ".join(body), "<replay>", "exec"), space)
        pieces.append(space["piece"])
        later = (later - written) | read
    return pieces[::-1]


def _line(step: Step, trace: Trace, space: dict[str, Any], name: str) -> str:
    """A step as a line of Python; what it names goes into the ``space``."""
    given = [trace.given.get(slot) for slot in step.inputs]
    numbers = [i for i, v in enumerate(given) if v is not None and not isinstance(v, Tensor)]
    arguments = ", ".join(f"v{slot}" for slot in step.inputs)
    results = ", ".join(f"v{slot}" for slot in step.outputs)
    primitive = step.primitive
    if primitive is detach:
        space[name] = _detached
    elif primitive.fast is not None and (
        not numbers or (numbers == [1] and "y" in primitive.numbers)
    ):
        space[name] = primitive.fast
    else:
        space[name], space[f"{name}_params"] = primitive, step.params
        return f"{results} = apply({name}, ({arguments},), {name}_params)"
    return f"{results} = {name}({arguments})"


def _apply(primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...]) -> Any:
    return Primitive.apply(primitive, inputs, params)


def _checking(guard: Guard) -> Callable[..., None]:
    def check(tensor: Any) -> None:
        guard.check(tensor._array if isinstance(tensor, Tensor) else np.asarray(tensor))

    return check


def _detached(tensor: Tensor) -> Tensor:
    return wrap(tensor._array)


# -- local Jacobians -------------------------------------------------------------------------------


def _preaccumulated_forward(inputs: Any, values: Any, jacobian: Any) -> Any:
    return values


def _preaccumulated_vjp(out_bar: Any, shapes: Any, jacobian: Any, index: int) -> Any:
    if not isinstance(out_bar, np.ndarray):
        raise NotImplementedError(
            "a preaccumulated region has a Jacobian only: no derivatives of higher order, and no "
            "forward mode"
        )
    return (out_bar.reshape(-1) @ jacobian[index]).reshape(shapes[index])


preaccumulated = structural(
    "preaccumulated", _preaccumulated_forward, _preaccumulated_vjp, variadic=True
)


def _local_jacobian(y: Tensor, xs: tuple[Tensor, ...]) -> tuple[np.ndarray, ...]:
    """For each input the matrix of derivatives, an output's element in each row."""
    size = y._spec.size
    blocks = [np.zeros((size, x._spec.size), x._spec.dtype) for x in xs]
    for row in range(size):
        seed = np.zeros(size, y._spec.dtype)
        seed[row] = 1
        adjoints = grad(
            y, xs, wrap(seed.reshape(y._spec.shape)), retain_graph=True, allow_unused=True
        )
        for block, adjoint in zip(blocks, adjoints, strict=True):
            if adjoint is not None:
                block[row] = adjoint._array.reshape(-1)
    return tuple(blocks)
