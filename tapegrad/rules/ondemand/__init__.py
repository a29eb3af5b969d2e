"""Families whose functions are no methods of Tensor: loaded when somebody asks for one of them.

An import of tapegrad takes a third less time without them. They are loaded together, by the import
of this package, so that what they declare is known for certain: users declare primitives, too.
"""

from importlib import import_module
from pkgutil import iter_modules

from tapegrad.declaration import operators as _operators
from tapegrad.primitive import primitives as _primitives

_before = len(_primitives), len(_operators)
for _family in iter_modules(__path__):
    import_module(f"{__name__}.{_family.name}")

#: What the families declared.
primitives = _primitives[_before[0] :]
operators = _operators[_before[1] :]
