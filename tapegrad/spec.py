"""What is known of an array without looking at it: its shape and dtype, interned.

Two Tensors have the same shape and dtype exactly if their specs are one object, so the recording
path decides by a single ``is`` that neither promotion nor broadcasting is wanted. A record names
specs by number: an int keeps records free of references that Python's cycle collector would have
to follow. The table grows by one small object for each distinct shape and dtype that a program
ever uses.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np

from tapegrad.threads import LARGE_BYTES

__all__ = ["Spec", "number_array", "spec_for", "spec_of", "spec_table", "specs"]

#: Arrays up to this size take the short recording path, which does not count bytes: the garbage
#: that can gather between two sweeps of the tape is bounded by this times the sweep's interval.
SMALL_BYTES = 4096

#: Python numbers kept as arrays, for each dtype.
CONSTANTS = 256


class Spec:
    """A shape and a dtype. Never made directly: `spec_of` gives the one of its kind."""

    __slots__ = (
        "_as_inference",
        "as_bool",
        "as_special",
        "constants",
        "detached",
        "differentiable",
        "dtype",
        "inference",
        "is_complex",
        "nbytes",
        "ndim",
        "number",
        "plain",
        "shape",
        "short",
        "size",
        "special",
    )

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        special: bool = False,
        inference: bool = False,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.ndim = len(shape)
        self.differentiable = dtype.kind in "fc"
        self.is_complex = dtype.kind == "c"
        self.size = math.prod(shape)
        self.nbytes = self.size * dtype.itemsize
        #: Marks Tensors that must be looked at on each use, such as views, whose base may have
        #: moved.
        self.special = special
        self.as_special: Spec = self
        #: That of a comparison's result, once there was one.
        self.as_bool: Spec | None = None
        #: Marks Tensors that were made in inference mode, which are special as well.
        self.inference = inference
        self._as_inference = self if inference else None
        #: That of a Tensor over the same memory that is nothing else.
        self.detached: Spec = self
        #: The short recording path serves real floating arrays that are small and not special.
        real = not special and dtype.char in "fd"
        self.plain = real and self.nbytes <= SMALL_BYTES
        self.short = real and self.nbytes <= LARGE_BYTES
        self.constants: dict[float, np.ndarray] = _constants.setdefault(dtype, {})
        self.number = len(specs)
        specs.append(self)

    @property
    def as_inference(self) -> Spec:
        """The spec of that shape and dtype for Tensors made in inference mode."""
        made = self.detached._as_inference
        if made is None:
            with _lock:
                made = self.detached._as_inference
                if made is None:
                    made = Spec(self.shape, self.dtype, special=True, inference=True)
                    self.detached._as_inference = made
        return made

    def constant(self, value: float) -> np.ndarray:
        """A Python number as a 0-d array of this dtype; small sets of numbers are kept."""
        array = number_array(value, self.dtype)
        array.flags.writeable = False  # it marks a number: see `autograd.saved`
        # 0.0 == -0.0, and a dictionary would give the one for the other; each nan is another key.
        if value and value == value and len(self.constants) < CONSTANTS:
            self.constants[value] = array
        return array

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{', '.join(map(str, self.shape))}]"


def number_array(value: complex, dtype: np.dtype[Any]) -> np.ndarray:
    """A Python number as a 0-d array, without a floating-point warning or error."""
    try:
        return np.array(value, dtype)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            return np.array(value, dtype)


_lock = threading.Lock()
_constants: dict[Any, dict[float, np.ndarray]] = {}
specs: list[Spec] = []
spec_table: dict[tuple[tuple[int, ...], Any], Spec] = {}


def spec_of(array: np.ndarray) -> Spec:
    """The spec of an array."""
    key = (array.shape, array.dtype)
    spec = spec_table.get(key)
    return _new(key) if spec is None else spec


def spec_for(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Spec:
    """The spec of arrays of that shape and dtype."""
    spec = spec_table.get((shape, dtype))
    return _new((shape, dtype)) if spec is None else spec


def _new(key: tuple[tuple[int, ...], Any]) -> Spec:
    with _lock:
        spec = spec_table.get(key)
        if spec is None:
            shape = tuple(map(int, key[0]))  # NumPy's ints are equal; machine code reads Python's
            spec = Spec(shape, key[1])
            spec.as_special = Spec(shape, key[1], special=True)
            spec.as_special.detached = spec
            spec_table[key] = spec
        return spec
