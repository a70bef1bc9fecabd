"""Norms that compute something else as the run goes on, and how they learn where it is."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


class Scheduled:
    """A norm whose function depends on how far the run is; to be inherited beside a module.

    The training loop calls :func:`set_step` before each step. A norm that nobody tells is at the
    start of a run. The place in the run is no buffer: it is the loop's, and the same for all
    layers.
    """

    #: Training batches taken before the present one, and those of the whole run.
    step: int = 0
    steps: int = 1

    @property
    def done(self) -> float:
        """The share of the run that is over, from 0 to below 1."""
        return self.step / self.steps


def scheduled(model: nn.Module) -> list[Scheduled]:
    """The layers of a model that need to know where the run is."""
    return [module for module in model.modules() if isinstance(module, Scheduled)]


def set_step(norms: Iterable[Scheduled], step: int, steps: int) -> None:
    """Tell norms that ``step`` of ``steps`` training batches have been taken."""
    for norm in norms:
        norm.step, norm.steps = step, steps


def ramp(done: float, start: float, end: float) -> float:
    """0 before ``start``, 1 from ``end`` on, and a straight line in between; shares of the run."""
    if done < start:
        return 0.0
    return 1.0 if done >= end else (done - start) / (end - start)
