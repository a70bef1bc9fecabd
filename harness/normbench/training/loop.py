"""The training loop: the same for every engine, whatever it computes and however many runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normbench.training.data import epoch_order
from normbench.training.engine import Engine
from normbench.training.probing import ProbeError, Probing
from normbench.training.rows import Interval, is_finite, no_scores, place_of, score_columns


@dataclass
class Outcome:
    """What a run gave: how it ended, a row per evaluation, and the last finite predictions.

    ``predictions`` maps an evaluation kind to one bit per test item, in the split's order.
    ``probes`` are the rows that probes gave; the time that they took, None without any, is in
    ``seconds`` but in no other part of it. Seconds of runs that are trained as one computation are
    amortised: the group's, divided by its runs.
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
    #: Updates that were skipped since float16 gradients overflowed; None in other precisions.
    skipped_updates: int | None = None


def train(engine: Engine) -> list[Outcome]:
    """Train an engine's runs, and evaluate them before training and after every interval.

    An outcome for each, in their order. A non-finite training loss, norm of the parameters or
    evaluation loss ends a run as ``diverged``; its rows up to then are kept, and the row in which
    it was found holds NaN where there is no number. Its predictions are those of the last
    evaluation before that, and so are its last probes. One whose probe fails has ``failed``.
    Neither stops or changes the others. Whatever else is raised is about all runs of the engine,
    and passes through.
    """
    began = time.perf_counter()
    with engine.session():
        log = _Log(engine)
        _train(engine, log)
    seconds = (time.perf_counter() - began) / len(engine.runs)
    for outcome in log.outcomes:
        outcome.seconds = seconds
    return log.outcomes


def _train(engine: Engine, log: _Log) -> None:
    schedule, items = engine.schedule, len(engine.data.train)
    items_per_step = engine.runs[0].cell.samples_per_step
    stops = set(schedule.evaluation_steps())
    log.add(0, None, 0.0, None)
    if not any(log.alive):
        return
    interval = Interval(len(engine.runs), items_per_step, engine.data.objective)
    orders = torch.empty(0)
    started = time.perf_counter()
    for step in range(schedule.steps):
        epoch, i = divmod(step, schedule.steps_per_epoch)
        if i == 0:
            drawn = [epoch_order(run.seed, epoch, items) for run in engine.runs]
            orders = torch.stack(drawn).to(engine.device)
        is_stop = step + 1 in stops
        engine.begin(step)
        own = orders[:, i * items_per_step : (i + 1) * items_per_step]
        found = engine.gradients(own, alone=is_stop)
        interval.add(*found)
        if not is_stop:
            engine.update(step)
            continue
        interval.grad_norms = engine.gradient_norms()
        before = engine.snapshot()
        engine.update(step)
        interval.update_norms = engine.change_norms(before)
        log.add(step + 1, interval, time.perf_counter() - started, before)
        if not any(log.alive):
            return
        interval.restart()
        started = time.perf_counter()


class _Log:
    """The outcomes of an engine's runs, filled evaluation by evaluation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.alive = [True] * len(engine.runs)
        self.probing = [Probing(run, engine.data) for run in engine.runs]
        self.outcomes = [
            Outcome(
                classes=engine.data.classes,
                label_variance=engine.data.label_variance,
                parameters=engine.parameters,
                buffers=engine.buffers,
            )
            for _ in engine.runs
        ]

    def add(self, step: int, interval: Interval | None, train_seconds: float, before: Any) -> None:
        """Evaluate all runs, add a row to those that have not diverged, and probe them.

        ``before`` is a snapshot from before the last step.
        """
        started = time.perf_counter()
        engine, count = self.engine, len(self.engine.runs)
        norms = engine.weight_norms()
        rows: dict[int, dict[str, Any]] = {}
        for member, run in enumerate(engine.runs):
            if not self.alive[member]:
                continue
            rate = engine.rates[member].at(max(0, step - 1))
            rows[member] = place_of(run, step, engine.schedule.steps_per_epoch, rate)
            rows[member]["weight_norm"] = norms[member]
            if interval is not None:
                rows[member] |= interval.columns(member)
        scored = {member for member, row in rows.items() if is_finite(row)}
        evaluations = engine.evaluate() if scored else []
        spent = (time.perf_counter() - started) / count
        for member, row in rows.items():
            outcome = self.outcomes[member]
            evaluation = evaluations[member] if member in scored else None
            if evaluation is None:
                row |= no_scores(engine.batch_statistics)
            else:
                row |= score_columns(evaluation)
            row |= {"train_seconds": train_seconds / count, "eval_seconds": spent}
            outcome.steps, outcome.samples = step, step * engine.runs[0].cell.samples_per_step
            outcome.train_seconds += row["train_seconds"]
            outcome.eval_seconds += spent
            outcome.epochs.append(row)
            if engine.skipped is not None:
                outcome.skipped_updates = engine.skipped[member]
            if evaluation is None or not evaluation.finite:
                outcome.status, self.alive[member] = "diverged", False
            else:
                outcome.predictions = {kind: s.correct for kind, s in evaluation.test.items()}
        self._probe(before)

    def _probe(self, before: Any) -> None:
        """Let the probes look at the runs that live; one whose probe fails has failed alone."""
        for member, (outcome, probing) in enumerate(zip(self.outcomes, self.probing, strict=True)):
            if not (self.alive[member] and probing.probes):
                continue
            previous = None if before is None else self.engine.values(member, before)
            try:
                probing.look(outcome.epochs[-1], self.engine.export(member), previous)
            except ProbeError as error:
                outcome.status, self.alive[member] = "failed", False
                outcome.error = f"{type(error).__name__}: {error}"[:2000]
            outcome.probes, outcome.probe_seconds = probing.rows, probing.seconds
