"""Every probe of the catalogue conforms, and a probe that breaks a rule is found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from normbench.catalog import PROBES, Entry
from normbench.conformance.norms import ConformanceError
from normbench.conformance.probes import check_probe
from normbench.quantities import Quantity
from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss
from tests.training.probes.nets import batches, context_of, read, some_norms, tiny


@pytest.mark.parametrize("norm", some_norms("none", "batch", "weight"))
@pytest.mark.parametrize("name", PROBES)
def test_every_probe_conforms(name: str, norm: str) -> None:
    check_probe(name, norm)


@pytest.mark.parametrize("name", PROBES)
def test_every_quantity_that_a_probe_names_is_given(name: str) -> None:
    model = tiny("batch")
    previous = {n: 0.9 * p.detach() for n, p in model.named_parameters()}
    context = context_of(model, batches=batches(2), previous=previous)
    read(PROBES[name].load(), context)
    given = {quantity for quantity, _ in read(PROBES[name].load(), context)}
    if given:  # some speak of regressions alone
        assert given == {quantity.name for quantity in PROBES[name].gives}


@pytest.mark.parametrize("name", PROBES)
def test_a_diverged_net_ends_no_probe(name: str) -> None:
    model = tiny("none")
    with torch.no_grad():
        model.get_parameter("parts.conv1.weight").mul_(1e200)
    for value in read(PROBES[name].load(), context_of(model)).values():
        assert isinstance(value, float)


# -- probes that break a rule ------------------------------------------------------------------


def _one(value: Any = 1.0, name: str = "one") -> list[Measurement]:
    return [Measurement(name, "", value)]


def _trains(context: ProbeContext) -> Iterator[Measurement]:
    with torch.no_grad():
        next(context.model.parameters()).mul_(2)
    yield from _one()


def _uses_the_model_itself(context: ProbeContext) -> Iterator[Measurement]:
    context.loss(context.model(context.batches[0][0]), context.batches[0][1])
    yield from _one()


def _looks_at_the_mode(context: ProbeContext) -> Iterator[Measurement]:
    yield from _one(float(context.model.training))


def _draws_differently(context: ProbeContext) -> Iterator[Measurement]:
    yield from _one(float(torch.rand(1, generator=torch.Generator().manual_seed(len(SEEN)))))
    SEEN.append(1)


def _leaves_a_hook(context: ProbeContext) -> Iterator[Measurement]:
    context.model.register_forward_hook(lambda *_: None)
    yield from _one()


def _leaves_the_mode(context: ProbeContext) -> Iterator[Measurement]:
    context.model.train()
    yield from _one()


def _backward(context: ProbeContext) -> Iterator[Measurement]:
    objective = ProbeLoss(context)
    objective(dict(context.model.named_parameters())).backward()
    yield from _one()


def _writes_to_the_data(context: ProbeContext) -> Iterator[Measurement]:
    context.batches[0][0].zero_()
    yield from _one()


SEEN: list[int] = []
BROKEN: list[tuple[str, Callable[[ProbeContext], Any]]] = [
    ("changes parts.conv1.weight", _trains),
    ("changes parts.conv1_norm.running_mean.*the generator of parts.dropout",
     _uses_the_model_itself),
    ("other values", _looks_at_the_mode),
    ("other values", _draws_differently),
    ("changes the hooks", _leaves_a_hook),
    ("another mode", _leaves_the_mode),
    ("changes the gradient of parts.conv1.weight", _backward),
    ("changes the inputs of batch 0", _writes_to_the_data),
    ("changes the global generator", lambda context: _one(float(torch.rand(1)))),
    ("twice", lambda context: _one() * 2),
    ("does not name", lambda context: _one(name="two")),
    ("finite float", lambda context: _one(math.nan)),
    ("finite float", lambda context: _one(torch.ones(()))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "probe"), BROKEN)
def test_a_broken_probe_is_found(
    said: str, probe: Callable[[ProbeContext], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = Entry("tests:none", "a probe under test", gives=(Quantity("one", "one", "One."),))
    real = Entry.load
    monkeypatch.setattr(Entry, "load", lambda e: probe if e is entry else real(e))
    monkeypatch.setitem(PROBES._entries, "broken", entry)
    with pytest.raises(ConformanceError, match=said):
        check_probe("broken")
