"""torch.optim: optimizers, and schedules of their learning rates.

>>> import tapegrad as torch
>>> x = torch.tensor([1.0], requires_grad=True)
>>> optimizer = torch.optim.SGD([x], lr=0.1)
>>> for _ in range(3):
...     optimizer.zero_grad()
...     (x * x).sum().backward()
...     optimizer.step()
>>> x
tensor([0.5120], requires_grad=True)
"""

from tapegrad.optim import lr_scheduler
from tapegrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tapegrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from tapegrad.optim.lbfgs import LBFGS
from tapegrad.optim.optimizer import Optimizer
from tapegrad.optim.sgd import ASGD, SGD, Rprop

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
