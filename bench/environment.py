"""The conditions of a measurement: threads for everyone, and a description of the machine.

BLAS and OpenMP read their variables once, when NumPy or torch is first imported, so `limit_threads`
must run before that. Processes started later inherit what it sets.
"""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

# These make OpenBLAS run another processor's kernels than those of the one at hand.
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def limit_threads(count: int) -> None:
    """Let every library have so many threads, in this process and in its children."""
    if "numpy" in sys.modules:
        raise RuntimeError("NumPy is already imported: its BLAS has chosen its threads")
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    if count == 1:
        os.environ["XLA_FLAGS"] = XLA_ONE_THREAD
    for name in BLAS_OVERRIDES:
        os.environ.pop(name, None)
    # Without bytecode on disk a start would measure Python's compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def processor() -> str:
    """The processor's name, as good as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def version(distribution: str) -> str:
    """The installed version, "source" for a package that is only on the path."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "source"


def describe(libraries: list[str], threads: int) -> dict[str, str]:
    """What a reader of the figures must know about where they come from."""
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores; threads: {threads}",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **{name: version(name) for name in ["numpy", "numba", *libraries]},
    }
