"""Devices, of which only the CPU is there, and the argument ``device=``."""

from __future__ import annotations

import re
from typing import Any

from tapegrad.readonly import ReadOnly, wrong_type

__all__ = ["check_device", "cpu", "device"]

_DEVICE_TYPES = (
    *("cpu", "cuda", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga"),
    *("maia", "xla", "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone"),
)
_DEVICE_STRING = re.compile(r"([A-Za-z_]+)(?::(0|[1-9][0-9]*))?")


class device(ReadOnly):
    """A device's type and index, as ``torch.device``. See `check_device` for which are there.

    >>> device("cuda:1")
    device(type='cuda', index=1)
    >>> str(device("cpu"))
    'cpu'

    As a context manager it checks that it is the CPU, where everything is made anyhow.
    """

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device) and index is None:
            self._fill(type=type.type, index=type.index)
        elif isinstance(type, str):
            name, given = _parse_device(type)
            if index is not None:
                if not isinstance(index, int):
                    raise TypeError(
                        "device(): argument 'index' (position 2) must be int, not "
                        f"{index.__class__.__name__}"
                    )
                if given is not None:
                    raise RuntimeError(
                        "type (string) must not include an index because index was passed "
                        f"explicitly: {type}"
                    )
                _check_index(index)
                given = index
            self._fill(type=name, index=given)
        elif isinstance(type, int) and not isinstance(type, bool) and index is None:
            _check_index(type)
            raise RuntimeError(
                "Cannot access accelerator device when none is available. Use device='cpu'."
            )
        else:
            given_types = (type,) if index is None else (type, index)
            got = ", ".join(x.__class__.__name__ for x in given_types)
            raise TypeError(
                f"device() received an invalid combination of arguments - got ({got}), but "
                "expected one of:\n * (tapegrad.device device)\n * (str type, int index = -1)\n"
            )

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type,) if self.index is None else (self.type, self.index)

    def __enter__(self) -> device:
        check_device(self)
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def _parse_device(text: str) -> tuple[str, int | None]:
    if not text:
        raise RuntimeError("Device string must not be empty")
    match = _DEVICE_STRING.fullmatch(text)
    if match is None:
        raise RuntimeError(f"Invalid device string: '{text}'")
    name, index = match.groups()
    if name not in _DEVICE_TYPES:
        raise RuntimeError(
            f"Expected one of {', '.join(_DEVICE_TYPES)} device type at start of device string: "
            f"{name}"
        )
    return name, None if index is None else int(index)


def _check_index(index: int) -> None:
    if index < 0:
        raise RuntimeError("Device index must not be negative")


#: The device of every Tensor.
cpu = device("cpu")

_ADVICE = "tapegrad computes on the CPU only: leave device out, or use device='cpu'."


def check_device(value: Any = None, function: str = "") -> device:
    """The device that an argument ``device=`` means: `cpu`, or what torch raises for one not there.

    That is AssertionError for cuda, xpu and mtia, NotImplementedError for most others. ``function``
    is the name of the function whose argument it is.
    """
    if value is None or value is cpu:
        return cpu
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        value = device(value)  # type: ignore[arg-type]  # an int raises there
    if not isinstance(value, device):
        raise TypeError(wrong_type(function, "argument 'device'", "device", value))
    match value.type:
        case "cpu":
            return cpu  # without an index, as a Tensor made for "cpu:1" has in torch
        case "cuda" | "xpu" | "mtia" as name:
            raise AssertionError(f"tapegrad not compiled with {name.upper()} enabled. {_ADVICE}")
        case "hpu" | "privateuseone" as name:
            raise ModuleNotFoundError(f"No module named 'tapegrad.{name}'. {_ADVICE}")
        case name:
            raise NotImplementedError(f"tapegrad has no '{name}' device. {_ADVICE}")
