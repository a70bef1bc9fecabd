"""The plain loop: one run, one step after the other, as anyone would write it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from normbench.catalog import OPTIMIZERS, SCHEDULES
from normbench.models.describe import network
from normbench.models.plain import build, initialise
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.data import Prepared, check_batch_size, epoch_order
from normbench.training.evaluate import (
    Evaluation,
    EvaluationKind,
    Score,
    batch_norms,
    evaluate,
)
from normbench.training.optimizers import decay_mask

#: Evaluations of a run whose budget is in steps or samples, unless the protocol says otherwise.
DEFAULT_EVALUATIONS = 10


@dataclass
class Outcome:
    """What a run gave: how it ended, a row per evaluation, and the last finite predictions.

    ``predictions`` maps an evaluation kind to one bit per test item, in the split's order.
    """

    status: str = "finished"
    error: str | None = None
    steps: int = 0
    samples: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predictions: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    classes: int = 0
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
    evaluations = cell.evaluations
    if evaluations is None:
        evaluations = DEFAULT_EVALUATIONS
        if cell.epochs is not None:
            evaluations = cell.epochs * cell.evaluations_per_epoch
    return Schedule(per_epoch, cell.budget_in_steps(per_epoch), evaluations)


class LearningRates:
    """The learning rate of each step of a run: scaled to the batch size, times the schedule's."""

    def __init__(self, cell: Cell, steps: int) -> None:
        self.base, self.steps = cell.scaled_learning_rate(), steps
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


@dataclass
class _Interval:
    """What the training batches since the last evaluation gave.

    Losses and logits are kept as they come and summed up now and then: a step pays for no
    metric, and is summed up in float64.
    """

    losses: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    labels: list[Tensor] = field(default_factory=list)
    loss: float = 0.0
    correct: int = 0
    steps: int = 0
    grad_norm: float = math.nan
    update_norm: float = math.nan

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Keep a batch's loss () and logits (batch, classes)."""
        self.losses.append(loss.detach())
        self.logits.append(logits.detach())
        self.labels.append(labels)
        self.steps += 1
        if len(self.losses) == 256:
            self.sum_up()

    def sum_up(self) -> None:
        """Add what is kept to the sums."""
        if self.losses:
            self.loss += float(torch.stack(self.losses).double().sum())
            predicted = torch.cat(self.logits).argmax(1)
            self.correct += int((predicted == torch.cat(self.labels)).sum())
        self.losses, self.logits, self.labels = [], [], []


def _row(
    interval: _Interval | None,
    run: RunSpec,
    step: int,
    per_epoch: int,
    weight_norm: float,
    learning_rate: float,
) -> dict[str, Any]:
    """The columns of an evaluation row that come from training."""
    batch = run.cell.batch_size
    row: dict[str, Any] = {
        "epoch": step / per_epoch,
        "step": step,
        "samples": step * batch,
        "learning_rate": learning_rate,
        "weight_norm": weight_norm,
    }
    if interval is not None:
        interval.sum_up()
        row["train_loss"] = interval.loss / interval.steps
        row["train_accuracy"] = interval.correct / (interval.steps * batch)
        row["grad_norm"] = interval.grad_norm
        row["update_norm"] = interval.update_norm
    return row


def _score_columns(evaluation: Evaluation) -> dict[str, float]:
    columns = {
        "train_eval_loss": evaluation.train.loss,
        "train_eval_accuracy": evaluation.train.accuracy,
    }
    for part, scores in (("val", evaluation.validation), ("test", evaluation.test)):
        for kind, score in scores.items():
            prefix = part if kind == "running" else f"{part}_{kind}"
            columns[f"{prefix}_loss"] = score.loss
            columns[f"{prefix}_accuracy"] = score.accuracy
    return columns


def _no_scores(model: nn.Module) -> dict[str, float]:
    """NaN in every column that an evaluation of this model would fill."""
    kinds: list[EvaluationKind] = ["running"]
    if batch_norms(model):
        kinds += ["batch", "recomputed"]
    nothing = Score(math.nan, math.nan, np.zeros(0, dtype=np.bool_))
    by_kind = dict.fromkeys(kinds, nothing)
    return _score_columns(Evaluation(nothing, by_kind, by_kind))


def train(run: RunSpec, data: Prepared, device: str = "cpu") -> Outcome:
    """Train one run and evaluate it before training and after every interval.

    A non-finite training loss, norm of the parameters or evaluation loss ends the run as
    ``diverged``; its rows up to then are kept, and the row in which it was found holds NaN
    where there is no number. Its predictions are those of the last evaluation before that.
    Raises nothing for divergence; errors of the environment pass through.
    """
    cell = run.cell
    model = build(network(cell, data.shape, data.classes), device)
    initialise(model, run.seed, cell.init)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = OPTIMIZERS[cell.optimizer.name].load()(
        parameters,
        cell.scaled_learning_rate(),
        decayed=decay_mask(model),
        **cell.optimizer.params,
    )
    schedule = schedule_of(run, len(data.train))
    choose_convolutions(cell.batch_size, data.shape)
    outcome = Outcome(
        classes=data.classes,
        parameters=sum(p.numel() for p in parameters),
        buffers=sum(b.numel() for b in model.buffers()),
    )
    stops = set(schedule.evaluation_steps())
    rates = LearningRates(cell, schedule.steps)
    first = rates.at(0)
    if not _evaluate_into(outcome, model, run, data, None, schedule, parameters, first):
        return outcome
    interval = _Interval()
    order = torch.empty(0)
    started = time.perf_counter()
    for step in range(schedule.steps):
        epoch, i = divmod(step, schedule.steps_per_epoch)
        if i == 0:
            order = epoch_order(run.seed, epoch, len(data.train)).to(device)
        index = order[i * cell.batch_size : (i + 1) * cell.batch_size]
        y = data.train.y[index]
        logits = model(data.train.inputs(index))
        loss = functional.cross_entropy(logits, y)
        gradients = torch.autograd.grad(loss, parameters)
        outcome.steps += 1
        is_stop = outcome.steps in stops
        before = [p.detach().clone() for p in parameters] if is_stop else []
        optimizer.learning_rate = rates.at(step)
        optimizer.step(gradients)
        interval.add(loss, logits, y)
        if not is_stop:
            continue
        interval.grad_norm = global_norm(list(gradients))
        interval.update_norm = global_norm(
            [p.detach() - b for p, b in zip(parameters, before, strict=True)]
        )
        outcome.samples = outcome.steps * cell.batch_size
        spent = time.perf_counter() - started
        outcome.train_seconds += spent
        ok = _evaluate_into(
            outcome, model, run, data, interval, schedule, parameters, rates.at(step), spent
        )
        if not ok:
            return outcome
        interval = _Interval()
        started = time.perf_counter()
    return outcome


def _evaluate_into(
    outcome: Outcome,
    model: nn.Module,
    run: RunSpec,
    data: Prepared,
    interval: _Interval | None,
    schedule: Schedule,
    parameters: list[nn.Parameter],
    learning_rate: float,
    train_seconds: float = 0.0,
) -> bool:
    """Add an evaluation row to the outcome; False if the run has diverged."""
    started = time.perf_counter()
    weight_norm = global_norm([p.detach() for p in parameters])
    row = _row(interval, run, outcome.steps, schedule.steps_per_epoch, weight_norm, learning_rate)
    trained = all(math.isfinite(v) for k, v in row.items() if k in ("train_loss", "weight_norm"))
    evaluation = None
    if trained:
        evaluation = evaluate(model, data, run.cell.statistics_batch, run.cell.statistics_samples)
        row |= _score_columns(evaluation)
    else:
        row |= _no_scores(model)
    row["train_seconds"] = train_seconds
    row["eval_seconds"] = time.perf_counter() - started
    outcome.eval_seconds += row["eval_seconds"]
    outcome.epochs.append(row)
    if evaluation is None or not evaluation.finite:
        outcome.status = "diverged"
        return False
    outcome.predictions = {kind: s.correct for kind, s in evaluation.test.items()}
    return True
