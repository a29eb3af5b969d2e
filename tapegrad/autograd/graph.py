"""The records seen as torch's graph: ``grad_fn`` and what hangs on it. Made on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tapegrad.autograd import hooks as _hooks
from tapegrad.autograd import saved as _saved
from tapegrad.contributions import SECOND_TIME, check_saved
from tapegrad.primitive import Primitive, primitives
from tapegrad.recording import wrap_saved
from tapegrad.storage import stamp
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, Record, arity, tape
from tapegrad.tensor import Tensor, place_of

__all__ = ["GradientEdge", "Node", "allow_mutation_on_saved_tensors"]
__all__ += ["disable_saved_tensors_hooks", "get_gradient_edge", "increment_version"]
__all__ += ["register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks"]

allow_mutation_on_saved_tensors = _saved.allow_mutation_on_saved_tensors
disable_saved_tensors_hooks = _saved.disable_saved_tensors_hooks
register_multi_grad_hook = _hooks.register_multi_grad_hook
save_on_cpu = _saved.save_on_cpu
saved_tensors_hooks = _saved.saved_tensors_hooks


class Node:
    """A record, with torch's names. Its class is named as torch's, such as ``AddBackward0``.

    What the record saved is in attributes ``_saved_self``, ``_saved_other``, ``_saved_result``, or
    named after a parameter, such as ``_saved_dim``.
    """

    __slots__ = ("_place", "_record", "_tensor")

    _place: int
    _record: Record | None
    _tensor: Any

    def name(self) -> str:
        """torch's name of the operation's derivative."""
        return type(self).__name__ if self._place > 0 else "torch::autograd::AccumulateGrad"

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """The records that made the inputs, with the number of the output that was used."""
        record = self._record
        if record is None:
            return ()
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
        made: dict[str, Any] = _hooks.note(self._place, "metadata", dict)
        return made

    def register_hook(self, fn: Any) -> _hooks.RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` whenever the record has run in backward.

        Both are tuples of Tensors or None; what ``fn`` returns, if not None, takes the place of
        ``grad_inputs``.
        """
        return _hooks.register_node_hook(self._place, "posthooks", fn, self._leaf())

    def register_prehook(self, fn: Any) -> _hooks.RemovableHandle:
        """Call ``fn(grad_outputs)`` before the record runs; it may return other ones."""
        return _hooks.register_node_hook(self._place, "prehooks", fn, self._leaf())

    def _leaf(self) -> Any:
        return self._tensor if self._place < 0 else None

    def __call__(self, *grad_outputs: Any) -> Any:
        """The gradients of the inputs, for those of the outputs; without hooks.

        A Tensor, or a tuple of as many as there are inputs (None for those that need none). It is
        recorded where this thread records. An ``AccumulateGrad`` node accumulates.
        """
        from tapegrad.autograd.calling import call_node

        return call_node(self, grad_outputs)

    @property
    def requires_grad(self) -> bool:
        """True."""
        return True

    def _sequence_nr(self) -> int:
        """Later operations have greater numbers."""
        return abs(self._place)

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_saved_", "_raw_saved_")) and self._place > 0:
            record = self._record
            if record is not None:
                if name.startswith("_saved_"):
                    return saved_value(self, record, name.removeprefix("_saved_"))
                return raw_saved_value(self, record, name.removeprefix("_raw_saved_"))
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        names = list(super().__dir__())
        if self._place > 0 and self._record is not None:
            fields = _fields(self._record)
            names += ["_saved_" + field for field in fields]
            names += ["_raw_saved_" + f for f, (part, _) in fields.items() if part != "params"]
        return names

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
    """The node of a place: for one of several outputs, that of the record which made them."""
    if place < 0:
        leaf = _class("AccumulateGrad")()
        leaf._place, leaf._record, leaf._tensor = place, None, tape.leaf(place)
        return leaf
    record = tape.record(place)
    if record is None:
        record_class = _class("Dropped")
    else:
        record = _maker(record)
        place = record[PLACE]
        primitive = primitives[record[CODE]]
        if primitive.joint is not None:
            context: Node = record[PARAMS][0]  # a user's Function: its ctx
            return context
        record_class = _class(primitive.grad_name)
    made = record_class()
    made._place, made._record, made._tensor = place, record, None
    return made


def name_of(place: int) -> str:
    """torch's name for the record at a place."""
    if place < 0:
        return "AccumulateGrad"
    record = tape.record(place)
    return "Dropped" if record is None else _primitive(record).grad_name


def _maker(record: Record) -> Record:
    """The record that made the value: for one of several outputs, the one of them all."""
    if primitives[record[CODE]].is_output:
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


# -- saved values ----------------------------------------------------------------------------------

#: torch's names of what a primitive saves, where they aren't the usual ones.
_NAMES: dict[str, tuple[str, ...]] = {
    "pow": ("self", "exponent"),
    "where": ("condition", "self", "other"),
    "mm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "bmm": ("self", "mat2"),
    "addcmul": ("self", "tensor1", "tensor2"),
    "addcdiv": ("self", "tensor1", "tensor2"),
    "lerp": ("self", "end", "weight"),
}
_USUAL = ("self", "other", "third", "fourth")
_PARAMETERS = {"axis": "dim", "axes": "dim", "keepdims": "keepdim"}


def _fields(record: Record) -> dict[str, tuple[str, int]]:
    """The names after ``_saved_``: each with the part of the record and the index in it."""
    primitive = primitives[record[CODE]]
    n = arity(record)
    fields: dict[str, tuple[str, int]] = {}
    if primitive.arity < 0:
        if 0 in primitive.saves[0]:
            fields["tensors"] = ("inputs", -1)
        kept = 1 in primitive.saves[0]
    else:
        names = _NAMES.get(primitive.name, _USUAL)
        saves = frozenset[int]().union(*primitive.saves)
        fields |= {names[i]: ("saved", i) for i in range(n) if i in saves}
        kept = n in saves
    if kept:
        fields["result"] = ("saved", n)
    if not primitive.elementwise:
        for i, name in enumerate(primitive.params):
            fields.setdefault(_PARAMETERS.get(name, name), ("params", i))
    return fields


def saved_value(owner: Node, record: Record, name: str) -> Any:
    """What a record saved under a name: a Tensor at its place, a tuple of them, or a parameter.

    Raises RuntimeError if backward has freed it, or if it has been changed in place since.
    """
    fields = _fields(record)
    if name not in fields:
        raise AttributeError(f"{owner.name()!r} object has no attribute '_saved_{name}'")
    part, i = fields[name]
    if part == "params":
        return record[PARAMS][i]
    record = tape.record(record[PLACE]) or record
    if record[-1] is RELEASED:
        raise RuntimeError(SECOND_TIME)
    if "packed" in tape.notes.get(record[PLACE], ()):
        record = _saved.unpacked(record)
    check_saved(record)
    n = arity(record)
    saved, places = record[INPUTS + n :], (*record[INPUTS : INPUTS + n], record[PLACE])
    if part == "inputs":
        pairs = zip(saved[:n], places[:n], strict=True)
        return tuple(_saved.input_tensor(value, place) for value, place in pairs)
    if saved[i] is None or i < n:
        return None if saved[i] is None else _saved.input_tensor(saved[i], places[i])
    return wrap_saved(saved[i], places[i])


class RawSaved:
    """A saved value, to register hooks for it: ``grad_fn._raw_saved_self``."""

    __slots__ = ("_index", "_name", "_node")

    def __init__(self, node: Node, name: str, index: int) -> None:
        self._node, self._name, self._index = node, name, index

    def register_hooks(self, pack_hook: Any, unpack_hook: Any) -> None:
        """Keep the value in another form from now on; see `saved_tensors_hooks`.

        Raises RuntimeError if it has hooks already or was freed, TypeError for what can't be
        called.
        """
        if not (callable(pack_hook) and callable(unpack_hook)):
            raise TypeError("register_hooks(): the hooks must be callable")
        _saved.pack_saved(self._node._place, self._index, pack_hook, unpack_hook)

    def unpack(self) -> Any:
        """The value."""
        return getattr(self._node, f"_saved_{self._name}")


def raw_saved_value(owner: Node, record: Record, name: str) -> RawSaved | tuple[RawSaved, ...]:
    """What stands for what a record saved under a name; a tuple for several values."""
    part, i = _fields(record).get(name, ("params", 0))
    if part == "params":
        raise AttributeError(f"{owner.name()!r} object has no attribute '_raw_saved_{name}'")
    if part == "inputs":
        return tuple([RawSaved(owner, name, k) for k in range(arity(record))])
    return RawSaved(owner, name, i)


# -- edges and versions ----------------------------------------------------------------------------


class GradientEdge(NamedTuple):
    """Where a Tensor's gradient goes: `backward` and `grad` take it in the Tensor's place.

    It keeps the graph alive, and not the Tensor.
    """

    node: Node
    output_nr: int
    ownership_token: Any = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge of a Tensor. Raises RuntimeError if it does not require grad.

    >>> import tapegrad
    >>> x = tapegrad.ones(2, requires_grad=True)
    >>> y = x * 3
    >>> edge = tapegrad.autograd.graph.get_gradient_edge(y)
    >>> tapegrad.autograd.grad((y * y).sum(), edge)
    (tensor([6., 6.]),)
    """
    place = place_of(tensor)
    if place is None:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    return GradientEdge(node(place), output_of(place), place)


def place_of_edge(edge: GradientEdge) -> int | None:
    """The place that an edge stands for, None if it isn't on the tape."""
    if edge.ownership_token is not None:
        token: int = edge.ownership_token
        return token
    maker = edge.node._place
    if maker < 0:
        return maker
    for record in reversed(tape.records):
        if record[PLACE] < maker:
            return None
        if record[PLACE] == maker and primitives[record[CODE]].outputs == 1:
            place: int = record[PLACE]
            return place
        of_maker = primitives[record[CODE]].is_output and record[INPUTS] == maker
        if of_maker and record[PARAMS][0] == edge.output_nr:
            return int(record[PLACE])
    return None


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Tell that Tensors have been changed where tapegrad couldn't see it, as through NumPy.

    Backward raises then where an operation had saved the old values.
    """
    for each in (tensor,) if isinstance(tensor, Tensor) else tensor:
        array: np.ndarray = each._array
        stamp(array, tape.next_serial())
