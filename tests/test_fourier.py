"""The Fourier transforms: values, dtypes and what they refuse; the derivatives are in samples."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tests.differences import check_derivatives

fft = tg.fft
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [1, 4, 5, 8])
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
def test_there_and_back(n, norm):
    x = tg.from_numpy(RNG.standard_normal((3, n)))
    np.testing.assert_allclose(fft.ifft(fft.fft(x, norm=norm), norm=norm).real, x, atol=1e-12)
    np.testing.assert_allclose(fft.irfft(fft.rfft(x, norm=norm), n, norm=norm), x, atol=1e-12)
    np.testing.assert_allclose(fft.hfft(fft.ihfft(x, norm=norm), n, norm=norm), x, atol=1e-12)
    half = fft.rfftn(x, norm=norm)
    np.testing.assert_allclose(fft.irfftn(half, (-1, n), (0, 1), norm), x, atol=1e-12)
    np.testing.assert_allclose(fft.ifftshift(fft.fftshift(x)), x)


def test_values():
    x = RNG.standard_normal((4, 5)) + 1j * RNG.standard_normal((4, 5))
    t = tg.from_numpy(x)
    np.testing.assert_allclose(fft.fft(t, 7, 0), np.fft.fft(x, 7, 0))
    np.testing.assert_allclose(fft.fftn(t, (3,)), np.fft.fftn(x, (3,), (-1,)))
    np.testing.assert_allclose(fft.fft2(t, norm="ortho"), np.fft.fft2(x, norm="ortho"))
    np.testing.assert_allclose(fft.hfft(t), np.fft.hfft(x))
    np.testing.assert_allclose(fft.irfft2(t), np.fft.irfft2(x))
    np.testing.assert_allclose(fft.fftfreq(5, 0.1), np.fft.fftfreq(5, 0.1), rtol=1e-6)
    np.testing.assert_allclose(fft.rfftfreq(6, 2), np.fft.rfftfreq(6, 2), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept(dtype):
    x = tg.from_numpy(RNG.standard_normal(6).astype(dtype)).requires_grad_()
    half = fft.rfft(x)
    assert half.dtype == x.dtype.to_complex()
    assert fft.irfft(half).dtype == x.dtype
    fft.irfft(half * half).sum().backward()
    assert x.grad.dtype == x.dtype
    assert fft.fft(tg.arange(4)).dtype == tg.complex64


@pytest.mark.parametrize("n", [None, 4, 5, 7, 8])
def test_half_complex_gradients(n):
    """Real signals through products of half spectra, at even and odd lengths, cut and filled up."""

    def convolution(x, y):
        return fft.irfft(fft.rfft(x, n) * fft.rfft(y, n), n)

    # Forward mode does not serve products of complex numbers.
    arrays = [RNG.standard_normal(6), RNG.standard_normal(6)]
    check_derivatives(convolution, arrays, forward=False)


def test_the_imaginary_part_of_a_real_coefficient_has_no_gradient():
    half = tg.tensor([1 + 1j, 2 + 2j, 3 + 3j], requires_grad=True)
    fft.irfft(half)[0].backward()
    assert half.grad.tolist() == [0.25, 0.5, 0.25]


def test_errors():
    x, z = tg.ones(4), tg.ones(4, dtype=tg.complex64)
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\) specified"):
        fft.fft(x, 0)
    with pytest.raises(RuntimeError, match=r"Invalid number of data points \(0\) specified"):
        fft.irfft(tg.ones(1))
    with pytest.raises(RuntimeError, match="rfft expects a real input tensor, but got Complex"):
        fft.rfft(z)
    with pytest.raises(RuntimeError, match='Invalid normalization mode: "x"'):
        fft.fft(x, norm="x")
    with pytest.raises(RuntimeError, match="FFT dims must be unique"):
        fft.fftn(tg.ones(2, 2), dim=(0, -2))
    with pytest.raises(RuntimeError, match="dim and shape arguments must have the same length"):
        fft.fftn(x, (3, 4), (0,))
    with pytest.raises(RuntimeError, match="Got shape with 2 values but input tensor only has 1"):
        fft.fftn(x, (3, 4))
    with pytest.raises(IndexError, match="Dimension specified as -1 but tensor has no dimensions"):
        fft.fft(tg.ones(()))
    with pytest.raises(RuntimeError, match="irfftn must transform at least one axis"):
        fft.irfftn(x, dim=())
    with pytest.raises(RuntimeError, match="Unsupported dtype Half"):
        fft.fft(x.half())
    with pytest.raises(RuntimeError, match="fftfreq requires a floating point"):
        fft.fftfreq(3, dtype=tg.int64)
