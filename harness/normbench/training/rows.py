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

    Losses and logits are kept as they come and summed up now and then: a step pays for no
    metric, and is summed up in float64.
    """

    def __init__(
        self, members: int, batch_size: int, objective: Objective = CLASSIFICATION
    ) -> None:
        self.batch_size, self.steps, self.objective = batch_size, 0, objective
        self.loss = torch.zeros(members, dtype=torch.float64)
        self.correct = torch.zeros(members, dtype=torch.int64)
        self.grad_norms = [math.nan] * members
        self.update_norms = [math.nan] * members
        self._losses: list[Tensor] = []
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Keep a step's losses (members,), logits (members, batch, classes) and labels."""
        self._losses.append(losses)
        self._logits.append(logits)
        self._labels.append(labels)
        self.steps += 1
        kept = len(self._losses)
        if kept == _KEPT_STEPS or kept * logits.numel() > _KEPT_LOGITS:
            self.sum_up()

    def sum_up(self) -> None:
        """Add what is kept to the sums."""
        if self._losses:
            self.loss += torch.stack(self._losses).double().sum(0).cpu()
            outputs, labels = torch.cat(self._logits, dim=1), torch.cat(self._labels, dim=1)
            self.correct += self.objective.hits(outputs, labels).sum(1).cpu()
        self._losses, self._logits, self._labels = [], [], []

    def columns(self, member: int) -> dict[str, float]:
        """The columns of one run."""
        self.sum_up()
        return {
            "train_loss": float(self.loss[member]) / self.steps,
            "train_accuracy": int(self.correct[member]) / (self.steps * self.batch_size),
            "grad_norm": self.grad_norms[member],
            "update_norm": self.update_norms[member],
        }


def place_of(run: RunSpec, step: int, per_epoch: int, learning_rate: float) -> dict[str, Any]:
    """The columns that say where in a run a row stands."""
    return {
        "epoch": step / per_epoch,
        "step": step,
        "samples": step * run.cell.batch_size,
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
