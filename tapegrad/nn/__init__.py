"""torch.nn: Modules, the Parameters that they hold, and the functions that they compute with.

>>> import tapegrad as torch
>>> from tapegrad import nn
>>> nn.Sequential(nn.Linear(2, 3), nn.ReLU())
Sequential(
  (0): Linear(in_features=2, out_features=3, bias=True)
  (1): ReLU()
)

All but `functional`, which the operators make, is loaded when the first name is asked for.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from tapegrad.nn import init as init
    from tapegrad.nn import modules as modules
    from tapegrad.nn import parameter as parameter
    from tapegrad.nn import utils as utils
    from tapegrad.nn.modules import *  # noqa: F403 - what `__getattr__` gives
    from tapegrad.nn.parameter import Buffer as Buffer
    from tapegrad.nn.parameter import Parameter as Parameter

_MODULES = ("init", "modules", "parameter", "utils")


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    if not name.startswith("_"):
        home = "parameter" if name in ("Buffer", "Parameter") else "modules"
        found = _import_module(f"{__name__}.{home}")
        if name in found.__all__:
            globals()[name] = getattr(found, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    from tapegrad.nn import modules

    return sorted({*globals(), *_MODULES, "Buffer", "Parameter", *modules.__all__})
