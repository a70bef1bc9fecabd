"""In what a network computes: float32, or a type of 16 bits by torch's autocast.

Matrix products and convolutions then take and give 16 bits, and parameters, gradients and the
optimizer's state stay as they are. Norms at their sites are put into float32 by
:func:`prepare_norms`, unless the cell leaves them to autocast. Numbers of float64, in comparisons
of engines, are left alone by all of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from normbench.errors import UsageError
from normbench.models.plain import sites_of
from normbench.norms.float32 import put_into_float32
from normbench.protocol.schema import Cell

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Functions that vmap takes apart before autocast sees them.
_TAKEN_APART = frozenset(
    (
        nn.functional.linear, torch.addmm, torch.addbmm, torch.baddbmm,
        torch.conv1d, torch.conv2d, torch.conv3d,
        torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
    )
)  # fmt: skip


@dataclass(frozen=True)
class Precision:
    """The precision of a cell's runs on a device, and that of their norms."""

    name: str = "fp32"
    norms: str = "fp32"
    device: str = "cpu"

    @classmethod
    def of(cls, cell: Cell, device: str) -> Precision:
        """That of a cell."""
        return cls(cell.precision, cell.norm_precision, torch.device(device).type)

    @property
    def type(self) -> torch.dtype | None:
        """The type of 16 bits, if there is one."""
        return _TYPES.get(self.name)

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled: the least positive number of float16 is 6·10⁻⁸."""
        return self.name == "fp16"

    def prepare_norms(self, model: nn.Module) -> None:
        """Let the norms at the sites of a model compute in float32, where they are to."""
        if self.type is not None and self.norms == "fp32":
            for norm in sites_of(model):
                put_into_float32(norm)

    def autocast(self) -> AbstractContextManager[object]:
        """Within this context a forward pass computes in this precision.

        Nothing is kept of weights' casts, since weights change between two passes.
        """
        if self.type is None:
            return nullcontext()
        return torch.autocast(self.device, self.type, cache_enabled=False)


FLOAT32 = Precision()


class MappedProducts(TorchFunctionMode):
    """Lets convolutions and products with a bias compute in 16 bits inside ``torch.vmap``.

    There they are taken apart before autocast sees them, and would be, or end, in float32.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        kwargs = kwargs or {}
        if func in _TAKEN_APART and torch.is_autocast_enabled(args[0].device.type):
            to = torch.get_autocast_dtype(args[0].device.type)
            args = [_cast(value, to) for value in args]
            kwargs = {name: _cast(value, to) for name, value in kwargs.items()}
        return func(*args, **kwargs)


def _cast(value: Any, to: torch.dtype) -> Any:
    return value.to(to) if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def widened(outputs: Tensor) -> Tensor:
    """Outputs of 16 bits as float32, in which losses are computed; others as they are."""
    return outputs.float() if outputs.dtype in _TYPES.values() else outputs


def check_settings(cell: Cell) -> None:
    """Raise :class:`UsageError` for settings that would be without effect."""
    if cell.precision == "fp32" and cell.norm_precision != "fp32":
        raise UsageError(
            f"norm_precision = {cell.norm_precision!r} is for networks that compute in 16 bits; "
            "received precision = 'fp32': leave norm_precision out, or zip it with the precision"
        )
    if not cell.ema and cell.ema_buffers != "averaged":
        raise UsageError(
            f"ema_buffers = {cell.ema_buffers!r} is for runs whose weights are averaged; received "
            "ema = 0: leave ema_buffers out, or zip it with ema"
        )
