"""torch.nn, as far as tapegrad has it.

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""

from tapegrad.nn import functional as functional
