"""A language model of one GPT block: embedding, attention, MLP, layer norms, cross entropy.

64 wide, 4 heads, 64 characters, a batch of 8, float32. Attention is written out, as in textbooks;
`gpt-sdpa` calls `scaled_dot_product_attention` instead.
"""

from functools import partial
from typing import Any

import numpy as np

from bench import numpy_like
from bench.harness import Program, training
from bench.workload import Row, Workload

WIDTH, HEADS, LENGTH, BATCH, CHARACTERS = 64, 4, 64, 8, 65
SHAPES = {
    "characters": (CHARACTERS, WIDTH),
    "positions": (LENGTH, WIDTH),
    "gain_1": (WIDTH,),
    "shift_1": (WIDTH,),
    "w_qkv": (3 * WIDTH, WIDTH),
    "b_qkv": (3 * WIDTH,),
    "w_out": (WIDTH, WIDTH),
    "b_out": (WIDTH,),
    "gain_2": (WIDTH,),
    "shift_2": (WIDTH,),
    "w_up": (4 * WIDTH, WIDTH),
    "b_up": (4 * WIDTH,),
    "w_down": (WIDTH, 4 * WIDTH),
    "b_down": (WIDTH,),
    "gain_3": (WIDTH,),
    "shift_3": (WIDTH,),
    "w_head": (CHARACTERS, WIDTH),
}
RANDOM = np.random.default_rng(0)
LEAVES = [
    (RANDOM.standard_normal(shape) / shape[-1] ** 0.5 + name.startswith("gain")).astype(np.float32)
    for name, shape in SHAPES.items()
]
MASK = np.triu(np.ones((LENGTH, LENGTH), bool), 1)


def data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Characters, and those that follow them."""
    text = np.random.default_rng(1).integers(0, CHARACTERS, (batch, LENGTH + 1))
    return text[:, :-1].copy(), text[:, 1:].copy()


def gpt(tg: Any, batch: int = BATCH, fused: bool = False) -> Program:
    leaves = [tg.tensor(array, requires_grad=True) for array in LEAVES]
    (characters, positions, gain_1, shift_1, w_qkv, b_qkv, w_out, b_out, gain_2, shift_2) = leaves[
        :10
    ]
    w_up, b_up, w_down, b_down, gain_3, shift_3, w_head = leaves[10:]
    tokens, targets = (tg.tensor(array) for array in data(batch))
    mask = tg.tensor(MASK)
    functional = tg.nn.functional
    linear, layer_norm, softmax = functional.linear, functional.layer_norm, functional.softmax

    def attend(q: Any, k: Any, v: Any) -> Any:
        if fused:
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        scores = (q @ k.transpose(-2, -1)) * (WIDTH // HEADS) ** -0.5
        return softmax(scores.masked_fill(mask, -np.inf), dim=-1) @ v

    def attention(x: Any) -> Any:
        heads = [
            part.view(batch, LENGTH, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in linear(x, w_qkv, b_qkv).split(WIDTH, dim=2)
        ]
        joined = attend(*heads).transpose(1, 2).reshape(batch, LENGTH, WIDTH)
        return linear(joined, w_out, b_out)

    def loss_of() -> Any:
        x = functional.embedding(tokens, characters) + positions
        x = x + attention(layer_norm(x, (WIDTH,), gain_1, shift_1))
        h = functional.gelu(linear(layer_norm(x, (WIDTH,), gain_2, shift_2), w_up, b_up))
        x = layer_norm(x + linear(h, w_down, b_down), (WIDTH,), gain_3, shift_3)
        scores = linear(x, w_head)
        return functional.cross_entropy(scores.view(-1, CHARACTERS), targets.view(-1))

    return training(tg, leaves, loss_of)


def normalized(xp: Any, x: Any, gain: Any, shift: Any) -> Any:
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * gain + shift


def attended(xp: Any, qkv: Any) -> Any:
    """Causal attention of (BATCH, LENGTH, 3 * WIDTH)."""
    shape = (BATCH, LENGTH, HEADS, WIDTH // HEADS)
    q, k, v = (
        xp.transpose(qkv[:, :, i * WIDTH : (i + 1) * WIDTH].reshape(shape), (0, 2, 1, 3))
        for i in range(3)
    )
    scores = xp.matmul(q, xp.transpose(k, (0, 1, 3, 2))) * (WIDTH // HEADS) ** -0.5
    scores = xp.where(MASK, np.float32(-1e30), scores)
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    return xp.transpose(xp.matmul(weights, v), (0, 2, 1, 3)).reshape(BATCH, LENGTH, WIDTH)


def loss(erf: Any, xp: Any, *leaves: Any) -> Any:
    (characters, positions, gain_1, shift_1, w_qkv, b_qkv, w_out, b_out, gain_2, shift_2) = leaves[
        :10
    ]
    w_up, b_up, w_down, b_down, gain_3, shift_3, w_head = leaves[10:]
    tokens, targets = data(BATCH)
    x = characters[tokens] + positions
    qkv = xp.matmul(normalized(xp, x, gain_1, shift_1), w_qkv.T) + b_qkv
    x = x + xp.matmul(attended(xp, qkv), w_out.T) + b_out
    h = xp.matmul(normalized(xp, x, gain_2, shift_2), w_up.T) + b_up
    h = 0.5 * h * (1 + erf(h * 0.5**0.5))
    x = normalized(xp, x + xp.matmul(h, w_down.T) + b_down, gain_3, shift_3)
    scores = xp.matmul(x, w_head.T).reshape(-1, CHARACTERS)
    return numpy_like.cross_entropy(xp, scores, targets.reshape(-1))


def with_jax() -> Program:
    from jax.scipy.special import erf

    return numpy_like.with_jax(partial(loss, erf), LEAVES)


def with_autograd() -> Program:
    from autograd.scipy.special import erf

    return numpy_like.with_autograd(partial(loss, erf), LEAVES)


ROWS = (Row("forward", "ms", 1e6), Row("backward", "ms", 1e6), Row("all", "ms", 1e6, goal=0.8))
WORKLOAD = Workload("gpt", ROWS, gpt, {"jax": with_jax, "autograd": with_autograd}, large=True)
FUSED = Workload("gpt-sdpa", ROWS, partial(gpt, fused=True), large=True)
