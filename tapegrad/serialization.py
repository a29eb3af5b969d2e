"""`save` and `load`: Tensors and what holds them, in files.

The format is tapegrad's own, a pickle after a line that names it; torch's files are not read.

>>> import io, tapegrad
>>> file = io.BytesIO()
>>> tapegrad.save({"x": tapegrad.ones(2)}, file)
>>> _ = file.seek(0)
>>> tapegrad.load(file)
{'x': tensor([1., 1.])}
"""

from __future__ import annotations

import os
import pickle
from contextlib import nullcontext
from typing import Any

from tapegrad import devices

__all__ = ["load", "save"]

MAGIC = b"tapegrad 1\n"

#: What a file may name, unless it is trusted: what Tensors and the states of models are made of.
ALLOWED = {
    "builtins": {"bool", "bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copyreg": {"_reconstructor"},
    "_codecs": {"encode"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "tapegrad.devices": {"device"},
    "tapegrad.dtypes": {"_named"},
    "tapegrad.nn.modules.state": {"State"},
    "tapegrad.nn.parameter": {"Buffer", "Parameter", "TransientBuffer"},
    "tapegrad.size": {"Size"},
    "tapegrad.tensor": {"_rebuild"},
}


class Unpickler(pickle.Unpickler):
    """Loads only what `ALLOWED` lists: a file can't run code."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, if it is allowed."""
        if name not in ALLOWED.get(module, ()):
            raise pickle.UnpicklingError(
                f"Weights only load failed: the file refers to {module}.{name}. If you trust where "
                "it comes from, load it with weights_only=False, which may run code from the file"
            )
        return super().find_class(module, name)


def _opened(f: Any, mode: str) -> Any:
    return open(f, mode) if isinstance(f, (str, os.PathLike)) else nullcontext(f)


def save(
    obj: Any, f: Any, pickle_module: Any = pickle, pickle_protocol: int = 5, **options: Any
) -> None:
    """Write an object, such as a ``state_dict()``, to a path or a binary file.

    Tensors are stored with their values and whether they require grad, not with their history:
    they come back as leaves. Those that share memory don't share it any more.
    """
    with _opened(f, "wb") as file:
        file.write(MAGIC)
        pickle_module.dump(obj, file, protocol=pickle_protocol)


def load(
    f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool = True
) -> Any:
    """Read what `save` has written, from a path or a binary file.

    Args:
        f: the path or file.
        map_location: accepted for the CPU.
        pickle_module: what unpickles if ``weights_only`` is False.
        weights_only: load only Tensors, numbers, strings and containers of them. Otherwise a file
            may run code: say so only of files that you trust.

    Raises:
        pickle.UnpicklingError: the file holds something else.
        RuntimeError: it isn't one of tapegrad's.
    """
    if map_location is not None and not callable(map_location):
        devices.check_device(map_location)
    with _opened(f, "rb") as file:
        start = file.read(len(MAGIC))
        if start != MAGIC:
            kind = "one of torch's" if start.startswith(b"PK") else "not one of tapegrad's"
            raise RuntimeError(
                f"this file is {kind}: only what tapegrad.save has written can be loaded"
            )
        if not weights_only:
            return (pickle_module or pickle).load(file)
        return Unpickler(file).load()
