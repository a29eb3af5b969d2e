"""A node called as a function: its gradients without a backward pass."""

from __future__ import annotations

from typing import Any

from tapegrad.autograd.graph import Node
from tapegrad.autograd.saved import released, unpacked
from tapegrad.contributions import check_saved, contribution, environment
from tapegrad.primitive import primitives
from tapegrad.recording import wrap_saved
from tapegrad.spec import specs
from tapegrad.tape import CODE, INPUTS, RELEASED, SPEC, Record, arity, tape
from tapegrad.tensor import Tensor

__all__ = ["call_node"]


def call_node(node: Node, bars: tuple[Any, ...]) -> Any:
    """The shares of the inputs of a node's record, for the adjoints of its outputs.

    Raises:
        TypeError: another number of adjoints, what is neither a Tensor nor None, or the node of a
            user's Function.
        RuntimeError: an adjoint of another shape; what was saved was freed or changed.
    """
    for i, bar in enumerate(bars):
        if bar is not None and not isinstance(bar, Tensor):
            raise TypeError(f"argument {i} is not a Variable")
    if node._place < 0:
        _check_count(bars, 1)
        if bars[0] is not None:
            node.variable.backward(bars[0])
        return None
    record = tape.record(node._place)
    if record is None or record[-1] is RELEASED:
        raise released()
    primitive = primitives[record[CODE]]
    if primitive.joint is not None:
        raise TypeError(f"{node.name()!r} object is not callable")
    _check_count(bars, primitive.outputs)
    shape = specs[record[SPEC]].shape
    if primitive.outputs == 1 and bars[0] is not None and bars[0].shape != shape:
        raise RuntimeError(
            f"{node.name()}(): got a gradient of shape {list(bars[0].shape)} for an output of "
            f"shape {list(shape)}"
        )
    if "packed" in tape.notes.get(node._place, ()):
        record = unpacked(record)
    check_saved(record)
    shares = _shares(record, bars)
    return shares[0] if len(shares) == 1 else shares


def _check_count(bars: tuple[Any, ...], count: int) -> None:
    if len(bars) != count:
        raise TypeError(f"expected {count} arguments, got {len(bars)} instead")


def _shares(record: Record, bars: tuple[Any, ...]) -> tuple[Any, ...]:
    n = arity(record)
    if all(bar is None for bar in bars):
        return (None,) * n
    primitive = primitives[record[CODE]]
    bar = bars[0] if len(bars) == 1 else list(bars)
    values = environment(primitive, record, n, bar, wrap_saved)
    return tuple(
        None if place is None else contribution(primitive, record, i, values)
        for i, place in enumerate(record[INPUTS : INPUTS + n])
    )
