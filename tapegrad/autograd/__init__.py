"""torch.autograd: derivatives of what the tape has recorded."""

from tapegrad.autograd.engine import backward, grad

__all__ = ["backward", "grad"]
