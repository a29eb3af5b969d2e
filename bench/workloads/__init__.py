"""What is measured, by name, in the order of the report.

Most are a `Workload`: one program over a torch-like namespace `tg`, and programs of their own for
other peers. To add one, write a file beside this one and name it in `WORKLOADS`; to add a peer to a
workload, add an entry to its `peers`.
"""

from collections.abc import Callable
from functools import partial

from bench import footprint, memory, startup
from bench.figures import Figure
from bench.session import Session
from bench.workloads import (
    chain,
    derivatives,
    draws,
    fields,
    functions,
    gathered,
    gpt,
    large,
    lenet,
    lotka,
    lstm,
    matrices,
    minimize,
    mlp,
    operators,
    recurrent,
    scalars,
    seed,
    small,
)

PROGRAMS = (
    *(seed.WORKLOAD, small.WORKLOAD, chain.WORKLOAD, scalars.TENSORS, scalars.NUMBERS),
    *(large.FLOAT32, large.FLOAT64, mlp.BATCH_128, mlp.BATCH_8, lenet.WORKLOAD),
    *(gpt.WORKLOAD, gpt.FUSED, lstm.WORKLOAD, recurrent.LSTM, recurrent.GRU),
    *(recurrent.LSTM_CELL, recurrent.GRU_CELL),
    *(minimize.ROSENBROCK, minimize.REGRESSION),
    *(lotka.WORKLOAD, gathered.EMBEDDING, gathered.INDEX_ADD, derivatives.WORKLOAD),
)
WORKLOADS: dict[str, Callable[[Session], list[Figure]]] = {
    **{workload.name: workload.run for workload in PROGRAMS},
    "functions": functions.run,
    "matrices": matrices.run,
    "fields": fields.run,
    "random": draws.WORKLOAD.run,
    "memory": memory.run,
    "footprint": footprint.run,
    "startup": startup.run,
}
#: They take a minute or two each: measured if they are named.
OPTIONAL: dict[str, Callable[[Session], list[Figure]]] = {
    f"operators-{size}": partial(operators.run, size) for size in operators.SHAPES
}
