"""Evaluation of runs that are trained together: the same quantities as for one run."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from normbench.models.packed.choose import AnyPackedNet
from normbench.norms.batch import Mode
from normbench.training.data import EVALUATION_CHUNK, TRAIN_EVAL_ITEMS, Part, Prepared
from normbench.training.evaluate import Evaluation, EvaluationKind, Score

#: The bytes of inputs that are looked up at once: large photos are stored as smaller numbers.
_INPUT_BYTES = 1 << 26


class PackedEvaluation:
    """Evaluates all members of a packed net on the parts of a data set.

    Every member sees the same items, ``chunk`` at a time, which the net may divide further. Nothing
    of the net is changed.
    """

    def __init__(self, packed: AnyPackedNet, data: Prepared, chunk: int = EVALUATION_CHUNK) -> None:
        self.packed, self.data = packed, data
        of_an_item = math.prod(data.shape) * data.train.dtype.itemsize
        self.chunk = max(1, min(chunk, _INPUT_BYTES // of_an_item))
        self.evaluator = packed.evaluator(self.chunk)
        self.batch_statistics = self.evaluator.batch_statistics

    def evaluate(self, batch_size: int, samples: int) -> list[Evaluation]:
        """One evaluation for each member; see :func:`normbench.training.evaluate.evaluate`."""
        parts = {"validation": self.data.validation, "test": self.data.test}
        found: dict[str, dict[EvaluationKind, list[Score]]] = {
            name: {"running": self._scores(part)} for name, part in parts.items()
        }
        train = self._scores(self.data.train.first(TRAIN_EVAL_ITEMS))
        if self.batch_statistics:
            whole = max(1, self.chunk // batch_size) * batch_size
            for name, part in parts.items():
                filled = part.whole_batches(batch_size)
                found[name]["batch"] = self._scores(filled, len(part), "batch", batch_size, whole)
            with self._recomputed(batch_size, samples, whole):
                for name, part in parts.items():
                    found[name]["recomputed"] = self._scores(part)
        self.evaluator.release()
        return [
            Evaluation(
                train[member],
                {kind: scores[member] for kind, scores in found["validation"].items()},
                {kind: scores[member] for kind, scores in found["test"].items()},
            )
            for member in range(self.packed.members)
        ]

    def _recomputed(
        self, batch_size: int, samples: int, chunk: int
    ) -> AbstractContextManager[None]:
        train = self.data.train
        items = train.first(max(batch_size, samples // batch_size * batch_size))
        items = items.whole_batches(batch_size)
        return self.evaluator.recomputed((x for x, _ in items.chunks(chunk)), batch_size)

    def _scores(
        self,
        part: Part,
        items: int | None = None,
        mode: Mode = "running",
        batch_size: int = 0,
        chunk: int = 0,
    ) -> list[Score]:
        """Loss and accuracy of each member over the first ``items`` of a part."""
        count, objective = len(part) if items is None else items, self.data.objective
        loss = torch.zeros(self.packed.members, dtype=torch.float64)
        hits: list[Tensor] = []
        done = 0
        for x, y in part.chunks(chunk or self.chunk):
            logits = self.evaluator.logits(x, mode, batch_size)
            keep = min(len(y), count - done)
            logits, y = logits[:, :keep], y[:keep]
            labels = y.expand(self.packed.members, -1)
            loss += objective.each(logits, labels).sum(1).double().cpu()
            hits.append(objective.hits(logits, labels).cpu())
            done += keep
        correct = torch.cat(hits, dim=1)
        shares = correct.double().mean(1)
        return [
            Score(
                float(loss[member]) / count,
                # where the loss is no number, neither is a share of hits
                float(shares[member]) if math.isfinite(float(loss[member])) else math.nan,
                correct[member].numpy(),
            )
            for member in range(self.packed.members)
        ]
