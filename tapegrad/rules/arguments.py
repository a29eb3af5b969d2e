"""What faces do with their arguments: NumPy's names for them, sizes, dtypes in messages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tapegrad.dtypes import TYPE_NAMES

#: The same, under the name that it has among rules.
DTYPE_NAMES = TYPE_NAMES

#: Names that torch takes as well, as NumPy has them.
NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input"}


def with_numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """A face that also takes ``axis`` for ``dim`` and ``keepdims`` for ``keepdim``, as torch's.

    For a first argument that isn't a Tensor it raises torch's TypeError.
    """

    @functools.wraps(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        try:
            if not kwargs:
                return function(*args)
            for name in NUMPY_NAMES.keys() & kwargs.keys():
                kwargs.setdefault(NUMPY_NAMES[name], kwargs.pop(name))
            return function(*args, **kwargs)
        except AttributeError:
            given = args[0] if args else kwargs.get("input")
            inner = given if isinstance(given, (list, tuple)) else (given,)
            if any(hasattr(x, "_spec") for x in inner):
                raise
            kind = type(given)
            module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
            raise TypeError(
                f"{function.__name__}(): argument 'input' (position 1) must be Tensor, not "
                f"{module}{kind.__name__}"
            ) from None

    return face


def dtype_name(input: Any) -> str:
    """torch's name of a Tensor's dtype in messages, such as "Long"."""
    return DTYPE_NAMES[input._spec.dtype.name]


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
            sizes = first
    return tuple([n if type(n) is int else _index(n) for n in sizes])


def _index(n: Any) -> int:
    if not hasattr(n, "__index__"):
        raise TypeError(f"sizes and dimensions must be ints, not {type(n).__name__}")
    return int(n.__index__())
