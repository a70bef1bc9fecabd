"""The loss and the hits of classifications and regressions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error

from normbench.training.objective import CLASSIFICATION, Objective


def test_a_classification_has_the_cross_entropy_and_the_largest_output() -> None:
    outputs = torch.tensor([[2.0, 0.0, 1.0], [0.0, 0.5, 3.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    wanted = log_loss(labels.numpy(), outputs.softmax(1).numpy(), labels=[0, 1, 2])
    assert CLASSIFICATION.loss(outputs, labels).item() == pytest.approx(wanted)
    assert CLASSIFICATION.total(outputs, labels).item() == pytest.approx(2 * wanted)
    assert CLASSIFICATION.hits(outputs, labels).tolist() == [True, False]
    several = outputs.expand(3, 2, 3)
    assert CLASSIFICATION.hits(several, labels.expand(3, 2)).tolist() == [[True, False]] * 3


def test_a_regression_has_the_squared_error_and_a_tolerance() -> None:
    outputs = torch.tensor([[1.0], [2.0], [4.0]])
    labels = torch.tensor([1.5, 2.0, 1.0])
    wanted = mean_squared_error(labels, outputs[:, 0])
    regression = Objective("regression", 0.5)
    assert regression.loss(outputs, labels).item() == pytest.approx(wanted)
    assert regression.total(outputs, labels).item() == pytest.approx(3 * wanted)
    assert regression.hits(outputs, labels).tolist() == [True, True, False]
    assert regression.hits(outputs[None], labels[None]).tolist() == [[True, True, False]]
    broken = torch.full((1, 1), np.nan)
    assert regression.hits(broken, torch.zeros(1)).tolist() == [False]
