"""What a tape holds: its records by operator, live and dead, and the bytes that they keep."""

from __future__ import annotations

import sys
from collections import Counter
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from tapegrad.primitive import primitives
from tapegrad.storage import owner
from tapegrad.tape import ALIVE, CODE, INPUTS, PLACE, Record, arity

__all__ = ["TapeStats", "stats_of"]


class TapeStats(NamedTuple):
    """What ``stats()`` of a tape tells.

    ``live`` records are those that a living Tensor depends on, and ``dead`` the others, which the
    next sweep drops. ``saved_bytes`` counts each piece of memory that records keep for backward
    once; ``bytes_by_operator`` counts it for the last operator that saved it.
    """

    records: int
    live: int
    dead: int
    saved_bytes: int
    by_operator: dict[str, int]
    bytes_by_operator: dict[str, int]

    def __str__(self) -> str:
        lines = [
            f"{self.records} records ({self.live} live, {self.dead} dead), "
            f"{self.saved_bytes} bytes saved"
        ]
        for name, count in self.by_operator.items():
            lines.append(f"{count:>9} {name:<24}{self.bytes_by_operator.get(name, 0):>13} bytes")
        return "\n".join(lines)


def stats_of(records: list[Record]) -> TapeStats:
    """What is told of some records, in the order in which they stand on the tape."""
    counts = list(map(sys.getrefcount, map(itemgetter(PLACE), records)))
    owners: dict[int, tuple[int, str]] = {}
    dead = 0
    released: Counter[int] = Counter()  # references to a place that dead records have
    for record, count in zip(reversed(records), reversed(counts), strict=True):
        n = arity(record)
        if count - released[record[PLACE]] < ALIVE:
            dead += 1
            released.update(p for p in record[INPUTS : INPUTS + n] if p is not None)
        for value in record[INPUTS + n :]:
            for array in value if type(value) is tuple else (value,):
                if type(array) is np.ndarray:
                    root = owner(array)
                    owners.setdefault(id(root), (root.nbytes, primitives[record[CODE]].name))
    bytes_by_operator: Counter[str] = Counter()
    for nbytes, name in owners.values():
        bytes_by_operator[name] += nbytes
    return TapeStats(
        records=len(records),
        live=len(records) - dead,
        dead=dead,
        saved_bytes=bytes_by_operator.total(),
        by_operator=dict(Counter(primitives[r[CODE]].name for r in records).most_common()),
        bytes_by_operator=dict(bytes_by_operator.most_common()),
    )
