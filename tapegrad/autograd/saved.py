"""What is saved for backward, and the hooks that may keep it elsewhere.

A record saves arrays. Within `saved_tensors_hooks` each of them is handed to the user's ``pack``,
and the record holds a `Packed` in its place, which ``unpack`` makes an array again when the record
runs. Outside nothing asks about hooks: within, `tapegrad.modes.watch` sends every operation through
the long path, where `Tape.append` calls `_pack_record`.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from tapegrad.contributions import SECOND_TIME
from tapegrad.modes import no_grad, unwatch, watch
from tapegrad.recording import wrap
from tapegrad.storage import version
from tapegrad.tape import INPUTS, PLACE, RELEASED, Record, arity, tape, unshared
from tapegrad.tensor import Tensor, place_of

__all__ = ["Packed", "SavedTensor", "allow_mutation_on_saved_tensors"]
__all__ += ["disable_saved_tensors_hooks", "save_on_cpu", "saved_tensors_hooks", "unpacked"]

Hook = Callable[[Any], Any]


class _Local(threading.local):
    """The calling thread's pairs of hooks, innermost last, and why there may be none."""

    def __init__(self) -> None:
        self.hooks: list[tuple[Hook, Hook]] = []
        self.disabled: str | None = None
        self.mutation = False  # within allow_mutation_on_saved_tensors


_local = _Local()


class Packed:
    """What ``pack`` made of a saved array."""

    __slots__ = ("unpack", "value")

    def __init__(self, tensor: Tensor, pack: Hook, unpack: Hook) -> None:
        array = tensor._array
        before = version(array)
        with no_grad():
            self.value = pack(tensor)
        self.unpack = unpack
        if version(array) != before:
            raise RuntimeError(
                "A saved tensor pack hook is modifying its input in place. Tensors provided as "
                "input to pack hook cannot be modified by in-place operations as this can lead to "
                "unexpected side-effects. Please open an issue if you need to perform in-place "
                "operations on the input to a pack hook."
            )

    def load(self) -> np.ndarray:
        """The array again. Raises TypeError if the hook doesn't return a Tensor."""
        with no_grad():
            tensor = self.unpack(self.value)
        if not isinstance(tensor, Tensor):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(tensor).__name__}"
            )
        return tensor._array


def _pack_record(record: Record) -> Record:
    """A new record with its saved arrays packed, if the calling thread has hooks."""
    if not _local.hooks:
        return record
    pack, unpack = _local.hooks[-1]

    def packed(value: Any, place: int | None = None) -> Any:
        if type(value) is tuple:
            return tuple(map(packed, value))
        if type(value) is not np.ndarray or (not value.ndim and not value.flags.writeable):
            return value  # a Python number is a read-only array
        return Packed(input_tensor(value, place), pack, unpack)

    n = arity(record)
    first = INPUTS + n
    # The result comes without its place: what is packed would keep its own record alive.
    saved = tuple(map(packed, record[first:], (*record[INPUTS:first], None)))
    if any(value is not None for value in saved):
        tape.notes.setdefault(unshared(record[PLACE]), {})["packed"] = True
    return record[:first] + saved


def pack_saved(place: int, index: int, pack: Hook, unpack: Hook) -> None:
    """Pack one of the values that the record at a place has saved.

    Raises RuntimeError if that was freed, or is packed already.
    """
    changed = object()
    try:
        tape.begin_replay(changed)
        at = tape.index(place)
        record = None if at is None else tape.records[at]
        if at is None or record is None or record[-1] is RELEASED:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor after it has been freed. Saved "
                "intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the "
                "graph a second time or if you need to access saved variables after calling "
                "backward."
            )
        position = INPUTS + arity(record) + index
        if type(record[position]) is Packed:
            raise RuntimeError(
                "Calling register_hooks on a saved tensor whose hooks have already been set. Hint: "
                "only one pair of hooks is allowed at a time."
            )
        source = record[INPUTS + index] if index < arity(record) else None
        packed = Packed(input_tensor(record[position], source), pack, unpack)
        tape.notes.setdefault(unshared(place), {})["packed"] = True
        tape.records[at] = (*record[:position], packed, *record[position + 1 :])
    finally:
        tape.replays.pop(changed, None)


def input_tensor(array: np.ndarray, place: int | None) -> Tensor:
    """The input of a record that is at a place: the leaf itself, or a Tensor over its array."""
    leaf: Tensor | None = tape.leaf(place) if place is not None and place < 0 else None
    return leaf if leaf is not None and leaf._array is array else wrap(array, place)


def unpacked(record: Record) -> Record:
    """The record with the arrays that its `Packed` values stand for."""

    def load(value: Any) -> Any:
        if type(value) is tuple:
            return tuple(map(load, value))
        return value.load() if type(value) is Packed else value

    first = INPUTS + arity(record)
    return record[:first] + tuple(map(load, record[first:]))


class SavedTensor:
    """A Tensor that a user's Function has saved: its array, and where it came from.

    Holding the Tensor itself would keep the records alive that it comes to depend on later. An
    output (``position``) is kept without its place, since its record holds this object.
    """

    __slots__ = ("array", "packed", "place", "position", "tensor", "version")

    def __init__(self, tensor: Tensor, place: int | None, position: int | None = None) -> None:
        self.place = place
        self.position = position
        self.version = version(tensor._array)
        self.packed: Packed | None = None
        self.array: np.ndarray | None = None
        self.tensor: weakref.ref[Tensor] | None = None
        if _local.hooks:
            given = tensor if position is None else wrap(tensor._array)
            self.packed = Packed(given, *_local.hooks[-1])
        else:
            self.array = tensor._array
            self.tensor = weakref.ref(tensor)

    def load(self, name: str, output: Callable[[int], int | None]) -> Tensor:
        """The Tensor, at its place; ``output`` tells that of an output of the Function.

        Raises RuntimeError if it has been changed in place since.
        """
        if self.packed is not None:
            array = self.packed.load()
        else:
            assert self.array is not None
            array = self.array
            if version(array) != self.version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an "
                    f"inplace operation: [tapegrad.{array.dtype.name} {list(array.shape)}], which "
                    f"is saved for {name}, is at version {version(array)}; expected version "
                    f"{self.version} instead. Hint: clone() the value before changing it in place."
                )
        place = self.place if self.position is None else output(self.position)
        before = None if self.tensor is None else self.tensor()
        if before is not None and before._array is array and place_of(before) == place:
            return before
        return wrap(array, place)


def released() -> RuntimeError:
    """The error where saved values were freed by an earlier backward."""
    return RuntimeError(SECOND_TIME)


class saved_tensors_hooks:
    """Keep what operations save for backward in another form, such as on disk.

    ``pack_hook(tensor)`` is called with each value that an operation in this context saves, and
    returns anything; ``unpack_hook`` gets that when backward needs the value, and returns a Tensor
    of the same content. Neither is recorded. The innermost of nested contexts counts.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2.], requires_grad=True)
    >>> halve = lambda t: t.to(tapegrad.float16)
    >>> with tapegrad.autograd.graph.saved_tensors_hooks(halve, lambda t: t.float()):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Hook, unpack_hook: Hook) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if _local.disabled is not None:
            raise RuntimeError(_local.disabled)
        if _pack_record not in tape.watchers:
            tape.watchers.append(_pack_record)
        _local.hooks.append((self.pack_hook, self.unpack_hook))
        watch()

    def __exit__(self, *exception: object) -> None:
        unwatch()
        _local.hooks.pop()


class save_on_cpu(saved_tensors_hooks):
    """Accepted for torch's sake: everything is on the CPU, and saved there as it is."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def keep(tensor: Tensor) -> Tensor:
            return tensor

        super().__init__(keep, keep)


class allow_mutation_on_saved_tensors(saved_tensors_hooks):
    """Let what operations in this context have saved be changed in place.

    Backward, which must run in the context too, finds what was saved: a copy. ``clear()`` frees
    the copies, as the end of the context does.

    Raises RuntimeError where such contexts are nested, and AssertionError where backward runs
    outside.

    >>> import tapegrad
    >>> with tapegrad.autograd.graph.allow_mutation_on_saved_tensors():
    ...     a = tapegrad.ones(2, requires_grad=True)
    ...     b = a.clone()
    ...     out = (b ** 2).sum()
    ...     _ = b.sin_()
    ...     out.backward()
    >>> a.grad
    tensor([2., 2.])
    """

    def __init__(self) -> None:
        self._copies: weakref.WeakSet[_Copy] = weakref.WeakSet()
        super().__init__(self._copy, self._load)

    def __enter__(self) -> Self:  # type: ignore[override]
        if _local.mutation:
            raise RuntimeError("allow_mutation_on_saved_tensors contexts cannot be nested")
        super().__enter__()
        _local.mutation = True
        return self

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        _local.mutation = False
        self.clear()

    def clear(self) -> None:
        """Free what was saved."""
        for copy in self._copies:
            copy.tensor = None

    def _copy(self, tensor: Tensor) -> _Copy:
        copy = _Copy(wrap(tensor._array.copy()))
        self._copies.add(copy)
        return copy

    def _load(self, copy: _Copy) -> Tensor:
        if not _local.mutation or copy.tensor is None:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context"
                "in which the graph was originally recorded."
            )
        return copy.tensor


class _Copy:
    """A saved value's copy, as long as its record or its context lasts."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor: Tensor | None = tensor


class disable_saved_tensors_hooks:
    """Raise RuntimeError(``error_message``) where saved_tensors_hooks are used in this context.

    A context manager and a decorator.
    """

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message
        self._before: list[str | None] = []

    def __enter__(self) -> None:
        if _local.hooks:
            raise RuntimeError(self.error_message)
        self._before.append(_local.disabled)
        _local.disabled = self.error_message

    def __exit__(self, *exception: object) -> None:
        _local.disabled = self._before.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return wrapper
