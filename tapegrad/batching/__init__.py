"""vmap's rules: how a primitive, or a function, runs on all samples at once.

Loaded by the first vmap.
"""

from tapegrad.batched import rules
from tapegrad.batching.apply import apply
from tapegrad.batching.calls import call, one_by_one
from tapegrad.batching.writing import changed, copy_into, set_items
from tapegrad.primitive import Primitive

rules.one_by_one = one_by_one
rules.apply = apply
rules.change = changed
rules.copy = copy_into
rules.set_items = set_items
Primitive.call_batched = staticmethod(call)
