"""Recurrent layers: machine code beside NumPy and the rules, and derivatives of whole layers."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import loading
from tapegrad.fused import library
from tapegrad.rules.ondemand import recurrent

machine_code = pytest.mark.skipif(
    not loading.load_native(), reason="there is no machine code on this machine"
)
#: Gates, and inputs besides those of all: states, then what belongs to the weight.
MODES = {"lstm": 4, "gru": 3, "rnn": 1, "rnn relu": 1}
#: Steps, rows and hidden size: of small products and of BLAS's.
SHAPES = [(1, 1, 1), (3, 1, 32), (2, 5, 17), (4, 16, 9), (3, 17, 20), (2, 40, 33)]


def random(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def given(mode, steps, rows, n, dtype=np.float64, scale=1.0):
    gates = MODES[mode] * n
    shapes = [(steps, rows, gates), (rows, n), (gates, n)]
    if mode == "lstm":
        shapes.insert(2, (rows, n))
    if mode == "gru":
        shapes.append((gates,))
    arrays = [random(*s, dtype=dtype, seed=i) for i, s in enumerate(shapes)]
    arrays[0] *= dtype(scale)
    return arrays


def results(mode, arrays, wanted):
    """The results, and the shares of all inputs where those in ``wanted`` have adjoints."""
    primitive = getattr(recurrent, f"{mode.partition(' ')[0]}_")
    params = ("relu" in mode,) if "rnn" in mode else ()
    leaves = [tg.from_numpy(a.copy()).requires_grad_() for a in arrays]
    made = primitive(*leaves, *params)
    outs = made if isinstance(made, tuple) else (made,)
    used = [out for out, want in zip(outs, wanted, strict=True) if want]
    weights = [
        tg.from_numpy(random(*out.shape, dtype=arrays[0].dtype.type, seed=9 + k))
        for k, out in enumerate(used)
    ]
    return [x.detach().numpy() for x in outs] + [
        x.numpy() for x in tg.autograd.grad(used, leaves, weights)
    ]


@machine_code
@pytest.mark.parametrize("scale", [1.0, 60.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        *(("lstm", (1, 0, 0)), ("lstm", (0, 1, 0)), ("lstm", (1, 1, 0)), ("gru", (1, 0))),
        *(("rnn", (1,)), ("rnn relu", (1,))),
    ],
)
def test_machine_code_is_the_rule(mode, wanted, shape, dtype, scale, monkeypatch):
    arrays = given(mode, *shape, dtype, scale)
    fast = results(mode, arrays, wanted)
    monkeypatch.setattr(library, "find", None)
    for a, b in zip(fast, results(mode, arrays, wanted), strict=True):
        assert a.dtype == b.dtype == dtype
        limit = 200 * np.finfo(dtype).eps * max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)


@machine_code
@pytest.mark.parametrize(
    ("mode", "wanted"), [("lstm", (1, 1, 0)), ("gru", (1, 0)), ("rnn", (1,)), ("rnn relu", (1,))]
)
def test_some_of_the_rows_are_a_part_of_the_work(mode, wanted, monkeypatch):
    arrays = given(mode, 3, 19, 4)
    whole = results(mode, arrays, wanted)
    found = library.find

    counts = []

    def shared(name, dtype):
        def call(count, *operands):
            counts.append(count)
            found(name, dtype)(count, *operands, work=1 << 30)

        return call

    before = tg.get_num_threads()
    tg.set_num_threads(4)
    try:
        monkeypatch.setattr(library, "find", shared)
        for a, b in zip(results(mode, arrays, wanted), whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    finally:
        tg.set_num_threads(before)
    assert counts == [3] * 2


CELLS = {"lstm_cell": (4, 1), "lstm_output": (4, 1), "gru_cell": (3, 3, 1)}


@machine_code
@pytest.mark.parametrize("scale", [1.0, 60.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", [(1,), (5,), (2, 3)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_machine_code_of_a_cell_is_the_rule(name, lead, dtype, scale, monkeypatch):
    primitive = getattr(recurrent, f"{name}_")
    arrays = [random(*lead, 19 * k, dtype=dtype, seed=i) for i, k in enumerate(CELLS[name])]
    arrays[0] *= dtype(scale)
    bar = random(*lead, 19, dtype=dtype, seed=9)

    def shares():
        leaves = [tg.from_numpy(a.copy()).requires_grad_() for a in arrays]
        out = primitive(*leaves)
        out.backward(tg.from_numpy(bar), retain_graph=True)
        first = [x.grad.numpy().copy() for x in leaves]
        out.backward(tg.from_numpy(bar))
        return [out.detach().numpy(), *first, *(x.grad.numpy() for x in leaves)]

    fast = shares()
    monkeypatch.setattr(library, "find", None)
    monkeypatch.setattr(loading.native, "loaded", False)
    for a, b in zip(fast, shares(), strict=True):
        assert a.dtype == b.dtype == dtype
        limit = 50 * np.finfo(dtype).eps
        np.testing.assert_allclose(a, b, rtol=limit, atol=limit)


def layer_of(text, seed=0):
    tg.manual_seed(seed)
    return eval(f"nn.{text}", {"nn": tg.nn}).double()


LAYERS = [
    "LSTM(2, 3)", "LSTM(2, 3, bidirectional=True)", "GRU(2, 3, 2)", "GRU(2, 3, bias=False)",
    "RNN(2, 3)", "RNN(2, 3, bidirectional=True, batch_first=True)", "LSTM(2, 3, proj_size=2)",
]  # fmt: skip


@pytest.mark.parametrize("text", LAYERS)
def test_derivatives_of_a_layer(text):
    layer = layer_of(text)
    names = [name for name, _ in layer.named_parameters()]
    inputs = [tg.from_numpy(random(3, 2, 2)), *[p.detach() for p in layer.parameters()]]

    def outputs(x, *weights):
        out, last = tg.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x,))
        return (out, *(last if isinstance(last, tuple) else (last,)))

    leaves = tuple(x.requires_grad_() for x in inputs)
    assert tg.testing.gradcheck(outputs, leaves, check_forward_ad=True)
    assert tg.testing.gradgradcheck(lambda *given: outputs(*given)[0], leaves)


STATES = {"LSTMCell": 2, "GRUCell": 1, "RNNCell": 1}


@pytest.mark.parametrize("kind", STATES)
def test_derivatives_of_a_cell(kind):
    cell = layer_of(f"{kind}(2, 3)")
    names = [name for name, _ in cell.named_parameters()]
    states = [tg.from_numpy(random(2, 3, seed=k)) for k in range(STATES[kind])]
    inputs = [tg.from_numpy(random(2, 2)), *states, *[p.detach() for p in cell.parameters()]]

    def outputs(x, *rest):
        weights = dict(zip(names, rest[len(states) :], strict=True))
        given = rest[:2] if kind == "LSTMCell" else rest[0]
        return tg.func.functional_call(cell, weights, (x, given))

    leaves = tuple(x.requires_grad_() for x in inputs)
    assert tg.testing.gradcheck(outputs, leaves, check_forward_ad=True)
    assert tg.testing.gradgradcheck(outputs, leaves)


@pytest.mark.parametrize("kind", STATES)
def test_a_cell_under_vmap(kind):
    cell, x = layer_of(f"{kind}(2, 3)"), tg.from_numpy(random(4, 2, 2))

    def state(x):
        found = cell(x, cell(x))
        return found[0] if kind == "LSTMCell" else found

    tg.testing.assert_close(tg.vmap(state)(x), tg.stack([state(one) for one in x]))
    tg.testing.assert_close(tg.vmap(tg.vmap(state))(x), state(x.reshape(8, 2)).reshape(4, 2, 3))


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
def test_states_of_a_cell_can_be_changed_in_place(kind):
    cell, x = layer_of(f"{kind}(2, 3)"), tg.from_numpy(random(4, 2))
    found = []
    for in_place in (False, True):
        state = cell(x)
        parts = state if kind == "LSTMCell" else (state,)
        if in_place:
            for part in parts:
                part.mul_(2)
        else:
            parts = tuple(part * 2 for part in parts)
        state = cell(x, parts if kind == "LSTMCell" else parts[0])
        out = state[0] + state[1] if kind == "LSTMCell" else state
        found.append(tg.autograd.grad(out.sin().sum(), list(cell.parameters())))
    tg.testing.assert_close(*found)


def test_a_cell_of_another_dtype():
    cell = tg.nn.LSTMCell(2, 3)
    h, c = cell(tg.ones(4, 2), (tg.zeros(4, 3), tg.ones(4, 3, dtype=tg.float64)))
    assert h.dtype == c.dtype == tg.float64
    (h.sum() + c.sum()).backward()
    assert cell.weight_ih.grad.dtype == tg.float32


@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_under_vmap(text):
    layer = layer_of(text)
    x = tg.from_numpy(random(4, 3, 2, 2))
    mapped = tg.vmap(lambda x: layer(x)[0])(x)
    tg.testing.assert_close(mapped, tg.stack([layer(one)[0] for one in x]))


def test_layers_of_several_models_under_vmap():
    models = [layer_of("LSTM(2, 3)", seed) for seed in range(3)]
    parameters, buffers = tg.func.stack_module_state(models)
    x = tg.from_numpy(random(4, 2, 2))

    def call(parameters, buffers):
        return tg.func.functional_call(models[0], (parameters, buffers), (x,))[0]

    with pytest.warns(UserWarning, match="performance drop"):
        mapped = tg.vmap(call)(parameters, buffers)
    tg.testing.assert_close(mapped, tg.stack([model(x)[0] for model in models]))


@pytest.mark.parametrize("text", ["GRU(2, 3)", "RNN(2, 3)", "LSTM(2, 3)"])
def test_outputs_can_be_changed_in_place(text):
    layer, x = layer_of(text), tg.from_numpy(random(4, 2, 2))
    out = layer(x)[0]
    wanted = tg.autograd.grad((out * 2 + 1).sin().sum(), list(layer.parameters()))
    out = layer(x)[0]
    out.mul_(2).add_(1)
    found = tg.autograd.grad(out.sin().sum(), list(layer.parameters()))
    tg.testing.assert_close(found, wanted)


def test_an_lstms_outputs_are_those_that_its_rule_reads():
    out = tg.nn.LSTM(2, 3)(tg.zeros(4, 1, 2))[0]
    out.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an\s+inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("text", ["LSTM(2, 3)", "GRU(2, 3)", "RNN(2, 3)"])
def test_no_batch(text):
    layer = layer_of(text)
    out, _ = layer(tg.zeros(4, 0, 2, dtype=tg.float64))
    assert out.shape == (4, 0, 3)
    out.sum().backward()
    assert all((p.grad == 0).all() for p in layer.parameters())


@pytest.mark.parametrize("text", ["LSTM(2, 3)", "GRU(2, 3)", "RNN(2, 3)"])
def test_errors(text):
    layer = layer_of(text)
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0 in RNN"):
        layer(tg.zeros(0, 1, 2, dtype=tg.float64))
    state = tg.zeros(1, 1, 3)
    with pytest.raises(RuntimeError, match="same dtype, but got Float and Double"):
        layer(tg.zeros(4, 1, 2, dtype=tg.float64), (state, state) if "LSTM" in text else state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda cell, of: cell(of(2, 5)), "input has inconsistent input_size: got 5 expected 2"),
        (lambda cell, of: cell(of(2, 2), of(1, 3)), "Input batch size 2 doesn't match hidden0"),
        (lambda cell, of: cell(of(2), of(4)), "hidden0 has inconsistent hidden_size: got 4, expec"),
    ],
)
@pytest.mark.parametrize("kind", ["GRUCell", "RNNCell"])
def test_errors_of_a_cell(kind, call, message):
    with pytest.raises(RuntimeError, match=message):
        call(getattr(tg.nn, kind)(2, 3), tg.zeros)


def test_a_cell_is_a_few_records():
    cell, x = tg.nn.LSTMCell(2, 3), tg.zeros(4, 2)
    before = tg.tape.position()
    cell(x)
    assert tg.tape.position() - before < 10


def test_a_layer_is_a_few_records():
    layer, x = layer_of("GRU(2, 3)"), tg.from_numpy(random(50, 2, 2))
    before = tg.tape.position()
    out, _ = layer(x)
    assert tg.tape.position() - before < 15
    assert "StackBackward0" in repr(out.grad_fn)


# -- sequences of several lengths ------------------------------------------------------------------

LAYERS = [
    ("RNN", {"bidirectional": True}),
    ("GRU", {"num_layers": 2, "bidirectional": True}),
    ("LSTM", {"num_layers": 2}),
    ("LSTM", {"proj_size": 2, "bidirectional": True}),
]


@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
@pytest.mark.parametrize("native", [False, True])
def test_a_packed_sequence_is_run_as_if_it_were_alone(kind, options, native, monkeypatch):
    if not native:
        monkeypatch.setattr(library, "find", None)
    layer = getattr(tg.nn, kind)(3, 4, dtype=tg.float64, **options)
    sequences = [tg.from_numpy(random(n, 3, seed=n)) for n in (2, 5, 1, 5)]
    packed = tg.nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False)
    out, last = layer(packed)
    outs = tg.nn.utils.rnn.unpack_sequence(out)
    for i, sequence in enumerate(sequences):
        alone, state = layer(sequence)
        np.testing.assert_allclose(outs[i].detach(), alone.detach(), rtol=1e-12)
        states = zip(last, state, strict=True) if kind == "LSTM" else [(last, state)]
        for mine, own in states:
            np.testing.assert_allclose(mine[:, i].detach(), own.detach(), rtol=1e-12)


@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_gradients_of_packed_sequences(kind, options):
    layer = getattr(tg.nn, kind)(3, 4, dtype=tg.float64, **options)
    rnn = tg.nn.utils.rnn

    def run(*sequences):
        out, last = layer(rnn.pack_sequence(sequences, enforce_sorted=False))
        padded, _ = rnn.pad_packed_sequence(out, total_length=4)
        return (padded, *(last if kind == "LSTM" else (last,)))

    leaves = [tg.from_numpy(random(n, 3, seed=n)).requires_grad_() for n in (1, 3, 2)]
    assert tg.autograd.gradcheck(run, leaves)
    assert tg.autograd.gradgradcheck(run, leaves)


def test_gradients_of_padding():
    rnn = tg.nn.utils.rnn

    def padded(*sequences):
        whole = rnn.pad_sequence(sequences, batch_first=True, padding_side="left")
        return (whole, *rnn.unpad_sequence(whole, tg.tensor([2, 3, 1]), batch_first=True))

    leaves = [tg.from_numpy(random(n, 2, seed=n)).requires_grad_() for n in (1, 3, 2)]
    assert tg.autograd.gradcheck(padded, leaves)
