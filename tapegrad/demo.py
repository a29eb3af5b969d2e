"""A linear layer, its loss and their gradients: ``python -m tapegrad.demo``, or ``make demo``."""

from __future__ import annotations

import tapegrad as torch

__all__ = ["main"]


def main() -> None:
    """Run the job of notebooks/01_autograd.ipynb and print what happens."""
    torch.manual_seed(0)
    x = torch.ones(5)
    y = torch.zeros(3)
    w = torch.randn(5, 3, requires_grad=True)
    b = torch.randn(3, requires_grad=True)
    z = torch.matmul(x, w) + b
    loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y)

    print("A linear layer z = x w + b with a binary cross entropy on its logits.\n")
    print("loss =", loss)
    print(f"Gradient function for z    = {z.grad_fn}")
    print(f"Gradient function for loss = {loss.grad_fn}")

    print("\nThe tape, as a Wengert list:\n")
    print(torch.tape)

    loss.backward()
    print("\nReplayed in reverse it gives the gradients of the loss:\n")
    print(f"w.grad\n{w.grad}\n\nb.grad\n{b.grad}")

    z = torch.matmul(x, w) + b
    print(f"\nz requires grad:                        {z.requires_grad}")
    with torch.no_grad():
        z = torch.matmul(x, w) + b
    print(f"z computed under no_grad requires grad: {z.requires_grad}")

    inp = torch.eye(5, requires_grad=True)
    out = (inp + 1).pow(2)
    print("\nA product with the Jacobian of (inp + 1) ** 2, which accumulates in inp.grad:")
    out.backward(torch.ones_like(inp), retain_graph=True)
    print(f"\nFirst call\n{inp.grad}")
    out.backward(torch.ones_like(inp), retain_graph=True)
    print(f"\nSecond call\n{inp.grad}")
    assert inp.grad is not None
    inp.grad.zero_()
    out.backward(torch.ones_like(inp), retain_graph=True)
    print(f"\nCall after zeroing gradients\n{inp.grad}")

    print(
        "\nWhere to go next:\n"
        "  notebooks/01_autograd.ipynb   the same, step by step\n"
        "  tapegrad/tape.py              what a record is; tapegrad/replay.py: the backward pass\n"
        "  tapegrad/rules/               every operator: its forward function and its derivative\n"
        "  make test, make bench         the tests, and the figures against torch"
    )


if __name__ == "__main__":
    main()
