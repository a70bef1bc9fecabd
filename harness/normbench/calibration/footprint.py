"""The memory that a training step needs besides the data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from normbench.training.plain import PlainEngine


class StepMemory:
    """The memory of a step, in MiB, above what the device held when this was made.

    A CUDA device tells its maximum. A process's own maximum holds all that its libraries ever
    took, so on other devices the bytes are counted: parameters, buffers, gradients, the
    optimizer's state, and what the forward pass keeps for the backward pass (each once, however
    often it is kept). Passing values that are freed within a pass are not in that count.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.before = 0
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)

    def of_step(self, engine: PlainEngine, forward: Callable[[], Tensor]) -> tuple[float, str]:
        """MiB, and ``measured`` or ``counted``; the engine has taken at least one step.

        ``forward`` gives the loss of a batch.
        """
        if self.device.startswith("cuda"):
            most = torch.cuda.max_memory_allocated(self.device)
            return (most - self.before) / 2**20, "measured"
        return counted_bytes(engine, forward) / 2**20, "counted"


def counted_bytes(engine: PlainEngine, forward: Callable[[], Tensor]) -> int:
    """Bytes of parameters, buffers, gradients, optimizer state and what the backward pass needs."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    for tensor in (*engine.model.parameters(), *engine.model.buffers()):
        note(tensor)
    for tensor in _tensors(vars(engine.optimizer)):
        note(tensor)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()  # holds what was kept, so that no address is used twice
    found = sum(storages.values())
    del loss
    return found + sum(p.numel() * p.element_size() for p in engine.weights)


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in lists, in mappings and in what plain objects hold."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
    elif hasattr(value, "__dict__") and not callable(value):
        yield from _tensors(vars(value))
