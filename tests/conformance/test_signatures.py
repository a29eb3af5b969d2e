"""Functions that torch has at the top with other arguments than in nn.functional, and copies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tapegrad as tg
from tests.same_as_torch import outcome

X = "torch.linspace(-1, 1, 24, dtype=torch.float64, requires_grad=True).reshape(2, 3, 4)"
CALLS = """
torch.batch_norm(x, w, b, None, None, True, 0.1, 1e-5, False)
torch.batch_norm(x, w, b, m, w, False, 0.1, 1e-5, False)
torch.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False)
torch.bilinear(x, x, torch.ones(2, 4, 4).double(), None)
torch.embedding(x[0], torch.tensor([0, 2, 2]), 0)
torch.embedding(x[0], torch.tensor([0, 2, 2]))
torch.conv_tbc(x, torch.ones(2, 4, 5).double(), torch.ones(5).double(), 1)
torch.constant_pad_nd(x, (1, 2, 0, 1), 3.0)
torch.adaptive_max_pool1d(x, 2)
torch.max_pool1d_with_indices(x, 2)
torch.max_pool1d_with_indices(x, 2, 1, 1)
torch.affine_grid_generator(x[:, :2, :3], (2, 1, 2, 2), True)
torch.grid_sampler(x[None], x[None, ..., :2], 0, 1, True)
torch.grid_sampler_2d(x[None], x[None, ..., :2], 1, 0, False)
torch.binary_cross_entropy_with_logits(x, x.detach() / 2 + 0.5, None, None, 2)
torch.kl_div(x, x.detach() + 2, 0, log_target=True)
torch.poisson_nll_loss(x, x.detach() + 1, True, False, 1e-8, 1)
torch.ctc_loss(x.log_softmax(-1), torch.tensor([[1], [2], [3]]), torch.tensor([2, 2, 1]),
               torch.tensor([1, 1, 1]), 0, 2)
torch.margin_ranking_loss(x, -x, x.sign(), 0.5)
torch.hinge_embedding_loss(x, x.sign(), 0.5, 0)
torch.cosine_embedding_loss(x[0], x[1], torch.tensor([1, -1, 1]), 0.1, 0)
torch.triplet_margin_loss(x, x * 2, x + 1, 2.0)
torch.dropout_(x.clone(), 0.5, True)
torch.feature_dropout(x, 0.5, True)
torch.alpha_dropout(x, 0.5, True)
torch.feature_alpha_dropout_(x.clone(), 0.5, True)
torch.nn.functional.gumbel_softmax(x, 0.5, True)
torch.permute_copy(x, (2, 0, 1))
torch.split_copy(x, 2, 2)
torch.unbind_copy(x, 1)
torch.slice_copy(x, 2, 1, 3)
torch.expand_copy(x, (2, 2, 3, 4))
torch.view_copy(x, (6, 4))
torch.squeeze_copy(x[:1])
torch.alias_copy(x)
torch.narrow_copy(x, 0, 1, 1)
x.unsafe_chunk(2, 2)
x.unsafe_split(2, 2)
torch.unsafe_split_with_sizes(x, (1, 3), 2)
torch.nonzero_static(x > 0.9, size=4)
torch.nonzero_static(x > 0, size=3)
torch.repeat_interleave(repeats=torch.tensor([2, 1]))
torch.hsplit(x, indices=[1])
torch.gcd_(torch.tensor([4, 6]), torch.tensor([6, 9]))
torch.special.legendre_polynomial_p(x.detach(), n=3)
"""
# A line that begins with a space continues the one above.
LINES = CALLS.replace("\n ", " ").strip().splitlines()


@pytest.mark.parametrize("call", LINES)
def test_results(call: str) -> None:
    found = []
    for library in (tg, torch):
        library.manual_seed(0)
        x = eval(X, {"torch": library})
        ones = library.ones(3, dtype=library.float64)
        names = {"w": ones * 2, "b": ones, "m": 0 * ones}
        results = eval(call, {"torch": library, "x": x, **names})
        results = results if isinstance(results, tuple | list) else (results,)
        gradients = []
        for result in results:
            if result.requires_grad:
                weights = library.arange(result.numel()).reshape(result.shape)
                gradients += library.autograd.grad((result * weights).sum(), x, retain_graph=True)
        found.append([*results, *gradients])
    assert len(found[0]) == len(found[1])
    for mine, theirs in zip(*found, strict=True):
        assert str(mine.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
        np.testing.assert_allclose(mine.detach(), theirs.detach(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "call",
    """
torch.gcd(torch.tensor([4]), 2)
torch.lcm(torch.tensor([4]), 2)
torch.nextafter(torch.ones(2), 2.0)
torch.igamma(torch.ones(2), 2.0)
torch.clamp_min(2, 3)
torch.isclose(2, torch.ones(2))
torch.equal(torch.ones(2), 1)
""".strip().splitlines(),
)
def test_numbers_that_are_no_tensors(call: str) -> None:
    mine, theirs = (outcome(library, call).split("\n")[0] for library in (tg, torch))
    if "invalid combination" in theirs:
        mine, theirs = (text.partition(":")[0] for text in (mine, theirs))
    assert mine == theirs
