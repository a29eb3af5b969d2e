"""`save` and `load`."""

from __future__ import annotations

import io
import pickle

import pytest

import tapegrad


class Dangerous:
    def __reduce__(self):
        return print, ("code ran",)


def test_what_is_saved_is_loaded(tmp_path):
    model = tapegrad.nn.Sequential(tapegrad.nn.Linear(2, 3), tapegrad.nn.BatchNorm1d(3))
    optimizer = tapegrad.optim.Adam(model.parameters())
    model(tapegrad.randn(4, 2)).sum().backward()
    optimizer.step()
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rest": [model[0].weight, tapegrad.float64, tapegrad.tensor(2j), (1, "x", None, {3})],
        "size": tapegrad.Size([2, 3]),
    }
    tapegrad.save(saved, tmp_path / "file")
    loaded = tapegrad.load(tmp_path / "file", map_location="cpu")
    assert repr(loaded) == repr(saved)
    assert isinstance(loaded["rest"][0], tapegrad.nn.Parameter)
    assert loaded["rest"][1] is tapegrad.float64
    other = tapegrad.nn.Sequential(tapegrad.nn.Linear(2, 3), tapegrad.nn.BatchNorm1d(3))
    other.load_state_dict(loaded["model"])
    assert loaded["model"]._metadata == saved["model"]._metadata


def test_only_what_is_harmless_is_loaded():
    file = io.BytesIO()
    tapegrad.save([tapegrad.nn.ReLU(), Dangerous()], file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        tapegrad.load(file)
    file.seek(0)
    relu, _ = tapegrad.load(file, weights_only=False)
    assert repr(relu) == "ReLU()"


def test_other_files_are_refused():
    with pytest.raises(RuntimeError, match="one of torch's"):
        tapegrad.load(io.BytesIO(b"PK\x03\x04 and so on"))
    with pytest.raises(RuntimeError, match="not one of tapegrad's"):
        tapegrad.load(io.BytesIO(b""))


def test_what_is_not_a_leaf_comes_back_as_one():
    x = tapegrad.tensor([1.0, 2.0], requires_grad=True)
    file = io.BytesIO()
    tapegrad.save({"loss": x * x}, file)
    file.seek(0)
    found = tapegrad.load(file)["loss"]
    assert found.is_leaf
    assert found.requires_grad
    assert found.tolist() == [1.0, 4.0]
