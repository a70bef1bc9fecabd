"""Which modules are normalization layers: by their exact type, of torch, torchvision and timm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Family = Literal["batch", "frozen-batch", "group", "instance", "layer", "rms", "given"]


@dataclass(frozen=True)
class Kind:
    """What a norm module is: its family, where its channels are, and what it does besides.

    With ``last`` the channels are the last dimension, else the first after the batch. ``then`` are
    the attributes that a fused layer applies behind the norm, in order.
    """

    family: Family
    last: bool = False
    then: tuple[str, ...] = ()


_FUSED = ("drop", "act")

#: By top-level package and class, so that neither torchvision nor timm is imported for it.
_KNOWN: dict[str, dict[str, Kind]] = {
    "torch": {
        **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"), Kind("batch")),
        "SyncBatchNorm": Kind("batch"),
        "GroupNorm": Kind("group"),
        **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), Kind("instance")),
        "LayerNorm": Kind("layer", last=True),
        "RMSNorm": Kind("rms", last=True),
    },
    "torchvision": {
        "FrozenBatchNorm2d": Kind("frozen-batch"),
        "LayerNorm2d": Kind("layer"),
    },
    "timm": {
        **dict.fromkeys(("BatchNormAct2d", "SyncBatchNormAct"), Kind("batch", then=_FUSED)),
        "FrozenBatchNormAct2d": Kind("frozen-batch", then=_FUSED),
        **dict.fromkeys(("GroupNorm", "GroupNorm1"), Kind("group")),
        **dict.fromkeys(("GroupNormAct", "GroupNorm1Act"), Kind("group", then=_FUSED)),
        **dict.fromkeys(("LayerNorm", "LayerNormFp32"), Kind("layer", last=True)),
        **dict.fromkeys(("LayerNorm2d", "LayerNorm2dFp32"), Kind("layer")),
        **dict.fromkeys(("LayerNormAct", "LayerNormActFp32"), Kind("layer", True, _FUSED)),
        **dict.fromkeys(("LayerNormAct2d", "LayerNormAct2dFp32"), Kind("layer", then=_FUSED)),
        **dict.fromkeys(("RmsNorm", "RmsNormFp32", "SimpleNorm", "SimpleNormFp32"),
                        Kind("rms", last=True)),
        **dict.fromkeys(("RmsNorm2d", "RmsNorm2dFp32", "SimpleNorm2d", "SimpleNorm2dFp32"),
                        Kind("rms")),
        **dict.fromkeys(("RmsNormAct", "RmsNormActFp32"), Kind("rms", True, _FUSED)),
        **dict.fromkeys(("RmsNormAct2d", "RmsNormAct2dFp32"), Kind("rms", then=_FUSED)),
    },
}  # fmt: skip

#: Classes of torch whose subclasses are norms, too.
_BASES = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Given(nn.Module):
    """What a factory gets as its ``norm_layer``: a place that a norm will take.

    It has a scale and a shift, as factories set them, and passes its input on.
    """

    def __init__(
        self, channels: int, *_more: object, eps: float | None = None, **_others: object
    ) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The input by itself, in memory of its own: an activation in place may follow."""
        return x.clone()


def kind_of(module: nn.Module) -> Kind | None:
    """The kind of a norm whose exact type is known; None for any other module."""
    if type(module) is Given:
        return Kind("given")
    return _known(type(module))


def is_unknown_norm(module: nn.Module) -> bool:
    """Whether a module is a subclass of a known norm, which may compute anything."""
    if kind_of(module) is not None:
        return False
    bases = type(module).__mro__[1:]
    return isinstance(module, _BASES) or any(_known(base) is not None for base in bases)


def looks_like_a_norm(module: nn.Module) -> bool:
    """Whether a module without modules in it is called a norm, and is none that is known."""
    called = "norm" in type(module).__name__.lower()
    return called and kind_of(module) is None and not any(True for _ in module.children())


def _known(cls: type) -> Kind | None:
    return _KNOWN.get(cls.__module__.partition(".")[0], {}).get(cls.__qualname__)
