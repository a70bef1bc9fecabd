"""Norms that compute in float32 inside a network that computes in 16 bits."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_SHORT = (torch.float16, torch.bfloat16)


@cache
def _in_float32(kind: Any) -> Any:
    """A class of modules that do what those of ``kind`` do, in float32 where inputs are shorter."""

    def forward(self: nn.Module, x: Tensor, *rest: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            if x.dtype not in _SHORT:
                return kind.forward(self, x, *rest)
            return kind.forward(self, x.float(), *rest).to(x.dtype)

    return type(f"Float32{kind.__name__}", (kind,), {"forward": forward})


def put_into_float32(norm: nn.Module) -> None:
    """Let a norm compute in float32 under autocast, and give what it is given: 16 bits, rounded.

    Its parameters, buffers and names stay the same, and so does what it computes of longer numbers.
    The module gets a class of its own, as torch's parametrizations do, so that it may be copied.
    """
    kind: Any = type(norm)
    norm.__class__ = _in_float32(kind)
