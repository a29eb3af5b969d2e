"""`assert_close`, as torch.testing has it.

Both arguments are first taken apart, down to pairs of Tensors, numbers, bools or None, and then
compared pair by pair: a fault in the structure is found before any difference of values.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.fromdata import array_of
from tapegrad.operators import functions
from tapegrad.recording import wrap
from tapegrad.tensor import Tensor

__all__ = ["assert_close"]

#: rtol and atol where none are given; exact for what isn't listed.
TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
NUMBERS = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Args:
        actual, expected: Tensors, arrays and what else Tensors are made of, numbers, bools, None,
            and sequences and mappings of those, of any depth. Both of the same types.
        allow_subclasses: whether one type may be a subclass of the other.
        rtol, atol: the tolerances, both or none of them. By default those of the dtype, and the
            wider ones of two dtypes: float16 1e-3 and 1e-5, float32 and complex64 1.3e-6 and 1e-5,
            float64 and complex128 1e-7 and 1e-7, others 0 and 0.
        equal_nan: whether nan equals nan.
        check_device, check_layout: all Tensors are on the CPU and strided, so these always hold.
        check_dtype: whether dtypes must be the same; otherwise the promoted values are compared.
        check_stride: whether strides must be the same.
        msg: takes the place of the message about values that aren't close, or is called with it.

    Raises:
        AssertionError: what differs: in shape, dtype, stride, length, keys or values.
        TypeError: arguments that cannot be compared.
        ValueError: only one tolerance.

    >>> import tapegrad
    >>> assert_close(tapegrad.ones(3), tapegrad.ones(3) + 1e-6)
    """
    __tracebackhide__ = True
    options = _Options(allow_subclasses, rtol, atol, equal_nan, check_dtype, check_stride)
    pairs = list(_pairs(actual, expected, (), options))
    for pair in pairs:
        text = pair.difference(options)
        if text is not None:
            generated = text + pair.where()
            if isinstance(msg, str):
                raise AssertionError(msg)
            raise AssertionError(generated if msg is None else msg(generated))


@dataclass(frozen=True)
class _Options:
    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_dtype: bool
    check_stride: bool

    def tolerances(self, where: str, *kinds: dtypes.dtype) -> tuple[float, float]:
        """rtol and atol: those given, or the widest of the dtypes."""
        if (self.rtol is None) != (self.atol is None):
            raise ValueError(
                "Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                f"{'rtol' if self.rtol is None else 'atol'}.{where}"
            )
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        rtols, atols = zip(*(TOLERANCES.get(kind, (0.0, 0.0)) for kind in kinds))
        return max(rtols), max(atols)


class _Pair:
    """Two values that are compared as a whole; this class: anything and None."""

    def __init__(self, actual: Any, expected: Any, item: tuple[Any, ...]) -> None:
        self.actual, self.expected, self.item = actual, expected, item

    def where(self) -> str:
        """Which item of sequences and mappings it is, to end a message."""
        return _where(self.item)

    def difference(self, options: _Options) -> str | None:
        """What differs, or None."""
        if self.actual is None and self.expected is None:
            return None
        return f"None mismatch: {self.actual} is not {self.expected}"


class _Booleans(_Pair):
    def difference(self, options: _Options) -> str | None:
        a, b = bool(self.actual), bool(self.expected)
        return None if a is b else f"Booleans mismatch: {a} is not {b}"


class _Numbers(_Pair):
    def __init__(
        self, actual: Any, expected: Any, item: tuple[Any, ...], options: _Options
    ) -> None:
        a, b = (x.item() if isinstance(x, np.number) else x for x in (actual, expected))
        super().__init__(a, b, item)
        kinds = (NUMBERS.get(type(x), dtypes.int64) for x in (a, b))
        self.rtol, self.atol = options.tolerances(self.where(), *kinds)

    def difference(self, options: _Options) -> str | None:
        a, b = self.actual, self.expected
        if options.check_dtype and type(a) is not type(b):
            return f"The (d)types do not match: {type(a)} != {type(b)}."
        if a == b or (options.equal_nan and cmath.isnan(a) and cmath.isnan(b)):
            return None
        off = abs(a - b)
        if cmath.isfinite(off) and off <= self.atol + self.rtol * abs(b):
            return None
        return _scalars_differ(a, b, self.rtol, self.atol)


class _Tensors(_Pair):
    def __init__(
        self, actual: Any, expected: Any, item: tuple[Any, ...], options: _Options
    ) -> None:
        super().__init__(_as_tensor(actual), _as_tensor(expected), item)
        kinds = (self.actual.dtype, self.expected.dtype)
        self.rtol, self.atol = options.tolerances(self.where(), *kinds)

    def difference(self, options: _Options) -> str | None:
        a, b = self.actual, self.expected
        attributes: list[tuple[str, Any, Any]] = [("shape", a.shape, b.shape)]
        if options.check_stride:
            attributes.append(("stride()", a.stride(), b.stride()))
        if options.check_dtype:
            attributes.append(("dtype", a.dtype, b.dtype))
        for name, x, y in attributes:
            if x != y:
                return f"The values for attribute '{name}' do not match: {x} != {y}."
        if a.dtype is not b.dtype:
            common = dtypes.promote_types(a.dtype, b.dtype)
            a, b = a.to(common), b.to(common)
        tolerances = {"rtol": self.rtol, "atol": self.atol, "equal_nan": options.equal_nan}
        matches = functions["isclose"](a, b, **tolerances)._array
        if matches.all():
            return None
        if not a.ndim:
            return _scalars_differ(a.item(), b.item(), self.rtol, self.atol)
        return _arrays_differ(a._array, b._array, matches, self.rtol, self.atol)


def _pairs(actual: Any, expected: Any, item: tuple[Any, ...], options: _Options) -> Iterator[_Pair]:
    """Everything that is to be compared, in order. Raises for structures that differ."""
    both = (actual, expected)
    if all(isinstance(x, Sequence) and not isinstance(x, str) for x in both):
        if len(actual) != len(expected):
            raise AssertionError(
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}"
                f"{_where(item)}"
            )
        for i in range(len(actual)):
            yield from _pairs(actual[i], expected[i], (*item, i), options)
    elif all(isinstance(x, Mapping) for x in both):
        missing, additional = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or additional:
            raise AssertionError(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing)}\n"
                f"Additional keys in the actual mapping: {sorted(additional)}{_where(item)}"
            )
        for key in _in_order(actual):
            yield from _pairs(actual[key], expected[key], (*item, key), options)
    elif actual is None or expected is None:
        yield _Pair(actual, expected, item)
    elif all(isinstance(x, (bool, np.bool)) for x in both):
        yield _Booleans(actual, expected, item)
    elif all(isinstance(x, (int, float, complex, np.number)) for x in both):
        yield _Numbers(actual, expected, item, options)
    else:
        related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
        exact = type(actual) is type(expected)
        try:
            if not related or not (exact or options.allow_subclasses):
                raise TypeError
            pair = _Tensors(actual, expected, item, options)
        except (TypeError, RuntimeError):
            raise TypeError(
                f"No comparison pair was able to handle inputs of type {type(actual)} and "
                f"{type(expected)}.{_where(item)}"
            ) from None
        yield pair


def _as_tensor(value: Any) -> Tensor:
    return wrap(value._array if isinstance(value, Tensor) else array_of(value, None))


def _in_order(mapping: Mapping[Any, Any]) -> list[Any]:
    try:
        return sorted(mapping)
    except TypeError:
        return list(mapping)


def _where(item: tuple[Any, ...]) -> str:
    if not item:
        return ""
    return f"\n\nThe failure occurred for item {''.join(str([i]) for i in item)}"


def _scalars_differ(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    off = abs(actual - expected)
    relative = off / abs(expected) if expected != 0 else float("inf")
    allowed = ("", "") if rtol == atol == 0 else (_up_to(atol), _up_to(rtol))
    return (
        f"Scalars are not {'equal' if rtol == atol == 0 else 'close'}!\n\n"
        f"Expected {expected} but got {actual}.\n"
        f"Absolute difference: {off}{allowed[0]}\n"
        f"Relative difference: {relative}{allowed[1]}"
    )


def _up_to(tolerance: float) -> str:
    return f" (up to {tolerance} allowed)"


def _arrays_differ(
    actual: np.ndarray, expected: np.ndarray, matches: np.ndarray, rtol: float, atol: float
) -> str:
    if actual.dtype.kind not in "fc":
        actual, expected = actual.astype(np.int64), expected.astype(np.int64)
    with np.errstate(all="ignore"):
        off = np.abs(actual - expected)
        size = np.abs(expected)
        if actual.dtype.kind == "i":  # integers are divided in the default dtype
            default = dtypes.get_default_dtype().numpy
            relative = off.astype(default) / size.astype(default)
        else:
            relative = off / size
    lines = []
    allowed = ("", "") if rtol == atol == 0 else (_up_to(atol), _up_to(rtol))
    for name, values, limit in zip(("absolute", "relative"), (off, relative), allowed):
        differing = np.where(matches, 0, values)
        worst = np.unravel_index(np.argmax(differing), differing.shape)  # nan is the greatest
        index = tuple(int(i) for i in worst)
        lines.append(
            f"Greatest {name} difference: {differing[worst].item()} at index {index}{limit}"
        )
    wrong = int((~matches).sum())
    return (
        f"Tensor-likes are not {'equal' if rtol == atol == 0 else 'close'}!\n\n"
        f"Mismatched elements: {wrong} / {matches.size} ({wrong / matches.size:.1%})\n"
        + "\n".join(lines)
    )
