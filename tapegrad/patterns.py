"""Sparsity patterns along the tape: which elements of a value depend on which of an input.

A pattern is a sparse matrix of bools, with a row for each element of a value and a column for each
element of the input. That of a record's result is the sum, over its inputs, of the local pattern
(element of the result by element of that input) times the input's own pattern. `tapegrad.sparse`
says where local patterns come from; each is the true one or has more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.contributions import contribution, environment
from tapegrad.primitive import Primitive, primitives
from tapegrad.spec import specs
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, SPEC, Record, arity

__all__ = ["Pattern", "pattern_of"]

Pattern = Any  # a csr_array of bools

#: Local Jacobians that are found row by row or column by column have at most so many elements, and
#: so many rows or columns; full ones have at most so many elements.
MOST_PROBED, MOST_PROBES = 400_000_000, 20_000
MOST_FULL = 50_000_000


def pattern_of(records: list[Record], place: int, source: int, size: int) -> Pattern | None:
    """The pattern of the value at ``place``, by the elements of the one at ``source``.

    None if it doesn't depend on it.
    """
    from scipy.sparse import csr_array, eye_array

    needed = {place}
    for record in reversed(records):
        if record[PLACE] in needed:
            needed.update(s for s in _sources(record) if s is not None)
    patterns: dict[int, Pattern] = {source: csr_array(eye_array(size, dtype=bool, format="csr"))}
    for record in records:
        if record[PLACE] in needed and record[PLACE] != source:
            found = _propagated(record, patterns)
            if found is not None:
                patterns[record[PLACE]] = found
    return patterns.get(place)


def _sources(record: Record) -> tuple[int | None, ...]:
    return record[INPUTS : INPUTS + arity(record)]


def _propagated(record: Record, patterns: dict[int, Pattern]) -> Pattern | None:
    primitive = primitives[record[CODE]]
    total = None
    for i, source in enumerate(_sources(record)):
        if source is None or source not in patterns:
            continue
        below = patterns[source]
        if primitive.is_output:
            share = below[np.zeros(specs[record[SPEC]].size, np.int64)]
        elif primitive.outputs > 1:
            share = _union(below)
        elif primitive.elementwise:
            share = _spread(record, i, below)
        else:
            share = _product(_local(primitive, record, i), below)
        total = share if total is None else total + share
    return total


def _union(pattern: Pattern) -> Pattern:
    """One row: all columns in which any row has an element."""
    from scipy.sparse import csr_array

    columns = np.unique(pattern.indices)
    ones = np.ones(len(columns), bool)
    return csr_array((ones, columns, [0, len(columns)]), shape=(1, pattern.shape[1]))


def _product(a: Pattern, b: Pattern) -> Pattern:
    made = a.astype(np.int32) @ b.astype(np.int32)
    return made.astype(bool)


def _spread(record: Record, i: int, pattern: Pattern) -> Pattern:
    out = specs[record[SPEC]].shape
    shape = out if record[PARAMS] is None else specs[record[PARAMS][i]].shape
    if shape == out:
        return pattern
    rows = np.arange(pattern.shape[0]).reshape(shape)
    return pattern[np.broadcast_to(rows, out).reshape(-1)]


# -- local patterns of structural primitives -------------------------------------------------------


def _local(primitive: Primitive, record: Record, i: int) -> Pattern:
    """Which elements of the result depend on which elements of input i."""
    shapes = _shapes(primitive, record)
    m, n = specs[record[SPEC]].size, int(np.prod(shapes[i], dtype=np.int64))
    if primitive.joint is None and m and n:
        for attempt in (_moved, _summed, _by_rows, _by_nan):
            try:
                found = attempt(primitive, record, i, m, n)
            except (ArithmeticError, TypeError, ValueError, IndexError, RuntimeError):
                continue  # it doesn't run on made-up values
            if found is not None:
                return found
    if m * n > MOST_FULL:
        raise NotImplementedError(
            f"sparsity of {primitive.name}: each of its {m} elements may depend on all of {n}"
        )
    rows, columns = np.indices((m, n)).reshape(2, -1)
    return _matrix(rows, columns, m, n)


def _shapes(primitive: Primitive, record: Record) -> tuple[tuple[int, ...], ...]:
    params = record[PARAMS]
    shapes: tuple[tuple[int, ...], ...]
    shapes = params[-1] if primitive.arity < 0 else params[len(params) - primitive.arity :]
    return shapes


def _matrix(rows: Any, columns: Any, m: int, n: int) -> Pattern:
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(m, n)).tocsr()


def _numbers(size: int, run: int) -> np.ndarray:
    """Different numbers in no order; another order, and other numbers, in each run."""
    return np.random.default_rng(run).permutation(size) + np.random.default_rng(run + 9).uniform(
        0.1, 0.9, size
    )


def _located(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Where each value stands among the numbers, -1 for one that doesn't."""
    order = np.argsort(numbers)
    at = order[np.minimum(np.searchsorted(numbers[order], values), len(numbers) - 1)]
    return np.where(numbers[at] == values, at, -1)


def _steady(run: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> np.ndarray | None:
    """Where values come from, if they only move: from the same numbers' places in all runs.

    Other values must be the same in the first two of them.
    """
    found = []
    for number in (1, 2, 3):
        values, numbers = run(number)
        values = np.asarray(values, np.float64).reshape(-1)
        at = _located(values, numbers)
        found.append((at, np.where(at < 0, values, 0.0)))
    (a, rest_a), (b, rest_b), (c, _) = found
    moves = np.array_equal(a, b) and np.array_equal(a, c)
    return a if moves and np.array_equal(rest_a, rest_b, equal_nan=True) else None


def _made_up(primitive: Primitive, record: Record, run: int) -> list[Any]:
    """Inputs: constants as they were saved, other numbers for what varies or isn't known."""
    n = arity(record)
    made = []
    shapes = _shapes(primitive, record)
    for k, shape in enumerate(shapes):
        saved = record[INPUTS + n + k]
        if record[INPUTS + k] is None and saved is not None:
            made.append(saved)
        else:
            size = int(np.prod(shape, dtype=np.int64))
            made.append((_numbers(size, 20 * k + run) / max(size, 1)).reshape(shape))
    return made


def _forward(primitive: Primitive, record: Record, inputs: list[Any]) -> np.ndarray:
    params = record[PARAMS][: len(primitive.params)]
    given = (tuple(inputs),) if primitive.arity < 0 else inputs
    with np.errstate(all="ignore"):
        return np.asarray(primitive.forward(*given, *params))


def _moved(primitive: Primitive, record: Record, i: int, m: int, n: int) -> Pattern | None:
    """The pattern of a primitive whose result is a selection of its inputs' elements."""

    def run(number: int) -> tuple[np.ndarray, np.ndarray]:
        # Less than the numbers, and in the third run more: it may be the least that is selected.
        other = -1.0 if number < 3 else 1e9
        inputs = [
            x if record[INPUTS + k] is None else np.full(np.shape(x), other)
            for k, x in enumerate(_made_up(primitive, record, 1))
        ]
        numbers = _numbers(n, 50 * number) + 1
        inputs[i] = numbers.reshape(_shapes(primitive, record)[i])
        return _forward(primitive, record, inputs), numbers

    at = _steady(run)
    if at is None:
        return None
    rows = np.flatnonzero(at >= 0)
    return _matrix(rows, at[rows], m, n)


def _is_linear(primitive: Primitive, record: Record, i: int) -> bool:
    """Whether the rule of input i uses neither that input nor the result."""
    if primitive.arity < 0:
        return not primitive.saves[0]
    return primitive.saves[i].isdisjoint((i, primitive.arity))


def _rule(primitive: Primitive, record: Record, i: int) -> Callable[[np.ndarray], np.ndarray]:
    """Adjoint of the result (flat) to that of input i (flat), with made-up saved values."""
    n = arity(record)
    inputs = _made_up(primitive, record, 1)
    saved = [x if record[INPUTS + n + k] is not None else None for k, x in enumerate(inputs)]
    made = (*record[: INPUTS + n], *saved, record[-1])
    shape = specs[record[SPEC]].shape

    def pull(out_bar: np.ndarray) -> np.ndarray:
        values = environment(primitive, made, n, out_bar.reshape(shape), None)
        share = contribution(primitive, made, i, values)
        return np.asarray(share).reshape(-1)

    return pull


def _summed(primitive: Primitive, record: Record, i: int, m: int, n: int) -> Pattern | None:
    """The pattern of a linear primitive each element of whose input goes to one of the result."""
    if not _is_linear(primitive, record, i):
        return None
    pull = _rule(primitive, record, i)

    def run(number: int) -> tuple[np.ndarray, np.ndarray]:
        numbers = _numbers(m, 50 * number) + 1
        return pull(numbers), numbers

    at = _steady(run)
    if at is None:
        return None
    columns = np.flatnonzero(at >= 0)
    return _matrix(at[columns], columns, m, n)


def _by_rows(primitive: Primitive, record: Record, i: int, m: int, n: int) -> Pattern | None:
    """The pattern of a linear primitive, from one call of its rule for each element."""
    if not _is_linear(primitive, record, i) or m > MOST_PROBES or m * n > MOST_PROBED:
        return None
    pull = _rule(primitive, record, i)
    seed = np.zeros(m)
    rows, columns = [], []
    for row in range(m):
        seed[row] = 1.0
        found = np.flatnonzero(pull(seed.copy()))
        seed[row] = 0.0
        rows.append(np.full(len(found), row))
        columns.append(found)
    return _matrix(np.concatenate(rows), np.concatenate(columns), m, n)


def _by_nan(primitive: Primitive, record: Record, i: int, m: int, n: int) -> Pattern | None:
    """The pattern of a primitive through which nan goes wherever it may: it shows the way."""
    if n > MOST_PROBES or m * n > MOST_PROBED:
        return None
    inputs = _made_up(primitive, record, 1)
    x = np.array(inputs[i], np.float64).reshape(-1)
    inputs[i] = np.full(inputs[i].shape, np.nan)
    if not np.isnan(_forward(primitive, record, inputs)).all():
        return None
    rows, columns = [], []
    for column in range(n):
        value = x.copy()
        value[column] = np.nan
        inputs[i] = value.reshape(inputs[i].shape)
        found = np.flatnonzero(np.isnan(_forward(primitive, record, inputs)).reshape(-1))
        rows.append(found)
        columns.append(np.full(len(found), column))
    return _matrix(np.concatenate(rows), np.concatenate(columns), m, n)
