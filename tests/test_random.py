"""The numbers are torch's, whatever draws them, in whatever order, thread or process.

Literals were taken from torch 2.13.0 (CPU, x86-64 with AVX2): the first numbers of a draw and the
CRC-32 of all its bytes. The tests marked `torch` compare with the torch that is installed.
"""

import copy
import pickle
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapegrad import random as rng
from tapegrad.fused import library
from tapegrad.loading import load_native

ROOT = Path(__file__).parent.parent
CPUINFO = Path("/proc/cpuinfo")
ON_INTEL = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text()

f2, f4, f8, c8, c16 = (np.dtype(name) for name in ("f2", "f4", "f8", "c8", "c16"))

REAL = [np.dtype(kind + size) for kind in "iu" for size in "1248"] + [f2, f4, f8]

SIZES = st.one_of(st.integers(0, 40), st.sampled_from([100, 624, 1000, 1001, 40000]))
SEEDS = st.integers(-(2**63), 2**64 - 1)


@pytest.fixture(scope="module", autouse=True, params=["NumPy", "machine code"])
def _drawn_by(request) -> Iterator[None]:
    """All of it twice: as before the native loop is loaded, and after."""
    load_native()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "NumPy":
            patch.setattr(library, "find", None)
        yield


@pytest.fixture(autouse=True)
def _default_generator_left_alone() -> Iterator[None]:
    with rng.fork_rng():
        yield


def drawn(seed: int, *draws: Callable[[], np.ndarray]) -> list[list[Any]]:
    rng.manual_seed(seed)
    return [draw().ravel().tolist() for draw in draws]


# ------------------------------------------------------------------------------ literals of torch

DRAWS: dict[str, Callable[[], np.ndarray]] = {
    "rand(1000)": lambda: rng.uniform((1000,), f4),
    "rand(1000) float16": lambda: rng.uniform((1000,), f2),
    "rand(1000) float64": lambda: rng.uniform((1000,), f8),
    "uniform_(-.1, .3)": lambda: rng.uniform((1000,), f4, None, -0.1, 0.3),
    "randn(15)": lambda: rng.normal((15,), f4),
    "randn(16)": lambda: rng.normal((16,), f4),
    "randn(1000)": lambda: rng.normal((1000,), f4),
    "randn(1001) float16": lambda: rng.normal((1001,), f2),
    "randn(9) complex64": lambda: rng.normal((9,), c8),
    "normal_(.5, .02)": lambda: rng.normal((1000,), f4, None, 0.5, 0.02),
    "randint(10)": lambda: rng.integers(0, 10, (1000,), np.int64),
    "randint(-5, 2**40)": lambda: rng.integers(-5, 2**40, (1000,), np.int64),
    "randint(256) uint8": lambda: rng.integers(0, 256, (1000,), np.uint8),
    "randperm(10)": lambda: rng.permutation(10),
    "randperm(1000)": lambda: rng.permutation(1000),
    "bernoulli(full(.3))": lambda: rng.bernoulli(np.full(1000, 0.3, f4)),
    "bernoulli_(.3)": lambda: rng.bernoulli_scalar((1000,), f4, 0.3),
    "exponential_(2.5)": lambda: rng.exponential((1000,), f4, 2.5),
    "multinomial(5)": lambda: rng.multinomial(np.arange(1, 11, dtype=f4), 5),
    "multinomial(1000, True)": lambda: rng.multinomial(np.arange(1, 11, dtype=f4), 1000, True),
}

LITERALS: list[tuple[str, int, list[Any], int]] = [
    ("rand(1000)", 0, [0.49625658988952637, 0.7682217955589294], 0x838AF051),
    ("rand(1000)", 42, [0.8822692632675171, 0.9150039553642273], 0xD553ABF7),
    ("rand(1000)", -1, [0.9937993884086609, 0.5713063478469849], 0x02842127),
    ("rand(1000) float16", 0, [0.496337890625, 0.76806640625], 0xE0D642B8),
    ("rand(1000) float16", 42, [0.88232421875, 0.9150390625], 0xD297F12B),
    ("rand(1000) float16", -1, [0.99365234375, 0.5712890625], 0xEDEEC8DF),
    ("rand(1000) float64", 0, [0.9700530018065531, 0.707819864399788], 0x2F634F8C),
    ("rand(1000) float64", 42, [0.05815448596142969, 0.06291016742457756], 0x2D1AEDD0),
    ("rand(1000) float64", -1, [0.9503951604874923, 0.5600645841090078], 0xB696716E),
    ("uniform_(-.1, .3)", 0, [0.09850263595581055, 0.2072887271642685], 0xAAF7DAED),
    ("uniform_(-.1, .3)", 42, [0.25290772318840027, 0.2660015821456909], 0xD6692F9E),
    ("uniform_(-.1, .3)", -1, [0.2975197732448578, 0.12852254509925842], 0x9EBF10F8),
    ("randn(15)", 0, [1.5409960746765137, -0.293428897857666], 0xE6F537F6),
    ("randn(15)", 42, [0.33669036626815796, 0.12880940735340118], 0x89934F56),
    ("randn(15)", -1, [1.2197630405426025, -0.3929794728755951], 0xE6236B59),
    ("randn(16)", 0, [-1.1258398294448853, -1.152360200881958], 0x8901A57A),
    ("randn(16)", 42, [1.9269152879714966, 1.4872840642929077], 0x87EDED5D),
    ("randn(16)", -1, [-2.664297580718994, -1.0910485982894897], 0x4644117F),
    ("randn(1000)", 0, [-1.1258398294448853, -1.152360200881958], 0xC9069C66),
    ("randn(1000)", 42, [1.9269152879714966, 1.4872840642929077], 0x886A152E),
    ("randn(1000)", -1, [-2.664297580718994, -1.0910485982894897], 0x6B55B3F7),
    ("randn(1001) float16", 0, [-1.1259765625, -1.15234375], 0x5396C776),
    ("randn(1001) float16", 42, [1.9267578125, 1.4873046875], 0xE9795F2B),
    ("randn(1001) float16", -1, [-2.6640625, -1.0908203125], 0x3344BD8F),
    ("randn(9) complex64", 0, [(-0.7960889935493469 - 0.8148416876792908j)], 0x8D274B74),
    ("randn(9) complex64", 42, [(1.3625348806381226 + 1.051668643951416j)], 0x7E779F02),
    ("randn(9) complex64", -1, [(-1.8839428424835205 - 0.771487832069397j)], 0xF507E16F),
    ("normal_(.5, .02)", 0, [0.47748321294784546, 0.47695279121398926], 0x8A9418E2),
    ("normal_(.5, .02)", 42, [0.5385382771492004, 0.5297456979751587], 0xA93D8EDE),
    ("normal_(.5, .02)", -1, [0.44671404361724854, 0.47817903757095337], 0x92BC25BE),
    ("randint(10)", 0, [4, 9, 3, 0], 0x7D085108),
    ("randint(10)", 42, [2, 7, 6, 4], 0x83E3BE3C),
    ("randint(10)", -1, [1, 8, 6, 9], 0xD014EF5E),
    ("randint(-5, 2**40)", 0, [741234585336, 506077272957, 291397093751, 841111833108], 0xBD4B536C),
    (
        "randint(-5, 2**40)",
        42,
        [441476371554, 395845085946, 458553876606, 809967084457],
        0xF65945DF,
    ),
    ("randint(-5, 2**40)", -1, [700550826256, 53879820966, 775288457000, 922367335013], 0x6A9B5E54),
    ("randint(256) uint8", 0, [172, 47, 117, 192], 0xDA683651),
    ("randint(256) uint8", 42, [102, 179, 92, 14], 0x810C35B2),
    ("randint(256) uint8", -1, [163, 34, 12, 71], 0x5BBE9DFA),
    ("randperm(10)", 0, [4, 1, 7, 5], 0x7042CF3F),
    ("randperm(10)", 42, [2, 6, 1, 8], 0x7E0FF881),
    ("randperm(10)", -1, [1, 4, 6, 2], 0x16F1D9B4),
    ("randperm(1000)", 0, [44, 37, 675, 775], 0x458FA90F),
    ("randperm(1000)", 42, [542, 618, 816, 68], 0x1A5344C0),
    ("randperm(1000)", -1, [371, 805, 492, 705], 0x74F88C71),
    ("bernoulli(full(.3))", 0, [0.0, 0.0, 1.0, 1.0], 0x179B17EE),
    ("bernoulli(full(.3))", 42, [0.0, 0.0, 0.0, 0.0], 0xD095FF6F),
    ("bernoulli(full(.3))", -1, [0.0, 0.0, 0.0, 1.0], 0x2FA1DD18),
    ("bernoulli_(.3)", 0, [0.0, 0.0, 0.0, 0.0], 0x16DB3050),
    ("bernoulli_(.3)", 42, [1.0, 1.0, 1.0, 1.0], 0x720C1DA6),
    ("bernoulli_(.3)", -1, [0.0, 0.0, 0.0, 0.0], 0x53DAF35D),
    ("exponential_(2.5)", 0, [1.4033304452896118, 0.49215391278266907], 0xB8F22147),
    ("exponential_(2.5)", 42, [0.023965606465935707, 0.025990450754761696], 0x86DFBEA2),
    ("exponential_(2.5)", -1, [1.2014667987823486, 0.3284509479999542], 0x1B5C0D10),
    ("multinomial(5)", 0, [6, 9, 7, 8], 0xAE75C21A),
    ("multinomial(5)", 42, [8, 3, 9, 1], 0xE5E57B84),
    ("multinomial(5)", -1, [9, 7, 8, 5], 0xA295DAD7),
    ("multinomial(1000, True)", 0, [9, 8, 6, 9], 0x9695616C),
    ("multinomial(1000, True)", 42, [2, 2, 3, 1], 0x5F5001BB),
    ("multinomial(1000, True)", -1, [9, 7, 9, 6], 0x09708236),
]


@pytest.mark.parametrize(("name", "seed", "first", "checksum"), LITERALS)
def test_literals(name: str, seed: int, first: list[Any], checksum: int) -> None:
    rng.manual_seed(seed)
    out = DRAWS[name]()
    assert out[: len(first)].tolist() == first
    assert zlib.crc32(out.tobytes()) == checksum


# The C library's functions are used for these: only one like torch's gives the last bit.
FLOAT64_LITERALS = [
    (15, 0, [1.5409961082440433, -0.2934289057609464, -2.1787893820745574]),
    (15, 42, [0.33669035438385886, 0.1288094051365897, 0.23446236336153173]),
    (15, -1, [1.219763015996571, -0.39297948372090163, 1.023075123518451]),
    (17, 0, [-2.310411800234176, -0.6332746088675096, -1.2609246557194385]),
    (17, 42, [0.2995562877502637, 1.504572275678796, 1.2715909667771088]),
    (17, -1, [-1.9843317980111452, 0.7153379429353451, 0.4668462079459132]),
]


@pytest.mark.parametrize(("n", "seed", "first"), FLOAT64_LITERALS)
def test_literals_of_float64_normals(n: int, seed: int, first: list[float]) -> None:
    rng.manual_seed(seed)
    np.testing.assert_allclose(rng.normal((n,), f8)[:3], first, rtol=1e-14)


def test_bytes_of_the_state_are_those_of_torch() -> None:
    rng.manual_seed(0)
    rng.normal((3,), f4)
    state = rng.get_rng_state()
    assert (state.dtype, state.shape) == (np.uint8, (5056,))
    assert zlib.crc32(state.tobytes()) == 932786199


# ---------------------------------------------------------------------------- comparison with torch


def torch_dtype(dtype: np.dtype) -> Any:
    import torch

    return torch.from_numpy(np.empty(0, dtype)).dtype


def assert_same(seed: int, ours: Callable[[], np.ndarray], theirs: Callable[[], Any]) -> None:
    """The same bytes are drawn, and the same state is left for the next draw."""
    torch = pytest.importorskip("torch")
    rng.manual_seed(seed)
    torch.manual_seed(seed)
    out, expected = ours(), theirs().numpy()
    assert (out.dtype, out.shape) == (expected.dtype, expected.shape)
    if out.tobytes() != expected.tobytes():
        vectorised = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        assert out.dtype.kind in "fc"
        assert not (vectorised and sys.platform == "linux")
        largest = abs(out[np.isfinite(out)]).max(initial=0.0)
        rtol = 4 * np.finfo(out.dtype).eps
        np.testing.assert_allclose(out, expected, rtol, atol=1e-6 * float(largest))
    assert np.array_equal(rng.get_rng_state(), torch.get_rng_state().numpy())


@pytest.mark.torch
@settings(deadline=None)
@given(n=SIZES, seed=SEEDS, dtype=st.sampled_from([f2, f4, f8, c8, c16]))
def test_rand_and_randn(n: int, seed: int, dtype: np.dtype) -> None:
    torch = pytest.importorskip("torch")
    kind = torch_dtype(dtype)
    assert_same(seed, lambda: rng.uniform((n,), dtype), lambda: torch.rand(n, dtype=kind))
    assert_same(seed, lambda: rng.normal((n,), dtype), lambda: torch.randn(n, dtype=kind))


@pytest.mark.torch
@settings(deadline=None)
@given(
    n=SIZES,
    seed=SEEDS,
    dtype=st.sampled_from([f2, f4, f8]),
    # Not the smallest: see the comment in `affine`.
    bounds=st.tuples(*[st.floats(-100, 100).map(lambda x: x if abs(x) > 1e-5 else 0.0)] * 2).map(
        sorted
    ),
)
def test_scaled_draws(n: int, seed: int, dtype: np.dtype, bounds: list[float]) -> None:
    torch = pytest.importorskip("torch")
    (a, b), std = bounds, bounds[1] - bounds[0]
    empty = torch.empty(n, dtype=torch_dtype(dtype))
    assert_same(seed, lambda: rng.uniform((n,), dtype, None, a, b), lambda: empty.uniform_(a, b))
    assert_same(seed, lambda: rng.normal((n,), dtype, None, a, std), lambda: empty.normal_(a, std))


@pytest.mark.torch
@settings(deadline=None)
@given(
    n=SIZES,
    seed=SEEDS,
    dtype=st.sampled_from(REAL),
    data=st.data(),
)
def test_randint(n: int, seed: int, dtype: np.dtype, data: st.DataObject) -> None:
    torch = pytest.importorskip("torch")
    if dtype.kind == "f":
        most = 2 ** (np.finfo(dtype).nmant + 1)  # beyond it warns
        least = -most
    else:
        least, most = int(np.iinfo(dtype).min), min(int(np.iinfo(dtype).max), 2**63 - 2)
    low = data.draw(st.integers(least, most - 1))
    thresholds = [low + 2**k for k in (1, 8, 24, 28, 32) if low + 2**k <= most] or [most]
    high = data.draw(st.one_of(st.integers(low + 1, most), st.sampled_from(thresholds)))
    kind = torch_dtype(dtype)
    assert_same(
        seed,
        lambda: rng.integers(low, high, (n,), dtype),
        lambda: torch.randint(low, high, (n,), dtype=kind),
    )


def test_a_permutation_of_one_takes_no_word():
    for n in (0, 1):
        state = rng.manual_seed(3).get_state()
        assert rng.permutation(n).tolist() == list(range(n))
        np.testing.assert_array_equal(rng.get_rng_state(), state)


@pytest.mark.torch
@settings(deadline=None)
@given(n=SIZES, seed=SEEDS)
def test_randperm(n: int, seed: int) -> None:
    torch = pytest.importorskip("torch")
    assert_same(seed, lambda: rng.permutation(n), lambda: torch.randperm(n))
    assert_same(
        seed,
        lambda: rng.permutation(n, np.int32),
        lambda: torch.randperm(n, dtype=torch.int32),
    )


@pytest.mark.torch
@settings(deadline=None)
@given(n=SIZES, seed=SEEDS, dtype=st.sampled_from([f2, f4, f8]), p=st.floats(0, 1))
def test_bernoulli(n: int, seed: int, dtype: np.dtype, p: float) -> None:
    torch = pytest.importorskip("torch")
    weights = np.linspace(0, p, n, dtype=dtype)
    tensor = torch.from_numpy(weights)
    assert_same(seed, lambda: rng.bernoulli(weights), lambda: torch.bernoulli(tensor))


@pytest.mark.torch
@pytest.mark.skipif(ON_INTEL, reason="a torch with MKL draws these otherwise on Intel processors")
@settings(deadline=None)
@given(n=SIZES, seed=SEEDS, dtype=st.sampled_from([f2, f4, f8]), p=st.floats(0, 1))
def test_bernoulli_of_one_p_and_exponential(n: int, seed: int, dtype: np.dtype, p: float) -> None:
    torch = pytest.importorskip("torch")
    out, rate = torch.empty(n, dtype=torch_dtype(dtype)), p + 0.1
    assert_same(seed, lambda: rng.bernoulli_scalar((n,), dtype, p), lambda: out.bernoulli_(p))
    assert_same(seed, lambda: rng.exponential((n,), dtype, rate), lambda: out.exponential_(rate))


@pytest.mark.torch
@settings(deadline=None)
@given(
    n=st.integers(1, 1000),
    seed=SEEDS,
    dtype=st.sampled_from([f4, f8]),  # in float16 there are ties
    rows=st.integers(0, 3),
    replacement=st.booleans(),
)
def test_multinomial(n: int, seed: int, dtype: np.dtype, rows: int, replacement: bool) -> None:
    torch = pytest.importorskip("torch")
    if ON_INTEL and not replacement:
        return  # torch draws exponential numbers
    weights = np.random.RandomState(n).random((rows, n) if rows else n).astype(dtype)
    tensor, samples = torch.from_numpy(weights), 7 if replacement else min(n, 5)
    assert_same(
        seed,
        lambda: rng.multinomial(weights, samples, replacement),
        lambda: torch.multinomial(tensor, samples, replacement),
    )


@pytest.mark.torch
@settings(deadline=None)
@given(
    seed=SEEDS, steps=st.lists(st.tuples(st.sampled_from("unipe"), st.integers(0, 40)), max_size=8)
)
def test_any_sequence_of_draws(seed: int, steps: list[tuple[str, int]]) -> None:
    torch = pytest.importorskip("torch")
    double = torch.float64
    draws: dict[str, tuple[Callable[[int], np.ndarray], Callable[[int], Any]]] = {
        "u": (lambda n: rng.uniform((n,), f4), torch.rand),
        "n": (lambda n: rng.normal((n,), f4), torch.randn),
        "i": (lambda n: rng.integers(0, 10, (n,), np.int64), lambda n: torch.randint(10, (n,))),
        "p": (lambda n: rng.permutation(n), torch.randperm),
        "e": (lambda n: rng.normal((n,), f8), lambda n: torch.randn(n, dtype=double)),
    }
    rng.manual_seed(seed)
    torch.manual_seed(seed)
    for name, n in steps:
        ours, theirs = draws[name]
        np.testing.assert_allclose(ours(n), theirs(n).numpy(), rtol=1e-5, atol=1e-6)
        assert np.array_equal(rng.get_rng_state(), torch.get_rng_state().numpy())


@pytest.mark.torch
@settings(deadline=None)
@given(seed=SEEDS, n=st.integers(0, 700), m=st.integers(0, 20))
def test_states_are_exchanged_with_torch(seed: int, n: int, m: int) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = torch.Generator().manual_seed(seed), rng.Generator()
    torch.rand(n, generator=theirs)
    torch.randn(m, generator=theirs)
    ours.set_state(theirs.get_state().numpy())
    assert ours.initial_seed() == theirs.initial_seed()
    assert np.array_equal(ours.get_state(), theirs.get_state().numpy())
    ours.manual_seed(seed - 1 if seed > 0 else seed + 1)
    rng.normal((m,), f4, ours)
    theirs.set_state(torch.from_numpy(ours.get_state()))
    expected = torch.randn(5, dtype=torch.float64, generator=theirs)
    np.testing.assert_allclose(rng.normal((5,), f8, ours), expected.numpy(), rtol=1e-13)


@pytest.mark.torch
def test_extreme_words() -> None:
    """Words of zeros and of ones: the logarithm of 1, an angle of 0, the signs of zeros."""
    torch = pytest.importorskip("torch")
    rng.manual_seed(0)
    rng.uniform((1,), f4)
    state = rng.get_rng_state()
    key = state[24 : 24 + 624 * 8].view(np.uint64)
    key[:100] = 0
    # Tempering is linear over GF(2); it takes this word to 32 ones.
    key[50:100:3] = ones_before_tempering()
    for dtype in (f2, f4, f8, c8, c16):
        for mean, std in ((0.0, 1.0), (0.0, -0.0), (1.5, 0.25)):
            rng.set_rng_state(state)
            torch.set_rng_state(torch.from_numpy(state))
            out = rng.normal((40,), dtype, None, mean, std)
            expected = torch.empty(40, dtype=torch_dtype(dtype)).normal_(mean, std).numpy()
            np.testing.assert_array_equal(out, expected)
            if sys.platform == "linux":
                assert out.tobytes() == expected.tobytes()


def tempered(word: int) -> int:
    word ^= word >> 11
    word ^= (word << 7) & 0x9D2C5680
    word ^= (word << 15) & 0xEFC60000
    return word ^ (word >> 18)


def ones_before_tempering() -> int:
    """The word of which tempering makes 32 ones, by elimination over GF(2)."""
    basis: dict[int, tuple[int, int]] = {}  # highest bit of an image: (image, preimage)
    for bit in range(32):
        image, source = tempered(1 << bit), 1 << bit
        while image and image.bit_length() in basis:
            other = basis[image.bit_length()]
            image, source = image ^ other[0], source ^ other[1]
        basis[image.bit_length()] = image, source
    rest, word = 0xFFFFFFFF, 0
    while rest:
        image, source = basis[rest.bit_length()]
        rest, word = rest ^ image, word ^ source
    assert tempered(word) == 0xFFFFFFFF
    return word


# A call, with `torch` or our equivalent, and torch's error.
ERRORS: list[tuple[Callable[[], object], Callable[[Any], object]]] = [
    (lambda: rng.uniform((2,), np.int64), lambda t: t.rand(2, dtype=t.int64)),
    (lambda: rng.uniform((2,), f4, None, 2, 1), lambda t: t.empty(2).uniform_(2, 1)),
    (lambda: rng.uniform((2,), f4, None, -1e39, 1), lambda t: t.empty(2).uniform_(-1e39, 1)),
    (
        lambda: rng.uniform((2,), f2, None, 0, np.nan),
        lambda t: t.empty(2).half().uniform_(0, np.nan),
    ),
    (lambda: rng.uniform((2,), f4, None, -3e38, 3e38), lambda t: t.empty(2).uniform_(-3e38, 3e38)),
    (lambda: rng.normal((2,), np.bool_), lambda t: t.randn(2, dtype=t.bool)),
    (lambda: rng.normal((2,), f4, None, 0, -1), lambda t: t.empty(2).normal_(0, -1)),
    (lambda: rng.normal((2,), f4, None, 0, np.nan), lambda t: t.empty(2).normal_(0, np.nan)),
    (lambda: rng.integers(5, 5, (2,), np.int64), lambda t: t.randint(5, 5, (2,))),
    (lambda: rng.integers(0, 2**63, (2,), np.int64), lambda t: t.randint(0, 2**63, (2,))),
    (lambda: rng.integers(0, 257, (2,), np.uint8), lambda t: t.randint(257, (2,), dtype=t.uint8)),
    (lambda: rng.integers(0, 3, (2,), np.bool_), lambda t: t.randint(3, (2,), dtype=t.bool)),
    (
        lambda: rng.integers(-(2**15) - 1, 0, (2,), np.int16),
        lambda t: t.randint(-(2**15) - 1, 0, (2,), dtype=t.int16),
    ),
    (lambda: rng.integers(0, 3, (2,), c8), lambda t: t.randint(3, (2,), dtype=t.complex64)),
    (
        lambda: rng.integers(2**27 + 1, 2**27 + 5, (2,), f4),
        lambda t: t.randint(2**27 + 1, 2**27 + 5, (2,), dtype=t.float32),
    ),
    (lambda: rng.integers(0, 70000, (2,), f2), lambda t: t.randint(70000, (2,), dtype=t.half)),
    (lambda: rng.permutation(-1), lambda t: t.randperm(-1)),
    (lambda: rng.permutation(257, np.uint8), lambda t: t.randperm(257, dtype=t.uint8)),
    (lambda: rng.permutation(2**31 + 1, np.int32), lambda t: t.randperm(2**31 + 1, dtype=t.int32)),
    (lambda: rng.permutation(2050, f2), lambda t: t.randperm(2050, dtype=t.half)),
    (lambda: rng.permutation(2**24 + 2, f4), lambda t: t.randperm(2**24 + 2, dtype=t.float32)),
    (lambda: rng.permutation(5, c8), lambda t: t.randperm(5, dtype=t.complex64)),
    (lambda: rng.bernoulli(np.array([1.5])), lambda t: t.bernoulli(t.tensor([1.5]))),
    (lambda: rng.bernoulli(np.array([1])), lambda t: t.bernoulli(t.tensor([1]))),
    (lambda: rng.bernoulli_scalar((2,), f4, 1.5), lambda t: t.empty(2).bernoulli_(1.5)),
    (lambda: rng.exponential((2,), f4, 0.0), lambda t: t.empty(2).exponential_(0.0)),
    (lambda: rng.exponential((2,), np.int64), lambda t: t.empty(2, dtype=t.long).exponential_()),
    (lambda: rng.multinomial(np.ones(3), 4), lambda t: t.multinomial(t.ones(3), 4)),
    (lambda: rng.multinomial(np.ones(3), 0), lambda t: t.multinomial(t.ones(3), 0)),
    (lambda: rng.multinomial(np.zeros(3), 2), lambda t: t.multinomial(t.zeros(3), 2)),
    (lambda: rng.multinomial(-np.ones(3), 2), lambda t: t.multinomial(-t.ones(3), 2)),
    (lambda: rng.multinomial(-np.ones(3), 2, True), lambda t: t.multinomial(-t.ones(3), 2, True)),
    (
        lambda: rng.multinomial(np.full(3, np.inf), 2, True),
        lambda t: t.multinomial(t.full((3,), np.inf), 2, True),
    ),
    (lambda: rng.multinomial(np.ones(3, int), 2), lambda t: t.multinomial(t.ones(3).int(), 2)),
    (lambda: rng.multinomial(np.ones((1, 2, 3)), 2), lambda t: t.multinomial(t.ones(1, 2, 3), 2)),
    (lambda: rng.manual_seed(2**64), lambda t: t.manual_seed(2**64)),
    (lambda: rng.manual_seed(-(2**63) - 1), lambda t: t.manual_seed(-(2**63) - 1)),
    (lambda: rng.Generator().manual_seed(1.5), lambda t: t.Generator().manual_seed(1.5)),
    (lambda: rng.Generator().manual_seed(True), lambda t: t.Generator().manual_seed(True)),
    (lambda: rng.set_rng_state(np.zeros(10, "u1")), lambda t: t.set_rng_state(t.zeros(10).byte())),
    (
        lambda: rng.set_rng_state(np.zeros(5056, "u1")),
        lambda t: t.set_rng_state(t.zeros(5056).byte()),
    ),
    (lambda: rng.set_rng_state(np.zeros(5056)), lambda t: t.set_rng_state(t.zeros(5056))),
    (lambda: rng.Generator().set_state(5), lambda t: t.Generator().set_state(5)),
]


@pytest.mark.torch
@pytest.mark.parametrize(("ours", "theirs"), ERRORS)
def test_errors_are_those_of_torch(
    ours: Callable[[], object], theirs: Callable[[Any], object]
) -> None:
    torch = pytest.importorskip("torch")

    def error(call: Callable[[], object]) -> tuple[str, str]:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - type and message are compared
            call()
        text = str(caught.value).splitlines()[0].replace("IntTensor", "Int")
        return type(caught.value).__name__, text

    mine, expected = error(ours), error(lambda: theirs(torch))
    if "multinomial only supports" in mine[1]:
        assert mine[1].rpartition(" ")[0] == expected[1].rpartition(" ")[0]  # int is int64 to NumPy
    else:
        assert mine == expected


# --------------------------------------------------------------------------------- without torch


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (ERRORS[1][0], RuntimeError, r"uniform_ expects .* but found from=2 > to=1"),
        (ERRORS[6][0], RuntimeError, r"normal expects std >= 0.0, but found std -1"),
        (ERRORS[8][0], RuntimeError, r"'from' to be less than 'to', but got from=5 >= to=5"),
        (ERRORS[10][0], RuntimeError, r"to - 1 is out of bounds for unsigned char"),
        (lambda: rng.manual_seed(2**64), ValueError, "Overflow when unpacking long long"),
        (lambda: rng.Generator("cuda"), RuntimeError, "the device must be cpu, but got cuda"),
        (lambda: rng.uniform((2,), np.dtype("m8")), NotImplementedError, "not implemented for"),
    ],
)
def test_errors(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_floats_beyond_their_digits_warn() -> None:
    with pytest.warns(UserWarning, match=r"to - 1 is out of bounds \[-\(2\^24\), 2\^24\]"):
        out = rng.integers(0, 2**25, (100,), f4)
    assert out.max() < 2**25


def test_cached_normal_goes_to_the_next_draw() -> None:
    def n(k: int, dtype: np.dtype = f4) -> Callable[[], np.ndarray]:
        return lambda: rng.normal((k,), dtype)

    four = drawn(0, n(4))[0]
    assert drawn(0, n(3), n(1)) == [four[:3], four[3:]]
    # Draws of other kinds, and normals by blocks, leave it; an empty draw too.
    others = [lambda: rng.uniform((2,), f4), n(16), n(0)]
    assert drawn(0, n(3), *others, n(1))[-1] == four[3:]
    # It is kept in float64, whatever it was drawn for.
    assert np.float32(drawn(0, n(3), n(1, f8))[1][0]) == four[3]
    # Seeding drops it.
    rng.manual_seed(0)
    rng.normal((3,), f4)
    assert drawn(0, n(1))[0] == four[:1]


def test_shapes() -> None:
    for shape in ((), (0,), (3, 0, 2), (2, 3), (5, 7, 2)):
        assert rng.uniform(shape, f4).shape == shape
        assert rng.normal(shape, c16).shape == shape
        assert rng.integers(0, 5, shape, np.int8).shape == shape
        assert rng.exponential(shape, f8).shape == shape
        assert rng.bernoulli(np.full(shape, 0.5)).shape == shape
        assert rng.bernoulli_scalar(shape, np.bool_, 0.5).dtype == np.bool_


@settings(deadline=None)
@given(seed=SEEDS)
def test_seeds(seed: int) -> None:
    assert rng.manual_seed(seed) is rng.default_generator
    assert rng.initial_seed() == seed % 2**64
    # Of the seed the engine takes 32 bits, as init_genrand in NumPy's legacy generators.
    expected = np.random.RandomState(seed % 2**32).randint(0, 2**32, 5, dtype=np.uint32)
    out = rng.uniform((5,), f4)
    assert out.tolist() == ((expected & 0xFFFFFF) * 2.0**-24).tolist()


def test_manual_seed_takes_what_int_takes() -> None:
    assert rng.manual_seed(3.7).initial_seed() == 3
    assert rng.Generator().manual_seed(np.int64(5)).initial_seed() == 5


def test_first_seeds() -> None:
    assert rng.Generator().initial_seed() == 67280421310721
    program = "from tapegrad import random; print(random.initial_seed())"
    first, second = (run(program) for _ in range(2))
    assert first != second  # as in torch, the default generator starts from entropy
    assert rng.seed() == rng.initial_seed() != rng.seed()


@settings(deadline=None)
@given(seed=SEEDS, n=st.integers(0, 1300), m=st.integers(0, 20))
def test_states_and_copies(seed: int, n: int, m: int) -> None:
    generator = rng.Generator().manual_seed(seed)
    rng.uniform((n,), f4, generator)
    rng.normal((m,), f8, generator)
    state = generator.get_state()
    others = [
        generator.clone_state(),
        copy.copy(generator),
        copy.deepcopy(generator),
        pickle.loads(pickle.dumps(generator)),
    ]
    expected = rng.normal((7,), f8, generator).tolist(), rng.permutation(9, generator=generator)
    generator.set_state(state)
    for other in (generator, *others):
        assert np.array_equal(other.get_state(), state)
        assert rng.normal((7,), f8, other).tolist() == expected[0]
        assert np.array_equal(rng.permutation(9, generator=other), expected[1])


def test_state_of_a_new_generator_is_kept() -> None:
    generator = rng.Generator()
    state = generator.get_state()
    assert np.array_equal(state, generator.get_state())
    rng.uniform((0,), f4, generator)
    assert np.array_equal(state, generator.get_state())


def test_fork_rng() -> None:
    rng.manual_seed(1)
    rng.normal((1,), f4)
    state = rng.get_rng_state()

    def disturb() -> None:
        with rng.fork_rng():
            rng.manual_seed(2)
            rng.normal((4,), f4)
            raise KeyError

    with pytest.raises(KeyError):
        disturb()
    assert np.array_equal(rng.get_rng_state(), state)
    with rng.fork_rng(devices=[], enabled=False, device_type="cpu"):
        rng.uniform((1,), f4)
    assert not np.array_equal(rng.get_rng_state(), state)


def test_generators_do_not_share_a_stream() -> None:
    rng.manual_seed(0)
    state = rng.get_rng_state()
    a, b = (rng.Generator().manual_seed(7) for _ in range(2))
    rng.uniform((10,), f4, a)
    assert rng.uniform((20,), f4, b)[:10].tolist() != rng.uniform((10,), f4, a).tolist()
    assert np.array_equal(rng.get_rng_state(), state)


def test_threads_share_the_words_of_a_stream() -> None:
    """Each draw is of consecutive words, and no word is drawn twice or lost."""
    n, times, count = 50, 40, 8
    words = rng.uniform((n * times * count,), f8, rng.Generator().manual_seed(5))
    place = {value: i for i, value in enumerate(words.tolist())}
    generator, found = rng.Generator().manual_seed(5), []
    barrier = threading.Barrier(count)

    def work() -> None:
        barrier.wait()
        for _ in range(times):
            found.append(rng.uniform((n,), f8, generator))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    starts = sorted(place[draw[0].item()] for draw in found)
    assert starts == list(range(0, n * times * count, n))
    for draw in found:
        start = place[draw[0].item()]
        assert draw.tolist() == words[start : start + n].tolist()


def run(program: str) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program]
    result = subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    )
    return result.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_fork_while_another_thread_draws() -> None:
    """A child never hangs on a lock of a thread it has not, and draws as its parent would."""
    program = """
import os, threading
import numpy as np
from tapegrad import random

stop = threading.Event()
other = random.Generator()
def work():
    while not stop.is_set():
        random.uniform((100_000,), np.float32, other)
thread = threading.Thread(target=work)
thread.start()
random.manual_seed(3)
expected = random.normal((3,), np.float64)[1:].tolist()
random.manual_seed(3)
random.normal((1,), np.float32)
for _ in range(30):
    child = os.fork()
    if child == 0:
        random.uniform((10,), np.float32, other)
        os._exit(random.normal((2,), np.float64).tolist() != expected)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
child = os.fork()
if child == 0:
    print(random.uniform((3,), np.float64).tolist(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(random.uniform((3,), np.float64).tolist())
"""
    child, parent = run(program).splitlines()
    assert child == parent


def test_import_does_not_load_the_engine() -> None:
    program = """
import sys
import numpy as np
before = set(sys.modules)
from tapegrad import random
random.manual_seed(0)
print("numpy.random" in before or "numpy.random" not in sys.modules)
random.uniform((1,), np.float32)
print("numpy.random" in sys.modules)
"""
    assert run(program).split() == ["True", "True"]


@settings(deadline=None)
@given(n=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_permutation_is_the_shuffle_of_fisher_and_yates(n: int, seed: int) -> None:
    words = np.random.RandomState(seed).randint(0, 2**32, max(n - 1, 0), dtype=np.uint32)
    expected = list(range(n))
    for i, word in enumerate(words.tolist()):
        j = i + word % (n - i)
        expected[i], expected[j] = expected[j], expected[i]
    rng.manual_seed(seed)
    assert rng.permutation(n).tolist() == expected


# ------------------------------------------------------------------------------------ statistics

N = 200_000


@pytest.mark.parametrize("dtype", [f2, f4, f8])
def test_moments(dtype: np.dtype) -> None:
    rng.manual_seed(0)
    for out, mean, std in (
        (rng.uniform((N,), dtype, None, -1, 3), 1.0, 4 / 12**0.5),
        (rng.normal((N,), dtype, None, 2, 3), 2.0, 3.0),
        (rng.exponential((N,), dtype, 2.0), 0.5, 0.5),
        (rng.bernoulli(np.full(N, 0.25, dtype)), 0.25, (0.25 * 0.75) ** 0.5),
        (rng.bernoulli_scalar((N,), dtype, 0.25), 0.25, (0.25 * 0.75) ** 0.5),
    ):
        numbers = out.astype(np.float64)
        assert out.dtype == dtype
        assert abs(numbers.mean() - mean) < 5 * std / N**0.5
        assert abs(numbers.std() - std) < 0.01 * std


def test_complex_normals_have_variance_one() -> None:
    rng.manual_seed(0)
    out = rng.normal((N,), c16)
    assert abs((abs(out) ** 2).mean() - 1) < 0.02
    assert abs((out.real * out.imag).mean()) < 0.01


@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial_follows_the_weights(replacement: bool) -> None:
    rng.manual_seed(0)
    weights = np.array([0.0, 1.0, 2.0, 0.0, 5.0])
    one = rng.multinomial(np.tile(weights, (N, 1)), 1, replacement)
    many = rng.multinomial(weights, N, True)
    for out in (one, many):
        assert out.dtype == np.int64
        frequencies = np.bincount(out.ravel(), minlength=5) / N
        np.testing.assert_allclose(frequencies, weights / 8, atol=0.01)
        assert frequencies[0] == frequencies[3] == 0


def test_multinomial_without_replacement_repeats_nothing() -> None:
    out = rng.multinomial(np.tile(np.array([0.0, 1, 2, 3, 4]), (1000, 1)), 4)
    assert np.array_equal(np.sort(out, axis=1), np.tile(np.arange(1, 5), (1000, 1)))


def test_integers_fill_their_range() -> None:
    rng.manual_seed(0)
    counts = np.bincount(rng.integers(0, 10, (N,), np.int64), minlength=10)
    assert counts.shape == (10,)
    assert abs(counts / (N / 10) - 1).max() < 0.05
    wide = rng.integers(-(2**63), 2**63 - 1, (N,), np.int64)
    assert wide.min() < -(2**62)
    assert wide.max() > 2**62
    assert set(rng.integers(0, 2, (100,), np.bool_).tolist()) == {False, True}
