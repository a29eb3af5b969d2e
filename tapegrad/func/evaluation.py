"""A function evaluated at inputs of its own, for which it is then differentiated.

The derivative is one of what happens between two points of the tape. What depends on nothing else
that requires grad is computed with arrays, and not recorded. Where something else does come in (a
parameter that the function refers to, the inputs of a derivative around this one), the derivative
is computed with Tensors, recorded, and what depends on that keeps its place.

Within a vmap the inputs are those of all samples, also where the samples share them, so that each
has a derivative of its own (`tapegrad.batched.merged`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tapegrad.autograd.engine import run_walk
from tapegrad.autograd.forward import constant
from tapegrad.batched import Batched, batched, is_recorded, levels, merged, separated
from tapegrad.modes import enable_grad, modes
from tapegrad.recording import wrap, wrap_saved
from tapegrad.rules.conversion import clone_
from tapegrad.tape import INPUTS, PLACE, tape, unshared
from tapegrad.tensor import Tensor, check_differentiable, detached, place_of
from tapegrad.utils._pytree import LEAF, flat_tuple, tree_flatten, tree_unflatten

#: Up to so many records a walk in Python is quicker than starting the native one.
SHORT = 4
#: Within vmap, where more records have no kernel.
SHORT_MAPPED = 16

__all__ = ["Evaluation", "arguments", "differentiated", "with_aux"]


class Evaluation:
    """``run`` evaluates a function at inputs of its own; ``pull`` differentiates it."""

    def __init__(self) -> None:
        self.recording = modes.grad
        self.running = list(levels.running)
        self.start = tape.next_serial()
        self.inputs: list[Tensor] = []
        self._own: set[int] = set()
        self._outer = False
        self._depend: set[int] = set()  # see `_dependent`, up to the record at `_looked`
        self._looked = 0

    def input(self, x: Any) -> Any:
        """A Tensor of the same value to evaluate the function at."""
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        value = merged(x, self.running) if self.running else x
        if self.recording and place_of(value) is not None:
            with enable_grad():
                own = clone_(value)
            self._outer = True
        else:
            own = detached(value, value._array)
            check_differentiable(own._spec.dtype)
            place = own._place = tape.new_leaf(own)
            self._own.add(place)
        self.inputs.append(own)
        return separated(own, self.running) if self.running else own

    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The outputs of the function."""
        if modes.grad:
            out = func(*args, **kwargs)
        else:
            with enable_grad():
                out = func(*args, **kwargs)
        self._outer = self._outer or (self.recording and self._finds_outer())
        return out

    def _finds_outer(self) -> bool:
        """Whether what was recorded depends on more than the inputs."""
        own, start = self._own, self.start
        for record in tape.records[tape.after(start) :]:
            for place in record[INPUTS : (len(record) + 3) >> 1]:
                if place is not None and place < start and place not in own:
                    return True
        return False

    def _dependent(self) -> set[int]:
        """The places since the start that depend on more than the inputs."""
        last = tape.records[-1][PLACE]
        if last == self._looked:
            return self._depend
        found: set[int] = set()
        own, start = self._own, self.start
        for record in tape.records[tape.after(start) :]:
            for place in record[INPUTS : (len(record) + 3) >> 1]:
                if place is not None and (place in found or (place < start and place not in own)):
                    found.add(unshared(record[PLACE]))
                    break
        self._looked, self._depend = unshared(last), found
        return found

    def values(self, outputs: Iterable[Any]) -> list[Any]:
        """The outputs, with their places only if they depend on more than the inputs."""
        depend: set[int] | None = None
        results = []
        for out in outputs:
            tensor = out
            while type(tensor) is Batched:
                tensor = tensor._value
            place = place_of(tensor) if isinstance(tensor, Tensor) else None
            if place is not None and (place > self.start or place in self._own):
                if depend is None:
                    if self._outer and not self._own:
                        return list(outputs)  # nothing here depends on anything else
                    depend = self._dependent() if self._outer else set()
                if place not in depend:
                    out = _plain(out)
            results.append(out)
        return results

    def pull(self, outputs: list[Any], cotangents: list[Any], retain: bool = True) -> list[Any]:
        """The sums of the cotangents' products with the derivatives, for each input."""
        recording = modes.grad and (self._outer or any(map(is_recorded, cotangents)))
        running = self.running
        roots = []
        mapped = False
        for out, bar in zip(outputs, cotangents, strict=True):
            value = merged(out, running) if running else out
            place = place_of(value)
            if place is not None:
                bar = merged(bar, running) if running else bar
                mapped = mapped or type(bar) is Batched
                roots.append((place, bar))
        if not roots:
            return [wrap(np.zeros(x._spec.shape, x._spec.dtype)) for x in self._shown()]
        wrapping = wrap_saved if recording else constant if mapped else None
        if wrapping is None:
            roots = [(place, bar._array) for place, bar in roots]
        elif not recording:
            roots = [(place, bar.detach()) for place, bar in roots]
        targets = None
        if self._outer:
            targets = frozenset([place_of(x) or 0 for x in self.inputs])
        count = len(tape.records) - tape.after(self.start)
        short = count < (SHORT_MAPPED if running else SHORT)
        walk, found = run_walk(roots, retain or recording, wrapping, targets, in_python=short)
        if targets is None:
            found = walk.leaves
        gradients = []
        for x in self.inputs:
            place = place_of(x) or 0
            bar = found.get(place)
            if bar is None:
                bar = wrap(np.zeros(x._spec.shape, x._spec.dtype))
            elif wrapping is None:
                bar = wrap(bar if place in walk.owned else np.array(bar))
            gradients.append(separated(bar, running) if running else bar)
        if recording:
            self._outer = True
            gradients = self.values(gradients)
        return gradients

    def _shown(self) -> list[Any]:
        return [separated(x, self.running) for x in self.inputs]


def _plain(tensor: Any) -> Any:
    """A Tensor without its place."""
    if type(tensor) is Batched:
        return batched(_plain(tensor._value), tensor._level)
    return wrap(tensor._array)


def with_aux(out: Any, has_aux: bool, name: str) -> tuple[Any, Any]:
    """The output and what else the function returned. Raises RuntimeError if that isn't a pair."""
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return out


# -- the arguments to differentiate for ------------------------------------------------------------


def arguments(argnums: Any, count: int) -> tuple[int, ...]:
    """The positions among ``count`` arguments that ``argnums`` names, an int or several."""
    if isinstance(argnums, int):
        return (_argument(argnums, count),)
    if not isinstance(argnums, tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    found = tuple([_argument(n, count) for n in argnums])
    if not found:
        raise RuntimeError("argnums must be non-empty")
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return found


def _argument(argnum: Any, count: int) -> int:
    if not isinstance(argnum, int):
        raise RuntimeError(f"argnum must be int, got: {type(argnum)}")
    if not -count <= argnum < count:
        raise RuntimeError(f"Got argnum={argnum}, but only {count} positional inputs")
    return argnum % count


def differentiated(
    args: tuple[Any, ...], argnums: Any
) -> tuple[list[Any], Any, Callable[..., Any]]:
    """The leaves of the arguments that ``argnums`` names (None: of all), and their structure.

    Third, the function that puts others in their place.
    """
    if argnums is None:
        positions: tuple[int, ...] = tuple(range(len(args)))
        chosen: Any = args
    else:
        positions = arguments(argnums, len(args))
        if all([isinstance(args[i], Tensor) for i in positions]):
            return _tensors(args, positions, isinstance(argnums, int))
        chosen = args[positions[0]] if isinstance(argnums, int) else tuple(
            args[i] for i in positions
        )  # fmt: skip
    leaves, spec = tree_flatten(chosen)

    def replaced(values: Iterable[Any]) -> tuple[Any, ...]:
        made = tree_unflatten(values, spec)
        items = (made,) if isinstance(argnums, int) else made
        new = dict(zip(positions, items, strict=True))
        return tuple(new.get(i, arg) for i, arg in enumerate(args))

    return leaves, spec, replaced


def _tensors(
    args: tuple[Any, ...], positions: tuple[int, ...], single: bool
) -> tuple[list[Any], Any, Callable[..., Any]]:
    """`differentiated` where all are Tensors."""

    def replaced(values: Iterable[Any]) -> tuple[Any, ...]:
        new = list(args)
        for i, value in zip(positions, values, strict=True):
            new[i] = value
        return tuple(new)

    return [args[i] for i in positions], LEAF if single else flat_tuple(len(positions)), replaced
