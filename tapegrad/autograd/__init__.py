"""torch.autograd: derivatives of what the tape has recorded."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from tapegrad.autograd import graph
from tapegrad.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from tapegrad.autograd.engine import backward, grad
from tapegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tapegrad.modes import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)

if TYPE_CHECKING:
    from tapegrad.autograd import function
    from tapegrad.autograd.function import Function
    from tapegrad.autograd.variable import Variable

__all__ = [
    "Function", "Variable", "backward", "detect_anomaly", "enable_grad", "function", "grad",
    "gradcheck", "gradgradcheck", "graph", "inference_mode", "no_grad", "set_detect_anomaly",
    "set_grad_enabled", "set_multithreading_enabled",
]  # fmt: skip

_LATE = {"forward_ad", "function", "functional", "grad_mode", "profiler", "variable"}


def __getattr__(name: str) -> _Any:
    # What is rarely used is imported when somebody asks for it.
    if name in ("Function", "Variable"):
        return getattr(_import_module(f"{__name__}.{name.lower()}"), name)
    if name in _LATE:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
