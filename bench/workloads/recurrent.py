"""`nn.LSTM` and `nn.GRU`: 100 steps, 64 hidden units, a batch of 16, float32.

The sizes of `lstm`, where the steps are written by hand.
"""

from functools import partial
from typing import Any

import numpy as np

from bench.harness import Program, training
from bench.workload import Row, Workload
from bench.workloads.lstm import BATCH, HIDDEN, data


def recurrent(kind: str, tg: Any, batch: int = BATCH) -> Program:
    layer = getattr(tg.nn, kind)(HIDDEN, HIDDEN)
    random = np.random.default_rng(0)
    leaves = list(layer.parameters())
    with tg.no_grad():
        for leaf in leaves:
            values = random.standard_normal(tuple(leaf.shape)) / HIDDEN**0.5
            leaf.copy_(tg.tensor(values.astype(np.float32)))
    inputs = tg.tensor(data(batch))

    def loss_of() -> Any:
        out, _ = layer(inputs)
        return (out * out).mean()

    return training(tg, leaves, loss_of)


ROWS = (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=1.0))
LSTM = Workload("nn-lstm", ROWS, partial(recurrent, "LSTM"), large=True)
GRU = Workload("nn-gru", ROWS, partial(recurrent, "GRU"), large=True)
