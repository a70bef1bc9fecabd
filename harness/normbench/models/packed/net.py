"""Many seeds of one network as one computation, with the backward pass written out.

All members' activations lie in one tensor (members, N, H, W, C), so that one operation serves all
of them: for small networks the cost of a step is that of calling operations. Larger ones are
computed block by block of members, so that what a block works on stays in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from normbench.models.describe import Network
from normbench.models.packed.block import Block, Operation, Workspace
from normbench.models.packed.evaluator import PackedEvaluator
from normbench.models.packed.forms import NormNode
from normbench.models.packed.formulation import parse
from normbench.models.packed.graph import BiasNode, LinearNode, PoolNode, lowered
from normbench.models.packed.operations import OPERATIONS, folded
from normbench.models.packed.parameters import Members, slots
from normbench.models.packed.passes import first_trained, optimized
from normbench.models.packed.simple import Dropouts
from normbench.models.plain import Net, build
from normbench.norms.schedule import Scheduled, set_step

#: The bytes of its largest activation that a block of members may have.
BLOCK_BYTES = 1 << 22
#: The bytes of its largest activation that a piece of an evaluation may have, and the samples that
#: it has at least: with 8 of them an AlexNet at 64 pixels took 1.2 times as long as with 32.
_EVALUATION_BYTES, _EVALUATION_SAMPLES = 1 << 22, 32


class PackedNet(Members):
    """``members`` instances of a network, each with parameters of its own, trained together.

    ``variant`` says how convolutions are computed: see
    :func:`~normbench.models.packed.formulation.parse`.

    Raises :class:`UnsupportedError` where the plain loop is needed, and whatever
    :func:`normbench.models.plain.build` raises for the network.
    """

    def __init__(
        self,
        net: Network,
        members: int,
        *,
        variant: str = "",
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> None:
        formulation, nodes = parse(variant), lowered(net)
        build(net, "meta")  # its errors are those of the plain loop
        super().__init__(slots(nodes), members, dtype, device)
        self.net = net
        self.running = {
            node.name: (
                self.flat.new_zeros(members, node.before[-1]),
                self.flat.new_ones(members, node.before[-1]),
            )
            for node in nodes
            if isinstance(node, NormNode) and node.form.running
        }
        self.work = Workspace(dtype, device)
        self.image_input = len(nodes[0].before) == 3
        self.nodes = optimized(nodes, formulation)
        self.block = formulation.block or self._block_size()
        self.blocks = [
            self._block(start, min(self.block, members - start))
            for start in range(0, members, self.block)
        ]
        self._first_trained = first_trained(self.nodes)
        self.scheduled = [
            one for _, operations in self.blocks for one in operations if isinstance(one, Scheduled)
        ]
        #: Whether the logits are in memory that only they take.
        self._own_logits = isinstance(self.nodes[-1], LinearNode | BiasNode)
        #: What the label's share of a batch takes off its logit's gradient.
        self._less = self.flat.new_full((), -1.0 / net.batch_size)

    # -- building ------------------------------------------------------------------------------

    def _largest(self) -> int:
        """The bytes of the largest activation of one sample."""
        values = max((prod(shape) for n in self.nodes for shape in (n.before, n.after)), default=1)
        return values * self.flat.element_size()

    def _block_size(self) -> int:
        """As many members as suit a cache, and blocks of as equal a size as can be."""
        most = max(1, BLOCK_BYTES // (self._largest() * self.net.batch_size))
        count = -(-self.members // most)
        return -(-self.members // count)

    def _block(self, start: int, size: int) -> tuple[Block, list[Operation]]:
        """The operations on members ``start`` to ``start + size``."""
        members = slice(start, start + size)
        values, gradients = (
            {name: value[members] for name, value in of_all.items()}
            for of_all in (self.values, self.gradients)
        )
        batch = self.net.batch_size
        block = Block(start, size, batch, values, gradients, self.running, self.work)
        return block, [OPERATIONS[type(node)](node, block) for node in self.nodes]

    # -- members -------------------------------------------------------------------------------

    def statistics_of(self, member: int, plain: Net) -> Iterator[tuple[Tensor, Tensor]]:
        """A member's running statistics, each with the plain module's."""
        for name, pair in self.running.items():
            for mine, theirs in zip(pair, ("running_mean", "running_var"), strict=True):
                yield mine[member], getattr(plain.parts[name], theirs)

    def seed_dropout(self, member: int, seed: int) -> None:
        """Start a member's streams of masks, as the plain module does for the run with ``seed``."""
        at, within = divmod(member, self.block)
        for one in self.blocks[at][1]:
            if isinstance(one, Dropouts):
                one.seed(within, seed)

    def set_step(self, step: int, steps: int) -> None:
        """Tell norms that change in the course of a run that ``step`` of ``steps`` are taken."""
        set_step(self.scheduled, step, steps)

    # -- data ----------------------------------------------------------------------------------

    def resident(self, x: Tensor) -> Tensor:
        """All items (items, C, H, W) as :meth:`train_items` takes batches from them."""
        return self.arrange(x)

    def arrange(self, x: Tensor) -> Tensor:
        """The inputs of a batch from items (members·N, C, H, W), member by member."""
        return x.movedim(1, -1).contiguous() if self.image_input else x.flatten(1)

    # -- computing -----------------------------------------------------------------------------

    @torch.no_grad()
    def train_batch(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (members,) and logits (members, N, classes) of a batch, in training mode.

        ``inputs`` come from :meth:`arrange`, ``labels`` are (members, N). A loss is the mean
        cross-entropy over the member's batch; its gradients lie in :attr:`flat_gradient`
        afterwards, and running statistics have moved.
        """
        return self._train(inputs.__getitem__, labels)

    @torch.no_grad()
    def train_items(self, resident: Tensor, index: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`train_batch` on the items at ``index`` (members·N,), member by member.

        Each block's are copied right before they are read.
        """
        return self._train(lambda samples: resident.index_select(0, index[samples]), labels)

    def _train(self, inputs: Callable[[slice], Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Train on inputs, given by their places among all samples."""
        batch, found = self.net.batch_size, []
        for block, made in self.blocks:
            x = inputs(slice(block.start * batch, (block.start + block.size) * batch))
            x = x.view(block.size, batch, *x.shape[1:])
            found.append(self._train_block(block, made, x, labels))
        if len(found) == 1:
            return found[0]
        losses, logits = (torch.cat(parts) for parts in zip(*found, strict=True))
        return losses, logits

    def _train_block(
        self, block: Block, operations: Sequence[Operation], x: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch = self.net.batch_size
        for one in operations:
            x = one.forward(x)
        logits = x if self._own_logits else x.clone()
        wanted = labels[block.members].unsqueeze(2)
        shares = logits.log_softmax(2)
        losses = shares.gather(2, wanted).mean(1).neg_().view(block.size)
        # the gradient of the mean cross-entropy: (softmax − one-hot)/N
        gradient = shares.exp_().div_(batch)
        gradient.scatter_add_(2, wanted, self._less.expand(wanted.shape))
        for one in reversed(operations[self._first_trained :]):
            gradient = one.backward(gradient)
        return losses, logits

    def evaluator(self, chunk: int) -> PackedEvaluator:
        """Evaluates all members on shared samples, ``chunk`` of them at a time or fewer."""
        room = max(_EVALUATION_SAMPLES, _EVALUATION_BYTES // (self._largest() * self.block))
        evaluated = [(block, folded(operations)) for block, operations in self.blocks]
        return PackedEvaluator(evaluated, self.running, min(chunk, room), self.image_input)

    @property
    def statistics(self) -> list[Tensor]:
        """The running statistics of all norms, which change in place."""
        return [values for pair in self.running.values() for values in pair]

    @property
    def bytes(self) -> int:
        """The memory held between steps: parameters, gradients, statistics, workspace."""
        kept = [self.flat, self.flat_gradient, *self.statistics]
        return sum(t.numel() * t.element_size() for t in kept) + self.work.bytes

    @property
    def peak(self) -> int:
        """Estimated bytes of everything that is held at the most, data set apart."""
        # besides what is kept: the pools' outputs and places, and gradients on their way
        pooled = sum(prod(node.after) for node in self.nodes if isinstance(node, PoolNode))
        passing = pooled * (self.flat.element_size() + 8) + 4 * self._largest()
        return self.bytes + self.block * self.net.batch_size * passing
