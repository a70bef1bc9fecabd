"""Internal covariate shift as a drift of activations (Ioffe & Szegedy 2015)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss, mean
from normbench.training.probes.recording import Place, places, watching

#: Values kept of each channel from one moment to the next; more are thinned out evenly.
KEPT = 1024


def drift(context: ProbeContext) -> Iterator[Measurement]:
    """How far the distribution of each pre-activation moved since the last evaluation of the run.

    Ioffe & Szegedy 2015 (arXiv:1502.03167) call internal covariate shift the change of the
    distribution of a network's activations by training, and show percentiles of what enters a
    nonlinearity over time. Here, for the inputs of each activation function on the same probe
    items at both moments, with channel c's mean μ_c and deviation σ_c and the layer's scale
    s = √(mean over c of σ_c²) at the earlier one:

    - ``mean-drift``: mean over channels of |μ'_c − μ_c|/s;
    - ``deviation-drift``: mean over channels of |σ'_c − σ_c|/s;
    - ``distribution-drift``: mean over channels of W₁(c, c')/s, the Wasserstein distance between
      both distributions of the channel's values: the mean distance of the sorted values. At most
      1,024 evenly chosen values a channel are kept and compared.

    Layer "" is the mean over layers. Dividing by s takes out the scale, which normalization
    changes; a layer whose scale is zero is left out. The steps between evaluations are the
    protocol's, so that values compare between runs of one experiment alone. No values at the
    first evaluation, and none for layers whose number of values changed. Training mode. Cost: one
    evaluation without gradient of all probe batches, and a sort.
    """
    gathered: dict[str, list[Tensor]] = {}

    def see(place: Place, entered: Tensor, left: Tensor) -> None:
        del left
        gathered.setdefault(place.name, []).append(entered.cpu())

    objective = ProbeLoss(context, context.batches)
    with watching(places(context.model), see):
        objective.value(objective.here)

    earlier: dict[str, Tensor] = context.memory.get("values", {})
    now = {name: _kept(torch.cat(parts)) for name, parts in gathered.items()}
    context.memory["values"] = now
    rows: dict[str, list[float]] = {}
    for name, values in now.items():
        if name not in earlier or earlier[name].shape != values.shape:
            continue
        for quantity, value in compare(earlier[name], values).items():
            rows.setdefault(quantity, []).append(value)
            yield Measurement(quantity, name, value)
    for quantity, found in rows.items():
        yield Measurement(quantity, "", mean(found))


def _kept(values: Tensor) -> Tensor:
    """Each channel's values sorted, (values, channels), after thinning out to :data:`KEPT`."""
    if len(values) > KEPT:
        values = values[torch.linspace(0, len(values) - 1, KEPT).round().long()]
    return values.sort(0).values


def compare(earlier: Tensor, now: Tensor) -> dict[str, float]:
    """The drifts between sorted values (values, channels); none where the scale is zero."""
    a, b = earlier.double(), now.double()
    deviation = a.std(0, correction=0)
    scale = float(deviation.square().mean().sqrt())
    if scale == 0.0:
        return {}
    return {
        "mean-drift": float((b.mean(0) - a.mean(0)).abs().mean()) / scale,
        "deviation-drift": float((b.std(0, correction=0) - deviation).abs().mean()) / scale,
        "distribution-drift": float((b - a).abs().mean()) / scale,
    }
