"""Rows by number, float32: an embedding of 50,000 x 64, looked up 4,096 times; index_add."""

from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

ROWS, WIDTH, LOOKUPS, BASE = 50_000, 64, 4_096, 1_000
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.standard_normal((ROWS, WIDTH), dtype=np.float32)
NUMBERS = RANDOM.zipf(1.2, LOOKUPS) % ROWS
"""Often the same, as words are in a text."""
START = RANDOM.standard_normal((BASE, WIDTH), dtype=np.float32)
ADDED = RANDOM.standard_normal((LOOKUPS, WIDTH), dtype=np.float32)
PLACES = NUMBERS % BASE
REPEATS = 5


def embedding(tg: Any) -> Program:
    table = tg.tensor(TABLE, requires_grad=True)
    numbers = tg.tensor(NUMBERS)
    look_up = tg.nn.functional.embedding
    return training(tg, [table], lambda: look_up(numbers, table).square().sum(), repeats=REPEATS)


def index_add(tg: Any) -> Program:
    start, added = (tg.tensor(array, requires_grad=True) for array in (START, ADDED))
    places = tg.tensor(PLACES)

    def loss_of() -> Any:
        return tg.index_add(start, 0, places, added).square().sum()

    return training(tg, [start, added], loss_of, repeats=REPEATS)


def embedding_loss(xp: Any, table: Any) -> Any:
    return xp.sum(table[NUMBERS] ** 2)


def index_add_loss(xp: Any, start: Any, added: Any) -> Any:
    return xp.sum(start.at[PLACES].add(added) ** 2)


def index_add_with_jax() -> Program:
    return numpy_like.with_jax(index_add_loss, [START, ADDED], repeats=REPEATS)


PHASES = (Row("forward", "us", 1e3), Row("backward", "us", 1e3), Row("all", "us", 1e3, goal=0.8))
EMBEDDING = Workload(
    "embedding",
    PHASES,
    embedding,
    numpy_like.peers(embedding_loss, [TABLE], repeats=REPEATS),
    large=True,
)
INDEX_ADD = Workload("index-add", PHASES, index_add, {"jax": index_add_with_jax}, large=True)
