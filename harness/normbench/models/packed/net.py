"""Many seeds of one network as one computation, with the backward pass written out.

All members' activations lie in one tensor (members, N, H, W, C), so that one operation serves all
of them: for small networks the cost of a step is that of calling operations. Larger ones are
computed block by block of members, so that what a block works on stays in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

from normbench.models.describe import Network
from normbench.models.layers import Conv, Dropout, Flatten, Linear, MaxPool, Site
from normbench.models.packed.batch_variants import BatchRenorms, FrozenBatchNorms
from normbench.models.packed.block import Block, Operation, Workspace
from normbench.models.packed.columns import item_rows
from normbench.models.packed.convolution import GROUPED, TILED, Convolutions
from normbench.models.packed.dynamic_tanh import DynamicTanhs
from normbench.models.packed.evaluator import Evaluator
from normbench.models.packed.formulation import parse
from normbench.models.packed.graph import (
    Node,
    UnsupportedError,
    input_shape,
    nodes,
    norm_params,
)
from normbench.models.packed.grouped_convolution import GroupedConvolutions
from normbench.models.packed.layer_norm import LayerNorms, RmsNorms
from normbench.models.packed.linear import LinearLayers
from normbench.models.packed.native_norms import TogetherBatchNorms, batch_norm, layer_norm
from normbench.models.packed.normalize import BatchNorms, ChannelNorms, TogetherChannelNorms
from normbench.models.packed.parameters import Members, Parameters, slots
from normbench.models.packed.simple import Activations, Dropouts, Flattenings, Pools
from normbench.models.packed.weighted import Weighted
from normbench.models.packed.winograd_convolution import WinogradConvolutions, suits
from normbench.models.plain import Net, build
from normbench.norms.schedule import Scheduled, set_step

__all__ = ["PackedNet", "UnsupportedError", "set_up"]

#: The bytes of its largest activation that a block of members may have.
BLOCK_BYTES = 1 << 22
#: A data set whose rows of windows would take more than this is kept as images.
ROWS_BYTES = 1 << 28
#: The bytes of its largest activation that a piece of an evaluation may have, and the samples that
#: it has at least: with 8 of them an AlexNet at 64 pixels took 1.2 times as long as with 32.
_EVALUATION_BYTES, _EVALUATION_SAMPLES = 1 << 22, 32
#: Operations that take images whether or not they lie together, and leave them so.
_ANY_ORDER = (
    Activations, Pools, GroupedConvolutions, TogetherBatchNorms, TogetherChannelNorms,
)  # fmt: skip
#: What computes a norm whose statistics are those of the batch, or those of rows.
_BATCH_VARIANTS = {"batch-renorm": BatchRenorms, "batch-frozen": FrozenBatchNorms}
_BATCH_NORMS = {"batch", *_BATCH_VARIANTS}
_ROW_NORMS = {"layer": layer_norm, "layer-channels": LayerNorms, "rms": RmsNorms}


def set_up() -> None:
    """Make a process ready for packed groups: torch's convolutions may use oneDNN.

    The plain loop chooses for itself at the start of each run.
    """
    torch.backends.mkldnn.enabled = True  # type: ignore[assignment]


class PackedNet(Members):
    """``members`` instances of a network, each with parameters of its own, trained together.

    ``flat`` and ``flat_gradient`` hold all parameters and gradients, those for which weight decay
    is meant by default in front (``decayed`` values). ``variant`` says how convolutions are
    computed: see :func:`~normbench.models.packed.formulation.parse`.

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
        self.net, self.members, self.dtype, self.device = net, members, dtype, device
        self.formulation = parse(variant)
        self.nodes = nodes(net)
        build(net, "meta")  # its errors are those of the plain loop
        self.parameters = Parameters(slots(self.nodes), members, dtype, device)
        self.flat, self.flat_gradient = self.parameters.flat, self.parameters.flat_gradient
        self.decayed = self.parameters.decayed
        self.running = self._running_statistics()
        self.work = Workspace(dtype, device)
        self.image_input = len(input_shape(net)) == 3
        trained = (i for i, n in enumerate(self.nodes) if _has_gradients(n))
        self._first_trained = next(trained, len(self.nodes))
        self.block = self.formulation.block or self._block_size()
        self.blocks = [
            self._block(start, min(self.block, members - start))
            for start in range(0, members, self.block)
        ]
        made = [operation for _, operations in self.blocks for operation in operations]
        self.scheduled = [operation for operation in made if isinstance(operation, Scheduled)]
        #: What the label's share of a batch takes off its logit's gradient.
        self._less = self.flat.new_full((), -1.0 / net.batch_size)
        #: The inputs of a block, for :meth:`train_items`.
        self._inputs: Tensor | None = None

    # -- building ------------------------------------------------------------------------------

    def _running_statistics(self) -> dict[str, tuple[Tensor, Tensor]]:
        if self.net.norm.name not in _BATCH_NORMS:
            return {}
        found = {}
        for node in self.nodes:
            if isinstance(node.layer, Site):
                size = self.members, node.before[-1]
                found[node.name] = self.flat.new_zeros(size), self.flat.new_ones(size)
        return found

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
        parameters = self.parameters
        block = Block(
            start,
            size,
            self.net.batch_size,
            {name: value[members] for name, value in parameters.values.items()},
            {name: value[members] for name, value in parameters.gradients.items()},
            self.running,
            self.work,
        )
        made: list[Operation] = []
        for i, node in enumerate(self.nodes):
            operation = self._operation(node, block, passes_back=i > self._first_trained)
            _join_behind(operation, made[-1] if made else None)
            made.append(operation)
        for i, operation in enumerate(made):
            if isinstance(operation, Activations):
                operation.in_place = i > 0
        for before, after in pairwise(made):
            _join_padding(before, after)
        for i, operation in enumerate(made):
            if isinstance(operation, WinogradConvolutions):
                _join_tiles(operation, made[i + 1 :])
        for before, after in pairwise(made):
            if isinstance(before, GroupedConvolutions):
                before.apart_output = not isinstance(after, _ANY_ORDER)
        return block, made

    def _operation(self, node: Node, block: Block, *, passes_back: bool) -> Operation:
        layer, norm, params = node.layer, self.net.norm, norm_params(self.net)
        match layer:
            case Conv():
                ways = self.formulation.ways_of(layer.name)
                if ways[0] == TILED and suits(layer):
                    return WinogradConvolutions(node, layer, block, passes_back=passes_back)
                if ways[0] == GROUPED:
                    return GroupedConvolutions(node, layer, ways, block, passes_back=passes_back)
                return Convolutions(node, layer, ways, block, passes_back=passes_back)
            case Linear():
                return LinearLayers(node, block, passes_back=passes_back)
            case Site() if norm.name in _ROW_NORMS:
                return _ROW_NORMS[norm.name](node, block, params)
            case Site() if norm.name == "batch":
                grouped = self.formulation.ways_of(layer.name)[0] == GROUPED
                return batch_norm(node, block, params, norm.batch_size, grouped=grouped)
            case Site() if norm.name in _BATCH_VARIANTS:
                return _BATCH_VARIANTS[norm.name](node, block, params, norm.batch_size)
            case Site() if norm.name == "dyt":
                return DynamicTanhs(node, block)
            case Site() if norm.name == "group" and len(node.before) == 1:
                return LayerNorms(node, block, params)
            case Site() if self.formulation.ways_of(layer.name)[0] == GROUPED:
                return TogetherChannelNorms(node, block, params)
            case Site():
                return ChannelNorms(node, block, params)
            case MaxPool():
                return Pools(layer)
            case Flatten():
                return Flattenings(node)
            case Dropout():
                return Dropouts(node, layer, block)
            case _:
                return Activations()

    # -- members -------------------------------------------------------------------------------

    @torch.no_grad()
    def load(self, member: int, plain: Net) -> None:
        """Copy parameters and buffers of a plain module to a member."""
        self.parameters.load(member, plain)
        for name, (mean, variance) in self.running.items():
            mean[member].copy_(plain.parts[name].running_mean)  # type: ignore[arg-type]
            variance[member].copy_(plain.parts[name].running_var)  # type: ignore[arg-type]

    @torch.no_grad()
    def store(self, member: int, plain: Net) -> None:
        """Copy a member's parameters and buffers to a plain module."""
        self.parameters.store(member, plain)
        for name, (mean, variance) in self.running.items():
            plain.parts[name].running_mean.copy_(mean[member])  # type: ignore[operator]
            plain.parts[name].running_var.copy_(variance[member])  # type: ignore[operator]

    def seed_dropout(self, member: int, seed: int) -> None:
        """Start a member's streams of masks, as the plain module does for the run with ``seed``."""
        at, within = divmod(member, self.block)
        for operation in self.blocks[at][1]:
            if isinstance(operation, Dropouts):
                operation.seed(within, seed)

    def set_step(self, step: int, steps: int) -> None:
        """Tell norms that change in the course of a run that ``step`` of ``steps`` are taken."""
        set_step(self.scheduled, step, steps)

    def set_carry(self, carry: float, rate: float | None = None) -> None:
        """Let the next gradients of the weights be ``carry``·(what lies there) + the gradient.

        The weights are the first :attr:`decayed` values of :attr:`flat_gradient`. With the
        momentum as ``carry`` the velocity of stochastic gradient descent lies there after every
        step, and no gradient is written, read and added to it. With a ``rate`` the weights move by
        −rate·velocity as soon as their layer needs them no more, while both are in a cache.
        """
        for block, _ in self.blocks:
            block.carry, block.rate = carry, rate

    # -- data ----------------------------------------------------------------------------------

    def resident(self, x: Tensor) -> Tensor:
        """All items (items, C, H, W) as :meth:`train_items` takes batches from them.

        They are images, or the rows of the first convolution's windows where the variant asks for
        them and they are not too many.
        """
        arranged = self.arrange(x)
        node = self.nodes[0]
        if not self.formulation.rows or not isinstance(node.layer, Conv):
            return arranged
        layer = node.layer
        size = prod(node.after[:2]) * layer.kernel**2 * node.before[-1] * arranged.element_size()
        if len(x) * size > ROWS_BYTES:
            return arranged
        return item_rows(arranged, layer.kernel, layer.stride, layer.padding)

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

        Each block's are copied right before they are read, and into the same memory.
        """
        if self._inputs is None or self._inputs.shape[1:] != resident.shape[1:]:
            samples = self.blocks[0][0].size * self.net.batch_size
            self._inputs = resident.new_empty(samples, *resident.shape[1:])
        memory = self._inputs

        def copied(samples: slice) -> Tensor:
            out = memory[: samples.stop - samples.start]
            return torch.index_select(resident, 0, index[samples], out=out)

        return self._train(copied, labels)

    def _train(self, inputs: Callable[[slice], Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """Train on inputs, given by their places among all samples."""
        batch, found = self.net.batch_size, []
        for block, made in self.blocks:
            x = inputs(slice(block.start * batch, (block.start + block.size) * batch))
            x = x.view(block.size, batch, *x.shape[1:])
            found.append(self._train_block(block, made, x, labels))
        if len(found) == 1:
            return found[0]
        return torch.cat([loss for loss, _ in found]), torch.cat([logits for _, logits in found])

    def _train_block(
        self, block: Block, operations: Sequence[Operation], x: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch = self.net.batch_size
        for operation in operations:
            x = operation.forward(x)
        logits = x if isinstance(operations[-1], LinearLayers) else x.clone()
        wanted = labels[block.members].unsqueeze(2)
        shares = logits.log_softmax(2)
        losses = shares.gather(2, wanted).mean(1).neg_().view(block.size)
        # the gradient of the mean cross-entropy: (softmax − one-hot)/N
        gradient = shares.exp_().div_(batch)
        gradient.scatter_add_(2, wanted, self._less.expand(wanted.shape))
        for operation in reversed(operations[self._first_trained :]):
            gradient = operation.backward(gradient)
        return losses, logits

    def evaluator(self, chunk: int) -> Evaluator:
        """Evaluates all members on shared samples, ``chunk`` of them at a time or fewer."""
        room = max(_EVALUATION_SAMPLES, _EVALUATION_BYTES // (self._largest() * self.block))
        return Evaluator(self.blocks, self.running, min(chunk, room), self.image_input)

    @property
    def statistics(self) -> list[Tensor]:
        """The running statistics of all norms, which change in place."""
        return [values for pair in self.running.values() for values in pair]

    @property
    def bytes(self) -> int:
        """The memory held between steps: parameters, gradients, statistics, workspace, inputs."""
        kept = [self.flat, self.flat_gradient, *(t for pair in self.running.values() for t in pair)]
        kept += [] if self._inputs is None else [self._inputs]
        return sum(t.numel() * t.element_size() for t in kept) + self.work.bytes


def _has_gradients(node: Node) -> bool:
    return isinstance(node.layer, Conv | Linear | Site)


def _join_behind(operation: Operation, before: Operation | None) -> None:
    """Let a norm or a pool right behind a layer with weights take over its bias.

    A norm may also work in place there. Where batch norm's running statistics make it a part of
    the weights, a pool behind it adds the bias.
    """
    if isinstance(operation, Pools) and isinstance(before, BatchNorms):
        operation.adds_for, before.pool_follows = before.behind, before.behind is not None
    if not isinstance(before, Weighted):
        return
    if isinstance(operation, LayerNorms):
        operation.in_place = True
        if operation.takes_bias and not operation.fused:
            operation.behind, before.follower_adds = before, True
    elif isinstance(operation, Pools):
        operation.behind = before
        before.bias_given = before.follower_adds = True
    elif isinstance(operation, ChannelNorms):
        before.follower_adds = operation.spares_bias
        operation.behind = before
        before.bias_given = True
        before.bias_cancels = operation.groups == operation.channels and operation.spares_bias
        if isinstance(operation, BatchNorms):
            before.folded = operation


def _join_padding(before: Operation, after: Operation) -> None:
    """Let an activation write right into the padded input of a convolution."""
    if isinstance(before, Activations) and isinstance(after, Convolutions):
        before.target = after.padded_input
        after.fed = before.target is not None


def _join_tiles(convolution: WinogradConvolutions, following: Sequence[Operation]) -> None:
    """Leave the images as they are computed, up to an operation that takes them so."""
    for operation in following:
        if isinstance(operation, WinogradConvolutions):
            operation.tiled_input = True
        if isinstance(operation, WinogradConvolutions | Flattenings):
            convolution.tiled_output = True
        if not isinstance(operation, Activations | Pools):
            return
