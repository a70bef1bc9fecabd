"""Which formulations are worth trying for a network, and what a packed net takes of memory."""

from __future__ import annotations

from math import prod

from normbench.models.describe import Network
from normbench.models.layers import Conv, MaxPool
from normbench.models.packed.convolution import GROUPED
from normbench.models.packed.graph import Node, nodes
from normbench.models.packed.net import PackedNet
from normbench.models.packed.winograd_convolution import suits

#: Rows of an item's windows that are worth keeping for the whole data set take at most this.
_ROW_BYTES = 1 << 14
#: From so many pixels in a batch on, torch's convolutions pay for being called member by member.
_PIXELS = 4096
#: From this batch size on, they pay for the gradient of the later layers' inputs, and Winograd's
#: convolutions for large images.
_TINY_BATCH = 4
#: From this batch size on, they pay for the weight's gradient, too, and Winograd's for small
#: images.
_LARGE_BATCH = 32
_FLOAT_BYTES = 4


def variants(net: Network, device: str) -> list[str]:
    """Names of formulations for a calibration to try, the most promising first.

    What is promising was measured with one thread. Small images are bound by the calls of
    operations; in large ones torch's convolution is best for few input channels. For more of them
    Winograd's is, unless the batch is so small that transforming the filters is much of the work:
    then it is one convolution of all members, and products of matrices for the later layers. In
    between it is Winograd's or one convolution of all members, as the processor has it.
    """
    convolutions = [node for node in nodes(net) if isinstance(node.layer, Conv)]
    if not convolutions:
        return [""]
    if device != "cpu":
        return ["mk", "im"]
    first = convolutions[0].name
    later = [n.layer for n in convolutions[1:] if isinstance(n.layer, Conv)]
    batch = net.batch_size
    tiled = [f"{first}=im,wg4,rows"] if batch >= _LARGE_BATCH and any(map(suits, later)) else []
    if _row_bytes(convolutions[0]) <= _ROW_BYTES:
        if batch < _TINY_BATCH:
            return ["rows,im/fold/im", "rows"]
        if batch * prod(convolutions[0].before[:2]) < _PIXELS:
            return [*tiled, "rows,im/fold/im", "rows", "rows,im/mk/im"]
        return [*tiled, "rows,im/mk/im", "rows", "rows,mk/mk/im"]
    large = [layer.name for layer in later if layer.kernel > 3]

    def ways(of_large: str, of_others: str) -> str:
        return ",".join([f"{first}=mk", *(f"{name}={of_large}" for name in large), of_others])

    mixed, native = ways("mk/mk/im", "im/mk/im"), f"{first}=mk,mk/mk/im"
    if not any(map(suits, later)):
        return [mixed, native, "im", "mk"]
    partly = ways("wg4", "im/mk/im")
    if batch < _TINY_BATCH:
        grouped = [
            ",".join([f"{first}={way}", *(f"{name}=gr" for name in large), "im/fold/im"])
            for way in ("gr/gr/mk", "gr")
        ]
        names = [*grouped, ways("wg4", "im"), ways("mk/mk/im", "im"), mixed]
    elif batch < _LARGE_BATCH:
        names = [f"{first}=mk,wg4", GROUPED, partly, native]
    else:
        names = [f"{first}=mk,wg4", ways("mk", "wg4"), "mk", native]
    return list(dict.fromkeys(names))


def _row_bytes(node: Node) -> int:
    """The bytes of the rows of an item's windows."""
    kernel = node.layer.kernel if isinstance(node.layer, Conv) else 0
    return prod(node.after[:2]) * kernel**2 * node.before[-1] * _FLOAT_BYTES


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
