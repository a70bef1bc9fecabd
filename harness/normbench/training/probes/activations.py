"""Activations: their mean and deviation at each depth, and channels that never fire."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss, mean
from normbench.training.probes.recording import ChannelMoments, Place, places, watching


def activations(context: ProbeContext) -> Iterator[Measurement]:
    """Statistics of what enters and leaves each activation function, over all probe batches.

    - ``preactivation-mean``, ``preactivation-deviation``: over all items, channels and positions
      of what the activation function gets (Bjorck et al. 2018, arXiv:1806.02375, show how they
      grow with depth without normalization);
    - ``activation-mean``, ``activation-deviation``: the same of what it gives;
    - ``dead-channels``: the share of channels (of units, in a fully connected layer) whose ReLU
      gives zero for all items at all positions. Layer "": the mean over layers;
    - ``deviation-ratio``, layer "": the deviation of the last pre-activation over that of the
      first.

    Layers are named after the last layer with weights before the activation function. Recurrent
    cells, which hold theirs themselves, have the ``activation-`` values of their outputs alone.
    Training mode. Cost: one evaluation without gradient of all probe batches.
    """
    before: dict[str, ChannelMoments] = {}
    after: dict[str, ChannelMoments] = {}
    watched = places(context.model)

    def see(place: Place, entered: Tensor, left: Tensor) -> None:
        if not place.inner:
            before.setdefault(place.name, ChannelMoments()).add(entered)
        after.setdefault(place.name, ChannelMoments()).add(left)

    objective = ProbeLoss(context, context.batches)
    with watching(watched, see):
        objective.value(objective.here)

    for prefix, gathered in (("preactivation", before), ("activation", after)):
        for name, moments in gathered.items():
            average, deviation = moments.overall()
            yield Measurement(f"{prefix}-mean", name, average)
            yield Measurement(f"{prefix}-deviation", name, deviation)
    rectified = [p.name for p in watched if p.rectifier and p.name in after]
    dead = {name: after[name].never_positive() for name in rectified}
    for name, share in dead.items():
        yield Measurement("dead-channels", name, share)
    if dead:
        yield Measurement("dead-channels", "", mean(dead.values()))
    deviations = [moments.overall()[1] for moments in before.values()]
    if deviations and deviations[0] > 0:
        yield Measurement("deviation-ratio", "", deviations[-1] / deviations[0])
