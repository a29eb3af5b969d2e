"""How a Tensor prints: as in torch, down to the last space.

    >>> import numpy as np
    >>> from tapegrad.dtypes import float64
    >>> from tapegrad.printing import format_tensor, printoptions
    >>> x = np.array([[0.5, 1], [2, np.inf]])
    >>> print(format_tensor(x, dtype=float64, requires_grad=True))
    tensor([[0.5000, 1.0000],
            [2.0000,    inf]], dtype=tapegrad.float64, requires_grad=True)
    >>> with printoptions(precision=1, linewidth=50):
    ...     print(format_tensor(x, dtype=float64, requires_grad=True))
    tensor([[0.5, 1.0],
            [2.0, inf]],
           dtype=tapegrad.float64, requires_grad=True)

Three steps: cut an array that is too large down to its edges, turn what is left into strings of one
width, and lay these out in brackets. All numbers share one style, which torch chooses by the finite
numbers that aren't 0: the largest and the smallest of them, and whether all are whole.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf, isfinite, prod
from typing import Any, NamedTuple

import numpy as np

from tapegrad.dtypes import (
    bool_,
    dtype,
    get_default_complex_dtype,
    get_default_dtype,
    int64,
)

__all__ = [
    "PrintOptions",
    "format_tensor",
    "get_printoptions",
    "printoptions",
    "set_printoptions",
]


# -- options ---------------------------------------------------------------------------------------


class PrintOptions(NamedTuple):
    """The options of `set_printoptions`, which says what they mean."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=inf),
}

_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how Tensors print, as ``torch.set_printoptions``. What is None stays, but for sci_mode.

    ``precision``: digits after the point (4). ``threshold``: a Tensor with more elements is
    summarised (1000), by its first and last ``edgeitems`` in each dimension (3). ``linewidth``: the
    width of lines in characters (80). ``profile``: "default", "short" or "full" sets all of these
    first. ``sci_mode``: whether numbers are in scientific notation; None, as long as it isn't given
    at each call, leaves it to the numbers.

    Raises TypeError or ValueError for a precision or edgeitems that isn't a natural number, which
    torch accepts here and fails on when it prints.
    """
    global _options
    options = _options
    if profile is not None:
        # As in torch a profile leaves sci_mode alone and a name that is unknown leaves all.
        options = _PROFILES.get(profile, options)._replace(sci_mode=options.sci_mode)
    given: dict[str, Any] = {"threshold": threshold, "linewidth": linewidth}
    given |= {"precision": _natural("precision", precision)}
    given |= {"edgeitems": _natural("edgeitems", edgeitems)}
    given = {name: value for name, value in given.items() if value is not None}
    _options = options._replace(**given, sci_mode=sci_mode)


def _natural(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__}") from None
    if number < 0:
        raise ValueError(f"{name} must not be negative, but is {number}")
    return number


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keyword arguments for `set_printoptions`."""
    return _options._asdict()


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Set options as `set_printoptions` does, until the end of a ``with`` statement."""
    global _options
    before = _options
    set_printoptions(**options)
    try:
        yield
    finally:
        _options = before


# -- numbers ---------------------------------------------------------------------------------------


class _Style(NamedTuple):
    """How real numbers become strings: ``text`` of one, padded on the left to ``width``."""

    text: Callable[[Any], str]
    width: int

    def padded(self, values: list[Any]) -> list[str]:
        text, width = self.text, self.width
        return [text(value).rjust(width) for value in values]


def _whole(value: float) -> str:
    return f"{value:.0f}." if isfinite(value) else str(value)


def _style_of_floats(values: np.ndarray, options: PrintOptions) -> _Style:
    """The style for floats: whole ("3."), fixed ("2.5000") or scientific ("2.5000e+00")."""
    telling = values[np.isfinite(values) & (values != 0)]
    if telling.size == 0:
        return _Style(_whole, 1)  # whatever the option says, and nothing is padded, not even nan
    whole = bool((telling == np.ceil(telling)).all())
    # The longest string belongs to a number at an end: of the positive or of the negative ones, and
    # (since the exponent of a small number may be long too) the one next to 0 or farthest from it.
    signs = [part for part in (telling[telling > 0], telling[telling < 0]) if part.size]
    ends = [float(end) for part in signs for end in (part.min(), part.max())]
    least, most = min(map(abs, ends)), max(map(abs, ends))

    scientific = options.sci_mode
    if scientific is None:
        scientific = most / least > 1000 or most > 1e8 or (not whole and least < 1e-4)
    notation = f"{{:.{options.precision}{'e' if scientific else 'f'}}}"
    text = _whole if whole and not scientific else notation.format
    return _Style(text, max(len(text(end)) for end in ends))


def _strings(values: np.ndarray, options: PrintOptions) -> tuple[list[str], int]:
    """The strings of all values, in C order, and the width that a line counts for each."""
    kind = values.dtype.kind
    if values.dtype.char == "e":
        values = values.astype(np.float32)
    if kind == "f":
        style = _style_of_floats(values, options)
        return style.padded(values.ravel().tolist()), style.width
    if kind == "c":
        real = _style_of_floats(values.real, options)
        imag = _style_of_floats(values.imag, options)
        parts = zip(
            real.padded(values.real.ravel().tolist()),
            map(imag.text, values.imag.ravel().tolist()),
        )
        strings = [f"{a}{'' if b[0] == '-' else '+'}{b}j" for a, b in parts]
        return strings, real.width + imag.width + 1
    strings = list(map(str, values.ravel().tolist()))
    width = max(map(len, strings), default=0)
    return [string.rjust(width) for string in strings], width


# -- layout ----------------------------------------------------------------------------------------


def _edges(array: np.ndarray, edgeitems: int) -> np.ndarray:
    """What a summary shows of an array: of each dimension the first and the last items."""
    for axis, size in enumerate(array.shape):
        if size > 2 * edgeitems:
            ends = [*range(edgeitems), *range(size - edgeitems, size)]
            array = array.take(ends, axis)
    return array


_PREFIX = "tensor("


class _Layout(NamedTuple):
    """Puts strings in brackets, in lines that aren't too long."""

    strings: list[str]
    shape: tuple[int, ...]  # of what is shown
    full_shape: tuple[int, ...]  # of the array, of which an axis may be summarised
    width: int
    options: PrintOptions

    def text(self, indent: int, axis: int = 0, start: int = 0) -> str:
        """The part of the array from ``axis`` on whose first string is number ``start``."""
        if not self.shape:
            return self.strings[0]
        last = axis == len(self.shape) - 1
        shown = self.shape[axis]
        step = prod(self.shape[axis + 1 :])
        starts = range(start, start + shown * step, step) if shown else ()
        if last:
            items = [self.strings[i] for i in starts]
        else:
            items = [self.text(indent + 1, axis + 1, i) for i in starts]
        if shown < self.full_shape[axis]:
            items.insert(shown // 2, " ..." if last and shown else "...")

        margin = "\n" + " " * (indent + 1)
        if last:
            per_line = max(1, (self.options.linewidth - indent) // (self.width + 2))
            lines = [items[i : i + per_line] for i in range(0, len(items), per_line)]
            return f"[{f',{margin}'.join(', '.join(line) for line in lines)}]"
        # Between matrices there is an empty line, between stacks of them two, and so on.
        empty = "\n" * (len(self.shape) - axis - 2)
        return f"[{f',{empty}{margin}'.join(items)}]"


def format_tensor(
    array: np.ndarray,
    *,
    dtype: dtype,
    requires_grad: bool = False,
    grad_fn: str | None = None,
    indent: int = 0,
) -> str:
    """The string that torch's ``repr`` gives for a Tensor of these contents.

    ``grad_fn`` is the name of the Tensor's record (MulBackward0), with or without angle brackets;
    it stands in place of ``requires_grad``. ``indent`` is the column where the text will start.
    """
    options = _options
    indent += len(_PREFIX)
    if array.size == 0:
        text = f"{_PREFIX}[]"
    else:
        shown = _edges(array, options.edgeitems) if array.size > options.threshold else array
        strings, width = _strings(shown, options)
        layout = _Layout(strings, shown.shape, array.shape, width, options)
        text = _PREFIX + layout.text(indent)

    notes = []
    if array.ndim != 1 if array.size == 0 else options.edgeitems == 0:
        notes.append(f"size={array.shape}")
    if dtype is not get_default_dtype() and (
        array.size == 0 or dtype not in (get_default_complex_dtype(), int64, bool_)
    ):
        notes.append(f"dtype={dtype!r}")
    if grad_fn is not None:
        notes.append(f"grad_fn={grad_fn if grad_fn.startswith('<') else f'<{grad_fn}>'}")
    elif requires_grad:
        notes.append("requires_grad=True")
    return _with_notes(text, notes, indent, options.linewidth) + ")"


def _with_notes(text: str, notes: list[str], indent: int, linewidth: int) -> str:
    """Append the notes, each in the last line if it fits."""
    margin = "\n" + " " * indent
    first, *rest = text.rsplit("\n", 1)
    column = len(rest[0]) if rest else indent + len(first) - len(_PREFIX)
    column += 2  # torch starts a new line that much too early, but not after the first new one
    for note in notes:
        fits = column + len(note) + 2 <= linewidth
        text += f", {note}" if fits else f",{margin}{note}"
        column = column + 2 + len(note) if fits else indent + len(note)
    return text
