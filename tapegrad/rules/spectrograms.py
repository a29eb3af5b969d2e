"""The short-time Fourier transform and its inverse, composed of windows and Fourier transforms.

Source: Griffin and Lim, "Signal estimation from modified short-time Fourier transform", IEEE
Transactions on Acoustics, Speech, and Signal Processing 32 (1984): the inverse is the overlapping
sum of windowed frames, divided by that of the squared window.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.diagonals import folded, unfold
from tapegrad.rules.gathering import constant, index_select_
from tapegrad.rules.joining import cat, stack

#: NumPy's names of ways to pad.
PADDING = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _padded(input: Any, left: int, right: int, mode: str) -> Any:
    """The last dimension with elements added at both ends."""
    n = input._spec.shape[-1]
    if mode == "constant":
        zeros = [input.new_zeros((*input._spec.shape[:-1], k)) for k in (left, right)]
        return cat([zeros[0], input, zeros[1]], -1)
    if mode not in PADDING:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    if mode == "reflect" and not max(left, right) < n:
        raise RuntimeError(
            f"Padding size should be less than the corresponding input dimension, but got: "
            f"padding ({left}, {right}) at dimension {input._spec.ndim} of input "
            f"{list(input._spec.shape)}"
        )
    numpy_mode: Any = PADDING[mode]
    return index_select_(input, (..., np.pad(np.arange(n), (left, right), numpy_mode)))


def _window(
    name: str, input: Any, window: Any, n_fft: int, win_length: int | None, hop: int | None
) -> tuple[Any, int]:
    """The window filled up to ``n_fft`` on both sides (None: of ones), and the hop, checked."""
    hop = n_fft // 4 if hop is None else hop
    win_length = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(
            f"{name}: expected 0 < win_length <= n_fft, but got win_length={win_length}"
        )
    if window is None:
        if win_length == n_fft:
            return None, hop
        window = constant(input, np.ones(win_length, input._array.real.dtype))
    if window._spec.shape != (win_length,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but "
            f"got window with size {list(window._spec.shape)}"
        )
    left = (n_fft - win_length) // 2
    return _padded(window, left, n_fft - win_length - left, "constant"), hop


@public
def stft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Any:
    """The Fourier transforms of windowed frames of signals, frequencies by frames.

    Args:
        input: a signal (L,), or several (B, L), real or complex.
        n_fft: the length of a frame.
        hop_length: from frame to frame; default ``n_fft // 4``.
        win_length: the length of the window, filled up with zeros to n_fft. Default: n_fft.
        window: the window; default: ones.
        center: whether frames are centred at their times, for which ``n_fft // 2`` elements are
            added at both ends, by ``pad_mode`` ("reflect", "constant", "replicate", "circular").
        normalized: whether the frames are divided by the root of n_fft.
        onesided: half the frequencies only; the default if all is real.
        return_complex: must be given if all is real; False gives real and imaginary parts as a new
            last dimension.

    Raises:
        RuntimeError: sizes that don't fit, half the frequencies of complex signals.
    """
    from tapegrad.rules.ondemand import fourier

    if align_to_window:
        raise NotImplementedError("stft(align_to_window=True) is not supported: pad the input")
    is_complex = input._spec.is_complex or (window is not None and window._spec.is_complex)
    if return_complex is None and not is_complex:
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further "
            "require that return_complex=True in a future PyTorch release."
        )
    if input._spec.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {input._spec.ndim}D")
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    signal = _padded(input, n_fft // 2, n_fft // 2, pad_mode) if center else input
    n = signal._spec.shape[-1]
    if not 0 < n_fft <= n:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {n}, but got n_fft={n_fft}")
    window, hop = _window("stft", input, window, n_fft, win_length, hop_length)
    frames = unfold(signal, -1, n_fft, hop)
    frames = frames if window is None else frames * window
    axis, norm = (frames._spec.ndim - 1,), "ortho" if normalized else "backward"
    if onesided:
        spectra = fourier.rfft_(frames, axis, norm)
    else:
        spectra = fourier.fft_(frames.to(frames.dtype.to_complex()), axis, norm, False)
    spectra = spectra.transpose(-1, -2)
    if return_complex is False:
        return stack([spectra.real, spectra.imag], -1)
    return spectra


@public
def istft(
    input: Any,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Any = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Any:
    """The signals of which `stft` gives ``input``, a complex (..., frequencies, frames).

    ``length`` cuts the signal, or fills it up with zeros (with a warning). For the other arguments
    see `stft`.

    Raises RuntimeError where the windows don't cover the signal, and for sizes that don't fit.
    """
    from tapegrad.rules.ondemand import fourier

    if not input._spec.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with "
            "return_complex=True."
        )
    if input._spec.ndim not in (2, 3):
        raise RuntimeError(
            f"istft: expected a tensor with 2 or 3 dimensions, but got {input._spec.ndim}"
        )
    count, frames_count = input._spec.shape[-2:]
    onesided = count != n_fft if onesided is None else onesided
    if count != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to "
            f"match n_fft{' / 2 + 1' if onesided else ''}={n_fft // 2 + 1 if onesided else n_fft}, "
            f"but got {count}"
        )
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    window, hop = _window("istft", input, window, n_fft, win_length, hop_length)
    if window is None:
        window = constant(input, np.ones(n_fft, input._array.real.dtype))
    spectra = input.transpose(-1, -2)
    axis, norm = (input._spec.ndim - 1,), "ortho" if normalized else "backward"
    if return_complex:
        frames = fourier.fft_(spectra, axis, norm, True)
    else:  # half of the frequencies tell all of a real signal
        frames = fourier.irfft_(spectra[..., : n_fft // 2 + 1], n_fft, axis, norm)
    total = n_fft + hop * (frames_count - 1)
    frames = frames * window
    signal = folded(frames, (*input._spec.shape[:-2], total), axis[0] - 1, n_fft, hop)
    squares = (window * window).expand(frames_count, n_fft)
    weights = folded(squares, (total,), 0, n_fft, hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else total - start
    signal, weights = signal[..., start:end], weights[start:end]
    if weights._spec.size and not np.abs(weights._array).min() > 1e-11:
        raise RuntimeError(
            f"window overlap add min: {float(np.abs(weights._array).min())} is too small: the "
            "windows must cover the signal"
        )
    signal = signal / weights
    if end > total:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded "
            "with zeros in the tail. Please check your center and hop_length settings.",
            UserWarning,
            stacklevel=2,
        )
        signal = fourier.resized(signal, (*signal._spec.shape[:-1], end - start))
    return signal
