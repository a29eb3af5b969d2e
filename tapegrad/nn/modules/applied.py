"""What most layers are made of: a function of nn.functional with its settings as attributes."""

from __future__ import annotations

from typing import Any

from tapegrad.creation import empty
from tapegrad.nn import functional as F
from tapegrad.nn.modules.module import Module
from tapegrad.nn.parameter import Parameter

__all__ = ["Applied", "new_parameter", "repeated"]


class Applied(Module):
    """A Module that hands its inputs to a function, with its settings as keyword arguments.

    A subclass names the ``function``, and gives the settings to ``__init__`` under the function's
    names; they can be changed afterwards as attributes.
    """

    function: str
    _settings: tuple[str, ...]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = tuple(settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, *input: Any) -> Any:
        """The function of the inputs."""
        settings = {name: getattr(self, name) for name in self._settings}
        return getattr(F, self.function)(*input, **settings)

    def extra_repr(self) -> str:
        """The settings; ``inplace`` only where it is True."""
        shown = [name for name in self._settings if name != "inplace" or getattr(self, name)]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)


def new_parameter(*shape: int, device: Any = None, dtype: Any = None) -> Parameter:
    """A Parameter over memory that isn't set."""
    return Parameter(empty(shape, device=device, dtype=dtype))


def repeated(value: Any, count: int) -> tuple[Any, ...]:
    """A setting for each dimension: ``count`` times the one value, or the values that are given."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
