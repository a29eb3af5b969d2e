"""torch.utils, as far as tapegrad has it: `checkpoint` and `data`."""

from importlib import import_module as _import_module
from typing import Any as _Any

__all__ = ["checkpoint", "data"]


def __getattr__(name: str) -> _Any:
    if name in __all__:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
