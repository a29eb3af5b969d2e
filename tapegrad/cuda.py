"""torch.cuda without a GPU: tapegrad computes on the CPU.

So that programs for both run, questions are answered ("not available") and what does nothing
without a GPU does nothing; whatever needs one raises AssertionError, as a CPU-only torch does.

    >>> import tapegrad
    >>> tapegrad.device("cuda" if tapegrad.cuda.is_available() else "cpu")
    device(type='cpu')
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["device_count", "is_available", "is_initialized", "manual_seed", "manual_seed_all"]


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def get_arch_list() -> list[str]:
    """An empty list."""
    return []


def manual_seed(seed: int) -> None:
    """Nothing: there is no GPU to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing: there is no GPU to seed."""


def seed() -> None:
    """Nothing: there is no GPU to seed."""


def seed_all() -> None:
    """Nothing: there is no GPU to seed."""


def empty_cache() -> None:
    """Nothing: there is no GPU memory."""


def memory_allocated(device: Any = None) -> int:
    """0: there is no GPU memory."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated

#: What needs a GPU.
NEEDS_GPU = {
    *("Event", "Stream", "can_device_access_peer", "current_device", "current_stream"),
    *("default_stream", "device", "get_device_capability", "get_device_name"),
    *("get_device_properties", "get_rng_state", "get_rng_state_all", "init", "initial_seed"),
    *("ipc_collect", "mem_get_info", "memory_stats", "memory_summary", "reset_peak_memory_stats"),
    *("set_device", "set_rng_state", "set_rng_state_all", "stream", "synchronize"),
}


def __getattr__(name: str) -> Any:
    if name not in NEEDS_GPU:
        raise AttributeError(f"module 'tapegrad.cuda' has no attribute {name!r}")

    def unavailable(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(
            f"tapegrad not compiled with CUDA enabled: cuda.{name} needs a GPU. tapegrad computes "
            "on the CPU only; ask cuda.is_available() first."
        )

    unavailable.__name__ = unavailable.__qualname__ = name
    return unavailable
