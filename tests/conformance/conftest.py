"""Where tapegrad is known to differ from torch: rows that must fail until somebody mends them.

Strictly: a row here that begins to agree with torch fails the run, and is to be taken out.
"""

from __future__ import annotations

import pytest

NAMES = "the record has another name"

KNOWN: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect the rows of `KNOWN` to fail; names only where names are compared."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        reason = KNOWN.get(callspec.id) if callspec is not None else None
        names = "grad_fn_names" in item.name
        if reason is not None and names == (reason is NAMES):
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
