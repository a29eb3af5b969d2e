"""Named results, such as ``max(x, 0).values``: tuples that print as torch's ``return_types``."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

_made: dict[str, Any] = {}


def named(name: str, fields: tuple[str, ...]) -> Any:
    """The type of an operator's named result."""
    if name not in _made:
        base = namedtuple(name, fields)  # type: ignore[misc]

        def show(self: Any) -> str:
            rows = ",\n".join(f"{f}={getattr(self, f)!r}" for f in fields)
            return f"tapegrad.return_types.{name}(\n{rows})"

        space = {"__slots__": (), "__repr__": show, "__doc__": f"The result of `tapegrad.{name}`."}
        _made[name] = type(name, (base,), space)
    return _made[name]
