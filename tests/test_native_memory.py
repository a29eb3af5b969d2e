"""What native code reads where it lies, against Python: ints, tuples, lists, reference counts."""

from __future__ import annotations

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tapegrad import loading

if not loading.load_native():
    pytest.skip("the native loop can't be used here", allow_module_level=True)

import numba
from numba import types

from tapegrad.kernels import native

I64 = types.int64
SIGNATURES = {1: I64(I64), 2: I64(I64, I64)}


def compiled(function, arity=1):
    """An intrinsic or a function of CPython's as one that Python can call with addresses."""
    if arity == 1:
        return numba.njit(SIGNATURES[1])(lambda a: function(a))
    return numba.njit(SIGNATURES[2])(lambda a, b: function(a, b))


own_int, as_int = compiled(native.own_int), compiled(native.as_int)
tuple_size, tuple_get = compiled(native.tuple_size), compiled(native.tuple_get, 2)
list_get, load32 = compiled(native.list_get, 2), compiled(native.load32)

#: On both sides of what one digit holds (30 bits), two digits and 64 bits.
EDGES = [
    edge + step
    for edge in (0, -5, 256, 2**15, 2**29, 2**30, 2**31, 2**32, 2**60, 2**62, 2**63)
    for step in (-1, 0, 1)
]
EDGES = [n for edge in EDGES for n in (edge, -edge) if -(2**63) <= n < 2**63]


@pytest.mark.parametrize("number", sorted(set(EDGES)))
def test_ints_at_the_edges_of_their_layout(number):
    assert own_int(id(number)) == number
    assert as_int(id(number)) == number


@given(st.integers(-(2**63), 2**63 - 1))
def test_ints(number):
    assert own_int(id(number)) == as_int(id(number)) == number


def test_ints_that_were_computed():
    # Shortened after a subtraction: what lies behind the last digit is garbage.
    for big in (2**40, 2**62, 2**200):
        for rest in (0, 1, -1, 7, -(2**30), 2**30 - 1):
            number = (big + rest) - big
            assert own_int(id(number)) == as_int(id(number)) == rest


@pytest.mark.parametrize("number", [True, False])
def test_truths_are_ints(number):
    assert own_int(id(number)) == as_int(id(number)) == int(number)


@given(st.lists(st.integers(), max_size=9))
@example([])
def test_tuples_and_lists(numbers):
    items = tuple(numbers)
    assert tuple_size(id(items)) == len(items)
    assert [tuple_get(id(items), i) for i in range(len(items))] == [id(n) for n in items]
    assert [list_get(id(numbers), i) for i in range(len(numbers))] == [id(n) for n in items]


def test_lists_that_grow_and_shrink():
    items = [object()]
    for step in range(60):
        items.extend(object() for _ in range(step))
        del items[:: 2 + step % 3]
        items[1:1] = [object()]
        assert [list_get(id(items), i) for i in range(len(items))] == list(map(id, items))


def test_reference_counts():
    # As records are: a tuple that a list refers to, and nothing else if it may be dropped.
    records = [(object(), number, []) for number in range(3)]
    at = list(map(id, records))
    assert [load32(a) for a in at] == [1, 1, 1]
    other = records[1]
    assert [load32(a) for a in at] == [1, 2, 1]
    several = [records[2]] * 70_000
    assert [load32(a) for a in at] == [1, 2, 70_001]
    del other, several
    assert [load32(a) for a in at] == [1, 1, 1]


@pytest.mark.parametrize("thing", [None, True, 0, 1, 255, (), "", object, sys])
def test_what_is_shared_by_all_never_looks_lonely(thing):
    assert load32(id(thing)) != 1  # from Python 3.12 on some are immortal


def test_the_probe_agrees():
    assert native.probe()
