"""Many seeds of one recurrent network as one computation, with torch's automatic gradients.

The members' parameters are stacked and multiplied by ``bmm``; all else in a cell is elementwise
(:mod:`normbench.models.cells`). A step of a small recurrent net costs the calls of its operations,
which are as many for all members together as for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.datasets.base import Task
from normbench.models import cells
from normbench.models.describe import Network
from normbench.models.layers import Linear, Recurrent
from normbench.models.packed.graph import UnsupportedError
from normbench.models.packed.parameters import Members, Slot
from normbench.models.packed.sequence_norms import StackedNorm, StackedTimeBatch, stacked
from normbench.models.plain import Net, build
from normbench.models.recurrent_layer import RecurrentLayer
from normbench.norms.batch import Mode
from normbench.norms.sequence import SequenceNorm
from normbench.norms.time_batch import TimeBatchNorm

_SITES = ("input_norm", "hidden_norm", "cell_norm")
#: Values per gate and step that the automatic gradients of a recurrent layer keep, roughly.
_KEPT = 4
#: The samples of all members that are evaluated at once, and of each member at least.
_EVALUATED, _LEAST_EVALUATED = 768, 16


def _slots(plain: Net) -> list[Slot]:
    """The parameters of a plain module, ordered as they are there."""
    decayed = {id(plain.parts["classifier"].weight)}
    decayed |= {id(w) for p in plain.parts.values() if isinstance(p, RecurrentLayer)
                for w in p.weights}  # fmt: skip
    found = []
    for name, part in plain.parts.items():
        for path, parameter in part.named_parameters():
            shape = tuple(parameter.shape)
            order = tuple(range(len(shape)))
            found.append(Slot(name, path, shape, order, id(parameter) in decayed))
    return found


class RecurrentNet(Members):
    """``members`` instances of a recurrent network, each with parameters of its own.

    It has the interface of :class:`~normbench.models.packed.net.PackedNet`. ``task`` decides the
    loss: the mean cross-entropy, or the mean squared error of the only output.

    Raises :class:`UnsupportedError` where the plain loop is needed, and whatever
    :func:`normbench.models.plain.build` raises for the network.
    """

    def __init__(
        self,
        net: Network,
        members: int,
        *,
        task: Task = "classification",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        plain = build(net, "meta")
        if not (
            len(net.layers) == 2
            and isinstance(net.layers[0], Recurrent)
            and isinstance(net.layers[1], Linear)
        ):
            raise UnsupportedError("the packed form has one recurrent layer and a linear one")
        super().__init__(_slots(plain), members, dtype, device)
        self.net, self.task = net, task
        self.layer, self.head = net.layers[0], net.layers[1]
        recurrent = plain.parts[self.layer.name]
        assert isinstance(recurrent, RecurrentLayer)  # noqa: S101  (build made it of this layer)
        sites = {site: getattr(recurrent, site) for site in _SITES}
        flat = tuple(
            f"{self.layer.name}.{site}."
            for site, n in sites.items()
            if isinstance(n, TimeBatchNorm)
        )
        # leaves of the graph that share the memory of the flat tensor
        self.leaves = {
            name: nn.Parameter(block.view(-1) if name.startswith(flat) else block)
            for name, block in self.values.items()
        }
        self.norms = {site: self._norm(site, norm) for site, norm in sites.items()}
        for norm in self.batch_norms:
            norm.running_mean = norm.running_mean.to(device, dtype)
            norm.running_var = norm.running_var.to(device, dtype)

    # -- building ------------------------------------------------------------------------------

    def _norm(self, site: str, plain: SequenceNorm) -> StackedNorm:
        prefix = f"{self.layer.name}.{site}."
        own = {
            name.removeprefix(prefix): leaf
            for name, leaf in self.leaves.items()
            if name.startswith(prefix)
        }
        return stacked(plain, self.members, own)

    @property
    def batch_norms(self) -> list[TimeBatchNorm]:
        """The batch norms of all members together."""
        return [n.norm for n in self.norms.values() if isinstance(n, StackedTimeBatch)]

    # -- members -------------------------------------------------------------------------------

    def statistics_of(self, member: int, plain: Net) -> Iterator[tuple[Tensor, Tensor]]:
        """A member's running statistics, each with the plain module's."""
        for site, norm in self.norms.items():
            if isinstance(norm, StackedTimeBatch):
                theirs = getattr(plain.parts[self.layer.name], site)
                mean, variance = norm.statistics(member)
                yield mean, theirs.running_mean
                yield variance, theirs.running_var

    # -- data ----------------------------------------------------------------------------------

    def resident(self, x: Tensor) -> Tensor:
        """All items (items, features, steps) as :meth:`train_items` takes batches from them."""
        return self.arrange(x)

    def arrange(self, x: Tensor) -> Tensor:
        """The inputs of a batch from items (members·N, features, steps): steps come first."""
        return x.permute(2, 0, 1).contiguous()

    # -- computing -----------------------------------------------------------------------------

    def _outputs(self, x: Tensor) -> Tensor:
        """Outputs (members, N, classes) of inputs (members, steps, N, features)."""
        prefix, steps, samples = f"{self.layer.name}.", x.shape[1], x.shape[2]
        weight, bias = (self.leaves[prefix + name] for name in ("weight_input", "bias"))
        tokens = torch.bmm(x.flatten(1, 2), weight.transpose(1, 2))
        tokens = tokens.view(len(x), steps, samples, -1)
        tokens = self.norms["input_norm"].sequence(tokens)
        given = tokens + bias[:, None, None]
        turned = self.leaves[prefix + "weight_hidden"].transpose(1, 2)
        candidate = self.leaves.get(prefix + "candidate_bias")
        parts = cells.Recurrence(
            lambda h: torch.bmm(h, turned),
            self.norms["hidden_norm"].step,
            self.norms["cell_norm"].step,
            None if candidate is None else candidate[:, None],
        )
        start = given.new_zeros(len(x), samples, self.layer.hidden)
        last = cells.run(self.layer.kind, given.unbind(1), start, parts)
        for norm in self.norms.values():
            norm.finish()
        weight, bias = (self.leaves[f"{self.head.name}.{name}"] for name in ("weight", "bias"))
        return torch.baddbmm(bias[:, None], last, weight.transpose(1, 2))

    def train_items(self, resident: Tensor, index: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`train_batch` on the items at ``index`` (members·N,), member by member."""
        return self.train_batch(resident.index_select(1, index), labels)

    def train_batch(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (members,) and outputs (members, N, classes) of a batch, in training mode.

        As in :meth:`normbench.models.packed.net.PackedNet.train_batch`. The members' losses are
        summed up, never averaged, so that each has its own gradients.
        """
        steps = inputs.shape[0]
        x = inputs.view(steps, self.members, -1, inputs.shape[-1]).transpose(0, 1)
        for norm in self.batch_norms:
            norm.train()
        with torch.enable_grad():
            outputs = self._outputs(x)
            losses = self._losses(outputs, labels)
            found = torch.autograd.grad(losses.sum(), list(self.leaves.values()))
        with torch.no_grad():
            for name, gradient in zip(self.leaves, found, strict=True):
                block = self.gradients[name]
                block.copy_(gradient.view_as(block))
        return losses.detach(), outputs.detach()

    def _losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        if self.task == "regression":
            return (outputs[..., 0] - labels).square().mean(1)
        each = functional.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
        return each.view(labels.shape).mean(1)

    def evaluator(self, chunk: int) -> RecurrentEvaluator:
        """Evaluates all members on shared samples, ``chunk`` of them at a time or fewer."""
        samples = _EVALUATED // self.members
        return RecurrentEvaluator(self, max(_LEAST_EVALUATED, min(chunk, samples)))

    @property
    def statistics(self) -> list[Tensor]:
        """The running statistics of all norms, which change in place."""
        return [t for n in self.batch_norms for t in (n.running_mean, n.running_var)]

    @property
    def bytes(self) -> int:
        """The memory held between steps: parameters, gradients, statistics."""
        kept = [self.flat, self.flat_gradient, *self.statistics]
        return sum(t.numel() * t.element_size() for t in kept)

    @property
    def peak(self) -> int:
        """Estimated bytes of everything that is held at the most, data set apart."""
        features, steps = self.net.shape
        rows = self.values[f"{self.layer.name}.bias"].shape[1]
        values = self.members * self.net.batch_size * steps * (features + _KEPT * rows)
        return self.bytes + values * self.flat.element_size()


class RecurrentEvaluator:
    """Outputs of all members for samples that they share; nothing of the training is changed.

    Samples are computed in pieces of at most ``limit``, or of a batch where its statistics count.
    """

    def __init__(self, net: RecurrentNet, limit: int) -> None:
        self.net, self.limit = net, limit

    @property
    def batch_statistics(self) -> bool:
        """Whether results depend on which statistics are used: there are batch norms."""
        return bool(self.net.batch_norms)

    @torch.no_grad()
    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Outputs (members, n, classes) of samples (n, features, steps) in evaluation mode.

        ``mode`` and ``batch`` say which statistics batch norms use, as in
        :class:`normbench.norms.batch.BatchNorm`.
        """
        norms = self.net.batch_norms
        for norm in norms:
            norm.eval()
            norm.mode, norm.evaluation_batch = mode, batch
        try:
            whole = batch if mode != "running" and norms else 1
            size = max(1, self.limit // whole) * whole
            found = []
            for part in torch.split(x, size):
                shared = part.permute(2, 0, 1).expand(self.net.members, -1, -1, -1)
                found.append(self.net._outputs(shared))
            return torch.cat(found, dim=1)
        finally:
            for norm in norms:
                norm.train()
                norm.mode, norm.evaluation_batch = "running", 0

    def release(self) -> None:
        """Nothing is kept between calls."""

    @contextmanager
    def recomputed(self, batches: Iterable[Tensor], batch: int) -> Iterator[None]:
        """Within this context, running statistics are replaced by recomputed ones.

        They are the population statistics over ``batches``, tensors (n, features, steps) of whole
        batches of ``batch`` samples (Wu & Johnson 2021, arXiv:2105.07576).
        """
        norms = self.net.batch_norms
        for norm in norms:
            norm.start_collecting()
        for x in batches:
            self.logits(x, "collect", batch)
        kept = [(norm.running_mean, norm.running_var) for norm in norms]
        try:
            for norm in norms:
                norm.running_mean, norm.running_var = norm.collected()
            yield
        finally:
            for norm, (mean, variance) in zip(norms, kept, strict=True):
                norm.running_mean, norm.running_var = mean, variance
