"""Dtypes, what becomes of them when they meet (torch's promotion).

    >>> from tapegrad import dtypes
    >>> dtypes.float32, dtypes.float32.numpy, dtypes.float32.itemsize
    (tapegrad.float32, dtype('float32'), 4)
    >>> dtypes.promote_types(dtypes.int64, dtypes.float16)
    tapegrad.float16

Where an operation's inputs differ in dtype, torch looks at more than their dtypes. An input falls
in one of three categories: a tensor with dimensions, a tensor without ("scalar"), or a Python
number. A later category counts only if its kind of number is higher (bool < integer < real <
complex):

    >>> x, y = (dtypes.float32, "tensor"), (dtypes.float64, "scalar")
    >>> dtypes.result_type(x, y)  # NumPy says float64
    tapegrad.float32
    >>> dtypes.result_type((dtypes.int8, "tensor"), (dtypes.number_dtype(2.5), "number"))
    tapegrad.float32

`NAMES` maps the names that `tapegrad` offers to their dtypes. Here, those that would hide a builtin
have a trailing underscore: ``bool_``, ``int_``, ``float_``.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np

from tapegrad.readonly import ReadOnly, wrong_type

__all__ = [
    "NAMES",
    "TYPE_NAMES",
    "Category",
    "as_dtype",
    "bool_",
    "can_cast",
    "cdouble",
    "cfloat",
    "complex64",
    "complex128",
    "double",
    "dtype",
    "float16",
    "float32",
    "float64",
    "float_",
    "from_numpy",
    "get_default_complex_dtype",
    "get_default_dtype",
    "half",
    "int8",
    "int16",
    "int32",
    "int64",
    "int_",
    "long",
    "number_dtype",
    "promote_types",
    "quiet",
    "result_type",
    "set_default_dtype",
    "short",
    "uint8",
]


# -- dtypes ----------------------------------------------------------------------------------------


class dtype(ReadOnly):
    """The type of a Tensor's elements. There is one object for each, so compare them with ``is``.

    ``name`` is such as ``"float32"``, ``numpy`` the same as a ``np.dtype``, ``itemsize`` in bytes;
    ``is_floating_point`` is False for complex dtypes, as in torch.
    """

    __slots__ = ("is_complex", "is_floating_point", "is_signed", "itemsize", "name", "numpy")

    name: str
    numpy: np.dtype[Any]
    itemsize: int
    is_floating_point: bool
    is_complex: bool
    is_signed: bool

    def __new__(cls) -> dtype:
        """Refused: the dtypes are those of this module."""
        raise TypeError("cannot create 'tapegrad.dtype' instances")

    def to_real(self) -> dtype:
        """The dtype of a complex number's real part; for other dtypes themselves."""
        return _REAL.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype with parts of this one. Raises RuntimeError if there is none.

        float16 gives complex64, where torch has complex32: NumPy has no half-precision complex.
        """
        if self.is_complex:
            return self
        try:
            return _COMPLEX[self]
        except KeyError:
            raise RuntimeError(
                f"no complex dtype has parts of {self!r}: only floating-point dtypes have one"
            ) from None

    def __repr__(self) -> str:
        return f"tapegrad.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)  # copies and pickles come back as the one object


def _make(name: str) -> dtype:
    made = object.__new__(dtype)
    np_dtype = np.dtype(name)
    made._fill(
        name=name,
        numpy=np_dtype,
        itemsize=np_dtype.itemsize,
        is_floating_point=np_dtype.kind == "f",
        is_complex=np_dtype.kind == "c",
        is_signed=np_dtype.kind in "ifc",
    )
    return made


bool_ = _make("bool")
uint8 = _make("uint8")
int8 = _make("int8")
int16 = short = _make("int16")
int32 = int_ = _make("int32")
int64 = long = _make("int64")
float16 = half = _make("float16")
float32 = float_ = _make("float32")
float64 = double = _make("float64")
complex64 = cfloat = _make("complex64")
complex128 = cdouble = _make("complex128")

_ALL = (
    *(bool_, uint8, int8, int16, int32, int64),
    *(float16, float32, float64, complex64, complex128),
)
_BY_NAME = {d.name: d for d in _ALL}
_BY_NUMPY = {d.numpy: d for d in _ALL}
_BY_PYTHON: dict[Any, dtype] = {bool: bool_, int: int64, float: float64, complex: complex128}
_REAL = {complex64: float32, complex128: float64}
_COMPLEX = {float16: complex64, float32: complex64, float64: complex128}

#: torch's names of dtypes in messages and in ``Tensor.type``, by NumPy's.
TYPE_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip

#: Every name of a dtype in `tapegrad`, also those that here have a trailing underscore.
NAMES: dict[str, dtype] = _BY_NAME | {
    **{"short": short, "int": int_, "long": long, "half": half, "float": float_},
    **{"double": double, "cfloat": cfloat, "cdouble": cdouble},
}


def _named(name: str) -> dtype:
    return _BY_NAME[name]


def from_numpy(np_dtype: np.dtype[Any]) -> dtype:
    """The dtype of an array whose NumPy dtype this is.

    Raises torch's errors: ValueError for a byte order that isn't this machine's, TypeError for what
    no Tensor can hold. (Unlike torch, these include the unsigned integers above uint8.)
    """
    try:
        return _BY_NUMPY[np_dtype]
    except KeyError:
        pass
    if not np_dtype.isnative and np_dtype.newbyteorder("=") in _BY_NUMPY:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported. "
            "Use array.astype(array.dtype.newbyteorder('='))."
        )
    raise TypeError(
        f"can't convert np.ndarray of type numpy.{np_dtype.type.__name__}. The only supported "
        "types are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, "
        "uint8, and bool."
    )


def as_dtype(value: Any, function: str = "") -> dtype:
    """What an argument ``dtype=`` means: a dtype, or Python's bool, int, float or complex.

    Like torch, which reads ``float`` as float64 here. Raises its TypeError for anything else, that
    begins with the name of the ``function`` whose argument it is.
    """
    if isinstance(value, dtype):
        return value
    if isinstance(value, type) and value in _BY_PYTHON:
        return _BY_PYTHON[value]
    raise TypeError(wrong_type(function, "argument 'dtype'", "dtype", value))


# -- defaults --------------------------------------------------------------------------------------

_default = float32


def get_default_dtype() -> dtype:
    """The dtype of Python floats, and of Tensors made without data: float32 unless set."""
    return _default


def get_default_complex_dtype() -> dtype:
    """The dtype of Python complex numbers, which follows from the default dtype.

    Under float16 it is complex64, where torch has complex32.
    """
    return _COMPLEX[_default]


def set_default_dtype(d: dtype, /) -> None:
    """Set the dtype of Python floats, for all threads. Raises TypeError if it isn't real."""
    global _default
    message = "only floating-point types are supported as the default type"
    given: object = d
    if not isinstance(given, dtype):
        raise TypeError(f"invalid dtype object: {message}")
    if not d.is_floating_point:
        raise TypeError(message)
    _default = d


# -- promotion -------------------------------------------------------------------------------------

#: What an operand of `result_type` is, besides its dtype.
Category: TypeAlias = Literal["tensor", "scalar", "number"]

#: The kinds of numbers in order, each a set that contains those before it.
_RANK = {d: {"b": 0, "u": 1, "i": 1, "f": 2, "c": 3}[d.numpy.kind] for d in _ALL}


def _promote(a: dtype, b: dtype) -> dtype:
    if _RANK[a] > _RANK[b]:
        a, b = b, a
    if _RANK[a] == _RANK[b]:  # NumPy and torch differ only across kinds:
        return _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]
    if a.is_floating_point:  # ... a real and a complex one keep the wider parts,
        return _BY_NUMPY[np.promote_types(a.to_complex().numpy, b.numpy)]
    return b  # ... and an integer, however wide, widens no floating-point dtype


_PROMOTED = {(a, b): _promote(a, b) for a in _ALL for b in _ALL}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that torch finds wide enough for both."""
    try:
        return _PROMOTED[type1, type2]
    except (KeyError, TypeError):  # a TypeError if one cannot be hashed
        pass
    _check_dtypes("promote_types", type1=type1, type2=type2)
    raise AssertionError("every pair of dtypes is in the table")


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether a result of one dtype may be written to an array of the other, as in torch.

    It may if the kind of number doesn't get poorer (bool < integer < real < complex); the width of
    the dtypes doesn't matter.
    """
    _check_dtypes("can_cast", from_=from_, to=to)
    return _RANK[from_] <= _RANK[to]


def _check_dtypes(function: str, **arguments: object) -> None:
    for position, (name, value) in enumerate(arguments.items(), start=1):
        if not isinstance(value, dtype):
            argument = f"argument '{name}' (position {position})"
            raise TypeError(wrong_type(function, argument, "dtype", value))


def number_dtype(value: object) -> dtype:
    """The dtype of a Python number: bool, int64, the default dtype or the default complex dtype.

    NumPy's scalars count as the Python numbers of their kind. Raises TypeError for anything else.
    """
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return _COMPLEX[_default]
    raise TypeError(f"expected a number, but got {type(value).__name__}")


def result_type(*operands: tuple[dtype, Category]) -> dtype:
    """The dtype in which an operation on these operands computes, as ``torch.result_type``.

    An operand is a dtype and what has it: ``"tensor"`` (one or more dimensions), ``"scalar"`` (a
    Tensor without dimensions) or ``"number"`` (a Python number, see `number_dtype`). Within a
    category dtypes are promoted; across them the first counts, unless a later one is of a higher
    kind.
    """
    found: dict[Category, dtype] = {}
    for kind, category in operands:
        if category == "number" and kind.is_floating_point:
            kind = _default
        elif category == "number" and kind.is_complex:
            kind = _COMPLEX[_default]
        found[category] = _PROMOTED[found.get(category, kind), kind]
    if not found:
        raise TypeError("result_type() needs at least one operand")
    lowest_first = [found[category] for category in _LOWEST_FIRST if category in found]
    return reduce(_combine, lowest_first)


_LOWEST_FIRST: tuple[Category, ...] = ("number", "scalar", "tensor")


def _combine(other: dtype, dominant: dtype) -> dtype:
    """The dtype of two operands of which the second is of the category that counts first."""
    if _RANK[dominant] >= _RANK[other]:
        return dominant
    return dominant.to_complex() if dominant.is_floating_point else other


def quiet(function: Any, *args: Any) -> Any:
    """``function(*args)`` without a floating-point warning or error."""
    try:
        return function(*args)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            return function(*args)
