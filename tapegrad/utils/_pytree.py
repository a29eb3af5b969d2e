"""Nested tuples, lists and dicts ("trees") as flat lists of their leaves, and back.

    leaves, spec = tree_flatten({"a": 1, "b": (2, 3)})     # [1, 2, 3]
    tree_unflatten([4, 5, 6], spec)                        # {"a": 4, "b": (5, 6)}

Whatever isn't a container of a known type is a leaf, None too.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "TreeSpec",
    "register_pytree_node",
    "tree_flatten",
    "tree_leaves",
    "tree_map",
    "tree_map_",
    "tree_unflatten",
]

#: Of a container its items and what else is needed to make it again, and how it is made.
Flatten = Callable[[Any], tuple[list[Any], Any]]
Unflatten = Callable[[list[Any], Any], Any]


class TreeSpec(NamedTuple):
    """The structure of a tree. A leaf has no ``kind``."""

    kind: Any
    context: Any
    children: tuple[TreeSpec, ...]
    num_leaves: int

    def __repr__(self) -> str:
        if self.kind is None:
            return "*"
        name = getattr(self.kind, "__name__", str(self.kind))
        return f"TreeSpec({name}, {self.context}, {list(self.children)})"


LEAF = TreeSpec(None, None, (), 1)

_flat_tuples: dict[int, TreeSpec] = {}


def flat_tuple(n: int) -> TreeSpec:
    """The structure of a tuple of n leaves."""
    if n not in _flat_tuples:
        _flat_tuples[n] = TreeSpec(tuple, None, (LEAF,) * n, n)
    return _flat_tuples[n]


_nodes: dict[Any, tuple[Flatten, Unflatten]] = {}


def register_pytree_node(cls: type, flatten_fn: Flatten, unflatten_fn: Unflatten) -> None:
    """Make a class a container: ``flatten_fn(x)`` gives ``(items, context)``.

    ``unflatten_fn(items, context)`` makes one again.
    """
    _nodes[cls] = (flatten_fn, unflatten_fn)


def _of_values(tree: Any) -> tuple[list[Any], Any]:
    return list(tree.values()), list(tree)


def _default_values(tree: Any) -> tuple[list[Any], Any]:
    return list(tree.values()), [tree.default_factory, list(tree)]


register_pytree_node(tuple, lambda x: (list(x), None), lambda items, _: tuple(items))
register_pytree_node(list, lambda x: (x, None), lambda items, _: list(items))
register_pytree_node(dict, _of_values, lambda items, keys: dict(zip(keys, items, strict=True)))
register_pytree_node(
    OrderedDict, _of_values, lambda items, keys: OrderedDict(zip(keys, items, strict=True))
)
register_pytree_node(
    defaultdict,
    _default_values,
    lambda items, context: defaultdict(context[0], zip(context[1], items, strict=True)),
)
register_pytree_node(deque, lambda x: (list(x), x.maxlen), lambda items, n: deque(items, n))


def _kind(tree: Any) -> Any:
    """The class under which a container is known, None for a leaf."""
    cls = type(tree)
    if cls in _nodes:
        return cls
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return cls
    return None


def _items(tree: Any, kind: Any) -> tuple[list[Any], Any]:
    return _nodes[kind][0](tree) if kind in _nodes else (list(tree), None)


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """The leaves, from left to right, and the structure."""
    if type(tree) is tuple and all([hasattr(item, "_spec") for item in tree]):
        return list(tree), flat_tuple(len(tree))
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> TreeSpec:
    kind = None if hasattr(tree, "_spec") else _kind(tree)
    if kind is None:
        leaves.append(tree)
        return LEAF
    items, context = _items(tree, kind)
    before = len(leaves)
    children = tuple([_flatten(item, leaves) for item in items])
    return TreeSpec(kind, context, children, len(leaves) - before)


def tree_unflatten(leaves: Any, treespec: TreeSpec) -> Any:
    """The tree of that structure. Raises ValueError for another number of leaves."""
    values = list(leaves)
    if treespec is LEAF and len(values) == 1:
        return values[0]
    if treespec is _flat_tuples.get(len(values)):
        return tuple(values)
    if len(values) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(values)} but the spec "
            f"refers to a pytree that holds {treespec.num_leaves} items ({treespec})."
        )
    return _unflatten(iter(values), treespec)


def _unflatten(leaves: Any, spec: TreeSpec) -> Any:
    if spec.kind is None:
        return next(leaves)
    items = [
        next(leaves) if child.kind is None else _unflatten(leaves, child) for child in spec.children
    ]
    if spec.kind in _nodes:
        return _nodes[spec.kind][1](items, spec.context)
    return spec.kind(*items)


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves, from left to right."""
    return tree_flatten(tree)[0]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """A tree of the same structure, of ``func(leaf, ...)``; ``rests`` have that structure too."""
    leaves, spec = tree_flatten(tree)
    return tree_unflatten(map(func, leaves, *map(tree_leaves, rests)), spec)


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """Call ``func`` with each leaf; returns the tree itself."""
    for leaves in zip(tree_leaves(tree), *map(tree_leaves, rests), strict=True):
        func(*leaves)
    return tree


def broadcast_to_and_flatten(tree: Any, spec: TreeSpec) -> list[Any] | None:
    """The leaves of a tree that has the beginning of a structure, each as often as it stands.

    None if it hasn't.
    """
    kind = _kind(tree)
    if kind is None:
        return [tree] * spec.num_leaves
    items, context = _items(tree, kind)
    if kind != spec.kind or len(items) != len(spec.children) or context != spec.context:
        return None
    found: list[Any] = []
    for item, child in zip(items, spec.children, strict=True):
        part = broadcast_to_and_flatten(item, child)
        if part is None:
            return None
        found += part
    return found
