"""torch.func, as far as it is here: `jvp`, forward-mode differentiation."""

from tapegrad.autograd.forward import jvp

__all__ = ["jvp"]
