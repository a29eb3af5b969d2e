"""What faces do with their arguments: NumPy's names for them, sizes, dtypes in messages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tapegrad.declaration import faces, not_a_tensor
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.outs import flat, into_out, is_out_unknown, write_out

#: Names that torch takes as well, as NumPy has them.
NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input"}


def with_numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """A face that also takes ``axis`` for ``dim`` and ``keepdims`` for ``keepdim``, as torch's.

    For a first argument that isn't a Tensor it raises torch's TypeError.
    """

    @faces(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        try:
            if not kwargs:
                return function(*args)
            for name in NUMPY_NAMES.keys() & kwargs.keys():
                kwargs.setdefault(NUMPY_NAMES[name], kwargs.pop(name))
            return function(*args, **kwargs)
        except TypeError as error:
            if not is_out_unknown(error, kwargs):
                raise
        except AttributeError as error:
            raise not_a_tensor(function, args, kwargs, error) from None
        return into_out(function, args, kwargs)

    return face


def with_out(function: Any = None, *, promotes: bool = False) -> Any:
    """A face that also takes ``out``: a Tensor, or as many as results, to write into and return.

    An ``out`` of another shape gets the result's. Raises RuntimeError if its dtype is not the
    result's (``promotes``: cannot hold it), if it shares memory with an input or with itself, and
    if an argument requires grad.
    """
    if function is None:
        return functools.partial(with_out, promotes=promotes)

    @faces(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        if "out" not in kwargs:
            try:
                return function(*args, **kwargs)
            except AttributeError as error:
                raise not_a_tensor(function, args, kwargs, error) from None
        out = kwargs.pop("out")
        result = function(*args, **kwargs)
        if out is None:
            return result
        inputs = [x for x in flat((args, tuple(kwargs.values()))) if hasattr(x, "_spec")]
        many = isinstance(result, tuple)
        targets = tuple(out) if many else (out,)
        for target, value in zip(targets, result if many else (result,), strict=True):
            write_out(function.__name__, target, value, inputs, promotes)
        return type(result)(*targets) if many else out

    signature = inspect.signature(function)
    only = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Any")
    parameters = [*signature.parameters.values(), only]
    face.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return face


def check_tensor(function: str, value: Any, name: str = "input", position: int = 1) -> None:
    """Raise torch's TypeError for an argument that isn't a Tensor."""
    if not hasattr(value, "_spec"):
        raise TypeError(
            f"{function}(): argument '{name}' (position {position}) must be Tensor, not "
            f"{type(value).__name__}"
        )


def dtype_name(input: Any) -> str:
    """torch's name of a Tensor's dtype in messages, such as "Long"."""
    return TYPE_NAMES[input._spec.dtype.name]


def c_name(input: Any) -> str:
    """torch's C++ name of a Tensor's dtype, which a few of its messages have."""
    names = {"float32": "float", "float64": "double", "int64": "long int", "int32": "int",
             "float16": "c10::Half", "bool": "bool", "uint8": "unsigned char",
             "int8": "signed char", "int16": "short int", "complex64": "c10::complex<float>",
             "complex128": "c10::complex<double>"}  # fmt: skip
    name = input._spec.dtype.name
    return names.get(name, name)


def check_dtype(input: Any, other: Any) -> None:
    """Raise torch's RuntimeError unless the other Tensor (or None) has the input's dtype."""
    if other is not None and other._spec.dtype != input._spec.dtype:
        raise RuntimeError(
            f"expected scalar type {dtype_name(input)} but found {dtype_name(other)}"
        )


def refuse(input: Any, kinds: str, message: str, error: type[Exception] = RuntimeError) -> None:
    """Raise torch's error for a Tensor whose dtype is of one of these kinds, as NumPy's letters.

    ``message`` may say ``{dtype}``.
    """
    if input._spec.dtype.kind in kinds:
        raise error(message.format(dtype=dtype_name(input)))


def sizes_of(sizes: tuple[Any, ...], keyword: Any = None) -> tuple[int, ...]:
    """Sizes given one by one, as one sequence, or by keyword."""
    if keyword is not None:
        sizes = (keyword,)
    if len(sizes) == 1:
        first = sizes[0]
        if type(first) is int:
            return sizes
        if not hasattr(first, "_spec") and not hasattr(first, "__index__"):
            sizes = tuple(first)
    for n in sizes:
        if type(n) is not int:
            return tuple([_index(n) for n in sizes])
    return sizes


def _index(n: Any) -> int:
    if not hasattr(n, "__index__"):
        raise TypeError(f"sizes and dimensions must be ints, not {type(n).__name__}")
    return int(n.__index__())
