"""Settings that programs for torch make, and that change nothing here.

Kernels run on one thread, on the CPU, in the precision of their dtype, and give the same each time.
"""

from __future__ import annotations

import warnings

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "is_autocast_enabled",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "use_deterministic_algorithms",
]


class _Settings:
    deterministic = False
    precision = "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: all algorithms are deterministic."""
    _Settings.deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was told."""
    return _Settings.deterministic


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted ("highest", "high" or "medium"): products are computed in float32 itself."""
    if precision not in ("highest", "high", "medium"):
        warnings.warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current "
            "setFloat32MatmulPrecision call has no effect.",
            stacklevel=2,
        )
        return
    _Settings.precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was told."""
    return _Settings.precision


def set_num_interop_threads(count: int) -> None:
    """Accepted: kernels run on one thread."""


def get_num_interop_threads() -> int:
    """1: kernels run on one thread."""
    return 1


def set_flush_denormal(mode: bool) -> bool:
    """False: it can't be set."""
    return False


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """False: dtypes are what the program says."""
    return False
