"""20,000 operations on 0-d float64 tensors: arithmetic in scalars, as an ODE or a filter has it.

Five operations are repeated. Near 0 they are together almost the identity, so the derivative of all
20,000 stays close to 1 instead of vanishing.
"""

from collections.abc import Sequence
from typing import Any

from bench.harness import Gradients, Program, forward_backward, take_gradients
from bench.workload import Row, Workload

TURNS = 4_000
OPERATIONS = 5 * TURNS
START, FACTOR, OFFSET = 0.01, 1.001, 1e-7


def loop(tg: Any, x: Any, operands: tuple[Any, Any, Any], leaves: Sequence[Any]) -> Program:
    """multiply, add, sin, tanh, divide, in turn, with the given factor, offset and divisor."""
    sin, tanh = tg.sin, tg.tanh
    factor, offset, divisor = operands

    def forward() -> Any:
        y = x
        for _ in range(TURNS):
            y = y * factor
            y = y + offset
            y = sin(y)
            y = tanh(y)
            y = y / divisor
        return y

    def backward(y: Any) -> None:
        y.backward()

    def collect() -> Gradients:
        return take_gradients(leaves)

    return forward_backward(forward, backward, collect)


def with_tensors(tg: Any) -> Program:
    """Operands are 0-d tensors; the factor, used 4,000 times, has a gradient too."""
    x = tg.tensor(START, dtype=tg.float64, requires_grad=True)
    factor = tg.tensor(FACTOR, dtype=tg.float64, requires_grad=True)
    offset = tg.tensor(OFFSET, dtype=tg.float64)
    divisor = tg.tensor(FACTOR, dtype=tg.float64)
    return loop(tg, x, (factor, offset, divisor), [x, factor])


def with_numbers(tg: Any) -> Program:
    """Operands are Python numbers."""
    x = tg.tensor(START, dtype=tg.float64, requires_grad=True)
    return loop(tg, x, (FACTOR, OFFSET, FACTOR), [x])


ROWS = (
    Row("forward", "ns/op", OPERATIONS, goal=0.45),
    Row("backward", "ns/record", OPERATIONS, goal=0.03),
    Row("free", "ns/record", OPERATIONS),
    Row("all", "ns/op", OPERATIONS),
)
TENSORS = Workload("scalars", ROWS, with_tensors)
NUMBERS = Workload("scalars-numbers", ROWS, with_numbers)
