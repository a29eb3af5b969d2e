"""Discrete Fourier transforms, over scipy.fft: float32 stays float32.

There are three primitives: complex to complex, real to the non-negative half of a Hermitian
spectrum, and back. A transform of several dimensions is one call. The adjoint of each is another
of them, of the other direction and without its scale's conjugate: the transform that scales by
1/n where this one does ("backward" and "forward" change places).

    >>> import tapegrad
    >>> tapegrad.fft.rfft(tapegrad.tensor([1., 0., 0., 0.]))
    tensor([1.+0.j, 1.+0.j, 1.+0.j])

Source: Giles, "An extended collection of matrix derivative results" (2008), for the adjoint of a
linear map; the weights 1, 2, ..., 2, 1 of a half spectrum count the frequencies left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import structural
from tapegrad.rules.arguments import refuse, sizes_of, with_out
from tapegrad.rules.flipping import roll

#: The norm of a transform's adjoint, which goes in the other direction.
ADJOINT = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def fft_forward(x, axes, norm, inverse):
    import scipy.fft

    transform = scipy.fft.ifftn if inverse else scipy.fft.fftn
    return transform(x, axes=axes, norm=norm)


def fft_x(out_bar, axes, norm, inverse):
    return fft_(out_bar, axes, ADJOINT[norm], not inverse)


def rfft_forward(x, axes, norm):
    import scipy.fft

    return scipy.fft.rfftn(x, axes=axes, norm=norm)


def rfft_x(out_bar, x_shape, axes, norm):
    n = x_shape[axes[-1]]
    return irfft_(weighted(out_bar, axes[-1], n, 0.5), n, axes, ADJOINT[norm])


def irfft_forward(x, n, axes, norm):
    import scipy.fft

    sizes = [x.shape[axis] for axis in axes[:-1]]
    return scipy.fft.irfftn(x, [*sizes, n], axes, norm)


def irfft_x(out_bar, n, axes, norm):
    return weighted(rfft_(out_bar, axes, ADJOINT[norm]), axes[-1], n, 2.0)


def weighted_forward(x, axis, n, weight):
    out = x.copy()
    out[(*[slice(None)] * axis, slice(1, (n + 1) // 2))] *= weight
    return out


def weighted_x(out_bar, axis, n, weight):
    return weighted(out_bar, axis, n, weight)


def resized_forward(x, shape):
    out = np.zeros(shape, x.dtype)
    part = tuple([slice(min(m, n)) for m, n in zip(x.shape, shape, strict=True)])
    out[part] = x[part]
    return out


def resized_x(out_bar, x_shape):
    return resized(out_bar, x_shape)


fft_ = structural("fft_c2c", fft_forward, fft_x, grad_name="FftC2CBackward0")
rfft_ = structural("fft_r2c", rfft_forward, rfft_x, grad_name="FftR2CBackward0", casts=True)
irfft_ = structural("fft_c2r", irfft_forward, irfft_x, grad_name="FftC2RBackward0", casts=True)
#: Half a spectrum with the frequencies weighted that the whole one has twice.
weighted = structural("fft_weighted", weighted_forward, weighted_x, grad_name="MulBackward0")
#: Cut off, or filled up with zeros, at the end of each dimension.
resized = structural("fft_resized", resized_forward, resized_x, grad_name="ConstantPadNdBackward0")


# -- arguments -------------------------------------------------------------------------------------


def _axes_and_sizes(input: Any, s: Any, dim: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes to transform, and their sizes; -1 among several is the size that the input has."""
    ndim, shape = input._spec.ndim, input._spec.shape
    sizes = None if s is None else sizes_of((s,))
    if dim is None:
        if sizes is not None and len(sizes) > ndim:
            raise RuntimeError(
                f"Got shape with {len(sizes)} values but input tensor only has {ndim} dimensions."
            )
        axes = tuple(range(ndim - (ndim if sizes is None else len(sizes)), ndim))
    else:
        given = sizes_of((dim,))
        if not ndim and given:
            raise IndexError(f"Dimension specified as {given[0]} but tensor has no dimensions")
        axes = tuple([wrap_axis(d, ndim) for d in given])
        if len(set(axes)) < len(axes):
            raise RuntimeError("FFT dims must be unique")
        if sizes is not None and len(sizes) != len(axes):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
    if sizes is None:
        sizes = (-1,) * len(axes)
    if isinstance(s, int):
        return axes, sizes
    return axes, tuple([shape[a] if n == -1 else n for a, n in zip(axes, sizes, strict=True)])


def _norm_of(norm: Any) -> str:
    if norm is None:
        return "backward"
    if norm not in ADJOINT:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return str(norm)


def _floating(input: Any, name: str) -> Any:
    """The input, integers and bools in the default float. Raises for float16."""
    if input._spec.dtype.kind in "bui":
        return input + 0.0
    if input._spec.dtype.char == "e":
        raise RuntimeError(f"{name}: Unsupported dtype Half")
    return input


def _fitted(input: Any, axes: tuple[int, ...], sizes: tuple[int, ...]) -> Any:
    """The input in the sizes to transform."""
    shape = list(input._spec.shape)
    for axis, n in zip(axes, sizes, strict=True):
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
        shape[axis] = n
    return input if tuple(shape) == input._spec.shape else resized(input, tuple(shape))


def _complex(name: str, input: Any, s: Any, dim: Any, norm: Any, inverse: bool) -> Any:
    axes, sizes = _axes_and_sizes(input, s, dim)
    input = _fitted(_floating(input, name), axes, sizes)
    norm = _norm_of(norm)
    input = input.to(input.dtype.to_complex())
    return fft_(input, axes, norm, inverse) if axes else input.clone()


def _halved(name: str, input: Any, s: Any, dim: Any, norm: Any, inverse: bool = False) -> Any:
    """The half spectrum of a real input; ``inverse``: with the conjugate's norm."""
    real = "real" if isinstance(dim, int) else "real-valued"
    refuse(input, "c", f"{name} expects a {real} input tensor, but got {{dtype}}")
    axes, sizes = _axes_and_sizes(input, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    input = _fitted(_floating(input, name), axes, sizes)
    norm = _norm_of(norm)
    return rfft_(input, axes, ADJOINT[norm] if inverse else norm)


def _whole(name: str, input: Any, s: Any, dim: Any, norm: Any, inverse: bool = True) -> Any:
    """The real signal of a half spectrum."""
    axes, sizes = _axes_and_sizes(input, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    own = s is None or (not isinstance(s, int) and sizes_of((s,))[-1] == -1)
    n = 2 * (input._spec.shape[axes[-1]] - 1) if own else sizes[-1]
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    input = _fitted(_floating(input, name), axes, (*sizes[:-1], n // 2 + 1))
    norm = _norm_of(norm)
    input = input.to(input.dtype.to_complex())
    return irfft_(input, n, axes, norm if inverse else ADJOINT[norm])


# -- one dimension ---------------------------------------------------------------------------------


def fourier(name: str) -> Any:
    """Declare ``tapegrad.fft.<name>``."""
    return public(module="fft", method=False, name=name)


@fourier("fft")
@with_out
def fft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The discrete Fourier transform along ``dim``, of the first ``n`` elements or filled up to n.

    ``norm``: where the factor 1/n stands: "backward" (default: in the inverse), "forward" (here),
    "ortho" (its root in both). The result is complex. Raises RuntimeError for an n below 1.
    """
    return _complex("fft", input, n, dim, norm, False)


@fourier("ifft")
@with_out
def ifft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The inverse of `fft`."""
    return _complex("ifft", input, n, dim, norm, True)


@fourier("rfft")
@with_out
def rfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The first ``n // 2 + 1`` frequencies of a real signal; the others are their conjugates.

    Raises RuntimeError for complex numbers.
    """
    return _halved("rfft", input, n, dim, norm)


@fourier("irfft")
@with_out
def irfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The inverse of `rfft`: a real signal of n elements (default: even, ``2 * (m - 1)``)."""
    return _whole("irfft", input, n, dim, norm)


@fourier("hfft")
@with_out
def hfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The real transform of a Hermitian signal, given by its first ``n // 2 + 1`` elements."""
    return _whole("hfft", input.conj(), n, dim, norm, False)


@fourier("ihfft")
@with_out
def ihfft(input: Any, n: Any = None, dim: int = -1, norm: Any = None) -> Any:
    """The inverse of `hfft`: the first half of the Hermitian signal of a real spectrum."""
    return _halved("ihfft", input, n, dim, norm, True).conj()


# -- two dimensions, or several --------------------------------------------------------------------


@fourier("fftn")
@with_out
def fftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """`fft` along several dimensions, of sizes ``s`` (-1: as it is). Default: all, or the last."""
    return _complex("fftn", input, s, dim, norm, False)


@fourier("ifftn")
@with_out
def ifftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """The inverse of `fftn`."""
    return _complex("ifftn", input, s, dim, norm, True)


@fourier("rfftn")
@with_out
def rfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """`fftn` of a real signal, half of it: the last of the dimensions has ``n // 2 + 1``."""
    return _halved("rfftn", input, s, dim, norm)


@fourier("irfftn")
@with_out
def irfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """The inverse of `rfftn`."""
    return _whole("irfftn", input, s, dim, norm)


@fourier("hfftn")
@with_out
def hfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """`hfft` along several dimensions; the last one has the half."""
    return _whole("hfftn", input.conj(), s, dim, norm, False)


@fourier("ihfftn")
@with_out
def ihfftn(input: Any, s: Any = None, dim: Any = None, norm: Any = None) -> Any:
    """The inverse of `hfftn`."""
    return _halved("ihfftn", input, s, dim, norm, True).conj()


@fourier("fft2")
@with_out
def fft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """`fftn` along two dimensions."""
    return _complex("fft2", input, s, dim, norm, False)


@fourier("ifft2")
@with_out
def ifft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """The inverse of `fft2`."""
    return _complex("ifft2", input, s, dim, norm, True)


@fourier("rfft2")
@with_out
def rfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """`rfftn` along two dimensions."""
    return _halved("rfft2", input, s, dim, norm)


@fourier("irfft2")
@with_out
def irfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """The inverse of `rfft2`."""
    return _whole("irfft2", input, s, dim, norm)


@fourier("hfft2")
@with_out
def hfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """`hfftn` along two dimensions."""
    return _whole("hfft2", input.conj(), s, dim, norm, False)


@fourier("ihfft2")
@with_out
def ihfft2(input: Any, s: Any = None, dim: Any = (-2, -1), norm: Any = None) -> Any:
    """The inverse of `hfft2`."""
    return _halved("ihfft2", input, s, dim, norm, True).conj()


# -- order -----------------------------------------------------------------------------------------


def _shifted(input: Any, dim: Any, back: bool) -> Any:
    ndim, shape = input._spec.ndim, input._spec.shape
    axes = tuple(range(ndim)) if dim is None else sizes_of((dim,))
    axes = tuple([wrap_axis(d, ndim) for d in axes])
    shifts = tuple([(shape[a] + back) // 2 for a in axes])
    return roll(input, shifts, axes) if axes else input.clone()


@fourier("fftshift")
def fftshift(input: Any, dim: Any = None) -> Any:
    """The frequencies in order, 0 in the middle, along ``dim`` (None: all)."""
    return _shifted(input, dim, False)


@fourier("ifftshift")
def ifftshift(input: Any, dim: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return _shifted(input, dim, True)
