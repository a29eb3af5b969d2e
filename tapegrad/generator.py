"""Where random numbers come from: torch's CPU generator, its words and its state.

    >>> from tapegrad.generator import Generator
    >>> generator = Generator().manual_seed(0)
    >>> generator._units((2,), np.dtype(np.float32))
    array([0.4962566, 0.7682218], dtype=float32)

What `tapegrad.random` draws it makes of these; its text tells of the engine.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from tapegrad.modes import switch
from tapegrad.variates import CHUNK, DOUBLE, compiled, normal_pairs, scale, unit

__all__ = ["Generator", "Shape", "Source", "before_draw", "check"]
__all__ += ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed"]
__all__ += ["seed", "set_rng_state"]

Shape = tuple[int, ...]

DEFAULT_SEED: Final = 67280421310721  # of a new Generator, as in torch

# torch's CPU generator state, byte for byte, so that states can be exchanged with torch. What
# has a one-letter name is of no use here.
STATE: Final = np.dtype("u8, i4, i4, u8, 624u8, f8, f8, f8, i4, i4, f4, i4")
STATE.names = ("seed", "left", "seeded", "next", "key", "x", "cached", "y", "has_cached", *"abc")

# One lock for all generators. It is held while words are taken and not while they are worked on;
# NumPy holds the GIL for that anyway. Being one it can be held across os.fork(), so that a child
# gets it neither locked by a thread it does not have, nor with a state half advanced.
LOCK: Final = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LOCK.acquire, after_in_parent=LOCK.release, after_in_child=LOCK.release
    )


def check(condition: object, message: str, error: type[Exception] = RuntimeError) -> None:
    """Raise ``error(message)`` unless the condition holds."""
    if not condition:
        raise error(message)


class Generator:
    """A source of random numbers with torch's CPU stream, safe to share between threads.

    A new one is seeded with 67280421310721. It can be pickled and copied. Its engine is made at the
    first draw, since importing ``numpy.random`` takes longer than importing this library.
    """

    __slots__ = ("__weakref__", "_cached", "_engine", "_fresh", "_seed", "_source")

    def __init__(self, device: object = "cpu") -> None:
        name = str(device)
        check(name.split(":")[0] == "cpu", f"Generator: the device must be cpu, but got {name}")
        # The bit generator gives the words; its legacy front end seeds by init_genrand.
        self._engine: tuple[np.random.MT19937, np.random.RandomState] | None = None
        #: The addresses of the engine's function that gives the next word, and of its state.
        self._source: tuple[int, int] | None = None
        self.manual_seed(DEFAULT_SEED)

    @property
    def device(self) -> str:
        """Where the numbers are made: always ``"cpu"``."""
        return "cpu"

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of ``seed`` and return self.

        The seed is an integer in [-2**63, 2**64), of which negative ones wrap to 2**64 + seed.
        Otherwise it raises ValueError, or RuntimeError if it is no integer, as torch.
        """
        kind: type = type(seed)
        integral = issubclass(kind, int | np.integer) and kind is not bool
        check(integral, f"manual_seed expected a long, but got {kind.__name__}")
        check(-(2**63) <= seed < 2**64, "Overflow when unpacking long long", ValueError)
        with LOCK:
            self._seed = int(seed) % 2**64
            self._cached: float | None = None  # a normal number left from a pair
            self._fresh = True  # no word was taken since seeding
            if self._engine:
                self._engine[1].seed(self._seed % 2**32)
        return self

    def seed(self) -> int:
        """Seed from the entropy of the operating system; return the seed."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed from which the stream started."""
        return self._seed

    def _bits(self) -> np.random.MT19937:
        if self._engine is None:
            bits = np.random.MT19937(0)
            self._engine = bits, np.random.RandomState(bits)
            self._engine[1].seed(self._seed % 2**32)
        return self._engine[0]

    def get_state(self) -> np.ndarray:
        """The state as 5056 bytes (uint8), the same as torch's ``Generator.get_state``."""
        state = np.zeros(1, STATE)
        with LOCK:
            inner: Any = self._bits().state["state"]
            state["seed"], state["key"], state["seeded"] = self._seed, inner["key"], 1
            # torch counts the words left, plus one. It has none left when new as well as when
            # all are used; of the two NumPy knows the latter only.
            state["left"], state["next"] = 625 - inner["pos"], 0 if self._fresh else inner["pos"]
            if self._cached is not None:
                state["cached"], state["has_cached"] = self._cached, 1
        return state.view(np.uint8)

    def set_state(self, new_state: np.ndarray) -> None:
        """Go back to a state from `get_state`, or to one of torch's as an array of uint8.

        As torch it raises TypeError for another type, RuntimeError for what is no such state.
        """
        new_state = getattr(new_state, "_array", new_state)  # of a Tensor
        kind = type(new_state).__name__
        array = isinstance(new_state, np.ndarray)
        check(array, f"expected a torch.ByteTensor, but got {kind}", TypeError)
        check(new_state.dtype == np.uint8, "RNG state must be a torch.ByteTensor", TypeError)
        size = f"{STATE.itemsize} but found the input RNG state size to be {new_state.size}"
        fits = new_state.size == STATE.itemsize
        check(fits, f"Expected a CPUGeneratorImplState of size {size}")
        state = np.frombuffer(new_state.tobytes(), STATE)[0]
        left, following = int(state["left"]), int(state["next"])
        valid = state["seeded"] == 1 and 0 < left <= 624 and following <= 624
        check(valid, "Invalid mt19937 state")
        inner: Any = {"key": state["key"].astype(np.uint32), "pos": 624 if left == 1 else following}
        with LOCK:
            self._bits().state = {"bit_generator": "MT19937", "state": inner}
            self._seed = int(state["seed"])
            self._cached = float(state["cached"]) if state["has_cached"] else None
            self._fresh = left == 1 and following == 0

    def clone_state(self) -> Generator:
        """A new generator that will draw what this one would."""
        other = type(self)()
        other.set_state(self.get_state())
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), self.get_state()

    __setstate__ = set_state

    def _begin(self) -> None:
        """Numbers are about to be drawn, which vmap may refuse."""
        if switch.batched:
            before_draw[0]()

    def _words(self, n: int, wide: object = False) -> np.ndarray:
        """The next ``n`` words: 32 bits in a uint32 or, of two of those, 64 bits in a uint64."""
        self._begin()
        out = np.empty(n, np.uint64 if wide else np.uint32)
        with LOCK:
            bits = self._bits()
            self._fresh = self._fresh and n == 0
            # By pieces, since NumPy takes a uint64 for every 32 bits.
            for i in range(0, n, CHUNK):
                part = out[i : i + CHUNK]
                if wide:
                    raw = bits.random_raw(2 * part.size)
                    np.bitwise_or(raw[0::2] << np.uint64(32), raw[1::2], out=part)
                else:
                    part[:] = bits.random_raw(part.size)
        return out

    def _drawn_by(self, fill: Callable[..., None], out: np.ndarray, *options: int) -> np.ndarray:
        """Fill an array by machine code of `kernels.fused.draws`, which takes the words itself."""
        self._begin()
        with LOCK:
            self._take(fill, out, *options)
        return out

    def _take(self, fill: Callable[..., None], out: np.ndarray, *options: float) -> None:
        """The same within a draw, by whoever has the lock."""
        source = self._source
        if source is None:
            # What NumPy offers to compiled code; a state is always set at the same place.
            bits = self._bits()
            word = ctypes.cast(bits.ctypes.next_uint32, ctypes.c_void_p).value
            source = self._source = word or 0, bits.ctypes.state_address
        if out.size:
            self._fresh = False
        fill(out.size, *source, out, *options, work=1)

    def _units(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Numbers in [0, 1): float64 of 53 bits, or float32 of 24."""
        fill = compiled("uniforms", dtype)
        if fill is None:
            return unit(self._words(math.prod(shape), wide=dtype is DOUBLE)).reshape(shape)
        self._begin()
        out = np.empty(shape, dtype)
        with LOCK:
            self._take(fill, out)
        return out

    def _few_normals(self, n: int, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
        """``n`` normal numbers in float64, one by one, as torch draws fewer than 16.

        They come in pairs r cos t, r sin t of r = sqrt(-2 log(1 - v)), t = 2 pi u (Box & Muller
        1958). A second one that is not needed is kept, as it is, for the next call.
        """
        self._begin()
        fill = compiled("normal_pairs", DOUBLE)
        with LOCK:
            cached = self._cached if n else None
            missing = n if cached is None else n - 1
            drawn = np.empty(missing + missing % 2)
            out = drawn[:missing]
            if fill is None:
                drawn[:] = normal_pairs(self._words(drawn.size, wide=True))
                scale(out, std, mean)
            elif missing:
                self._take(fill, drawn, missing, std, mean)
            if cached is not None:
                self._cached = None
                out = np.concatenate([scale(np.array([cached]), std, mean), out])
            if missing % 2:
                self._cached = float(drawn[-1])
        return out


#: Under vmap it is called before a draw, and may raise.
before_draw: list[Callable[[], None]] = []

Source = Generator | None  # None stands for the default generator

#: What draws when no generator is given. Its first seed comes from entropy, as in torch.
default_generator: Final = Generator()
default_generator.seed()

seed = default_generator.seed
initial_seed = default_generator.initial_seed
get_rng_state = default_generator.get_state
set_rng_state = default_generator.set_state


def manual_seed(seed: int) -> Generator:
    """Seed the default generator and return it. As in torch, ``int(seed)`` is taken."""
    return default_generator.manual_seed(int(seed))


@contextmanager
def fork_rng(devices: object = None, enabled: bool = True, **_ignored: object) -> Iterator[None]:
    """Leave the default generator as it was. The arguments for other devices are ignored."""
    state = get_rng_state() if enabled else None
    try:
        yield
    finally:
        if state is not None:
            set_rng_state(state)
