"""The same expression in tapegrad and in torch."""

import re
import warnings

import numpy as np


def outcome(torch, expression, **names):
    """What the expression gives, or its error and its warnings, in words that both have."""
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = eval(expression, {"torch": torch, "np": np, **names})
            if isinstance(result, torch.Tensor):
                result = (result, result.dtype, tuple(result.shape), result.requires_grad)
            text = repr(result)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
    for warning in caught:
        if not issubclass(
            warning.category, RuntimeWarning
        ):  # not of the library: the test's filter
            text += f"\n{warning.message}"
    text = re.sub(r" \(Triggered internally[^\n]*", "", text)
    return text.replace("tapegrad", "torch")
