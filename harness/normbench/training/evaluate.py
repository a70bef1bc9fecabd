"""Evaluation: the same weights with running, recomputed and batch statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normbench.norms.batch import BatchNorm, Mode
from normbench.training.data import EVALUATION_CHUNK, TRAIN_EVAL_ITEMS, Part, Prepared
from normbench.training.objective import CLASSIFICATION, Objective
from normbench.training.precision import FLOAT32, Precision, widened

EvaluationKind = Literal["running", "recomputed", "batch"]
#: The bytes of inputs that are looked up at once: large photos are stored as smaller numbers.
_INPUT_BYTES = 1 << 26


@dataclass(frozen=True)
class Score:
    """Mean loss and share of hits over a part, and which of its items were hits.

    In a classification a hit is an item in its class; of sequences with a label for each token, it
    is a token, and losses and shares are per token. See
    :class:`~normbench.training.objective.Objective`.
    """

    loss: float
    accuracy: float
    correct: NDArray[np.bool_]

    @property
    def finite(self) -> bool:
        """Whether the loss is a number."""
        return math.isfinite(self.loss)


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


class Evaluator(Protocol):
    """Computes the outputs of one or several members for samples that they share.

    Nothing of what is trained is changed, and members are read as they are at each call.
    """

    @property
    def batch_statistics(self) -> bool:
        """Whether results depend on which statistics are used: there are batch norms."""

    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Outputs (members, n, outputs) of samples (n, …) in evaluation mode.

        ``mode`` and ``batch`` say which statistics batch norms use, as in
        :class:`~normbench.norms.batch.BatchNorm`.
        """

    def recomputed(self, batches: Iterable[Tensor], batch: int) -> AbstractContextManager[None]:
        """Within this context, running statistics are replaced by recomputed ones.

        They are the population mean and variance of each layer's inputs over ``batches``, tensors
        (n, …) of whole batches of ``batch`` samples, each layer fed by layers that normalize with
        their own batch (Wu & Johnson 2021, arXiv:2105.07576). The running statistics return
        unchanged afterwards.
        """

    def release(self) -> None:
        """Give back the memory that samples were computed in."""


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """The layers of a model whose evaluation depends on which statistics are used."""
    return [m for m in model.modules() if isinstance(m, BatchNorm)]


@contextmanager
def evaluating(model: nn.Module, mode: Mode = "running", batch: int = 0) -> Iterator[None]:
    """Within this context a model is in evaluation mode, its batch norms as they are told."""
    was_training = model.training
    model.eval()
    layers = batch_norms(model)
    for layer in layers:
        layer.mode, layer.evaluation_batch = mode, batch
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer.mode, layer.evaluation_batch = "running", 0
        model.train(was_training)


class PlainEvaluator:
    """The :class:`Evaluator` of one plain module."""

    def __init__(self, model: nn.Module, precision: Precision = FLOAT32) -> None:
        self.model, self.layers = model, batch_norms(model)
        self.precision = precision

    @property
    def batch_statistics(self) -> bool:
        """See :class:`Evaluator`, as for the other methods."""
        return bool(self.layers)

    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Of the only member."""
        with evaluating(self.model, mode, batch), self.precision.autocast():
            return widened(self.model(x))[None]

    @contextmanager
    def recomputed(self, batches: Iterable[Tensor], batch: int) -> Iterator[None]:
        """The model's own statistics are replaced meanwhile."""
        for layer in self.layers:
            layer.start_collecting()
        for x in batches:
            self.logits(x, "collect", batch)
        kept = self.statistics()
        found = [layer.collected() for layer in self.layers]
        try:
            self._set(found)
            yield
        finally:
            self._set(kept)

    def statistics(self) -> list[tuple[Tensor, Tensor]]:
        """The running mean and variance of every batch norm, copied."""
        return [(layer.running_mean.clone(), layer.running_var.clone()) for layer in self.layers]

    @torch.no_grad()
    def _set(self, statistics: list[tuple[Tensor, Tensor]]) -> None:
        for layer, (mean, variance) in zip(self.layers, statistics, strict=True):
            layer.running_mean.copy_(mean)
            layer.running_var.copy_(variance)

    def release(self) -> None:
        """Nothing is kept."""


def chunk_of(data: Prepared, most: int = EVALUATION_CHUNK) -> int:
    """The items that are looked up at once: ``most``, or fewer where they are large."""
    return max(1, min(most, _INPUT_BYTES // (math.prod(data.shape) * data.train.dtype.itemsize)))


def scores(
    evaluator: Evaluator,
    part: Part,
    objective: Objective = CLASSIFICATION,
    *,
    batch: int = 0,
    chunk: int = EVALUATION_CHUNK,
) -> list[Score]:
    """Loss and accuracy of each member on a part, in evaluation mode.

    Batch norm uses its running statistics. With ``batch``, it uses those of each batch of so many
    consecutive items, as in training; the last one is filled up from the start of the part, and
    each item counts once.
    """
    items, mode = len(part), "batch" if batch else "running"
    if batch:
        part, chunk = part.whole_batches(batch), max(1, chunk // batch) * batch
    totals, hits, done = [], [], 0
    for x, y in part.chunks(chunk):
        outputs = evaluator.logits(x, mode, batch)  # type: ignore[arg-type]
        keep = min(len(y), items - done)
        outputs, y = outputs[:, :keep], y[:keep]
        totals.append(objective.totals(outputs, y).double().cpu())
        hits.append(objective.hits(outputs, y.expand(outputs.shape[:-1])).flatten(1).cpu())
        done += keep
    loss, correct = sum(totals, torch.zeros((), dtype=torch.float64)), torch.cat(hits, dim=1)
    labels = correct.shape[1]
    return [
        _score(float(total) / labels, found) for total, found in zip(loss, correct, strict=True)
    ]


def _score(loss: float, correct: Tensor) -> Score:
    hits = correct.numpy()
    # where the loss is no number, neither is a share of hits
    return Score(loss, float(hits.mean()) if math.isfinite(loss) else math.nan, hits)


def evaluate(
    evaluator: Evaluator, data: Prepared, batch: int, samples: int, chunk: int = EVALUATION_CHUNK,
    *, recomputed: bool = False,
) -> list[Evaluation]:  # fmt: skip
    """Evaluate each member in all the ways that it has; nothing of it is changed.

    ``batch`` is that of batch statistics, and recomputed ones rest on the first ``samples``
    training items. ``chunk`` items go through at once. With ``recomputed``, the members' running
    statistics are not those of their weights, and the recomputed ones stand for them.
    """
    parts, objective = {"validation": data.validation, "test": data.test}, data.objective
    found: dict[str, dict[EvaluationKind, list[Score]]] = {name: {} for name in parts}
    train: list[Score] = []

    def add(kind: EvaluationKind) -> None:
        for name, part in parts.items():
            found[name][kind] = scores(evaluator, part, objective, chunk=chunk)

    def add_train() -> None:
        part = data.train.first(TRAIN_EVAL_ITEMS)
        train.extend(scores(evaluator, part, objective, chunk=chunk))

    recomputed = recomputed and evaluator.batch_statistics
    if not recomputed:
        add("running")
        add_train()
    if evaluator.batch_statistics:
        for name, part in parts.items():
            found[name]["batch"] = scores(evaluator, part, objective, batch=batch, chunk=chunk)
        items = data.train.first(max(batch, samples // batch * batch)).whole_batches(batch)
        batches = (x for x, _ in items.chunks(max(1, chunk // batch) * batch))
        with evaluator.recomputed(batches, batch):
            add("recomputed")
            if recomputed:
                add_train()
    if recomputed:
        for kinds in found.values():
            kinds["running"] = kinds["recomputed"]
    evaluator.release()
    return [
        Evaluation(
            train[member],
            {kind: those[member] for kind, those in found["validation"].items()},
            {kind: those[member] for kind, those in found["test"].items()},
        )
        for member in range(len(train))
    ]
