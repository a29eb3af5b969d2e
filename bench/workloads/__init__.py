"""What is measured, by name, in the order of the report.

Most are a `Workload`: one program over a torch-like namespace `tg`, and programs of their own for
other peers. To add one, write a file beside this one and name it in `WORKLOADS`; to add a peer to a
workload, add an entry to its `peers`.
"""

from collections.abc import Callable

from bench import memory, startup
from bench.figures import Figure
from bench.session import Session
from bench.workloads import chain, fields, scalars, seed

WORKLOADS: dict[str, Callable[[Session], list[Figure]]] = {
    "chain": chain.WORKLOAD.run,
    "seed": seed.WORKLOAD.run,
    "scalars": scalars.TENSORS.run,
    "scalars-numbers": scalars.NUMBERS.run,
    "fields": fields.run,
    "memory": memory.run,
    "startup": startup.run,
}
