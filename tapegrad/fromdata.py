"""From Python's and NumPy's data to arrays, by torch's rules.

    >>> from tapegrad.fromdata import array_of
    >>> array_of([[1, 2], [3, 4]], None).dtype, array_of([1, 2.5], None).dtype
    (dtype('int64'), dtype('float32'))

Python's floats become the default dtype, ints int64, complex numbers the default complex dtype;
NumPy's scalars and arrays, and Tensors, keep theirs; in a list the dtypes are promoted.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.dtypes import quiet
from tapegrad.tensor import Tensor

__all__ = ["array_of", "cast_numbers", "check_array", "number_of", "quiet_cast"]

_NUMBERS = {float, int, bool, complex}
_NESTS = {list, tuple, range}


def array_of(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    """A new array with these values.

    Args:
        data: a number, an array, a Tensor, or lists of those, nested to any depth.
        dtype: the array's; None: that of the data.

    Raises:
        ValueError: lists of unequal lengths; an integer beyond int64.
        TypeError: data that are no numbers, a complex number for a real dtype.
        RuntimeError: data without a dtype, such as None; a number out of the dtype's range.
    """
    kind = type(data)
    if kind in _NUMBERS or (kind in _NESTS and _is_plain(data)):
        try:
            array = np.array(data)
        except ValueError:  # ragged
            return _walked(data, dtype)
        return cast_numbers(array, dtype or _inferred(array.dtype))
    if isinstance(data, Tensor):
        data = data._array
    elif isinstance(data, np.generic):
        data = np.asarray(data)
    elif not isinstance(data, np.ndarray) and hasattr(kind, "__array__"):
        data = np.asarray(data)  # such as a column of a data frame
    if isinstance(data, np.ndarray):
        check_array(data)
        return quiet_cast(data, dtype.numpy if dtype else data.dtype)
    return _walked(data, dtype)


def _is_plain(data: Any) -> bool:
    """Whether nested lists hold nothing but Python's numbers, of which NumPy knows the dtype."""
    types = set(map(type, data))
    if types <= _NUMBERS:
        return True
    return types <= _NESTS and all(map(_is_plain, data))


def _inferred(dtype: np.dtype[Any]) -> dtypes.dtype:
    if dtype.kind == "f":
        return dtypes.get_default_dtype()
    if dtype.kind == "c":
        return dtypes.get_default_complex_dtype()
    return dtypes.bool_ if dtype.kind == "b" else dtypes.int64


def quiet_cast(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """A copy in another dtype; what overflows becomes inf, without a warning."""
    return quiet(_cast, array, dtype)


def _cast(array: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    if array.dtype.kind == "c" and dtype.kind not in "cb":
        array = array.real
    return array.astype(dtype)


def cast_numbers(array: np.ndarray, dtype: dtypes.dtype, c_name: bool = False) -> np.ndarray:
    """Python's numbers, which NumPy has made an array of, in a dtype.

    Raises torch's errors for numbers that the dtype cannot hold, of which floats too large for a
    floating-point dtype are none: they become inf. ``c_name``: name the type as C does.
    """
    target = dtype.numpy
    kind = array.dtype.kind
    if target.kind in "iu":
        if kind == "c":
            raise TypeError("must be real number, not complex")
        if kind == "O" or array.dtype == np.uint64:
            raise ValueError("Overflow when unpacking long long")
        if array.size and kind in "if" and target != array.dtype:
            _check_range(array, dtype, c_name)
    elif kind == "c" and target.kind == "f":
        raise TypeError("must be real number, not complex")
    return array if array.dtype == target else quiet_cast(array, target)


def _check_range(array: np.ndarray, dtype: dtypes.dtype, c_name: bool) -> None:
    info = np.iinfo(dtype.numpy)
    # Negative integers wrap in an unsigned dtype; negative floats don't.
    least = -info.max if info.min == 0 and array.dtype.kind == "i" else info.min
    limit = float(info.max) + 1 if array.dtype.kind == "f" else info.max + 1
    low, high = array.min(), array.max()
    if not (low >= least and high < limit):
        raise RuntimeError(overflow_message(dtype, c_name))


def overflow_message(dtype: dtypes.dtype, c_name: bool = False) -> str:
    """What torch says of a number that a dtype cannot hold."""
    name = dtype.name
    if c_name and dtype.numpy.kind in "iu":
        name = "int" if dtype is dtypes.int32 else f"{name}_t"
    elif c_name:
        name = {"float32": "float", "float64": "double", "float16": "c10::Half"}.get(name, name)
    return f"value cannot be converted to type {name} without overflow"


def check_array(array: np.ndarray) -> None:
    """Raise torch's errors for an array whose memory no Tensor can be made over."""
    dtypes.from_numpy(array.dtype)
    if array.flags.c_contiguous:
        return
    if any(n < 0 for n in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    if any(n % array.itemsize for n in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )


def number_of(value: Any, function: str, argument: str) -> Any:
    """An argument that must be a number as a Python number; a 0-d Tensor is one.

    ``argument`` is such as ``"'end' (position 1)"``. Raises torch's TypeError for all else.
    """
    if type(value) in _NUMBERS:
        return value
    if isinstance(value, (np.generic, Tensor)) and getattr(value, "ndim", 1) == 0:
        item = value.item()
        if type(item) in _NUMBERS:
            return item
    if isinstance(value, (bool, int, float, complex)):
        return value
    raise TypeError(f"{function}(): argument {argument} must be Number, not {type(value).__name__}")


# -- any data, walked element by element -----------------------------------------------------------


def _walked(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    if type(data) in (list, tuple) and set(map(type, data)) == {np.ndarray}:
        alike = len({(a.shape, a.dtype) for a in data}) == 1
        if alike and data[0].ndim:
            return array_of(np.stack(data), dtype)
    sizes = _sizes(data)
    dtype_of = _dtype_of(data)
    values: list[Any] = list(_values(data, sizes, 0))
    array = np.array(values).reshape(sizes)
    return cast_numbers(array, dtype or dtype_of)


def _is_sequence(data: Any) -> bool:
    if isinstance(data, (Tensor, np.generic, dict)):
        return False
    return hasattr(type(data), "__getitem__") and hasattr(type(data), "__len__")


def _sizes(data: Any) -> tuple[int, ...]:
    """The shape that the first elements show."""
    sizes: list[int] = []
    while _is_sequence(data) and not isinstance(data, bytes):
        if isinstance(data, str):
            if sizes:
                raise ValueError("too many dimensions 'str'")
            break
        n = len(data)
        sizes.append(n)
        if n == 0:
            break
        data = data[0]
    return tuple(sizes)


def _dtype_of(data: Any) -> dtypes.dtype:
    """The dtype of a number, or the promoted one of a sequence's elements."""
    if isinstance(data, Tensor):
        return data.dtype
    if isinstance(data, (np.generic, np.ndarray)):
        return dtypes.from_numpy(data.dtype)
    if isinstance(data, (bool, int, float, complex)):
        return dtypes.number_dtype(data)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    if not _is_sequence(data):
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    found: dtypes.dtype | None = None
    for element in data:
        other = _dtype_of(element)
        found = other if found is None else dtypes.promote_types(found, other)
    return found or dtypes.get_default_dtype()


def _values(data: Any, sizes: tuple[int, ...], dim: int) -> Iterator[Any]:
    """The numbers of nested sequences in order. Raises torch's errors where the shape is broken."""
    if dim == len(sizes):
        yield _number(data)
        return
    if not _is_sequence(data):
        raise TypeError("not a sequence")
    if len(data) != sizes[dim]:
        raise ValueError(f"expected sequence of length {sizes[dim]} at dim {dim} (got {len(data)})")
    for element in data:
        yield from _values(element, sizes, dim + 1)


def _number(data: Any) -> Any:
    if isinstance(data, Tensor):
        if data._spec.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        if data.requires_grad:
            warnings.warn(
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected "
                "behavior.\nConsider using tensor.detach() first.",
                UserWarning,
                stacklevel=2,
            )
        return data.item()
    if isinstance(data, np.generic):
        return data.item()
    if isinstance(data, (bool, int, float, complex)):
        return data
    raise TypeError(f"'{type(data).__name__}' object cannot be interpreted as an integer")
