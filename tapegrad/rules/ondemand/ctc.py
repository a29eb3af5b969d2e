"""Connectionist temporal classification: the likelihood of labels, summed over all alignments.

Source: Graves, Fernandez, Gomez and Schmidhuber, *Connectionist temporal classification*, ICML
2006: the forward and backward variables (alpha, beta) of their section 4, here as logarithms.
States are the labels with a blank before, between and behind them. Double precision throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.activations import NN
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.ondemand.losses import reduce_, reduction_of
from tapegrad.rules.selection import where

IMPOSSIBLE = -np.inf


def later(x, places):
    """States (N, S) moved up by some places, or down where that is negative."""
    moved = np.full_like(x, IMPOSSIBLE)
    if places > 0:
        moved[:, places:] = x[:, :-places]
    else:
        moved[:, :places] = x[:, -places:]
    return moved


def emissions(x, states):
    """The log probability (T, N, S) of what each state emits."""
    return np.take_along_axis(x.astype(np.float64), states[None], 2)


def skips(states):
    """Where a state may follow the one before the last: a label, unless it repeats."""
    allowed = np.zeros(states.shape, bool)
    allowed[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    return allowed


def forward_variables(emitted, states):
    """The log probability (T, N, S) of all that leads to a state at a time, with what it emits."""
    alpha = np.full(emitted.shape, IMPOSSIBLE)
    alpha[:1, :, :2] = emitted[:1, :, :2]
    jump = skips(states)
    for t in range(1, len(alpha)):
        last = alpha[t - 1]
        reached = np.logaddexp(last, later(last, 1))
        reached = np.where(jump, np.logaddexp(reached, later(last, 2)), reached)
        alpha[t] = reached + emitted[t]
    return alpha


def final_states(states, lengths):
    """Where an alignment may end: at the last label and at the blank behind it."""
    places = np.arange(states.shape[1])
    last = 2 * np.asarray(lengths)[:, None]
    return (places == last) | (places == last - 1)


def backward_variables(emitted, states, times, lengths):
    """The log probability (T, N, S) of all that may follow a state at a time, with its emission."""
    beta = np.full(emitted.shape, IMPOSSIBLE)
    final = final_states(states, lengths)
    jump = later(np.where(skips(states), 0.0, IMPOSSIBLE), -2)
    times = np.asarray(times)[:, None]
    follows = np.full(states.shape, IMPOSSIBLE)
    for t in reversed(range(len(beta))):
        reached = np.logaddexp(follows, later(follows, -1))
        reached = np.logaddexp(reached, later(follows, -2) + jump)
        reached = np.where((times == t + 1) & final, 0.0, reached)
        follows = beta[t] = reached + emitted[t]
    return beta


def losses_of(alpha, states, times, lengths):
    """The negative log likelihood (N,): of what ends in one of the final states."""
    at = np.maximum(np.asarray(times) - 1, 0)
    ends = np.where(final_states(states, lengths), alpha[at, np.arange(len(at))], IMPOSSIBLE)
    # In no time nothing is said.
    silent = np.where(np.asarray(lengths) == 0, 0.0, np.inf)
    return np.where(np.asarray(times) == 0, silent, -np.logaddexp.reduce(ends, 1))


def ctc_forward(x, states, times, lengths):
    alpha = forward_variables(emissions(x, states), states)
    return losses_of(alpha, states, times, lengths).astype(x.dtype)


def ctc_x(out_bar, x, states, times, lengths):
    return ctc_backward(out_bar, x, states, times, lengths)


def ctc_backward_forward(out_bar, x, states, times, lengths):
    emitted = emissions(x, states)
    alpha = forward_variables(emitted, states)
    beta = backward_variables(emitted, states, times, lengths)
    out = losses_of(alpha, states, times, lengths)
    # A state that is impossible has -inf in both, and in what it emits perhaps.
    reached = (alpha > IMPOSSIBLE) & (beta > IMPOSSIBLE)
    with np.errstate(invalid="ignore"):
        share = np.exp(alpha + beta - emitted + out[:, None])
    share = np.where(reached, share, 0.0)
    posterior = np.zeros(x.shape)
    rows = np.arange(x.shape[1])
    for s in range(states.shape[1]):
        posterior[:, rows, states[:, s]] += share[:, :, s]
    slope = np.where(np.isfinite(out)[:, None], np.exp(x) - posterior, np.nan)
    # Where zero_infinity has put a 0, nothing comes back.
    wanted = (np.arange(len(x))[:, None] < np.asarray(times)) & (out_bar != 0)
    return np.where(wanted[:, :, None], slope * out_bar[:, None], 0).astype(x.dtype)


def no_second_derivative(out_bar):
    raise NotImplementedError(
        "ctc_loss has no second derivative, in torch neither: compute its gradient without "
        "create_graph=True"
    )


ctc = structural("ctc_loss", ctc_forward, ctc_x)
ctc_backward = structural(
    "ctc_loss_backward", ctc_backward_forward, no_second_derivative, no_second_derivative
)


@public(module=NN, method=False)
def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """The negative log likelihood of label sequences, from log probabilities (T, N, C) or (T, C).

    ``targets`` are (N, S), or all labels of all sequences in a row; the lengths are (N,). The mean
    divides each loss by its target's length first. ``zero_infinity`` makes 0 of the loss, and of
    the gradient, where no alignment is possible. As in torch, the gradient is right for log
    probabilities that a log softmax made, and the softmax of them is contained in it.

    Raises RuntimeError for lengths that don't fit, NotImplementedError for a second derivative.
    """
    kind = reduction_of(reduction)
    if log_probs._spec.dtype.char not in "fd":
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{dtype_name(log_probs)}'")
    single = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if single else log_probs
    if x.ndim != 3:
        raise RuntimeError(
            f"log_probs tensor must have 2 or 3 dimensions, but has {log_probs.ndim}"
        )
    steps, rows, classes = x._spec.shape
    if not x._spec.size:
        raise RuntimeError("log_probs tensor must not be empty")
    times = _lengths("input", input_lengths, rows, steps)
    lengths = _lengths("target", target_lengths, rows, None)
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    states = _states(targets._array, lengths, blank, classes)
    losses = ctc(x, states, times, lengths)
    if zero_infinity:
        losses = where(losses == np.inf, 0.0, losses)
    if kind == 1:
        losses = losses / losses.new_tensor(np.maximum(lengths, 1))
    return reduce_(losses.squeeze(0) if single and not kind else losses, kind)


def _lengths(what: str, given: Any, rows: int, most: int | None) -> tuple[int, ...]:
    array = np.atleast_1d(given._array if hasattr(given, "_spec") else np.array(given, int))
    if array.dtype.kind not in "iu":
        raise RuntimeError(f"{what}_lengths must be integral")
    if array.shape != (rows,):
        raise RuntimeError(f"{what}_lengths must be of size batch_size")
    lengths = tuple(array.tolist())
    where_at = "(while checking arguments for ctc_loss_allocate_outputs)"
    if min(lengths, default=0) < 0:
        raise RuntimeError(
            f"Expected {what}_lengths to have value at least 0, but got value {min(lengths)} "
            + where_at
        )
    if most is not None and max(lengths, default=0) > most:
        raise RuntimeError(
            f"Expected {what}_lengths to have value at most {most}, but got value {max(lengths)} "
            + where_at
        )
    return lengths


def _states(targets: np.ndarray, lengths: tuple[int, ...], blank: int, classes: int) -> np.ndarray:
    """What each state emits (N, 2 L + 1): the labels, with blanks around and behind them."""
    rows, longest = len(lengths), max(lengths, default=0)
    states = np.full((rows, 2 * longest + 1), blank)
    if targets.ndim == 2 and rows == targets.shape[0]:
        if targets.shape[1] < longest:
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                f"{targets.shape[1]} for argument #2 'targets' (while checking arguments for "
                "ctc_loss_allocate_outputs)"
            )
        parts = [row[:n] for row, n in zip(targets, lengths, strict=True)]
    elif targets.ndim == 1 and targets.size == sum(lengths):
        parts = np.split(targets, np.cumsum(lengths)[:-1])
    else:
        wanted = sum(lengths) if targets.ndim == 1 else rows
        raise RuntimeError(
            f"Expected tensor to have size {wanted} at dimension 0, but got size "
            f"{targets.shape[0] if targets.ndim else 0} for argument #2 'targets' (while checking "
            "arguments for ctc_loss_allocate_outputs)"
        )
    for row, part in zip(states, parts, strict=True):
        row[1 : 2 * len(part) : 2] = part
    if states.size and not (states.min() >= 0 and states.max() < classes):
        raise RuntimeError(f"targets must be classes from 0 to {classes - 1}")
    return states
