"""Window functions: against SciPy's, their edge cases and errors."""

import numpy as np
import pytest

import tapegrad as tg

W = tg.signal.windows
SCIPY = {
    "hann": ("hann", {}, ()), "hamming": ("hamming", {}, ()), "bartlett": ("bartlett", {}, ()),
    "blackman": ("blackman", {}, ()), "nuttall": ("nuttall", {}, ()), "cosine": ("cosine", {}, ()),
    "exponential": ("exponential", {"tau": 2.0}, (None, 2.0)),
    "gaussian": ("gaussian", {"std": 1.5}, (1.5,)), "kaiser": ("kaiser", {"beta": 8.0}, (8.0,)),
    "general_cosine": ("general_cosine", {"a": [0.4, 0.5, 0.1]}, ([0.4, 0.5, 0.1],)),
    "general_hamming": ("general_hamming", {"alpha": 0.7}, (0.7,)),
}  # fmt: skip


@pytest.mark.parametrize("sym", [True, False])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 16])
@pytest.mark.parametrize("name", SCIPY)
def test_windows(name, size, sym):
    from scipy.signal import windows

    theirs, options, arguments = SCIPY[name]
    expected = getattr(windows, theirs)(size, *arguments, sym=sym)
    found = getattr(W, name)(size, sym=sym, dtype=tg.float64, **options)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)
    assert getattr(W, name)(size, **options).dtype == tg.float32


@pytest.mark.parametrize("name", ["hann", "hamming", "bartlett", "blackman", "kaiser"])
def test_older_windows(name):
    old = getattr(tg, name + "_window")
    new = getattr(W, name)
    for size in (1, 2, 9):
        assert old(size).tolist() == new(size, sym=False).tolist()
        assert old(size, False).tolist() == new(size).tolist()
    assert old(4, dtype=tg.float16).dtype == tg.float16
    with pytest.raises(RuntimeError, match=f"{name}_window requires non-negative window_length"):
        old(-1)
    with pytest.raises(RuntimeError, match="expects floating point dtypes"):
        old(3, dtype=tg.int64)
    with pytest.raises(TypeError, match="must be int, not float"):
        old(2.5)


def test_older_windows_with_coefficients():
    expected = 0.5 - 0.4 * np.cos(2 * np.pi * np.arange(5) / 5)
    np.testing.assert_allclose(tg.hamming_window(5, True, 0.5, 0.4).numpy(), expected, rtol=1e-6)


def test_a_centre_off_the_middle():
    found = W.exponential(3, center=0, sym=False).numpy()
    np.testing.assert_allclose(found, np.exp([0, -1, -2]), rtol=1e-6)


def test_a_very_narrow_kaiser_window_does_not_overflow():
    assert W.kaiser(3, beta=2000.0).tolist() == [0, 1, 0]


def test_requires_grad():
    window = W.hann(4, requires_grad=True)
    window.sum().backward()
    assert window.grad.tolist() == [1, 1, 1, 1]


BAD = {
    "general_cosine requires non-negative window length, got M=-1": lambda: W.hann(-1),
    "kaiser expects float32 or float64 dtypes": lambda: W.kaiser(3, dtype=tg.float16),
    "implemented for strided tensors only": lambda: W.cosine(3, layout=tg.sparse_coo),
    "Tau must be positive, got: 0": lambda: W.exponential(3, tau=0),
    "Center must be None": lambda: W.exponential(3, center=1),
    "Standard deviation must be positive": lambda: W.gaussian(3, std=-1),
    "beta must be non-negative": lambda: W.kaiser(3, beta=-1),
    "Coefficients must be a list/tuple": lambda: W.general_cosine(3, a=None),
    "Coefficients cannot be empty": lambda: W.general_cosine(3, a=[]),
    "must be int, not float": lambda: W.bartlett(2.5),
}


@pytest.mark.parametrize("message", BAD)
def test_errors(message):
    with pytest.raises((ValueError, TypeError), match=message):
        BAD[message]()
