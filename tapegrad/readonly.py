"""What dtypes, their limits and devices share: attributes that can't be set, torch's TypeError."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["ReadOnly", "wrong_type"]


class ReadOnly:
    """Attributes are set once, by `_fill`; later attempts raise, as for torch's classes in C."""

    __slots__ = ()

    def _fill(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        own = f"'tapegrad.{type(self).__name__}'"
        if hasattr(self, name):
            raise AttributeError(f"attribute {name!r} of {own} objects is not writable")
        raise AttributeError(f"{own} object has no attribute {name!r}")


def wrong_type(function: str, argument: str, wanted: str, value: object) -> str:
    """The message where an argument isn't the object of tapegrad that is wanted."""
    prefix = f"{function}(): " if function else ""
    got = type(value)
    name = got.__name__ if got.__module__ == "builtins" else f"{got.__module__}.{got.__name__}"
    return f"{prefix}{argument} must be tapegrad.{wanted}, not {name}"
