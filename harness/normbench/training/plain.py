"""The plain engine: one run, one step after the other, as anyone would write it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn

from normbench.catalog import OPTIMIZERS
from normbench.models.make import made
from normbench.norms.schedule import scheduled
from normbench.plan.spec import RunSpec
from normbench.training.augment import Batches
from normbench.training.averaging import Average
from normbench.training.budget import LearningRates, schedule_of, set_batch
from normbench.training.curvature import rate_unit
from normbench.training.data import Prepared
from normbench.training.engine import Step, clip_factor, global_norm, in_batches, onednn
from normbench.training.evaluate import Evaluation, PlainEvaluator, evaluate
from normbench.training.loss_scale import LossScale
from normbench.training.optimizers import Optimizer, decay_mask
from normbench.training.precision import Precision, widened
from normbench.training.probing import private_copy

#: Formulations of the plain engine besides the ordinary one.
CHANNELS_LAST, COMPILED = "channels-last", "compiled"


def uses_onednn(batch_size: int, shape: tuple[int, ...]) -> bool:
    """Whether oneDNN pays on the CPU: its set-up may cost more than the convolution itself.

    Measured on 8×8 images: a step at batch 4 took 1.0 ms without and 1.7 ms with it, at batch
    64 6.5 and 4.2 ms. The choice depends on the cell alone, so a run's numbers do not depend
    on what the process trained before.
    """
    return batch_size * math.prod(shape[1:]) >= 1024


def formulated(model: nn.Module, variant: str) -> Callable[[Tensor], Tensor]:
    """The model's forward pass in a formulation; the model keeps its parameters and its names.

    Raises ``ValueError`` for a variant that the plain engine does not have.
    """
    if variant == CHANNELS_LAST:
        # layers keep their input's format; filters stay as they are, since the fused optimizer
        # needs parameters and gradients of one layout
        return lambda x: cast(Tensor, model(x.contiguous(memory_format=torch.channels_last)))
    if variant == COMPILED:
        from torch._inductor import config

        # workers are processes of their own already and may have no children
        config.compile_threads = 1
        return cast(Callable[[Tensor], Tensor], torch.compile(model, dynamic=False))
    if variant:
        raise ValueError(f"the plain engine has no variant {variant!r}")
    return cast(Callable[[Tensor], Tensor], model)


class PlainEngine:
    """The model, optimizer and learning rates of one run, and its training step.

    The model's numbers are of the data's type: float32, or float64 in comparisons of engines.
    ``variant`` is "", ``channels-last`` (that memory format for images) or ``compiled``
    (``torch.compile``): the same computation, faster on some shapes and machines.
    """

    def __init__(
        self, run: RunSpec, data: Prepared, device: str = "cpu", variant: str = ""
    ) -> None:
        cell = run.cell
        self.runs: Sequence[RunSpec] = (run,)
        self.cell, self.device = cell, device
        self.data, self.objective = data, data.objective
        self.schedule = schedule_of(run, len(data.train))
        self.model = made(cell, data.shape, data.classes, run.seed, device, data.train.dtype)
        self.precision = Precision.of(cell, device)
        self.precision.prepare_norms(self.model)
        self.forward: Callable[[Tensor], Tensor] = formulated(self.model, variant)
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.names, self.weights = list(trained), list(trained.values())
        self.parameters = sum(p.numel() for p in self.weights)
        self.buffers = sum(b.numel() for b in self.model.buffers())
        self.scheduled = scheduled(self.model)
        self.rates: Sequence[LearningRates] = (
            LearningRates(cell, self.schedule.steps, rate_unit(cell, data)),
        )
        self.evaluator = PlainEvaluator(self.model, self.precision)
        self.batch_statistics = self.evaluator.batch_statistics
        self.optimizer: Optimizer = OPTIMIZERS[cell.optimizer.name].load()(
            self.weights,
            self.rates[0].at(0),
            decayed=decay_mask(self.model),
            **cell.optimizer.params,
        )
        self.average = Average(cell, self.weights, list(self.model.buffers()))
        self.scale = LossScale(1, device) if self.precision.scaled else None
        self.batches = Batches(self.runs, data, self.schedule)
        self._step = 0
        self._gradients: list[Tensor] = []

    @property
    def skipped(self) -> Sequence[int] | None:
        """Of the only member."""
        return None if self.scale is None else self.scale.skipped

    def session(self) -> AbstractContextManager[None]:
        """See :class:`~normbench.training.engine.Engine`, as for the other methods."""
        of_16_bits = self.precision.type is not None
        return onednn(of_16_bits or uses_onednn(self.cell.batch_size, self.data.shape))

    def begin(self, step: int) -> None:
        """The place in the run is the norms' to know."""
        self._step, self._gradients = step, []
        self.batches.begin(step)
        set_batch(self.scheduled, self.cell, step, self.schedule.steps)

    def gradients(self, index: Tensor, *, alone: bool = True) -> Step:
        """Each batch's forward pass, and its backward pass."""
        del alone
        self._gradients = []

        def batch(own: Tensor, number: int) -> Step:
            set_batch(self.scheduled, self.cell, self._step, self.schedule.steps, number)
            loss, outputs, labels = self.loss(own[0])
            self.backward(loss)
            return loss.detach()[None], outputs.detach()[None], labels[None]

        found = in_batches(self.cell, index, batch)
        self.finish()
        return found

    def loss(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (), outputs (batch, outputs) and labels of the items at ``index`` (batch,)."""
        labels = self.data.train.y[index]
        with self.precision.autocast():
            outputs = widened(self.forward(self.batches.inputs(index[None])))
        return self.objective.loss(outputs, labels), outputs, labels

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a batch's loss, and add them to those of the step before it."""
        if self.scale is not None:
            loss = loss * self.scale.values[0]
        found = list(torch.autograd.grad(loss, self.weights, materialize_grads=True))
        # never in place: two parameters may have been given the same tensor
        self._gradients = (
            [*torch._foreach_add(self._gradients, found)] if self._gradients else found
        )

    def finish(self) -> None:
        """Make the mean of the gradients that were added up, and take off the loss's scale."""
        factor = 1.0 / self.cell.accumulate
        if self.scale is not None:
            factor /= float(self.scale.values[0])
        if factor != 1.0:
            self._gradients = [*torch._foreach_mul(self._gradients, factor)]

    def update(self, step: int) -> None:
        """The optimizer's step, with gradients clipped where the cell says so."""
        if self.scale is None or self.scale.steps(torch.tensor(self.gradient_norms()))[0]:
            self._update(step)
        self.average.update()

    def _update(self, step: int) -> None:
        self.optimizer.learning_rate = self.rates[0].at(step)
        gradients = self._gradients
        if self.cell.clip_norm is not None:
            norm = torch.tensor(global_norm(gradients), dtype=torch.float64)
            factor = clip_factor(norm, self.cell.clip_norm)
            gradients = [*torch._foreach_mul(gradients, float(factor))]
        self.optimizer.step(gradients)

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""
        self.begin(step)
        self.gradients(index, alone=False)
        self.update(step)

    def weight_norms(self) -> list[float]:
        """Of the only member."""
        return [global_norm([p.detach() for p in self.weights])]

    def gradient_norms(self) -> list[float]:
        """Of the only member."""
        return [global_norm(self._gradients)]

    def snapshot(self) -> list[Tensor]:
        """Copies of the parameters, in their order."""
        return [p.detach().clone() for p in self.weights]

    def change_norms(self, before: list[Tensor]) -> list[float]:
        """Of the only member."""
        return [global_norm([p.detach() - b for p, b in zip(self.weights, before, strict=True)])]

    def values(self, member: int, before: list[Tensor]) -> dict[str, Tensor]:
        """The copies by name."""
        del member
        return dict(zip(self.names, before, strict=True))

    def evaluate(self) -> list[Evaluation]:
        """Of the only member."""
        cell = self.cell
        with self.average.shown():
            return evaluate(
                self.evaluator, self.data, cell.statistics_batch, cell.statistics_samples,
                recomputed=self.average.recomputed,
            )  # fmt: skip

    def export(self, member: int) -> nn.Module:
        """A copy of the model."""
        del member
        return private_copy(self.model)
