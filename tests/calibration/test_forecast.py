"""Estimates of a whole study: the heaviest cells first, within a budget, and what rests on what."""

from __future__ import annotations

import pytest

from normbench.calibration import forecast as module
from normbench.calibration.estimate import Estimate
from normbench.calibration.forecast import MOST_CELLS, forecast
from normbench.plan.expand import expand
from tests.builders import experiment, study


class Machine:
    """A clock, and cells that take a second to measure and 1 ms a step to train."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.asked = 0.0, []
        monkeypatch.setattr(module, "estimate", self.estimate)

    def estimate(self, run, *how):
        self.now += 1.0
        self.asked.append(run.cell)
        self.most = how[-1]
        steps = run.cell.budget_in_steps(60 // run.cell.batch_size)
        reason = "" if run.cell.norm.name != "layer" else "it raises"
        if run.cell.norm.name == "batch":
            return Estimate(1e-3 * steps * run.cell.batch_size**0.5, "an engine less", True)
        return Estimate(1e-3 * steps * run.cell.batch_size**0.5, reason)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def runs_of(seeds=3, **product):
    return expand(study(experiment(product=product), seeds=seeds))


def test_no_cell_is_begun_behind_the_budget_and_the_first_always_is(machine):
    pending = runs_of(norm=["none", "batch", "layer"], batch_size=[4, 8, 16, 32])
    found = forecast(pending, "cpu", 4.5, machine.clock)
    assert (found.timed, found.cells) == (5, 12)
    assert found.alone == {"it raises": sum(c.norm.name == "layer" for c in machine.asked)}
    batches = sum(c.norm.name == "batch" for c in machine.asked)
    assert found.limited == ({"an engine less": batches} if batches else {})
    assert machine.most == pytest.approx(0.45)
    machine.asked.clear()
    assert forecast(pending, "cpu", 0.0, machine.clock).timed == 1
    assert forecast([], "cpu", 5.0, machine.clock) == module.Forecast(0.0, 0, 0)


def test_the_heaviest_cells_are_timed_first_and_every_kind_has_its_turn(machine):
    wide = {"name": "mlp", "width": 32}
    pending = runs_of(model=["mlp", wide, "linear"], norm=["none"], epochs=[1, 5, 20])
    forecast(pending, "cpu", 5.5, machine.clock)
    assert [c.epochs for c in machine.asked] == [20, 20, 20, 5, 5, 5]
    assert [c.model.label for c in machine.asked[:3]] == ["mlp", "mlp(width=32)", "linear"]


def test_cells_that_were_not_timed_take_what_those_like_them_take(machine):
    pending = runs_of(batch_size=[4, 16], norm=["none", "layer"], learning_rate=[0.1, 0.2])
    whole = forecast(pending, "cpu", None, machine.clock)
    assert whole.timed == whole.cells == 8
    part = forecast(pending, "cpu", 1.5, machine.clock)
    assert part.timed == 2
    assert part.seconds == pytest.approx(whole.seconds)
    by_hand = 4 * 3 * 1e-3 * (15 * 2 + 3 * 4)
    assert whole.seconds == pytest.approx(by_hand)


def test_without_a_budget_there_is_a_most(machine):
    pending = runs_of(1, batch_size=list(range(1, 30)), learning_rate=[0.1, 0.2, 0.3])
    found = forecast(pending, "cpu", None, machine.clock)
    assert (found.timed, found.cells) == (MOST_CELLS, 87)
