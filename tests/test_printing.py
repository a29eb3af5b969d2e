"""Sizes and the strings of Tensors: by literal cases, and against torch where it is."""

import copy
import pickle
from collections.abc import Iterator
from operator import add
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tapegrad import dtypes, printing
from tapegrad.dtypes import from_numpy
from tapegrad.printing import format_tensor, printoptions
from tapegrad.size import Size, size_of

nan, inf = np.nan, np.inf
f2, f4, f8, c8, c16 = np.float16, np.float32, np.float64, np.complex64, np.complex128


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def names_as_torchs() -> Iterator[None]:
    """Our dtypes print like torch's: where a line breaks depends on the length of their names."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dtypes.dtype, "__repr__", lambda self: f"torch.{self.name}")
        yield


@pytest.fixture(autouse=True)
def _defaults_are_restored() -> Iterator[None]:
    options, default = printing._options, dtypes.get_default_dtype()
    yield
    printing._options = options
    dtypes.set_default_dtype(default)


def text(data: Any, dtype: Any = f4, requires_grad: bool = False, **notes: Any) -> str:
    array = np.array(data, dtype)
    return format_tensor(array, dtype=from_numpy(array.dtype), requires_grad=requires_grad, **notes)


# -- Size ------------------------------------------------------------------------------------------


def test_size_prints_and_counts() -> None:
    assert repr(Size([2, 3])) == str(Size([2, 3])) == f"{Size([2, 3])}" == "tapegrad.Size([2, 3])"
    assert repr(Size()) == "tapegrad.Size([])"
    assert (Size([2, 3]).numel(), Size().numel(), Size([0, 3]).numel()) == (6, 1, 0)


def test_size_is_a_tuple() -> None:
    size = Size(n for n in (2, 3))
    assert size == (2, 3) == Size(size) == size_of((2, 3))
    assert hash(size) == hash((2, 3))
    assert (size[0], size[-1], [*size]) == (2, 3, [2, 3])
    assert add(size, (4,)) == add(size, Size([4])) == (2, 3, 4)
    assert add((4,), size) == (4, 2, 3)
    for made in (
        *(size[:1], size[:], add(size, (4,)), add((4,), size), size * 2, 2 * size, size_of((1,))),
        *(copy.copy(size), copy.deepcopy(size), pickle.loads(pickle.dumps(size, 0))),
    ):
        assert type(made) is Size


def test_size_takes_integers_only() -> None:
    made = Size([np.int64(2), True])
    assert made == (2, 1)
    assert [type(n) for n in made] == [int, int]
    message = r"^tapegrad\.Size\(\) takes an iterable of 'int' \(item 1 is '(float|str)'\)$"
    for wrong in ([1, 2.0], [1, "b"]):
        with pytest.raises(TypeError, match=message):
            Size(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message):
        add(Size([1]), ("b",))
    with pytest.raises(TypeError, match=r"can only concatenate tuple \(not list\) to tapegrad\."):
        add(Size([1]), [2])
    with pytest.raises(TypeError, match="can only concatenate list"):
        add([1], Size([2]))
    with pytest.raises(TypeError, match="can't multiply sequence by non-int of type 'float'"):
        Size([1]) * 1.5  # type: ignore[operator]


@pytest.mark.torch
@pytest.mark.parametrize("sizes", [(), (2, 3), [1], (0, 3), (-1, 2)])
def test_size_is_torchs(sizes: Any, torch: Any) -> None:
    ours, theirs = Size(sizes), torch.Size(sizes)
    assert repr(ours) == repr(theirs).replace("torch", "tapegrad")
    assert ours.numel() == theirs.numel()


# -- literal cases ---------------------------------------------------------------------------------

LITERAL: list[tuple[Any, Any, str]] = [
    ([[4, 2], [2, 4]], f4, "tensor([[4., 2.],\n        [2., 4.]])"),
    (1.0, f8, "tensor(1., dtype=tapegrad.float64)"),
    (-0.0, f4, "tensor(-0.)"),
    (0.7, f4, "tensor(0.7000)"),
    (7, np.int64, "tensor(7)"),
    (nan, f4, "tensor(nan)"),
    ([1, 2], np.int32, "tensor([1, 2], dtype=tapegrad.int32)"),
    ([1, -20], np.int64, "tensor([  1, -20])"),
    ([True, False], bool, "tensor([ True, False])"),
    ([0.1, 2], f2, "tensor([0.1000, 2.0000], dtype=tapegrad.float16)"),
    ([1, nan, inf, -inf], f4, "tensor([1., nan, inf, -inf])"),
    ([1.5, nan, inf, -inf], f4, "tensor([1.5000,    nan,    inf,   -inf])"),
    ([0, nan, -inf], f4, "tensor([0., nan, -inf])"),
    ([1e-5, 1], f4, "tensor([1.0000e-05, 1.0000e+00])"),
    ([1, 1000], f4, "tensor([   1., 1000.])"),
    ([1, 1001], f4, "tensor([1.0000e+00, 1.0010e+03])"),
    ([1e8, 99999999], f8, "tensor([100000000.,  99999999.], dtype=tapegrad.float64)"),
    ([1e308, 5e-324], f8, "tensor([1.0000e+308, 4.9407e-324], dtype=tapegrad.float64)"),
    ([0.5 + 1j, -1], c8, "tensor([ 0.5000+1.j, -1.0000+0.j])"),
    ([complex(nan, -1), complex(1, -inf)], c8, "tensor([nan-1.j, 1.-infj])"),
    ([complex(1, -0.0)], c16, "tensor([1.-0.j], dtype=tapegrad.complex128)"),
    ([], f4, "tensor([])"),
    ([], np.int64, "tensor([], dtype=tapegrad.int64)"),
    (np.ones((0, 3)), f4, "tensor([], size=(0, 3))"),
    (np.ones((2, 0)), bool, "tensor([], size=(2, 0), dtype=tapegrad.bool)"),
    (
        np.arange(8).reshape(2, 2, 2),
        np.int64,
        "tensor([[[0, 1],\n         [2, 3]],\n\n        [[4, 5],\n         [6, 7]]])",
    ),
    (
        np.zeros((2, 1, 1, 1)),
        f4,
        "tensor([[[[0.]]],\n\n\n        [[[0.]]]])",
    ),
    (
        np.arange(20) / 8,
        f4,
        "tensor([0.0000, 0.1250, 0.2500, 0.3750, 0.5000, 0.6250, 0.7500, 0.8750, 1.0000,\n"
        "        1.1250, 1.2500, 1.3750, 1.5000, 1.6250, 1.7500, 1.8750, 2.0000, 2.1250,\n"
        "        2.2500, 2.3750])",
    ),
    (np.arange(2000), np.int64, "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    (np.arange(1000) * 0 == 0, bool, f"tensor([{('True, ' * 12)[:-1]}\n        "),
    (
        np.arange(2400).reshape(4, 600),
        f8,
        "tensor([[0.0000e+00, 1.0000e+00, 2.0000e+00,  ..., 5.9700e+02, 5.9800e+02,\n"
        "         5.9900e+02],\n"
        "        [6.0000e+02, 6.0100e+02, 6.0200e+02,  ..., 1.1970e+03, 1.1980e+03,\n"
        "         1.1990e+03],\n"
        "        [1.2000e+03, 1.2010e+03, 1.2020e+03,  ..., 1.7970e+03, 1.7980e+03,\n"
        "         1.7990e+03],\n"
        "        [1.8000e+03, 1.8010e+03, 1.8020e+03,  ..., 2.3970e+03, 2.3980e+03,\n"
        "         2.3990e+03]], dtype=tapegrad.float64)",
    ),
    (
        np.ones((7, 200)),
        f4,
        "tensor([[1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        ...,\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.],\n"
        "        [1., 1., 1.,  ..., 1., 1., 1.]])",
    ),
]


@pytest.mark.parametrize(("data", "dtype", "expected"), LITERAL)
def test_literal(data: Any, dtype: Any, expected: str) -> None:
    assert text(data, dtype).startswith(expected)


@pytest.mark.torch
@pytest.mark.parametrize(("data", "dtype", "expected"), LITERAL)
def test_literal_is_torchs(data: Any, dtype: Any, expected: str, torch: Any) -> None:
    theirs = repr(torch.from_numpy(np.array(data, dtype)))
    assert theirs.replace("torch.", "tapegrad.").startswith(expected)


def test_notes() -> None:
    assert text(1.0, f8, True) == "tensor(1., dtype=tapegrad.float64, requires_grad=True)"
    expected = "tensor(0.7000, grad_fn=<MeanBackward0>)"
    assert text(0.7, f4, True, grad_fn="MeanBackward0") == expected
    assert text(0.7, f4, True, grad_fn="<MeanBackward0>") == expected
    assert text(np.ones((0, 3)), f8, True) == (
        "tensor([], size=(0, 3), dtype=tapegrad.float64, requires_grad=True)"
    )


def test_notes_start_a_new_line_where_they_must() -> None:
    for ones, fits in ((16, True), (17, False)):
        between = " " if fits else "\n       "
        expected = f"tensor([{', '.join(['1.'] * ones)}],{between}requires_grad=True)"
        with printoptions(linewidth=93):
            assert text(np.ones(ones), f4, True) == expected


def test_default_dtype_is_not_named() -> None:
    dtypes.set_default_dtype(dtypes.float64)
    assert text([0.5], f8) == "tensor([0.5000])"
    assert text([0.5j], c16) == "tensor([0.+0.5000j])"
    assert text([0.5], f4) == "tensor([0.5000], dtype=tapegrad.float32)"


def test_indent_is_the_column_where_the_text_starts() -> None:
    lines = text(np.ones((2, 2)), f4, indent=4).split("\n")
    assert lines == ["tensor([[1., 1.],", "            [1., 1.]])"]
    with printoptions(linewidth=30):
        shifted, plain = text([1.0], f4, True, indent=10), text([1.0], f4, True)
    assert shifted == f"tensor([1.],\n{' ' * 17}requires_grad=True)"
    assert plain == f"tensor([1.],\n{' ' * 7}requires_grad=True)"


# -- options ---------------------------------------------------------------------------------------


def test_options() -> None:
    printing.set_printoptions(precision=2)
    assert text([1 / 3, 2]) == "tensor([0.33, 2.00])"
    printing.set_printoptions(sci_mode=True)
    assert text([1, 0]) == "tensor([1.00e+00, 0.00e+00])"
    assert text([0, 0]) == "tensor([0., 0.])"  # torch's exception
    printing.set_printoptions(sci_mode=False)
    assert text([1e-5, 1.5]) == "tensor([0.00, 1.50])"
    printing.set_printoptions(profile="default")  # and sci_mode, being None, is reset as well
    assert printing.get_printoptions() == {
        **{"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
        "sci_mode": None,
    }


def test_profiles() -> None:
    with printoptions(profile="short"):
        assert (
            text(np.arange(2000) / 1e3) == "tensor([0.00e+00, 1.00e-03,  ..., 2.00e+00, 2.00e+00])"
        )
    with printoptions(profile="full"):
        assert text(np.zeros(2000)).count("0.") == 2000
    with printoptions(profile="no such profile"):
        assert printing.get_printoptions()["precision"] == 4


def test_printoptions_end_with_the_block() -> None:
    printing.set_printoptions(precision=6, sci_mode=True)
    before = printing.get_printoptions()
    with printoptions(precision=1, edgeitems=1):
        assert text([1.5]) == "tensor([1.5])"
    assert printing.get_printoptions() == before
    with pytest.raises(ZeroDivisionError), printoptions(precision=1):
        raise ZeroDivisionError
    assert printing.get_printoptions() == before


def test_no_edges() -> None:
    with printoptions(edgeitems=0, threshold=5):
        assert text(np.zeros((2, 3))) == "tensor([...], size=(2, 3))"
        assert text([1, 2]) == "tensor([1., 2.], size=(2,))"


@pytest.mark.parametrize("name", ["precision", "edgeitems"])
def test_options_that_would_fail_later(name: str) -> None:
    wrong: Any
    for wrong, error in ((-1, ValueError), (2.5, TypeError), ("a", TypeError)):
        with pytest.raises(error, match=name):
            printing.set_printoptions(**{name: wrong})


def test_printing_is_silent() -> None:
    """Warnings are errors here; an errstate of the user's must not strike either."""
    special = [0, -0.0, nan, inf, -inf, 1, -1, 6e-8, 65504]
    with np.errstate(all="raise"):
        for dtype in (f2, f4, f8):
            text(np.array(special, dtype), dtype)
            text(np.array([*special, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype), dtype)
        text(np.array([5e-324, 1e308]), f8)
        text(np.array([complex(nan, inf), 5e-324]), c16)


# -- against torch ---------------------------------------------------------------------------------

EDGES = [
    *(0.0, -0.0, nan, inf, -inf, 1.0, 1e8, 1e8 + 1, 99999999.0, 1000.0, 1000.5, 1e-4, 9.99995e-5),
    *(0.5, -4e-5, 999.99995, 9.99995, 0.99995, -1.0),
]

#: How the numbers of one array are alike decides its notation, so each array draws from one kind.
KINDS_OF_FLOATS = (
    st.floats(-10, 10),
    st.floats(),
    st.integers(-1200, 1200).map(float),
    st.integers(-(10**10), 10**10).map(float),
    st.floats(-5, 4).map(lambda exponent: 10.0**exponent),
    st.floats(-320, 308).map(lambda exponent: -(10.0**exponent)),
    st.sampled_from(EDGES),
    st.sampled_from([0.0, -0.0, nan, inf, -inf]),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    kind = draw(st.sampled_from(list(dtypes.NAMES.values()))).numpy
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    if kind.kind not in "fc":
        small = draw(st.booleans()) and kind.kind in "iu"
        elements = st.integers(0 if kind.kind == "u" else -9, 9) if small else None
        return draw(npst.arrays(kind, shape, elements=elements))
    parts = []
    for _ in "ri" if kind.kind == "c" else "r":
        numbers = draw(st.sampled_from(KINDS_OF_FLOATS)) | st.sampled_from(EDGES[:5])
        if draw(st.booleans()):
            numbers = draw(st.sampled_from(KINDS_OF_FLOATS))
        parts.append(draw(npst.arrays(f8, shape, elements=numbers)))
    with np.errstate(all="ignore"):  # numbers beyond the range of a narrower dtype become inf
        out = np.empty(shape, kind)
        out.real = parts[0]
        if kind.kind == "c":
            out.imag = parts[1]
    return out


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 12),
        "threshold": st.sampled_from([0, 1, 5, 20, 100, inf]),
        "edgeitems": st.integers(0, 5),
        "linewidth": st.integers(0, 120),
        "profile": st.sampled_from(["default", "short", "full", "FULL"]),
        "sci_mode": st.sampled_from([True, False, None]),
    },
)


@pytest.mark.torch
@pytest.mark.usefixtures("names_as_torchs")
@settings(max_examples=500, deadline=None)
@given(
    array=arrays(),
    options=st.just({}) | OPTIONS,
    default=st.sampled_from(["float32", "float64", "float16"]),
    grad=st.sampled_from(["none", "leaf", "record"]),
)
def test_text_is_torchs(
    torch: Any, array: np.ndarray, options: dict[str, Any], default: str, grad: str
) -> None:
    tensor = torch.from_numpy(array.copy())
    dtype = from_numpy(array.dtype)
    if grad != "none" and array.dtype.kind in "fc":
        tensor.requires_grad_()
        tensor = tensor.view(tensor.shape) if grad == "record" else tensor
    grad_fn = tensor.grad_fn and tensor.grad_fn.name()
    theirs = torch._tensor_str
    try:
        torch.set_default_dtype(getattr(torch, default))
        dtypes.set_default_dtype(dtypes.NAMES[default])
        with theirs.printoptions(**options), printoptions(**options):
            assert theirs.get_printoptions() == printing.get_printoptions()
            ours = format_tensor(
                array, dtype=dtype, requires_grad=tensor.requires_grad, grad_fn=grad_fn
            )
            assert ours == repr(tensor)
    finally:
        torch.set_default_dtype(torch.float32)
        dtypes.set_default_dtype(dtypes.float32)


@pytest.mark.torch
@pytest.mark.usefixtures("names_as_torchs")
@settings(max_examples=200, deadline=None)
@given(changes=st.lists(OPTIONS, max_size=5))
def test_options_are_torchs(torch: Any, changes: list[dict[str, Any]]) -> None:
    theirs = torch._tensor_str
    with theirs.printoptions(profile="default"), printoptions(profile="default"):
        for options in changes:
            torch.set_printoptions(**options)
            printing.set_printoptions(**options)
            assert theirs.get_printoptions() == printing.get_printoptions()


@pytest.mark.torch
@pytest.mark.usefixtures("names_as_torchs")
@settings(max_examples=100, deadline=None)
@given(
    shape=npst.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=40),
    scale=st.sampled_from([1.0, 100.0, 1e-6, 1e6]),
    whole=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_large_ones_are_torchs(
    torch: Any, shape: tuple[int, ...], scale: float, whole: bool, seed: int
) -> None:
    array = scale * np.random.default_rng(seed).standard_normal(shape)
    array = np.round(array) if whole else array
    array = array.T if seed % 2 else array  # not contiguous
    assert format_tensor(array, dtype=dtypes.float64) == repr(torch.from_numpy(array))
