"""Arguments of autograd.grad and backward, on tapegrad and, where it is installed, on torch."""

import subprocess
import sys

import pytest


@pytest.fixture
def x(lib):
    return lib.tensor([1.0, 2.0], requires_grad=True)


def test_grad_needs_inputs(lib, x):
    with pytest.raises(RuntimeError, match=r"`inputs` argument to `grad\(\)` cannot be empty"):
        lib.autograd.grad(x.sum(), [])


def test_grad_without_outputs(lib, x):
    with pytest.raises(RuntimeError, match="at index 0 appears to not have been used"):
        lib.autograd.grad([], [x])
    assert lib.autograd.grad([], [x], allow_unused=True) == (None,)


def test_one_input_twice():
    import tapegrad as tg

    x = tg.tensor([1.0, 2.0], requires_grad=True)
    first, second = tg.autograd.grad((x * x).sum(), [x, x])
    first.zero_()
    assert second.tolist() == [2.0, 4.0]


def test_only_inputs_is_ignored(lib, x):
    y = lib.ones(2, requires_grad=True)
    with pytest.warns(FutureWarning, match="only_inputs argument is deprecated"):
        (found,) = lib.autograd.grad((x * y).sum(), x, only_inputs=False)
    assert found.tolist() == [1.0, 1.0]
    assert y.grad is None


def test_grad_variables(lib, x):
    with pytest.warns(FutureWarning, match="`grad_variables` is deprecated"):
        lib.autograd.backward(x.sum(), grad_variables=lib.tensor(3.0))
    assert x.grad.tolist() == [3.0, 3.0]
    with (
        pytest.warns(FutureWarning, match="`grad_variables` is deprecated"),
        pytest.raises(RuntimeError, match="Please only use `grad_tensors`"),
    ):
        lib.autograd.backward(x.sum(), lib.tensor(1.0), grad_variables=lib.tensor(3.0))


def test_multithreading_switch(lib, x):
    with lib.autograd.set_multithreading_enabled(False):
        x.sum().backward()
    lib.autograd.set_multithreading_enabled(True)
    assert x.grad.tolist() == [1.0, 1.0]


def test_batched_gradients_before_anything_else_was_loaded():
    program = """if True:
        import tapegrad as tg
        x = tg.ones(2, requires_grad=True)
        print(tg.autograd.grad(x * 2, x, tg.eye(2), is_grads_batched=True)[0].tolist())
    """
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[[2.0, 0.0], [0.0, 2.0]]"


@pytest.mark.parametrize("native", [False, True])
def test_grad_goes_no_other_way_than_to_its_inputs(native):
    import tapegrad as tg

    if native and not tg.warmup():
        pytest.skip("no native loop here")
    x, y = (tg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    used = y.exp()
    z = ((x * x).sin() * used).sum()
    (found,) = tg.autograd.grad(z, x)
    wanted = 2 * x.detach() * (x.detach() ** 2).cos() * used.detach()
    tg.testing.assert_close(found, wanted)
    used.sum().backward()  # what the first walk didn't need is there still
    tg.testing.assert_close(y.grad, used.detach())
    with pytest.raises(RuntimeError, match="second time"):
        z.backward()
