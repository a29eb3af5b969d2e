"""Module: parameters, buffers and other Modules under names, and a function that uses them.

>>> import tapegrad as torch
>>> class Line(torch.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.slope = torch.nn.Parameter(torch.ones(1))
...     def forward(self, x):
...         return self.slope * x
>>> line = Line()
>>> line.state_dict()
OrderedDict({'slope': tensor([1.])})
>>> line(torch.tensor([2.0]))
tensor([2.], grad_fn=<MulBackward0>)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from tapegrad import devices, dtypes
from tapegrad.autograd.hooks import Hooks, RemovableHandle
from tapegrad.methods import typename
from tapegrad.modes import no_grad
from tapegrad.nn.modules.hooks import call_with_hooks
from tapegrad.nn.modules.state import StateDict
from tapegrad.nn.parameter import Buffer, Parameter, TransientBuffer, clear_gradient
from tapegrad.tensor import Tensor

__all__ = ["Module"]


class Module(StateDict):
    """The base of layers and models: subclasses define ``forward`` and call ``super().__init__()``.

    What is assigned to an attribute is found by `parameters`, `buffers` and `modules` if it is a
    Parameter, a Buffer or a Module.
    """

    training: bool
    call_super_init = False
    dump_patches = False
    _version = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            what = f"got an unexpected keyword argument '{next(iter(kwargs))}'" if kwargs else (
                f"takes 1 positional argument but {len(args) + 1} were given"
            )  # fmt: skip
            raise TypeError(f"{type(self).__name__}.__init__() {what}")
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
            _forward_hooks=Hooks(),
            _forward_pre_hooks=Hooks(),
            _backward_hooks=Hooks(),
            _backward_pre_hooks=Hooks(),
            _state_dict_hooks=Hooks(),
            _load_state_dict_pre_hooks=Hooks(),
            _load_state_dict_post_hooks=Hooks(),
        )

    def forward(self, *input: Any) -> Any:
        """What the Module computes; defined by subclasses."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, with the hooks that are registered."""
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # -- attributes --------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            if kind in fields and name in fields[kind]:
                return fields[kind][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        if isinstance(value, Parameter):
            _check_initialized(fields, "parameters")
            self._forget(name)
            self.register_parameter(name, value)
        elif name in fields.get("_parameters", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            _check_initialized(fields, "module")
            self._forget(name)
            self._modules[name] = value
        elif name in fields.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            self._modules[name] = value
        elif name in fields.get("_buffers", ()) or isinstance(value, Buffer):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            persistent = name not in self._non_persistent_buffers_set
            if isinstance(value, Buffer):
                persistent = not isinstance(value, TransientBuffer)
            fields.pop(name, None)
            self.register_buffer(name, value, persistent)
        else:
            super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        for named in (self._parameters, self._buffers, self._modules):
            if name in named:
                del named[name]
                self._non_persistent_buffers_set.discard(name)
                return
        super().__delattr__(name)

    def _forget(self, name: str) -> None:
        for named in (self.__dict__, self._buffers, self._modules):
            named.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __dir__(self) -> list[str]:
        named = (*self._parameters, *self._buffers, *self._modules)
        return sorted({*super().__dir__(), *(n for n in named if n.isidentifier())})

    def register_parameter(self, name: str, param: Tensor | None) -> None:
        """Add a Parameter (or None, which keeps the name) as an attribute.

        Raises KeyError for a name that is taken or no attribute's, TypeError for what is no
        Parameter, ValueError for one that isn't a leaf.
        """
        _check_initialized(self.__dict__, "parameter")
        self._check_name(name, self._parameters, "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and not param.is_leaf:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                "created explicitly. To express '{name}' as a function of another Tensor, compute "
                "the value in the forward() method."
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor (or None) that is part of the state, but not a parameter.

        Raises KeyError for a name that is taken or no attribute's, TypeError for what is no Tensor.
        """
        _check_initialized(self.__dict__, "buffer")
        self._check_name(name, self._buffers, "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a Module (or None) as an attribute, under a name that need not be an identifier."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, self._modules, "module")
        self._modules[name] = module

    def _check_name(self, name: str, named: dict[str, Any], kind: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if "." in name:
            got = f", got: {name}" if kind == "module" else ""
            raise KeyError(f'{kind} name can\'t contain "."{got}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in named:
            raise KeyError(f"attribute '{name}' already exists")

    # -- what it holds -----------------------------------------------------------------------------

    def _named(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        holders: Any = [(prefix, self)]
        if recurse:
            holders = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in holders:
            for name, value in getattr(module, kind).items():
                if value is not None and id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The Parameters, each once; without ``recurse`` only the Module's own."""
        for _, value in self.named_parameters(recurse=recurse):
            yield value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The Parameters with their paths, such as ``("0.weight", ...)``."""
        yield from self._named("_parameters", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once; without ``recurse`` only the Module's own."""
        for _, value in self.named_buffers(recurse=recurse):
            yield value

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their paths."""
        yield from self._named("_buffers", prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The Modules that are attributes of this one, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The Modules that are attributes of this one, with their names."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """The Module itself and all that it is made of, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The Module itself, whose path is ``prefix``, and all that it is made of."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def get_submodule(self, target: str) -> Module:
        """The Module at a path such as ``"encoder.0"``; raises AttributeError if there is none."""
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The Parameter at a path; raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        found = getattr(module, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a path; raises AttributeError if there is none."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return module._buffers[name]

    # -- changing all of it ------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on each Module, children first."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace the data of parameters and gradients, and the buffers, by ``fn`` of them."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        with no_grad():
            for value in self._parameters.values():
                if value is not None:
                    grad = value.grad
                    value.grad = None
                    value.data = fn(value)
                    if grad is not None:
                        value.grad = fn(grad).requires_grad_(grad.requires_grad)
            for name, value in self._buffers.items():
                if value is not None:
                    self._buffers[name] = fn(value)
        return self

    def cuda(self, device: Any = None) -> Self:
        """Raises what torch raises without a GPU, if there is a parameter or buffer to be moved."""
        return self._apply(lambda x: x.cuda(device))

    def to(
        self,
        *args: Any,
        device: Any = None,
        dtype: Any = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> Self:
        """Convert floating-point parameters and buffers: ``to(dtype)``, ``to(device, dtype)``.

        Also ``to(tensor)``, for that Tensor's dtype. Raises TypeError for an integer dtype.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                dtype = arg.dtype
            elif isinstance(arg, dtypes.dtype):
                dtype = arg
            elif isinstance(arg, (str, int, devices.device)) and not isinstance(arg, bool):
                device = arg
        devices.check_device(device)
        if dtype is None:
            return self
        if dtype.numpy.kind not in "fc":
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired "
                f"dtype={dtype}"
            )
        return self._apply(lambda t: t.to(dtype) if t._spec.dtype.kind in "fc" else t)

    def type(self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def _float_to(self, dtype: dtypes.dtype) -> Self:
        return self._apply(lambda t: t.to(dtype) if t._spec.dtype.kind == "f" else t)

    def float(self) -> Self:
        """Convert floating-point parameters and buffers to float32."""
        return self._float_to(dtypes.NAMES["float32"])

    def double(self) -> Self:
        """Convert floating-point parameters and buffers to float64."""
        return self._float_to(dtypes.NAMES["float64"])

    def half(self) -> Self:
        """Convert floating-point parameters and buffers to float16."""
        return self._float_to(dtypes.NAMES["float16"])

    def cpu(self) -> Self:
        """The Module itself: everything is on the CPU."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which dropout and batch norms work, or leave it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Self:
        """Leave training mode."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Have operations on the parameters recorded, or not."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        for parameter in self.parameters():
            clear_gradient(parameter, set_to_none)

    # -- hooks -------------------------------------------------------------------------------------

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before each ``forward``; a result takes the place of args."""
        return _register(self._forward_pre_hooks, hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each ``forward``; a result replaces output."""
        options = {"with_kwargs": with_kwargs, "always_call": always_call}
        return _register(self._forward_hooks, hook, prepend, **options)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the inputs' gradients are computed.

        A result takes the place of ``grad_input``.
        """
        return _register(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` first; a result takes the place of grad_output."""
        return _register(self._backward_pre_hooks, hook, prepend)

    # -- printing ----------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands in the parentheses where the Module is printed."""
        return ""

    def __repr__(self) -> str:
        own = self.extra_repr()
        lines = own.split("\n") if own else []
        if len(lines) > 1 or self._modules:
            for name, module in self._modules.items():
                lines.append(f"({name}): " + indented(repr(module)))
            own = "\n  " + "\n  ".join(lines) + "\n"
        return f"{self._get_name()}({own})"


def indented(text: str) -> str:
    """The text with all its lines but the first moved to the right by two columns."""
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line if line.strip() else "" for line in rest)])


def _register(
    hooks: Hooks, hook: Callable[..., Any], prepend: bool, **options: bool
) -> RemovableHandle:
    handle = hooks.register((hook, options))  # type: ignore[arg-type]  # `call_with_hooks` reads it
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _check_initialized(fields: dict[str, Any], what: str) -> None:
    if "_parameters" not in fields:
        raise AttributeError(f"cannot assign {what} before Module.__init__() call")
