"""A module as a function of several members' parameters and buffers, and its evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import prod

import torch
from torch import Tensor, nn
from torch.func import functional_call

from normbench.models.dropout import StreamDropout
from normbench.norms.batch import Mode
from normbench.training.evaluate import batch_norms, evaluating
from normbench.training.precision import MappedProducts, Precision, widened

#: Values of a sample that are evaluated at once, over all members, roughly; and samples at least.
_EVALUATED, _LEAST_EVALUATED = 1 << 18, 16
#: As how many values a token counts, which a network makes a vector of: the evaluation of twelve
#: small transformers took .6 of the time in pieces of 16 sequences and not of 700.
_OF_TOKEN = 64

State = dict[str, Tensor]


class StackedFunction:
    """A module as a function of stacked parameters and buffers, mapped over the members."""

    def __init__(self, module: nn.Module, precision: Precision) -> None:
        self.module, self.precision = module, precision
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
            products = nullcontext() if self.precision.type is None else MappedProducts()
            with self.precision.autocast(), products:
                return widened(mapped(parameters, buffers, x, list(draws)))

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


class StackedEvaluator:
    """The :class:`~normbench.training.evaluate.Evaluator` of ``members`` sets of values.

    ``parameters`` and ``buffers`` are read as they are at each call.
    """

    def __init__(
        self, function: StackedFunction, parameters: State, buffers: State, members: int
    ) -> None:
        self.function, self.module, self.members = function, function.module, members
        self.parameters, self.buffers = parameters, buffers
        self.layers = batch_norms(function.module)
        #: Buffers by name that take the place of the members' own.
        self.instead: State = {}

    @property
    def batch_statistics(self) -> bool:
        """See :class:`~normbench.training.evaluate.Evaluator`, as for the other methods."""
        return bool(self.layers)

    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Samples are computed in pieces, of whole batches where their statistics count."""
        whole = batch if mode != "running" and self.layers else 1
        values = prod(x.shape[1:]) * (_OF_TOKEN if x.dim() == 2 else 1)
        most = max(_LEAST_EVALUATED, _EVALUATED // (self.members * values))
        size = max(1, most // whole) * whole
        state = self.parameters, self.buffers | self.instead
        with evaluating(self.module, mode, batch):
            found = [self.function(*state, part, shared=True) for part in torch.split(x, size)]
        return torch.cat(found, dim=1)

    @contextmanager
    def recomputed(self, batches: Iterable[Tensor], batch: int) -> Iterator[None]:
        """Moments are added up in stacked buffers, and made statistics of member by member."""
        module, members = self.module, self.members
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
        names = {id(m): name for name, m in self.module.named_modules()}
        found: State = {}
        for layer in self.layers:
            name = names[id(layer)]
            prefix = f"{name}." if name else ""
            own = [key for key in moments if key.removeprefix(prefix) in layer._buffers]
            running = [f"{prefix}running_mean", f"{prefix}running_var"]
            pairs = []
            for member in range(self.members):
                for key in own:
                    layer.register_buffer(
                        key.removeprefix(prefix), moments[key][member], persistent=False
                    )
                for key in running:
                    layer._buffers[key.removeprefix(prefix)] = self.buffers[key][member].clone()
                pairs.append(layer.collected())
            for i, key in enumerate(running):
                found[key] = torch.stack([pair[i] for pair in pairs])
        return found

    def release(self) -> None:
        """Nothing is kept."""
