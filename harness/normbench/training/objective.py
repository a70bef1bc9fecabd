"""What a network is trained for: the loss of its outputs, and which items count as right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from normbench.datasets.base import Task


@dataclass(frozen=True)
class Objective:
    """The loss and the hits of a task.

    ``classification``: the cross-entropy of outputs (…, classes) with class numbers (…), in nats;
    a hit is a label whose own class has the largest output. Of sequences each token has a label,
    (items, tokens), and counts by itself. ``regression``: the squared error of
    the first output of (…, 1) against numbers (…), in squared units of the labels; a hit is an
    item whose error is at most ``tolerance``, in units of the labels.
    """

    task: Task = "classification"
    tolerance: float = 0.0

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The mean over a batch: outputs (batch, …, classes) and labels (batch, …) to ()."""
        if self.task == "classification":
            return functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())
        return (outputs[..., 0] - labels).square().mean()

    def each(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each item: outputs (…, classes) and labels (…) to (…)."""
        if self.task == "classification":
            found = functional.cross_entropy(
                outputs.flatten(0, -2), labels.reshape(-1), reduction="none"
            )
            return found.view(labels.shape)
        return (outputs[..., 0] - labels).square()

    def total(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sum over a batch: outputs (batch, …, classes) and labels (batch, …) to ()."""
        if self.task == "classification":
            return functional.cross_entropy(
                outputs.flatten(0, -2), labels.flatten(), reduction="sum"
            )
        return (outputs[..., 0] - labels).square().sum()

    def totals(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The sums of several members: (members, batch, …, classes), (batch, …) to (members,).

        A single member's is :meth:`total` to the last bit.
        """
        if len(outputs) == 1:
            return self.total(outputs[0], labels)[None]
        return self.each(outputs, labels.expand(outputs.shape[:-1])).flatten(1).sum(1)

    def hits(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Which items are right: outputs (…, classes) and labels (…) to booleans (…)."""
        if self.task == "classification":
            return outputs.argmax(-1) == labels
        # a number that is none is no hit, since it is not at most anything
        return torch.abs(outputs[..., 0] - labels) <= self.tolerance


#: The objective of every data set that names none.
CLASSIFICATION = Objective()
