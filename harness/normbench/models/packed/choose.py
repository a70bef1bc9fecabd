"""Which packed form a network has, which formulations are worth trying, and what they take."""

from __future__ import annotations

import torch

from normbench.datasets.base import Task
from normbench.models.describe import Network
from normbench.models.layers import Recurrent
from normbench.models.packed.formulation import GROUPED, IM2COL
from normbench.models.packed.graph import ConvNode, UnsupportedError, lowered
from normbench.models.packed.net import PackedNet
from normbench.models.packed.recurrent import RecurrentNet

AnyPackedNet = PackedNet | RecurrentNet
#: Larger kernels than this have so many values in a window that copying them takes long.
_SMALL_KERNEL = 3


def is_recurrent(net: Network) -> bool:
    """Whether a network has recurrent layers."""
    return any(isinstance(layer, Recurrent) for layer in net.layers)


def pack(
    net: Network,
    members: int,
    *,
    task: Task = "classification",
    variant: str = "",
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> AnyPackedNet:
    """``members`` instances of a network as one computation.

    Raises :class:`UnsupportedError` where the plain loop is needed, and whatever
    :func:`normbench.models.plain.build` raises for the network.
    """
    if is_recurrent(net):
        return RecurrentNet(net, members, task=task, dtype=dtype, device=device)
    if task != "classification":
        raise UnsupportedError(f"the packed form trains classifications; this is a {task}")
    return PackedNet(net, members, variant=variant, dtype=dtype, device=device)


def variants(net: Network, device: str) -> list[str]:
    """Names of formulations for a calibration to try, the most promising first.

    What is promising was measured with one thread. Products of matrices are the faster, the smaller
    the batch and the images are, and where images have few channels they are so at any batch size.
    """
    if is_recurrent(net):
        return [""]
    convolutions = [node for node in lowered(net) if isinstance(node, ConvNode)]
    if not convolutions:
        return [""]
    if device != "cpu":
        return [GROUPED, IM2COL]
    first, *later = convolutions
    names: list[str] = [IM2COL, GROUPED]
    if later:
        names.append(f"{first.name}={IM2COL},{GROUPED}")
    large = [node.name for node in convolutions if node.kernel > _SMALL_KERNEL]
    if large and len(large) < len(convolutions):
        names.append(",".join([*(f"{name}={GROUPED}" for name in large), IM2COL]))
    return names


def memory(net: Network, members: int) -> int:
    """Estimated bytes of everything that a packed net holds at its peak, data set apart."""
    return pack(net, members, device="meta").peak
