"""Steps that the machine code of operators (`forward`) and of `apply` have in common."""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels.layout import (
    BYTES,
    EXTRA_SLOT,
    INFERENCE_SLOT,
    LIMIT,
    NONE,
    PAUSED,
    PLACE_SLOT,
    PLAIN,
    ROOT_PLACE_SLOT,
    ROOT_SLOT,
    SPEC_SLOT,
    SPECIAL_SLOT,
    SWEEP,
    TRUE,
)
from tapegrad.kernels.native import as_int, call_object, decref, load64, own_int, thread_identity
from tapegrad.spec import SMALL_BYTES
from tapegrad.tape import SWEEP_BYTES

__all__ = ["OTHERWISE", "RECORDING", "is_settled", "mode_of", "sweep_if_due"]

# The mode of the calling thread: not recording, recording, or something that Python looks at.
SILENT, RECORDING, OTHERWISE = range(3)


@register_jitable(inline="always")
def mode_of(shared: Any) -> Any:
    """The mode in which the calling thread is: see `modes.Switch`."""
    mode = RECORDING
    if load64(shared[PLAIN]) != shared[TRUE]:
        paused = load64(shared[PAUSED])
        if paused == shared[NONE]:
            mode = OTHERWISE
        elif as_int(paused) == thread_identity():
            mode = SILENT
    return mode


@register_jitable(inline="always")
def sweep_if_due(shared: Any, serial: Any, nbytes: Any) -> Any:
    """After a record that keeps ``nbytes`` alive: sweep the tape if it has grown enough.

    False with an exception set.
    """
    done = True
    if nbytes > SMALL_BYTES:
        shared[BYTES] += nbytes
    if serial > own_int(load64(shared[LIMIT])) or shared[BYTES] > SWEEP_BYTES:
        shared[BYTES] = 0
        swept = call_object(shared[SWEEP], 0, 0, 0)
        decref(swept)
        done = swept != 0
    return done


@register_jitable
def is_settled(shared: Any, tensor: Any) -> Any:
    """Whether a Tensor's place is the one that it has: see `tensor.place_of`."""
    spec = load64(tensor + shared[SPEC_SLOT])
    view = load64(tensor + shared[EXTRA_SLOT])
    return load64(spec + shared[SPECIAL_SLOT]) != shared[TRUE] or (
        load64(spec + shared[INFERENCE_SLOT]) != shared[TRUE]
        and (
            view == 0
            or load64(load64(view + shared[ROOT_SLOT]) + shared[PLACE_SLOT])
            == load64(view + shared[ROOT_PLACE_SLOT])
        )
    )
