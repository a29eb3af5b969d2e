"""The notebooks run, and print what is committed; the seed's cells print what torch prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

HERE = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))


def outputs(notebook):
    """What each code cell printed, with the numbers that differ from run to run made alike."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            printed = "".join(out.get("text", "") for out in cell.outputs)
            assert not any(out.output_type == "error" for out in cell.outputs)
            printed = re.sub(r"0x[0-9a-f]+", "0x...", printed)
            texts.append(re.sub(r"\d+\.\d{4,}", "#.####", printed))
    return texts


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs_and_prints_what_is_committed(path):
    committed = nbformat.read(path, as_version=4)
    again = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(again, timeout=300, kernel_name="python3").execute()
    assert outputs(again) == outputs(committed)


CELLS = """
import {name} as torch

x = torch.ones(5)
y = torch.zeros(3)
w = torch.randn(5, 3, requires_grad=True)
b = torch.randn(3, requires_grad=True)
z = torch.matmul(x, w) + b
loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)
print(f"Gradient function for z = {{z.grad_fn}}")
print(f"Gradient function for loss = {{loss.grad_fn}}")
loss.backward()
print(w.grad)
print(b.grad)
z = torch.matmul(x, w) + b
print(z.requires_grad)
with torch.no_grad():
    z = torch.matmul(x, w) + b
print(z.requires_grad)
z = torch.matmul(x, w) + b
z_det = z.detach()
print(z_det.requires_grad)
inp = torch.eye(5, requires_grad=True)
out = (inp+1).pow(2)
out.backward(torch.ones_like(inp), retain_graph=True)
print(f"First call\\n{{inp.grad}}")
out.backward(torch.ones_like(inp), retain_graph=True)
print(f"\\nSecond call\\n{{inp.grad}}")
inp.grad.zero_()
out.backward(torch.ones_like(inp), retain_graph=True)
print(f"\\nCall after zeroing gradients\\n{{inp.grad}}")
"""


def run(name, capsys):
    space = {}
    seeded = CELLS.format(name=name).replace("\nx = ", "\ntorch.manual_seed(7)\nx = ", 1)
    exec(seeded, space)
    return re.sub(r"0x[0-9a-f]+", "0x...", capsys.readouterr().out)


def test_the_seed_prints_its_lines(capsys):
    text = run("tapegrad", capsys)
    assert "Gradient function for z = <AddBackward0 object at 0x...>" in text
    assert "<BinaryCrossEntropyWithLogitsBackward0 object at 0x...>" in text
    assert "True\nFalse\nFalse\n" in text
    assert (
        "First call\n"
        "tensor([[4., 2., 2., 2., 2.],\n"
        "        [2., 4., 2., 2., 2.],\n"
        "        [2., 2., 4., 2., 2.],\n"
        "        [2., 2., 2., 4., 2.],\n"
        "        [2., 2., 2., 2., 4.]])\n"
    ) in text


@pytest.mark.torch
def test_the_seed_prints_what_torch_prints(capsys):
    """All of it, the random numbers too: they are torch's."""
    pytest.importorskip("torch")
    assert run("tapegrad", capsys) == run("torch", capsys)
