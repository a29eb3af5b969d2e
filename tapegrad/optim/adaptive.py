"""Steps scaled by the squares of the gradients so far: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.optim.optimizer import (
    Optimizer,
    as_real,
    check_settings,
    flags,
    next_step,
    number,
    zeros_as,
)
from tapegrad.tensor import Tensor

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """``x -= lr * g / (sqrt(s) + eps)``, s the sum of all squares (Duchi, Hazan & Singer 2011)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        **options: Any,
    ) -> None:
        settings: dict[str, Any] = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        settings["initial_accumulator_value"] = initial_accumulator_value
        check_settings(settings)
        settings["foreach"] = foreach
        super().__init__(params, settings | flags(("maximize", "differentiable", "fused"), options))
        for group in self.param_groups:
            for parameter in group["params"]:
                self._start(parameter, self.state[parameter], group)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state |= {"step": number(), "sum": zeros_as(parameter)}
        as_real(state["sum"]._array)[...] = group["initial_accumulator_value"]

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        total = as_real(state["sum"]._array)
        scratch = g * g
        total += scratch
        np.sqrt(total, out=scratch)
        scratch += group["eps"]
        np.divide(g, scratch, out=scratch)
        scratch *= float(group["lr"]) / (1 + (step - 1) * group["lr_decay"])
        x -= scratch


class Adadelta(Optimizer):
    """Steps of the size of past steps, relative to that of past gradients (Zeiler 2012)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        **options: Any,
    ) -> None:
        check_settings({"lr": lr})
        if not 0 <= rho <= 1:
            raise ValueError(f"Invalid rho value: {rho}")
        settings = {"eps": eps, "weight_decay": weight_decay}
        check_settings(settings)
        chosen = flags(("maximize", "capturable", "differentiable"), options)
        defaults = {"lr": lr, "rho": rho} | settings
        defaults |= {"maximize": chosen.pop("maximize"), "capturable": chosen.pop("capturable")}
        super().__init__(params, defaults | {"foreach": foreach} | chosen)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] = number()
        state |= {"square_avg": zeros_as(parameter), "acc_delta": zeros_as(parameter)}

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        next_step(state)
        rho, eps = group["rho"], group["eps"]
        squares, steps = (as_real(state[name]._array) for name in ("square_avg", "acc_delta"))
        scratch = g * g
        scratch *= 1 - rho
        squares *= rho
        squares += scratch
        np.add(squares, eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        delta = steps + eps
        np.sqrt(delta, out=delta)
        delta /= scratch
        delta *= g
        np.multiply(delta, delta, out=scratch)
        scratch *= 1 - rho
        steps *= rho
        steps += scratch
        delta *= float(group["lr"])
        x -= delta


class RMSprop(Optimizer):
    """``x -= lr * g / (sqrt(v) + eps)``, v the running mean of the squares (Hinton 2012).

    ``centered`` subtracts the square of the mean from it; ``momentum`` averages the steps.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        settings: dict[str, Any] = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps}
        check_settings(settings | {"weight_decay": weight_decay})
        defaults = settings | {"centered": centered, "weight_decay": weight_decay}
        defaults |= {"capturable": capturable, "foreach": foreach, "maximize": maximize}
        super().__init__(params, defaults | {"differentiable": differentiable})

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state |= {"step": number(), "square_avg": zeros_as(parameter)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_as(parameter)
        if group["centered"]:
            state["grad_avg"] = zeros_as(parameter)

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        next_step(state)
        alpha = group["alpha"]
        squares = as_real(state["square_avg"]._array)
        scratch = g * g
        scratch *= 1 - alpha
        squares *= alpha
        squares += scratch
        if group["centered"]:
            mean = as_real(state["grad_avg"]._array)
            np.subtract(g, mean, out=scratch)
            scratch *= 1 - alpha
            mean += scratch
            np.multiply(mean, mean, out=scratch)
            np.subtract(squares, scratch, out=scratch)
            np.sqrt(scratch, out=scratch)
        else:
            np.sqrt(squares, out=scratch)
        scratch += group["eps"]
        np.divide(g, scratch, out=scratch)
        if group["momentum"] > 0:
            steps = as_real(state["momentum_buffer"]._array)
            steps *= group["momentum"]
            steps += scratch
            np.multiply(steps, float(group["lr"]), out=scratch)
        else:
            scratch *= float(group["lr"])
        x -= scratch
