"""Evaluation: the same weights with running, recomputed and batch statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from normbench.norms.batch import BatchNorm, Mode
from normbench.training.data import EVALUATION_CHUNK, TRAIN_EVAL_ITEMS, Part, Prepared
from normbench.training.objective import CLASSIFICATION, Objective

EvaluationKind = Literal["running", "recomputed", "batch"]


@dataclass(frozen=True)
class Score:
    """Mean loss and share of hits over a part, and which of its items were hits.

    In a classification a hit is an item in its class; see
    :class:`~normbench.training.objective.Objective`.
    """

    loss: float
    accuracy: float
    correct: NDArray[np.bool_]

    @property
    def finite(self) -> bool:
        """Whether the loss is a number."""
        return math.isfinite(self.loss)


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """The layers of a model whose evaluation depends on which statistics are used."""
    return [m for m in model.modules() if isinstance(m, BatchNorm)]


@contextmanager
def _evaluating(model: nn.Module, mode: Mode = "running", batch_size: int = 0) -> Iterator[None]:
    was_training = model.training
    model.eval()
    layers = batch_norms(model)
    for layer in layers:
        layer.mode, layer.evaluation_batch = mode, batch_size
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer.mode, layer.evaluation_batch = "running", 0
        model.train(was_training)


def _score(model: nn.Module, part: Part, chunk: int, items: int, objective: Objective) -> Score:
    loss = torch.zeros((), dtype=torch.float64)
    correct = []
    done = 0
    for x, y in part.chunks(chunk):
        logits = model(x)
        keep = min(len(y), items - done)
        logits, y = logits[:keep], y[:keep]
        loss += objective.total(logits, y).double().cpu()
        correct.append(objective.hits(logits, y).cpu())
        done += keep
    hits = torch.cat(correct).numpy()
    # where the loss is no number, neither is a share of hits
    accuracy = float(hits.mean()) if math.isfinite(float(loss)) else math.nan
    return Score(float(loss) / items, accuracy, hits)


def score(model: nn.Module, part: Part, objective: Objective = CLASSIFICATION) -> Score:
    """Loss and accuracy in evaluation mode; batch norm uses its running statistics."""
    with _evaluating(model):
        return _score(model, part, EVALUATION_CHUNK, len(part), objective)


def score_with_batch_statistics(
    model: nn.Module, part: Part, batch_size: int, objective: Objective = CLASSIFICATION
) -> Score:
    """Loss and accuracy where batch norm uses the statistics of each batch, as in training.

    The batches are ``batch_size`` consecutive items; the last one is filled up from the start
    of the part, and each item counts once.
    """
    chunk = max(1, EVALUATION_CHUNK // batch_size) * batch_size
    with _evaluating(model, "batch", batch_size):
        return _score(model, part.whole_batches(batch_size), chunk, len(part), objective)


@contextmanager
def recomputed_statistics(
    model: nn.Module, train: Part, batch_size: int, samples: int
) -> Iterator[None]:
    """Within this context, batch norm's running statistics are replaced by recomputed ones.

    They are the population mean and variance of each layer's inputs over the first ``samples``
    training items in batches of ``batch_size``, each layer fed by layers that normalize with
    their own batch (Wu & Johnson 2021, arXiv:2105.07576). The running statistics return
    unchanged afterwards.
    """
    layers = batch_norms(model)
    items = train.first(max(batch_size, samples // batch_size * batch_size))
    items = items.whole_batches(batch_size)
    chunk = max(1, EVALUATION_CHUNK // batch_size) * batch_size
    for layer in layers:
        layer.start_collecting()
    with _evaluating(model, "collect", batch_size):
        for x, _ in items.chunks(chunk):
            model(x)
    kept = [(layer.running_mean.clone(), layer.running_var.clone()) for layer in layers]
    try:
        with torch.no_grad():
            for layer in layers:
                mean, variance = layer.collected()
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)
        yield
    finally:
        with torch.no_grad():
            for layer, (mean, variance) in zip(layers, kept, strict=True):
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: on the training subset, and on validation and test by kind of statistics.

    Norms that do not depend on the batch have the kind ``running`` alone.
    """

    train: Score
    validation: dict[EvaluationKind, Score]
    test: dict[EvaluationKind, Score]

    @property
    def finite(self) -> bool:
        """Whether every loss is a number."""
        scores = [self.train, *self.validation.values(), *self.test.values()]
        return all(s.finite for s in scores)


def evaluate(model: nn.Module, data: Prepared, batch_size: int, samples: int) -> Evaluation:
    """Evaluate a model in all the ways that it has; nothing of the model is changed."""
    parts, objective = {"validation": data.validation, "test": data.test}, data.objective
    found: dict[str, dict[EvaluationKind, Score]] = {
        name: {"running": score(model, part, objective)} for name, part in parts.items()
    }
    train = score(model, data.train.first(TRAIN_EVAL_ITEMS), objective)
    if batch_norms(model):
        for name, part in parts.items():
            found[name]["batch"] = score_with_batch_statistics(model, part, batch_size, objective)
        with recomputed_statistics(model, data.train, batch_size, samples):
            for name, part in parts.items():
                found[name]["recomputed"] = score(model, part, objective)
    return Evaluation(train, found["validation"], found["test"])
