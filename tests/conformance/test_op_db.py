"""Every operator that tapegrad sets out to have, on torch's own samples: see `op_db`.

In each dtype the value, the gradient and the second order; and what torch refuses is refused.
"""

from __future__ import annotations

import pytest
import torch

import tapegrad as tg
from tests.conformance.gaps import GAPS
from tests.conformance.names import CORE, FURTHER
from tests.conformance.op_db import BY_KEY, TORCH_IS_WRONG, dtypes_of, errors, quiet, rows, run

ROWS = list(dict.fromkeys(rows(CORE) + rows(FURTHER)))


def case(row: str, what: torch.dtype | str) -> object:
    name = f"{row}-{str(what).removeprefix('torch.')}"
    reason = GAPS.get(name, GAPS.get(row))
    marks = [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
    return pytest.param(row, what, id=name, marks=marks)


@pytest.mark.parametrize(
    ("row", "dtype"), [case(row, dtype) for row in ROWS for dtype in dtypes_of(BY_KEY[row])]
)
def test_samples(row: str, dtype: torch.dtype) -> None:
    with quiet():
        outcome = run(row, dtype)
    assert outcome.samples
    assert not outcome.differences


@pytest.mark.parametrize(
    ("row", "what"), [case(row, "bad") for row in ROWS if BY_KEY[row].error_inputs_func]
)
def test_bad_input(row: str, what: str) -> None:
    with quiet():
        assert not list(errors(row))


def test_tables_name_rows() -> None:
    """Nothing in the tables that has been renamed or mended."""
    kinds = ("", "-bad", "-float64", "-float32", "-complex128", "-int64", "-bool")
    names = {row + kind for row in ROWS for kind in kinds}
    assert GAPS.keys() <= names
    assert TORCH_IS_WRONG.keys() <= set(ROWS)


def test_derivatives_that_torch_has_wrong() -> None:
    """Finite differences decide where torch can't."""
    x = tg.arange(9.0, dtype=tg.float64).reshape(3, 3).requires_grad_()
    y = tg.zeros(2, 2, dtype=tg.float64, requires_grad=True)

    def scattered(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        return tg.as_strided_scatter(x, y, (2, 2), (2, 1), 1)

    assert tg.autograd.gradcheck(scattered, (x, y))
    assert tg.autograd.gradgradcheck(scattered, (x, y))
