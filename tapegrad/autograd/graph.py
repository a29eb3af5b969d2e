"""The records seen as torch's graph: ``grad_fn`` and what hangs on it. Made on demand."""

from __future__ import annotations

from typing import Any

from tapegrad.primitive import Primitive, primitives
from tapegrad.tape import CODE, INPUTS, PARAMS, Record, arity, tape

__all__ = ["Node", "name_of", "node", "output_of"]


class Node:
    """A record, with torch's names. Its class is named as torch's, such as ``AddBackward0``."""

    __slots__ = ("_place", "_record", "_tensor")

    _place: int
    _record: Record | None
    _tensor: Any

    def name(self) -> str:
        """torch's name of the operation's derivative."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The records that made the inputs, with the number of the output that was used."""
        if self._record is None:
            return ()
        record = _maker(self._record)
        functions: list[tuple[Node | None, int]] = []
        for place in record[INPUTS : INPUTS + arity(record)]:
            functions.append((None, 0) if place is None else (node(place), output_of(place)))
        return tuple(functions)

    @property
    def variable(self) -> Any:
        """The leaf that an ``AccumulateGrad`` node stands for."""
        if self._place > 0:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'variable'")
        return self._tensor

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for notes of one's own, kept beside the tape."""
        from tapegrad.autograd.hooks import note

        made: dict[str, Any] = note(self._place, "metadata", dict)
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other._place == self._place

    def __hash__(self) -> int:
        return hash(self._place)


_classes: dict[str, type[Node]] = {}


def _class(name: str) -> type[Node]:
    made = _classes.get(name)
    if made is None:
        # The repr shows <AddBackward0 object at 0x...>, as torch's, so no module.
        space = {"__slots__": (), "__repr__": _repr, "__module__": "tapegrad.autograd.graph"}
        made = _classes.setdefault(name, type(name, (Node,), space))
    return made


def _repr(self: Node) -> str:
    return f"<{type(self).__name__} object at {id(self):#x}>"


def node(place: int) -> Node:
    """The node of a place."""
    made = _class(name_of(place))()
    made._place = place
    made._record = tape.record(place) if place > 0 else None
    made._tensor = tape.leaf(place) if place < 0 else None
    return made


def name_of(place: int) -> str:
    """torch's name for the record at a place."""
    if place < 0:
        return "AccumulateGrad"
    record = tape.record(place)
    return "Dropped" if record is None else _primitive(record).grad_name


def _maker(record: Record) -> Record:
    """The record that made the value: for one of several outputs, the one of them all."""
    if primitives[record[CODE]].name == "output":
        return tape.record(record[INPUTS]) or record
    return record


def _primitive(record: Record) -> Primitive:
    return primitives[_maker(record)[CODE]]


def output_of(place: int | None) -> int:
    """Which output of its record the value at a place is."""
    record = None if place is None or place < 0 else tape.record(place)
    if record is None:
        return 0
    primitive = primitives[record[CODE]]
    if primitive.is_output:
        return int(record[PARAMS][0])
    return int(record[PARAMS][len(primitive.params) - 1]) if primitive.several else 0
