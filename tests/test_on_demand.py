"""What an import leaves for later, and that it is there when somebody asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tapegrad as tg
from tapegrad import operators
from tapegrad.rules import ondemand


def run(program):
    """What a program prints in a process of its own, where nothing is loaded yet."""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def test_an_import_leaves_most_for_later():
    loaded = run("import sys, tapegrad; print(*sys.modules)").split()
    later = {"numba", "scipy", "tapegrad.rules.ondemand", "tapegrad.kernels", "tapegrad.printing",
             "tapegrad.func", "tapegrad.optim", "tapegrad.sparse", "tapegrad.testing",
             "tapegrad.nn.modules", "tapegrad.batching", "tapegrad.stats"}  # fmt: skip
    assert not later & set(loaded)


@pytest.mark.parametrize(
    "program",
    [
        "import tapegrad; f = tapegrad.conv2d",
        "from tapegrad import conv2d as f",
        "from tapegrad import *; f = conv2d",
        "import tapegrad; assert 'conv2d' in dir(tapegrad); f = tapegrad.conv2d",
        "import tapegrad.nn.functional as F; f = F.conv2d",
        "from tapegrad.nn.functional import conv2d as f",
        "from tapegrad.nn.functional import *; f = conv2d",
        "import tapegrad; f = tapegrad.fft.fft",
        "import tapegrad.fft; f = tapegrad.fft.rfftfreq",
        "from tapegrad.fft import fft as f",
        "import tapegrad.masked; f = tapegrad.masked.softmax",
        "from tapegrad.special import hermite_polynomial_h as f",
        "import tapegrad; f = tapegrad.linalg.ldl_factor",
        "import tapegrad; f = tapegrad.nn.Conv2d(1, 1, 1)",
    ],
)
def test_a_function_is_there_however_it_is_asked_for(program):
    assert run(f"{program}; print(callable(f))") == "True"


def test_a_name_that_nobody_has_is_an_error():
    asked = "tapegrad", "tapegrad.fft", "tapegrad.nn.functional"
    for module in asked:
        program = f"import tapegrad\ntry: {module}.nothing\nexcept AttributeError as e: print(e)"
        assert run(program) == f"module {module!r} has no attribute 'nothing'"


def test_machine_code_stands_for_functions_that_came_later():
    program = """
import tapegrad as tg
x = tg.tensor([0.5, -2.0], requires_grad=True)
tg.nn.functional.logsigmoid(x).sum().backward()
early, x.grad = x.grad, None
from tapegrad.loading import load_native
assert load_native()
tg.nn.functional.logsigmoid(x).sum().backward()
print((early == x.grad).all().item())
"""
    assert run(program) == "True"


def test_a_persons_primitive_is_no_function_of_ours():
    program = """
import numpy as np, tapegrad as tg
@tg.primitive
def nearly(x):
    return np.spacing(x)
tg.fft.fft
print(hasattr(tg, "nearly"))
"""
    assert run(program) == "False"


def test_families_on_demand_have_no_methods():
    for operator in ondemand.operators:
        assert not operator.method, operator.name
        assert not operator.inplace, operator.name
        assert not operator.numpy, operator.name
    for primitive in ondemand.primitives:
        names = {name for name in primitive.aliases if "." not in name}
        assert not names, primitive.name
        assert primitive.hidden or not primitive.elementwise, primitive.name


def test_all_namespaces_are_there_from_the_start():
    assert set(operators.modules) == {"", "fft", *tg._NAMESPACES}
