"""The packed engine: runs of a built-in net as one computation, with hand-written passes.

See :mod:`normbench.models.packed`. Each run keeps its own data order, dropout masks, gradient
clipping, divergence and metrics: what one does never reaches another.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from normbench.catalog import OPTIMIZERS
from normbench.models.describe import Network, network
from normbench.models.make import is_own
from normbench.models.packed.choose import memory, pack
from normbench.models.packed.choose import variants as packed_variants
from normbench.models.packed.graph import UnsupportedError
from normbench.models.plain import Net, build, initialise
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.augment import Batches
from normbench.training.averaging import Average
from normbench.training.budget import LearningRates, schedule_of
from normbench.training.data import Prepared
from normbench.training.engine import Step, clip_factor, in_batches, onednn
from normbench.training.evaluate import Evaluation, chunk_of, evaluate
from normbench.training.optimizers import Optimizer


class PackedEngine:
    """The stacked parameters, optimizer state and learning rates of a group, and its step."""

    @torch.no_grad()
    def __init__(
        self,
        runs: Sequence[RunSpec],
        data: Prepared,
        device: str = "cpu",
        variant: str = "",
    ) -> None:
        cell, dtype = runs[0].cell, data.train.dtype
        self.runs, self.cell, self.data, self.members = runs, cell, data, len(runs)
        self.schedule = schedule_of(runs[0], len(data.train))
        described = _described(cell, data)
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
        self.parameters = sum(p.numel() for p in plain.parameters())
        self.buffers = sum(b.numel() for b in plain.buffers())
        steps = self.schedule.steps
        self.rates: Sequence[LearningRates] = [LearningRates(run.cell, steps) for run in runs]
        self.one_rate = len({rates.base for rates in self.rates}) == 1
        front = self.packed.decayed
        self._gradients = [self.packed.flat_gradient[:front], self.packed.flat_gradient[front:]]
        choice, rate = cell.optimizer, self.rates[0].at(0)
        self.optimizer: Optimizer = OPTIMIZERS[choice.name].load()(
            [self.packed.flat[:front], self.packed.flat[front:]],
            rate,
            decayed=[True, False],
            **choice.params,
        )
        self.batches = Batches(runs, data, self.schedule)
        as_they_are = data.train.rows is None and self.batches.plain
        self._resident = self.packed.resident(data.train.x) if as_they_are else None
        self.chunk = chunk_of(data)
        self.evaluator = self.packed.evaluator(self.chunk)
        self.batch_statistics = self.evaluator.batch_statistics
        self._copy: Net | None = None
        self.average = Average(cell, [self.packed.flat], self.packed.statistics)
        self._step, self._sum = 0, torch.empty(0)

    @property
    def skipped(self) -> None:
        """Nothing: all of it is computed in float32."""
        return

    def session(self) -> AbstractContextManager[None]:
        """See :class:`~normbench.training.engine.Engine`, as for the other methods."""
        return onednn(True)

    def begin(self, step: int) -> None:
        """Norms may change."""
        self._step = step
        self.batches.begin(step)
        self._tell(0)

    def _tell(self, number: int) -> None:
        """Tell norms which batch of the step is next."""
        k = self.cell.accumulate
        self.packed.set_step(self._step * k + number, self.schedule.steps * k)

    @torch.no_grad()
    def gradients(self, index: Tensor, *, alone: bool = True) -> Step:
        """The gradients then lie in the packed net, in any case ``alone``."""
        del alone
        found = in_batches(self.cell, index, self._batch)
        if self.cell.accumulate > 1:
            torch.div(self._sum, self.cell.accumulate, out=self.packed.flat_gradient)
        return found

    def _batch(self, index: Tensor, number: int) -> Step:
        """One batch; of several of a step, the gradients are added up besides."""
        self._tell(number)
        flat = index.reshape(-1)
        labels = self.data.train.y[flat].view(self.members, -1)
        if self._resident is not None:
            losses, logits = self.packed.train_items(self._resident, flat, labels)
        else:
            inputs = self.packed.arrange(self.batches.inputs(index))
            losses, logits = self.packed.train_batch(inputs, labels)
        if self.cell.accumulate > 1:
            gradient = self.packed.flat_gradient
            self._sum = self._sum.add_(gradient) if number else gradient.clone()
        return losses, logits, labels

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Clip, and take the optimizer's step with one rate or one for each member."""
        self._update(step)
        self.average.update()

    def _update(self, step: int) -> None:
        flat, gradient = self.packed.flat, self.packed.flat_gradient
        if self.cell.clip_norm is not None:
            factors = clip_factor(self.packed.member_norms(gradient), self.cell.clip_norm)
            gradient.mul_(self.packed.per_member(factors))
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

    def weight_norms(self) -> list[float]:
        """Of each member."""
        return self._norms(self.packed.flat)

    def gradient_norms(self) -> list[float]:
        """Of each member; the gradients must lie alone."""
        return self._norms(self.packed.flat_gradient)

    def snapshot(self) -> Tensor:
        """A copy of the flat tensor."""
        return self.packed.flat.clone()

    def change_norms(self, before: Tensor) -> list[float]:
        """Of each member."""
        return self._norms(self.packed.flat - before)

    def _norms(self, flat: Tensor) -> list[float]:
        found: list[float] = self.packed.member_norms(flat).tolist()
        return found

    def values(self, member: int, before: Tensor) -> dict[str, Tensor]:
        """Copies, in the plain module's shapes."""
        return self.packed.plain_values(member, self._plain(), before)

    @torch.no_grad()
    def evaluate(self) -> list[Evaluation]:
        """All members see the same items, which the net may divide further."""
        cell = self.cell
        with self.average.shown():
            return evaluate(
                self.evaluator, self.data, cell.statistics_batch, cell.statistics_samples,
                self.chunk, recomputed=self.average.recomputed,
            )  # fmt: skip

    def export(self, member: int) -> nn.Module:
        """A member in the one module that this engine keeps for it."""
        self.packed.store(member, self._plain())
        return self._plain()

    def _plain(self) -> Net:
        if self._copy is None:
            self._copy = build(self.described, self.device).to(self.packed.dtype)
        return self._copy


def _described(cell: Cell, data: Prepared) -> Network:
    """The layers of a cell's network; a network of the user's own is no list of them."""
    if is_own(cell):
        raise UnsupportedError("a network of the user's own has no packed form")
    return network(cell, data.shape, data.classes)


def variants(cell: Cell, data: Prepared, device: str) -> list[str]:
    """The packed formulations worth trying for a cell, the most promising first.

    Raises :class:`~normbench.models.packed.net.UnsupportedError` where there is none.
    """
    described = _described(cell, data)
    pack(described, 1, task=data.task)
    return packed_variants(described, device)


def memory_of(cell: Cell, data: Prepared, members: int) -> int:
    """The bytes that ``members`` runs of a cell take together, roughly."""
    return memory(_described(cell, data), members)
