"""torch.linalg, as far as tapegrad has it.

Written by ``make stubs`` (``python -m tests.write_stubs``) from the registry: don't edit.
"""

from builtins import bool as _bool
from typing import Any

def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: _bool = False, *, dtype: Any = None
) -> Any: ...
