"""torch.autograd: derivatives of what the tape has recorded."""

from tapegrad.autograd.engine import backward, grad
from tapegrad.autograd.gradcheck import gradcheck, gradgradcheck

__all__ = ["backward", "grad", "gradcheck", "gradgradcheck"]
