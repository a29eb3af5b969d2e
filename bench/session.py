"""One run of the benchmarks: which libraries take part, how often, and what went wrong."""

import importlib
from dataclasses import dataclass, field
from typing import Any

TORCH_LIKE = ("tapegrad", "torch")
"""Libraries that run a workload's one program; any other peer needs a program of its own."""

PEERS = ("torch", "jax", "autograd", "mygrad")


@dataclass
class Session:
    """Libraries are named by their labels: the subject first, then the peers."""

    subject: str
    subject_module: str
    peers: tuple[str, ...]
    rounds: int
    processes: int
    torch_threads: int = 1
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def torch_like(self) -> dict[str, str]:
        """Label -> module, of the libraries with torch's API."""
        peers = {name: name for name in self.peers if name in TORCH_LIKE}
        return {self.subject: self.subject_module, **peers}

    @property
    def others(self) -> list[str]:
        return [name for name in self.peers if name not in TORCH_LIKE]

    def note(self, text: str) -> None:
        """Tell the reader, once, after the tables."""
        if text not in self.notes:
            self.notes.append(text)

    def fail(self, workload: str, label: str, error: BaseException | str) -> None:
        """Tell of a library that can't run a workload or is wrong: the run's status is 1."""
        kind = "" if isinstance(error, str) else f"{type(error).__name__}: "
        self.failures.append(f"{workload}, {label}: {kind}{error}")


def load(module: str) -> Any:
    """Import a torch-like library, limit it to one thread, and begin with an empty tape.

    tapegrad loads its compiled code when a process has replayed some thousands of records; here it
    does so at once, lest that happen in the middle of a row.
    """
    library = importlib.import_module(module)
    if hasattr(library, "set_num_threads"):
        library.set_num_threads(1)
    if warmup := getattr(library, "warmup", None):
        warmup()
    free_tape(library)
    return library


def free_tape(library: Any) -> None:
    """Free the dead records that tapegrad would otherwise free as its tape grows."""
    tape = getattr(library, "tape", None)
    if tape is not None:
        tape.sweep(full=True)
