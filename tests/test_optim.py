"""Optimizers and schedulers: groups, states, errors; the same for tapegrad and torch."""

from __future__ import annotations

import copy
import pickle

import pytest

import tapegrad


def leaf(lib, *values):
    return lib.tensor(list(values) or [1.0, 2.0], requires_grad=True)


def test_groups(lib):
    x, y = leaf(lib), leaf(lib)
    optimizer = lib.optim.SGD([{"params": [x]}, {"params": y, "lr": 0.5}], lr=0.1)
    (x.sum() + y.sum()).backward()
    optimizer.step()
    assert x.tolist() == pytest.approx([0.9, 1.9])
    assert y.tolist() == [0.5, 1.5]
    optimizer.zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert x.grad is None
    optimizer.step()  # without gradients nothing happens
    assert y.tolist() == [0.5, 1.5]
    named = lib.optim.SGD([("x", x)])
    assert named.state_dict()["param_groups"][0]["param_names"] == ["x"]


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("SGD([])", ValueError),
        ("SGD(x)", TypeError),
        ("SGD([3])", TypeError),
        ("SGD([x * 2])", ValueError),
        ("SGD([x], lr=-1.0)", ValueError),
        ("SGD([x], momentum=-1.0)", ValueError),
        ("SGD([x], nesterov=True)", ValueError),
        ("SGD([{'params': {x}}])", TypeError),
        ("SGD([{'params': [x]}, {'params': [x]}])", ValueError),
        ("SGD([('x', x), y])", ValueError),
        ("Adam([x], betas=(0.9, 1.0))", ValueError),
        ("Adam([x], eps=-1.0)", ValueError),
        ("Rprop([x], etas=(1.0, 2.0))", ValueError),
        ("Adadelta([x], rho=2.0)", ValueError),
        ("LBFGS([{'params': [x]}, {'params': [y]}])", ValueError),
        ("SGD([x]).load_state_dict(SGD([x, y]).state_dict())", ValueError),
        ("lr_scheduler.StepLR(3, 1)", TypeError),
        ("lr_scheduler.LambdaLR(SGD([x]), [])", ValueError),
        ("lr_scheduler.OneCycleLR(SGD([x], momentum=0.9), 0.1)", ValueError),
        ("lr_scheduler.ReduceLROnPlateau(SGD([x]), factor=2.0)", ValueError),
        ("lr_scheduler.SequentialLR(SGD([x]), [], [])", ValueError),
    ],
)
def test_errors(expression, error, lib):
    names = {**vars(lib.optim), "x": leaf(lib), "y": leaf(lib)}
    with pytest.raises(error) as caught:
        eval(expression, names)
    other = {**vars(tapegrad.optim), "x": leaf(tapegrad), "y": leaf(tapegrad)}
    with pytest.raises(error) as ours:
        eval(expression, other)
    assert str(ours.value).replace("tapegrad", "torch") == str(caught.value)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "Adagrad"])
def test_states_go_on(name, lib):
    def run(x, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            (x * x).sum().backward()
            optimizer.step()

    options = {"lr": 0.1, **({"momentum": 0.9} if name in ("SGD", "RMSprop") else {})}
    x = leaf(lib)
    optimizer = getattr(lib.optim, name)([x], **options)
    run(x, optimizer, 3)
    y = x.detach().clone().requires_grad_()
    other = getattr(lib.optim, name)([y], **options)
    other.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    z = copy.deepcopy((x, optimizer))
    run(x, optimizer, 2)
    run(y, other, 2)
    run(*z, 2)
    assert x.tolist() == y.tolist() == z[0].tolist()


def test_steps_are_seen_by_replay(lib):
    x = leaf(lib)
    optimizer = lib.optim.SGD([x], lr=0.1)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    version = x._version
    optimizer.step()
    assert x._version == version + 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_closures(lib):
    x = leaf(lib)
    optimizer = lib.optim.SGD([x], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        return loss

    with lib.no_grad():
        assert optimizer.step(closure).item() == 5
    assert optimizer.step(closure).item() == pytest.approx(3.2)


def test_hooks(lib):
    x = leaf(lib)
    optimizer = lib.optim.SGD([x], lr=0.1)
    seen = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    handle = optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert seen == ["before", "after", "before"]


def test_own_optimizers(lib):
    class Signs(lib.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @lib.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    x = leaf(lib)
    optimizer = Signs([x], 0.5)
    (x * lib.tensor([1.0, -1.0])).sum().backward()
    optimizer.step()
    assert x.tolist() == [0.5, 2.5]


def test_differentiable_steps_are_refused():
    with pytest.raises(NotImplementedError, match="functional_call"):
        tapegrad.optim.SGD([leaf(tapegrad)], differentiable=True)


def test_a_scheduler_before_the_optimizer(lib):
    optimizer = lib.optim.SGD([leaf(lib)], lr=0.1)
    scheduler = lib.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()


def test_states_of_schedulers(lib):
    def make():
        optimizer = lib.optim.SGD([leaf(lib)], lr=0.1)
        parts = [lib.optim.lr_scheduler.ExponentialLR(optimizer, 0.5) for _ in range(2)]
        return optimizer, lib.optim.lr_scheduler.SequentialLR(optimizer, parts, [2])

    optimizer, scheduler = make()
    optimizer.step()
    scheduler.step()
    other_optimizer, other = make()
    other_optimizer.load_state_dict(optimizer.state_dict())
    other.load_state_dict(scheduler.state_dict())
    for o, s in ((optimizer, scheduler), (other_optimizer, other)):
        for _ in range(3):
            o.step()
            s.step()
    assert optimizer.param_groups[0]["lr"] == other_optimizer.param_groups[0]["lr"]
    assert scheduler.get_last_lr() == other.get_last_lr()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_finds_rosenbrocks_valley(line_search):
    x = tapegrad.tensor([-1.0, 1.5], dtype=tapegrad.float64, requires_grad=True)
    rate = 1.0 if line_search else 0.1
    optimizer = tapegrad.optim.LBFGS([x], lr=rate, max_iter=200, line_search_fn=line_search)

    def closure():
        optimizer.zero_grad()
        loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert x.tolist() == pytest.approx([1, 1], abs=1e-3)
