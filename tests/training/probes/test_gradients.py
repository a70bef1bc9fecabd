"""Tails, participation and noise of gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from normbench.training.probes.gradient_noise import gradient_noise, noise_ratio
from normbench.training.probes.gradients import (
    gradient_tails,
    participation,
    participation_ratio,
    tails,
)
from tests.training.probes.nets import batches, context_of, plain_gradients, read, some_norms, tiny


def _weight(gradient: dict[str, Tensor], layer: str) -> Tensor:
    names = [f"parts.{layer}.weight", f"parts.{layer}.v"]
    return next(gradient[n] for n in names if n in gradient)


@pytest.mark.parametrize("norm", some_norms("batch", "weight"))
def test_tails_are_those_of_each_layer(norm: str) -> None:
    context = context_of(tiny(norm))
    found = read(gradient_tails, context)
    gradient = plain_gradients(context, context.model)
    kurtoses = []
    for layer in ("conv1", "conv2", "classifier"):
        g = _weight(gradient, layer).flatten().numpy()
        kurtoses.append(stats.kurtosis(g, fisher=False))
        assert found["gradient-kurtosis", layer] == pytest.approx(kurtoses[-1], rel=1e-7)
        sizes = np.abs(g[g != 0])
        peak = sizes.max() / np.median(sizes)
        assert found["gradient-peak", layer] == pytest.approx(peak, rel=1e-7)
    assert found["gradient-kurtosis", ""] == pytest.approx(np.mean(kurtoses), rel=1e-7)


def test_tails_of_known_vectors() -> None:
    assert tails(torch.tensor([1.0, -1.0, 1.0, -1.0]).double()) == {
        "gradient-kurtosis": 1.0,
        "gradient-peak": 1.0,
    }
    assert tails(torch.zeros(4).double()) == {}
    assert tails(torch.tensor([0.0, 0.0, 2.0, 6.0]).double())["gradient-peak"] == 1.5
    normal = torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double()
    assert tails(normal)["gradient-kurtosis"] == pytest.approx(3, abs=0.05)


def test_participation_counts_channels() -> None:
    one, three = torch.zeros(4, 5), torch.zeros(4, 5, 2, 2)
    one[:, 2] = 3.0
    three[:, :3] = -1.0
    assert participation_ratio(one, 1) == pytest.approx(1 / 5)
    assert participation_ratio(one, 0) == pytest.approx(1.0)
    assert participation_ratio(three, 1) == pytest.approx(3 / 5)
    assert participation_ratio(1e-30 * three.double(), 1) == pytest.approx(3 / 5)
    assert participation_ratio(torch.zeros(2, 2), 0) is None


def test_a_feature_of_small_scale_is_ignored() -> None:
    """Regression on features of scales s: the gradient of their weights goes as s."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn((64, 4), generator=generator, dtype=torch.float64)
    x = torch.linalg.qr(x - x.mean(0)).Q * 8  # centred, uncorrelated, variance one
    scales = torch.tensor([1.0, 1.0, 0.1, 0.01], dtype=torch.float64)
    model = nn.Linear(4, 1).double()
    with torch.no_grad():
        model.weight.zero_()

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return (outputs[:, 0] - labels).square().mean()

    y = x.sum(1)
    for inputs, powers in ((x, torch.ones(4)), (x * scales, scales**2)):
        found = read(participation, context_of(model, loss=loss, batches=((inputs, y),)))
        expected = float(powers.sum() ** 2 / (4 * powers.square().sum()))
        assert found["feature-participation", ""] == pytest.approx(expected, rel=1e-9)
        assert found["channel-participation", ""] == 1.0


@pytest.mark.parametrize("norm", some_norms("batch", "weight"))
def test_participation_of_a_net(norm: str) -> None:
    context = context_of(tiny(norm))
    found = read(participation, context)
    g = _weight(plain_gradients(context, context.model), "conv2").numpy()
    for quantity, axes in (
        ("feature-participation", (0, 2, 3)),
        ("channel-participation", (1, 2, 3)),
    ):
        power = (g**2).sum(axes)
        expected = power.sum() ** 2 / (4 * (power**2).sum())
        assert found[quantity, "conv2"] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("norm", some_norms("batch", "weight"))
def test_noise_is_the_trace_of_the_covariance(norm: str) -> None:
    context = context_of(tiny(norm, dropout=0.0))
    found = read(gradient_noise, context)
    gradients = [plain_gradients(context, context.model, b) for b in range(3)]
    whole = np.stack([torch.cat([x.flatten() for x in g.values()]).numpy() for g in gradients])
    part = np.stack([_weight(g, "conv2").flatten().numpy() for g in gradients])
    for layer, rows in (("", whole), ("conv2", part)):
        expected = np.trace(np.cov(rows.T)) / (rows.mean(0) ** 2).sum()
        assert found["gradient-noise", layer] == pytest.approx(expected, rel=1e-7)


def test_noise_has_no_meaning_without_a_second_batch_or_a_signal() -> None:
    assert read(gradient_noise, context_of(tiny("batch"), batches=batches(1))) == {}
    up = torch.ones(3).double()
    assert noise_ratio([up, -up]) is None
    assert noise_ratio([up, up]) == 0.0


@pytest.mark.parametrize("size", [2, 16])
def test_batch_means_are_as_noisy_as_their_batch_is_small(size: int) -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).double()
    found = read(gradient_noise, context_of(model, batches=batches(400, size)))
    assert found["statistics-noise", "1"] == pytest.approx(size**-0.5, rel=0.05)
    assert found["statistics-noise", ""] == found["statistics-noise", "1"]


def test_ghost_batches_are_the_batches_of_the_statistics() -> None:
    model = tiny("batch")
    whole = read(gradient_noise, context_of(model))
    model.parts["conv1_norm"].ghost = 2  # type: ignore[assignment]
    ghost = read(gradient_noise, context_of(model))
    assert ghost["statistics-noise", "conv1_norm"] > whole["statistics-noise", "conv1_norm"]


def test_norms_without_batch_statistics_have_no_noise_of_them() -> None:
    for norm in ("none", "layer", "group", "instance", "weight"):
        found = read(gradient_noise, context_of(tiny(norm)))
        assert not [layer for name, layer in found if name == "statistics-noise"]
