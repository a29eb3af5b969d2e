"""tapegrad: tape-based automatic differentiation for NumPy arrays, with PyTorch's API.

Every operation on Tensors that require gradients appends a record to one Wengert tape; ``backward``
replays it in reverse.

>>> import tapegrad as torch
>>> x = torch.tensor([1., 2., 3.], requires_grad=True)
>>> y = (x * x).sum()
>>> y.backward()
>>> x.grad
tensor([2., 4., 6.])
"""

# ruff: noqa: E402 - the collector is paused before the rest is imported

from __future__ import annotations

import sys as _sys
import types as _types
import warnings as _warnings
from functools import partial as _partial
from importlib import import_module as _import_module
from math import e, inf, nan, pi
from typing import Any as _Any

from tapegrad.collector import Paused as _Paused

_paused = _Paused()  # until the end of the import, of which it takes a tenth

from tapegrad import (
    alike,
    autograd,
    creation,
    cuda,
    devices,
    dtypes,
    layouts,
    legacy,
    methods,
    operators,
    random,
    ranges,
    sampling,
    settings,
    signal,
    utils,
)
from tapegrad.autograd.anomaly_mode import is_anomaly_check_nan_enabled, is_anomaly_enabled
from tapegrad.batched import rules as _rules
from tapegrad.devices import device
from tapegrad.dtypes import (
    can_cast,
    dtype,
    get_default_dtype,
    promote_types,
    set_default_dtype,
)
from tapegrad.layouts import layout, memory_format
from tapegrad.limits import finfo, iinfo
from tapegrad.loading import warmup
from tapegrad.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tapegrad.random import fork_rng
from tapegrad.signal import periodic as _periodic
from tapegrad.size import Size
from tapegrad.tensor import Tensor
from tapegrad.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"


#: What not every program needs, and the module that has it if it is no module.
_ON_DEMAND = {
    "fft": "", "func": "", "optim": "", "sparse": "", "testing": "",
    "Tape": "tapes", "get_printoptions": "printing", "load": "serialization",
    "printoptions": "printing", "save": "serialization",
    "set_printoptions": "printing", "vmap": "func",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    """Modules that are loaded when they are asked for, and functions of such modules."""
    if name in _ON_DEMAND:
        home = _ON_DEMAND[name]
        module = _import_module(f"{__name__}.{home or name}")
        return getattr(module, name) if home else module
    if name == "__all__":
        operators.load_rest()
        functions = [f for f in operators.functions if f in globals()]
        return list(dict.fromkeys([*_NAMES, *_public, *functions, *dtypes.NAMES]))
    return _function_of(__name__, name)


def __dir__() -> list[str]:
    operators.load_rest()
    return sorted({*globals(), *_ON_DEMAND})


def _function_of(module: str, name: str) -> _Any:
    """A function that is loaded when it is asked for; or, for `import *`, the names of all."""
    if name == "__all__" or not name.startswith("__"):
        operators.load_rest()
        found = vars(_sys.modules[module])
        if name == "__all__":
            return [n for n in found if not n.startswith("_")]
        if name in found:
            return found[name]
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


def result_type(tensor: _Any, other: _Any) -> dtypes.dtype:
    """The dtype in which an operation on two Tensors or numbers computes."""
    return dtypes.result_type(*map(_described, (tensor, other)))


def _described(value: _Any) -> _Any:
    if isinstance(value, Tensor):
        return value.dtype, "tensor" if value.ndim else "scalar"
    return dtypes.number_dtype(value), "number"


def set_default_device(device: object) -> None:
    """Accepted for the CPU, where everything is made anyhow. Raises for another device."""
    devices.check_device(device)


def get_default_device() -> devices.device:
    """The CPU."""
    return devices.cpu


# -- names that are handed on ----------------------------------------------------------------------

_MAKERS = (creation, ranges, alike, sampling, legacy, _periodic, settings)
_NOT_FUNCTIONS = {name for name in alike.__all__ if name.startswith("new_")}
_public: dict[str, _Any] = {}
for _name in ("contiguous_format", "preserve_format", "channels_last", "strided", "sparse_coo"):
    _public[_name] = getattr(layouts, _name)
for _maker in _MAKERS:
    for _name in _maker.__all__:
        if _name not in _NOT_FUNCTIONS:
            _public[_name] = getattr(_maker, _name)
for _name in methods.__all__:
    _public[_name] = getattr(methods, _name)
globals().update(_public)
operators.hand_on("", globals())
globals().update(dtypes.NAMES)
newaxis = None


#: Modules of operators' functions that no file holds.
_NAMESPACES = ("linalg", "masked", "nn.functional", "special")


def _module(path: str) -> _types.ModuleType:
    """The module ``tapegrad.<path>``: that of a file, or else made here, with its parents."""
    name = f"{__name__}.{path}"
    if name not in _sys.modules:
        parent, _, last = path.rpartition(".")
        above = _module(parent) if parent else _sys.modules[__name__]
        if path not in _NAMESPACES:
            return _import_module(name)
        made = _types.ModuleType(name, f"torch.{path}, as far as tapegrad has it.")
        made.__path__ = []
        made.__getattr__ = _partial(_function_of, name)  # type: ignore[method-assign]
        _sys.modules[name] = made
        setattr(above, last, made)
    return _sys.modules[name]


for _path in _NAMESPACES:
    operators.hand_on(_path, vars(_module(_path)))
_rules.load = lambda: _import_module("tapegrad.batching")  # most programs do without

# NumPy's floating-point warnings aren't the user's business where torch has none. (Under another
# filter, or np.errstate, which may make them errors, each operation deals with them itself.)
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tapegrad\.")

# The things themselves, not the modules of those names, which `from tapegrad.tape import ...` still
# finds.
from tapegrad.extending import primitive
from tapegrad.tape import tape

__all__ = [
    "Size", "Tape", "Tensor", "autograd", "can_cast", "cuda", "device", "dtype", "e", "enable_grad",
    "finfo", "fork_rng", "func", "get_default_device", "get_default_dtype", "get_num_threads",
    "get_printoptions", "iinfo", "inf", "inference_mode", "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "layout", "memory_format", "nan", "newaxis", "no_grad", "pi",
    "primitive", "printoptions", "promote_types", "random", "result_type", "set_default_device",
    "set_default_dtype", "set_grad_enabled", "set_num_threads", "set_printoptions", "signal",
    "tape", "utils", "vmap", "warmup",
    "fft", *sorted({path.partition(".")[0] for path in _NAMESPACES}),
]  # fmt: skip
# `import *` asks `__getattr__` for the whole, with the functions that are loaded on demand.
_NAMES = __all__
del __all__
del _paused
