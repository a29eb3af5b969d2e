"""Dtypes, promotion, limits and the device: by literal cases, and against torch where it is."""

import copy
import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tapegrad import devices, dtypes, limits
from tapegrad.devices import device
from tapegrad.dtypes import Category

NAMES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
ALL = [dtypes.NAMES[name] for name in NAMES]
FLOATING = [dtypes.float16, dtypes.float32, dtypes.float64]
NUMBERS = (True, 3, 2.5, 1j)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _default_dtype_is_restored() -> Iterator[None]:
    before = dtypes.get_default_dtype()
    yield
    dtypes.set_default_dtype(before)


def like_torch(kind: dtypes.dtype, torch: Any) -> Any:
    return getattr(torch, kind.name)


# -- dtypes ----------------------------------------------------------------------------------------


def test_what_a_dtype_knows() -> None:
    c = dtypes.complex64
    assert repr(c) == "tapegrad.complex64"
    assert (c.name, c.numpy, c.itemsize) == ("complex64", np.dtype(np.complex64), 8)
    assert (c.is_complex, c.is_floating_point, c.is_signed) == (True, False, True)
    assert (dtypes.bool_.is_signed, dtypes.uint8.is_signed) == (False, False)
    assert c.to_real() is dtypes.float32
    assert dtypes.float64.to_complex() is dtypes.complex128
    assert dtypes.int8.to_real() is dtypes.int8


def test_other_names() -> None:
    pairs = {
        **{"half": "float16", "float": "float32", "double": "float64", "cfloat": "complex64"},
        **{"short": "int16", "int": "int32", "long": "int64", "cdouble": "complex128"},
    }
    for name, canonical in pairs.items():
        assert dtypes.NAMES[name] is dtypes.NAMES[canonical]
    assert dtypes.NAMES.keys() == {*NAMES, *pairs}
    assert (dtypes.float_, dtypes.int_, dtypes.bool_) == tuple(
        dtypes.NAMES[name] for name in ("float", "int", "bool")
    )


@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_there_is_one_object_for_each(kind: dtypes.dtype) -> None:
    assert dtypes.from_numpy(kind.numpy) is kind
    assert copy.copy(kind) is copy.deepcopy(kind) is kind
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(kind, protocol)) is kind
    assert {kind: 1}[kind] == 1


def test_dtypes_cannot_be_made_or_changed() -> None:
    with pytest.raises(TypeError, match=r"cannot create 'tapegrad\.dtype' instances"):
        dtypes.dtype()
    with pytest.raises(AttributeError, match=r"'itemsize' of 'tapegrad\.dtype' objects is not"):
        dtypes.int8.itemsize = 2
    with pytest.raises(AttributeError, match=r"'tapegrad\.dtype' object has no attribute 'other'"):
        dtypes.int8.other = 2
    with pytest.raises(RuntimeError, match=r"no complex dtype has parts of tapegrad\.int8"):
        dtypes.int8.to_complex()


@pytest.mark.parametrize(
    ("numpy", "error", "message"),
    [
        (np.dtype(object), TypeError, "type numpy.object_. The only supported types are: float64"),
        (np.dtype("U1"), TypeError, "can't convert np.ndarray of type numpy.str_. The only"),
        (np.dtype("M8[s]"), TypeError, "numpy.datetime64"),
        (np.dtype(np.uint16), TypeError, "numpy.uint16"),
        (np.dtype(object).newbyteorder(), TypeError, "numpy.object_"),
        (np.dtype(np.float32).newbyteorder(), ValueError, "byte order different from the native"),
    ],
)
def test_arrays_that_no_tensor_can_hold(
    numpy: np.dtype, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace(".", r"\.")):
        dtypes.from_numpy(numpy)


def test_every_way_to_write_a_numpy_dtype() -> None:
    assert dtypes.from_numpy(np.dtype("longlong")) is dtypes.int64
    assert dtypes.from_numpy(np.dtype("=f4")) is dtypes.float32


def test_python_types_as_dtypes() -> None:
    assert dtypes.as_dtype(dtypes.int8) is dtypes.int8
    pythons: list[tuple[type, dtypes.dtype]] = [
        *((bool, dtypes.bool_), (int, dtypes.int64)),
        *((float, dtypes.float64), (complex, dtypes.complex128)),
    ]
    for python, expected in pythons:
        assert dtypes.as_dtype(python) is expected
    for wrong, name in (("float32", "str"), (np.float32, "type"), (None, "NoneType")):
        message = rf"zeros\(\): argument 'dtype' must be tapegrad\.dtype, not {name}$"
        with pytest.raises(TypeError, match=message):
            dtypes.as_dtype(wrong, "zeros")


# -- defaults --------------------------------------------------------------------------------------


def test_default_dtype() -> None:
    assert dtypes.get_default_dtype() is dtypes.float32
    assert dtypes.get_default_complex_dtype() is dtypes.complex64
    dtypes.set_default_dtype(dtypes.float64)
    assert dtypes.get_default_dtype() is dtypes.float64
    assert dtypes.get_default_complex_dtype() is dtypes.complex128
    assert [dtypes.number_dtype(x).name for x in NUMBERS] == [
        *("bool", "int64", "float64", "complex128")
    ]


@pytest.mark.parametrize("wrong", [dtypes.int32, dtypes.complex64, "float32", float, None])
def test_default_dtype_must_be_floating(wrong: Any) -> None:
    prefix = "" if isinstance(wrong, dtypes.dtype) else "invalid dtype object: "
    message = f"^{prefix}only floating-point types are supported as the default type$"
    with pytest.raises(TypeError, match=message):
        dtypes.set_default_dtype(wrong)


def test_dtype_of_numbers() -> None:
    assert [dtypes.number_dtype(x).name for x in NUMBERS] == [
        *("bool", "int64", "float32", "complex64")
    ]
    numpy = (np.True_, np.uint8(1), np.float64(1), np.complex128(1))
    assert [dtypes.number_dtype(x).name for x in numpy] == [
        *("bool", "int64", "float32", "complex64")
    ]
    with pytest.raises(TypeError, match="expected a number, but got str"):
        dtypes.number_dtype("1")


# -- promotion -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("uint8", "int8", "int16"),
        ("bool", "uint8", "uint8"),
        ("int64", "float16", "float16"),
        ("float16", "float32", "float32"),
        ("int64", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("float16", "complex64", "complex64"),
    ],
)
def test_promote_types(a: str, b: str, expected: str) -> None:
    for one, other in ((a, b), (b, a)):
        promoted = dtypes.promote_types(dtypes.NAMES[one], dtypes.NAMES[other])
        assert promoted is dtypes.NAMES[expected]


def test_can_cast() -> None:
    assert dtypes.can_cast(dtypes.float64, dtypes.float16)
    assert dtypes.can_cast(dtypes.int8, dtypes.uint8)
    assert not dtypes.can_cast(dtypes.float16, dtypes.int64)
    assert not dtypes.can_cast(dtypes.uint8, dtypes.bool_)


@pytest.mark.parametrize(
    ("operands", "expected"),
    [
        ("float32 tensor, float64 scalar", "float32"),
        ("float32 tensor, float64 tensor", "float64"),
        ("int8 tensor, int64 scalar", "int8"),
        ("int64 scalar, int8 number", "int64"),
        ("bool tensor, int64 number", "int64"),
        ("int8 tensor, float64 scalar", "float64"),
        ("int8 tensor, float64 number", "float32"),  # a Python float has the default dtype
        ("float64 tensor, complex64 number", "complex128"),
        ("float64 scalar, complex64 tensor", "complex64"),
        ("complex64 scalar, float64 tensor", "complex128"),
        ("float16 scalar, int8 tensor", "float16"),
        ("int8 tensor, uint8 tensor, float64 scalar, complex128 number", "complex128"),
        ("int8 tensor, float16 scalar, float64 number", "float16"),
        ("bool tensor, bool number", "bool"),
        ("float64 number", "float32"),
    ],
)
def test_result_type(operands: str, expected: str) -> None:
    pairs = [operand.split() for operand in operands.split(", ")]
    given: list[Any] = [(dtypes.NAMES[name], category) for name, category in pairs]
    for order in itertools.permutations(given):
        assert dtypes.result_type(*order).name == expected


def test_promotion_of_what_is_no_dtype() -> None:
    wrong: Any = 3
    with pytest.raises(
        TypeError, match=r"^promote_types\(\): argument 'type2' \(position 2\) must"
    ):
        dtypes.promote_types(dtypes.int8, wrong)
    with pytest.raises(
        TypeError, match=r"'type1' \(position 1\) must be tapegrad\.dtype, not list"
    ):
        dtypes.promote_types([], dtypes.int8)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^can_cast\(\): argument 'from_' \(position 1\) must be"):
        dtypes.can_cast(wrong, wrong)
    with pytest.raises(TypeError, match="at least one operand"):
        dtypes.result_type()


# -- limits ----------------------------------------------------------------------------------------


def test_finfo() -> None:
    info = limits.finfo(dtypes.float16)
    assert (info.bits, info.max, info.min, info.dtype) == (16, 65504.0, -65504.0, "float16")
    assert (info.eps, info.tiny, info.resolution) == (2.0**-10, 2.0**-14, 1e-3)
    assert repr(info) == (
        "finfo(resolution=0.001, min=-65504, max=65504, eps=0.000976562, "
        "smallest_normal=6.10352e-05, tiny=6.10352e-05, dtype=float16)"
    )
    assert limits.finfo() == limits.finfo(dtypes.float32) == limits.finfo(dtypes.complex64)
    assert limits.finfo() != info
    with pytest.raises(TypeError, match=r"Use tapegrad\.iinfo to handle 'tapegrad\.finfo'"):
        limits.finfo(dtypes.int8)
    with pytest.raises(TypeError, match=r"^finfo\(\): argument 'type' \(position 1\) must be"):
        limits.finfo("float32")  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="not writable"):
        info.max = 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(info)


def test_iinfo() -> None:
    info = limits.iinfo(dtypes.int32)
    assert (info.bits, info.min, info.max, info.dtype) == (32, -(2**31), 2**31 - 1, "int32")
    assert repr(info) == "iinfo(min=-2.14748e+09, max=2.14748e+09, dtype=int32)"
    with pytest.raises(TypeError, match=r"tapegrad\.bool is not supported by tapegrad\.iinfo"):
        limits.iinfo(dtypes.bool_)
    with pytest.raises(TypeError, match=r"Use tapegrad\.finfo to handle 'tapegrad\.iinfo'"):
        limits.iinfo(dtypes.float32)


# -- device ----------------------------------------------------------------------------------------


def test_device() -> None:
    cpu, cuda = device("cpu"), device("cuda", 1)
    assert (repr(cpu), str(cpu), cpu.type, cpu.index) == ("device(type='cpu')", "cpu", "cpu", None)
    assert (repr(cuda), str(cuda)) == ("device(type='cuda', index=1)", "cuda:1")
    assert cuda == device("cuda:1") == device(cuda) == device(type="cuda", index=1)
    assert cpu != device("cpu", 0)
    assert cpu != "cpu"
    assert len({cpu, device("cpu"), cuda}) == 2
    assert pickle.loads(pickle.dumps(cuda)) == copy.deepcopy(cuda) == cuda
    with pytest.raises(AttributeError, match="not writable"):
        cpu.type = "cuda"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("",), RuntimeError, "Device string must not be empty"),
        (("xyz",), RuntimeError, "Expected one of cpu, cuda, ipu, xpu, .* device string: xyz"),
        (("CPU",), RuntimeError, "Expected one of .* device string: CPU"),
        (("cpu:x",), RuntimeError, "Invalid device string: 'cpu:x'"),
        (("cpu:01",), RuntimeError, "Invalid device string: 'cpu:01'"),
        (("cpu:",), RuntimeError, "Invalid device string: 'cpu:'"),
        (("cpu", -1), RuntimeError, "Device index must not be negative"),
        (("cpu:0", 1), RuntimeError, "index because index was passed explicitly: cpu:0"),
        (("cpu", "0"), TypeError, r"argument 'index' \(position 2\) must be int, not str"),
        ((0,), RuntimeError, "Cannot access accelerator device when none is available"),
        ((-1,), RuntimeError, "Device index must not be negative"),
        ((None,), TypeError, r"invalid combination of arguments - got \(NoneType\), but expected"),
        ((True,), TypeError, r"invalid combination of arguments - got \(bool\), but expected"),
    ],
)
def test_devices_that_cannot_be_named(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        device(*arguments)


def test_check_device() -> None:
    for value in (None, "cpu", "cpu:3", device("cpu"), device("cpu", 0)):
        assert devices.check_device(value) is devices.cpu
    with device("cpu") as entered:
        assert entered == devices.cpu


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("cuda", AssertionError, "tapegrad not compiled with CUDA enabled.*use device='cpu'"),
        (device("cuda:1"), AssertionError, "tapegrad not compiled with CUDA enabled"),
        ("xpu", AssertionError, "tapegrad not compiled with XPU enabled"),
        ("hpu", ModuleNotFoundError, r"No module named 'tapegrad\.hpu'"),
        ("mps", NotImplementedError, "tapegrad has no 'mps' device.*use device='cpu'"),
        (0, RuntimeError, "Cannot access accelerator device when none is available"),
        (1.5, TypeError, r"ones\(\): argument 'device' must be tapegrad\.device, not float"),
    ],
)
def test_devices_that_are_not_there(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        devices.check_device(value, "ones")


# -- against torch ---------------------------------------------------------------------------------


@pytest.mark.torch
@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_attributes_are_torchs(kind: dtypes.dtype, torch: Any) -> None:
    other = like_torch(kind, torch)
    for name in ("is_complex", "is_floating_point", "is_signed", "itemsize"):
        assert getattr(kind, name) == getattr(other, name)
    assert like_torch(kind.to_real(), torch) is other.to_real()


@pytest.mark.torch
def test_names_are_torchs(torch: Any) -> None:
    for name, kind in dtypes.NAMES.items():
        assert getattr(torch, name) is like_torch(kind, torch)


@pytest.mark.torch
def test_promotion_of_all_pairs_is_torchs(torch: Any) -> None:
    for a, b in itertools.product(ALL, ALL):
        others = like_torch(a, torch), like_torch(b, torch)
        assert like_torch(dtypes.promote_types(a, b), torch) is torch.promote_types(*others)
        assert dtypes.can_cast(a, b) == torch.can_cast(*others)


@pytest.mark.torch
@pytest.mark.parametrize("default", FLOATING, ids=repr)
def test_result_type_of_all_pairs_is_torchs(default: dtypes.dtype, torch: Any) -> None:
    dtypes.set_default_dtype(default)
    operands: list[tuple[tuple[dtypes.dtype, Category], Any]] = []
    for kind in ALL:
        other = like_torch(kind, torch)
        operands.append(((kind, "tensor"), torch.ones(2, dtype=other)))
        operands.append(((kind, "scalar"), torch.ones((), dtype=other)))
    operands += [((dtypes.number_dtype(x), "number"), x) for x in NUMBERS]

    before = torch.get_default_dtype()
    torch.set_default_dtype(like_torch(default, torch))
    try:
        for (a, x), (b, y) in itertools.product(operands, operands):
            expected = torch.result_type(x, y)
            if expected is torch.complex32:  # which NumPy doesn't have
                expected = torch.complex64
            assert like_torch(dtypes.result_type(a, b), torch) is expected, (a, b)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.torch
@pytest.mark.parametrize("kind", ALL, ids=repr)
def test_limits_are_torchs(kind: dtypes.dtype, torch: Any) -> None:
    names = ["bits", "max", "min", "dtype"]
    if kind.is_floating_point or kind.is_complex:
        names += ["eps", "resolution", "smallest_normal", "tiny"]
    which = "finfo" if len(names) > 4 else "iinfo"
    if kind is dtypes.bool_:
        for library, x in ((torch, torch.bool), (limits, kind)):
            with pytest.raises(TypeError):
                getattr(library, which)(x)
        return
    ours, theirs = getattr(limits, which)(kind), getattr(torch, which)(like_torch(kind, torch))
    assert repr(ours) == repr(theirs)
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]


@pytest.mark.torch
@pytest.mark.parametrize(
    "arguments",
    [
        *[("cpu",), ("cpu", 0), ("cuda:1",), ("meta:0",), ("mps",), ("cpu", None), ("hip", 3)],
        *[("",), ("xyz",), ("CPU",), ("cpu:x",), ("cpu:01",), ("cpu:",), ("cpu:-1",), ("cpu:0:1",)],
        *[("a_b",), ("cpu1",), (" cpu",), ("cpu", -2), (-1,), (":1",), ("cpu:0 ",), ("foo:x",)],
        *[("cpu:0", 1), ("cpu", "0")],
    ],
)
def test_devices_are_torchs(arguments: tuple[Any, ...], torch: Any) -> None:
    def outcome(make: Any) -> tuple[Any, ...]:
        try:
            made = make(*arguments)
        except (RuntimeError, TypeError) as error:
            return type(error), str(error)
        return repr(made), str(made)

    assert outcome(device) == outcome(torch.device)


@pytest.mark.torch
@pytest.mark.parametrize(
    "value", ["cuda", "cuda:1", "xpu", "hpu", "mtia", "privateuseone", "mps", "xla", "xyz", 0, 1.5]
)
def test_absent_devices_raise_as_in_torch(value: Any, torch: Any) -> None:
    with pytest.raises(Exception) as expected:  # noqa: PT011
        torch.zeros(1, device=value)
    with pytest.raises(Exception) as info:  # noqa: PT011
        devices.check_device(value)
    assert info.type is expected.type
