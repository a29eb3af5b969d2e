"""Random numbers: torch's CPU generator, reproduced draw for draw on NumPy arrays.

After ``manual_seed(s)`` these functions give the numbers that torch 2.13 gives on a CPU:

    >>> from tapegrad import random
    >>> random.manual_seed(0).initial_seed()
    0
    >>> random.uniform((3,), np.float32)
    array([0.4962566 , 0.7682218 , 0.08847743], dtype=float32)
    >>> random.permutation(5)
    array([0, 4, 2, 1, 3])

The engine is MT19937 (Matsumoto & Nishimura 1998), seeded by ``init_genrand`` with the low 32 bits
of the seed; the words are NumPy's. How torch makes numbers of them was learnt by reading and by
experiment, and is checked in ``tests/test_random.py``.

Equal bit for bit are `uniform`, `integers`, `permutation`, `bernoulli`, `normal`, `exponential`
(float16 to float64, and complex where torch has it) and the bytes of the state. The float32
`normal` follows the polynomials of torch's AVX2 code: from a torch without AVX2 it may differ by
1e-6 times ``std``. In float64 the C library computes, as in torch. `exponential` and
`bernoulli_scalar` (so dropout) follow torch's portable kernels, in place of which its builds with
MKL have others on Intel processors. `multinomial` draws the same words; ties may go otherwise.

Arrays come and go here; Tensors are made of them elsewhere.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tapegrad.dtypes import quiet
from tapegrad.generator import (
    LOCK,
    Generator,
    Shape,
    Source,
    before_draw,
    check,
    default_generator,
    fork_rng,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from tapegrad.modes import switch
from tapegrad.storage import memory_order
from tapegrad.variates import DOUBLE, SINGLE, compiled, libm, make_normal, scale

if TYPE_CHECKING:
    from numpy.typing import DTypeLike  # not at run time: it takes longer to import than we do

__all__ = ["Generator", "before_draw", "bernoulli", "bernoulli_scalar", "default_generator"]
__all__ += ["exponential", "fork_rng", "get_rng_state", "initial_seed", "integers", "manual_seed"]
__all__ += ["multinomial", "normal", "permutation", "seed", "set_rng_state", "uniform"]

LARGEST: Final = {np.dtype(t): float(np.finfo(t).max) for t in (np.float16, SINGLE, DOUBLE)}

# NumPy's name of a type, torch's name of it and the C++ one, for error messages.
TYPES: Final = """
    bool Bool bool, uint8 Byte unsigned char, int8 Char signed char, int16 Short short int,
    int32 Int int, int64 Long long int, uint16 UInt16 short unsigned int,
    uint32 UInt32 unsigned int, uint64 UInt64 long unsigned int, float16 Half c10::Half,
    float32 Float float, float64 Double double, complex64 ComplexFloat, complex128 ComplexDouble"""
NAMES: Final = {np.dtype(t.split()[0]): t.split(maxsplit=2)[1:] for t in TYPES.split(",")}


def names(dtype: np.dtype) -> list[str]:
    """Torch's name of a dtype and the C++ one."""
    return NAMES.get(dtype) or [dtype.name, dtype.name]


def real_parts(shape: Shape, dtype: np.dtype, kernel: str) -> tuple[Shape, np.dtype]:
    """Of what shape and dtype the real numbers of such an array are: two for each complex one."""
    if dtype.kind not in "fc" or dtype not in NAMES:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{names(dtype)[0]}'")
    if dtype.kind == "c":
        return (2 * math.prod(shape),), np.dtype(f"f{dtype.itemsize // 2}")
    return shape, dtype


def wide_enough(real: np.dtype) -> np.dtype:
    """The dtype in which numbers are drawn."""
    return SINGLE if real.char == "e" else real


def cast(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """To ``dtype``; to float16 by way of float32, as torch."""
    if x.dtype is dtype:
        return x
    if dtype.char == "e" and x.dtype is DOUBLE:
        x = quiet(x.astype, SINGLE)
    return quiet(x.astype, dtype)


def check_bounds(low: float, high: float, real: np.dtype) -> None:
    """Raise torch's errors for the bounds of uniform numbers."""
    limit = LARGEST[real]
    if -limit <= low <= high <= limit and high - low <= limit:
        return
    name = names(real)
    check(-limit <= low <= limit, f"from is out of bounds for {name[1]}")
    check(-limit <= high <= limit, f"to is out of bounds for {name[1]}")
    found = f"but found from={low:g} > to={high:g}"
    check(low <= high, f"uniform_ expects to return a [from, to) range, {found}")
    found = f"but found to={high:g} and from={low:g} which result in to-from to exceed the limit"
    most = f"std::numeric_limits<{name[0]}>::max()"
    check(high - low <= limit, f"uniform_ expects to-from <= {most}, {found}")


def drawn_as(array: np.ndarray, draw: Callable[..., np.ndarray], *args: Any) -> np.ndarray:
    """``draw(shape, *args)`` for an array: torch draws in the order of the elements in memory.

    The result lies in memory as the array does, but without gaps.
    """
    if array.flags.c_contiguous:
        return draw(array.shape, *args)
    axes = memory_order(array)
    numbers = draw(tuple([array.shape[i] for i in axes]), *args)
    return numbers.transpose(np.argsort(axes))


def uniform(
    shape: Shape, dtype: DTypeLike, generator: Source = None, low: float = 0, high: float = 1
) -> np.ndarray:
    """Uniform in [low, high), as ``Tensor.uniform_``; of complex numbers, both parts.

    What rounds to ``high`` becomes ``low``, as in torch. Raises torch's errors: RuntimeError for
    bounds out of order or out of range, NotImplementedError for dtypes not floating.
    """
    generator = generator or default_generator
    if low == 0 and high == 1 and (dtype is SINGLE or dtype is DOUBLE):
        return generator._units(shape, dtype)
    dtype, low, high = np.dtype(dtype), float(low), float(high)
    parts, real = real_parts(shape, dtype, "check_uniform_bounds")
    check_bounds(low, high, real)
    u = generator._units(parts, wide_enough(real))
    if (low, high) != (0.0, 1.0):
        a, b = u.dtype.type(low), u.dtype.type(high)
        scale(u, b - a, a)
    u = cast(u, real)
    u[u == real.type(high)] = real.type(low)
    return u if real is dtype else u.view(dtype).reshape(shape)


def normal(
    shape: Shape,
    dtype: DTypeLike,
    generator: Source = None,
    mean: float = 0,
    std: float = 1,
    contiguous: bool = True,
) -> np.ndarray:
    """Normal numbers, as ``Tensor.normal_`` on a tensor that is ``contiguous`` or not.

    Complex ones have variance ``std**2`` in all, half of it in each part, and ``mean`` in both.
    Raises torch's errors: RuntimeError for a negative std, NotImplementedError for dtypes not
    floating.
    """
    dtype = np.dtype(dtype)
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    parts, real = real_parts(shape, dtype, "normal_kernel_cpu")
    n = math.prod(parts)
    mean, std = float(mean), std / math.sqrt(2.0) if dtype.kind == "c" else float(std)
    generator = generator or default_generator
    if n < 16 or not contiguous:
        out = generator._few_normals(n, mean, std)
    else:
        # An incomplete last block is drawn anew as the last 16. Before that torch draws words for
        # all n, or in float16, where it goes block by block, for the whole blocks.
        whole = n - n % 16
        drawn = whole if real.char == "e" else n
        total = drawn if whole == n else drawn + 16
        out = u = generator._units((total,), wide_enough(real))
        if total == whole:
            make_normal(u, mean, std)
        else:
            make_normal(u[:whole], mean, std)
            make_normal(u[drawn:], mean, std)
            out = u[:n]
            out[-16:] = u[drawn:]
    out = cast(out, real)
    return (out if real is dtype else out.view(dtype)).reshape(shape)


def inner_bounds(low: int, high: int, dtype: np.dtype) -> tuple[int, int]:
    """Bounds moved inwards, in torch's way, where rounding would carry a number out of them."""
    digits = np.finfo(dtype).nmant + 1

    def rounded(value: int) -> int:
        with np.errstate(over="ignore"):
            x = float(np.float64(value).astype(dtype))
        return int(x) if -(2**63) <= x < 2**63 else value  # beyond, torch does nothing

    if (near := rounded(low + 1)) < low:
        low = near + (1 << (abs(low + 1).bit_length() - digits))
    if (near := rounded(high - 1)) >= high:
        high = near - (1 << (abs(high - 1).bit_length() - digits))
    expected = "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype"
    check(low < high, f"{expected}, but got from={low} >= to={high}")
    return low, high


def integers(
    low: int, high: int, shape: Shape, dtype: DTypeLike, generator: Source = None
) -> np.ndarray:
    """Integers in [low, high), as ``randint``, in any real dtype: a word modulo the range.

    The word has 32 bits for a range under 2**28, else 64. Raises torch's errors, RuntimeError, for
    an empty range and for bounds out of the range of the dtype.
    """
    dtype, low, high = np.dtype(dtype), operator.index(low), operator.index(high)
    fits = min(low, high) >= -(2**63) and max(low, high) < 2**63
    check(fits, "Overflow when unpacking long long", ValueError)
    expected = "random_ expects 'from' to be less than 'to'"
    check(low < high, f"{expected}, but got from={low} >= to={high}")
    expected = "check_random_bounds handles only integral, floating-point and boolean types"
    check(dtype.kind in "biuf", expected)
    digits, least, most = 64, 0, 1
    if dtype.kind == "f":
        digits, most = np.finfo(dtype).nmant + 1, int(np.finfo(dtype).max)
        least, (low, high) = -most, inner_bounds(low, high, dtype)
    elif dtype.kind != "b":
        least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    for bound, value in (("from", low), ("to - 1", high - 1)):
        check(least <= value <= most, f"{bound} is out of bounds for {names(dtype)[1]}")
        if abs(value) > 2**digits:
            message = f"{bound} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision "
            message += f"limitations {names(dtype)[1]} can support discrete uniform distribution "
            warnings.warn(message + "only within this range.", stacklevel=2)
    generator, n, span = generator or default_generator, math.prod(shape), high - low
    fill = compiled("integers", DOUBLE) if span < 2**28 else None
    if fill is not None:
        values = generator._drawn_by(fill, np.empty(n, np.int64), low, span)
    elif span < 2**28:
        values = (generator._words(n) % np.uint32(span)).astype(np.int64) + low
    else:
        # uint64 wraps: on the way to an int64 the sum may pass 2**63.
        wide = generator._words(n, wide=True) % np.uint64(span) + np.uint64(low % 2**64)
        values = wide.view(np.int64)
    return values.astype(dtype, copy=False).reshape(shape)


def permutation(n: int, dtype: DTypeLike = np.int64, generator: Source = None) -> np.ndarray:
    """The numbers 0 to n - 1 in random order, as ``randperm``: Fisher & Yates, from the front.

    From n = 214748364 torch has another algorithm, not followed here. Raises torch's errors:
    RuntimeError for n negative or too large for the dtype, else NotImplementedError.
    """
    dtype, n = np.dtype(dtype), operator.index(n)
    check(n >= 0, f"Trying to create tensor with negative dimension {n}: [{n}]")
    name = names(dtype)[0]
    implemented = dtype.kind in "fi" or dtype == np.uint8
    check(implemented, f"\"randperm\" not implemented for '{name}'", NotImplementedError)
    if dtype.kind == "f":
        digits = np.finfo(dtype).nmant + 1
        most = "2049" if dtype == np.float16 else f"2^{digits}+1"
        check(n <= 2**digits + 1, f"n cannot be greater than {most} for {name} type.")
    else:
        c_name = "int" if dtype == np.int32 else f"{dtype.name}_t"
        message = f"value cannot be converted to type {c_name} without overflow"
        check(n - 1 <= np.iinfo(dtype).max, message)
    generator = generator or default_generator
    i = np.arange(n)
    shuffle = compiled("shuffled", DOUBLE)
    if shuffle is not None and 1 < n < 2**32:  # fewer take no word
        return generator._drawn_by(shuffle, i).astype(dtype, copy=False)
    j = i.copy()  # step i swaps the numbers at places i and j[i] >= i
    j[:-1] += generator._words(max(n - 1, 0)) % (n - i[:-1])
    # Without a loop over steps: what a step finds at a place was put there by the last step before
    # it that went to that place, which had it from its own place; without one it is the number of
    # the place. Sorted by place, then by step:
    key = np.sort(j << 32 | i)
    place, step = key >> 32, key & 0xFFFFFFFF
    # origin[i], what step i finds at place i: first one link back, then the chain to its end.
    origin, back = i.copy(), step < place
    origin[place[back]] = step[back]  # where several go to a place, the last assignment stays
    while not np.array_equal(origin, further := origin[origin]):
        origin = further
    result, again = j, place[1:] == place[:-1]  # what step i finds at place j[i]
    result[step[1:][again]] = origin[step[:-1][again]]
    return result.astype(dtype, copy=False)


def bernoulli(p: np.ndarray, generator: Source = None) -> np.ndarray:
    """1 with the probabilities ``p``, else 0, as ``torch.bernoulli``; p's shape and dtype.

    Raises torch's errors: RuntimeError for p out of [0, 1], NotImplementedError for other dtypes.
    """
    message = f"\"bernoulli_tensor_cpu_p_\" not implemented for '{names(p.dtype)[0]}'"
    check(p.dtype.kind == "f", message, NotImplementedError)
    message = "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error "
    message += "message be improved?  If so, please report an enhancement request to PyTorch.)"
    check(((p >= 0) & (p <= 1)).all(), message)
    generator = generator or default_generator
    u = generator._units(p.shape, DOUBLE if p.dtype == np.float64 else SINGLE)
    return (u < p).astype(p.dtype)


def bernoulli_scalar(
    shape: Shape, dtype: DTypeLike, p: float, generator: Source = None
) -> np.ndarray:
    """1 with probability ``p``, else 0, as ``Tensor.bernoulli_(p)`` and so in dropout.

    It takes 64 bits for each, in every dtype. Raises RuntimeError for p out of [0, 1].
    """
    return chosen(shape, p, generator).astype(dtype)


def chosen(shape: Shape, p: float, generator: Source = None) -> np.ndarray:
    """`bernoulli_scalar` as bools."""
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    return np.asarray((generator or default_generator)._units(shape, DOUBLE) < p)


def chosen_like(tensor: Any, p: float) -> np.ndarray:
    """`chosen` for each element of a Tensor, in the order of `drawn_as` but under vmap."""
    if switch.batched:
        return chosen(tensor._spec.shape, p)
    return drawn_as(tensor._array, chosen, p)


def exponential(
    shape: Shape, dtype: DTypeLike, lambd: float = 1.0, generator: Source = None
) -> np.ndarray:
    """Exponential numbers of rate ``lambd``, as ``Tensor.exponential_``: -log(1 - u) / lambd.

    Raises torch's errors, RuntimeError, for a rate not positive and for dtypes not real.
    """
    dtype = np.dtype(dtype)
    check(lambd > 0.0, f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    message = "Exponential distribution is a continuous probability distribution. dtype must be a "
    check(dtype.kind == "f", f"{message}floating point but you specified {names(dtype)[0]}")
    u = (generator or default_generator)._units((math.prod(shape),), DOUBLE)
    # NumPy's logarithm is faster, and once rounded to float32 the same.
    logarithm = libm(math.log1p, -u) if dtype == np.float64 else np.log1p(-u)
    return cast(-1.0 / lambd * logarithm, dtype).reshape(shape)


def multinomial(
    weights: np.ndarray, num_samples: int, replacement: bool = False, generator: Source = None
) -> np.ndarray:
    """Indices drawn by ``weights``, a row or a matrix of rows, as ``torch.multinomial``: int64.

    Without replacement, and for one sample, the largest quotients of weights and exponential
    numbers win (Efraimidis & Spirakis 2006). Raises torch's errors, RuntimeError, for weights that
    are negative, not finite or all zero, for more samples than weights, and for other dtypes.
    """
    check(weights.ndim in (1, 2), "prob_dist must be 1 or 2 dim")
    message = "multinomial only supports floating-point dtypes for input, got: "
    check(weights.dtype.kind == "f", message + names(weights.dtype)[0])
    check(num_samples > 0, "cannot sample n_sample <= 0 samples")
    message = "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
    check(replacement or num_samples <= weights.shape[-1], message)
    race = num_samples == 1 or not replacement
    message = "probability tensor contains either `inf`, `nan` or element < 0"
    if not race:
        entry = "= infinity or NaN" if np.isinf(weights).any() else "< 0"
        message = f"invalid multinomial distribution (encountering probability entry {entry})"
    check((np.isfinite(weights) & (weights >= 0)).all(), message)
    message = "invalid multinomial distribution (sum of probabilities <= 0)"
    check((weights.sum(axis=-1, dtype=np.float64) > 0).all(), message)
    generator = generator or default_generator
    if race:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            quotients = weights / exponential(weights.shape, weights.dtype, 1.0, generator)
        return np.argsort(-quotients, axis=-1, kind="stable")[..., :num_samples].astype(np.int64)
    rows = weights.reshape(-1, weights.shape[-1])
    sums = rows.cumsum(axis=-1, dtype=np.float64 if rows.dtype == np.float64 else np.float32)
    u = generator._units((len(rows), num_samples), DOUBLE)
    found = [np.searchsorted(total / total[-1], row) for total, row in zip(sums, u)]
    return np.array(found, np.int64).reshape(*weights.shape[:-1], num_samples)


def poisson(rates: np.ndarray, generator: Source = None) -> np.ndarray:
    """Counts of events of these rates, as ``torch.poisson``; of the rates' shape and dtype.

    Small rates count uniform factors until the product is below exp(-rate) (Knuth); from 10 on by
    transformed rejection (Hörmann 1993, "The transformed rejection method for generating Poisson
    random variables", algorithm PTRS). Raises torch's errors: RuntimeError for a rate below 0,
    NotImplementedError for other dtypes.
    """
    message = f"\"poisson_cpu\" not implemented for '{names(rates.dtype)[0]}'"
    check(rates.dtype.kind == "f", message, NotImplementedError)
    check((rates >= 0).all(), "invalid Poisson rate, expected rate to be non-negative")
    generator = generator or default_generator
    counts = []
    with LOCK:
        ahead = _Ahead(generator)
        for rate in rates.ravel().tolist():
            draw = _poisson_of_small if rate < 10 else _poisson_of_large
            counts.append(draw(rate, ahead.next) if rate else 0)
        generator._words(ahead.used(), wide=True)
    return np.array(counts, rates.dtype).reshape(rates.shape)


class _Ahead:
    """The uniform numbers that a generator will draw, one by one, and how many were used."""

    def __init__(self, generator: Generator) -> None:
        self._copy = generator.clone_state()
        self._blocks = 0
        self._left: list[float] = []

    def next(self) -> float:
        if not self._left:
            self._left = self._copy._units((AHEAD,), DOUBLE).tolist()[::-1]
            self._blocks += 1
        return self._left.pop()

    def used(self) -> int:
        return AHEAD * self._blocks - len(self._left)


#: So many numbers are drawn ahead.
AHEAD = 1024


def _poisson_of_small(rate: float, uniform: Callable[[], float]) -> int:
    limit = math.exp(-rate)
    count, product = 0, uniform()
    while product > limit:
        count += 1
        product *= uniform()
    return count


def _poisson_of_large(rate: float, uniform: Callable[[], float]) -> int:
    root = math.sqrt(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    alpha = 1.1239 + 1.1328 / (b - 3.4)
    accepted = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        if not us:
            continue
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= accepted:
            return k
        if k < 0 or not v or (us < 0.013 and v > us):
            continue
        bound = k * math.log(rate) - rate - math.lgamma(k + 1)
        if math.log(v) + math.log(alpha) - math.log(a / (us * us) + b) <= bound:
            return k
