"""The stacked engine: runs of any network as one computation, made of its module by torch.

The members' parameters and buffers are stacked along a leading axis, the module becomes a function
of them (``torch.func.functional_call``), and ``torch.vmap`` maps it over the members. Gradients
are torch's own. A module that cannot be mapped raises, in :meth:`StackedEngine.gradients` at the
latest; whether the numbers are right is for :mod:`normbench.calibration.trial` to find out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call

from normbench.catalog import OPTIMIZERS
from normbench.models.describe import network
from normbench.models.plain import StreamDropout, build, initialise
from normbench.norms.batch import Mode
from normbench.norms.schedule import scheduled, set_step
from normbench.plan.spec import RunSpec
from normbench.training.budget import LearningRates, schedule_of
from normbench.training.curvature import rate_unit
from normbench.training.data import Prepared
from normbench.training.engine import clip_factor, onednn
from normbench.training.evaluate import Evaluation, batch_norms, chunk_of, evaluate, evaluating
from normbench.training.optimizers import Optimizer, decay_mask

#: Values of a sample that are evaluated at once, over all members, roughly; and samples at least.
_EVALUATED, _LEAST_EVALUATED = 1 << 18, 16

State = dict[str, Tensor]


class _Function:
    """A module as a function of stacked parameters and buffers, mapped over the members."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.dropouts = [m for m in module.modules() if isinstance(m, StreamDropout) and m.p > 0]

    def __call__(
        self, parameters: State, buffers: State, x: Tensor, draws: Sequence[Tensor] = (),
        *, shared: bool = False,
    ) -> Tensor:  # fmt: skip
        """Outputs (members, n, outputs) of inputs (members, n, …), or shared ones (n, …).

        Buffers may change in place. ``draws`` has the numbers of each layer with dropout,
        (members, n, …).
        """
        mapped = torch.vmap(self._one, (0, 0, None if shared else 0, 0), randomness="error")
        with warnings.catch_warnings():
            # that an operation is mapped member by member: how fast it is will be measured
            warnings.filterwarnings("ignore", "There is a performance drop")
            found: Tensor = mapped(parameters, buffers, x, list(draws))
        return found

    def _one(self, parameters: State, buffers: State, x: Tensor, draws: list[Tensor]) -> Tensor:
        for dropout, own in zip(self.dropouts, draws, strict=False):
            dropout.draws = own
        try:
            found: Tensor = functional_call(self.module, (parameters, buffers), (x,))
            return found
        finally:
            for dropout in self.dropouts:
                dropout.draws = None

    def shapes(self, x: Tensor) -> list[tuple[int, ...]]:
        """The shapes of what each dropout sees of a batch ``x``; the module is as it was."""
        seen: dict[int, tuple[int, ...]] = {}

        def note(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            seen[id(module)] = tuple(given[0].shape)

        hooks = [dropout.register_forward_pre_hook(note) for dropout in self.dropouts]
        with evaluating(self.module):
            self.module(x)
        for hook in hooks:
            hook.remove()
        return [seen[id(dropout)] for dropout in self.dropouts]


class StackedEngine:
    """The stacked parameters, buffers and optimizer state of a group of runs, and its step.

    The module holds the values of the member that was exported last; only its structure counts.
    """

    def __init__(self, runs: Sequence[RunSpec], data: Prepared, device: str = "cpu") -> None:
        cell = runs[0].cell
        self.runs, self.cell, self.data, self.device = runs, cell, data, device
        self.schedule = schedule_of(runs[0], len(data.train))
        self.module = build(network(cell, data.shape, data.classes), device).to(data.train.dtype)
        self.function = _Function(self.module)
        self.scheduled = scheduled(self.module)
        members: list[State] = []
        for run in runs:
            if not members or run.seed != runs[len(members) - 1].seed:
                initialise(self.module, run.seed, cell.init)
            members.append({n: t.detach().clone() for n, t in self._tensors()})
        stacked = {name: torch.stack([one[name] for one in members]) for name in members[0]}
        trained = [n for n, p in self.module.named_parameters() if p.requires_grad]
        self.trained = {name: stacked.pop(name).requires_grad_() for name in trained}
        frozen = dict(self.module.named_parameters()).keys() & stacked.keys()
        self.fixed = {name: stacked.pop(name) for name in frozen}
        self.kept = stacked
        self.parameters = sum(t[0].numel() for t in self.trained.values())
        self.buffers = sum(t[0].numel() for t in self.kept.values())
        unit = rate_unit(cell, data)
        self.rates: Sequence[LearningRates] = [
            LearningRates(run.cell, self.schedule.steps, unit) for run in runs
        ]
        self.one_rate = len({rates.base for rates in self.rates}) == 1
        self.optimizer: Optimizer = OPTIMIZERS[cell.optimizer.name].load()(
            [t.detach() for t in self.trained.values()],
            self.rates[0].at(0),
            decayed=decay_mask(self.module),
            **cell.optimizer.params,
        )
        self.evaluator = _Evaluator(self)
        self.batch_statistics = self.evaluator.batch_statistics
        self._streams = [self._streams_of(run.seed) for run in runs]
        self._shapes = self._shapes_of_draws()
        self._gradients: Sequence[Tensor] = ()

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.module.named_parameters()
        yield from self.module.named_buffers()

    def _streams_of(self, seed: int) -> list[torch.Generator]:
        """A run's generators of dropout masks: those that its plain module would have."""
        found = []
        for dropout in self.function.dropouts:
            dropout.seed(seed, torch.device("cpu"))
            assert dropout.generator is not None  # noqa: S101  (it was just seeded)
            found.append(dropout.generator)
            dropout.generator = None
        return found

    def _shapes_of_draws(self) -> list[tuple[int, ...]]:
        if not self.function.dropouts:
            return []
        items = torch.arange(self.cell.batch_size, device=self.device)
        return self.function.shapes(self.data.train.inputs(items))

    def _draws(self) -> list[Tensor]:
        """This step's numbers for each layer with dropout."""
        drawn = [
            torch.stack([torch.rand(shape, generator=own[i]) for own in self._streams])
            for i, shape in enumerate(self._shapes)
        ]
        return [draws.to(self.device) for draws in drawn]

    def session(self) -> AbstractContextManager[None]:
        """See :class:`~normbench.training.engine.Engine`, as for the other methods."""
        return onednn(True)

    def begin(self, step: int) -> None:
        """The module's norms are those of all members."""
        set_step(self.scheduled, step, self.schedule.steps)

    def gradients(self, index: Tensor, *, alone: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """The members' losses are summed up, never averaged: each has its own gradients."""
        del alone
        flat = index.reshape(-1)
        labels = self.data.train.y[flat].view(index.shape)
        x = self.data.train.inputs(flat)
        x = x.view(*index.shape, *x.shape[1:])
        with torch.enable_grad():
            outputs = self.function(self.trained | self.fixed, self.kept, x, self._draws())
            losses = self.data.objective.each(outputs, labels).mean(1)
            self._gradients = torch.autograd.grad(losses.sum(), list(self.trained.values()))
        return losses.detach(), outputs.detach(), labels

    @torch.no_grad()
    def update(self, step: int) -> None:
        """One optimizer for all members, since its arithmetic is that of each number by itself."""
        gradients: Sequence[Tensor] = self._gradients
        if self.cell.clip_norm is not None:
            factors = clip_factor(_norms(gradients), self.cell.clip_norm)
            gradients = [g * _per_member(factors, g) for g in gradients]
        if self.one_rate:
            self.optimizer.learning_rate = self.rates[0].at(step)
            self.optimizer.step(gradients)
            return
        # every optimizer's step is proportional to the rate: take it at rate 1 and scale it
        before = self.snapshot()
        self.optimizer.learning_rate = 1.0
        self.optimizer.step(gradients)
        rates = torch.tensor(
            [rates.at(step) for rates in self.rates],
            dtype=before[0].dtype, device=before[0].device,
        )  # fmt: skip
        for now, then in zip(self.trained.values(), before, strict=True):
            now.sub_(then).mul_(_per_member(rates, now)).add_(then)

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""
        self.begin(step)
        self.gradients(index, alone=False)
        self.update(step)

    def weight_norms(self) -> list[float]:
        """Of each member."""
        return _listed(_norms([t.detach() for t in self.trained.values()]))

    def gradient_norms(self) -> list[float]:
        """Of each member."""
        return _listed(_norms(self._gradients))

    def snapshot(self) -> list[Tensor]:
        """Copies of the stacked parameters, in their order."""
        return [t.detach().clone() for t in self.trained.values()]

    def change_norms(self, before: list[Tensor]) -> list[float]:
        """Of each member."""
        now = self.trained.values()
        return _listed(_norms([t.detach() - b for t, b in zip(now, before, strict=True)]))

    def values(self, member: int, before: list[Tensor]) -> dict[str, Tensor]:
        """Views of the copies."""
        return {name: t[member] for name, t in zip(self.trained, before, strict=True)}

    def evaluate(self) -> list[Evaluation]:
        """All members see the same items."""
        cell = self.cell
        return evaluate(
            self.evaluator, self.data, cell.statistics_batch, cell.statistics_samples,
            chunk_of(self.data),
        )  # fmt: skip

    @torch.no_grad()
    def export(self, member: int) -> nn.Module:
        """A member in the one module that this engine keeps."""
        state = self.trained | self.fixed | self.kept
        for name, tensor in self._tensors():
            tensor.copy_(state[name][member])
        return self.module


class _Evaluator:
    """The :class:`~normbench.training.evaluate.Evaluator` of a stacked engine."""

    def __init__(self, engine: StackedEngine) -> None:
        self.engine, self.layers = engine, batch_norms(engine.module)
        #: Buffers by name that take the place of the engine's.
        self.instead: State = {}

    @property
    def batch_statistics(self) -> bool:
        """See :class:`~normbench.training.evaluate.Evaluator`, as for the other methods."""
        return bool(self.layers)

    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Samples are computed in pieces, of whole batches where their statistics count."""
        engine = self.engine
        whole = batch if mode != "running" and self.layers else 1
        most = max(_LEAST_EVALUATED, _EVALUATED // (len(engine.runs) * prod(x.shape[1:])))
        size = max(1, most // whole) * whole
        state = engine.trained | engine.fixed, engine.kept | self.instead
        with evaluating(engine.module, mode, batch):
            found = [engine.function(*state, part, shared=True) for part in torch.split(x, size)]
        return torch.cat(found, dim=1)

    @contextmanager
    def recomputed(self, batches: Iterable[Tensor], batch: int) -> Iterator[None]:
        """Moments are added up in stacked buffers, and made statistics of member by member."""
        module, members = self.engine.module, len(self.engine.runs)
        known = dict(module.named_buffers()).keys()
        for layer in self.layers:
            layer.start_collecting()
        fresh = {n: b for n, b in module.named_buffers() if n not in known}
        self.instead = {n: torch.stack([b] * members) for n, b in fresh.items()}
        try:
            for x in batches:
                self.logits(x, "collect", batch)
            self.instead = self._collected(self.instead)
            yield
        finally:
            self.instead = {}

    @torch.no_grad()
    def _collected(self, moments: State) -> State:
        """The statistics of each layer, stacked, by their buffers' names."""
        names = {id(m): name for name, m in self.engine.module.named_modules()}
        found: State = {}
        for layer in self.layers:
            name = names[id(layer)]
            prefix = f"{name}." if name else ""
            own = [key for key in moments if key.removeprefix(prefix) in layer._buffers]
            running = [f"{prefix}running_mean", f"{prefix}running_var"]
            pairs = []
            for member in range(len(self.engine.runs)):
                for key in own:
                    layer.register_buffer(
                        key.removeprefix(prefix), moments[key][member], persistent=False
                    )
                for key in running:
                    layer._buffers[key.removeprefix(prefix)] = self.engine.kept[key][member].clone()
                pairs.append(layer.collected())
            for i, key in enumerate(running):
                found[key] = torch.stack([pair[i] for pair in pairs])
        return found

    def release(self) -> None:
        """Nothing is kept."""


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm (members,) of each member's values in stacked tensors."""
    each = [torch.linalg.vector_norm(t.flatten(1), dim=1) for t in tensors]
    found: Tensor = torch.linalg.vector_norm(torch.stack(each, 1), dim=1)
    return found


def _listed(values: Tensor) -> list[float]:
    found: list[float] = values.tolist()
    return found


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    """A value per member (members,) in a shape that multiplies a stacked tensor."""
    return values.view(-1, *([1] * (like.dim() - 1)))
