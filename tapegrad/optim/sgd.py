"""Gradient descent, with momentum, averaged, and by signs alone."""

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

__all__ = ["ASGD", "SGD", "Rprop"]


class SGD(Optimizer):
    """``x -= lr * g``, or with momentum ``x -= lr * b``, ``b`` being a running sum of gradients.

    With ``nesterov`` (Sutskever et al. 2013) ``x -= lr * (g + momentum * b)``. Weight decay adds
    ``weight_decay * x`` to the gradient, and ``maximize`` negates it, here as in the others.
    """

    fused_name = "sgd_update"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        **options: Any,
    ) -> None:
        check_settings({"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening}
        defaults |= {"weight_decay": weight_decay, "nesterov": nesterov}
        defaults |= flags(("maximize", "foreach", "differentiable", "fused"), options)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if group["momentum"]:
            state["momentum_buffer"] = zeros_as(parameter)

    def _fused_state(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _fused_numbers(
        self, state: dict[str, Any], group: dict[str, Any], first: bool
    ) -> tuple[float, ...]:
        fresh = 1 if first else 1 - group["dampening"]
        sign = -1.0 if group["maximize"] else 1.0
        factors = (float(group["lr"]), group["momentum"], fresh, group["weight_decay"])
        return (*factors, sign, group["nesterov"])

    def _first_update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        if group["momentum"]:
            np.copyto(as_real(state["momentum_buffer"]._array), g)
            if group["nesterov"]:
                g = g + group["momentum"] * g
        x -= float(group["lr"]) * g

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        momentum = group["momentum"]
        if momentum:
            b = as_real(state["momentum_buffer"]._array)
            b *= momentum
            b += g * (1 - group["dampening"]) if group["dampening"] else g
            g = g + momentum * b if group["nesterov"] else b
        x -= float(group["lr"]) * g


class Rprop(Optimizer):
    """Steps of their own size for each element, which signs change (Riedmiller & Braun 1993)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        **options: Any,
    ) -> None:
        check_settings({"lr": lr})
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes}
        defaults |= flags(("foreach", "maximize", "differentiable", "capturable"), options)
        super().__init__(params, defaults)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        sizes = zeros_as(parameter)
        as_real(sizes._array)[...] = float(group["lr"])
        state |= {"step": number(), "prev": zeros_as(parameter), "step_size": sizes}

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        next_step(state)
        previous, sizes = as_real(state["prev"]._array), as_real(state["step_size"]._array)
        agreement = previous * g
        less, more = group["etas"]
        sizes *= np.where(agreement > 0, more, np.where(agreement < 0, less, 1.0)).astype(x.dtype)
        np.clip(sizes, *group["step_sizes"], out=sizes)
        np.copyto(previous, g)
        previous[agreement < 0] = 0
        x -= np.sign(previous) * sizes


class ASGD(Optimizer):
    """Gradient descent with averages of the parameters in its state (Polyak & Juditsky 1992)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_settings({"lr": lr, "weight_decay": weight_decay})
        defaults: dict[str, Any] = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0}
        defaults |= {"weight_decay": weight_decay, "foreach": foreach, "maximize": maximize}
        defaults |= {"differentiable": differentiable, "capturable": capturable}
        super().__init__(params, defaults)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state |= {"step": number(), "eta": number(float(group["lr"])), "mu": number(1.0)}
        state["ax"] = zeros_as(parameter)

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        eta, mu = float(state["eta"]), float(state["mu"])
        average = as_real(state["ax"]._array)
        lambd, lr = group["lambd"], float(group["lr"])
        x *= 1 - lambd * eta
        x -= g * eta
        if mu == 1:
            np.copyto(average, x)
        else:
            average += (x - average) * mu
        state["eta"]._array[...] = lr / (1 + lambd * lr * step) ** group["alpha"]
        state["mu"]._array[...] = 1 / max(1, step - group["t0"])
