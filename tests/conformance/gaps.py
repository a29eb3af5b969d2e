"""Rows of torch's table of operators that are known not to agree, and why.

A row stands for all of its dtypes, or for one: ``"special.zeta-float32"``. ``"special.zeta-bad"``
is its bad input. Strictly: a row that begins to agree fails the run, and is to be taken out.
"""

from __future__ import annotations

GAPS: dict[str, str] = {}
