"""Sequences of several lengths, padded and packed, and recurrent layers over them, beside torch."""

from __future__ import annotations

import numpy as np
import pytest

import tapegrad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SETUP = """
rnn = torch.nn.utils.rnn
a, b, c = torch.arange(4.0), 10 + torch.arange(2.0), torch.tensor([7.0])
p = torch.arange(24.0).reshape(4, 3, 2)
packed = rnn.pack_sequence([b, a, c], enforce_sorted=False)
"""
CALLS = """
rnn.pad_sequence([a, b, c])
rnn.pad_sequence((b, a), batch_first=True, padding_value=-1)
rnn.pad_sequence([c, a], True, 5.0, "left")
rnn.pad_sequence(p)
rnn.pad_sequence(iter([p[0], p[1, :2]]))
rnn.pad_sequence([a.long(), b.long()])
rnn.pack_padded_sequence(p, [4, 2, 1])
rnn.pack_padded_sequence(p, torch.tensor([4, 2, 2]), batch_first=False)
rnn.pack_padded_sequence(p, [3, 3, 2, 1], batch_first=True)
rnn.pack_padded_sequence(p, [1, 4, 2], enforce_sorted=False)
rnn.pack_sequence([a, b, c])
packed
rnn.pad_packed_sequence(packed)
rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1, total_length=6)
rnn.unpack_sequence(packed)
rnn.unpad_sequence(*rnn.pad_packed_sequence(packed))
rnn.invert_permutation(torch.tensor([2, 0, 1]))
rnn.invert_permutation(None)
packed.double().data, packed.int().data, packed.to(torch.float16).data
packed.to(torch.float32) is packed
rnn.PackedSequence(a, torch.tensor([2, 2]), torch.tensor([1, 0]))
isinstance(packed, tuple), packed._fields
""".strip().splitlines()
REFUSED = [
    ("rnn.pad_sequence([])", "received an empty list of sequences"),
    ("rnn.pad_sequence(3)", "Expected iterable for input sequences"),
    ("rnn.pad_sequence([a], padding_side='top')", "padding_side to be one of left or right"),
    ("rnn.pack_padded_sequence(p, [4, 2])", "Expected `len.lengths.` to be equal to batch_size"),
    ("rnn.pack_padded_sequence(p, [4, 2, 0])", "has to be greater than 0"),
    ("rnn.pack_padded_sequence(p, [2, 4, 1])", "must be sorted in decreasing order"),
    ("rnn.pack_padded_sequence(p[:0], [1, 1, 1])", "Cannot pack empty tensors"),
    ("rnn.pack_padded_sequence(p, torch.ones(3, 1).long())", "should be a 1D CPU int64 tensor"),
    ("rnn.pad_packed_sequence(packed, total_length=2)", "at least the length of the longest seq"),
    ("torch.nn.GRU(2, 3)(packed)", "input must have 2 dimensions, got 1"),
    ("torch.nn.GRU(3, 3)(rnn.pack_sequence([p[0]]))", r"input.size\(-1\) must be equal to input_s"),
    ("torch.nn.GRU(2, 3)(rnn.pack_sequence([p[0].double()]))", "does not match weight dtype"),
    ("torch.nn.GRU(2, 3)(rnn.pack_sequence([p[0]]), torch.ones(1, 2, 3))", "Expected hidden size"),
]


def names(library):
    space = {"torch": library}
    exec(SETUP, space)
    return space


@pytest.mark.parametrize("call", CALLS)
def test_functions(call):
    mine, wanted = (repr(eval(call, names(library))) for library in (tapegrad, torch))
    assert mine.replace("tapegrad", "torch") == wanted


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_refusals(call, message):
    with pytest.raises((RuntimeError, ValueError), match=message) as theirs:
        eval(call, names(torch))
    with pytest.raises(theirs.type, match=message):
        eval(call, names(tapegrad))


def results(library, kind, options, lengths, given, dtype):
    """All results and gradients of a layer over packed sequences."""
    library.manual_seed(3)
    rnn, rng = library.nn.utils.rnn, np.random.default_rng(1)
    dtype = getattr(library, dtype)

    def leaf(*shape):
        return library.tensor(rng.normal(size=shape), dtype=dtype).requires_grad_()

    layer = getattr(library.nn, kind)(3, 4, dtype=dtype, **options)
    sequences = [leaf(n, 3) for n in lengths]
    runs = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    first = (leaf(runs, len(lengths), options.get("proj_size", 4)), leaf(runs, len(lengths), 4))
    states = (first if kind == "LSTM" else first[0]) if given else None
    out, last = layer(rnn.pack_sequence(sequences, enforce_sorted=False), states)
    last = last if kind == "LSTM" else (last,)
    padded, _ = rnn.pad_packed_sequence(out, batch_first=True, padding_value=-2.0)
    bar = library.tensor(rng.normal(size=tuple(padded.shape)), dtype=dtype)
    ((padded * bar).sum() + sum((s * s).sum() for s in last)).backward()
    leaves = [*sequences, *layer.parameters(), *(first[: len(last)] if given else ())]
    found = [out.data, out.batch_sizes, padded, *last, *[x.grad for x in leaves]]
    return [t.detach().numpy() for t in found]


@pytest.mark.parametrize("lengths", [(4, 4, 2, 1), (2, 5, 1, 5, 3), (3,), (2, 2)], ids=str)
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNN", {}),
        ("RNN", {"nonlinearity": "relu", "bidirectional": True}),
        ("GRU", {"num_layers": 2, "bidirectional": True}),
        ("GRU", {"bias": False, "batch_first": True}),
        ("LSTM", {}),
        ("LSTM", {"num_layers": 2, "dropout": 0.5, "bidirectional": True}),
        ("LSTM", {"num_layers": 2, "proj_size": 2, "bidirectional": True}),
    ],
    ids=str,
)
def test_recurrent_layers(kind, options, given, lengths):
    for dtype, limit in (("float64", 1e-9), ("float32", 3e-5)):
        mine = results(tapegrad, kind, options, lengths, given, dtype)
        wanted = results(torch, kind, options, lengths, given, dtype)
        for x, y in zip(mine, wanted, strict=True):
            np.testing.assert_allclose(x, y, rtol=10 * limit, atol=limit)
