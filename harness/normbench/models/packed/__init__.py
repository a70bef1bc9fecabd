"""Many seeds of one network trained as one computation."""

from __future__ import annotations

from normbench.models.packed.choose import memory, variants
from normbench.models.packed.graph import UnsupportedError
from normbench.models.packed.net import PackedNet

__all__ = ["PackedNet", "UnsupportedError", "memory", "variants"]
