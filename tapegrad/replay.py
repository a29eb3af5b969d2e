"""The backward pass: the tape, replayed in reverse.

For ``z = x * y`` with the record ``(v3, mul, spec, None, v1, v2, x, y, None)``:

    adjoints = {v3: z_bar}
    for record in reversed(tape):               # down from the record of the root
        out_bar = adjoints.pop(record.place)    # none: the root doesn't depend on it
        v1's adjoint += out_bar * mul_x(y)      # for each input that has a place
        v2's adjoint += out_bar * mul_y(x)

The walk ends when no adjoint of a record is pending; what is left are the adjoints of leaves. It
computes with arrays or, for ``create_graph``, with Tensors, whose operations are recorded in turn.
Two things can run a record: its rules, here, in Python; and, for long tapes, kernels that Numba
compiled from the same rules, called by one native loop (`tapegrad.kernels`), which hands back the
records that have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tapegrad.contributions import SECOND_TIME, added, check_saved, contribution, environment
from tapegrad.loading import LOAD_AFTER, MOST_WORK, RECORD_BYTES, load_native, native
from tapegrad.primitive import primitives, quietly
from tapegrad.spec import specs
from tapegrad.storage import clock
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, SPEC, Record, Tape, arity

__all__ = ["Replay"]

Hook = Callable[[int, Any], Any]

#: What may be noted of a record so that it takes `Replay.long_step`.
LONG = frozenset({"packed", "prehooks", "posthooks"})

#: Records without an adjoint that a walk in Python passes before it looks the next one up.
JUMP_AFTER = 16


class Replay:
    """One run of the tape in reverse.

    Args:
        tape: the tape.
        roots: places of the values to differentiate, with their adjoints.
        retain: keep what the records have saved.
        wrap: ``wrap(array, place)`` makes a Tensor; given for ``create_graph``.
        targets: if given, only adjoints on the way to these places are computed, and those of the
            targets are returned by `run` beside the leaves'.
        hook: ``hook(place, adjoint)`` is called for the places in ``tape.notes``; what it returns
            takes the adjoint's place.
        gives: leaves that have no gradient may be given theirs at once; they are not returned.
        in_python: don't load the native loop, which takes longer for few records.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_roots",
        "adjoints",
        "begun",
        "found",
        "gives",
        "hook",
        "in_python",
        "leaves",
        "needed",
        "owned",
        "retain",
        "start",
        "tape",
        "targets",
        "wrap",
    )  # fmt: skip

    #: Runs a record of which something in LONG is noted, or whose shares come from one call.
    long_step: Callable[[int, Record, Any], None]

    def __init__(
        self,
        tape: Tape,
        roots: Iterable[tuple[int, Any]],
        *,
        retain: bool,
        wrap: Callable[[np.ndarray, int | None], Any] | None = None,
        targets: frozenset[int] | None = None,
        hook: Hook | None = None,
        gives: bool = False,
        in_python: bool = False,
    ) -> None:
        self.tape = tape
        self.in_python = in_python
        self.gives = gives
        self.retain = retain
        self.wrap = wrap
        self.targets = targets
        self.hook = hook
        #: Adjoints of records, by place, and those of leaves.
        self.adjoints: dict[int, Any] = {}
        self.leaves: dict[int, Any] = {}
        self.found: dict[int, Any] = {}
        #: The places whose adjoint array nobody else holds: it may be added to in place.
        self.owned: set[int] = set()
        self.start = -1
        #: A native walk that has begun with this replay's root, to go on with.
        self.begun: Any = None
        self.needed: set[int] | None = None
        self._roots = list(roots)

    def run(self) -> tuple[dict[int, Any], dict[int, Any]]:
        """Walk the tape. Returns the adjoints of the leaves and those of the targets."""
        tape = self.tape
        try:
            tape.begin_replay(self)
            for place, adjoint in self._roots:
                self.add(place, adjoint, fresh=False)
                if place > 0:
                    index = tape.index(place)
                    if index is None:
                        raise _gone(tape, place)
                    self.start = max(self.start, index)
            if self.targets is not None and self.needed is None and self.adjoints:
                self.needed = self._needed(self.targets)
            self.walk()
        finally:
            tape.replays.pop(self, None)
        return self.leaves, self.found

    def walk(self) -> None:
        """From the root's record down, until no adjoint is pending."""
        index = self._walk_in_python(self._work_in_python())
        if self.adjoints and index >= 0:
            if load_native(wait=False) and native.walk is not None:
                native.walk(self, index)
            else:
                self._walk_in_python(-1, index)
        if self.adjoints:
            raise self.gone()

    def _walk_in_python(self, limit: int, index: int | None = None) -> int:
        """Run records up to some work (-1: all of them); returns the index at which to go on."""
        records = self.tape.records
        adjoints = self.adjoints
        index = self.start if index is None else index
        work = skipped = 0
        while adjoints and index >= 0 and (work < limit or limit < 0):
            record = records[index]
            if record[PLACE] in adjoints:
                work += min(1 + specs[record[SPEC]].nbytes // RECORD_BYTES, MOST_WORK)
                skipped = 0
                self.step(index, record)
            elif (skipped := skipped + 1) == JUMP_AFTER:
                # Far from the next record: look it up.
                skipped = 0
                found = self.tape.index(max(adjoints))
                index = index if found is None else min(found + 1, index)
            index -= 1
        native.replayed += work
        return index

    def _work_in_python(self) -> int:
        """How much work to do in Python before the native loop takes over; -1: all."""
        if self.in_python or self.wrap is not None:
            return -1
        if native.loaded is False:
            return -1
        return 0 if native.loaded else max(LOAD_AFTER - native.replayed, 0)

    def gone(self, place: int | None = None) -> RuntimeError:
        """The error for a place whose record isn't on the tape."""
        return _gone(self.tape, max(self.adjoints, default=0) if place is None else place)

    def step(self, index: int, record: Record) -> None:
        """Run one record: give each of its inputs its share of the result's adjoint."""
        place = record[PLACE]
        out_bar = self.adjoints.pop(place)
        owned = place in self.owned
        if owned:
            self.owned.discard(place)
        targets, needed, notes = self.targets, self.needed, self.tape.notes
        if place in notes or (targets is not None and place in targets):
            noted = self._noted(place, out_bar)
            owned = owned and noted is out_bar and place not in self.found
            out_bar = noted
        if needed is not None and (place not in needed or targets is None or place in targets):
            sources = record[INPUTS : INPUTS + arity(record)]
            if needed.isdisjoint(sources):
                # The way ends here: the record keeps what it saved.
                for source in sources:
                    if source is not None and source > 0 and self.tape.record(source) is None:
                        raise self.gone(source)
                return
        if place in notes and not LONG.isdisjoint(notes[place]):
            self.long_step(index, record, out_bar)
            return
        if record[-1] is RELEASED:
            raise RuntimeError(SECOND_TIME)
        primitive = primitives[record[CODE]]
        if primitive.is_output:
            self._add_output(record, out_bar)
            return
        if place < clock.latest:
            check_saved(record)
        n = primitive.arity
        if n < 0:
            n = arity(record)
            if primitive.joint is not None:
                self.long_step(index, record, out_bar)
                return
        values = environment(primitive, record, n, out_bar, self.wrap)
        arrays = self.wrap is None
        shares = None if primitive.together is None else quietly(primitive.together, values)
        given = 0  # places that were given out_bar itself
        for i in range(n):
            source = record[INPUTS + i]
            if source is None or (needed is not None and source not in needed):
                continue
            share = contribution(primitive, record, i, values) if shares is None else shares[i]
            if share is out_bar:
                given += 1
                last = source
                self.add(source, share, False)
            elif share is not None:
                self.add(source, share, arrays and share.base is None)
        if owned and given == 1 and self._holder(last).get(last) is out_bar:
            # Its last use: whoever has it now may add to it in place.
            self.owned.add(last)
        if not self.retain:
            self.release(index, record)

    def release(self, index: int, record: Record) -> None:
        """Let go of what a record has saved."""
        n = arity(record)
        for value in record[INPUTS + n :]:
            if value is not None:
                self.tape.records[index] = record[: INPUTS + n] + (RELEASED,) * (n + 1)
                break

    def _holder(self, place: int) -> dict[int, Any]:
        return self.adjoints if place > 0 else self.leaves

    def _noted(self, place: int, out_bar: Any) -> Any:
        """Run the hooks of a place, and keep its adjoint if it is a target."""
        if place in self.tape.notes and self.hook is not None:
            out_bar = self.hook(place, out_bar)
        if self.targets is not None and place in self.targets:
            self.found[place] = out_bar
        return out_bar

    def add(self, place: int, share: Any, fresh: bool) -> None:
        """Add a share to the adjoint of a place; ``fresh``: nobody else holds the array."""
        adjoints = self._holder(place)
        before = adjoints.get(place)
        if before is None:
            adjoints[place] = share
            if fresh:
                self.owned.add(place)
        elif self.wrap is not None:
            adjoints[place] = before + share
        elif place in self.owned and before.ndim:
            added(before, share, before)
        else:
            adjoints[place] = added(before, share)
            self.owned.add(place)

    def mark(self, place: int) -> None:
        """Note that Python keeps an adjoint for a place; a native walk has to know."""

    def _add_output(self, record: Record, out_bar: Any) -> None:
        """The adjoint of one of several outputs: the record that made them gathers them."""
        source = record[INPUTS]
        if self.needed is not None and source not in self.needed:
            return
        maker = self.tape.record(source)
        if maker is None:
            raise _gone(self.tape, source)
        self.mark(source)
        gathered = self.adjoints.setdefault(source, [None] * primitives[maker[CODE]].outputs)
        position = record[PARAMS][0]
        before = gathered[position]
        plus = added if self.wrap is None else np.add
        gathered[position] = out_bar if before is None else plus(before, out_bar)

    def _first(self, targets: frozenset[int]) -> int:
        """Where the way to the targets begins: one that a record made isn't used before that."""
        first = min(targets)
        return (self.tape.index(first) or 0) if first > 0 else 0

    def _needed(self, targets: frozenset[int]) -> set[int]:
        """The places on a way from a target to a root."""
        records = self.tape.records
        first = self._first(targets)
        reached = {place for place in self.adjoints if place > 0}
        needed = set(targets)
        if native.way is not None:
            native.way(records, self.start, first, reached, needed)
            return needed
        pending = len(reached)
        met = []
        for index in range(self.start, first - 1, -1):
            if not pending:
                break
            record = records[index]
            if record[PLACE] in reached:
                met.append(record)
                before = len(reached)
                for source in record[INPUTS : INPUTS + arity(record)]:
                    if source is not None and source > 0:
                        reached.add(source)
                pending += len(reached) - before - 1
        for record in reversed(met):
            if not needed.isdisjoint(record[INPUTS : INPUTS + arity(record)]):
                needed.add(record[PLACE])
        return needed


def _gone(tape: Tape, place: int) -> RuntimeError:
    if tape.was_reset(place):
        return RuntimeError(
            "this Tensor's record was dropped by tape.reset_to(): its history is gone. Compute it "
            "again, or detach() it."
        )
    return RuntimeError(SECOND_TIME)
