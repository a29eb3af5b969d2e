"""The tape as text: a Wengert list.

    x1 : float32[5]    leaf
    v1 : float32[5]  = mul(x1, x1)
    v2 : float32[]   = sum(v1)

``x`` are leaves, ``v`` the results of records, ``c`` constants with their shapes. A ``*`` behind a
record says that what it saved has been freed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tapegrad.primitive import primitives
from tapegrad.spec import specs
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, SPEC, Record, Tape, arity

__all__ = ["wengert_list"]

#: Records printed of a long tape, from its beginning and from its end.
EDGE = 50


def wengert_list(tape: Tape, records: Sequence[Record], first: Iterable[int] = ()) -> str:
    """The records, numbered in the order in which they ran; before them the ``first`` leaves."""
    numbers = {record[PLACE]: i for i, record in enumerate(records, 1)}
    leaves: dict[int, int] = {}
    rows: list[tuple[str, str, str]] = []

    def show(place: int) -> str:
        if place not in leaves:
            leaves[place] = len(leaves) + 1
            leaf = tape.leaf(place)
            spec = "" if leaf is None else repr(leaf._spec)
            rows.append((f"x{leaves[place]}", spec, "  leaf"))
        return f"x{leaves[place]}"

    for place in first:
        show(place)
    skipped = len(records) - 2 * EDGE
    for i, record in enumerate(records):
        if skipped > 1 and EDGE <= i < EDGE + skipped:
            if i == EDGE:
                rows.append(("...", "", f"({skipped} more)"))
            continue
        inputs = []
        n = arity(record)
        for place, saved in zip(
            record[INPUTS : INPUTS + n], record[INPUTS + n : INPUTS + 2 * n], strict=True
        ):
            if place is None:
                inputs.append(_constant(saved))
            elif place > 0:
                inputs.append(f"v{numbers[place]}" if place in numbers else "v?")
            else:
                inputs.append(show(place))
        primitive = primitives[record[CODE]]
        arguments = ", ".join(inputs + _parameters(record))
        freed = " *" if record[-1] is RELEASED else ""
        rows.append(
            (f"v{i + 1}", repr(specs[record[SPEC]]), f"= {primitive.name}({arguments}){freed}")
        )
    if not rows:
        return "(empty tape)"
    left = max(len(row[0]) for row in rows)
    right = max(len(row[1]) for row in rows)
    return "\n".join(f"{a:<{left}} : {b:<{right}} {c}" if b else f"{a} {c}" for a, b, c in rows)


def _constant(saved: Any) -> str:
    if isinstance(saved, np.ndarray):
        return (
            f"{saved.item():g}"
            if saved.ndim == 0 and saved.dtype.kind in "fiub"
            else (f"c[{', '.join(map(str, saved.shape))}]")
        )
    return "c"


def _parameters(record: Record) -> list[str]:
    primitive = primitives[record[CODE]]
    if primitive.elementwise or not record[PARAMS]:
        return []
    # After the parameters come the shapes of the inputs, which the inputs show.
    values = record[PARAMS][: len(primitive.params)]
    names = primitive.params or (("position",) if primitive.name == "output" else ())
    return [f"{name}={_short(value)}" for name, value in zip(names, values, strict=False)]


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"array{list(value.shape)}"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
