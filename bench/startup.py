"""Start-up: how long a person waits for the import and for the first gradient.

Times are those of whole processes, with the interpreter's own start. The kernel cache is "warm"
once a process has run the same program, and "empty" when TAPEGRAD_CACHE_DIR names a directory that
was made for this one process.
"""

import ast
import tempfile
from functools import partial

from bench.figures import Figure
from bench.session import Session
from bench.subprocesses import Finished, run_python, take_turns

CACHE = "TAPEGRAD_CACHE_DIR"
FIRST_GRADIENT = """
import {module} as torch
x = torch.ones(5)
y = torch.zeros(3)
w = torch.ones(5, 3, requires_grad=True)
b = torch.ones(3, requires_grad=True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
loss.backward()
print([w.grad.tolist(), b.grad.tolist()])
"""
OUR_IMPORT, WARM, EMPTY = "import", "first gradient, warm cache", "first gradient, empty cache"
NUMPY_IMPORT, THEIR_GRADIENT = "import of numpy", "torch's first gradient"


def run_code(code: str, cache: str) -> Finished:
    """Run a program whose kernels are cached in that directory."""
    return run_python(["-c", code], {CACHE: cache})


def run_with_empty_cache(code: str) -> Finished:
    """Run a program with a kernel cache that has never been used."""
    with tempfile.TemporaryDirectory() as directory:
        return run_code(code, directory)


def run(session: Session) -> list[Figure]:
    """Three rows: the import beside NumPy's, the first gradient beside torch's, warm and cold."""
    code = FIRST_GRADIENT.format(module=session.subject_module)
    with tempfile.TemporaryDirectory() as cache:
        kinds = {
            OUR_IMPORT: partial(run_code, f"from {session.subject_module} import ones", cache),
            NUMPY_IMPORT: partial(run_code, "import numpy", cache),
            WARM: partial(run_code, code, cache),
            EMPTY: partial(run_with_empty_cache, code),
        }
        if "torch" in session.peers:
            kinds[THEIR_GRADIENT] = partial(run_code, FIRST_GRADIENT.format(module="torch"), cache)
        outcomes, errors = take_turns(kinds, session.processes)
    for kind, error in errors.items():
        session.fail("startup", kind, error)
    for kind in (WARM, EMPTY):
        if not same_gradients(outcomes.get(kind), outcomes.get(THEIR_GRADIENT)):
            session.fail("startup", kind, "the gradients aren't torch's")
            outcomes[kind] = []
    seconds = {
        kind: [finished.nanoseconds / 1e9 for finished in taken] for kind, taken in outcomes.items()
    }
    return [
        Figure(
            "startup",
            kind,
            "s",
            {session.subject: seconds.get(kind, []), baseline: seconds.get(baseline_kind, [])},
            session.subject,
            baseline,
            goal,
        )
        for kind, baseline, baseline_kind, goal in (
            (OUR_IMPORT, "numpy", NUMPY_IMPORT, 1.5),
            (WARM, "torch", THEIR_GRADIENT, 0.5),
            (EMPTY, "torch", THEIR_GRADIENT, 3.0),
        )
    ]


def same_gradients(ours: list[Finished] | None, theirs: list[Finished] | None) -> bool:
    """Whether the first processes printed the same gradients; True if one of them is missing."""
    import numpy as np

    if not ours or not theirs:
        return True
    pairs = zip(ast.literal_eval(ours[0].output), ast.literal_eval(theirs[0].output), strict=True)
    return all(np.allclose(one, other, rtol=1e-5, atol=0.0) for one, other in pairs)
