"""Statistics and drift of activations."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from normbench.training.probes.activations import activations
from normbench.training.probes.base import ProbeContext
from normbench.training.probes.drift import drift
from normbench.training.probes.recording import ChannelMoments, places
from tests.training.probes.nets import batches, context_of, read, some_norms, tiny, twin


def inputs_of_rectifiers(context: ProbeContext) -> dict[str, Tensor]:
    """What the ReLUs of a tiny net get, (N, C, H, W), layer after layer on a copy."""
    model = twin(context.model)
    found: dict[str, list[Tensor]] = {}
    for x, _ in context.batches:
        last = ""
        for name, part in model.parts.named_children():  # type: ignore[union-attr, operator]
            if isinstance(part, nn.ReLU):
                found.setdefault(last, []).append(x.detach())
            elif not name.endswith("_norm"):
                last = name
            x = part(x)
    return {name: torch.cat(parts) for name, parts in found.items()}


@pytest.mark.parametrize("norm", some_norms("none", "batch"))
def test_statistics_are_those_of_the_forward_pass(norm: str) -> None:
    context = context_of(tiny(norm))
    found = read(activations, context)
    expected = inputs_of_rectifiers(context)
    assert list(expected) == ["conv1", "conv2"]
    for name, x in expected.items():
        for prefix, values in (("preactivation", x), ("activation", x.clamp_min(0))):
            assert found[f"{prefix}-mean", name] == pytest.approx(float(values.mean()), abs=1e-9)
            deviation = float(values.std(correction=0))
            assert found[f"{prefix}-deviation", name] == pytest.approx(deviation, rel=1e-9)
    ratio = float(expected["conv2"].std(correction=0) / expected["conv1"].std(correction=0))
    assert found["deviation-ratio", ""] == pytest.approx(ratio, rel=1e-9)


def test_a_channel_is_dead_that_never_fires() -> None:
    model = tiny("none")
    with torch.no_grad():
        model.get_parameter("parts.conv1.bias")[:3] = -1e3
        model.get_parameter("parts.conv2.bias").fill_(10.0)
    found = read(activations, context_of(model))
    assert found["dead-channels", "conv1"] == 0.75
    assert found["dead-channels", "conv2"] == 0.0
    assert found["dead-channels", ""] == 0.375


def test_one_item_that_fires_is_enough() -> None:
    moments = ChannelMoments()
    moments.add(torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
    moments.add(torch.tensor([[0.0, 0.1]]))
    assert moments.never_positive() == 0.5
    assert moments.overall() == (
        pytest.approx(0.1 / 6),
        pytest.approx(float(torch.tensor([0.1, 0, 0, 0, 0, 0]).std(correction=0))),
    )


def test_activations_without_rectifiers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.Tanh(), nn.Tanh(), nn.Linear(5, 3))
    context = context_of(model.double())
    assert [p.name for p in places(model)] == ["1", "1#2"]
    assert not [name for name, _ in read(activations, context) if name == "dead-channels"]


def test_a_recurrent_model_shows_what_its_cells_give() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(4, 6, batch_first=True)
            self.classifier = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.classifier(self.cell(x[:, 0])[0][:, -1])
            return found

    torch.manual_seed(0)
    model = Recurrent().double()
    found = read(activations, context_of(model))
    with torch.no_grad():
        hidden = torch.cat([model.cell(x[:, 0])[0] for x, _ in batches()])
    assert found["activation-mean", "cell"] == pytest.approx(float(hidden.mean()))
    assert set(found) == {("activation-mean", "cell"), ("activation-deviation", "cell")}
    assert read(drift, context_of(model)) == {}


@pytest.mark.parametrize("norm", some_norms("none", "batch"))
def test_nothing_drifts_where_nothing_moved(norm: str) -> None:
    context = context_of(tiny(norm))
    assert read(drift, context) == {}
    found = read(drift, context)
    assert {layer for _, layer in found} == {"", "conv1", "conv2"}
    assert set(found.values()) == {0.0}


def test_drift_is_that_of_the_distributions() -> None:
    context = context_of(tiny("none"))
    before = inputs_of_rectifiers(context)
    read(drift, context)
    with torch.no_grad():
        context.model.get_parameter("parts.conv2.bias").add_(0.3)
        context.model.get_parameter("parts.conv2.weight").mul_(1.5)
    found = read(drift, context)
    after = inputs_of_rectifiers(context)
    rows = [
        (a.transpose(0, 1).flatten(1), b.transpose(0, 1).flatten(1))
        for a, b in ((before["conv2"], after["conv2"]),)
    ]
    a, b = rows[0]
    scale = float(a.var(1, correction=0).mean().sqrt())
    distances = [wasserstein_distance(x, y) for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    expected = sum(distances) / len(distances) / scale
    assert found["distribution-drift", "conv2"] == pytest.approx(expected, rel=1e-9)
    means = float((b.mean(1) - a.mean(1)).abs().mean()) / scale
    assert found["mean-drift", "conv2"] == pytest.approx(means, rel=1e-9)
    deviations = float((b.std(1, correction=0) - a.std(1, correction=0)).abs().mean()) / scale
    assert found["deviation-drift", "conv2"] == pytest.approx(deviations, rel=1e-9)
    assert found["mean-drift", "conv1"] == 0.0
    assert found["mean-drift", ""] == pytest.approx(means / 2)


def test_many_values_are_thinned_out_and_a_shift_is_still_exact() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).double()
    context = context_of(model, batches=batches(4, 32))  # 2,048 values a channel
    read(drift, context)
    with torch.no_grad():
        model[0].bias.add_(0.25)
    found = read(drift, context)
    assert found["mean-drift", "0"] == pytest.approx(found["distribution-drift", "0"])
    assert found["deviation-drift", "0"] == pytest.approx(0.0, abs=1e-12)
    assert context.memory["values"]["0"].shape == (1024, 2)
