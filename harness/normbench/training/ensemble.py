"""Training the runs of a group as one computation, with a leading axis of runs.

The runs are those of one cell (they differ in the seed, and perhaps in the learning rate). Each
keeps its own data order, dropout masks, gradient clipping, divergence and metrics: what one does
never reaches another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from normbench.catalog import OPTIMIZERS
from normbench.models.describe import network
from normbench.models.packed.choose import memory, pack
from normbench.models.packed.choose import variants as packed_variants
from normbench.models.packed.net import PackedNet, set_up
from normbench.models.plain import Net, build, initialise
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.data import Prepared, epoch_order
from normbench.training.evaluate_packed import PackedEvaluation
from normbench.training.loop import LearningRates, Outcome, clip_factor, schedule_of
from normbench.training.optimizers import Optimizer, Sgd
from normbench.training.probing import ProbeError, Probing
from normbench.training.rows import Interval, is_finite, no_scores, place_of, score_columns

#: Weights that take more bytes than this are far by the time of an update.
_FAR_BYTES = 1 << 23


class Ensemble:
    """The stacked parameters, optimizer state and learning rates of a group, and its step."""

    def __init__(
        self,
        runs: Sequence[RunSpec],
        data: Prepared,
        device: str = "cpu",
        variant: str = "",
    ) -> None:
        cell, dtype = runs[0].cell, data.train.dtype
        set_up()  # the plain loop, which may have run here before, chooses for itself
        self.cell, self.data, self.members = cell, data, len(runs)
        self.schedule = schedule_of(runs[0], len(data.train))
        described = network(cell, data.shape, data.classes)
        self.described, self.device = described, device
        self.packed = pack(
            described, len(runs), task=data.task, variant=variant, dtype=dtype, device=device
        )
        plain = build(described, "cpu").to(dtype)
        seed = None
        for member, run in enumerate(runs):
            if run.seed != seed:
                initialise(plain, run.seed, cell.init)
            seed = run.seed
            self.packed.load(member, plain)
            self.packed.seed_dropout(member, run.seed)
        self.plain = plain
        self.rates = [LearningRates(run.cell, self.schedule.steps) for run in runs]
        self.one_rate = len({rates.base for rates in self.rates}) == 1
        front = self.packed.decayed
        self._parts = [self.packed.flat[:front], self.packed.flat[front:]]
        self._gradients = [self.packed.flat_gradient[:front], self.packed.flat_gradient[front:]]
        self.optimizer = self._optimizer(self._parts, [True, False])
        #: The momentum, where the weights' gradients are added into their velocities right away.
        self.carry = self._carry()
        if self.carry:
            self.optimizer = self._optimizer(self._parts[1:], [False])
        #: Whether weights may move in the course of the backward pass: a cache holds few of them.
        self.moves = self.carry > 0 and self._parts[0].nbytes > _FAR_BYTES
        self._rate, self._moved = self.rates[0].at(0), False
        #: The weights' velocities, while their gradients lie alone.
        self._velocities: Tensor | None = None
        scaled = data.train.rows is None
        self._resident = self.packed.resident(data.train.x) if scaled else None

    def _optimizer(self, parts: list[Tensor], decayed: list[bool]) -> Optimizer:
        choice, rate = self.cell.optimizer, self.rates[0].at(0)
        made: Optimizer = OPTIMIZERS[choice.name].load()(
            parts, rate, decayed=decayed, **choice.params
        )
        return made

    def _carry(self) -> float:
        alone = self.cell.clip_norm is not None or not self.one_rate
        # a class that is made of this one may take other steps
        if alone or not isinstance(self.packed, PackedNet) or type(self.optimizer) is not Sgd:
            return 0.0
        return self.optimizer.carry

    def begin(self, step: int) -> None:
        """Tell norms that change in the course of a run that ``step`` steps have been taken.

        The next gradients may move weights, by the learning rate of that step.
        """
        self.packed.set_step(step, self.schedule.steps)
        self._rate = self.rates[0].at(step)

    def gradients(self, index: Tensor, *, alone: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (members,), logits (members, batch, classes) and labels of the items at ``index``.

        ``index`` has shape (members, batch); the gradients then lie in the packed net, and
        :meth:`update` is to follow. If they need not lie there ``alone``, those of the weights may
        have been added to what the optimizer keeps, and the weights may have taken their step.
        """
        if self.carry and isinstance(self.packed, PackedNet):
            if alone and self._velocities is None:
                self._velocities = self._gradients[0].clone()
            self._moved = self.moves and not alone
            self.packed.set_carry(0.0 if alone else self.carry, self._rate if self._moved else None)
        flat = index.reshape(-1)
        labels = self.data.train.y[flat].view(self.members, -1)
        if self._resident is not None:
            losses, logits = self.packed.train_items(self._resident, flat, labels)
        else:
            inputs = self.packed.arrange(self.data.train.inputs(flat))
            losses, logits = self.packed.train_batch(inputs, labels)
        return losses, logits, labels

    def update(self, step: int) -> None:
        """Change the parameters by the gradients, as the step after ``step`` steps does."""
        flat, gradient = self.packed.flat, self.packed.flat_gradient
        if self.cell.clip_norm is not None:
            factors = clip_factor(self.packed.member_norms(gradient), self.cell.clip_norm)
            gradient.mul_(self.packed.per_member(factors))
        if self.carry:
            if self._velocities is not None:
                self._gradients[0].add_(self._velocities, alpha=self.carry)
                self._velocities = None
            rate = self.rates[0].at(step)
            if not self._moved:
                self._parts[0].sub_(self._gradients[0], alpha=rate)
            self._moved = False
            self.optimizer.learning_rate = rate
            self.optimizer.step(self._gradients[1:])
            return
        if self.one_rate:
            self.optimizer.learning_rate = self.rates[0].at(step)
            self.optimizer.step(self._gradients)
            return
        # every optimizer's step is proportional to the rate: take it at rate 1 and scale it
        before = flat.clone()
        self.optimizer.learning_rate = 1.0
        self.optimizer.step(self._gradients)
        rates = torch.tensor(
            [rates.at(step) for rates in self.rates], dtype=flat.dtype, device=flat.device
        )
        flat.sub_(before).mul_(self.packed.per_member(rates)).add_(before)

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""
        self.begin(step)
        self.gradients(index, alone=False)
        self.update(step)

    def plain_module(self) -> Net:
        """A plain module that a member can be stored in, on the packed net's device."""
        return build(self.described, self.device).to(self.packed.dtype)

    def parameters_of_a_member(self) -> int:
        """How many numbers are trained in each run."""
        return sum(p.numel() for p in self.plain.parameters())

    def buffers_of_a_member(self) -> int:
        """How many numbers each run keeps besides, such as running statistics."""
        return sum(b.numel() for b in self.plain.buffers())


def variants(cell: Cell, data: Prepared, device: str) -> list[str]:
    """The packed formulations worth trying for a cell, the most promising first.

    Raises :class:`~normbench.models.packed.net.UnsupportedError` where there is none.
    """
    described = network(cell, data.shape, data.classes)
    pack(described, 1, task=data.task)
    return packed_variants(described, device)


def memory_of(cell: Cell, data: Prepared, members: int) -> int:
    """The bytes that ``members`` runs of a cell take together, roughly."""
    return memory(network(cell, data.shape, data.classes), members)


class _Rows:
    """The outcomes of the runs of a group, filled evaluation by evaluation."""

    def __init__(self, runs: Sequence[RunSpec], ensemble: Ensemble, data: Prepared) -> None:
        self.runs, self.ensemble = runs, ensemble
        self.alive = [True] * len(runs)
        self.probing = [Probing(run, data) for run in runs]
        # what probes look at: one plain module that each member is copied into in turn
        self.copy = ensemble.plain_module() if ensemble.cell.probes else None
        self.evaluation = PackedEvaluation(ensemble.packed, data)
        self.outcomes = [
            Outcome(
                classes=data.classes,
                label_variance=data.label_variance,
                parameters=ensemble.parameters_of_a_member(),
                buffers=ensemble.buffers_of_a_member(),
            )
            for _ in runs
        ]

    def add(
        self, step: int, interval: Interval | None, train_seconds: float, before: Tensor | None
    ) -> None:
        """Evaluate all runs, add a row to those that have not diverged, and probe them.

        ``before`` holds all parameters as they were before the last step.
        """
        started = time.perf_counter()
        cell, per_epoch = self.ensemble.cell, self.ensemble.schedule.steps_per_epoch
        norms = self.ensemble.packed.member_norms(self.ensemble.packed.flat).tolist()
        rows: dict[int, dict[str, Any]] = {}
        for member, run in enumerate(self.runs):
            if not self.alive[member]:
                continue
            rate = self.ensemble.rates[member].at(max(0, step - 1))
            rows[member] = place_of(run, step, per_epoch, rate) | {"weight_norm": norms[member]}
            if interval is not None:
                rows[member] |= interval.columns(member)
        scored = [member for member, row in rows.items() if is_finite(row)]
        evaluations = (
            self.evaluation.evaluate(cell.statistics_batch, cell.statistics_samples)
            if scored
            else []
        )
        spent = (time.perf_counter() - started) / len(self.runs)
        for member, row in rows.items():
            outcome = self.outcomes[member]
            evaluation = evaluations[member] if member in scored else None
            row |= (
                score_columns(evaluation)
                if evaluation is not None
                else no_scores(self.evaluation.batch_statistics)
            )
            row |= {"train_seconds": train_seconds / len(self.runs), "eval_seconds": spent}
            outcome.steps, outcome.samples = step, step * cell.batch_size
            outcome.train_seconds += row["train_seconds"]
            outcome.eval_seconds += spent
            outcome.epochs.append(row)
            if evaluation is None or not evaluation.finite:
                outcome.status, self.alive[member] = "diverged", False
            else:
                outcome.predictions = {k: s.correct for k, s in evaluation.test.items()}
        if self.copy is not None:
            self._probe(self.copy, before)

    def _probe(self, copy: Net, before: Tensor | None) -> None:
        """Let the probes look at the members that live; one whose probe fails has failed alone."""
        packed = self.ensemble.packed
        for member, outcome in enumerate(self.outcomes):
            if not self.alive[member]:
                continue
            probing = self.probing[member]
            packed.store(member, copy)
            previous = None if before is None else packed.plain_values(member, copy, before)
            try:
                probing.look(outcome.epochs[-1], copy, previous)
            except ProbeError as error:
                outcome.status, self.alive[member] = "failed", False
                outcome.error = f"{type(error).__name__}: {error}"[:2000]
            outcome.probes, outcome.probe_seconds = probing.rows, probing.seconds


def train_together(
    runs: Sequence[RunSpec],
    data: Prepared,
    device: str = "cpu",
    variant: str = "",
) -> list[Outcome]:
    """Train runs of one cell as one computation; an outcome for each, in their order.

    The same as :func:`~normbench.training.loop.train` on each of them, up to rounding. Seconds are
    amortised: the group's, divided by its runs. A run that diverges neither stops nor changes the
    others. Raises where the whole group fails, such as for want of memory.
    """
    began = time.perf_counter()
    with torch.no_grad():
        ensemble = Ensemble(runs, data, device, variant)
        rows = _Rows(runs, ensemble, data)
        _train(runs, data, device, ensemble, rows)
    seconds = (time.perf_counter() - began) / len(runs)
    for outcome in rows.outcomes:
        outcome.seconds = seconds
    return rows.outcomes


def _train(
    runs: Sequence[RunSpec], data: Prepared, device: str, ensemble: Ensemble, rows: _Rows
) -> None:
    schedule, packed = ensemble.schedule, ensemble.packed
    batch = ensemble.cell.batch_size
    stops = set(schedule.evaluation_steps())
    rows.add(0, None, 0.0, None)
    if not any(rows.alive):
        return
    interval = Interval(len(runs), batch, data.objective)
    orders = torch.empty(0)
    started = time.perf_counter()
    for step in range(schedule.steps):
        epoch, i = divmod(step, schedule.steps_per_epoch)
        if i == 0:
            drawn = [epoch_order(run.seed, epoch, len(data.train)) for run in runs]
            orders = torch.stack(drawn).to(device)
        ensemble.begin(step)
        is_stop = step + 1 in stops
        index = orders[:, i * batch : (i + 1) * batch]
        losses, logits, labels = ensemble.gradients(index, alone=is_stop)
        interval.add(losses, logits, labels)
        if not is_stop:
            ensemble.update(step)
            continue
        interval.grad_norms = packed.member_norms(packed.flat_gradient).tolist()
        before = packed.flat.clone()
        ensemble.update(step)
        interval.update_norms = packed.member_norms(packed.flat - before).tolist()
        rows.add(step + 1, interval, time.perf_counter() - started, before)
        if not any(rows.alive):
            return
        interval.restart()
        started = time.perf_counter()
