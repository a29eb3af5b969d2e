"""The committed stubs are those that the registry gives."""

from __future__ import annotations

import pytest

from tests.write_stubs import HERE, STUBS, formatted


def test_no_stub_is_left_over():
    assert {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.pyi")} == set(STUBS)


@pytest.mark.parametrize("name", STUBS)
def test_stubs_are_up_to_date(name):
    pytest.importorskip("ruff")
    written = (HERE / name).read_text(encoding="utf-8")
    # Both formatted, so that another release of ruff makes no difference.
    assert formatted(written) == formatted(STUBS[name]()), "run `make stubs`"
