"""Common operators one by one, on 10, 1,000 and 1,000 x 1,000 elements, float32 and float64.

`x` has no ties in a row, `p` is positive, `c` has one column; `mask` and `index` have x's shape. An
operator is a line of `OPERATORS`; to measure one more, add its line. Each has its forward and its
backward, given an adjoint.
"""

import gc
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from bench.figures import Figure
from bench.harness import Program, forward_backward, take_gradients
from bench.session import Session, load
from bench.workload import Row, Workload

OPERATORS = (
    "x + y",
    "x * y",
    "x / p",
    "x * c",
    "x + 1",
    "x**2",
    "p**y",
    "-x",
    "x.abs()",
    "x.exp()",
    "p.log()",
    "p.log1p()",
    "p.sqrt()",
    "p.rsqrt()",
    "x.sin()",
    "x.tanh()",
    "x.sigmoid()",
    "x.erf()",
    "x.atan2(y)",
    "F.relu(x)",
    "F.leaky_relu(x)",
    "F.elu(x)",
    "F.gelu(x)",
    "F.silu(x)",
    "F.softplus(x)",
    "x.clamp(-1, 1)",
    "tg.maximum(x, y)",
    "tg.where(mask, x, y)",
    "x.masked_fill(mask, 0)",
    "x.lerp(y, 0.3)",
    "x.sum()",
    "x.sum(-1)",
    "x.mean(0)",
    "x.var(-1)",
    "x.norm()",
    "p.prod(-1)",
    "x.amax(-1)",
    "x.max(-1)[0]",
    "x.cumsum(-1)",
    "x.logsumexp(-1)",
    "F.softmax(x, -1)",
    "F.log_softmax(x, -1)",
    "x @ y",
    "x.sort(-1)[0]",
    "x.topk(5)[0]",
    "x.gather(-1, index)",
    "x[..., ::2]",
    "tg.cat([x, y], -1)",
    "x.flip(-1)",
    "F.pad(x, (1, 1))",
    "F.rms_norm(x, x.shape[-1:])",
    "F.avg_pool1d(x[None], 2)",
    "F.mse_loss(x, y)",
    "F.huber_loss(x, y)",
    "F.binary_cross_entropy_with_logits(x, mask.to(x.dtype))",
)
LEAVES = ("x", "y", "p", "c")
SHAPES = {"10": (10,), "1000": (1_000,), "1M": (1_000, 1_000)}
DTYPES = (np.float32, np.float64)
TURNS = {"10": 100, "1000": 50, "1M": 1}
ROWS = (Row("forward", "us", 1e3), Row("backward", "us", 1e3))


@cache
def arrays(shape: tuple[int, ...], dtype: type) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    normal = partial(random.standard_normal, dtype=dtype)
    steps = np.broadcast_to(np.linspace(-3, 3, shape[-1]), shape)
    return {
        "x": random.permuted(steps, axis=-1).astype(dtype, order="C"),
        "y": normal(shape),
        "p": random.uniform(0.5, 1.5, shape).astype(dtype),
        "c": normal((*shape[:-1], 1)),
        "mask": random.random(shape) < 0.5,
        "index": random.integers(0, shape[-1], shape),
    }


def program(operator: str, size: str, dtype: type, tg: Any) -> Program:
    """One operator: its value, and its backward from a random adjoint."""
    names: dict[str, Any] = {"tg": tg, "F": tg.nn.functional}
    for name, array in arrays(SHAPES[size], dtype).items():
        names[name] = tg.tensor(array, requires_grad=name in LEAVES)
    forward = eval(f"lambda: {operator}", names)
    leaves = [names[name] for name in forward.__code__.co_names if name in LEAVES]
    random = np.random.default_rng(1)
    out_bar = tg.tensor(np.asarray(random.standard_normal(tuple(forward().shape)), dtype))

    def backward(out: Any) -> None:
        out.backward(out_bar)

    def clear() -> None:
        for leaf in leaves:
            leaf.grad = None

    collect = partial(take_gradients, leaves)
    return forward_backward(forward, backward, collect, clear=clear, repeats=TURNS[size])


def run(size: str, session: Session) -> list[Figure]:
    """All operators of one size: a line each, by dtype and phase."""
    for module in session.torch_like.values():
        load(module)
    gc.freeze()  # the libraries' own objects: looking at them again would take most of the time
    try:
        return [
            figure
            for operator in OPERATORS
            for dtype in DTYPES
            for figure in measured(operator, size, dtype, session)
        ]
    finally:
        gc.unfreeze()


def measured(operator: str, size: str, dtype: type, session: Session) -> list[Figure]:
    name, kind = f"operators-{size}", np.dtype(dtype).name
    build = partial(program, operator, size, dtype)
    workload = Workload(f"{name} {operator} {kind}", ROWS, build, large=size == "1M")
    return [
        replace(figure, workload=name, row=operator, column=f"{kind} {figure.row}")
        for figure in workload.run(session)
    ]
