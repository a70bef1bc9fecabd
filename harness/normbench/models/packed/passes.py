"""The passes that make of a network's graph the one that is computed, each a list into a list.

What each was measured to gain is in README.md: the ratio of a step's seconds without it to those
with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from normbench.models.packed.forms import Node, NormNode
from normbench.models.packed.formulation import GROUPED, Formulation
from normbench.models.packed.graph import (
    ArrangeNode,
    BiasNode,
    ConvNode,
    DropoutNode,
    FlattenNode,
    PoolNode,
    ReLUNode,
    WeightNode,
)

Nodes = list[Node]


def rewritten(nodes: Sequence[Node], rule: Callable[[Node, Node], Sequence[Node] | None]) -> Nodes:
    """The nodes, neighbours replaced by what a rule gives for them until it gives nothing more."""
    found, at = list(nodes), 0
    while at + 1 < len(found):
        new = rule(found[at], found[at + 1])
        if new is None:
            at += 1
        else:
            found[at : at + 2] = new
            at = max(at - 1, 0)
    return found


def pools_first(nodes: Nodes) -> Nodes:
    """Maxima commute with max(x, 0) and with adding a bias, and there are fewer maxima than values.

    Values and gradients are the same bits, but for the order in which a bias's gradient is summed.
    """

    def rule(first: Node, second: Node) -> Sequence[Node] | None:
        if isinstance(first, ReLUNode | BiasNode) and isinstance(second, PoolNode):
            return second, replace(first, before=second.after, after=second.after)
        return None

    return rewritten(nodes, rule)


def first_trained(nodes: Sequence[Node]) -> int:
    """The place of the first node with parameters, behind the end if there is none."""
    trained = (isinstance(node, WeightNode | BiasNode | NormNode) for node in nodes)
    return next((i for i, has_any in enumerate(trained) if has_any), len(nodes))


def gradients_end(nodes: Nodes) -> Nodes:
    """The first layer with parameters needs no gradient of its input: nothing before has any."""
    first = first_trained(nodes)
    return [
        replace(node, passes_back=False) if i == first and isinstance(node, WeightNode) else node
        for i, node in enumerate(nodes)
    ]


def _needs_together(node: Node) -> bool:
    """Whether an operation reads images of all members that lie together, and gives such."""
    return isinstance(node, ConvNode) and node.way == GROUPED


def _takes_both_layouts(node: Node) -> bool:
    """Whether images that lie together are as good as others, and are left so."""
    if isinstance(node, NormNode):
        return node.form.together
    return isinstance(node, BiasNode | ReLUNode | PoolNode)


def arranged(nodes: Nodes) -> Nodes:
    """Images lie together for grouped convolutions, and behind them as long as nobody minds."""
    found: Nodes = []
    together = False
    for node in nodes:
        wanted = _needs_together(node) or (
            together and len(node.before) == 3 and _takes_both_layouts(node)
        )
        if wanted != together:
            found.append(ArrangeNode("", node.before, node.before, wanted))
        together = wanted
        if isinstance(node, PoolNode | NormNode):
            node = replace(node, together=together)
        found.append(node)
    if together:
        found.append(ArrangeNode("", found[-1].after, found[-1].after, together=False))
    return found


def in_place(nodes: Nodes) -> Nodes:
    """What nobody else needs is changed where it lies: it is in a cache, and no memory is taken.

    The data are not to be changed, and what a layer with a weight gives only the next node reads.
    """
    found: Nodes = []
    made = own = False  # whether what comes is no longer the data, and whether it is such a layer's
    for node in nodes:
        match node:
            case ReLUNode():
                found.append(replace(node, in_place=made))
            case NormNode():
                found.append(replace(node, in_place=own))
            case PoolNode():
                found.append(replace(node, reuse=own))
            case _:
                found.append(node)
        made = made or not isinstance(node, DropoutNode | FlattenNode | ArrangeNode)
        own = isinstance(node, WeightNode) or (own and isinstance(node, ArrangeNode | BiasNode))
    return found


#: In this order: layouts are inserted before what is in place is decided by neighbours.
PASSES = (pools_first, gradients_end, arranged, in_place)


def optimized(nodes: Nodes, formulation: Formulation) -> Nodes:
    """The graph that is computed."""
    nodes = [
        replace(node, way=formulation.way_of(node.name)) if isinstance(node, ConvNode) else node
        for node in nodes
    ]
    for each in PASSES:
        nodes = each(nodes)
    return nodes
