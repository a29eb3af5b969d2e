"""Where elementwise primitives are tested: domains of their inputs, away from kinks and poles."""

from __future__ import annotations

import numpy as np

from tapegrad.primitive import Primitive
from tapegrad.rules.gamma import unknown_derivative

#: Bounds of each input, where the default of (-2, 2) isn't right.
POSITIVE = (0.2, 2.5)
DOMAINS: dict[str, list[tuple[float, float]]] = {
    "pow_tensor": [POSITIVE, (-2, 2)],
    "pow_base": [POSITIVE, (-2, 2)],
    "root": [POSITIVE],
    "pow_number": [POSITIVE, (-2, 2)],
    "log": [POSITIVE],
    "log2": [POSITIVE],
    "log10": [POSITIVE],
    "log1p": [(-0.8, 2)],
    "sqrt": [POSITIVE],
    "rsqrt": [POSITIVE],
    "asin": [(-0.9, 0.9)],
    "acos": [(-0.9, 0.9)],
    "atanh": [(-0.9, 0.9)],
    "acosh": [(1.2, 3)],
    "erfinv": [(-0.9, 0.9)],
    "logit": [(0.1, 0.9)],
    "logit_eps": [(0.1, 0.9), (0.02, 0.05)],
    "lgamma": [POSITIVE],
    "digamma": [POSITIVE],
    "polygamma": [POSITIVE, (1, 1)],
    "xlogy": [(-2, 2), POSITIVE],
    "special_xlog1py": [(-2, 2), (-0.8, 2)],
    "special_entr": [POSITIVE],
    "special_ndtri": [(0.1, 0.9)],
    "special_zeta": [(1.5, 4), POSITIVE],
    "igamma": [POSITIVE, POSITIVE],
    "igammac": [POSITIVE, POSITIVE],
    "special_bessel_y0": [POSITIVE],
    "special_bessel_y1": [POSITIVE],
    "special_modified_bessel_k0": [POSITIVE],
    "special_modified_bessel_k1": [POSITIVE],
    "special_scaled_modified_bessel_k0": [POSITIVE],
    "special_scaled_modified_bessel_k1": [POSITIVE],
    "float_power": [POSITIVE, (-2, 2)],
    "fmod": [(-4, 4), POSITIVE],
    "remainder": [(-4, 4), POSITIVE],
    "floor_divide": [(-4, 4), POSITIVE],
}
#: Inputs are kept so far away from multiples of one half, where kinks are.
MARGIN = 0.06


def inputs_of(
    primitive: Primitive, shape: tuple[int, ...] = (6,), seed: int = 0
) -> list[np.ndarray]:
    """Random inputs within the primitive's domain; a condition comes as bools."""
    rng = np.random.default_rng(seed)
    bounds = DOMAINS.get(primitive.name, [])
    arrays = []
    for i in range(primitive.arity):
        if primitive.condition and i == 0:
            arrays.append(rng.random(shape) < 0.5)
            continue
        low, high = bounds[i] if i < len(bounds) else (-2.0, 2.0)
        values = rng.uniform(low, high, shape)
        nearest = np.round(2 * values) / 2
        close = np.abs(values - nearest) < MARGIN
        values = np.where(close, nearest + MARGIN * np.where(values < nearest, -1, 1), values)
        arrays.append(np.asarray(np.clip(values, low, high)))
    if primitive.arity == 3 and not primitive.condition:
        # Such as clamp, whose second input is to be below the third.
        arrays[1], arrays[2] = (
            np.minimum(arrays[1:][0], arrays[2]),
            np.maximum(arrays[1], arrays[2] + MARGIN),
        )
    return [np.asarray(a) for a in arrays]


def differentiable_inputs(primitive: Primitive) -> list[int]:
    """Which inputs have a rule; one that always raises counts as none."""
    return [
        i
        for i, rule in enumerate(primitive.rules)
        if rule is not None and rule is not unknown_derivative
    ]


def differentiable(primitive: Primitive) -> bool:
    """Whether any input of the primitive has a rule."""
    return bool(differentiable_inputs(primitive))
