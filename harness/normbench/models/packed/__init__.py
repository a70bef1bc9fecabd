"""Many seeds of one network trained as one computation."""

from __future__ import annotations

from normbench.models.packed.graph import UnsupportedError
from normbench.models.packed.net import PackedNet, set_up
from normbench.models.packed.variants import memory, variants

__all__ = ["PackedNet", "UnsupportedError", "memory", "set_up", "variants"]
