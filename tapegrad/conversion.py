"""Conversions: ``to``, ``float`` and the like, ``clone``.

    >>> import tapegrad
    >>> x = tapegrad.ones(2, requires_grad=True)
    >>> x.double(), x.float() is x
    (tensor([1., 1.], dtype=tapegrad.float64, grad_fn=<ToCopyBackward0>), True)

A conversion that has nothing to do returns the Tensor itself, as in torch. The derivatives are in
`tapegrad.broadcast` (``cast``) and `tapegrad.rules.conversion`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad import devices, dtypes
from tapegrad.batched import Batched
from tapegrad.broadcast import cast
from tapegrad.declaration import public
from tapegrad.dtypes import quiet
from tapegrad.modes import modes, switch
from tapegrad.recording import record, wrap
from tapegrad.rules.conversion import clone_, clone_contiguous
from tapegrad.shortpaths import unary

__all__ = ["clone", "converted"]

cloned = unary(clone_)


@public(numpy=[np.copy])
def clone(input: Any, *, memory_format: Any = None) -> Any:
    """A copy, through which gradients flow to the Tensor. Its order in memory is kept, if dense."""
    if not hasattr(input, "_spec"):
        raise TypeError(
            f"clone(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    if memory_format is None:
        return cloned(input)
    if repr(memory_format) == "tapegrad.contiguous_format":
        return clone_contiguous(input)
    return clone_(input)


def converted(input: Any, dtype: dtypes.dtype, copy: bool = False) -> Any:
    """The Tensor in another dtype: itself if it has that one, unless ``copy``.

    Warns where imaginary parts get lost, as torch does.
    """
    before, after = input._spec.dtype, dtype.numpy
    if before == after and not copy:
        return input
    if before.kind == "c" and after.kind != "c":
        if after.kind == "b":
            return input != 0
        warnings.warn(
            "Casting complex values to real discards the imaginary part",
            UserWarning,
            stacklevel=3,
        )
    complex_to_real = before.kind == "c" and after.kind != "c"
    if complex_to_real or not switch.plain or type(input) is Batched:
        return cast(input, after, before)
    # As cast(input, after, before), in fewer steps.
    array = input._array
    out = wrap(
        quiet(array.astype, after, "C" if array.base is not None and 0 in array.strides else "K")
    )
    if modes.grad and (input._place is not None or input._spec.special):
        out._place = record(cast, (input,), (input._array,), (after, before), out._spec, out._array)
    return out


@public(method="only")
def to(
    input: Any,
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    other: Any = None,
    non_blocking: bool = False,
    copy: bool = False,
    memory_format: Any = None,
) -> Any:
    """``to(dtype)``, ``to(device, dtype)`` or ``to(other)``, whose dtype it gets.

    The device must be the CPU. Returns the Tensor itself if there is nothing to do, unless
    ``copy``. Positionally, ``non_blocking`` and ``copy`` follow.
    """
    if args:
        first, rest = args[0], args[1:]
        if isinstance(first, (dtypes.dtype, type)):
            dtype = first
        elif hasattr(first, "_spec"):
            other = first
        elif first is None or isinstance(first, (str, int, devices.device)):
            device = first
            if rest:
                dtype, rest = rest[0], rest[1:]
        else:
            raise _wrong_arguments(args)
        if len(rest) > 2 or not all(isinstance(flag, bool) for flag in rest):
            raise _wrong_arguments(args)
        copy = rest[1] if len(rest) > 1 else copy
    if device is not None:
        devices.check_device(device, "to")
    if other is not None:
        dtype = other.dtype
    wanted = input.dtype if dtype is None else dtypes.as_dtype(dtype, "to")
    return converted(input, wanted, copy)


def _wrong_arguments(args: tuple[Any, ...]) -> TypeError:
    got = ", ".join(type(arg).__name__ for arg in args)
    return TypeError(
        f"to() received an invalid combination of arguments - got ({got}), but expected one of:\n"
        " * (tapegrad.device device = None, tapegrad.dtype dtype = None, bool non_blocking = "
        "False, bool copy = False, *, tapegrad.memory_format memory_format = None)\n"
        " * (tapegrad.dtype dtype, bool non_blocking = False, bool copy = False, *, "
        "tapegrad.memory_format memory_format = None)\n"
        " * (Tensor tensor, bool non_blocking = False, bool copy = False, *, "
        "tapegrad.memory_format memory_format = None)\n"
    )


@public(method="only")
def float_(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as float32."""
    return converted(input, dtypes.float32)


@public(method="only")
def double(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as float64."""
    return converted(input, dtypes.float64)


@public(method="only")
def half(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as float16."""
    return converted(input, dtypes.float16)


@public(method="only")
def byte(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as uint8."""
    return converted(input, dtypes.uint8)


@public(method="only")
def char(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as int8."""
    return converted(input, dtypes.int8)


@public(method="only")
def short(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as int16."""
    return converted(input, dtypes.int16)


@public(method="only")
def int_(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as int32."""
    return converted(input, dtypes.int32)


@public(method="only")
def long(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as int64."""
    return converted(input, dtypes.int64)


@public(method="only")
def bool_(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as bool: True where it isn't 0."""
    return converted(input, dtypes.bool_)


@public(method="only")
def cfloat(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as complex64."""
    return converted(input, dtypes.complex64)


@public(method="only")
def cdouble(input: Any, memory_format: Any = None) -> Any:
    """The Tensor as complex128."""
    return converted(input, dtypes.complex128)


_BY_TYPE = {
    f"{type_name}Tensor": dtypes.from_numpy(np.dtype(name))
    for name, type_name in dtypes.TYPE_NAMES.items()
}


@public(method="only")
def type_(input: Any, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The Tensor in another dtype; without one, its type's name, such as "tapegrad.FloatTensor".

    The dtype can be given by such a name too (with torch's prefix or tapegrad's).
    """
    if dtype is None:
        return f"tapegrad.{dtypes.TYPE_NAMES[input._spec.dtype.name]}Tensor"
    if isinstance(dtype, str):
        prefix, _, name = dtype.rpartition(".")
        if prefix not in ("torch", "tapegrad") or name not in _BY_TYPE:
            raise ValueError(f"invalid type: {dtype!r}")
        return converted(input, _BY_TYPE[name])
    if isinstance(dtype, dtypes.dtype):
        return converted(input, dtype)
    if isinstance(dtype, type):
        raise ValueError(f"invalid type: {dtype.__name__!r}")
    raise TypeError("dtype must be a type, str, or dtype object")


@public(method="only")
def type_as(input: Any, other: Any) -> Any:
    """The Tensor in the other's dtype."""
    if not hasattr(other, "_spec"):
        raise TypeError(
            f"type_as(): argument 'other' (position 1) must be Tensor, not {type(other).__name__}"
        )
    return converted(input, other.dtype)


@public(method="only")
def cpu(input: Any, memory_format: Any = None) -> Any:
    """The Tensor itself: it is on the CPU."""
    return input


@public(method="only")
def cuda(
    input: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> Any:
    """Raises what torch raises without a GPU: AssertionError, or RuntimeError for a given index."""
    return devices.check_device("cuda" if device is None else device, "cuda")
