"""Where tapegrad is known to differ from torch: rows that must fail until somebody mends them.

Strictly: a row here that begins to agree with torch fails the run, and is to be taken out.
"""

from __future__ import annotations

import pytest

INFERENCE = "inference mode records nothing, but its results aren't marked"
DTYPES = "NumPy's TypeError is raised, with another text"
NAMES = "the record has another name"

KNOWN = {
    "x + 'a'": "the TypeError has another text",
    "x + None": "the TypeError has another text",
    "t.exp(2.0)": "numbers are taken as 0-d Tensors",
    "a & a": DTYPES,
    "~a": DTYPES,
    "(a > 0) - (a > 0)": DTYPES,
    "-(a > 0)": DTYPES,
    "with t.inference_mode(): r = t.ones(2)\\nr.requires_grad_()": INFERENCE,
    "with t.inference_mode(): r = t.ones(3)\\n(r * x).sum().backward()": INFERENCE,
    "with t.inference_mode(): r = t.ones(3)\\nr.add_(1)": INFERENCE,
    "r = (x * 1).unbind(); r[0].mul_(2)": "allowed, with the right gradient",
    "r = (x * 1).chunk(3); r[0].mul_(2)": "allowed, with the right gradient",
    "1 - x": NAMES,
    "1 / x": NAMES,
    "x % y": NAMES,
    "t = x * 1; t.fill_(2.0); t": NAMES,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the rows of `KNOWN` to fail; names only where names are compared."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        reason = KNOWN.get(callspec.id) if callspec is not None else None
        names = "grad_fn_names" in item.name
        if reason is not None and names == (reason is NAMES):
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
