"""Python's garbage collector, where it would only look again and again at what stays."""

from __future__ import annotations

import gc

__all__ = ["Paused"]


class Paused:
    """The collector stands still while this lives, and while whoever paused it before wants it."""

    def __init__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __del__(self) -> None:
        if self._was_enabled:
            gc.enable()
