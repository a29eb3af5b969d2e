"""Public functions: how they are declared, and what they are from outside.

    @public(numpy=[np.clip])
    def clamp(input, min=None, max=None):
        ...

makes ``tapegrad.clamp``, ``Tensor.clamp`` and ``np.clip`` of Tensors, in `tapegrad.operators`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tapegrad.outs import into_out, is_out_unknown
from tapegrad.primitive import Primitive

__all__ = ["BatchedAccess", "all_values", "by_sample", "faces", "names_arguments", "not_a_tensor"]
__all__ += ["operators", "public"]

Function = TypeVar("Function", bound=Callable[..., Any])


class BatchedAccess(RuntimeError):  # noqa: N818 - nobody catches it but vmap
    """Raised where a function asks for the array of a Tensor that vmap maps over."""

    def __init__(self) -> None:
        super().__init__(
            "vmap: the values of a Tensor that vmap maps over can't be looked at. Use tapegrad's "
            "operations on it, or do this outside of vmap."
        )


def not_a_tensor(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: AttributeError
) -> Exception:
    """torch's TypeError, if the error is about an argument that should be a Tensor; or the error.

    So nothing is checked where all is well.
    """
    if not hasattr(error.obj, "_spec"):
        signature = inspect.signature(function)
        given = signature.bind(*args, **kwargs).arguments
        for position, (name, parameter) in enumerate(signature.parameters.items(), 1):
            if given.get(name, error) is error.obj and parameter.annotation in ANYTHING:
                kind = type(error.obj)
                module = "" if kind.__module__ == "builtins" else kind.__module__ + "."
                return TypeError(
                    f"{function.__name__}(): argument '{name}' (position {position}) must be "
                    f"Tensor, not {module}{kind.__name__}"
                )
    return error


def faces(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """`functools.wraps`, in a fifth of its time: there are hundreds of these at each import."""

    def dressed(face: Any) -> Any:
        face.__name__, face.__qualname__ = function.__name__, function.__qualname__
        face.__module__, face.__doc__ = function.__module__, function.__doc__
        face.__wrapped__ = function
        return face

    return dressed


#: How parameters that are Tensors are annotated.
ANYTHING = ("Any", "Any | None", inspect.Parameter.empty)


def names_arguments(function: Function) -> Function:
    """A function that raises torch's TypeError for what isn't a Tensor."""

    @faces(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if not is_out_unknown(error, kwargs):
                raise
        except AttributeError as error:
            raise not_a_tensor(function, args, kwargs, error) from None
        return into_out(function, args, kwargs)

    return face  # type: ignore[return-value]


def by_sample(function: Function) -> Function:
    """A function that looks at arrays: under vmap, where there are none, it has a rule or a loop.

    It costs nothing but a call where there is no vmap.
    """

    @faces(function)
    def face(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BatchedAccess:
            return Primitive.call_batched(function, args, kwargs)
        except TypeError as error:
            if not is_out_unknown(error, kwargs):
                raise
        except AttributeError as error:
            raise not_a_tensor(function, args, kwargs, error) from None
        return into_out(function, args, kwargs)

    return face  # type: ignore[return-value]


#: Public functions that look at arrays through a helper.
LOOKING = frozenset(
    """
    gather take_along_dim index_select index_add index_copy index_fill take put masked_fill
    masked_select masked_scatter repeat_interleave max_unpool1d max_unpool2d max_unpool3d
    adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d binary_cross_entropy_with_logits
    cov cummax cummin eig eigvals svdvals svd embedding embedding_bag tensor_split grid_sample
    histogram histogramdd quantile nanquantile as_strided as_strided_scatter scatter scatter_add
    scatter_reduce index_reduce stft max min median nanmedian inv_ex solve_ex cholesky_ex
    lu_factor_ex ldl_factor_ex scaled_dot_product_attention dropout dropout_at_top dropout1d
    dropout2d dropout3d alpha_dropout feature_alpha_dropout
    """.split()  # noqa: SIM905 - readable so
)


def _looks(function: Any) -> bool:
    """Whether a public function looks at its inputs' arrays."""
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code = getattr(inner, "__code__", None)
    return code is not None and ("_array" in code.co_names or code.co_name in LOOKING)


def all_values(x: Any) -> Any:
    """The array of a Tensor; under vmap that of all samples, whose dimensions come first.

    For checks, which are made of all at once.
    """
    while hasattr(x, "_value"):
        x = x._value
    return getattr(x, "_array", x)


class Operator:
    """A public function: its names, and where it is found beside ``tapegrad.<name>``."""

    __slots__ = ("aliases", "function", "inplace", "method", "modules", "name", "numpy")

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        method: bool | str = True,
        inplace: bool = False,
        module: str | tuple[str, ...] = "",
        numpy: Iterable[Any] = (),
        aliases: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.function = function
        self.method = method
        self.inplace = inplace
        self.modules = (module,) if isinstance(module, str) else module
        self.numpy = tuple(numpy)
        self.aliases = tuple(aliases)


#: Every public function that is written out, in the order of declaration.
operators: list[Operator] = []


def public(function: Any = None, **options: Any) -> Any:
    """Declare a public function, with torch's signature; its first parameter is a Tensor.

    It becomes ``tapegrad.<name>`` and a method of Tensor. Options: ``method`` (False: no method;
    "only": no function; "property": a property), ``inplace`` (there is a method ``<name>_`` too),
    ``module`` (found there, such as "nn.functional", instead of at the top, which is ""; or in
    several), ``numpy`` (the NumPy functions that do this on Tensors), ``aliases`` (as
    `elementwise` takes them), ``name`` (where the function can't have it).
    """

    def declare(function: Any) -> Any:
        name = options.pop("name", function.__name__.rstrip("_"))
        if _looks(function):
            function = by_sample(function)
        operators.append(Operator(name, function, **options))
        return function

    return declare if function is None else declare(function)
