"""`nn.LSTM`, `nn.GRU` and their cells: 100 steps, 64 hidden units, a batch of 16, float32.

The sizes of `lstm`, where the steps are written by hand.
"""

from functools import partial
from typing import Any

import numpy as np

from bench.harness import Program, training
from bench.workload import Row, Workload
from bench.workloads.lstm import BATCH, HIDDEN, data


def layer_of(kind: str, tg: Any) -> tuple[Any, list[Any]]:
    layer = getattr(tg.nn, kind)(HIDDEN, HIDDEN)
    random = np.random.default_rng(0)
    leaves = list(layer.parameters())
    with tg.no_grad():
        for leaf in leaves:
            values = random.standard_normal(tuple(leaf.shape)) / HIDDEN**0.5
            leaf.copy_(tg.tensor(values.astype(np.float32)))
    return layer, leaves


def recurrent(kind: str, tg: Any, batch: int = BATCH) -> Program:
    layer, leaves = layer_of(kind, tg)
    inputs = tg.tensor(data(batch))

    def loss_of() -> Any:
        out, _ = layer(inputs)
        return (out * out).mean()

    return training(tg, leaves, loss_of)


def cells(kind: str, tg: Any, batch: int = BATCH) -> Program:
    cell, leaves = layer_of(kind, tg)
    inputs = list(tg.tensor(data(batch)))

    def loss_of() -> Any:
        state: Any = None
        for x in inputs:
            state = cell(x, state)
        out = state[0] if kind == "LSTMCell" else state
        return (out * out).mean()

    return training(tg, leaves, loss_of)


ROWS = (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=1.0))
LSTM = Workload("nn-lstm", ROWS, partial(recurrent, "LSTM"), large=True)
GRU = Workload("nn-gru", ROWS, partial(recurrent, "GRU"), large=True)
LSTM_CELL = Workload("nn-lstm-cell", ROWS, partial(cells, "LSTMCell"), large=True)
GRU_CELL = Workload("nn-gru-cell", ROWS, partial(cells, "GRUCell"), large=True)
