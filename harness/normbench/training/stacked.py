"""The stacked engine: runs of any network as one computation, made of its module by torch.

The members' parameters and buffers are stacked along a leading axis, the module becomes a function
of them (``torch.func.functional_call``), and ``torch.vmap`` maps it over the members. Gradients
are torch's own. A module that cannot be mapped raises, in :meth:`StackedEngine.gradients` at the
latest; whether the numbers are right is for :mod:`normbench.calibration.trial` to find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from normbench.catalog import OPTIMIZERS
from normbench.models.make import made, restart
from normbench.norms.schedule import scheduled
from normbench.plan.spec import RunSpec
from normbench.training.augment import Batches
from normbench.training.averaging import Average
from normbench.training.budget import LearningRates, schedule_of, set_batch
from normbench.training.curvature import rate_unit
from normbench.training.data import Prepared
from normbench.training.engine import Step, clip_factor, in_batches, onednn
from normbench.training.evaluate import Evaluation, chunk_of, evaluate
from normbench.training.loss_scale import LossScale
from normbench.training.optimizers import Optimizer, decay_mask
from normbench.training.precision import Precision
from normbench.training.stacked_function import StackedEvaluator, StackedFunction, State


class StackedEngine:
    """The stacked parameters, buffers and optimizer state of a group of runs, and its step.

    The module holds the values of the member that was exported last; only its structure counts.
    """

    def __init__(self, runs: Sequence[RunSpec], data: Prepared, device: str = "cpu") -> None:
        cell = runs[0].cell
        self.runs, self.cell, self.data, self.device = runs, cell, data, device
        self.schedule = schedule_of(runs[0], len(data.train))
        first = runs[0].seed
        self.module = made(cell, data.shape, data.classes, first, device, data.train.dtype)
        self.precision = Precision.of(cell, device)
        self.precision.prepare_norms(self.module)
        self.function = StackedFunction(self.module, self.precision)
        self.scheduled = scheduled(self.module)
        members: list[State] = []
        for run in runs:
            if members and run.seed != runs[len(members) - 1].seed:
                restart(self.module, cell, run.seed)
            members.append({n: t.detach().clone() for n, t in self._tensors()})
        stacked = {name: torch.stack([one[name] for one in members]) for name in members[0]}
        trained = [n for n, p in self.module.named_parameters() if p.requires_grad]
        self.trained = {name: stacked.pop(name).requires_grad_() for name in trained}
        frozen = dict(self.module.named_parameters()).keys() & stacked.keys()
        self.fixed = {name: stacked.pop(name) for name in frozen}
        self.kept = stacked
        self.parameters = sum(t[0].numel() for t in self.trained.values())
        self.buffers = sum(t[0].numel() for t in self.kept.values())
        unit = rate_unit(cell, data)
        self.rates: Sequence[LearningRates] = [
            LearningRates(run.cell, self.schedule.steps, unit) for run in runs
        ]
        self.one_rate = len({rates.base for rates in self.rates}) == 1
        values = [t.detach() for t in self.trained.values()]
        self.scale = LossScale(len(runs), device) if self.precision.scaled else None
        #: One for all members, or one for each where one may leave a step out.
        self.optimizers = [
            self._optimizer(part)
            for part in ([values] if self.scale is None else zip(*values, strict=True))
        ]
        self.average = Average(cell, values, list(self.kept.values()))
        self.evaluator = StackedEvaluator(
            self.function, self.trained | self.fixed, self.kept, len(runs)
        )
        self.batch_statistics = self.evaluator.batch_statistics
        self._streams = [self._streams_of(run.seed) for run in runs]
        self._shapes = self._shapes_of_draws()
        self.batches = Batches(runs, data, self.schedule)
        self._gradients: list[Tensor] = []
        self._step = 0

    def _optimizer(self, values: Sequence[Tensor]) -> Optimizer:
        choice = self.cell.optimizer
        made: Optimizer = OPTIMIZERS[choice.name].load()(
            values, self.rates[0].at(0), decayed=decay_mask(self.module), **choice.params
        )
        return made

    @property
    def skipped(self) -> Sequence[int] | None:
        """See :class:`~normbench.training.engine.Engine`, as for the methods."""
        return None if self.scale is None else self.scale.skipped

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.module.named_parameters()
        yield from self.module.named_buffers()

    def _streams_of(self, seed: int) -> list[torch.Generator]:
        """A run's generators of dropout masks: those that its plain module would have."""
        found = []
        for dropout in self.function.dropouts:
            dropout.seed(seed, torch.device("cpu"))
            assert dropout.generator is not None  # noqa: S101  (it was just seeded)
            found.append(dropout.generator)
            dropout.generator = None
        return found

    def _shapes_of_draws(self) -> list[tuple[int, ...]]:
        if not self.function.dropouts:
            return []
        items = torch.arange(self.cell.batch_size, device=self.device)
        return self.function.shapes(self.data.train.inputs(items))

    def _draws(self) -> list[Tensor]:
        """This step's numbers for each layer with dropout."""
        drawn = [
            torch.stack([torch.rand(shape, generator=own[i]) for own in self._streams])
            for i, shape in enumerate(self._shapes)
        ]
        return [draws.to(self.device) for draws in drawn]

    def session(self) -> AbstractContextManager[None]:
        """What its own kind of products is fast with."""
        return onednn(True)

    def begin(self, step: int) -> None:
        """The module's norms are those of all members."""
        self._step = step
        self.batches.begin(step)
        set_batch(self.scheduled, self.cell, step, self.schedule.steps)

    def gradients(self, index: Tensor, *, alone: bool = True) -> Step:
        """The members' losses are summed up, never averaged: each has its own gradients."""
        del alone
        self._gradients = []
        found = in_batches(self.cell, index, self._batch)
        if self.scale is not None:
            factors = 1.0 / (self.cell.accumulate * self.scale.values.double())
            self._gradients = [g * _per_member(factors.to(g.dtype), g) for g in self._gradients]
        elif self.cell.accumulate > 1:
            factor = 1.0 / self.cell.accumulate
            self._gradients = [*torch._foreach_mul(self._gradients, factor)]
        return found

    def _batch(self, index: Tensor, number: int) -> Step:
        """One batch, whose gradients are added to those of the step before it."""
        set_batch(self.scheduled, self.cell, self._step, self.schedule.steps, number)
        flat = index.reshape(-1)
        labels = self.data.train.y[flat]
        labels = labels.view(*index.shape, *labels.shape[1:])
        x = self.batches.inputs(index)
        x = x.view(*index.shape, *x.shape[1:])
        with torch.enable_grad():
            outputs = self.function(self.trained | self.fixed, self.kept, x, self._draws())
            losses = self.data.objective.each(outputs, labels).flatten(1).mean(1)
            scaled = losses if self.scale is None else losses * self.scale.values
            trained = list(self.trained.values())
            found = list(torch.autograd.grad(scaled.sum(), trained, materialize_grads=True))
        # never in place: two parameters may have been given the same tensor
        self._gradients = [*torch._foreach_add(self._gradients, found)] if number else found
        return losses.detach(), outputs.detach(), labels

    @torch.no_grad()
    def update(self, step: int) -> None:
        """One optimizer for all members, since its arithmetic is that of each number by itself."""
        gradients: Sequence[Tensor] = self._gradients
        takes: list[bool] = []
        if self.scale is not None:
            takes = self.scale.steps(_norms(gradients))
        if self.cell.clip_norm is not None:
            factors = clip_factor(_norms(gradients), self.cell.clip_norm)
            gradients = [g * _per_member(factors, g) for g in gradients]
        if takes:
            self._update_each(step, gradients, takes)
        else:
            self._update_all(step, gradients)
        self.average.update()

    def _update_each(self, step: int, gradients: Sequence[Tensor], takes: Sequence[bool]) -> None:
        """The members that take the step, each by an optimizer of its own."""
        for member, (optimizer, takes_it) in enumerate(zip(self.optimizers, takes, strict=True)):
            if takes_it:
                optimizer.learning_rate = self.rates[member].at(step)
                optimizer.step([g[member] for g in gradients])

    def _update_all(self, step: int, gradients: Sequence[Tensor]) -> None:
        (optimizer,) = self.optimizers
        if self.one_rate:
            optimizer.learning_rate = self.rates[0].at(step)
            optimizer.step(gradients)
            return
        # every optimizer's step is proportional to the rate: take it at rate 1 and scale it
        before = self.snapshot()
        optimizer.learning_rate = 1.0
        optimizer.step(gradients)
        rates = torch.tensor(
            [rates.at(step) for rates in self.rates],
            dtype=before[0].dtype, device=before[0].device,
        )  # fmt: skip
        for now, then in zip(self.trained.values(), before, strict=True):
            now.sub_(then).mul_(_per_member(rates, now)).add_(then)

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""
        self.begin(step)
        self.gradients(index, alone=False)
        self.update(step)

    def weight_norms(self) -> list[float]:
        """Of each member."""
        return _listed(_norms([t.detach() for t in self.trained.values()]))

    def gradient_norms(self) -> list[float]:
        """Of each member."""
        return _listed(_norms(self._gradients))

    def snapshot(self) -> list[Tensor]:
        """Copies of the stacked parameters, in their order."""
        return [t.detach().clone() for t in self.trained.values()]

    def change_norms(self, before: list[Tensor]) -> list[float]:
        """Of each member."""
        now = self.trained.values()
        return _listed(_norms([t.detach() - b for t, b in zip(now, before, strict=True)]))

    def values(self, member: int, before: list[Tensor]) -> dict[str, Tensor]:
        """Views of the copies."""
        return {name: t[member] for name, t in zip(self.trained, before, strict=True)}

    def evaluate(self) -> list[Evaluation]:
        """All members see the same items."""
        cell = self.cell
        with self.average.shown():
            return evaluate(
                self.evaluator, self.data, cell.statistics_batch, cell.statistics_samples,
                chunk_of(self.data), recomputed=self.average.recomputed,
            )  # fmt: skip

    @torch.no_grad()
    def export(self, member: int) -> nn.Module:
        """A member in the one module that this engine keeps."""
        state = self.trained | self.fixed | self.kept
        for name, tensor in self._tensors():
            tensor.copy_(state[name][member])
        return self.module


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm (members,) of each member's values in stacked tensors."""
    each = [torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors]
    found: Tensor = torch.linalg.vector_norm(torch.stack(each, 1), dim=1)
    return found


def _listed(values: Tensor) -> list[float]:
    found: list[float] = values.tolist()
    return found


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    """A value per member (members,) in a shape that multiplies a stacked tensor."""
    return values.view(-1, *([1] * (like.dim() - 1)))
