"""What all tests share: where kernels are cached, how many examples hypothesis tries."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent

# One cache of compiled kernels for all workers and runs, apart from the user's own. The library
# reads the variable; workers and subprocesses inherit it. `make clean` empties the cache.
os.environ.setdefault("TAPEGRAD_CACHE_DIR", str(HERE.parent / ".cache" / "kernels"))

from tapegrad.operators import load_rest  # noqa: E402 - after the variable

# No deadline, and slow generation is fine: the first example of a test may compile its kernels.
COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow],
}
settings.register_profile("dev", max_examples=25, **COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, **COMMON)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "dev")

# Tests of every primitive and function want them all; tests/test_on_demand.py runs programs of its
# own.
load_rest()

#: What can't be imported without these.
NEEDS = {"torch": "conformance", "mpmath": "fit_polynomials.py"}
collect_ignore = [path for name, path in NEEDS.items() if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in tests/conformance, so that a test elsewhere needs but the same mark."""
    for item in items:
        if HERE / "conformance" in item.path.parents:
            item.add_marker(pytest.mark.torch)


@pytest.fixture(params=["tapegrad", pytest.param("torch", marks=pytest.mark.torch)])
def lib(request: pytest.FixtureRequest) -> object:
    """tapegrad, and torch where it is installed: the same test for both."""
    return pytest.importorskip(request.param)
