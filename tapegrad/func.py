"""torch.func, as far as it is here: `jvp`, and Modules as functions of their parameters."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from tapegrad.autograd.forward import jvp

if TYPE_CHECKING:
    from tapegrad.nn.functional_call import functional_call, stack_module_state

__all__ = ["functional_call", "jvp", "stack_module_state"]


def __getattr__(name: str) -> _Any:
    """What needs nn, which is loaded when it is asked for."""
    if name in ("functional_call", "stack_module_state"):
        return getattr(_import_module("tapegrad.nn.functional_call"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
