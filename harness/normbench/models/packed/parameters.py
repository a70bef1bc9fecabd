"""The parameters of all members in one flat tensor, and their way from and to plain modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from operator import attrgetter

import torch
from torch import Tensor

from normbench.models.packed.forms import Node, NormNode
from normbench.models.packed.graph import BiasNode, ConvNode, LinearNode, WeightNode
from normbench.models.plain import Net


@dataclass(frozen=True)
class Slot:
    """One parameter: where it is in the plain module, and how its values are ordered here.

    ``attribute`` is its path within the part, with dots between names.

    The plain tensor viewed as ``view`` and permuted by ``order`` has the values in our order.
    ``decayed`` says that weight decay is meant for it by default.
    """

    part: str
    attribute: str
    view: tuple[int, ...]
    order: tuple[int, ...]
    decayed: bool = False

    @property
    def name(self) -> str:
        """Its name among the parameters."""
        return f"{self.part}.{self.attribute}"

    @property
    def shape(self) -> tuple[int, ...]:
        """One member's shape here."""
        return tuple(self.view[i] for i in self.order)

    def plain(self, packed: Tensor) -> Tensor:
        """One member's tensor, seen in the plain module's order."""
        return packed.permute([self.order.index(i) for i in range(len(self.order))])


def slots(nodes: Iterable[Node]) -> list[Slot]:
    """The parameters of a network, by its nodes before any pass."""
    found = []
    for node in nodes:
        match node:
            case ConvNode():
                square = (node.kernel, node.kernel)
                view = (node.after[-1], node.before[-1], *square)
                found += _weight(node, view, (0, 2, 3, 1))
            case LinearNode():
                found += _weight(node, (*node.after, *node.before), (0, 1))
            case BiasNode():
                found.append(Slot(node.name, "bias", node.after[-1:], (0,)))
            case NormNode():
                scales = node.form.scales if node.params.get("affine") else ()
                found += [Slot(node.name, name, *_elements(node)) for name in scales]
                found += [Slot(node.name, name, (1,), (0,)) for name in node.form.scalars]
            case _:
                pass
    return found


def _weight(node: WeightNode, view: tuple[int, ...], order: tuple[int, ...]) -> list[Slot]:
    if node.weight == "plain":
        return [Slot(node.name, "weight", view, order, True)]
    scale = [Slot(node.name, "g", view[:1], (0,))] if node.weight == "normed" else []
    return [Slot(node.name, "v", view, order, True), *scale]


def _elements(node: NormNode) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """View and order of a norm's scale or shift: per element, or per channel."""
    if node.form.per_element and len(node.before) == 3:
        height, width, channels = node.before
        return (channels, height, width), (1, 2, 0)
    return node.before[-1:], (0,)


class Members:
    """The parameters of ``members`` instances of a net, and what does not depend on the net.

    ``flat`` and ``flat_gradient`` hold all values and gradients, those for which weight decay is
    meant by default in front (``decayed`` values). Every parameter is a block (members, …) of them.
    """

    def __init__(
        self, wanted: Iterable[Slot], members: int, dtype: torch.dtype, device: str
    ) -> None:
        self.slots = sorted(wanted, key=lambda slot: not slot.decayed)
        self.members, self.dtype, self.device = members, dtype, device
        sizes = [members * prod(slot.shape) for slot in self.slots]
        # not zeros_like: on the device "meta" its first call imports sympy, a third of a second
        self.flat, self.flat_gradient = (
            torch.zeros(sum(sizes), dtype=dtype, device=device) for _ in range(2)
        )
        self.decayed = sum(n for n, slot in zip(sizes, self.slots, strict=True) if slot.decayed)
        self.values = dict(self._blocks(self.flat))
        self.gradients = dict(self._blocks(self.flat_gradient))

    def statistics_of(self, member: int, plain: Net) -> Iterator[tuple[Tensor, Tensor]]:
        """A member's running statistics, each with the plain module's; there may be none."""
        del member, plain
        yield from ()

    def _blocks(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each parameter's name and its block of a tensor that is laid out as ``flat`` is."""
        start = 0
        for slot in self.slots:
            end = start + self.members * prod(slot.shape)
            yield slot.name, flat[start:end].view(self.members, *slot.shape)
            start = end

    def per_member(self, values: Tensor) -> Tensor:
        """A value per member (members,) at each of the member's places in ``flat``."""
        spread = torch.empty_like(self.flat, dtype=values.dtype)
        for _, block in self._blocks(spread):
            block.copy_(values.view(-1, *([1] * (block.dim() - 1))))
        return spread

    def member_norms(self, flat: Tensor) -> Tensor:
        """The Euclidean norm (members,) of each member's values in a tensor like ``flat``."""
        blocks = [block.flatten(1) for _, block in self._blocks(flat)]
        norms = [torch.linalg.vector_norm(block, dim=1) for block in blocks]
        found: Tensor = torch.linalg.vector_norm(torch.stack(norms, 1), dim=1)
        return found

    def _pairs(self, member: int, plain: Net, flat: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Each parameter's name, a member's values in its plain order, and the plain module's."""
        for slot, (name, block) in zip(self.slots, self._blocks(flat), strict=True):
            theirs = attrgetter(slot.attribute)(plain.parts[slot.part])
            yield name, slot.plain(block[member]), theirs

    @torch.no_grad()
    def load(self, member: int, plain: Net) -> None:
        """Copy parameters and buffers of a plain module to a member."""
        for mine, theirs in self.statistics_of(member, plain):
            mine.copy_(theirs)
        for _, mine, theirs in self._pairs(member, plain, self.flat):
            mine.copy_(theirs.view(mine.shape))

    @torch.no_grad()
    def store(self, member: int, plain: Net) -> None:
        """Copy a member's parameters and buffers to a plain module."""
        for mine, theirs in self.statistics_of(member, plain):
            theirs.copy_(mine)
        for _, mine, theirs in self._pairs(member, plain, self.flat):
            theirs.copy_(mine.reshape(theirs.shape))

    def plain_values(self, member: int, plain: Net, flat: Tensor) -> dict[str, Tensor]:
        """A member's values in a tensor like ``flat``, by their names in a plain module.

        Copies, in the order and the shapes of ``plain``, whose own values are not touched.
        """
        found = {
            f"parts.{name}": mine.reshape(theirs.shape).clone()
            for name, mine, theirs in self._pairs(member, plain, flat)
        }
        return {name: found[name] for name, _ in plain.named_parameters()}

    def set_step(self, step: int, steps: int) -> None:
        """Tell what changes in the course of a run that ``step`` of ``steps`` are taken."""

    def seed_dropout(self, member: int, seed: int) -> None:
        """Start a member's streams of masks, as the plain module does for the run with ``seed``."""
