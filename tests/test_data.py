"""Datasets, samplers and loaders: the same for tapegrad and torch, in the same random order."""

from __future__ import annotations

import importlib
from collections import namedtuple

import numpy as np
import pytest

import tapegrad

Pair = namedtuple("Pair", "x y")


def data_of(lib):
    return importlib.import_module(f"{lib.__name__}.utils.data")


def test_batches(lib):
    data = data_of(lib)
    examples = data.TensorDataset(lib.arange(7), lib.arange(7.0).reshape(7, 1))
    assert len(examples) == 7
    loader = data.DataLoader(examples, batch_size=3)
    assert [x.tolist() for x, _ in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [tuple(y.shape) for _, y in loader] == [(3, 1), (3, 1), (1, 1)]
    assert len(loader) == 3
    assert len(data.DataLoader(examples, batch_size=3, drop_last=True)) == 2
    single = list(data.DataLoader(examples, batch_size=None))
    assert single[3][0].item() == 3
    both = data.Subset(examples, [1, 2]) + examples
    assert [both[i][0].item() for i in (0, 1, 2, -1)] == [1, 2, 0, 6]
    lists = data.DataLoader(examples, batch_sampler=[[0, 2], [5]])
    assert [x.tolist() for x, _ in lists] == [[0, 2], [5]]


@pytest.mark.torch
def test_random_order():
    import torch

    results = []
    for lib in (tapegrad, torch):
        data = data_of(lib)
        lib.manual_seed(3)
        examples = data.TensorDataset(lib.arange(20))
        loader = data.DataLoader(examples, batch_size=6, shuffle=True)
        order = [x.tolist() for _ in range(2) for (x,) in loader]
        order.append(lib.rand(1).item())
        parts = data.random_split(examples, [0.5, 0.3, 0.2])
        order += [list(part.indices) for part in parts]
        order += [list(p.indices) for p in data.random_split(range(9), [4, 5])]
        order.append(list(data.RandomSampler(range(5), replacement=True, num_samples=40)))
        order.append(list(data.RandomSampler(range(5), num_samples=12)))
        order.append(list(data.SubsetRandomSampler([3, 1, 4, 1, 5])))
        order.append(list(data.WeightedRandomSampler([0.1, 0.5, 0.4], 6)))
        generator = lib.Generator().manual_seed(7)
        order += [x.tolist() for x in data.DataLoader(range(9), 4, True, generator=generator)]
        results.append(order)
    assert results[0] == results[1]


def test_random_order_without_torch():
    data = data_of(tapegrad)
    tapegrad.manual_seed(0)
    first = [x.tolist() for x in data.DataLoader(range(10), 5, shuffle=True)]
    second = [x.tolist() for x in data.DataLoader(range(10), 5, shuffle=True)]
    assert sorted(first[0] + first[1]) == list(range(10))
    assert first != second


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2],
        [1.5, 2.5],
        ["a", "b"],
        [{"x": 1, "y": (2, 3.0)}] * 2,
        [Pair(1, 2.0)] * 2,
        [np.ones(2), np.zeros(2)],
        [np.float32(1), np.float32(2)],
        [[1, 2], [3, 4]],
    ],
)
@pytest.mark.torch
def test_collation(batch):
    import torch

    ours = repr(data_of(tapegrad).default_collate(batch)).replace("tapegrad", "torch")
    assert ours == repr(data_of(torch).default_collate(batch))


def test_iterable_datasets(lib):
    data = data_of(lib)

    class Count(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [x.tolist() for x in data.DataLoader(Count(), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert len([*data.DataLoader(Count(), batch_size=2, drop_last=True)]) == 2
    assert [*data.DataLoader(Count() + Count(), batch_size=None)] == [*range(5), *range(5)]
    with pytest.raises(ValueError, match="expected unspecified shuffle"):
        data.DataLoader(Count(), shuffle=True)


def test_errors(lib):
    data = data_of(lib)
    with pytest.raises(ValueError, match="mutually exclusive"):
        data.DataLoader([1], shuffle=True, sampler=[0])
    with pytest.raises(ValueError, match="batch_size should be a positive integer"):
        data.DataLoader([1], batch_size=0)
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split([1, 2], [1, 2])
    with pytest.raises(RuntimeError, match="equal size"):
        next(iter(data.DataLoader([[1], [1, 2]], batch_size=2)))
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(lib.ones(1), lib.ones(2))
    with pytest.raises(TypeError, match="default_collate"):
        next(iter(data.DataLoader([None])))


def test_workers_are_refused():
    with pytest.raises(NotImplementedError, match="one process"):
        data_of(tapegrad).DataLoader([1], num_workers=2)
