"""Each misuse under both libraries: the same type of exception, and the same key words."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Any

import pytest

import tapegrad

torch = pytest.importorskip("torch")

#: What every program starts with.
SETUP = """
import copy
t = torch
x = t.tensor([1.0, 2.0, 3.0], requires_grad=True)
y = t.tensor([3.0, 4.0, 5.0], requires_grad=True)
m = t.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
s = t.tensor(2.0, requires_grad=True)
a = t.tensor([1.0, 2.0, 3.0])
i = t.tensor([1, 2, 3])
grad = t.autograd.grad
F = t.nn.functional
"""

MODIFIED = r"modified by an inplace operation.*is at version 1; expected version 0 instead"
UNUSED = (
    "differentiated Tensor.* appears? to not have been used in the graph. Set allow_unused=True"
)

MISUSES: list[tuple[str, str, str]] = [  # program, type, what both messages match
    # backward and grad
    ("x.backward()", "RuntimeError", "grad can be implicitly created only for scalar outputs"),
    ("grad(x * 2, x)", "RuntimeError", "grad can be implicitly created only for scalar outputs"),
    ("r = x.exp().sum(); r.backward(); r.backward()", "RuntimeError",
     r"backward through the graph a second time .*Specify retain_graph=True"),
    ("r = x.exp(); r.sum().backward(); (r * 2).sum().backward()", "RuntimeError",
     "backward through the graph a second time"),
    ("r = x.exp().sum(); grad(r, x); grad(r, x)", "RuntimeError",
     "backward through the graph a second time"),
    ("a.sum().backward()", "RuntimeError",
     "element 0 of tensors does not require grad and does not have a grad_fn"),
    ("t.autograd.backward([x.sum(), a.sum()])", "RuntimeError",
     "element 1 of tensors does not require grad and does not have a grad_fn"),
    ("x.detach().sum().backward()", "RuntimeError", "element 0 of tensors does not require grad"),
    ("i.sum().backward()", "RuntimeError", "element 0 of tensors does not require grad"),
    ("(x > 0).sum().backward()", "RuntimeError", "element 0 of tensors does not require grad"),
    ("with t.no_grad(): r = x.sum()\nr.backward()", "RuntimeError",
     "element 0 of tensors does not require grad"),
    ("x.backward(t.ones(2))", "RuntimeError",
     r"Mismatch in shape: grad_output\[0\] has a shape of torch.Size\(\[2\]\) and output\[0\] has "
     r"a shape of torch.Size\(\[3\]\)"),
    ("grad(x * 2, x, t.ones(3, 1))", "RuntimeError", r"Mismatch in shape: grad_output\[0\]"),
    ("t.autograd.backward([x, y], [t.ones(3)])", "RuntimeError", "got 2 tensors and 1 gradients"),
    ("t.autograd.backward([x * 2], [3.0])", "TypeError",
     "gradients can be either Tensors or None, but got .*float"),
    ("grad(x.sum(), y)", "RuntimeError", UNUSED),
    ("grad(x.sum(), [x, y])", "RuntimeError", UNUSED),
    ("grad(x.sum(), [x, y], allow_unused=False)", "RuntimeError", UNUSED),
    ("grad(x.sum(), a)", "RuntimeError",
     "One of the differentiated Tensors does not require grad"),
    ("grad(x.sum(), x.clone())", "RuntimeError", UNUSED),
    ("grad(x.sum(), x, allow_unused=False, materialize_grads=True)", "ValueError",
     "Expected allow_unused to be True or not passed when materialize_grads=True"),
    ("x.sum().backward(inputs=[])", "RuntimeError",
     r"`inputs` argument to `backward\(\)` cannot be empty"),
    ("x.sum().backward(inputs=[a])", "RuntimeError",
     "does not require grad|that has requires_grad=False"),
    ("(g,) = grad((x * x).sum(), x); g.sum().backward()", "RuntimeError",
     "element 0 of tensors does not require grad"),
    ("(s * 1j).backward()", "RuntimeError",
     "grad can be implicitly created only for real scalar outputs but got torch.complex64"),
    ("class F2: pass\nF2().backward()", "AttributeError", "backward"),
    # requires_grad
    ("t.tensor([1, 2], requires_grad=True)", "RuntimeError",
     "Only Tensors of floating point and complex dtype can require gradients"),
    ("t.ones(2, dtype=t.int64, requires_grad=True)", "RuntimeError",
     "Only Tensors of floating point .*can require gradients"),
    ("t.tensor([True]).requires_grad_()", "RuntimeError",
     "only Tensors of floating point .*can require gradients"),
    ("i.requires_grad = True", "RuntimeError",
     "only Tensors of floating point .*can require gradients"),
    ("(x * 2).requires_grad = False", "RuntimeError",
     "you can only change requires_grad flags of leaf variables"),
    ("(x * 2).requires_grad_(False)", "RuntimeError",
     "you can only change requires_grad flags of leaf variables"),
    ("x.numpy()", "RuntimeError",
     r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead"),
    ("(x * 2).numpy()", "RuntimeError", r"Can't call numpy\(\) on Tensor that requires grad"),
    ("import numpy; numpy.asarray(x)", "RuntimeError",
     r"Can't call numpy\(\) on Tensor that requires grad"),
    ("copy.deepcopy(x * 2)", "RuntimeError",
     r"Only Tensors created explicitly by the user .*support the deepcopy protocol"),
    ("a.retain_grad()", "RuntimeError", "can't retain_grad on Tensor that has requires_grad=False"),
    ("x.view(3).detach_()", "RuntimeError", "Can't detach views in-place"),
    ("x.is_leaf = False", "AttributeError", "is_leaf|not writable"),
    ("x.grad_fn = None", "AttributeError", "grad_fn|not writable"),
    ("x.shape = (3, 1)", "AttributeError", "shape|not writable"),
    # .grad
    ("x.grad = t.ones(2)", "RuntimeError",
     "attempting to assign a gradient of size .* to a tensor of size "),
    ("x.grad = t.ones(3, 1)", "RuntimeError",
     "attempting to assign a gradient of size .* to a tensor of size "),
    ("x.grad = t.ones(3, dtype=t.float64)", "RuntimeError",
     "attempting to assign a gradient with dtype"),
    ("x.grad = 1.0", "TypeError", r"assigned grad expected to be a Tensor or None but got .*float"),
    ("x.grad = x", "RuntimeError", "can't assign Variable as its own grad"),
    # hooks
    ("a.register_hook(lambda g: g)", "RuntimeError",
     "cannot register a hook on a tensor that doesn't require gradient"),
    ("x.register_hook(lambda g: g[:2]); x.sum().backward()", "RuntimeError",
     r"hook .*has changed the size of value"),
    ("r = x * 2; r.register_hook(lambda g: g.sum()); r.sum().backward()", "RuntimeError",
     r"hook .*has changed the size of value"),
    ("x.register_hook(lambda g: 3.0); x.sum().backward()", "TypeError", r"hook"),
    ("x.register_hook(lambda g: 1 / 0); x.sum().backward()", "ZeroDivisionError",
     "division by zero"),
    ("(x * 2).register_post_accumulate_grad_hook(print)", "RuntimeError",
     "post accumulate grad hooks cannot be registered on non-leaf tensors"),
    ("a.register_post_accumulate_grad_hook(print)", "RuntimeError",
     "cannot register a hook on a tensor that doesn't require gradient"),
    ("x.register_post_accumulate_grad_hook(lambda l: l.grad); x.sum().backward()", "RuntimeError",
     "post accumulate grad hooks should return None"),
    ("r = x.exp(); q = r.sum(); x.register_hook(lambda g: q.backward()); r.sum().backward()",
     "RuntimeError", "backward through the graph a second time"),
    ("x.register_hook(lambda g: (y * y).sum().backward()); x.sum().backward()", "RuntimeError",
     "element 0 of tensors does not require grad"),
    ("(x * 2).requires_grad = False", "RuntimeError", "you can only change requires_grad flags"),
    # in place
    ("x.add_(1)", "RuntimeError",
     "a leaf Variable that requires grad is being used in an in-place operation"),
    ("x += 1", "RuntimeError", "a leaf Variable that requires grad is being used in an in-place"),
    ("x[0] = 1", "RuntimeError",
     "a (view of a )?leaf Variable that requires grad is being used in an in-place"),
    ("x[1:].mul_(2)", "RuntimeError",
     "a view of a leaf Variable that requires grad is being used in an in-place operation"),
    ("x.view(3).zero_()", "RuntimeError", "a view of a leaf Variable that requires grad"),
    ("x.copy_(a)", "RuntimeError", "a leaf Variable that requires grad"),
    ("x.fill_(1)", "RuntimeError", "a leaf Variable that requires grad"),
    ("r = x * 1; u = r.exp(); u.mul_(2); u.sum().backward()", "RuntimeError", MODIFIED),
    ("r = x * 1; u = r * y; r.add_(1); u.sum().backward()", "RuntimeError", MODIFIED),
    ("r = x * 1; u = r ** 2; r[0] = 5; u.sum().backward()", "RuntimeError", MODIFIED),
    ("r = x * 1; r *= r; r.sum().backward()", "RuntimeError", MODIFIED),
    ("r = x * 1; r[:1].mul_(r[1:2]); r.sum().backward()", "RuntimeError", MODIFIED),
    ("r = x * 1; u = r * r; v = r[1:]; v.mul_(2); u.sum().backward()", "RuntimeError", MODIFIED),
    ("u = x * a; a.zero_(); u.sum().backward()", "RuntimeError", MODIFIED),
    ("u = x * a; a[0] = 7; grad(u.sum(), x)", "RuntimeError", MODIFIED),
    ("r = x * 1; u = x.matmul(r); r.add_(1); u.backward()", "RuntimeError", MODIFIED),
    ("u = x.exp(); u.detach().zero_(); u.sum().backward()", "RuntimeError", MODIFIED),
    ("u = x * y\nwith t.no_grad(): x.add_(1)\nu.sum().backward()", "RuntimeError", MODIFIED),
    ("u = x.softmax(0); u[0] = 0; u.sum().backward()", "RuntimeError", MODIFIED),
    ("a.add_(x.view(3, 1))", "RuntimeError",
     r"output with shape \[3\] doesn't match the broadcast shape \[3, 3\]"),
    ("i.add_(1.5)", "RuntimeError",
     "result type Float can't be cast to the desired output type|result type .*float32 can't be "
     "cast"),
    ("i /= 2", "RuntimeError", "can't be cast to the desired output type"),
    ("(a > 0).add_(1)", "RuntimeError", "can't be cast to the desired output type"),
    ("a.expand(2, 3).add_(1)", "RuntimeError",
     "unsupported operation: more than one element of the written-to tensor refers to a single "
     "memory location"),
    ("a[:2] = a[:3]", "RuntimeError",
     "expanded size|shape mismatch|The expanded size of the tensor"),
    ("a[0] = a", "RuntimeError", "expand|shape mismatch|must match"),
    ("with t.no_grad(): v = x[1:]\nv.mul_(2)", "RuntimeError",
     "(?i)a view was created in no_grad mode and is being modified inplace with grad mode enabled"),
    ("r = (x * 1).unbind(); r[0].mul_(2)", "RuntimeError",
     "(?i)output 0 of Unbind.* is a view and is being modified inplace"),
    ("r = (x * 1).chunk(3); r[0].mul_(2)", "RuntimeError",
     "(?i)output 0 of Split.* is a view and is being modified inplace"),
    ("r = (x * 1).split([1, 2]); r[1].zero_()", "RuntimeError",
     "(?i)output 1 of SplitWithSizes is a view and is being modified inplace"),
    ("r = (m * 1).unbind(); r[1][0] = 1", "RuntimeError",
     "(?i)output 0 of Select is a view and is being modified inplace"),
    ("for row in m * 1: row.mul_(2)", "RuntimeError",
     "(?i)output 0 of Unbind is a view and is being modified inplace"),
    ("r = a.unbind(); r[0].mul_(s)", "RuntimeError",
     "view .*is being modified inplace.*the output of a function that returns multiple views"),
    # the shape, in place
    ("x.unsqueeze_(0)", "RuntimeError", "a leaf Variable that requires grad"),
    ("m.t_()", "RuntimeError", "a leaf Variable that requires grad"),
    ("(x * 1).unbind()[0].unsqueeze_(0)", "RuntimeError",
     "(?i)output 0 of Unbind is a view and is being modified inplace"),
    ("r = x * 1; u = r * r; r.unsqueeze_(0); u.sum().backward()", "RuntimeError", MODIFIED),
    ("a.transpose_(0, 1)", "IndexError", "Dimension out of range"),
    ("t.ones(2, 2, 2).t_()", "RuntimeError", "expects a tensor with <= 2 dimensions"),
    ("x.resize_(2)", "RuntimeError", "cannot resize variables that require grad"),
    ("(x * 1).resize_(2)", "RuntimeError", "cannot resize variables that require grad"),
    ("x.set_(a)", "RuntimeError", "a leaf Variable that requires grad"),
    ("a.set_(i)", "RuntimeError", "Could not set tensor of type"),
    ("x.apply_(abs)", "RuntimeError", r"Can't call apply_\(\) on Variable that requires grad"),
    ("a.fill_diagonal_(0)", "RuntimeError", "dimensions must larger than 1"),
    ("t.ones(2, 2, 3).fill_diagonal_(0)", "RuntimeError",
     "all dimensions of input must be of equal length"),
    ("x.data = i", "RuntimeError", "must be floating point or complex dtype"),
    ("x.data = 3", "TypeError", "Variable data has to be a tensor, but got int"),
    # conversions to Python
    ("x.item()", "RuntimeError", "a Tensor with 3 elements cannot be converted to Scalar"),
    ("t.ones(0).item()", "RuntimeError", "a Tensor with 0 elements cannot be converted to Scalar"),
    ("float(x)", "ValueError|TypeError|RuntimeError",
     "only one element tensors can be converted to Python scalars|cannot be converted to Scalar"),
    ("int(a)", "ValueError|TypeError|RuntimeError",
     "only one element tensors can be converted to Python scalars|cannot be converted to Scalar"),
    ("bool(x)", "RuntimeError", "Boolean value of Tensor with more than one value is ambiguous"),
    ("1 if x > 0 else 2", "RuntimeError",
     "Boolean value of Tensor with more than one value is ambiguous"),
    ("bool(t.ones(0))", "RuntimeError", "Boolean value of Tensor with no values is ambiguous"),
    ("not x", "RuntimeError", "Boolean value of Tensor with more than one value is ambiguous"),
    ("len(s)", "TypeError", r"len\(\) of a 0-d tensor"),
    ("list(s)", "TypeError", "iteration over a 0-d tensor"),
    ("p, q = s", "TypeError", "iteration over a 0-d tensor"),
    ("range(x)", "TypeError", "only integer tensors of a single element can be converted to an "
     "index"),
    ("[1, 2, 3][t.tensor(1.0)]", "TypeError",
     "only integer tensors of a single element can be converted to an index"),
    ("complex(x)", "ValueError|TypeError|RuntimeError", "."),
    ("hash(x) + 'a'", "TypeError", "unsupported operand"),
    ("'%d' % a", "ValueError", "only one element tensors can be converted to Python scalars"),
    ("f'{a:.2f}'", "TypeError", "unsupported format string passed to .*Tensor.__format__"),
    # indexing
    ("x[3]", "IndexError", "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[-4]", "IndexError", "index -4 is out of bounds for dimension 0 with size 3"),
    ("m[0, 3]", "IndexError", "index 3 is out of bounds for dimension 1 with size 3"),
    ("m[0, 0, 0]", "IndexError", "too many indices for tensor of dimension 2"),
    ("s[0]", "IndexError", "invalid index of a 0-dim tensor"),
    ("x[[0, 3]]", "IndexError", "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[t.tensor([0, -4])]", "IndexError", "index -4 is out of bounds for dimension 0 with size 3"),
    ("x[t.tensor([True, False])]", "IndexError",
     r"The shape of the mask \[2\] at index 0 does not match the shape of the indexed tensor \[3\] "
     "at index 0"),
    ("x[t.tensor([0.5])]", "IndexError",
     "tensors used as indices must be long, int, byte or bool tensors"),
    ("x[1.5]", "TypeError|IndexError", "(?i)ind(ex|ices)"),
    ("x['a']", "TypeError", "invalid data type 'str'|(?i:ind(ex|ices))"),
    ("x[::-1]", "ValueError", "step must be greater than zero"),
    ("x[::0]", "ValueError", "step must be greater than zero|slice step cannot be zero"),
    ("m[[0, 1], [0, 1, 2]]", "IndexError",
     "shape mismatch: indexing tensors could not be broadcast together with shapes"),
    ("a[3] = 1", "IndexError", "index 3 is out of bounds for dimension 0 with size 3"),
    ("a[[5]] = 1", "IndexError", "index 5 is out of bounds for dimension 0 with size 3"),
    ("m.select(1, 3)", "IndexError",
     r"select\(\): index 3 out of range for tensor of size \[2, 3\] "
     "at dimension 1"),
    ("m.narrow(1, 2, 2)", "RuntimeError",
     r"start \(2\) \+ length \(2\) exceeds dimension size \(3\)"),
    ("m.index_select(0, t.tensor([2]))", "IndexError|RuntimeError", "(?i)out of (range|bounds)"),
    ("m.gather(1, t.tensor([[3]]))", "RuntimeError|IndexError",
     "index 3 is out of bounds for dimension 1 with size 3"),
    ("m.gather(0, t.tensor([0]))", "RuntimeError",
     "Index tensor must have the same number of dimensions as input tensor"),
    ("m.gather(0, t.tensor([[0.0]]))", "RuntimeError", r"gather\(\): Expected dtype int32/int64 "
     "for index"),
    ("x.take(t.tensor([5]))", "IndexError|RuntimeError", "out of (range|bounds)"),
    # shapes
    ("x + t.ones(2)", "RuntimeError",
     r"The size of tensor a \(3\) must match the size of tensor b \(2\) at non-singleton dimension "
     "0"),
    ("m * t.ones(2)", "RuntimeError",
     r"The size of tensor a \(3\) must match the size of tensor b \(2\) at non-singleton dimension "
     "1"),
    ("t.where(m > 0, x, t.ones(2))", "RuntimeError", "must match the size of tensor"),
    ("t.maximum(x, t.ones(2))", "RuntimeError", "must match the size of tensor"),
    ("x.reshape(2, 2)", "RuntimeError", r"shape '\[2, 2\]' is invalid for input of size 3"),
    ("x.view(2, -1)", "RuntimeError", r"shape '\[2, -1\]' is invalid for input of size 3"),
    ("x.reshape(-1, -1)", "RuntimeError", "only one dimension can be inferred"),
    ("x.reshape(-2)", "RuntimeError", "invalid shape dimension -2"),
    ("m.T.view(6)", "RuntimeError",
     r"view size is not compatible with input tensor's size and stride .*Use .reshape\(...\) "
     "instead"),
    ("x.expand(2)", "RuntimeError",
     r"The expanded size of the tensor \(2\) must match the existing size \(3\) at non-singleton "
     "dimension 0"),
    ("m.expand(3)", "RuntimeError", "the number of sizes provided|greater or equal to the number"),
    ("m.permute(0)", "RuntimeError", "number of dimensions in the tensor input does not match"),
    ("m.permute(0, 0)", "RuntimeError", r"permute\(\): duplicate dims are not allowed"),
    ("m.transpose(0, 2)", "IndexError",
     r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
    ("x.unsqueeze(3)", "IndexError",
     r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 3\)"),
    ("m.sum(2)", "IndexError",
     r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"),
    ("m.sum((0, 0))", "RuntimeError", "dim 0 appears multiple times in the list of dims"),
    ("m.softmax(5)", "IndexError", "Dimension out of range"),
    ("t.cat([m, x])", "RuntimeError",
     "Tensors must have same number of dimensions: got 2 and 1"),
    ("t.cat([m, t.ones(2, 2)])", "RuntimeError",
     "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2 for tensor "
     "number 1 in the list"),
    ("t.cat([])", "RuntimeError|ValueError", "expected a non-empty list of Tensors"),
    ("t.cat([s, s])", "RuntimeError", r"zero-dimensional tensor .*cannot be concatenated"),
    ("t.stack([x, m])", "RuntimeError", "stack expects each tensor to be equal size"),
    ("t.stack([])", "RuntimeError|ValueError", "stack expects a non-empty TensorList"),
    ("m.flatten(1, 0)", "RuntimeError",
     r"flatten\(\) has invalid args: start_dim cannot come after end_dim"),
    ("x.unflatten(0, (2, 2))", "RuntimeError", "unflatten"),
    ("x.split([1, 1])", "RuntimeError", "split_with_sizes expects split_sizes to sum exactly to 3"),
    ("x.chunk(0)", "RuntimeError", "chunk expects `chunks` to be greater than 0"),
    ("t.broadcast_tensors(x, t.ones(2))", "RuntimeError",
     "must match the size of tensor|Shape mismatch"),
    # products
    ("m @ m", "RuntimeError",
     r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
    ("t.mm(m, x)", "RuntimeError", "mat2 must be a matrix|must be a matrix"),
    ("m @ t.ones(2)", "RuntimeError", r"size mismatch, got input \(2\), mat \(2x3\), vec \(2\)"),
    ("x @ t.ones(2)", "RuntimeError",
     "inconsistent tensor size, expected tensor .*to have the same number of elements, but got 3 "
     "and 2"),
    ("s @ s", "RuntimeError",
     "both arguments to matmul need to be at least 1D, but they are 0D and "
     "0D"),
    ("t.dot(x, m)", "RuntimeError", "1D tensors expected, but got 1D and 2D tensors"),
    ("t.bmm(m, m)", "RuntimeError", "must be a 3D tensor"),
    ("t.ones(2, 3, 4) @ t.ones(2, 3, 4)", "RuntimeError",
     r"Expected size for first two dimensions of batch2 tensor to be: \[2, 4\] but got: \[2, 3\]"),
    ("m @ t.ones(3, 2, dtype=t.float64)", "RuntimeError",
     "(expected m1 and m2 to have the same dtype|"
     "expected scalar type|same dtype)"),
    ("t.einsum('ij,jk', m, m)", "RuntimeError", r"einsum\(\): .*(broadcast|size)"),
    ("t.einsum('ij', x)", "RuntimeError", r"einsum\(\): .*subscript"),
    ("t.einsum('i->j', x)", "RuntimeError", r"einsum\(\): output subscript j does not appear"),
    # reductions
    ("t.ones(0).max()", "RuntimeError", r"max\(\): Expected reduction dim to be specified for "
     r"input.numel\(\) == 0"),
    ("t.ones(0).argmax()", "IndexError|RuntimeError", "argmax"),
    ("t.ones(2, 0).amax(1)", "IndexError",
     r"amax\(\): Expected reduction dim 1 to have non-zero size"),
    ("i.mean()", "RuntimeError",
     r"mean\(\): could not infer output dtype. Input dtype must be either "
     "a floating point or complex dtype. Got: Long|mean.*floating point"),
    ("i.std()", "RuntimeError", "std.*(floating point|dtype)"),
    ("m.topk(4)", "RuntimeError", "selected index k out of range"),
    ("m.kthvalue(4)", "RuntimeError", "selected number k out of range"),
    # creation
    ("t.tensor([[1, 2], [3]])", "ValueError", "expected sequence of length 2 at dim 1"),
    ("t.tensor('a')", "TypeError", "new\\(\\): invalid data type 'str'"),
    ("t.ones(-1)", "RuntimeError", "negative dimension -1"),
    ("t.tensor(2 ** 70)", "ValueError", "Overflow when unpacking long|overflow"),
    ("t.tensor([300], dtype=t.uint8)", "RuntimeError",
     "value cannot be converted to type uint8 without overflow"),
    ("t.arange(0, 1, -1)", "RuntimeError",
     "upper bound and lower bound inconsistent with step sign"),
    ("t.arange(0, 1, 0)", "RuntimeError", "step must be nonzero"),
    ("t.ones(2, dtype=float32)", "NameError", "float32"),
    ("t.ones(2, dtype='float32')", "TypeError", "dtype"),
    ("t.zeros(2, 3.5)", "TypeError", "zeros"),
    # arguments
    ("x + 'a'", "TypeError", "unsupported operand type|must be Tensor, not str"),
    ("x + None", "TypeError", "unsupported operand type|must be Tensor, not None"),
    ("x @ 2", "TypeError", "unsupported operand type|must be Tensor, not int"),
    ("x.sun()", "AttributeError", "'Tensor' object has no attribute 'sun'"),
    ("t.sun(x)", "AttributeError", "has no attribute 'sun'"),
    ("t.exp()", "TypeError", r"exp\(\)"),
    ("t.exp(2.0)", "TypeError", r"exp\(\).*argument 'input'.* must be Tensor, not float"),
    ("x.exp(foo=1)", "TypeError", r"exp\(\)"),
    ("t.clamp(x)", "ValueError|RuntimeError",
     "At least one of '?min'? or '?max'? must not be None"),
    ("i ** -1", "RuntimeError", "Integers to negative integer powers are not allowed"),
    ("i // 0", "RuntimeError|ZeroDivisionError", "ZeroDivisionError|division by zero"),
    ("i % 0", "RuntimeError|ZeroDivisionError", "ZeroDivisionError|division by zero"),
    ("a & a", "RuntimeError|NotImplementedError", "bitwise_and.*not implemented for 'Float'|"
     "not implemented for 'Float'"),
    ("~a", "TypeError|RuntimeError|NotImplementedError", "bitwise_not|~"),
    ("(a > 0) - (a > 0)", "RuntimeError", "Subtraction, the `-` operator, with two bool tensors is "
     "not supported"),
    ("-(a > 0)", "RuntimeError", "Negation, the `-` operator, on a bool tensor is not supported"),
    ("t.div(a, 2, rounding_mode='up')", "RuntimeError", "rounding_mode to be one of None, 'trunc', "
     "or 'floor' but found 'up'"),
    ("a.masked_fill(i, 0.0)", "RuntimeError", "masked_fill_? only supports boolean masks"),
    ("t.where(a, a, a)", "RuntimeError", "where expected condition to be a boolean tensor"),
    ("'a' + x", "TypeError", "can only concatenate str"),
    ("x - None", "TypeError", "unsupported operand type.* for -: 'Tensor' and 'NoneType'"),
    ("x < 'a'", "TypeError", "'<' not supported between instances of 'Tensor' and 'str'"),
    ("a += 'a'", "TypeError", r"unsupported operand type.* for \+=: 'Tensor' and 'str'"),
    ("t.exp('a')", "TypeError", "argument 'input' .*must be Tensor, not str"),
    ("t.add(x, 'a')", "TypeError", "argument 'other' .*must be Tensor, not str"),
    ("x.mul('a')", "TypeError", "argument 'other' .*must be Tensor, not str"),
    ("t.maximum(x, 2.0)", "TypeError", "argument 'other' .*must be Tensor, not float"),
    ("t.maximum(2.0, x)", "TypeError", "argument 'input' .*must be Tensor, not float"),
    ("x.atan2(2)", "TypeError", "argument 'other' .*must be Tensor, not int"),
    ("t.logaddexp(x, 2.0)", "TypeError", "argument 'other' .*must be Tensor, not float"),
    ("t.logical_and(x, True)", "TypeError", "argument 'other' .*must be Tensor, not bool"),
    ("t.ldexp(a, 2)", "TypeError", "argument 'other' .*must be Tensor, not int"),
    ("t.hypot(2.0, a)", "TypeError", "argument 'input' .*must be Tensor, not float"),
    ("t.isnan(1.0)", "TypeError", "argument 'input' .*must be Tensor, not float"),
    ("t.fmod(2, a)", "TypeError", "fmod"),
    ("t.clamp_min(2, a)", "TypeError", "clamp_min"),
    ("t.eq(2, a)", "TypeError", "eq"),
    ("t.lt(2, a)", "TypeError", "lt"),
    ("i | 1.5", "NotImplementedError", "\"bitwise_or_cpu\" not implemented for 'Float'"),
    ("(a > 0) - a", "RuntimeError", "with a bool tensor is not supported"),
    ("a - True", "RuntimeError", "with a bool tensor is not supported"),
    ("t.neg(a > 0)", "RuntimeError", "Negation, the `-` operator, on a bool tensor"),
    ("abs(a > 0)", "NotImplementedError", "\"abs_cpu\" not implemented for 'Bool'"),
    ("(a > 0) % (a > 0)", "NotImplementedError", "\"remainder_cpu\" not implemented for 'Bool'"),
    ("a * 1j < a", "NotImplementedError", "\"lt_cpu\" not implemented for 'ComplexFloat'"),
    ("t.atan2(a * 1j, a)", "NotImplementedError", "not implemented for 'ComplexFloat'"),
    ("t.hypot(i, i)", "NotImplementedError", "\"hypot_cpu\" not implemented for 'Long'"),
    ("t.floor(a > 0)", "NotImplementedError", "floor.*not implemented for 'Bool'"),
    # losses
    ("F.mse_loss(x, y, reduction='max')", "ValueError", "max is not a valid value for reduction"),
    ("F.nll_loss(m, t.tensor([0, 3]))", "IndexError", "Target 3 is out of bounds"),
    ("F.cross_entropy(m, t.tensor([0, -1]))", "IndexError", "Target -1 is out of bounds"),
    ("F.cross_entropy(m, t.tensor([0]))", "ValueError",
     r"Expected input batch_size \(2\) to match target batch_size \(1\)"),
    ("F.cross_entropy(m, t.tensor([0.0, 1.0]))", "RuntimeError", "(?i)expected .*(Long|target)"),
    ("F.binary_cross_entropy(a, a.clone() * 0)", "RuntimeError",
     "all elements of input should be between 0 and 1"),
    ("F.binary_cross_entropy(t.tensor([0.5]), t.tensor([0.5, 0.5]))", "ValueError",
     "Using a target "
     "size .* that is different to the input size"),
    ("F.one_hot(t.tensor([0, 5]), 3)", "RuntimeError",
     "Class values must be smaller than num_classes"),
    ("F.one_hot(a)", "RuntimeError", "one_hot is only applicable to index tensor"),
    ("F.softplus(i)", "RuntimeError|NotImplementedError", "not implemented for 'Long'"),
    # modes
    ("t.set_grad_enabled()", "TypeError", "mode"),
    ("with t.inference_mode(): r = t.ones(2)\nr.requires_grad_()", "RuntimeError",
     "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed"),
    ("with t.inference_mode(): r = t.ones(3)\n(r * x).sum().backward()", "RuntimeError",
     "Inference tensors cannot be saved for backward. (Please do not use|To work around|"
     "Please)"),
    ("with t.inference_mode(): r = t.ones(3)\nr.add_(1)", "RuntimeError",
     "Inplace update to inference tensor outside InferenceMode is not allowed"),
    *((f"with t.inference_mode(): r = t.ones(3)\n{update}", "RuntimeError",
       "Inplace update to inference tensor outside InferenceMode is not allowed")
      for update in ("r[0] = 1", "r[1:].mul_(2)", "r.zero_()", "r.copy_(a)", "r.uniform_()",
                     "with t.no_grad(): r += 1", "r.view(3).add_(1)", "r.t().add_(1)")),
    *((f"with t.inference_mode(): r = t.ones(3)\n{use}", "RuntimeError",
       "Inference tensors cannot be saved for backward")
      for use in ("x / r", "t.maximum(x, r)", "m @ r", "F.mse_loss(x, r)", "r[1:] * x[1:]")),
    ("with t.inference_mode(): r = t.ones(3)\nr.requires_grad = True", "RuntimeError",
     "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed"),
    ("with t.inference_mode(): r = x * 2\nr._version", "RuntimeError",
     "Inference tensors do not track version counter"),
    ("with t.inference_mode(): r = (x * 2).sum()\nr.backward()", "RuntimeError",
     "element 0 of tensors does not require grad"),
    ("r = x * 1\nwith t.inference_mode(): q = r[1:]\nq.add_(1)", "RuntimeError",
     "A view was created in inference mode and is being modified inplace in normal mode"),
    ("r = x * 1\nq = r * r\nwith t.inference_mode(): r.add_(1)\nq.sum().backward()",
     "RuntimeError", MODIFIED),
    ("@t.no_grad()\n@t.no_grad()\ndef f():\n    yield (x * 2).sum()\nnext(f()).backward()",
     "RuntimeError", "element 0 of tensors does not require grad"),
    ("@t.no_grad()\ndef f():\n    yield 1\n    yield 1 / 0\nlist(f())", "ZeroDivisionError",
     "division"),
    # cuda
    ("x.cuda()", "AssertionError|RuntimeError", "(?i)cuda"),
    ("t.ones(2, device='cuda')", "AssertionError|RuntimeError", "(?i)cuda"),
    ("x.to('cuda:0')", "AssertionError|RuntimeError", "(?i)cuda"),
    ("t.ones(1, device='nonsense')", "RuntimeError",
     "(?i)expected one of cpu, cuda.*device type at start of device string: nonsense"),
    ("t.device('cpu:-2')", "RuntimeError", "(?i)device"),
    ("x.get_device() + None", "TypeError", "unsupported operand"),
    # random
    ("t.randint(3, 3, (2,))", "RuntimeError", "random_ expects 'from' to be less than 'to'"),
    ("t.manual_seed('a')", "ValueError|TypeError", "."),
    ("a.geometric_(2.0)", "RuntimeError", r"geometric_ expects p to be in \(0, 1\)"),
    ("a.cauchy_(0, -1)", "RuntimeError", "cauchy_ expects sigma > 0.0, but found sigma=-1"),
    ("a.log_normal_(0, 0)", "RuntimeError", "log_normal_ expects std > 0.0, but found std=0"),
    ("t.normal(0.0, -1.0, (2,))", "RuntimeError", "std >= 0.0"),
    ("t.bernoulli(t.tensor([2.0]))", "RuntimeError", "p_in >= 0 && p_in <= 1|p >= 0|Expected p"),
    # func
    ("t.func.jvp(lambda a: a, (a,), (t.ones(2),))", "RuntimeError|ValueError",
     "(?i)shape|size|same"),
    ("t.func.jvp(lambda a: 3.0, (a,), (a,))", "RuntimeError",
     "(?i)jvp.*(expected|output).*[Tt]ensor"),
]  # fmt: skip


def failure(library: Any, program: str) -> tuple[str, str]:
    """The type and the message of what the program raises; ("", "...") if nothing."""
    names: dict[str, Any] = {"torch": library}
    exec(SETUP, names)
    try:
        exec(compile(ast.parse(program), "program", "exec"), names)
    except Exception as error:
        # torch has subclasses of its own for some.
        return type(error).__name__, str(error).replace("tapegrad", "torch")
    return "", "nothing was raised"


@pytest.mark.parametrize(
    ("program", "kind", "words"), MISUSES, ids=[program for program, _, _ in MISUSES]
)
def test_misuse(program: str, kind: str, words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, ahead of the error
        expected, their_words = failure(torch, program)
    assert re.fullmatch(kind, expected), f"torch: {expected}: {their_words}"
    assert re.search(words, their_words, re.S), f"torch: {expected}: {their_words}"
    got, my_words = failure(tapegrad, program)
    assert got == expected, f"torch: {expected}: {their_words}\ntapegrad: {got}: {my_words}"
    assert re.search(words, my_words, re.S), f"torch: {their_words}\ntapegrad: {my_words}"


ALLOWED = [
    # What looks like misuse and is none, in both.
    "r = x.sum(); r.backward(); r.backward()",  # nothing was saved
    "r = x * 1; u = r + y; r.add_(1); u.sum().backward()",
    "u = x.exp(); x.detach().add_(1); u.sum().backward()",
    "with t.no_grad(): x.add_(1)",
    "with t.no_grad(): x.sum()\nx.sum().backward()",
    "r = x.sum()\nwith t.no_grad(): r.backward()",
    "r = (x * y).sum()\nwith t.no_grad(): r.backward(create_graph=False)",
    "x.register_hook(lambda g: None); x.sum().backward()",
    "r = (y * y).sum(); x.register_hook(lambda g: r.backward()); x.sum().backward()",
    "grad(x.sum(), y, allow_unused=True)",
    "grad(x.sum(), y, materialize_grads=True)",
    "x.grad = None",
    "x.grad = t.ones(3)",
    "x.requires_grad = False; x.add_(1)",
    "copy.deepcopy(x); copy.copy(x * 2); copy.deepcopy(a)",
    "(x * 2).requires_grad_()",
    "@t.no_grad()\ndef f(): return x * 2\nf().requires_grad or f()",
    "@t.no_grad()\ndef f():\n    yield x * 2\nlist(f())",
    "with t.inference_mode(): r = t.ones(3); r.add_(1)\n(r * 2).sum()",
    "x.data.add_(1); (x * 1).sum().backward()",
    "bool(t.ones(1)); float(t.ones(1, 1)); t.ones(1, 1).item(); int(t.tensor([2]))",
    "a.view(3, 1).expand(3, 2).clone().add_(1)",
    "t.zeros(3).add_(x).sum().backward()",
    "x.sum().backward(t.tensor(2.0)); (x * 1).backward(t.ones(3))",
    "x.sum().backward(retain_graph=True, create_graph=False, inputs=x)",
    "x.detach_().add_(1)",
    "m.sum(()); m.reshape(-1, 0 + 3); m[1:1]; t.cat([t.ones(0), a])",
    "t.tensor([]); t.tensor([[]]); t.ones(0).sum(); t.ones(2, 0).sum(1)",
    "r = a.unbind(); r[0].mul_(2); a.chunk(3)[1].add_(1)",
    "r = (x * 1).unbind()\nwith t.no_grad(): r[0].mul_(2)",
    "r = (x * 1).tensor_split(3); r[1].mul_(2)",
    "with t.inference_mode(): r = t.ones(3)\n(r + x).sum().backward(); (r * a).add_(1)",
    "with t.inference_mode(): r = t.ones(3)\nr.requires_grad_(False); r.detach_().clone().add_(1)",
    "with t.inference_mode(): r = t.ones(3, requires_grad=True)\n(r * 2).sum().backward()",
    "with t.inference_mode(): r = t.ones(3).requires_grad_(); x.add_(1); a.add_(1)",
    "t.add(2, x); t.sub(2, x); t.mul(2, x); t.div(2, x); t.remainder(2, a); t.pow(2, x)",
    "t.clamp_min(a, min=2); t.clamp_max(a, max=a); 2 - x; y.__rsub__(x)",
    "b = a.clone(); b.unsqueeze_(0).squeeze_().transpose_(0, 0).t_(); b.set_(a); b.resize_(2)",
    "with t.inference_mode(): r = t.ones(2, 2); r[0] = 2; r.t_().unsqueeze_(0).resize_(2)",
    "t.xlogy(2.0, a); t.bitwise_and(1, i); t.copysign(a, -1.0); t.clamp_min(a, 2); t.eq(a, 2)",
    "r = x * 1; u = r * r; r.data.mul_(2); u.sum().backward()",
    "x == 'a'; x != None; x == [1]",
    "x.cpu(); x.to('cpu'); t.cuda.is_available()",
    "h = x.register_hook(print); h.remove(); h.remove()",
]


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("program", ALLOWED)
def test_no_misuse(program: str) -> None:
    assert failure(torch, program)[0] == ""
    assert failure(tapegrad, program)[0] == ""
