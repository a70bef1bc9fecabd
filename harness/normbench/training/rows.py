"""The columns of an evaluation row, for one run or for several that are trained together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from normbench.plan.spec import RunSpec
from normbench.training.evaluate import Evaluation, EvaluationKind, Score
from normbench.training.objective import CLASSIFICATION, Objective

#: Steps whose losses and logits are kept before they are summed up.
_KEPT_STEPS = 256
#: Logits that are kept at most.
_KEPT_LOGITS = 1 << 22


class Interval:
    """What the training batches since the last evaluation gave, for each of ``members`` runs.

    A step has ``samples`` of them. Losses and logits are copied as they come and summed up now and
    then: a step pays for no metric, and is summed up in float64. They go to memory of their own: a
    step's tensors that were kept would lie between those of the next ones and push these to ever
    other places. In a process that gives freed memory back to the system, a step of the digits CNN
    took 1.1 times as long.
    """

    def __init__(self, members: int, samples: int, objective: Objective = CLASSIFICATION) -> None:
        self.samples, self.steps, self.objective = samples, 0, objective
        self.loss = torch.zeros(members, dtype=torch.float64)
        self.correct = torch.zeros(members, dtype=torch.int64)
        self.grad_norms = [math.nan] * members
        self.update_norms = [math.nan] * members
        #: The memory for several steps' losses, logits and labels, and that of each step.
        self._kept: tuple[Tensor, ...] = ()
        self._places: list[tuple[Tensor, ...]] = []
        self._filled, self.labels_per_sample = 0, 1

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Keep a step's losses (members,), logits (members, samples, classes) and labels."""
        given = losses, logits, labels
        if not self._kept:
            self.labels_per_sample = labels[0, 0].numel()
            room = max(1, min(_KEPT_STEPS, _KEPT_LOGITS // max(1, logits.numel())))
            self._kept = tuple(one.new_empty(room, *one.shape) for one in given)
            self._places = list(zip(*(kept.unbind() for kept in self._kept), strict=True))
        for place, one in zip(self._places[self._filled], given, strict=True):
            place.copy_(one)
        self.steps += 1
        self._filled += 1
        if self._filled == len(self._places):
            self.sum_up()

    def restart(self) -> None:
        """Begin anew, after an evaluation."""
        self.steps, self._filled = 0, 0
        self.loss.zero_()
        self.correct.zero_()
        self.grad_norms = [math.nan] * len(self.loss)
        self.update_norms = [math.nan] * len(self.loss)

    def sum_up(self) -> None:
        """Add what is kept to the sums."""
        if self._filled:
            losses, outputs, labels = (kept[: self._filled] for kept in self._kept)
            self.loss += losses.double().sum(0).cpu()
            hits = self.objective.hits(outputs, labels)
            self.correct += hits.transpose(0, 1).flatten(1).sum(1).cpu()
        self._filled = 0

    def columns(self, member: int) -> dict[str, float]:
        """The columns of one run."""
        self.sum_up()
        return {
            "train_loss": float(self.loss[member]) / self.steps,
            "train_accuracy": int(self.correct[member])
            / (self.steps * self.samples * self.labels_per_sample),
            "grad_norm": self.grad_norms[member],
            "update_norm": self.update_norms[member],
        }


def place_of(run: RunSpec, step: int, per_epoch: int, learning_rate: float) -> dict[str, Any]:
    """The columns that say where in a run a row stands."""
    return {
        "epoch": step / per_epoch,
        "step": step,
        "samples": step * run.cell.samples_per_step,
        "learning_rate": learning_rate,
    }


def is_finite(row: Mapping[str, Any]) -> bool:
    """Whether training has given numbers so far."""
    return all(math.isfinite(row[key]) for key in ("train_loss", "weight_norm") if key in row)


def score_columns(evaluation: Evaluation) -> dict[str, float]:
    """The columns of an evaluation."""
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


def no_scores(with_batch_norm: bool) -> dict[str, float]:
    """NaN in every column that an evaluation of such a model would fill."""
    kinds: list[EvaluationKind] = ["running"]
    if with_batch_norm:
        kinds += ["batch", "recomputed"]
    nothing = Score(math.nan, math.nan, np.zeros(0, dtype=np.bool_))
    by_kind = dict.fromkeys(kinds, nothing)
    return score_columns(Evaluation(nothing, by_kind, by_kind))
