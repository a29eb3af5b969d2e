"""Modules: attributes, states, hooks; the same for tapegrad and torch."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tapegrad


class TwoLayers(tapegrad.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = tapegrad.nn.Linear(2, 3)
        self.second = tapegrad.nn.Linear(3, 1)

    def forward(self, x):
        return self.second(self.first(x).relu())


def two_layers(lib):
    return lib.nn.Sequential(lib.nn.Linear(2, 3), lib.nn.ReLU(), lib.nn.Linear(3, 1))


def test_import_is_lazy():
    program = "import sys, tapegrad; assert not [m for m in sys.modules if 'tapegrad.nn.' in m and"
    program += " m != 'tapegrad.nn.functional' or 'tapegrad.optim' in m]; import tapegrad.optim"
    subprocess.run([sys.executable, "-c", program], check=True)


# -- parameters ------------------------------------------------------------------------------------


def test_a_parameter_is_a_tensor_by_type():
    parameter = tapegrad.nn.Parameter(tapegrad.ones(2))
    assert type(parameter) is tapegrad.Tensor  # so that operations take their short paths
    assert isinstance(parameter, tapegrad.nn.Parameter)
    assert issubclass(tapegrad.nn.Parameter, tapegrad.Tensor)


def test_parameters(lib):
    plain = lib.ones(2)
    parameter = lib.nn.Parameter(plain)
    assert parameter.is_leaf
    assert parameter.requires_grad
    assert isinstance(parameter, lib.nn.Parameter)
    assert isinstance(parameter, lib.Tensor)
    assert not isinstance(plain, lib.nn.Parameter)
    for other in (parameter * 1, parameter.detach(), parameter.data, parameter.clone()):
        assert not isinstance(other, lib.nn.Parameter)
    assert repr(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    with lib.no_grad():
        parameter.add_(1)
    assert plain.tolist() == [2, 2]  # the memory is shared
    assert not lib.nn.Parameter(plain, requires_grad=False).requires_grad
    assert lib.nn.Parameter().shape == (0,)
    with pytest.raises(RuntimeError, match="floating point"):
        lib.nn.Parameter(lib.tensor([1]))


def test_copies_of_parameters(lib):
    parameter = lib.nn.Parameter(lib.ones(2), requires_grad=False)
    parameter.requires_grad_()
    parameter.sum().backward()
    for other in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert isinstance(other, lib.nn.Parameter)
        assert other.requires_grad
        assert other.grad is None
        assert other.tolist() == [1, 1]
    assert isinstance(copy.copy(parameter), lib.nn.Parameter)


def test_parameters_in_inference_mode():
    with tapegrad.inference_mode():
        parameter = tapegrad.nn.Parameter(tapegrad.ones(2))
        assert (parameter * 2).tolist() == [2, 2]
    assert isinstance(parameter, tapegrad.nn.Parameter)


def test_parameters_have_no_subclasses():
    with pytest.raises(NotImplementedError, match="subclasses of Parameter"):
        type("Mine", (tapegrad.nn.Parameter,), {})


def test_buffers(lib):
    module = lib.nn.Module()
    module.a = lib.nn.Buffer(lib.ones(1))
    module.b = lib.nn.Buffer(lib.ones(2), persistent=False)
    module.register_buffer("c", None)
    assert [name for name, _ in module.named_buffers()] == ["a", "b"]
    assert list(module.state_dict()) == ["a"]
    module.b = lib.zeros(2)
    module.c = lib.ones(3)
    assert [b.tolist() for b in module.buffers()] == [[1], [0, 0], [1, 1, 1]]
    assert list(module.state_dict()) == ["a", "c"]


# -- modules ---------------------------------------------------------------------------------------


def test_what_a_module_holds(lib):
    model = two_layers(lib)
    outer = lib.nn.Module()
    outer.model = model
    outer.again = model
    outer.scale = lib.nn.Parameter(lib.ones(1))
    names = ["scale", "model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"]
    assert [name for name, _ in outer.named_parameters()] == names
    assert [name for name, _ in outer.named_parameters(recurse=False)] == ["scale"]
    assert len(list(outer.named_parameters(remove_duplicate=False))) == 9
    assert [name for name, _ in outer.named_modules()] == [
        "",
        "model",
        "model.0",
        "model.1",
        "model.2",
    ]
    assert [name for name, _ in outer.named_children()] == ["model"]
    assert outer.get_submodule("model.2") is model[2]
    assert outer.get_parameter("model.2.bias") is model[2].bias
    assert len(outer.state_dict()) == 9
    del outer.again
    assert "again" not in dir(outer)
    with pytest.raises(AttributeError, match="has no attribute 'again'"):
        outer.again  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute `x`"):
        outer.get_submodule("model.x")


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("m.weight = torch.ones(2)", TypeError),
        ("m.register_parameter('forward', None)", KeyError),
        ("m.register_parameter('a.b', None)", KeyError),
        ("m.register_parameter('', None)", KeyError),
        ("m.register_parameter('x', torch.ones(2))", TypeError),
        ("m.register_buffer('weight', torch.ones(2))", KeyError),
        ("m.register_buffer('x', 3)", TypeError),
        ("m.add_module('x', 3)", TypeError),
        ("m.add_module('a.b', None)", KeyError),
        ("m.to(torch.int64)", TypeError),
        ("m.train(3)", ValueError),
        ("m.load_state_dict([])", TypeError),
        ("m.load_state_dict({'weight': torch.ones(2), 'other': torch.ones(2)})", RuntimeError),
        ("m.load_state_dict({'weight': 3, 'bias': torch.ones(3)})", RuntimeError),
        ("nn.Module()(1)", NotImplementedError),
        ("nn.Module(3)", TypeError),
        ("nn.ModuleList([m])[1]", IndexError),
        ("nn.Sequential(m).insert(3, m)", IndexError),
        ("nn.ParameterList(torch.ones(2))", TypeError),
        ("nn.ParameterDict({3: torch.ones(2)})", TypeError),
        ("nn.Conv2d(3, 4, 3, groups=2)", ValueError),
        ("nn.Conv2d(3, 4, 3, stride=2, padding='same')", ValueError),
        ("nn.Dropout(1.5)", ValueError),
        ("nn.BatchNorm2d(3)(torch.ones(2, 3))", ValueError),
        ("nn.GroupNorm(2, 3)", ValueError),
        ("nn.LSTM(2, 3)(torch.ones(2))", ValueError),
        ("nn.LSTM(2, 3)(torch.ones(4, 1, 3))", RuntimeError),
        ("nn.GRU(2, 3)(torch.ones(4, 1, 2), torch.ones(2, 3))", RuntimeError),
        ("nn.GRU(2, 3, proj_size=1)", ValueError),
        ("nn.RNN(2, 3, nonlinearity='x')", ValueError),
        ("nn.RNN(0, 3)", ValueError),
        ("nn.init.kaiming_uniform_(torch.ones(3))", ValueError),
        ("nn.init.calculate_gain('x')", ValueError),
        ("nn.utils.vector_to_parameters(3, [])", TypeError),
    ],
)
def test_errors(statement, error, lib):
    def outcome(lib):
        with pytest.raises(error) as caught:
            exec(statement, {"torch": lib, "nn": lib.nn, "m": lib.nn.Linear(2, 3)})
        return str(caught.value).replace("tapegrad", "torch")

    assert outcome(tapegrad) == outcome(lib)


def test_a_module_needs_its_init():
    class Forgetful(tapegrad.nn.Module):
        def __init__(self):
            self.weight = tapegrad.nn.Parameter(tapegrad.ones(1))

    with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
        Forgetful()


def test_states(lib):
    model, other = two_layers(lib), two_layers(lib)
    state = model.state_dict()
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    for x, y in zip(model.parameters(), other.parameters(), strict=True):
        assert x.tolist() == y.tolist()
        assert x is not y
    assert not state["0.weight"].requires_grad
    assert model.state_dict(keep_vars=True)["0.weight"] is model[0].weight
    del state["0.bias"]
    state["3.bias"] = lib.ones(1)
    result = other.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["0.bias"], ["3.bias"])
    with pytest.raises(RuntimeError) as caught:
        other.load_state_dict({**state, "2.bias": lib.ones(2)})
    assert str(caught.value).replace("tapegrad", "torch") == (
        "Error(s) in loading state_dict for Sequential:\n\t"
        'Missing key(s) in state_dict: "0.bias". \n\t'
        'Unexpected key(s) in state_dict: "3.bias". \n\t'
        "size mismatch for 2.bias: copying a param with shape torch.Size([2]) from checkpoint, "
        "the shape in current model is torch.Size([1])."
    )
    weight = lib.zeros(3, 2)
    other.load_state_dict({"0.weight": weight}, strict=False, assign=True)
    assert isinstance(other[0].weight, lib.nn.Parameter)
    assert other[0].weight.requires_grad
    with lib.no_grad():
        weight += 1
    assert other[0].weight.tolist() == weight.tolist()


def test_extra_state(lib):
    class Counting(lib.nn.Module):
        count = 0

        def get_extra_state(self):
            return {"count": self.count}

        def set_extra_state(self, state):
            self.count = state["count"]

    first, second = Counting(), Counting()
    first.count = 3
    second.load_state_dict(first.state_dict())
    assert second.count == 3
    with pytest.raises(RuntimeError, match=r'Missing key.*"_extra_state"'):
        second.load_state_dict({})


def test_changing_all_of_it(lib):
    model = lib.nn.Sequential(two_layers(lib), lib.nn.BatchNorm1d(1), lib.nn.Dropout())
    weight = model[0][0].weight
    model[0][0].weight.grad = lib.ones(3, 2)
    assert model.double() is model
    assert model[0][0].weight is weight  # so that optimizers go on
    assert weight.dtype == weight.grad.dtype == model[1].running_mean.dtype == lib.float64
    assert model[1].num_batches_tracked.dtype == lib.int64
    assert model.to("cpu", lib.float32)[0][0].weight.dtype == lib.float32
    assert model.to(lib.ones(1, dtype=lib.float64))[0][0].weight.dtype == lib.float64
    model.zero_grad(set_to_none=False)
    assert weight.grad.tolist() == [[0, 0]] * 3
    model.zero_grad()
    assert weight.grad is None
    model.eval()
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.requires_grad_(False).parameters())
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen == [
        "Linear",
        "ReLU",
        "Linear",
        "Sequential",
        "BatchNorm1d",
        "Dropout",
        "Sequential",
    ]


def test_forward_hooks(lib):
    module = lib.nn.Linear(2, 2)
    seen = []
    with module.register_forward_pre_hook(lambda m, args: (args[0] * 0,)):
        assert module(lib.ones(2)).tolist() == module.bias.tolist()
    handle = module.register_forward_hook(lambda m, args, output: output * 0)
    module.register_forward_hook(
        lambda m, args, kwargs, output: seen.append((len(args), list(kwargs))), with_kwargs=True
    )
    assert module(input=lib.ones(2)).tolist() == [0, 0]
    handle.remove()
    assert module(lib.ones(2)).tolist() != [0, 0]
    assert seen == [(0, ["input"]), (1, [])]

    def fail(m, args, output):
        seen.append("called")

    module.register_forward_hook(fail, always_call=True)
    with pytest.raises(RuntimeError):
        module(lib.ones(3))
    assert seen[-1] == "called"


def test_backward_hooks(lib):
    module = lib.nn.Linear(2, 2, bias=False)
    seen = []

    def note(m, grad_input, grad_output):
        seen.append([x.tolist() for x in (*grad_input, *grad_output)])
        return (grad_input[0] * 2,)

    module.register_full_backward_hook(note)
    module.register_full_backward_pre_hook(lambda m, grad_output: (grad_output[0] * 3,))
    with lib.no_grad():
        module.weight.copy_(lib.tensor([[1.0, 2.0], [3.0, 4.0]]))
    x = lib.ones(2, requires_grad=True)
    module(x).sum().backward()
    assert seen == [[[12, 18], [3, 3]]]
    assert x.grad.tolist() == [24, 36]
    assert module.weight.grad.tolist() == [[3, 3], [3, 3]]


def test_containers(lib):
    nn = lib.nn
    a, b, c = nn.Linear(1, 1), nn.ReLU(), nn.Tanh()
    row = nn.Sequential(a, b) + nn.Sequential(c)
    assert [*row] == [a, b, c]
    assert [*row[1:]] == [b, c]
    assert row[-1] is c
    del row[0]
    assert [name for name, _ in row.named_children()] == ["0", "1"]
    row.insert(1, a)
    assert [*row] == [b, a, c]
    assert row.pop(0) is b
    assert len(row * 2) == 4
    listed = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1), nn.ReLU()])
    assert repr(listed).splitlines()[1:3] == [
        "  (0-1): 2 x Linear(in_features=1, out_features=1, bias=True)",
        "  (2): ReLU()",
    ]
    listed[2] = nn.Tanh()
    listed += [b]
    assert [type(m).__name__ for m in listed] == ["Linear", "Linear", "Tanh", "ReLU"]
    named = nn.ModuleDict({"x": a})
    named["y"] = b
    named.update([("z", c)])
    assert list(named) == list(named.keys()) == ["x", "y", "z"]
    assert "y" in named
    assert named.pop("y") is b
    values = nn.ParameterList([lib.ones(2), nn.Parameter(lib.ones(2, 3)), 3])
    assert len(list(values.parameters())) == 2
    assert repr(values).replace("tapegrad", "torch") == (
        "ParameterList(\n    (0): Parameter containing: [torch.float32 of size 2]\n"
        "    (1): Parameter containing: [torch.float32 of size 2x3]\n"
        "    (2): Object of type: int\n)"
    )
    assert [type(v).__name__ for v in values[1:]][1] == "int"
    weights = nn.ParameterDict({"b": lib.ones(1), "a": lib.ones(2)})
    assert list(weights) == ["a", "b"]
    assert repr(nn.ParameterDict({"a": lib.ones(2)})).replace("tapegrad", "torch") == (
        "ParameterDict(  (a): Parameter containing: [torch.FloatTensor of size 2])"
    )
    assert list((weights | {"c": lib.ones(3)}).keys()) == ["a", "b", "c"]
    assert list(weights.state_dict()) == ["a", "b"]


def test_copies_of_modules():
    model = TwoLayers()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model)
        assert list(other.state_dict()) == list(model.state_dict())
        assert all(isinstance(p, tapegrad.nn.Parameter) for p in other.parameters())
        x = tapegrad.ones(2)
        assert other(x).tolist() == model(x).tolist()
        assert other.first.weight is not model.first.weight


def test_vectors(lib):
    model = two_layers(lib)
    vector = lib.nn.utils.parameters_to_vector(model.parameters())
    assert vector.shape == (13,)
    assert vector.requires_grad
    lib.nn.utils.vector_to_parameters(vector.detach() * 0 + 2, model.parameters())
    assert model[2].weight.tolist() == [[2, 2, 2]]
    assert model[2].weight.requires_grad


def test_a_norm_that_is_not_finite(lib):
    x = lib.ones(1, requires_grad=True)
    x.grad = lib.tensor([float("inf")])
    with pytest.raises(RuntimeError, match="is non-finite"):
        lib.nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)


# -- as functions ----------------------------------------------------------------------------------


def test_functional_call(lib):
    model = two_layers(lib)
    weights = {name: (p * 0 + 1).detach().requires_grad_() for name, p in model.named_parameters()}
    before = dict(model.named_parameters())
    out = lib.func.functional_call(model, weights, lib.ones(2))
    assert out.tolist() == [10.0]
    (grad,) = lib.autograd.grad(out, weights["2.bias"])
    assert grad.tolist() == [1.0]
    assert all(p is before[name] for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
    split = ({"0.weight": lib.zeros(3, 2)}, {"0.bias": lib.ones(3)})
    lib.func.functional_call(model, split, (lib.ones(2),))
    with pytest.raises(ValueError, match="appeared in multiple dictionaries"):
        lib.func.functional_call(model, (split[0], split[0]), lib.ones(2))
    with pytest.raises(RuntimeError, match=r"Error\(s\) in reparametrizing for Sequential"):
        lib.func.functional_call(model, split, lib.ones(2), strict=True)
    with pytest.raises(RuntimeError):
        lib.func.functional_call(model, split, lib.ones(5))
    assert all(p is before[name] for name, p in model.named_parameters())


def test_functional_call_of_tied_weights(lib):
    model = lib.nn.Sequential(lib.nn.Linear(1, 1, bias=False), lib.nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    three = {"0.weight": lib.tensor([[3.0]])}
    assert lib.func.functional_call(model, three, lib.ones(1)).tolist() == [9]
    untied = lib.func.functional_call(model, three, lib.ones(1), tie_weights=False)
    assert untied.item() == pytest.approx(3 * model[1].weight.item())


def test_stacked_states(lib):
    models = [lib.nn.BatchNorm1d(2) for _ in range(3)]
    params, buffers = lib.func.stack_module_state(models)
    assert {name: tuple(p.shape) for name, p in params.items()} == {
        "weight": (3, 2),
        "bias": (3, 2),
    }
    assert all(p.requires_grad for p in params.values())
    assert [tuple(b.shape) for b in buffers.values()] == [(3, 2), (3, 2), (3,)]
    with pytest.raises(RuntimeError, match="at least one model"):
        lib.func.stack_module_state([])
    with pytest.raises(RuntimeError, match="same training/eval mode"):
        lib.func.stack_module_state([models[0], lib.nn.BatchNorm1d(2).eval()])


def test_a_model_in_float64_has_right_gradients():
    tapegrad.manual_seed(0)
    model = tapegrad.nn.Sequential(
        tapegrad.nn.Linear(3, 4),
        tapegrad.nn.Tanh(),
        tapegrad.nn.LayerNorm(4),
        tapegrad.nn.GRU(4, 2),
    ).double()
    x = tapegrad.randn(3, 2, 3, dtype=tapegrad.float64)
    names = [name for name, _ in model.named_parameters()]

    def loss(*values):
        out, _ = tapegrad.func.functional_call(model, dict(zip(names, values, strict=True)), x)
        return (out * out).sum()

    assert tapegrad.autograd.gradcheck(loss, tuple(model.parameters()))


def test_steps_under_errstate():
    model = tapegrad.nn.Linear(2, 1)
    model.weight.grad = tapegrad.tensor([[1e30, 1e-30]])
    with np.errstate(all="raise"):
        tapegrad.optim.Adam(model.parameters()).step()
    assert tapegrad.isfinite(model.weight).all()


def test_there_is_no_gpu():
    with pytest.raises(AssertionError, match="CUDA"):
        tapegrad.nn.Linear(2, 2).cuda()
    module = tapegrad.nn.ReLU()
    assert module.cuda() is module
