"""Random numbers: small and large draws, a shuffle, dropout. They are torch's, bit for bit."""

from collections.abc import Callable
from typing import Any

from bench.harness import Gradients, Program, clock
from bench.workload import Row, Workload

#: Draws of a sample by the elements that they have.
REPEATS = {10: 200, 1_000: 100, 100_000: 5}


def tasks(tg: Any) -> dict[str, tuple[int, Callable[[], Any]]]:
    """What is timed, by the names of rows, each with its number of elements."""
    wide = tg.zeros(1_000)
    made: dict[str, tuple[int, Callable[[], Any]]] = {}
    for size in REPEATS:
        made[f"rand {size}"] = size, lambda size=size: tg.rand(size)
        made[f"randn {size}"] = size, lambda size=size: tg.randn(size)
    made["randn 100000, float64"] = 100_000, lambda: tg.randn(100_000, dtype=tg.float64)
    made["randint 1000"] = 1_000, lambda: tg.randint(0, 10, (1_000,))
    made["randperm 1000"] = 1_000, lambda: tg.randperm(1_000)
    made["dropout 1000"] = 1_000, lambda: tg.nn.functional.dropout(wide)
    return made


def program(tg: Any) -> Program:
    timed = tasks(tg)

    def sample() -> dict[str, float]:
        spent = {}
        for name, (size, task) in timed.items():
            start = clock.now()
            for _ in range(REPEATS[size]):
                task()
            spent[name] = (clock.now() - start) / REPEATS[size]
        return spent

    def drawn() -> Gradients:
        tg.manual_seed(0)
        return [task().double().numpy() for _, task in timed.values()]

    return Program(sample, drawn)


NAMES = (
    *(f"{name} {size}" for size in REPEATS for name in ("rand", "randn")),
    *("randn 100000, float64", "randint 1000", "randperm 1000", "dropout 1000"),
)
WORKLOAD = Workload("random", tuple(Row(name, "us", 1e3) for name in NAMES), program)
