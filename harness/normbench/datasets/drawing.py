"""Random numbers of other people's code: their generators are set from a stream, and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_states() -> tuple[Any, ...]:
    """Where the generators of torch (on the CPU), of numpy and of Python are, for comparisons."""
    kind, keys, *place = np.random.get_state(legacy=True)
    return torch.get_rng_state().tolist(), random.getstate(), kind, np.asarray(keys).tolist(), place


@contextmanager
def drawing(key: int, device: torch.device | None = None) -> Iterator[None]:
    """Within, torch, numpy and Python draw from generators that ``key`` alone decides.

    Afterwards they are where they were. ``device`` is an accelerator whose generator is among them.
    """
    torchs, numpys, pythons = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = device if device is not None and device.type == "cuda" else None
    on_device = None if cuda is None else torch.cuda.get_rng_state(cuda)
    try:
        torch.default_generator.manual_seed(key)
        np.random.seed(key % 2**32)
        random.seed(key)
        if cuda is not None:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(key)
        yield
    finally:
        torch.set_rng_state(torchs)
        np.random.set_state(numpys)
        random.setstate(pythons)
        if cuda is not None and on_device is not None:
            torch.cuda.set_rng_state(on_device, cuda)
