"""The profiler: tapegrad's own table; what it has in common with torch's runs on both."""

import json

import pytest

import tapegrad
from tapegrad import recording
from tapegrad.autograd.profiler import profile, record_function
from tapegrad.modes import switch
from tapegrad.primitive import Primitive


def rows(prof):
    return {row.key: row for row in prof.key_averages()}


def test_calls_times_and_bytes():
    x = tapegrad.ones(100, requires_grad=True)
    with profile(record_shapes=True) as prof:
        y = x
        for _ in range(3):
            y = y * x
        variance, mean = tapegrad.var_mean(y)
        (variance + mean).backward()
        with tapegrad.no_grad():
            x.exp()
        y.view(10, 10)
    found = rows(prof)
    assert (found["mul"].count, found["mul"].backward_count) == (3, 3)
    assert found["mul"].bytes == 3 * 400
    assert found["mul"].cpu_time_total > found["mul"].backward_time_total * 0
    assert (found["exp"].count, found["exp"].backward_count) == (1, 0)
    assert found["var_mean"].backward_count > 0
    assert prof.self_cpu_time_total > 0
    shaped = prof.key_averages(group_by_input_shape=True)
    assert [[100], [100]] in [row.input_shapes for row in shaped]
    assert prof.total_average().count == sum(row.count for row in found.values())


def test_nothing_is_left_behind():
    apply, native = recording.apply, Primitive.apply
    with pytest.raises(ZeroDivisionError), profile():
        1 / 0  # noqa: B018 - raising is the test
    assert recording.apply is apply
    assert Primitive.apply is native
    assert switch.plain
    with profile(enabled=False) as prof:
        tapegrad.ones(2) * 2
    assert prof.function_events is None


def test_the_table():
    x = tapegrad.ones(1000, requires_grad=True)
    with profile() as prof:
        (x * x + x).sum().backward()
    table = prof.key_averages().table(sort_by="count", row_limit=2, header="mine")
    assert table.startswith("mine\n---")
    lines = table.splitlines()
    titles = "Name # of Calls Self CPU CPU total CPU time avg # of Backward Backward Total % Bytes"
    assert " ".join(lines[2].split()) == titles
    assert len(lines) == 8
    assert "Self CPU time total" in lines[-1]
    assert "3.91 KiB" in prof.table()
    assert str(prof) == prof.table()
    with pytest.raises(ValueError, match=r"can't sort by 'color'"):
        prof.table(sort_by="color")


def test_record_function(lib, tmp_path):
    profiler = lib.autograd.profiler
    x = lib.ones(10, requires_grad=True)

    @profiler.record_function("decorated")
    def function(x):
        return x.exp()

    with profiler.profile() as prof:
        with profiler.record_function("block"):
            y = function(x * 2)
        y.sum().backward()
    found = rows(prof)
    assert found["block"].count == found["decorated"].count == 1
    assert found["block"].cpu_time_total >= found["decorated"].cpu_time_total
    assert found["block"].self_cpu_time_total <= found["block"].cpu_time_total
    path = tmp_path / "trace.json"
    prof.export_chrome_trace(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("ph") == "X"]
    assert "block" in names
    assert any("MulBackward0" in name for name in names)
    with profiler.record_function("outside"):
        x * 2


def test_profiles_within_each_other():
    with profile() as prof, pytest.raises(RuntimeError, match=r"already enabled"), profile():
        pass
    with pytest.raises(RuntimeError, match=r"not reentrant"), prof:
        pass
    with pytest.raises(RuntimeError, match=r"didn't finish running"):
        profile().key_averages()


def test_functions_are_profiled():
    class Double(tapegrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    x = tapegrad.ones(10, requires_grad=True)
    with profile() as prof, record_function("all"):
        Double.apply(x).sum().backward()
    found = rows(prof)
    assert found["Double"].backward_count == 1
    assert found["mul"].count == 2
    assert found["all"].self_cpu_time_total < found["all"].cpu_time_total
