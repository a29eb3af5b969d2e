"""Sequences of several lengths: padded to one, or packed without what they are padded with.

>>> import tapegrad as tg
>>> from tapegrad.nn.utils.rnn import pack_sequence, pad_packed_sequence
>>> packed = pack_sequence([tg.tensor([1, 2, 3]), tg.tensor([4])])
>>> packed.data, packed.batch_sizes
(tensor([1, 4, 2, 3]), tensor([2, 1, 1]))
>>> pad_packed_sequence(packed, batch_first=True)
(tensor([[1, 2, 3],
        [4, 0, 0]]), tensor([3, 1]))
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tapegrad.creation import from_numpy, full, tensor
from tapegrad.dtypes import int64
from tapegrad.nn import functional as F
from tapegrad.operators import functions
from tapegrad.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences one time after the other, the longest first: what recurrent layers take.

    ``data`` is (elements, ...), ``batch_sizes`` says how many sequences there are at each time;
    ``sorted_indices`` and ``unsorted_indices`` lead from the order that they had to that and back,
    None if it is the same. It is made by `pack_padded_sequence` and `pack_sequence`.
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with its data as `Tensor.to` gives them."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._replace(data=data)

    def double(self) -> PackedSequence:
        """`to` float64."""
        return self._replace(data=self.data.double())

    def float(self) -> PackedSequence:
        """`to` float32."""
        return self._replace(data=self.data.float())

    def half(self) -> PackedSequence:
        """`to` float16."""
        return self._replace(data=self.data.half())

    def long(self) -> PackedSequence:
        """`to` int64."""
        return self._replace(data=self.data.long())

    def int(self) -> PackedSequence:
        """`to` int32."""
        return self._replace(data=self.data.int())

    def cpu(self) -> PackedSequence:
        """Itself: there are no other devices."""
        return self

    @property
    def is_cuda(self) -> bool:
        """False."""
        return False


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one; None for None."""
    return None if permutation is None else from_numpy(np.argsort(permutation._array))


def _places(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Batch sizes of sorted lengths; and of each packed element the time and the sequence."""
    times = np.arange(lengths.max())
    there = times[:, None] < lengths
    return there.sum(1), *np.nonzero(there)


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that were padded: (L, N, ...), or (N, L, ...) with ``batch_first``.

    Args:
        input: the padded sequences.
        lengths: how long each of them is: N ints, or a Tensor of int64.
        batch_first: whether N is the first dimension.
        enforce_sorted: whether the longest has to be the first one; else they are sorted.

    Raises:
        RuntimeError: there are none, a length is 0 or doesn't fit, or they aren't sorted.
    """
    given = lengths if isinstance(lengths, Tensor) else tensor(lengths, dtype=int64)
    sizes = given._array
    if sizes.ndim != 1 or sizes.dtype != np.int64:
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{sizes.ndim}D cpu {given.dtype} tensor"
        )
    if batch_first:
        input = input.transpose(0, 1)
    order = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
        input = input.index_select(1, from_numpy(order))
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    longest, batch = input.shape[:2]
    if len(sizes) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(sizes)} "
            f"(batch_size={batch})"
        )
    if sizes[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if sizes[0] > longest:
        raise RuntimeError(
            f"Expected lengths of at most {longest}, the longest sequence of the input, but got "
            f"{sizes[0]}"
        )
    batch_sizes, *places = _places(sizes)
    data = input[tuple(map(from_numpy, places))]
    return PackedSequence(
        data, from_numpy(batch_sizes), None if order is None else from_numpy(order)
    )


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What was packed, padded to one length, (L, N, ...) or (N, L, ...); and the lengths, (N,).

    Raises ValueError if ``total_length``, which is that of the longest by default, is less.
    """
    batch_sizes = sequence.batch_sizes._array
    lengths = (np.arange(batch_sizes[0]) < batch_sizes[:, None]).sum(0)
    longest = len(batch_sizes)
    if total_length is None:
        total_length = longest
    elif total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but "
            f"got total_length={total_length} and max sequence length being {longest}"
        )
    data = sequence.data
    _, times, batch = _places(lengths)
    if sequence.unsorted_indices is not None:
        lengths = lengths[sequence.unsorted_indices._array]
        assert sequence.sorted_indices is not None
        batch = sequence.sorted_indices._array[batch]
    shape = (total_length, len(lengths), *data.shape[1:])
    padded = full(shape, padding_value, dtype=data.dtype)
    padded = padded.index_put((from_numpy(times), from_numpy(batch)), data)
    return padded.transpose(0, 1) if batch_first else padded, from_numpy(lengths)


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (L_i, ...) padded to one length, ``padding_side`` "right" or "left", and stacked.

    (L, N, ...), or (N, L, ...) with ``batch_first``. Raises RuntimeError for none.
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    given = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    longest = max(s.shape[0] for s in given)
    padded = []
    for s in given:
        missing = longest - s.shape[0]
        ends = (missing, 0) if padding_side == "left" else (0, missing)
        padded.append(F.pad(s, (0, 0) * (s.ndim - 1) + ends, value=padding_value))
    return functions["stack"](padded, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False
) -> list[Tensor]:
    """The first ``lengths`` elements of each of the padded sequences, as a list."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    pairs = zip(padded_sequences.unbind(0), lengths.tolist(), strict=False)
    return [s[:n].clone() for s, n in pairs]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences (L_i, ...), the longest first unless ``enforce_sorted`` is False."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed, as a list."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
