"""One gradient looked at closely: its tails, and which features it lets learn."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from normbench.training.probes.base import (
    Measurement,
    ProbeContext,
    ProbeLoss,
    flat,
    mean,
    weight_layers,
)


def gradient_tails(context: ProbeContext) -> Iterator[Measurement]:
    """How heavy the tails of each layer's gradient are, entry by entry.

    - ``gradient-kurtosis``: m₄/m₂² of the entries of ∂L/∂W with mean-centred moments; 3 for
      normal entries, more for heavier tails;
    - ``gradient-peak``: max/median of the absolute entries that are not zero (those of dead
      units and blank pixels are).

    After Bjorck et al. 2018 (arXiv:1806.02375), who find heavy-tailed gradients without batch
    norm. L is the mean loss over the first probe batches (64 items, at least one batch). Layer ""
    is the mean over the layers with weights. A gradient that is zero or constant has no
    kurtosis. Training mode. Cost: one evaluation with gradient.
    """
    objective = ProbeLoss(context)
    gradient = objective.gradient(objective.here)
    rows: dict[str, list[float]] = {}
    for layer in weight_layers(context.model):
        g = flat(gradient, layer.weights)
        for name, value in tails(g).items():
            rows.setdefault(name, []).append(value)
            yield Measurement(name, layer.name, value)
    for name, values in rows.items():
        yield Measurement(name, "", mean(values))


def tails(entries: Tensor) -> dict[str, float]:
    """Kurtosis and peak of a vector; what has no value is left out."""
    found = {}
    centred = entries - entries.mean()
    second = float(centred.square().mean())
    if second > 0:
        found["gradient-kurtosis"] = float((centred / second**0.5).pow(4).mean())
    sizes = entries.abs()
    sizes = sizes[sizes > 0]
    if len(sizes):
        # quantile interpolates between the two middle values, where median takes the lower one
        middle = sizes.sort().values[[(len(sizes) - 1) // 2, len(sizes) // 2]].mean()
        found["gradient-peak"] = float(sizes.max() / middle)
    return found


def participation(context: ProbeContext) -> Iterator[Measurement]:
    """Over how many of its features a layer's gradient is spread: the rest are ignored.

    With the gradient G = ∂L/∂W of a layer's weights, of shape (out, in, …) and with p_c the sum of
    the squares of all entries of G that belong to channel c, the participation ratio of C
    channels is

        (Σ p_c)² / (C · Σ p_c²),

    1 where all channels have an equal share of the gradient and 1/C where one has all of it: the
    share of channels that effectively take part.

    - ``feature-participation``: over the input channels of W, the features that the layer reads.
      A feature of small scale has a small gradient, so that its weights are left behind;
    - ``channel-participation``: over the output channels, the features that it makes.

    L is the mean loss over the first probe batches (64 items, at least one batch). A linear layer
    behind a convolution reads each position of each channel as a feature; of a recurrent cell
    each weight matrix counts for itself and the layer has their mean. Layer "" is the mean over
    the layers with weights. A gradient that is zero has no value. Training mode. Cost: one
    evaluation with gradient.
    """
    objective = ProbeLoss(context)
    gradient = objective.gradient(objective.here)
    rows: dict[str, list[float]] = {}
    for layer in weight_layers(context.model):
        for quantity, axis in (("feature-participation", 1), ("channel-participation", 0)):
            shares = [participation_ratio(gradient[n].double(), axis) for n in layer.weights]
            found = [share for share in shares if share is not None]
            if found:
                rows.setdefault(quantity, []).append(mean(found))
                yield Measurement(quantity, layer.name, mean(found))
    for quantity, values in rows.items():
        yield Measurement(quantity, "", mean(values))


def participation_ratio(tensor: Tensor, axis: int) -> float | None:
    """The participation ratio of the slices along ``axis``; None for a zero tensor."""
    others = [i for i in range(tensor.dim()) if i != axis]
    power = tensor.square().sum(others)
    largest = float(power.max())
    if largest == 0.0:
        return None
    power = power / largest  # squares of small powers would underflow
    return float(power.sum().square() / (len(power) * power.square().sum()))
