"""Tensors made of numbers, arrays and sizes: ``tensor``, ``zeros``, ``arange`` and the like.

    >>> import tapegrad
    >>> tapegrad.tensor([[1., 2.], [3., 4.]], requires_grad=True)
    tensor([[1., 2.],
            [3., 4.]], requires_grad=True)
    >>> tapegrad.zeros(2, 3).shape, tapegrad.arange(3)
    (tapegrad.Size([2, 3]), tensor([0, 1, 2]))

All take torch's arguments. ``dtype``, where it is left out, is that of the data or the default one;
``device`` must be the CPU and ``layout`` strided; ``requires_grad`` makes the new Tensor a leaf
whose operations are recorded. None records anything itself. More of them are in `tapegrad.ranges`,
`tapegrad.alike` and `tapegrad.sampling`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad import devices, dtypes
from tapegrad.factory import check_options, filled, leaf, made, numpy_dtype, shape_from
from tapegrad.fromdata import array_of, check_array, number_of
from tapegrad.random import names
from tapegrad.tensor import Tensor

__all__ = [
    "as_tensor",
    "asarray",
    "empty",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "full",
    "ones",
    "scalar_tensor",
    "tensor",
    "zeros",
]

# -- from data -------------------------------------------------------------------------------------


def tensor(
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new Tensor with a copy of the data: a number, an array, or nested lists of numbers.

    Without ``dtype`` Python's floats become the default dtype (float32), ints int64; arrays and
    NumPy's scalars keep theirs. Raises ValueError for lists of unequal lengths, TypeError for data
    that are no numbers, RuntimeError for a number out of the dtype's range, and for
    ``requires_grad`` with a dtype that is neither floating-point nor complex.
    """
    if device is not None or pin_memory:
        check_options("tensor", None, None, device, pin_memory)
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype, "tensor")
    if isinstance(data, Tensor):
        warn_copy("torch.tensor(sourceTensor)")
    return leaf(array_of(data, dtype), requires_grad)


def warn_copy(call: str) -> None:
    """Warn, as torch does, of a copy of a Tensor that forgets its history."""
    warnings.warn(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() "
        f"or sourceTensor.detach().clone().requires_grad_(True), rather than {call}.",
        UserWarning,
        stacklevel=3,
    )


def scalar_tensor(
    s: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor without dimensions, of the default dtype whatever number it is."""
    return full((), s, dtype=dtype or dtypes.get_default_dtype(), layout=layout, device=device,
                pin_memory=pin_memory, requires_grad=requires_grad)  # fmt: skip


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """The data as a Tensor, without a copy where that is possible.

    A Tensor of that dtype is returned itself, an array's memory is shared; else as `tensor`.
    A conversion of a Tensor is recorded.
    """
    devices.check_device(device, "as_tensor")
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype, "as_tensor")
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if isinstance(data, np.ndarray) and dtype in (None, dtypes.from_numpy(data.dtype)):
        return from_numpy(data)
    return leaf(array_of(data, dtype))


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """The object as a Tensor; ``copy`` True always copies, False raises ValueError if it must.

    The object is a Tensor (whose ``requires_grad`` is kept if that is None; False detaches), an
    array, an object with a buffer, a number or nested lists.
    """
    devices.check_device(device, "asarray")
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype, "asarray")
    if isinstance(obj, (bytes, bytearray, memoryview)):
        obj = frombuffer(obj, dtype=dtype or dtypes.get_default_dtype())
    elif isinstance(obj, np.generic):
        obj = np.asarray(obj)
    if isinstance(obj, np.ndarray):
        obj = from_numpy(obj)
    if not isinstance(obj, Tensor):
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return leaf(array_of(obj, dtype), bool(requires_grad))
    result: Any = obj
    if dtype is not None and obj.dtype is not dtype:
        if copy is False:
            raise ValueError(
                f"can't alias tensor with dtype '{names(obj._spec.dtype)[0]}' into dtype "
                f"'{names(dtype.numpy)[0]}'."
            )
        result = result.to(dtype)
    elif copy:
        result = result.clone()
    if requires_grad is None or requires_grad == result.requires_grad:
        return result
    result = result.detach()
    return leaf(result._array, True) if requires_grad else result


def from_numpy(ndarray: np.ndarray, /) -> Tensor:
    """A Tensor over the memory of an array: a change of one changes the other.

    Raises TypeError for what is no array or of an unsupported dtype, ValueError for negative
    strides or another byte order; warns if the array can't be written to.
    """
    if not isinstance(ndarray, np.ndarray):
        kind: type = type(ndarray)
        name = (
            kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        )
        raise TypeError(f"expected np.ndarray (got {name})")
    check_array(ndarray)
    if not ndarray.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and tapegrad does not support non-writable "
            "tensors. This means writing to this tensor will raise an error. You may want to copy "
            "the array to protect its data or make it writable before converting it to a tensor.",
            UserWarning,
            stacklevel=2,
        )
    plain = ndarray.view(np.ndarray)  # a person may set the shape of the other
    return leaf(plain if plain.flags.aligned else plain.copy())


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A Tensor of one dimension over the memory of an object with a buffer, such as a bytearray."""
    wanted = numpy_dtype(dtype, "frombuffer")
    length, itemsize = memoryview(buffer).nbytes, wanted.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({length} bytes) minus 1"
        )
    if count < 0 and (length - offset) % itemsize:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a "
            f"multiple of element size ({itemsize})"
        )
    if count > 0 and count * itemsize > length - offset:
        raise ValueError(
            f"requested buffer length ({count} * {itemsize} bytes) after offset ({offset} bytes) "
            f"must not be greater than actual buffer length ({length} bytes)"
        )
    array = np.frombuffer(buffer, wanted, count, offset)
    if not array.flags.writeable:
        warnings.warn(
            "The given buffer is not writable, and tapegrad does not support non-writable tensors. "
            "This means writing to this tensor will raise an error. You may want to copy the "
            "buffer to protect its data or make it writable before converting it to a tensor.",
            UserWarning,
            stacklevel=2,
        )
    return leaf(array if array.flags.aligned else array.copy(), requires_grad)


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A Tensor over the memory of another library's array on the CPU, by the DLPack protocol."""
    return leaf(np.from_dlpack(ext_tensor))


# -- of a size -------------------------------------------------------------------------------------


def zeros(
    *sizes: Any,
    size: Any = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of zeros; the size is given as ints or as one sequence."""
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("zeros", out, layout, device, pin_memory)
    return made("zeros", np.zeros, sizes, size, dtype, requires_grad)


def ones(
    *sizes: Any,
    size: Any = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of ones; the size is given as ints or as one sequence."""
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("ones", out, layout, device, pin_memory)
    result = made("ones", np.empty, sizes, size, dtype, requires_grad)
    result._array.fill(1)
    return result


def empty(
    *sizes: Any,
    size: Any = None,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A Tensor over memory that isn't set; the size is given as ints or as one sequence."""
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("empty", out, layout, device, pin_memory)
    return made("empty", np.empty, sizes, size, dtype, requires_grad)


def full(
    size: Any,
    fill_value: Any,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of one value, whose dtype it has if none is given.

    Raises RuntimeError if the value is out of the dtype's range.
    """
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("full", out, layout, device, pin_memory)
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    value = number_of(fill_value, "full", "'fill_value' (position 2)")
    wanted = dtypes.number_dtype(value) if dtype is None else dtypes.as_dtype(dtype, "full")
    return leaf(filled(shape_from("full", (size,)), value, wanted), requires_grad)
