"""Recurrent layers and their cells: RNN, LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho 2014)."""

from __future__ import annotations

import math
import warnings
from typing import Any

from tapegrad.creation import zeros
from tapegrad.dtypes import float32
from tapegrad.nn import functional as F
from tapegrad.nn import init
from tapegrad.nn.modules.applied import new_parameter
from tapegrad.nn.modules.module import Module
from tapegrad.nn.modules.packed import run_packed, stretches
from tapegrad.nn.parameter import Parameter
from tapegrad.nn.utils.rnn import PackedSequence
from tapegrad.operators import functions
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.ondemand.recurrent import run_cell, run_layer, states_
from tapegrad.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

#: How many vectors of the hidden size the linear maps give.
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


def _reset(module: Module, hidden_size: int) -> None:
    bound = 1.0 / math.sqrt(hidden_size) if hidden_size > 0 else 0.0
    for parameter in module.parameters():
        init.uniform_(parameter, -bound, bound)


class RNNBase(Module):
    """What the recurrent layers share."""

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_sizes(input_size, hidden_size, num_layers, dropout, proj_size)
        if mode not in GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        out_size = proj_size or hidden_size
        gates = GATES[mode] * hidden_size
        for layer, suffix in self._runs():
            width = input_size if layer == 0 else out_size * (1 + bidirectional)
            shapes: dict[str, tuple[int, ...]] = {}
            shapes |= {"weight_ih": (gates, width), "weight_hh": (gates, out_size)}
            if bias:
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for name, shape in shapes.items():
                own = new_parameter(*shape, device=device, dtype=dtype)
                self.register_parameter(f"{name}_{suffix}", own)
        self.reset_parameters()

    def _runs(self) -> list[tuple[int, str]]:
        """Layers and directions, in order, with the ends of their parameters' names."""
        ends = ("", "_reverse") if self.bidirectional else ("",)
        return [(layer, f"l{layer}{end}") for layer in range(self.num_layers) for end in ends]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [
            [p for name, p in self._parameters.items() if name.split("_", 2)[2] == suffix]
            for _, suffix in self._runs()
        ]

    def flatten_parameters(self) -> None:
        """Nothing: it is for GPUs."""

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-b, b), b = 1 / sqrt(hidden_size)."""
        _reset(self, self.hidden_size)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """The outputs of the last layer at all times, and the last state of all layers.

        Args:
            input: (L, N, input_size), with ``batch_first`` (N, L, input_size), or without N; or a
                `PackedSequence`.
            hx: the first state, (layers * directions, N, hidden_size); for an LSTM a pair: output
                and cell. Default: zeros.

        Returns:
            (L, N, directions * hidden_size) or packed as the input, and the state, as ``hx``.

        Raises:
            RuntimeError or ValueError: shapes or dtypes don't fit.
        """
        lstm = self.mode == "LSTM"
        name = type(self).__name__
        if isinstance(input, PackedSequence):
            return self._of_packed(input, hx)
        if input.ndim not in (2, 3):
            kind = "" if lstm or self.mode == "GRU" else " tensor"
            raise ValueError(
                f"{name}: Expected input to be 2D or 3D, got {input.ndim}D{kind} instead"
            )
        batched = input.ndim == 3
        states = None if hx is None else tuple(hx) if lstm else (hx,)
        if states is not None:
            self._check_dims(states, batched, lstm)
            states = states if batched else tuple(s.unsqueeze(1) for s in states)
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        if x.ndim == 3 and not x.shape[0]:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        first = self._first_states(x, x.shape[1], states)
        out, last = self._run(x, first)
        if not batched:
            out, last = out.squeeze(1), tuple(s.squeeze(1) for s in last)
        elif self.batch_first:
            out = out.transpose(0, 1)
        return out, (last if lstm else last[0])

    def _of_packed(self, sequences: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        lstm = self.mode == "LSTM"
        data, batch_sizes, order, back = sequences
        if data.ndim != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {data.ndim}")
        states = None if hx is None else tuple(hx) if lstm else (hx,)
        sizes = batch_sizes.tolist()
        first = self._first_states(data, sizes[0], states)
        if order is not None and states is not None:
            first = tuple(s.index_select(1, order) for s in first)
        out, last = self._run(data, first, stretches(sizes))
        if back is not None:
            last = tuple(s.index_select(1, back) for s in last)
        return PackedSequence(out, batch_sizes, order, back), (last if lstm else last[0])

    def _check_dims(self, states: tuple[Tensor, ...], batched: bool, lstm: bool) -> None:
        wanted = 3 if batched else 2
        if any(state.ndim != wanted for state in states):
            found = (
                f"({', '.join(f'{s.ndim}-D' for s in states)}) tensors"
                if lstm
                else f"{states[0].ndim}-D tensor"
            )
            raise RuntimeError(
                f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, "
                f"hx{' and cx' if lstm else ''} should also be {wanted}-D but got {found}"
            )

    def _first_states(self, x: Tensor, rows: int, states: Any) -> tuple[Tensor, ...]:
        weight = self._parameters["weight_ih_l0"]
        if x.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({x.dtype})"
            )
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {x.shape[-1]}"
            )
        runs = self.num_layers * (1 + self.bidirectional)
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: 1 + (self.mode == "LSTM")]
        shapes = [(runs, rows, size) for size in sizes]
        if states is None:
            return tuple(zeros(shape, dtype=x.dtype) for shape in shapes)
        for i, (state, shape) in enumerate(zip(states, shapes)):
            if state.dtype != x.dtype:
                names = f"{dtype_name(state)} and {dtype_name(x)}"
                raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got {names}")
            if tuple(state.shape) != shape:
                which = f"hidden[{i}]" if self.mode == "LSTM" else "hidden"
                raise RuntimeError(f"Expected {which} size {shape}, got {list(state.shape)}")
        return states

    def _run(
        self, x: Tensor, first: tuple[Tensor, ...], parts: list[tuple[int, int]] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs and last states of all layers, of inputs (L, N, .), or packed: see `packed`."""
        ends: list[tuple[Tensor, ...]] = []
        directions = 1 + self.bidirectional
        for number, (_, suffix) in enumerate(self._runs()):
            backwards = number % directions == 1
            if not backwards:
                source, outputs = x, []
            states = tuple(s[number] for s in first)
            out, last = self._run_one(source, states, suffix, backwards, parts)
            outputs.append(out)
            ends.append(last)
            if number % directions == directions - 1:
                x = outputs[0] if directions == 1 else functions["cat"](outputs, -1)
                if self.dropout and number + 1 < len(self._runs()):
                    x = F.dropout(x, self.dropout, self.training)
        if directions == 1 and not self.proj_size and (self.mode, x.dtype) != ("LSTM", float32):
            x = states_(x)  # in torch, too, those of an LSTM of singles can't be changed in place
        return x, tuple(functions["stack"](parts) for parts in zip(*ends))

    def _run_one(
        self, x: Tensor, states: tuple[Tensor, ...], suffix: str, backwards: bool, parts: Any
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs and last states of one layer in one direction."""
        w_ih, w_hh, b_ih, b_hh, w_hr = (
            self._parameters.get(f"{name}_{suffix}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        )
        if b_ih is not None and b_hh is not None and self.mode != "GRU" and w_hr is None:
            b_ih, b_hh = b_ih + b_hh, None

        def run(x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
            if w_hr is None:
                return run_layer(self.mode, x, states, w_hh, b_hh)
            history = []
            for from_input in x.unbind(0):
                out, cell = run_cell(self.mode, from_input, states, w_hh, b_hh)
                states = F.linear(out, w_hr), cell
                history.append(states[0])
            return functions["stack"](history), states

        x = F.linear(x, w_ih, b_ih)  # all times at once
        if parts is not None:
            return run_packed(run, x, states, parts, backwards)
        out, last = run(x.flip(0) if backwards else x, states)
        return (out.flip(0) if backwards else out), last

    def extra_repr(self) -> str:
        """The sizes, and the settings that aren't the usual ones."""
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        for name, value in (usual | {"dropout": 0, "bidirectional": False}).items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


def _check_sizes(
    input_size: int, hidden_size: int, num_layers: int, dropout: float, proj_size: int
) -> None:
    if isinstance(dropout, bool) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            "being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


def _refuse_projection(kwargs: dict[str, Any]) -> None:
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, in layers, or with relu."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        nonlinearity = args[3] if len(args) > 3 else kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(f"RNN_{nonlinearity.upper()}", *args[:3], *args[4:], **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory, in layers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent units, in layers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: one step of one layer."""

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None
    mode: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        options = {"device": device, "dtype": dtype}
        self.weight_ih = new_parameter(gates, input_size, **options)
        self.weight_hh = new_parameter(gates, hidden_size, **options)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter(gates, **options) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-b, b), b = 1 / sqrt(hidden_size)."""
        _reset(self, self.hidden_size)

    def _after(self, input: Tensor, states: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
        given = input._spec.shape
        wanted = (*given[:-1], self.hidden_size)
        if states is None:
            zero = zeros(wanted, dtype=input.dtype)
            states = (zero, zero) if self.mode == "LSTM" else (zero,)
        fits = given[-1:] == (self.input_size,) and len(given) < 3
        for state in states:
            fits = fits and state._spec.shape == wanted
        if not fits:
            self._refuse(given, [state._spec.shape for state in states])
        batched = len(given) == 2
        if not batched:
            input, states = input.unsqueeze(0), tuple([s.unsqueeze(0) for s in states])
        from_input = F.linear(input, self.weight_ih, self.bias_ih)
        after = run_cell(self.mode, from_input, states, self.weight_hh, self.bias_hh)
        return after if batched else tuple([s.squeeze(0) for s in after])

    def _refuse(self, x: tuple[int, ...], states: list[tuple[int, ...]]) -> None:
        """Raise torch's error about shapes."""
        name = type(self).__name__
        if len(x) not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {len(x)}D instead")
        for i, state in enumerate(states):
            if len(state) not in (1, 2):
                which = f"hx[{i}]" if self.mode == "LSTM" else "hidden"
                raise ValueError(
                    f"{name}: Expected {which} to be 1D or 2D, got {len(state)}D instead"
                )
        if x[-1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x[-1]} expected {self.input_size}"
            )
        for i, state in enumerate(states):
            rows, size = (*state, 1)[:2] if len(x) == 2 else (1, state[0])
            if len(x) == 2 and rows != x[0]:
                raise RuntimeError(
                    f"Input batch size {x[0]} doesn't match hidden{i} batch size {rows}"
                )
            if size != self.hidden_size or len(state) != len(x):
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {size}, expected "
                    f"{self.hidden_size}"
                )

    def extra_repr(self) -> str:
        """The sizes, and the settings that aren't the usual ones."""
        text = f"{self.input_size}, {self.hidden_size}"
        text += "" if self.bias is True else f", bias={self.bias}"
        nonlinearity = self.__dict__.get("nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"


class RNNCell(RNNCellBase):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or with relu."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The state after (N, input_size): (N, hidden_size); or both without N."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        self.mode = f"RNN_{self.nonlinearity.upper()}"
        return self._after(input, None if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory."""

    mode = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Output and cell after (N, input_size), each (N, hidden_size); or all without N."""
        return self._after(input, None if hx is None else tuple(hx))


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit."""

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The state after (N, input_size): (N, hidden_size); or both without N."""
        return self._after(input, None if hx is None else (hx,))[0]
