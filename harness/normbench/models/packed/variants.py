"""Which formulations are worth trying for a network, and what a packed net takes of memory."""

from __future__ import annotations

from math import prod

from normbench.models.describe import Network
from normbench.models.layers import Conv, MaxPool
from normbench.models.packed.graph import nodes
from normbench.models.packed.net import PackedNet


def variants(net: Network, device: str) -> list[str]:
    """Names of formulations for a calibration to try, the most promising first."""
    convolutions = [node for node in nodes(net) if isinstance(node.layer, Conv)]
    if not convolutions:
        return [""]
    if device != "cpu":
        return ["mk", "im"]
    return ["rows,im", "im", "im/mk/im", "mk"]


def memory(net: Network, members: int) -> int:
    """Estimated bytes of everything that a packed net holds at its peak, data set apart."""
    packed = PackedNet(net, members, device="meta")
    size = packed.flat.element_size()
    samples = packed.block * net.batch_size
    largest = max(prod(shape) for node in packed.nodes for shape in (node.before, node.after))
    # besides what is kept: the pools' outputs and places, and gradients on their way
    pooled = sum(prod(n.after) for n in packed.nodes if isinstance(n.layer, MaxPool))
    passing = samples * (pooled * (size + 8) + 3 * largest * size)
    return packed.bytes + passing
