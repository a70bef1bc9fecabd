"""What is asked of a network's norms, and how their values are taken over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from normbench.models.describe import NormSpec


@dataclass(frozen=True)
class Wish:
    """The norm that is to stand at the sites, and how what was there is taken over.

    ``sites`` are ``all``, ``first-two``, or globs of qualified names; the rest are parameters of
    the model ``torch``.
    """

    norm: NormSpec
    batch_size: int
    sites: str | Sequence[str]
    affine: str
    constants: str
    bias_before: str
    on_misfit: str
