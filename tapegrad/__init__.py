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

from __future__ import annotations

import sys as _sys
import types as _types
import warnings as _warnings
from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from math import e, inf, nan, pi
from typing import Any as _Any

from tapegrad import (
    alike,
    autograd,
    creation,
    cuda,
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
from tapegrad.dtypes import (
    can_cast,
    device,
    dtype,
    finfo,
    get_default_dtype,
    iinfo,
    promote_types,
    set_default_dtype,
)
from tapegrad.layouts import layout, memory_format
from tapegrad.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from tapegrad.printing import get_printoptions, printoptions, set_printoptions
from tapegrad.random import fork_rng
from tapegrad.signal import periodic as _periodic
from tapegrad.size import Size
from tapegrad.tensor import Tensor
from tapegrad.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"


#: What not every program needs, and the module that has it if it is no module.
_ON_DEMAND = {
    "func": "", "optim": "", "sparse": "", "testing": "",
    "Tape": "tapes", "load": "serialization", "save": "serialization", "vmap": "func",
}  # fmt: skip


def __getattr__(name: str) -> _Any:
    """Modules that are loaded when they are asked for, and functions of such modules."""
    if name in _ON_DEMAND:
        home = _ON_DEMAND[name]
        module = _import_module(f"{__name__}.{home or name}")
        return getattr(module, name) if home else module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def result_type(tensor: _Any, other: _Any) -> dtypes.dtype:
    """The dtype in which an operation on two Tensors or numbers computes."""
    return dtypes.result_type(*map(_described, (tensor, other)))


def _described(value: _Any) -> _Any:
    if isinstance(value, Tensor):
        return value.dtype, "tensor" if value.ndim else "scalar"
    return dtypes.number_dtype(value), "number"


def set_default_device(device: object) -> None:
    """Accepted for the CPU, where everything is made anyhow. Raises for another device."""
    dtypes.check_device(device)


def get_default_device() -> dtypes.device:
    """The CPU."""
    return dtypes.cpu


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
for _name, _function in operators.functions.items():
    if not _name.startswith("numpy_"):
        _public[_name] = _function
_public |= dtypes.NAMES
globals().update(_public)
newaxis = None


def _module(path: str) -> _types.ModuleType:
    """The module ``tapegrad.<path>``: that of a file, or else made here, with its parents."""
    name = f"{__name__}.{path}"
    if name not in _sys.modules:
        parent, _, last = path.rpartition(".")
        above = _module(parent) if parent else _sys.modules[__name__]
        if _find_spec(name) is not None:
            return _import_module(name)
        made = _types.ModuleType(name, f"torch.{path}, as far as tapegrad has it.")
        made.__path__ = []
        _sys.modules[name] = made
        setattr(above, last, made)
    return _sys.modules[name]


for _path, _functions in operators.modules.items():
    if _path:
        for _name, _function in _functions.items():
            setattr(_module(_path), _name, _function)
        operators.namespaces.append(vars(_module(_path)))
operators.namespaces.append(globals())
_rules.load = lambda: _import_module("tapegrad.batching")  # most programs do without

# NumPy's floating-point warnings aren't the user's business where torch has none. (Under another
# filter, or np.errstate, which may make them errors, each operation deals with them itself.)
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"tapegrad\.")

# The things themselves, not the modules of those names, which `from tapegrad.tape import ...` still
# finds.
from tapegrad.extending import primitive  # noqa: E402
from tapegrad.tape import tape  # noqa: E402

__all__ = [
    "Size", "Tape", "Tensor", "autograd", "can_cast", "cuda", "device", "dtype", "e", "enable_grad",
    "finfo", "fork_rng", "func", "get_default_device", "get_default_dtype", "get_num_threads",
    "get_printoptions", "iinfo", "inf", "inference_mode", "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "layout", "memory_format", "nan", "newaxis", "no_grad", "pi",
    "primitive", "printoptions", "promote_types", "random", "result_type", "set_default_device",
    "set_default_dtype", "set_grad_enabled", "set_num_threads", "set_printoptions", "signal",
    "tape", "utils", "vmap",
    *_public,
    *sorted({path.partition(".")[0] for path in operators.modules if path}),
]  # fmt: skip
