"""The layers of tapegrad.nn print, start, compute and differentiate as those of torch.nn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tapegrad

F4, I8 = np.float32, np.int64


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(F4)


def indices(high, *shape):
    return np.random.default_rng(1).integers(0, high, shape)


def probabilities(*shape):
    return 1 / (1 + np.exp(-normal(*shape)))


def signs(*shape):
    return np.sign(normal(*shape))


# What makes the layer, as an expression of `nn` and `torch`, and its inputs.
LAYERS = {
    "Identity(3, a=4)": [normal(2, 3)],
    "Linear(3, 4)": [normal(2, 3)],
    "Linear(3, 4, bias=False)": [normal(3)],
    "Linear(3, 4, dtype=torch.float64)": [normal(3).astype(np.float64)],
    "Bilinear(3, 4, 2)": [normal(5, 3), normal(5, 4)],
    "Flatten()": [normal(2, 3, 4)],
    "Unflatten(1, (2, 3))": [normal(2, 6)],
    "PixelShuffle(2)": [normal(1, 4, 2, 2)],
    "PixelUnshuffle(2)": [normal(1, 1, 4, 4)],
    "ChannelShuffle(2)": [normal(1, 4, 2, 2)],
    "Fold((4, 5), (2, 2))": [normal(1, 8, 12)],
    "Unfold((2, 3), padding=1)": [normal(1, 2, 4, 5)],
    "CosineSimilarity()": [normal(3, 4), normal(4, 3).T],
    "PairwiseDistance(keepdim=True)": [normal(3, 4), normal(4, 3).T],
    "Upsample(scale_factor=2)": [normal(1, 2, 3, 3)],
    "Upsample(size=(5, 4), mode='bilinear', align_corners=False)": [normal(1, 2, 3, 3)],
    "UpsamplingNearest2d(scale_factor=2)": [normal(1, 2, 3, 3)],
    "UpsamplingBilinear2d(size=(4, 4))": [normal(1, 2, 3, 3)],
    "ConstantPad1d(2, 3.5)": [normal(1, 2, 3)],
    "ConstantPad2d((1, 0, 2, 1), 3.5)": [normal(1, 2, 3, 3)],
    "ConstantPad3d(1, 0)": [normal(1, 2, 3, 3, 3)],
    "ZeroPad1d(1)": [normal(1, 2, 3)],
    "ZeroPad2d(1)": [normal(1, 2, 3, 3)],
    "ZeroPad3d(1)": [normal(1, 2, 3, 3, 3)],
    "ReflectionPad1d(1)": [normal(1, 2, 3)],
    "ReflectionPad2d((1, 1, 2, 0))": [normal(1, 2, 3, 3)],
    "ReflectionPad3d(1)": [normal(1, 2, 3, 3, 3)],
    "ReplicationPad1d(1)": [normal(1, 2, 3)],
    "ReplicationPad2d((1, 1, 2, 0))": [normal(1, 2, 3, 3)],
    "ReplicationPad3d(1)": [normal(1, 2, 3, 3, 3)],
    "CircularPad1d(1)": [normal(1, 2, 3)],
    "CircularPad2d((1, 1, 2, 0))": [normal(1, 2, 3, 3)],
    "CircularPad3d(1)": [normal(1, 2, 3, 3, 3)],
    "Conv1d(4, 6, 3)": [normal(2, 4, 8)],
    "Conv1d(4, 6, 3, padding='same', dilation=2, padding_mode='circular')": [normal(2, 4, 8)],
    "Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2)": [normal(2, 4, 7, 6)],
    "Conv2d(2, 3, 3, padding='same', bias=False)": [normal(2, 2, 5, 5)],
    "Conv2d(2, 3, 3, padding=(2, 1), padding_mode='reflect', dilation=2)": [normal(2, 2, 6, 6)],
    "Conv3d(2, 3, 2, padding='valid')": [normal(1, 2, 3, 4, 3)],
    "ConvTranspose1d(4, 6, 3, 2, output_padding=1)": [normal(2, 4, 5)],
    "ConvTranspose2d(4, 6, 3, 2, 1, groups=2, dilation=2, bias=False)": [normal(2, 4, 5, 5)],
    "ConvTranspose3d(2, 3, 2)": [normal(1, 2, 3, 3, 3)],
    "MaxPool1d(2)": [normal(2, 3, 6)],
    "MaxPool2d((3, 2), stride=(2, 1), padding=1)": [normal(2, 3, 6, 5)],
    "MaxPool2d(2, return_indices=True)": [normal(2, 3, 6, 5)],
    "MaxPool3d(2, ceil_mode=True)": [normal(2, 3, 4, 5, 5)],
    "MaxUnpool1d(2)": [normal(1, 2, 2), np.array([[[0, 3], [1, 2]]])],
    "MaxUnpool2d(2, stride=(2, 2))": [normal(1, 1, 1, 2), np.array([[[[0, 3]]]])],
    "MaxUnpool3d(2)": [normal(1, 1, 1, 1, 1), np.array([[[[[5]]]]])],
    "AvgPool1d(3, 2, 1)": [normal(2, 3, 6)],
    "AvgPool2d(2, count_include_pad=False, padding=1)": [normal(2, 3, 6, 5)],
    "AvgPool3d((1, 2, 2))": [normal(2, 3, 4, 5, 5)],
    "LPPool1d(2, 3)": [normal(2, 3, 6)],
    "LPPool2d(1.5, 2, stride=1)": [np.abs(normal(2, 3, 6, 5))],
    "LPPool3d(2, 2)": [normal(2, 3, 4, 5, 5)],
    "AdaptiveAvgPool1d(3)": [normal(2, 3, 7)],
    "AdaptiveAvgPool2d((2, None))": [normal(2, 3, 6, 5)],
    "AdaptiveAvgPool3d(1)": [normal(2, 3, 4, 5, 5)],
    "AdaptiveMaxPool1d(3)": [normal(2, 3, 7)],
    "AdaptiveMaxPool2d((2, 1), return_indices=True)": [normal(2, 3, 6, 5)],
    "AdaptiveMaxPool3d(2)": [normal(2, 3, 4, 5, 5)],
    "BatchNorm1d(3)": [normal(4, 3)],
    "BatchNorm1d(3, momentum=None)": [normal(4, 3, 2)],
    "BatchNorm2d(3, affine=False, eps=1e-3)": [normal(4, 3, 2, 2)],
    "BatchNorm2d(3, track_running_stats=False)": [normal(4, 3, 2, 2)],
    "BatchNorm3d(3, bias=False)": [normal(4, 3, 2, 2, 2)],
    "InstanceNorm1d(3)": [normal(4, 3, 5)],
    "InstanceNorm2d(3, affine=True, track_running_stats=True)": [normal(4, 3, 2, 2)],
    "InstanceNorm3d(3)": [normal(3, 2, 2, 2)],
    "LayerNorm(3)": [normal(4, 3)],
    "LayerNorm([2, 3], elementwise_affine=False)": [normal(4, 2, 3)],
    "LayerNorm((2, 3), bias=False)": [normal(4, 2, 3)],
    "RMSNorm(3)": [normal(4, 3)],
    "GroupNorm(2, 4)": [normal(3, 4, 5)],
    "GroupNorm(2, 4, affine=False)": [normal(3, 4, 5)],
    "LocalResponseNorm(2)": [normal(3, 4, 5)],
    "Dropout(0.3)": [normal(4, 5)],
    "Dropout1d()": [normal(4, 5, 2)],
    "Dropout2d(0.2)": [normal(4, 5, 2, 2)],
    "Dropout3d(0.2, inplace=False)": [normal(4, 5, 2, 2, 2)],
    "AlphaDropout(0.2)": [normal(4, 5)],
    "FeatureAlphaDropout(0.2)": [normal(4, 5, 2)],
    "Embedding(5, 3)": [indices(5, 2, 4)],
    "Embedding(5, 3, padding_idx=-1, scale_grad_by_freq=True)": [indices(5, 2, 4)],
    "Embedding(5, 3, max_norm=1.0, norm_type=1.0)": [indices(5, 2, 4)],
    "EmbeddingBag(5, 3)": [indices(5, 2, 4)],
    "EmbeddingBag(5, 3, mode='sum', padding_idx=2)": [indices(5, 6), np.array([0, 2])],
    "RNN(3, 4)": [normal(5, 2, 3)],
    "RNN(3, 4, 2, 'relu', bidirectional=True)": [normal(5, 2, 3)],
    "RNN(3, 4, 2, nonlinearity='tanh', batch_first=True, bias=False)": [normal(2, 5, 3)],
    "LSTM(3, 4)": [normal(5, 3)],
    "LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)": [normal(5, 2, 3)],
    "LSTM(3, 4, num_layers=2, dropout=0.5, batch_first=True)": [normal(2, 5, 3)],
    "GRU(3, 4, num_layers=2, bidirectional=True)": [normal(5, 2, 3), normal(4, 2, 4)],
    "RNNCell(3, 4)": [normal(2, 3)],
    "RNNCell(3, 4, nonlinearity='relu', bias=False)": [normal(3)],
    "LSTMCell(3, 4)": [normal(2, 3)],
    "GRUCell(3, 4)": [normal(2, 3), normal(2, 4)],
    "MultiheadAttention(4, 2)": [normal(3, 2, 4)] * 3,
    "MultiheadAttention(4, 2, dropout=0.3, batch_first=True)": [normal(2, 3, 4)] * 3,
    "MultiheadAttention(4, 2, bias=False, kdim=3, vdim=5)": [
        normal(3, 2, 4),
        normal(4, 2, 3),
        normal(4, 2, 5),
    ],
    "MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True)": [normal(3, 4)] * 3,
    "TransformerEncoderLayer(4, 2, 8)": [normal(3, 2, 4)],
    "TransformerEncoderLayer(4, 2, 8, 0.0, 'gelu', norm_first=True)": [normal(3, 2, 4)],
    "TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, 0.0), 2, nn.LayerNorm(4))": [
        normal(3, 2, 4)
    ],
    "TransformerDecoderLayer(4, 2, 8, 0.0)": [normal(3, 2, 4), normal(5, 2, 4)],
    "TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, 0.0), 2)": [
        normal(3, 2, 4),
        normal(5, 2, 4),
    ],
    "Transformer(4, 2, 1, 1, 8, 0.0)": [normal(5, 2, 4), normal(3, 2, 4)],
    **{
        f"{text}": [normal(3, 4)]
        for text in (
            *("ReLU()", "ReLU(inplace=False)", "ReLU6()", "ELU(0.5)", "CELU()", "SELU()", "SiLU()"),
            *("Mish()", "Hardswish()", "Hardsigmoid()", "LeakyReLU(0.2)", "Hardtanh(-0.5, 0.5)"),
            *("Threshold(0.1, 20)", "GELU()", "GELU('tanh')", "Softplus()", "Hardshrink()"),
            *("Softshrink(0.3)", "PReLU()", "PReLU(4)", "GLU()", "Softmax(1)", "Softmin(0)"),
            *("LogSoftmax(-1)", "Sigmoid()", "Tanh()", "LogSigmoid()", "Softsign()"),
            *("Tanhshrink()", "RReLU()"),
        )
    },
    "Softmax2d()": [normal(2, 3, 2, 2)],
    "L1Loss()": [normal(3, 4), normal(4, 3).T],
    "MSELoss(reduction='sum')": [normal(3, 4), normal(4, 3).T],
    "NLLLoss(torch.tensor([1.0, 2.0, 0.5, 1.0]))": [normal(3, 4), indices(4, 3)],
    "CrossEntropyLoss(label_smoothing=0.1)": [normal(3, 4), indices(4, 3)],
    "CrossEntropyLoss(torch.ones(4), ignore_index=1)": [normal(3, 4), indices(4, 3)],
    "BCELoss()": [probabilities(3, 4), probabilities(3, 4)],
    "BCEWithLogitsLoss(pos_weight=torch.ones(4) * 2)": [normal(3, 4), probabilities(3, 4)],
    "PoissonNLLLoss(full=True)": [normal(3, 4), np.abs(normal(3, 4))],
    "GaussianNLLLoss()": [normal(3, 4), normal(4, 3).T, probabilities(3, 4)],
    "KLDivLoss(reduction='batchmean')": [normal(3, 4), probabilities(3, 4)],
    "HuberLoss(delta=0.5)": [normal(3, 4), normal(4, 3).T],
    "SmoothL1Loss(beta=0.5)": [normal(3, 4), normal(4, 3).T],
    "HingeEmbeddingLoss()": [normal(3, 4), signs(3, 4)],
    "CosineEmbeddingLoss(0.1)": [normal(3, 4), normal(4, 3).T, signs(3)],
    "MarginRankingLoss(0.1)": [normal(3), normal(3) + 1, signs(3)],
    "MultiMarginLoss()": [normal(3, 4), indices(4, 3)],
    "MultiLabelMarginLoss()": [normal(2, 4), np.array([[3, 0, -1, 1], [0, 1, 2, 3]])],
    "MultiLabelSoftMarginLoss()": [normal(3, 4), probabilities(3, 4)],
    "SoftMarginLoss()": [normal(3, 4), signs(3, 4)],
    "TripletMarginLoss(swap=True)": [normal(3, 4), normal(4, 3).T, normal(4, 3, 1)[:, :, 0].T],
    "TripletMarginWithDistanceLoss()": [normal(3, 4), normal(4, 3).T, normal(4, 3, 1)[:, :, 0].T],
    "CTCLoss()": [
        np.log(probabilities(5, 2, 4)),
        np.array([[1, 2], [3, 3]]),
        np.array([5, 5]),
        np.array([2, 1]),
    ],
    "Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Dropout(0.5)))": [normal(2, 3)],
}  # fmt: skip


def flattened(value):
    return [y for x in value for y in flattened(x)] if isinstance(value, tuple) else [value]


def run(lib, text, inputs):
    """Repr, first state, outputs, gradients of inputs and parameters, and the state afterwards."""
    lib.manual_seed(0)
    module = eval(f"nn.{text}", {"nn": lib.nn, "torch": lib})
    state = {name: x.numpy().copy() for name, x in module.state_dict().items()}
    given = [lib.tensor(np.ascontiguousarray(x)) for x in inputs]
    if text.startswith("CTC"):
        given[1:] = [x.to(lib.int64) for x in given[1:]]
    differentiable = given[:1] if text.startswith("SoftMargin") else given
    for x in differentiable:
        x.requires_grad_(x.is_floating_point())
    lib.manual_seed(1)
    outputs = [x for x in flattened(module(*given)) if x is not None]
    total = sum((x * x.detach().cos()).sum() for x in outputs if x.is_floating_point())
    if total.requires_grad:
        total.backward()
    grads = [x.grad for x in (*given, *module.parameters())]
    evaluated = [x for x in flattened(module.eval()(*given)) if x is not None]
    return {
        "repr": repr(module),
        "state": state,
        "outputs": [x.detach().numpy() for x in outputs],
        "grads": [None if g is None else g.numpy() for g in grads],
        "state after": {name: x.numpy() for name, x in module.state_dict().items()},
        "evaluated": [x.detach().numpy() for x in evaluated],
    }


@pytest.mark.filterwarnings("ignore:(LSTM with projections|enable_nested_tensor)")
@pytest.mark.parametrize("text", LAYERS)
def test_a_layer_is_torchs(text):
    inputs = LAYERS[text]
    ours, theirs = run(tapegrad, text, inputs), run(torch, text, inputs)
    assert ours["repr"] == theirs["repr"]
    assert list(ours["state"]) == list(theirs["state"])
    for name, value in theirs["state"].items():
        np.testing.assert_array_equal(ours["state"][name], value, strict=True)
    for part in ("outputs", "grads", "evaluated"):
        assert len(ours[part]) == len(theirs[part])
        for x, y in zip(ours[part], theirs[part], strict=True):
            assert (x is None) == (y is None), part
            if y is not None:
                assert (x.dtype, x.shape) == (y.dtype, y.shape), part
                np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6, err_msg=part)
    for name, value in theirs["state after"].items():
        np.testing.assert_allclose(ours["state after"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_names_of_what_recurrent_layers_record(kind, dtype, both):
    def names(lib):
        layer = getattr(lib.nn, kind)(2, 3, bidirectional=both).to(getattr(lib, dtype))
        outputs = flattened(layer(lib.zeros(4, 1, 2, dtype=getattr(lib, dtype))))
        return [type(x.grad_fn).__name__ for x in outputs]

    assert names(tapegrad) == names(torch)
