"""The contract of an engine, for each of them: against a network and its steps written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.models.describe import network
from normbench.models.plain import Net, build, initialise
from normbench.plan.execution import EngineSpec
from normbench.plan.spec import RunSpec
from normbench.training.data import Prepared, prepare
from normbench.training.engine import Engine, clip_factor
from normbench.training.engines import make_engine, units
from tests.builders import run_of
from tests.training.engines import in_double

ENGINES = ["plain", "packed", "stacked"]
MOST, RATES, MOMENTUM = 0.3, (0.05, 0.02, 0.05), 0.9
NORMS = ["batch", "group", "weight", "none"]


def runs_of(norm: str) -> list[RunSpec]:
    axes: dict[str, Any] = {
        "model": {"name": "small-cnn", "width": 8}, "norm": norm, "batch_size": 6, "epochs": 1,
        "clip_norm": MOST, "optimizer": {"name": "sgd", "momentum": MOMENTUM},
    }  # fmt: skip
    return [run_of(seed, learning_rate=rate, **axes) for seed, rate in enumerate(RATES)]


class Written:
    """A run's network, trained by torch's own autograd, clipping and optimizer."""

    def __init__(self, run: RunSpec, data: Prepared) -> None:
        self.data = data
        self.net: Net = build(network(run.cell, data.shape, data.classes)).double()
        initialise(self.net, run.seed, run.cell.init)
        self.optimizer = torch.optim.SGD(self.net.parameters(), run.cell.learning_rate, MOMENTUM)

    def gradients(self, index: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.net(self.data.train.x[index])
        loss = functional.cross_entropy(outputs, self.data.train.y[index])
        self.optimizer.zero_grad()
        loss.backward()
        return loss.detach(), outputs.detach()

    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.net.parameters(), MOST)
        self.optimizer.step()

    def values(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.net.named_parameters()}

    def gradient_norm(self) -> float:
        return norm_of([p.grad for p in self.net.parameters() if p.grad is not None])


def norm_of(tensors: list[Tensor]) -> float:
    return float(torch.cat([t.flatten() for t in tensors]).norm())


def close(found: Any, wanted: Any) -> bool:
    return torch.allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_the_numbers_of_each_of_its_runs(name: str, norm: str) -> None:
    """Two steps whose gradients are looked at, with a step between them of which nobody asks."""
    runs = runs_of(norm)
    data = in_double(prepare(runs[0].cell))
    for own in units(EngineSpec(name), runs):
        engine = make_engine(EngineSpec(name), own, data)
        _two_steps(engine, [Written(run, data) for run in own])


def _two_steps(engine: Engine, written: list[Written]) -> None:
    members = range(len(written))
    first = written[0].net
    assert engine.parameters == sum(p.numel() for p in first.parameters())
    assert engine.buffers == sum(b.numel() for b in first.buffers())
    assert engine.batch_statistics == any(b.numel() for b in first.buffers())
    assert [rates.at(0) for rates in engine.rates] == [r.cell.learning_rate for r in engine.runs]
    for step, alone in enumerate((True, False, True)):
        index = torch.arange(6 * len(written)).view(-1, 6) + 3 * step
        engine.begin(step)
        losses, outputs, labels = engine.gradients(index, alone=alone)
        for member, one in enumerate(written):
            loss, wanted = one.gradients(index[member])
            assert close(losses[member], loss)
            assert close(outputs[member], wanted)
            assert torch.equal(labels[member], one.data.train.y[index[member]])
        before = [one.values() for one in written]
        if alone:
            wanted_norms = [one.gradient_norm() for one in written]
            assert max(wanted_norms) > MOST  # they are to be clipped, and were not yet
            assert engine.gradient_norms() == pytest.approx(wanted_norms, rel=1e-9)
            snapshot = engine.snapshot()
        engine.update(step)
        for one in written:
            one.update()
        now = [one.values() for one in written]
        if not alone:
            continue
        assert engine.weight_norms() == pytest.approx(
            [norm_of(list(v.values())) for v in now], rel=1e-9
        )
        changes = [[now[m][k] - before[m][k] for k in now[m]] for m in members]
        assert engine.change_norms(snapshot) == pytest.approx(
            [norm_of(change) for change in changes], rel=1e-9
        )
        for member in members:
            values = engine.values(member, snapshot)
            assert values.keys() == before[member].keys()
            assert all(close(values[k], v) for k, v in before[member].items())
    for member, one in enumerate(written):
        state, wanted_state = engine.export(member).state_dict(), one.net.state_dict()
        assert state.keys() == wanted_state.keys()
        assert all(close(state[k], v) for k, v in wanted_state.items())


@pytest.mark.parametrize("name", ENGINES)
def test_what_is_exported_is_nobodys_memory(name: str) -> None:
    runs = runs_of("batch")
    data = in_double(prepare(runs[0].cell))
    for own in units(EngineSpec(name), runs):
        engine = make_engine(EngineSpec(name), own, data)
        norms = engine.weight_norms()
        spoilt, snapshot = engine.export(0), engine.snapshot()
        with torch.no_grad():
            for tensor in (*spoilt.parameters(), *spoilt.buffers()):
                tensor.fill_(7)
        assert engine.weight_norms() == norms
        assert engine.change_norms(snapshot) == [0.0] * len(own)
        state = engine.export(0).state_dict()
        wanted = Written(own[0], data).net.state_dict()
        assert all(torch.equal(state[k], v) for k, v in wanted.items())


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_a_session_leaves_the_process_as_it_was(name: str, before: bool, fails: bool) -> None:
    runs = runs_of("layer")[:1]
    engine = make_engine(EngineSpec(name), runs, prepare(runs[0].cell))
    torch.backends.mkldnn.enabled = before  # type: ignore[assignment]
    try:
        with engine.session():
            # six images of 8 by 8 are not worth oneDNN's set-up where a run is computed alone
            assert torch.backends.mkldnn.enabled == (name != "plain")
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert torch.backends.mkldnn.enabled == before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (EngineSpec("plain", "rows"), "no variant 'rows'"),
        (EngineSpec("stacked", "rows"), "no engine 'stacked' with the variant 'rows'"),
        (EngineSpec("torn"), "no engine 'torn'"),
    ],
)
def test_an_engine_that_there_is_not_is_a_bug(spec: EngineSpec, said: str) -> None:
    runs = runs_of("layer")[:1]
    with pytest.raises(ValueError, match=said):
        make_engine(spec, runs, prepare(runs[0].cell))


def test_runs_are_trained_one_by_one_or_all_at_once() -> None:
    runs = runs_of("layer")
    assert units(EngineSpec("plain"), runs) == [[run] for run in runs]
    for name in ("packed", "stacked"):
        assert units(EngineSpec(name), runs) == [runs]


def test_clipping_is_that_of_torch() -> None:
    for size in (0.1, 1.0, 40.0):
        vector = nn.Parameter(torch.zeros(3))
        vector.grad = torch.full((3,), size)
        factor = clip_factor(vector.grad.norm(), 1.0)
        wanted = vector.grad * factor
        nn.utils.clip_grad_norm_([vector], 1.0)
        assert torch.allclose(vector.grad, wanted, rtol=1e-6)
