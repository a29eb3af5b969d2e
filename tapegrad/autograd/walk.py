"""The replay as `backward` and `grad` run it: with hooks, user's Functions and observers.

`tapegrad.replay` knows arrays, this knows Tensors. What is rare is here, in `Walk.long_step`.
"""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

from tapegrad.autograd.hooks import run_posthooks, run_prehooks
from tapegrad.autograd.saved import released, unpacked
from tapegrad.contributions import check_saved, contribution, environment
from tapegrad.primitive import primitives, quietly
from tapegrad.replay import Replay
from tapegrad.storage import clock
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, Record, arity

__all__ = ["Observer", "Walk", "make_walk", "observers"]


class Walk(Replay):
    """A replay that runs hooks of records and user's Functions."""

    def long_step(self, index: int, record: Record, out_bar: Any) -> None:
        """Run a record that saved something packed, has hooks, or is a user's Function's."""
        place = record[PLACE]
        n = arity(record)
        sources = record[INPUTS : INPUTS + n]
        if self.needed is None and self.targets is not None:
            # A long tape, where `run` didn't look for the way; but user's code may be on another.
            self.needed = self._needed(self.targets)
        needed = self.needed
        wanted = [s is not None and (needed is None or s in needed) for s in sources]
        if not any(wanted):
            return
        if record[-1] is RELEASED:
            raise released()
        notes = self.tape.notes.get(place, {})
        if "prehooks" in notes:
            out_bar = run_prehooks(notes["prehooks"], out_bar, self.wrap is None)
        if "packed" in notes:
            record = unpacked(record)
        if place < clock.latest and "packed" not in notes:
            check_saved(record)
        primitive = primitives[record[CODE]]
        if primitive.joint is not None:
            shares = primitive.joint(record, out_bar)
        else:
            values = environment(primitive, record, n, out_bar, self.wrap)
            made = None if primitive.together is None else quietly(primitive.together, values)
            if made is None:
                made = [
                    w and contribution(primitive, record, i, values) for i, w in enumerate(wanted)
                ]
            shares = [share if want else None for share, want in zip(made, wanted, strict=True)]
        if not self.retain:
            self._release(index, record)
        if "posthooks" in notes:
            shares = [*run_posthooks(notes["posthooks"], shares, out_bar)]
        for source, share, want in zip(sources, shares, wanted, strict=True):
            if want and share is not None:
                self.add(source, self._plain(share), False)

    def _plain(self, share: Any) -> Any:
        return share if self.wrap is not None else getattr(share, "_array", share)

    def _release(self, index: int, record: Record) -> None:
        n = arity(record)
        primitive = primitives[record[CODE]]
        if primitive.joint is not None:
            record[PARAMS][0].release()
        elif any(value is not None for value in record[INPUTS + n :]):
            self.tape.records[index] = record[: INPUTS + n] + (RELEASED,) * (n + 1)


class Observer(Protocol):
    """What watches every step of a backward pass, as anomaly mode does."""

    def step(self, walk: Walk, record: Record) -> contextlib.AbstractContextManager[Any]:
        """A context in which the record runs."""

    def share(self, walk: Walk, place: int, share: Any) -> None:
        """An adjoint is about to be given to a place."""


class ObservedWalk(Walk):
    """A walk in Python, each of whose steps is shown to the observers."""

    def _work_in_python(self) -> int:
        return -1

    def step(self, index: int, record: Record) -> None:
        """See `Replay.step`."""
        with contextlib.ExitStack() as stack:
            for observer in observers:
                stack.enter_context(observer.step(self, record))
            super().step(index, record)

    def add(self, place: int, share: Any, fresh: bool) -> None:
        """See `Replay.add`."""
        for observer in observers:
            observer.share(self, place, share)
        super().add(place, share, fresh)


observers: list[Observer] = []


def make_walk(*args: Any, **kwargs: Any) -> Walk:
    """A walk, observed if anybody observes."""
    return (ObservedWalk if observers else Walk)(*args, **kwargs)
