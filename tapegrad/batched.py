"""Tensors that vmap maps over: what looks like one sample, and holds them all.

    def f(x):            # x is a Batched of shape (3,), which holds a Tensor of shape (B, 3)
        return x.sum()   # recorded as sum(value, axis=1); the result is a Batched of shape ()

    vmap(f)(tapegrad.ones(5, 3))

The shape, ``ndim`` and the like are those of one sample, so functions that ask for them are right
as they are. A primitive is applied to the values instead, by its batching rule
(`tapegrad.batching`); as these are ordinary Tensors, or those of an outer vmap, so are the records.
Each running vmap is a *level*; the innermost has the highest number.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from tapegrad import random
from tapegrad.declaration import BatchedAccess
from tapegrad.modes import count_batched
from tapegrad.primitive import Primitive
from tapegrad.spec import spec_for
from tapegrad.tensor import Tensor, place_of

__all__ = ["Batched", "Level", "any_batched", "levels", "merged", "rules", "separated"]

new = Tensor.__new__


class Batched(Tensor):
    """One sample, as it looks, of ``_value``, whose first dimension vmap number ``_level`` maps."""

    __slots__ = ("_level", "_value")

    _value: Tensor
    _level: int

    @property
    def _array(self) -> Any:  # type: ignore[override]
        raise BatchedAccess()

    @property  # type: ignore[misc]
    def requires_grad(self) -> bool:
        """Whether operations on the samples are recorded."""
        return innermost(self).requires_grad

    @property
    def is_leaf(self) -> bool:
        """Whether no record made it."""
        return not self.requires_grad

    def item(self) -> Any:
        """Raises RuntimeError: there is one for each sample."""
        raise RuntimeError(
            "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over "
            "calling .item() on a Tensor, please try to rewrite what you're doing with other "
            "operations. If error is occurring somewhere inside PyTorch internals, please file a "
            "bug report."
        )

    def __bool__(self) -> bool:
        raise RuntimeError(
            "vmap: It looks like you're attempting to use a Tensor in some data-dependent control "
            "flow. We don't support that yet, please shout over at "
            "https://github.com/pytorch/functorch/issues/257 ."
        )

    def _number(self, kind: type) -> Any:
        self.item()

    __index__ = item

    def tolist(self) -> Any:
        """Raises RuntimeError: see `item`."""
        raise BatchedAccess()

    def numpy(self, *, force: bool = False) -> Any:
        """Raises RuntimeError: see `item`."""
        raise BatchedAccess()

    def contiguous(self, memory_format: Any = None) -> Batched:
        """The Tensor itself."""
        return self

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether all samples together are."""
        contiguous: bool = self._value.is_contiguous()
        return contiguous

    def stride(self, dim: int | None = None) -> Any:
        """The steps within a sample."""
        strides = self._value.stride()[1:]
        return strides if dim is None else strides[dim]

    def detach(self) -> Batched:
        """The samples, not recorded."""
        return batched(self._value.detach(), self._level)

    data = property(detach)

    def __repr__(self) -> str:
        return f"BatchedTensor(lvl={self._level}, bdim=0, value={self._value!r})"

    def __format__(self, spec: str) -> str:
        return repr(self)


def batched(value: Tensor, level: int) -> Batched:
    """One sample of ``value``, as it looks to what the vmap of that level runs."""
    out = new(Batched)
    out._value = value
    out._level = level
    spec = value._spec
    out._spec = spec_for(spec.shape[1:], spec.dtype)
    out._place = None
    return out


def innermost(tensor: Any) -> Any:
    """The ordinary Tensor of all samples that a `Batched` of any level holds."""
    while type(tensor) is Batched:
        tensor = tensor._value
    return tensor


def is_recorded(tensor: Any) -> bool:
    """Whether a Tensor, or the samples of a `Batched`, have a place on the tape."""
    return place_of(innermost(tensor)) is not None


def any_batched(inputs: Iterable[Any]) -> bool:
    """Whether a `Batched` is among them."""
    for x in inputs:  # noqa: SIM110 - quicker than any()
        if type(x) is Batched:
            return True
    return False


class Rules:
    """How `Batched` Tensors are computed with; set by `tapegrad.batching`, once it is loaded."""

    #: ``apply(primitive, inputs, params)``, as `recording.apply`.
    apply: Callable[[Primitive, tuple[Any, ...], tuple[Any, ...]], Any]
    #: ``change(function, target, args, kwargs)``: an in-place operation.
    change: Callable[[Callable[..., Any], Any, Any, Any], Any]
    #: ``copy(target, source)``: all elements of ``target`` set in place.
    copy: Callable[[Any, Any], Any]
    #: ``set_items(input, index, value)``: ``input[index] = value``.
    set_items: Callable[[Any, tuple[Any, ...], Any], None]
    #: ``one_by_one(function, args, kwargs)``: the function for one sample after the other.
    one_by_one: Callable[[Callable[..., Any], Any, Any], Any]
    #: Loads them.
    load: Callable[[], Any]


rules = Rules()


class RandomAccess(BatchedAccess):
    """Raised where random numbers are to be drawn in a vmap that says how they differ."""


def before_draw() -> None:
    """Ask the innermost vmap of this thread whether, and how, random numbers are drawn."""
    if not levels.running:
        return
    if levels.running[-1].randomness == "error":
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the "
            "'same' or 'different' randomness flags on vmap or perform the randomness operation "
            "out of vmap"
        )
    raise RandomAccess()


random.before_draw.append(before_draw)


# -- levels ----------------------------------------------------------------------------------------


class _Levels(threading.local):
    """The calling thread's running vmaps, outermost first."""

    def __init__(self) -> None:
        self.running: list[Level] = []


levels = _Levels()


class Level:
    """A running vmap, as a context manager: the size of its batch, and its randomness."""

    __slots__ = ("number", "randomness", "size")

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness

    def __enter__(self) -> Level:
        rules.load()
        self.number = len(levels.running) + 1
        levels.running.append(self)
        count_batched(1)
        return self

    def __exit__(self, *exception: object) -> None:
        levels.running.pop()
        count_batched(-1)

    def batch(self, value: Tensor) -> Batched:
        """A sample of ``value``, of which there are as many as its first dimension has."""
        return batched(value, self.number)

    def lowered(self, tensor: Any) -> Any:
        """All samples, in a first dimension; those of what this level doesn't map are the same."""
        if type(tensor) is Batched and tensor._level == self.number:
            return tensor._value
        if type(tensor) is Batched and tensor._level > self.number:
            inner = self.lowered(tensor._value)
            return batched(inner.transpose(0, 1), tensor._level)
        shape: tuple[int, ...] = tensor._spec.shape
        return tensor.expand(self.size, *shape)


def merged(tensor: Any, running: list[Level]) -> Any:
    """All samples of some levels, outermost in the first dimension: an ordinary Tensor.

    (Unless there are further levels, those of a Jacobian.) What a level doesn't map is expanded: so
    each sample has a gradient of its own.
    """
    for level in reversed(running):
        tensor = level.lowered(tensor)
    return tensor


def separated(tensor: Any, running: list[Level]) -> Any:
    """What `merged` was made of."""
    if running and type(tensor) is Batched and tensor._level > running[-1].number:
        count = len(running)
        inner = tensor._value  # (B, *levels, ...) to (*levels, B, ...)
        order = (*range(1, count + 1), 0, *range(count + 1, inner.ndim))
        return batched(separated(inner.permute(order), running), tensor._level)
    for level in running:
        tensor = level.batch(tensor)
    return tensor
