"""Which packed form a network has, and what it takes of memory."""

from __future__ import annotations

import torch

from normbench.datasets.base import Task
from normbench.models.describe import Network
from normbench.models.layers import Recurrent
from normbench.models.packed.graph import UnsupportedError
from normbench.models.packed.net import PackedNet
from normbench.models.packed.recurrent import RecurrentNet
from normbench.models.packed.variants import memory as feed_forward_memory
from normbench.models.packed.variants import variants as feed_forward_variants

AnyPackedNet = PackedNet | RecurrentNet
#: Values per gate and step that the automatic gradients of a recurrent layer keep, roughly.
_KEPT = 4


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
    """Names of formulations for a calibration to try, the most promising first."""
    return [""] if is_recurrent(net) else feed_forward_variants(net, device)


def memory(net: Network, members: int) -> int:
    """Estimated bytes of everything that a packed net holds at its peak, data set apart."""
    if not is_recurrent(net):
        return feed_forward_memory(net, members)
    packed = RecurrentNet(net, members, device="meta")
    features, steps = net.shape
    rows = packed.parameters.values[f"{packed.layer.name}.bias"].shape[1]
    values = members * net.batch_size * steps * (features + _KEPT * rows)
    return packed.bytes + values * packed.flat.element_size()
