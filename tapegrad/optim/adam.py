"""Adam and its relatives: steps scaled by running moments of the gradient."""

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

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class Moments(Optimizer):
    """Optimizers with running means of the gradient and of its square, under two ``betas``."""

    second = "exp_avg_sq"

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["step"] = number()
        state["exp_avg"] = zeros_as(parameter)
        state[self.second] = zeros_as(parameter)

    def _moments(
        self, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The moments after a step, and an array for scratch."""
        beta1, beta2 = group["betas"]
        m, v = as_real(state["exp_avg"]._array), as_real(state["exp_avg_sq"]._array)
        scratch = np.subtract(g, m)
        scratch *= 1 - beta1
        m += scratch
        v *= beta2
        np.multiply(g, g, out=scratch)
        scratch *= 1 - beta2
        v += scratch
        return m, v, scratch


class Adam(Moments):
    """``x -= lr * m / (sqrt(v) + eps)``, moments corrected for their start (Kingma & Ba 2014).

    With ``amsgrad`` v is the largest so far (Reddi, Kale & Kumar 2018).
    """

    fused_name = "adam_update"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        decoupled_weight_decay: bool = False,
        **options: Any,
    ) -> None:
        check_settings({"lr": lr, "eps": eps, "betas": betas, "weight_decay": weight_decay})
        defaults = {"lr": lr, "betas": tuple(map(float, betas)), "eps": eps}
        defaults |= {"weight_decay": weight_decay, "amsgrad": amsgrad}
        keys = ("maximize", "foreach", "capturable", "differentiable", "fused")
        defaults |= flags(keys, options) | {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults)

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        super()._start(parameter, state, group)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_as(parameter)

    def _fused_state(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq")

    def _fused_numbers(
        self, state: dict[str, Any], group: dict[str, Any], first: bool
    ) -> tuple[float, ...]:
        step = next_step(state)
        beta1, beta2 = group["betas"]
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        apart = group["decoupled_weight_decay"]
        means = (1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** 0.5, group["eps"])
        decays = (0.0, 1 - lr * decay) if apart else (decay, 1.0)
        sign = -1.0 if group["maximize"] else 1.0
        return (lr / (1 - beta1**step), *means, *decays, sign)

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        m, v, scratch = self._moments(g, state, group)
        if group["amsgrad"]:
            largest = as_real(state["max_exp_avg_sq"]._array)
            v = np.maximum(largest, v, out=largest)
        beta1, beta2 = group["betas"]
        np.sqrt(v, out=scratch)
        scratch /= (1 - beta2**step) ** 0.5
        scratch += group["eps"]
        np.divide(m, scratch, out=scratch)
        scratch *= float(group["lr"]) / (1 - beta1**step)
        x -= scratch


class AdamW(Adam):
    """`Adam` with weight decay apart from the gradient (Loshchilov & Hutter 2019)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        options["decoupled_weight_decay"] = True
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)


class Adamax(Moments):
    """`Adam` with the maximum norm in place of the second moment (Kingma & Ba 2014)."""

    second = "exp_inf"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        **options: Any,
    ) -> None:
        check_settings({"lr": lr, "eps": eps, "betas": betas, "weight_decay": weight_decay})
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        defaults |= {"foreach": foreach}
        defaults |= flags(("maximize", "differentiable", "capturable"), options)
        super().__init__(params, defaults)

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        beta1, beta2 = group["betas"]
        m, u = as_real(state["exp_avg"]._array), as_real(state["exp_inf"]._array)
        scratch = np.subtract(g, m)
        scratch *= 1 - beta1
        m += scratch
        u *= beta2
        np.abs(g, out=scratch)
        scratch += group["eps"]
        np.maximum(u, scratch, out=u)
        np.divide(m, u, out=scratch)
        scratch *= float(group["lr"]) / (1 - beta1**step)
        x -= scratch


class NAdam(Moments):
    """`Adam` with Nesterov's momentum (Dozat 2016)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **options: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        settings["momentum_decay"] = momentum_decay
        check_settings(settings)
        keys = ("maximize", "foreach", "capturable", "differentiable")
        settings |= {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, settings | flags(keys, options))

    def _start(self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state |= {"step": number(), "mu_product": number(1.0)}
        state |= {"exp_avg": zeros_as(parameter), "exp_avg_sq": zeros_as(parameter)}

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        beta1, beta2 = group["betas"]
        mu, mu_next = (
            beta1 * (1.0 - 0.5 * 0.96 ** (time * group["momentum_decay"]))
            for time in (step, step + 1)
        )
        product = state["mu_product"]._array
        product *= mu
        m, v, scratch = self._moments(g, state, group)
        np.divide(v, 1 - beta2**step, out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += group["eps"]
        lr, of_all = float(group["lr"]), float(product)
        x -= g / scratch * (lr * (1.0 - mu) / (1.0 - of_all))
        np.divide(m, scratch, out=scratch)
        scratch *= lr * mu_next / (1.0 - of_all * mu_next)
        x -= scratch


class RAdam(Moments):
    """`Adam` that holds its scaling back until its variance is small (Liu et al. 2020)."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        **options: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        check_settings(settings)
        first = flags(("maximize", "foreach", "capturable", "differentiable"), options)
        defaults = settings | first | {"decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, defaults)

    def _update(
        self, x: np.ndarray, g: np.ndarray, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        step = next_step(state)
        beta1, beta2 = group["betas"]
        m, v, scratch = self._moments(g, state, group)
        rate = float(group["lr"]) / (1 - beta1**step)
        correction = 1 - beta2**step
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * step * beta2**step / correction  # of the mean that v is, at most
        if length > 5:
            rectified = (length - 4) * (length - 2) * longest
            rectified /= (longest - 4) * (longest - 2) * length
            np.sqrt(v, out=scratch)
            scratch += group["eps"]
            np.divide(m, scratch, out=scratch)
            scratch *= rate * (correction * rectified) ** 0.5
        else:
            np.multiply(m, rate, out=scratch)
        x -= scratch
