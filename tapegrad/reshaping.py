"""Changes of a Tensor's shape in place: ``unsqueeze_``, ``transpose_``, ``resize_``, ``set_``.

>>> import tapegrad
>>> x = tapegrad.ones(3)
>>> x.unsqueeze_(0).shape
tapegrad.Size([1, 3])

The memory stays as it is, and the Tensor becomes a view of what it was. Views that were made of it
before share its memory as ever; where it is recorded, they have lost their history, and say so.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.inplace import check_writable
from tapegrad.modes import modes, set_modes
from tapegrad.operators import functions
from tapegrad.recording import wrap
from tapegrad.rules.arguments import sizes_of
from tapegrad.storage import stamp
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, place_of, view_of

__all__ = ["METHODS", "resize_", "resize_as_", "set_"]


def in_place_view(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The in-place method of a function that gives a view: ``x.t_()`` from ``t``."""

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        view, place = view_of(self), place_of(self)
        old = wrap(self._array, place)
        old._spec = self._spec
        if view is not None:
            old._extra = view
        grad, inference = modes.grad, modes.inference
        # What is recorded stays so under no_grad, too: the values are those that the tape has.
        recorded = place is not None and place > 0
        if recorded and not grad:
            set_modes(True, False)
        try:
            new = function(old, *args, **kwargs)
        finally:
            if recorded and not grad:
                set_modes(grad, inference)
        stamp(self._array, tape.next_serial())
        self._array = new._array
        if view is None:
            self._spec = new._spec.detached
        else:
            self._spec, self._extra = new._spec, new._extra
        if grad or recorded:
            self._place = new._place
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{function.__name__}`, in place. Returns the Tensor itself."
    return method


def _replace(target: Tensor, array: np.ndarray) -> Tensor:
    check_writable(target)
    stamp(target._array, tape.next_serial())
    target._array = array
    target._spec = wrap(array)._spec
    return target


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Give the Tensor another shape, in place: its first elements, and others that aren't set.

    Raises RuntimeError if it requires grad.
    """
    if place_of(self) is not None:
        raise RuntimeError("cannot resize variables that require grad")
    shape = sizes_of(sizes)
    before = self._array.ravel(order="K")
    wanted = math.prod(shape)
    after = before[:wanted]
    if wanted > before.size:
        after = np.empty(wanted, before.dtype)
        after[: before.size] = before
    return _replace(self, after.reshape(shape))


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to the shape of another Tensor."""
    return resize_(self, the_template.shape)


def set_(self: Tensor, source: Tensor | None = None) -> Tensor:
    """Have this Tensor share the memory and shape of another one of its dtype (or hold nothing).

    Raises RuntimeError for a leaf that requires grad, and for another dtype.
    """
    array = np.empty(0, self._spec.dtype) if source is None else source._array
    if array.dtype != self._spec.dtype:
        raise RuntimeError(
            f"Could not set tensor of type {array.dtype.name} to a tensor of type "
            f"{self._spec.dtype.name}"
        )
    if modes.grad and place_of(self) is not None and not self.is_leaf:
        raise NotImplementedError("set_() on a recorded Tensor: use copy_(), or detach() it first")
    return _replace(self, array)


METHODS: dict[str, Callable[..., Any]] = {
    "resize_": resize_,
    "resize_as_": resize_as_,
    "set_": set_,
}
for _name in ("squeeze", "unsqueeze", "transpose", "t", "swapaxes", "swapdims"):
    METHODS[_name + "_"] = in_place_view(functions[_name], _name + "_")
