"""The committed stubs are those that the registry gives."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

from tests.write_stubs import HERE, STUBS, formatted

# In a process of its own: here machine code may stand for functions whose signatures are read.
PROGRAM = """
import json
from tests.write_stubs import STUBS
print(json.dumps({name: make() for name, make in STUBS.items()}))
"""


@functools.cache
def stubs():
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, cwd=HERE.parent, capture_output=True, check=True, text=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", STUBS)
def test_stubs_are_up_to_date(name):
    pytest.importorskip("ruff")
    written = (HERE / name).read_text(encoding="utf-8")
    # Both formatted, so that another release of ruff makes no difference.
    assert formatted(written) == formatted(stubs()[name]), "run `make stubs`"
