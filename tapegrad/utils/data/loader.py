"""DataLoader: batches of a dataset's examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from tapegrad.creation import as_tensor, tensor
from tapegrad.dtypes import NAMES
from tapegrad.operators import functions
from tapegrad.random import Generator
from tapegrad.tensor import Tensor
from tapegrad.utils.data.datasets import IterableDataset
from tapegrad.utils.data.samplers import BatchSampler, RandomSampler, SequentialSampler, new_seed

__all__ = ["DataLoader", "default_collate"]


def default_collate(batch: Sequence[Any]) -> Any:
    """A batch of a list of examples: Tensors stacked, numbers as a Tensor, containers by element.

    Raises TypeError for examples of other types, RuntimeError for sequences of unequal lengths.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return functions["stack"](list(batch))
    if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind in "biufc":
        return functions["stack"]([as_tensor(np.asarray(x)) for x in batch])
    if isinstance(first, float):
        return tensor(batch, dtype=NAMES["float64"])
    if isinstance(first, int):
        return tensor(batch)
    if isinstance(first, (str, bytes)):
        return batch
    if isinstance(first, Mapping):
        collated: Any = {key: default_collate([x[key] for x in batch]) for key in first}
        return collated if type(first) is dict else _made(type(first), collated)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(default_collate(part) for part in zip(*batch)))
    if isinstance(first, Sequence):
        if len({len(x) for x in batch}) > 1:
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [default_collate(part) for part in zip(*batch)]
        return parts if isinstance(first, (tuple, list)) else _made(type(first), parts)
    raise TypeError(
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
        f"{type(first)}"
    )


def _made(kind: Any, value: Any) -> Any:
    """A container of the kind of the examples, or a plain one if it can't be made."""
    try:
        return kind(value)
    except TypeError:
        return value


class DataLoader:
    """Batches of a dataset, in the order of a sampler; from a seed, those of torch.

    Args:
        dataset: with ``__getitem__`` and ``__len__``, or an IterableDataset.
        batch_size: how many examples make a batch; None for single ones.
        shuffle: take them in random order, a new one each time.
        sampler: gives the indices; not together with ``shuffle``.
        batch_sampler: gives lists of indices; instead of all the others.
        num_workers: 0: there is one process.
        collate_fn: makes a batch of a list of examples. Default: `default_collate`.
        pin_memory: accepted for torch's sake, as ``timeout`` and what follows ``generator`` is.
        drop_last: leave out a last batch that isn't full.
        timeout: see there.
        worker_init_fn: see there.
        multiprocessing_context: see there.
        generator: of the random order.
        options: see there.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Any = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        **options: Any,
    ) -> None:
        if num_workers:
            raise NotImplementedError(
                "DataLoader works in one process: leave num_workers at 0, or read in threads of "
                "your own"
            )
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ValueError(
                "DataLoader with IterableDataset: expected unspecified shuffle, sampler and "
                "batch_sampler options"
            )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, "
                    "and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.generator = generator
        self.num_workers = 0
        if sampler is None and not iterable:
            plain = SequentialSampler(dataset)
            sampler = RandomSampler(dataset, generator=generator) if shuffle else plain
        self.sampler: Any = sampler
        if batch_size is not None and not iterable:
            batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)
        self.batch_sampler: Any = batch_sampler
        batches = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if batches else _converted)

    def __iter__(self) -> Iterator[Any]:
        new_seed(self.generator)  # which torch draws for its workers, wherever there are some
        if isinstance(self.dataset, IterableDataset):
            return self._stream(iter(self.dataset))
        return self._batches()

    def _batches(self) -> Iterator[Any]:
        fetch = getattr(self.dataset, "__getitems__", None)
        if self.batch_sampler is None:
            for index in self.sampler:
                yield self.collate_fn(self.dataset[index])
            return
        for indices in self.batch_sampler:
            examples = fetch(indices) if fetch else [self.dataset[i] for i in indices]
            yield self.collate_fn(examples)

    def _stream(self, examples: Iterator[Any]) -> Iterator[Any]:
        if self.batch_size is None:
            yield from map(self.collate_fn, examples)
            return
        while batch := list(islice(examples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield self.collate_fn(batch)

    def __len__(self) -> int:
        if isinstance(self.dataset, IterableDataset):
            count = len(self.dataset)  # type: ignore[arg-type]  # it may have a length
            if self.batch_size is None:
                return count
            full, rest = divmod(count, self.batch_size)
            return full + (rest > 0 and not self.drop_last)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)


def _converted(example: Any) -> Any:
    """A single example with its arrays as Tensors."""
    if isinstance(example, np.ndarray):
        return as_tensor(example)
    if isinstance(example, (tuple, list)) and not hasattr(example, "_fields"):
        return type(example)(map(_converted, example))
    return example
