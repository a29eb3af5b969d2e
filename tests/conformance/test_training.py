"""Models trained by tapegrad from a seed lose what the same models lose in torch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import tapegrad

OPTIMIZERS = """
SGD(p, lr=0.1)
SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)
SGD(p, lr=0.1, momentum=0.9, nesterov=True)
SGD(p, lr=0.1, momentum=0.9, dampening=0.5, maximize=True)
Adam(p)
Adam(p, lr=0.01, betas=(0.8, 0.9), weight_decay=0.1, amsgrad=True)
AdamW(p, lr=0.01)
Adamax(p, lr=0.01, weight_decay=0.1)
NAdam(p, lr=0.01)
NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)
RAdam(p, lr=0.01)
RAdam(p, lr=0.01, weight_decay=0.1, betas=(0.9, 0.9))
Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.1)
Adadelta(p, weight_decay=0.1)
RMSprop(p)
RMSprop(p, momentum=0.9, centered=True, weight_decay=0.1)
Rprop(p)
ASGD(p, lr=0.1, t0=2, weight_decay=0.1)
LBFGS(p, lr=0.1)
LBFGS(p, max_iter=4, history_size=2)
LBFGS(p, line_search_fn='strong_wolfe')
""".strip().splitlines()

MODELS = {
    "Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))": (6, 4),
    "Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2),"
    " nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 3))": (6, 1, 4, 4),
    "Sequential(nn.LayerNorm(4), nn.TransformerEncoderLayer(4, 2, 8, 0.1), nn.Linear(4, 3))":
        (6, 4),
}  # fmt: skip


def train(lib, model_text, optimizer_text, shape, dtype="float32", steps=5):
    lib.manual_seed(3)
    model = eval(f"nn.{model_text}", {"nn": lib.nn}).to(getattr(lib, dtype))
    random = np.random.default_rng(0)
    x = lib.tensor(random.standard_normal(shape).astype(dtype))
    target = lib.tensor(random.integers(0, 3, shape[0]))
    criterion = lib.nn.CrossEntropyLoss()
    optimizer = eval(f"optim.{optimizer_text}", {"optim": lib.optim, "p": model.parameters()})
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
    return losses, model, optimizer


def assert_same_state(ours, theirs):
    assert [*ours] == [*theirs]
    for key, value in theirs.items():
        if isinstance(value, dict):
            assert_same_state(ours[key], value)
        elif isinstance(value, torch.Tensor):
            assert ours[key].shape == value.shape, key
            assert str(ours[key].dtype).split(".")[1] == str(value.dtype).split(".")[1], key


@pytest.mark.parametrize("text", OPTIMIZERS)
def test_optimizers(text):
    model = next(iter(MODELS))
    ours, our_model, our_optimizer = train(tapegrad, model, text, MODELS[model], "float64")
    theirs, their_model, their_optimizer = train(torch, model, text, MODELS[model], "float64")
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)
    for x, y in zip(our_model.parameters(), their_model.parameters(), strict=True):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-5, atol=1e-8)
    assert repr(our_optimizer) == repr(their_optimizer)
    if not text.startswith("LBFGS"):
        ours, theirs = our_optimizer.state_dict(), their_optimizer.state_dict()
        assert ours["param_groups"] == theirs["param_groups"]
        assert_same_state(ours["state"], theirs["state"])


@pytest.mark.parametrize("text", MODELS)
def test_models(text):
    ours, our_model, _ = train(tapegrad, text, "AdamW(p, lr=0.01)", MODELS[text])
    theirs, their_model, _ = train(torch, text, "AdamW(p, lr=0.01)", MODELS[text])
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert repr(our_model) == repr(their_model)
    assert list(our_model.state_dict()) == list(their_model.state_dict())


@pytest.mark.parametrize("text", ["SGD(p, momentum=0.9)", "Adam(p)", "Rprop(p)"])
def test_complex_and_0d_parameters(text):
    results = []
    for lib in (tapegrad, torch):
        z = lib.tensor([[1.0 + 2j], [-1j]], requires_grad=True)
        s = lib.tensor(0.5, dtype=lib.float64, requires_grad=True)
        optimizer = eval(f"optim.{text}", {"optim": lib.optim, "p": [z, s]})
        for _ in range(3):
            optimizer.zero_grad()
            ((z * z.conj()).real.sum() + s * s * s).backward()
            optimizer.step()
        results.append((z.detach().numpy(), s.detach().numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


SCHEDULERS = """
LambdaLR(o, lambda epoch: 0.9**epoch)
MultiplicativeLR(o, [lambda epoch: 0.9, lambda epoch: 0.5])
StepLR(o, 3, gamma=0.5)
MultiStepLR(o, [2, 5, 5], gamma=0.5)
ConstantLR(o, total_iters=4)
LinearLR(o, 0.2, 0.9, total_iters=4)
ExponentialLR(o, 0.8)
PolynomialLR(o, 6, power=2.0)
CosineAnnealingLR(o, 4, eta_min=0.01)
CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01)
CyclicLR(o, 0.01, 0.1, step_size_up=3)
CyclicLR(o, 0.01, [0.1, 0.2], 2, 4, mode='triangular2')
CyclicLR(o, 0.01, 0.1, 2, mode='exp_range', gamma=0.9, cycle_momentum=False)
OneCycleLR(o, 0.1, total_steps=14)
OneCycleLR(o, [0.1, 0.2], epochs=2, steps_per_epoch=8, anneal_strategy='linear', three_phase=True)
SequentialLR(o, [s.ConstantLR(o, 0.1), s.ExponentialLR(o, 0.9)], [4])
SequentialLR(o, [s.LinearLR(o, 0.1), s.CosineAnnealingLR(o, 5), s.StepLR(o, 2)], [3, 8])
ChainedScheduler([s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.9)])
""".strip().splitlines()


def schedule(lib, text, steps=12):
    x, y = lib.ones(2, requires_grad=True), lib.ones(3, requires_grad=True)
    groups = [{"params": [x]}, {"params": [y], "lr": 0.5}]
    optimizer = lib.optim.SGD(groups, lr=0.3, momentum=0.9)
    scheduler = eval(f"s.{text}", {"s": lib.optim.lr_scheduler, "o": optimizer})
    rates = []
    for _ in range(steps):
        rates.append([(g["lr"], g["momentum"]) for g in optimizer.param_groups])
        assert scheduler.get_last_lr() == [g["lr"] for g in optimizer.param_groups]
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("text", SCHEDULERS)
def test_schedulers(text):
    np.testing.assert_allclose(
        schedule(tapegrad, text), schedule(torch, text), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "cooldown": 2}])
def test_reduce_on_plateau(options):
    results = []
    for lib in (tapegrad, torch):
        optimizer = lib.optim.SGD([lib.ones(2, requires_grad=True)], lr=0.3)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.5, patience=1, min_lr=0.01, **options
        )
        rates = []
        for value in [1.0, 0.9, 0.9, 0.95, 0.9, 0.9, 0.8, 0.85, 0.85, 0.85, 0.85, 0.85]:
            scheduler.step(lib.tensor(value))
            rates.append((optimizer.param_groups[0]["lr"], scheduler.num_bad_epochs))
        results.append(rates)
    assert results[0] == results[1]


INITS = """
uniform_(w, -1, 2)
normal_(w, 1, 2)
trunc_normal_(w)
trunc_normal_(w, 0.5, 0.1, 0.3, 0.6)
trunc_normal_(w, 0, 1, 2, 3)
constant_(w, 0.3)
ones_(w)
zeros_(w)
eye_(w)
xavier_uniform_(w, 2.0)
xavier_normal_(w)
kaiming_uniform_(w, nonlinearity='relu')
kaiming_normal_(w, 0.2, mode='fan_out')
orthogonal_(w, 2.0)
sparse_(w, 0.5)
""".strip().splitlines()


@pytest.mark.parametrize("shape", [(20, 7), (5, 20)])
@pytest.mark.parametrize("text", INITS)
def test_init(text, shape):
    results = []
    for lib in (tapegrad, torch):
        lib.manual_seed(5)
        w = lib.nn.Parameter(lib.empty(shape))
        assert eval(f"init.{text}", {"init": lib.nn.init, "w": w}) is w
        results.append((w.detach().numpy(), lib.rand(1).numpy()))
    for ours, theirs in zip(*results, strict=True):
        if text.startswith("orthogonal"):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        else:
            np.testing.assert_array_equal(ours, theirs)


def test_dirac():
    for shape, groups in (((4, 2, 3), 1), ((4, 2, 3, 3), 2), ((2, 3, 3, 4, 5), 1)):
        ours = tapegrad.nn.init.dirac_(tapegrad.empty(shape), groups).numpy()
        theirs = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
        np.testing.assert_array_equal(ours, theirs)


def test_copies_of_a_model_train_alike():
    _, model, optimizer = train(tapegrad, next(iter(MODELS)), "Adam(p, lr=0.01)", (6, 4))
    other = copy.deepcopy(model)
    again = tapegrad.optim.Adam(other.parameters())
    again.load_state_dict(optimizer.state_dict())
    x = tapegrad.randn(6, 4)
    for m, o in ((model, optimizer), (other, again)):
        o.zero_grad()
        m(x).sum().backward()
        o.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert p is not q
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("norm", [2.0, 1.0, float("inf")])
def test_clipping(norm):
    results = []
    for lib in (tapegrad, torch):
        x, y, z = (lib.ones(n, requires_grad=True) for n in (2, 3, 4))
        (x.sum() * 3 + (y * lib.tensor([1.0, -2.0, 5.0])).sum()).backward()
        total = lib.nn.utils.clip_grad_norm_([x, y, z], 1.5, norm)
        clipped = [x.grad.numpy().copy(), y.grad.numpy().copy()]
        lib.nn.utils.clip_grad_value_([x, y, z], 0.2)
        results.append([total.numpy(), *clipped, x.grad.numpy(), y.grad.numpy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
