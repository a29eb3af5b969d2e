"""torch.utils, as far as tapegrad has it: `checkpoint`."""

from importlib import import_module as _import_module
from typing import Any as _Any

__all__ = ["checkpoint"]


def __getattr__(name: str) -> _Any:
    if name == "checkpoint":
        return _import_module(f"{__name__}.checkpoint")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
