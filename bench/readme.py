"""The table of the README, from a stored run.

python -m bench --json run.json
python -m bench.readme run.json
"""

import json
import sys
from pathlib import Path

from bench.figures import Figure, short

#: What the README shows of a workload's rows, in its order.
ROWS = (
    ("20,000 multiplies on 10 float64, forward, per operation", "chain", "forward"),
    ("the same, backward, per record", "chain", "backward"),
    ("1,000 mixed operations on 10 float64, forward, per operation", "small", "forward"),
    ("the same, backward, per record", "small", "backward"),
    ("20,000 mixed 0-d operations, forward, per operation", "scalars", "forward"),
    ("the same, backward, per record", "scalars", "backward"),
    ("linear layer + BCE with logits, forward and backward", "seed", "step"),
    ("1,000,000 records alone in a process: recording, each", "memory", "record"),
    ("the same: peak memory", "memory", "peak"),
    ("a new process up to its first gradient", "startup", "first gradient, warm cache"),
    (
        "the same with an empty kernel cache (it compiles nothing yet)",
        "startup",
        "first gradient, empty cache",
    ),
    ("importing, against `import numpy`", "startup", "import"),
    (
        "`(tanh(x*w+b)*sigmoid(x)+exp(-x*x)).sum()` of 4,000,000 float32",
        "large-float32",
        "all",
    ),
    ("the same in float64", "large-float64", "all"),
    ("a step of an MLP 784-256-128-10, batch 128", "mlp-128", "all"),
    ("the same, batch 8", "mlp-8", "all"),
    ("a linear layer 784-256 without gradients, 8 rows", "matrices", "8 rows, 784 to 256"),
    ("the same, 128 rows", "matrices", "128 rows, 784 to 256"),
    ("a step of a convolutional network, 64 images of 28 x 28", "lenet", "all"),
    ("a step of a GPT block (64 wide, 4 heads, 64 long, batch 8)", "gpt", "all"),
    ("the same by `scaled_dot_product_attention`", "gpt-sdpa", "all"),
    ("growth of the peak memory by such steps", "footprint", "peak growth, gpt"),
    ("an LSTM written by hand, 100 steps", "lstm", "all"),
    ("`nn.LSTM`, 100 steps (64 wide, batch 16)", "nn-lstm", "all"),
    ("`nn.LSTMCell`, the same", "nn-lstm-cell", "all"),
    ("`nn.GRU`, the same", "nn-gru", "all"),
    ("the Rosenbrock function of 1,000 numbers, value and gradient", "rosenbrock", "evaluation"),
    ("logistic regression, value and gradient", "regression", "evaluation"),
    ("the gradient through 1,000 Runge-Kutta steps", "lotka", "all"),
    ("embedding of 4,096 words of 64 out of 50,000", "embedding", "all"),
    ("`index_add` of such rows", "index-add", "all"),
    ("the Hessian of a small MLP", "derivatives", "hessian"),
    ("its product with a vector", "derivatives", "hvp"),
    (
        "gradients of a network for each of the samples, by `vmap(grad)`",
        "functions",
        "per-sample gradients",
    ),
    ("100,000 normal random numbers", "random", "randn 100000"),
    ("10 of them", "random", "randn 10"),
)


def line(text: str, figure: Figure) -> str:
    """A row: what it is, both times, the ratio with its range, and the goal."""
    ratio = figure.ratio(figure.subject)
    unit = figure.unit.partition("/")[0]
    times = [figure.median(name) for name in (figure.baseline, figure.subject)]
    shown = ["" if time is None else f"{short(time)} {unit}" for time in times]
    goal = "" if figure.goal is None else f"{figure.goal:g}"
    if figure.verdict() == "missed":
        goal += ", missed"
    return f"| {text} | {shown[0]} | {shown[1]} | {ratio or ''} | {goal} |"


def main() -> None:
    stored = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["figures"]
    figures = map(Figure.from_json, stored)
    by_row = {(f.workload, f.row): f for f in figures if not f.column}
    print("| | torch | tapegrad | ratio | goal |\n| --- | --- | --- | --- | --- |")
    for text, workload, row in ROWS:
        if (workload, row) in by_row:
            print(line(text, by_row[workload, row]))


if __name__ == "__main__":
    main()
