"""The plain loop: one run, one step after the other, as anyone would write it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normbench.catalog import OPTIMIZERS, SCHEDULES
from normbench.models.describe import network
from normbench.models.plain import build, initialise
from normbench.norms.schedule import scheduled, set_step
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.curvature import rate_unit
from normbench.training.data import Prepared, check_batch_size, epoch_order
from normbench.training.evaluate import batch_norms, evaluate
from normbench.training.optimizers import Optimizer, decay_mask
from normbench.training.probing import Probing, private_copy
from normbench.training.rows import Interval, is_finite, no_scores, place_of, score_columns


@dataclass
class Outcome:
    """What a run gave: how it ended, a row per evaluation, and the last finite predictions.

    ``predictions`` maps an evaluation kind to one bit per test item, in the split's order.
    ``probes`` are the rows that probes gave; the time that they took, None without any, is in
    ``seconds`` but in no other part of it.
    """

    status: str = "finished"
    error: str | None = None
    steps: int = 0
    samples: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predictions: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    probes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    probe_seconds: float | None = None
    classes: int = 0
    label_variance: float | None = None
    parameters: int = 0
    buffers: int = 0


@dataclass(frozen=True)
class Schedule:
    """How long a run is, in steps, and after how many of them it is evaluated."""

    steps_per_epoch: int
    steps: int
    evaluations: int

    def evaluation_steps(self) -> list[int]:
        """The steps after which the run is evaluated, without step 0; the last is the run's end."""
        steps = {round(i * self.steps / self.evaluations) for i in range(1, self.evaluations + 1)}
        return sorted(steps - {0})


def schedule_of(run: RunSpec, n_train: int) -> Schedule:
    """The schedule of a run on ``n_train`` training items; a short last batch is left out."""
    cell = run.cell
    check_batch_size(cell, n_train)
    per_epoch = n_train // cell.batch_size
    return Schedule(per_epoch, cell.budget_in_steps(per_epoch), cell.asked_evaluations)


class LearningRates:
    """The learning rate of each step of a run: scaled to the batch size, times the schedule's.

    ``unit`` is what rates are measured in: 1, or 1/λ_max where the cell scales by curvature.
    """

    def __init__(self, cell: Cell, steps: int, unit: float = 1.0) -> None:
        self.base, self.steps = cell.scaled_learning_rate() * unit, steps
        self.factor = SCHEDULES[cell.lr_schedule.name].load()
        self.params = cell.lr_schedule.params

    def at(self, step: int) -> float:
        """The rate of the step after ``step`` steps were taken."""
        return self.base * float(self.factor(step, self.steps, **self.params))


def global_norm(tensors: list[Tensor]) -> float:
    """The Euclidean norm of all values together."""
    if not tensors:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def choose_convolutions(batch_size: int, shape: tuple[int, ...]) -> None:
    """On the CPU, leave oneDNN out where its set-up costs more than the convolution itself.

    Measured on 8×8 images: a step at batch 4 took 1.0 ms without and 1.7 ms with it, at batch
    64 6.5 and 4.2 ms. The choice depends on the cell alone, so a run's numbers do not depend
    on what the process trained before.
    """
    pixels = batch_size * math.prod(shape[1:])
    torch.backends.mkldnn.enabled = pixels >= 1024  # type: ignore[assignment]


def clip_factor(norms: Tensor, most: float) -> Tensor:
    """What gradients of these norms are multiplied by so that none is longer than ``most``.

    As in ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al. 2013, arXiv:1211.5063).
    """
    return (most / (norms + 1e-6)).clamp(max=1.0)


#: Formulations of the plain loop besides the ordinary one.
CHANNELS_LAST, COMPILED = "channels-last", "compiled"


def formulated(model: nn.Module, variant: str) -> Callable[[Tensor], Tensor]:
    """The model's forward pass in a formulation; the model keeps its parameters and its names.

    Raises ``ValueError`` for a variant that the plain loop does not have.
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
        raise ValueError(f"the plain loop has no variant {variant!r}")
    return cast(Callable[[Tensor], Tensor], model)


class Trainer:
    """The model, optimizer and learning rates of one run, and its training step.

    The model's numbers are of the data's type: float32, or float64 in comparisons of engines.
    ``variant`` is "", ``channels-last`` (that memory format for images) or ``compiled``
    (``torch.compile``): the same computation, faster on some shapes and machines.
    """

    def __init__(
        self, run: RunSpec, data: Prepared, device: str = "cpu", variant: str = ""
    ) -> None:
        cell = run.cell
        self.data, self.objective = data, data.objective
        self.schedule = schedule_of(run, len(data.train))
        choose_convolutions(cell.batch_size, data.shape)
        self.model = build(network(cell, data.shape, data.classes), device).to(data.train.dtype)
        initialise(self.model, run.seed, cell.init)
        self.forward: Callable[[Tensor], Tensor] = formulated(self.model, variant)
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.scheduled = scheduled(self.model)
        self.rates = LearningRates(cell, self.schedule.steps, rate_unit(cell, data))
        self.clip = cell.clip_norm
        self.optimizer: Optimizer = OPTIMIZERS[cell.optimizer.name].load()(
            self.parameters,
            self.rates.at(0),
            decayed=decay_mask(self.model),
            **cell.optimizer.params,
        )

    def begin(self, step: int) -> None:
        """Tell norms that change in the course of a run that ``step`` steps have been taken."""
        set_step(self.scheduled, step, self.schedule.steps)

    def gradients(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Loss (), logits (batch, classes), labels and gradients of the items at ``index``."""
        y = self.data.train.y[index]
        logits = self.forward(self.data.train.inputs(index))
        loss = self.objective.loss(logits, y)
        return loss, logits, y, torch.autograd.grad(loss, self.parameters)

    def update(self, gradients: Sequence[Tensor], step: int) -> None:
        """Change the parameters, as the step after ``step`` steps does."""
        self.optimizer.learning_rate = self.rates.at(step)
        if self.clip is not None:
            factor = clip_factor(
                torch.tensor(global_norm(list(gradients)), dtype=torch.float64), self.clip
            )
            gradients = torch._foreach_mul(list(gradients), float(factor))
        self.optimizer.step(gradients)

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""
        self.begin(step)
        *_, gradients = self.gradients(index)
        self.update(gradients, step)


def train(run: RunSpec, data: Prepared, device: str = "cpu", variant: str = "") -> Outcome:
    """Train one run and evaluate it before training and after every interval.

    A non-finite training loss, norm of the parameters or evaluation loss ends the run as
    ``diverged``; its rows up to then are kept, and the row in which it was found holds NaN
    where there is no number. Its predictions are those of the last evaluation before that, and so
    are its last probes. Raises nothing for divergence; errors of the environment and
    :class:`~normbench.training.probing.ProbeError` pass through.
    """
    cell = run.cell
    trainer = Trainer(run, data, device, variant)
    model, parameters, schedule = trainer.model, trainer.parameters, trainer.schedule
    outcome = Outcome(
        classes=data.classes,
        label_variance=data.label_variance,
        parameters=sum(p.numel() for p in parameters),
        buffers=sum(b.numel() for b in model.buffers()),
    )
    stops = set(schedule.evaluation_steps())
    first = trainer.rates.at(0)
    if not _evaluate_into(outcome, model, run, data, None, schedule, parameters, first):
        return outcome
    probing = Probing(run, data)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    _probe(outcome, probing, model, None)
    interval = Interval(1, cell.batch_size, trainer.objective)
    order = torch.empty(0)
    started = time.perf_counter()
    for step in range(schedule.steps):
        epoch, i = divmod(step, schedule.steps_per_epoch)
        if i == 0:
            order = epoch_order(run.seed, epoch, len(data.train)).to(device)
        index = order[i * cell.batch_size : (i + 1) * cell.batch_size]
        trainer.begin(step)
        loss, logits, y, gradients = trainer.gradients(index)
        outcome.steps += 1
        is_stop = outcome.steps in stops
        before = [p.detach().clone() for p in parameters] if is_stop else []
        trainer.update(gradients, step)
        interval.add(loss.detach()[None], logits.detach()[None], y[None])
        if not is_stop:
            continue
        change = [p.detach() - b for p, b in zip(parameters, before, strict=True)]
        interval.grad_norms = [global_norm(list(gradients))]
        interval.update_norms = [global_norm(change)]
        outcome.samples = outcome.steps * cell.batch_size
        spent = time.perf_counter() - started
        outcome.train_seconds += spent
        rate = trainer.rates.at(step)
        if not _evaluate_into(
            outcome, model, run, data, interval, schedule, parameters, rate, spent
        ):
            return outcome
        _probe(outcome, probing, model, dict(zip(names, before, strict=True)))
        interval.restart()
        started = time.perf_counter()
    return outcome


def _evaluate_into(
    outcome: Outcome,
    model: nn.Module,
    run: RunSpec,
    data: Prepared,
    interval: Interval | None,
    schedule: Schedule,
    parameters: list[nn.Parameter],
    learning_rate: float,
    train_seconds: float = 0.0,
) -> bool:
    """Add an evaluation row to the outcome; False if the run has diverged."""
    started = time.perf_counter()
    weight_norm = global_norm([p.detach() for p in parameters])
    row = place_of(run, outcome.steps, schedule.steps_per_epoch, learning_rate)
    row["weight_norm"] = weight_norm
    if interval is not None:
        row |= interval.columns(0)
    evaluation = None
    if is_finite(row):
        evaluation = evaluate(model, data, run.cell.statistics_batch, run.cell.statistics_samples)
        row |= score_columns(evaluation)
    else:
        row |= no_scores(bool(batch_norms(model)))
    row["train_seconds"] = train_seconds
    row["eval_seconds"] = time.perf_counter() - started
    outcome.eval_seconds += row["eval_seconds"]
    outcome.epochs.append(row)
    if evaluation is None or not evaluation.finite:
        outcome.status = "diverged"
        return False
    outcome.predictions = {kind: s.correct for kind, s in evaluation.test.items()}
    return True


def _probe(
    outcome: Outcome, probing: Probing, model: nn.Module, previous: dict[str, Tensor] | None
) -> None:
    """Let the probes look at the model as it was evaluated last."""
    if not probing.probes:
        return
    copied = private_copy(model)
    probing.look(outcome.epochs[-1], copied, previous)
    outcome.probes, outcome.probe_seconds = probing.rows, probing.seconds
