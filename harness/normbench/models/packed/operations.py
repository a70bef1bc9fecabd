"""Which operation computes a node, and what evaluation computes as one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from normbench.models.packed.batch_norm import BatchNorms
from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.evaluator import Evaluated
from normbench.models.packed.forms import Node, NormNode
from normbench.models.packed.formulation import GROUPED
from normbench.models.packed.graph import (
    ArrangeNode,
    BiasNode,
    ConvNode,
    DropoutNode,
    FlattenNode,
    LinearNode,
    PoolNode,
    ReLUNode,
)
from normbench.models.packed.grouped import Arrangements, GroupedConvolutions
from normbench.models.packed.im2col import Im2colConvolutions
from normbench.models.packed.simple import Activations, Biases, Dropouts, Flattenings, Pools
from normbench.models.packed.weights import LinearLayers, Weighted


def _convolution(node: ConvNode, block: Block) -> Operation:
    kind = GroupedConvolutions if node.way == GROUPED else Im2colConvolutions
    return kind(node, block)


def _norm(node: NormNode, block: Block) -> Operation:
    if node.form.operation is None:
        raise TypeError(f"nothing computes the norm {node.name}")
    return node.form.operation(node, block)


#: For nodes of each kind what makes their operation.
OPERATIONS: Mapping[type[Node], Callable[[Any, Block], Operation]] = {
    LinearNode: LinearLayers,
    ConvNode: _convolution,
    BiasNode: Biases,
    NormNode: _norm,
    ReLUNode: Activations,
    PoolNode: Pools,
    FlattenNode: Flattenings,
    DropoutNode: Dropouts,
    ArrangeNode: Arrangements,
}


class Folded:
    """A layer, its bias and a batch norm: with fixed statistics all are a part of the weights."""

    def __init__(self, layer: Weighted, bias: Biases, norm: BatchNorms | None = None) -> None:
        self.layer, self.bias, self.norm = layer, bias, norm

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As one if that may be, and else the norm behind the others."""
        bias = self.bias.values
        if self.norm is None:
            return self.layer.evaluate(x, conditions, (None, bias))
        if conditions.mode != "collect" and self.norm.fixed(conditions):
            gain, shift = self.norm.gain_and_shift(conditions)
            return self.layer.evaluate(x, conditions, (gain, shift.addcmul(bias, gain)))
        return self.norm.evaluate(self.layer.evaluate(x, conditions, (None, bias)), conditions)


def folded(operations: Sequence[Operation]) -> list[Evaluated]:
    """What evaluation computes in order."""
    found: list[Evaluated] = []
    for one in operations:
        before = found[-1] if found else None
        if isinstance(one, Biases) and isinstance(before, Weighted):
            found[-1] = Folded(before, one)
        elif isinstance(one, BatchNorms) and isinstance(before, Folded) and before.norm is None:
            found[-1] = Folded(before.layer, before.bias, one)
        else:
            found.append(one)
    return found
