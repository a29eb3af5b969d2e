"""Anomaly mode, on tapegrad and on torch."""

import warnings

import pytest

import tapegrad

pytestmark = pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")


@pytest.fixture
def x(lib):
    return lib.zeros(2, requires_grad=True)


def broken(lib):
    class Broken(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            raise ValueError("broken here")

    return Broken


def test_nan_names_the_operation_and_the_line(lib, x):
    with lib.autograd.detect_anomaly():
        y = x.sqrt()  # the line to blame
        with (
            warnings.catch_warnings(record=True, action="always") as caught,
            pytest.raises(RuntimeError, match=r"'SqrtBackward0' returned nan values in its 0th"),
        ):
            (y * 0).sum().backward()
    text = "".join(str(w.message) for w in caught)
    assert "Error detected in SqrtBackward0. Traceback of forward call that caused" in text
    assert "# the line to blame" in text


def test_which_input_has_the_nan(lib, x):
    y = lib.zeros(2, requires_grad=True)
    with (
        lib.autograd.detect_anomaly(),
        warnings.catch_warnings(action="ignore"),
        pytest.raises(RuntimeError, match=r"'DivBackward0' returned nan values in its 1th output"),
    ):
        (x / y).sum().backward()


def test_without_check_nan(lib, x):
    with lib.autograd.detect_anomaly(check_nan=False):
        (x.sqrt() * 0).sum().backward()
    assert x.grad.isnan().all()


def test_an_error_in_a_function(lib, x):
    with lib.autograd.set_detect_anomaly(True):
        y = broken(lib).apply(x)
    with (
        lib.autograd.set_detect_anomaly(True),
        pytest.warns(UserWarning, match=r"Error detected in BrokenBackward.*"),
        pytest.raises(ValueError, match=r"broken here"),
    ):
        y.sum().backward()


def test_without_information_from_the_forward_pass(lib, x):
    y = broken(lib).apply(x)
    with (
        lib.autograd.set_detect_anomaly(True),
        pytest.warns(UserWarning, match=r"No forward pass information available"),
        pytest.raises(ValueError, match=r"broken here"),
    ):
        y.sum().backward()


def test_an_error_in_a_second_derivative(lib):
    x = lib.zeros(2, requires_grad=True)
    with lib.autograd.detect_anomaly():
        (first,) = lib.autograd.grad((x**1.5).sum(), x, create_graph=True)  # it induces
        with (
            warnings.catch_warnings(record=True, action="always") as caught,
            pytest.raises(RuntimeError, match=r"returned nan values"),
        ):
            (first * 0).sum().backward()
    text = "".join(str(w.message) for w in caught)
    assert "Previous calculation was induced by PowBackward0" in text
    assert "# it induces" in text


def test_set_detect_anomaly(lib):
    assert not lib.is_anomaly_enabled()
    lib.autograd.set_detect_anomaly(True, check_nan=False)
    assert lib.is_anomaly_enabled()
    assert not lib.is_anomaly_check_nan_enabled()
    with lib.autograd.set_detect_anomaly(False):
        assert not lib.is_anomaly_enabled()
    assert lib.is_anomaly_enabled()
    lib.autograd.set_detect_anomaly(False)
    assert not lib.is_anomaly_enabled()


@pytest.mark.filterwarnings("default:Anomaly Detection has been enabled")
def test_it_warns_that_it_is_slow(lib):
    with pytest.warns(UserWarning, match=r"increase the runtime"):
        lib.autograd.detect_anomaly()


def test_right_gradients_and_the_fast_path_afterwards():
    x = tapegrad.tensor([1.0, 2.0], dtype=tapegrad.float64, requires_grad=True)
    with tapegrad.autograd.detect_anomaly(), warnings.catch_warnings():
        y = x
        for _ in range(50):
            y = y * x / 1.5
        variance, mean = tapegrad.var_mean(y)
        (variance + mean).backward()
    expected, x.grad = x.grad, None
    assert tapegrad.modes.switch.plain
    y = x
    for _ in range(50):
        y = y * x / 1.5
    variance, mean = tapegrad.var_mean(y)
    (variance + mean).backward()
    assert x.grad.allclose(expected)
