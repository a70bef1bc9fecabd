"""Probes in a run: what they are given at each evaluation, and the rows that they give.

They look at a private copy of the network and draw from no stream of the training, so that a run
has the same numbers with and without them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from normbench.catalog import PROBES
from normbench.models.dropout import StreamDropout
from normbench.norms.schedule import scheduled
from normbench.plan.seeds import stream_key
from normbench.plan.spec import RunSpec
from normbench.training.budget import set_batch
from normbench.training.data import Prepared
from normbench.training.probes.base import Batch, Measurement, Probe, ProbeContext, undisturbed

#: Batches on which probes compute, at most: fewer where the training split has no more.
MOST_BATCHES = 8


class ProbeError(Exception):
    """A probe raised an error, or gave what it does not say that it gives; the run has failed."""


def probe_batches(run: RunSpec, data: Prepared, most: int = MOST_BATCHES) -> tuple[Batch, ...]:
    """Inputs and labels of the probe batches of a run, each of the cell's batch size.

    They are drawn from the training split without replacement; the seed alone decides the order of
    the items, so that all norms and evaluations of a seed have the same ones.
    """
    items, size = len(data.train), run.cell.batch_size
    generator = torch.Generator().manual_seed(stream_key(run.seed, "probe", "batches"))
    order = torch.randperm(items, generator=generator).to(data.train.y.device)
    places = [order[i * size : (i + 1) * size] for i in range(min(most, items // size))]
    return tuple((data.train.inputs(index), data.train.y[index]) for index in places)


class Probing:
    """The probes of one run: what they remember, and what they have given so far.

    ``rows`` are those of the table ``probes``, without the run; ``seconds`` is the time spent.
    """

    def __init__(self, run: RunSpec, data: Prepared) -> None:
        self.run, self.data = run, data
        self.probes: dict[str, Probe] = {name: PROBES[name].load() for name in run.cell.probes}
        self.memory: dict[str, dict[str, Any]] = {name: {} for name in self.probes}
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0

    def look(
        self, row: Mapping[str, Any], model: nn.Module, previous: Mapping[str, Tensor] | None
    ) -> None:
        """Run all probes at the evaluation whose row of ``epochs`` this is.

        ``model`` is a private copy of the network, ``previous`` holds the parameters before the
        last step, by name, and is None before training. Raises :class:`ProbeError`.
        """
        started = time.perf_counter()
        model.train()
        per_epoch = len(self.data.train) // self.run.cell.samples_per_step
        # the norm that a run's last step left behind is looked at as the next step would see it
        cell = self.run.cell
        set_batch(scheduled(model), cell, int(row["step"]), cell.budget_in_steps(per_epoch))
        self._seed(model)
        batches = probe_batches(self.run, self.data)
        with torch.enable_grad():
            for name, probe in self.probes.items():
                context = ProbeContext(
                    model=model,
                    loss=self.data.objective.loss,
                    batches=batches,
                    learning_rate=float(row["learning_rate"]),
                    momentum=_momentum(self.run),
                    weight_decay=float(self.run.cell.optimizer.params.get("weight_decay", 0.0)),
                    previous=previous,
                    memory=self.memory[name],
                )
                place = {"step": row["step"], "epoch": row["epoch"]}
                self.rows += [place | value for value in self._values(name, probe, context)]
        self.seconds += time.perf_counter() - started

    def _seed(self, model: nn.Module) -> None:
        """Give dropout masks of the probes' own, the same at every evaluation."""
        for module in model.modules():
            if isinstance(module, StreamDropout):
                key = stream_key(self.run.seed, "probe", module.name)
                module.generator = torch.Generator().manual_seed(key)

    def _values(self, name: str, probe: Probe, context: ProbeContext) -> Iterator[dict[str, Any]]:
        given = {q.name for q in PROBES[name].gives}
        seen: set[tuple[str, str]] = set()
        try:
            with undisturbed(context.model):
                values = list(probe(context))
        except Exception as error:
            text = " ".join(str(error).split())
            raise ProbeError(f"the probe {name!r} raised {type(error).__name__}: {text}") from error
        for value in map(Measurement._make, values):
            key = (value.probe, value.layer)
            if value.probe not in given:
                raise ProbeError(
                    f"the probe {name!r} gave the quantity {value.probe!r}, which its catalogue "
                    f"entry does not name (it names {', '.join(sorted(given)) or 'none'})"
                )
            if key in seen:
                raise ProbeError(f"the probe {name!r} gave {value.probe!r} of {key[1]!r} twice")
            seen.add(key)
            number = float(value.value)
            yield {
                "probe": value.probe,
                "layer": value.layer,
                "value": number if math.isfinite(number) else math.nan,
            }


def _momentum(run: RunSpec) -> float:
    """The decay of the first context: SGD's momentum, or Adam's β₁."""
    params = run.cell.optimizer.params
    return float(params.get("momentum", params.get("beta1", 0.0)))


def private_copy(model: nn.Module) -> nn.Module:
    """A copy of a network that shares no tensor with it and has no generators of dropout masks."""
    held = [m.generator for m in model.modules() if isinstance(m, StreamDropout)]
    return copy.deepcopy(model, {id(generator): None for generator in held})
