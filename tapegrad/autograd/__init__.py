"""torch.autograd: derivatives of what the tape has recorded."""

from tapegrad.autograd import function
from tapegrad.autograd.engine import backward, grad
from tapegrad.autograd.function import Function

__all__ = ["Function", "backward", "function", "grad"]
