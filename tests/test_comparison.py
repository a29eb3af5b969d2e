"""assert_close and make_tensor."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.testing import assert_close, make_tensor

INF, NAN = float("inf"), float("nan")

#: Arguments of assert_close, as expressions over `torch` and `np`.
CASES = [
    "torch.ones(3), torch.ones(3)",
    "torch.tensor([1., 2., 3.]), torch.tensor([1., 2.5, 4.])",
    "torch.tensor([1., 2.]).double(), torch.tensor([1., 2. + 2e-7]).double()",
    "torch.tensor([1., 2.]).double(), torch.tensor([1., 2. + 1e-3]).double()",
    "torch.tensor([1., 2.]).half(), torch.tensor([1., 2.25]).half()",
    "torch.tensor([[1, 2], [3, 4]]), torch.tensor([[1, 5], [0, 4]])",
    "torch.tensor([1, 2, 3], dtype=torch.uint8), torch.tensor([3, 2, 1], dtype=torch.uint8)",
    "torch.tensor([True, False]), torch.tensor([True, True])",
    "torch.tensor([1 + 2j, 3j]), torch.tensor([1 + 2j, 4j])",
    "torch.tensor(1.), torch.tensor(2.)",
    "torch.tensor(1), torch.tensor(0)",
    "torch.tensor(1j), torch.tensor(2j)",
    "torch.tensor([1., float('nan')]), torch.tensor([1., float('nan')])",
    "torch.tensor([1., float('nan')]), torch.tensor([1., float('nan')]), {'equal_nan': True}",
    "torch.tensor([1., float('inf')]), torch.tensor([1., float('inf')])",
    "torch.tensor([1., float('inf')]), torch.tensor([1., -float('inf')])",
    "torch.tensor([1., 2.]), torch.tensor([0., 2.])",
    "torch.ones(2), torch.ones(3)",
    "torch.ones(2), torch.ones(2, dtype=torch.float64)",
    "torch.ones(2), torch.ones(2, dtype=torch.float64), {'check_dtype': False}",
    "torch.ones(2) + 1e-6, torch.ones(2, dtype=torch.float64), {'check_dtype': False}",
    "torch.ones(2), torch.tensor([1, 2]), {'check_dtype': False}",
    "torch.ones(2, 3), torch.ones(3, 2).T",
    "torch.ones(2, 3), torch.ones(3, 2).T, {'check_stride': True}",
    "torch.ones(2), torch.ones(2) + 0.1, {'rtol': 0, 'atol': 0.2}",
    "torch.ones(2), torch.ones(2) + 0.1, {'rtol': 0, 'atol': 0.01}",
    "torch.ones(2), torch.ones(2) + 1, {'rtol': 0, 'atol': 0}",
    "torch.ones(2), torch.ones(2), {'rtol': 0.1}",
    "torch.ones(2), torch.ones(2), {'atol': 0.1}",
    "torch.ones(0), torch.ones(0)",
    "1, 1",
    "1, 2",
    "1., 1 + 1e-9",
    "1., 1.5",
    "1, 1.",
    "1, 1., {'check_dtype': False}",
    "1j, 1 + 1j",
    "0., 0.5",
    "0.5, 0.",
    "float('nan'), float('nan')",
    "float('nan'), float('nan'), {'equal_nan': True}",
    "np.float32(1), np.float32(2)",
    "np.ones(2), np.ones(2)",
    "np.ones(2), np.zeros(2)",
    "np.ones(2), [1., 1.]",
    "torch.ones(1), 1.",
    "True, True",
    "True, np.bool_(False)",
    "None, None",
    "None, 1",
    "1, None",
    "'a', 'a'",
    "[1., 2.], [1., 2.]",
    "[1., 2.], (1., 2.)",
    "[1., 2.], [1., 3.]",
    "[1., 2.], [1.]",
    "{'a': 1., 'b': [torch.ones(2)]}, {'a': 1., 'b': [torch.zeros(2)]}",
    "{'a': 1.}, {'b': 1.}",
    "{'a': [1., 2.]}, {'a': [1.]}",
    "[torch.ones(2), torch.ones(2)], [torch.ones(2), None]",
    "[1., {'x': 'a'}], [1., {'x': 'a'}]",
    "[1., 1], [1., 1], {'rtol': 0}",
    "torch.ones(2), torch.zeros(2), {'msg': 'mine'}",
    "torch.ones(2), torch.zeros(2), {'msg': lambda text: 'header: ' + text}",
    "[torch.ones(2)], [torch.zeros(2)], {'msg': lambda text: 'header: ' + text}",
    "torch.ones(2), torch.zeros(3), {'msg': 'mine'}",
    "[1.], [1., 2.], {'msg': 'mine'}",
    "torch.ones(2, requires_grad=True), torch.ones(2)",
    "torch.ones(2, requires_grad=True) * 2, torch.ones(2)",
]  # fmt: skip


def verdict(torch, case):
    actual, expected, *options = eval(f"({case},)", {"torch": torch, "np": np})
    try:
        torch.testing.assert_close(actual, expected, **dict(*options))
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return re.sub(r"<class '[\w.]+\.Tensor'>", "Tensor", text).replace("tapegrad", "torch")
    return "close"


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_as_torch(case):
    torch = pytest.importorskip("torch")
    assert verdict(tg, case) == verdict(torch, case)


def test_close() -> None:
    assert_close(tg.ones(3), tg.ones(3) + 1e-6)
    assert_close([1, {"a": tg.ones(2)}, None, True], [1, {"a": tg.ones(2)}, None, True])
    assert_close(tg.tensor([NAN]), tg.tensor([NAN]), equal_nan=True)
    assert_close(tg.tensor(1), tg.tensor(1.0), check_dtype=False)
    assert_close(tg.ones(2, 3), tg.ones(3, 2).T)
    assert_close(tg.tensor([INF]), tg.tensor([INF]))


def test_a_difference_is_described() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_close([0.0, tg.tensor([[1.0, 2.0]])], [0.0, tg.tensor([[1.0, 4.0]])])
    assert str(caught.value) == (
        "Tensor-likes are not close!\n\n"
        "Mismatched elements: 1 / 2 (50.0%)\n"
        "Greatest absolute difference: 2.0 at index (0, 1) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.5 at index (0, 1) (up to 1.3e-06 allowed)\n\n"
        "The failure occurred for item [1]"
    )


def test_structure_comes_first() -> None:
    with pytest.raises(AssertionError, match="length of the sequences"):
        assert_close([tg.ones(2), [1]], [tg.zeros(2), []])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((tg.ones(1), 1.0), TypeError, "No comparison pair was able to handle"),
        (("a", "a"), TypeError, "No comparison pair was able to handle"),
        ((None, 1), AssertionError, "None mismatch"),
        ((True, False), AssertionError, "Booleans mismatch: True is not False"),
        ((True, 1), AssertionError, "types do not match: <class 'bool'> != <class 'int'>"),
        (({"a": 1}, {"b": 1}), AssertionError, r"Missing keys in the actual mapping: \['b'\]"),
    ],
)
def test_what_cannot_be_close(arguments, error, text) -> None:
    with pytest.raises(error, match=text):
        assert_close(*arguments)


def test_subclasses() -> None:
    class Mine(np.ndarray):
        pass

    mine = np.ones(2).view(Mine)
    assert_close(mine, np.ones(2))
    with pytest.raises(TypeError, match="No comparison pair"):
        assert_close(mine, np.ones(2), allow_subclasses=False)


# -- make_tensor -----------------------------------------------------------------------------------

DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
]
OPTIONS = [
    {},
    {"low": 1, "high": 2.5},
    {"low": -1000, "high": 1e6},
    {"low": -INF, "high": INF},
    {"noncontiguous": True},
    {"exclude_zero": True, "low": 0, "high": 2},
    {"low": 2, "high": 1},
    {"low": NAN},
    {"low": 1e6, "high": 1e60},
    {"low": 1, "high": 1},
    {"requires_grad": True},
    {"noncontiguous": True, "memory_format": "contiguous_format"},
    {"memory_format": "preserve_format"},
]


def made(torch, dtype, shape, options):
    options = {k: getattr(torch, v) if isinstance(v, str) else v for k, v in options.items()}
    torch.manual_seed(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            x = torch.testing.make_tensor(
                *shape, dtype=getattr(torch, dtype), device="cpu", **options
            )
        except Exception as error:
            return f"{type(error).__name__}: {error}".replace("tapegrad", "torch")
    warned = [str(w.message) for w in caught if w.category is FutureWarning]
    strides = x.stride() if x.numel() else ()  # NumPy's empty arrays may have others
    return np.array(x.tolist()), tuple(x.shape), strides, x.requires_grad, warned


@pytest.mark.torch
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_make_tensor_as_torch(dtype, options):
    """The numbers too: the streams are torch's."""
    torch = pytest.importorskip("torch")
    for shape in [(2, 3, 2, 2), ((3, 1),), (0, 2), ()]:
        (values, *found), (numbers, *expected) = (
            ([result] if isinstance(result, str) else result)
            for result in (made(T, dtype, shape, options) for T in (tg, torch))
        )
        assert found == expected
        if found:  # torch multiplies and adds in one rounding
            np.testing.assert_allclose(values, numbers, rtol=1e-12)
        else:
            assert values == numbers


@pytest.mark.parametrize("dtype", DTYPES)
def test_make_tensor(dtype) -> None:
    kind = getattr(tg, dtype)
    x = make_tensor(2, 3, dtype=kind, noncontiguous=True)
    assert x.dtype is kind
    assert tuple(x.shape) == (2, 3)
    assert x.stride() == (6, 2)
    if kind.is_floating_point:
        assert make_tensor((2,), dtype=kind, requires_grad=True).requires_grad
    else:
        nonzero = make_tensor(50, dtype=kind, low=0, high=2, exclude_zero=True)
        assert (nonzero != 0).all()


def test_make_tensor_refuses() -> None:
    with pytest.raises(ValueError, match="`low` must be less than `high`, but got 2 >= 1"):
        make_tensor(2, dtype=tg.float32, low=2, high=1)
    with pytest.raises(ValueError, match="`requires_grad=True` is not supported"):
        make_tensor(2, dtype=tg.int64, requires_grad=True)
    with pytest.raises(ValueError, match="cannot be NaN"):
        make_tensor(2, dtype=tg.float32, low=NAN)
