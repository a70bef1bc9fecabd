"""Calibration: what is measured, and what bounds it."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from normbench.calibration import calibrate as module
from normbench.calibration.calibrate import calibrate, widths
from normbench.calibration.candidates import Together, together
from normbench.calibration.race import Candidate
from normbench.calibration.tasks import Calibration, Measured
from normbench.models.packed import UnsupportedError
from normbench.plan.execution import EngineSpec
from normbench.training.data import prepare
from normbench.training.packed import memory_of
from tests.builders import run_of


def task(runs: int = 8, total: int = 8, mode: str = "auto", **axes: Any) -> Calibration:
    axes = {"norm": "layer", "epochs": 50} | axes
    return Calibration("key", run_of(**axes), runs, total, "cpu", 1, mode)


def test_all_runs_at_once_are_tried_and_halves_of_them() -> None:
    assert widths(20) == [20, 10, 5, 3, 2]
    assert widths(2) == [2]
    assert widths(1) == []
    assert widths(192) == [96, 48, 24, 12, 6]
    assert len(widths(10_000)) <= 5
    assert max(max(widths(runs)) for runs in range(2, 2000)) <= 128


def test_both_engines_are_measured_and_told_with_the_steps_of_a_run() -> None:
    found = calibrate(task())
    assert {one.engine.name for one in found.measured} == {"plain", "packed"}
    assert found.steps == 50 * 7
    assert all(one.seconds > 0 for one in found.measured)
    assert max(one.width for one in found.measured) == 8
    assert found.seconds_of(found.measured[0].engine, 2) == pytest.approx(
        2 * 350 * found.measured[0].seconds
    )


@pytest.mark.parametrize("one", [task(runs=1, total=1), task(mode="plain")])
def test_nothing_is_measured_that_cannot_be_chosen(one: Calibration) -> None:
    assert [found.engine.name for found in calibrate(one).measured] == ["plain"]


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cell has a packed form."""

    def refuse(*_: object) -> list[str]:
        raise UnsupportedError("the norm mine is from another package")

    monkeypatch.setattr("normbench.training.packed.variants", refuse)


@pytest.mark.usefixtures("unpacked")
@pytest.mark.parametrize("mode", ["auto", "stacked", "packed"])
def test_a_cell_that_has_no_packed_form_is_stacked(mode: str) -> None:
    found = calibrate(task(mode=mode))
    assert {one.engine.name for one in found.measured} == {"plain", "stacked"}
    assert max(one.width for one in found.measured) == 8
    assert found.reason == ""


@pytest.mark.usefixtures("unpacked")
def test_a_cell_that_has_neither_form_keeps_the_plain_loop_and_tells_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = "stacking raises RuntimeError: no"
    monkeypatch.setattr("normbench.calibration.candidates.why_not_stacked", lambda *_: said)
    found = calibrate(task())
    assert [one.engine.name for one in found.measured] == ["plain"]
    assert found.reason == said


@pytest.mark.parametrize(
    ("work", "mode", "engines"),
    [
        (59.0, "auto", {"packed"}),  # the trial would take some of what it may save
        (60.0, "auto", {"packed", "stacked"}),
        (0.0, "stacked", {"packed", "stacked"}),
        (60.0, "packed", {"packed"}),
    ],
)
def test_a_packed_cell_is_stacked_too_where_that_may_pay(
    work: float, mode: str, engines: set[str]
) -> None:
    one = task(mode=mode)
    found = together(one, prepare(one.run.cell), work)
    assert {spec.name for spec in found.specs} == engines


def test_groups_that_would_not_fit_into_memory_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = task()
    room = memory_of(one.run.cell, prepare(one.run.cell), 4) + 1
    monkeypatch.setattr(module, "_room", lambda _: room)
    assert max(found.width for found in calibrate(one).measured) == 4
    monkeypatch.setattr(module, "_room", lambda _: 0)
    assert [found.engine.name for found in calibrate(one).measured] == ["plain"]


_ESTIMATES = """
import sys
from normbench.catalog import NORMS
from normbench.errors import UndefinedError
from normbench.models.describe import network
from normbench.models.packed import UnsupportedError, memory, variants
from tests.builders import cell

for model, shape in (("small-cnn", (1, 8, 8)), ("alexnet", (3, 64, 64)), ("mlp", (1, 8, 8))):
    for norm in NORMS.complete:
        for batch in (2, 32):
            net = network(cell(model=model, norm=norm, batch_size=batch), shape, 10)
            try:
                assert variants(net, "cpu") and memory(net, 4) > 0
            except (UnsupportedError, UndefinedError):
                continue
            assert "sympy" not in sys.modules, (model, norm, batch)
print("done")
"""


def test_estimating_memory_imports_no_computer_algebra() -> None:
    """On the device "meta" some of torch's calls do so: half of a short calibration's seconds."""
    code = [sys.executable, "-c", _ESTIMATES]
    said = subprocess.run(code, capture_output=True, text=True, check=False)
    assert said.stdout == "done\n", said.stderr


class Machine:
    """A made-up machine: its clock, and how slow it is, by turns, for a second or so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        self.now, self.seconds, self.slow = 0.0, seconds, random.Random(0)
        self.factor, self.until, self.slowest = 1.0, 0.0, 1.0
        self.taken: Counter[tuple[str, int]] = Counter()
        #: What a run's step takes in groups of a width, by one's in groups of others.
        self.by_width: dict[int, float] = {}
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(module, "Candidate", self.entrant)

    def entrant(self, _: Calibration, data: Any, spec: EngineSpec, width: int) -> Any:
        del data
        found: Any = Candidate.__new__(Candidate)
        found.spec, found.width, variant = spec, width, spec.variant

        def step() -> float:
            self.taken[variant, width] += 1
            while self.now >= self.until:
                self.until += self.slow.uniform(0.1, 2.0)
                self.factor = self.slow.uniform(1.0, self.slowest)
            seconds = self.seconds[variant] * self.by_width.get(width, 1.0) * self.factor
            self.now += seconds * found.width
            return seconds

        found.step = step
        step()
        return found

    def packed(self, one: Calibration, plain: float) -> list[Measured]:
        data = prepare(one.run.cell)
        specs = tuple(packed(variant) for variant in self.seconds)
        found = Together(specs, lambda members: memory_of(one.run.cell, data, members))
        return module._all_together(one, data, found, plain, 1)[0]


def packed(variant: str) -> EngineSpec:
    return EngineSpec("packed", variant, 1)


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_moment_does_not_decide(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest formulation is found though the machine is up to thrice as slow for seconds."""
    machine = Machine(monkeypatch, {"fair": 0.0055, "good": 0.005, "bad": 0.01})
    machine.slow, machine.slowest = random.Random(seed), 3.0
    found = machine.packed(task(total=10**6), 0.01)
    best = min((one for one in found if one.width == 8), key=lambda one: one.seconds)
    assert best.engine.variant == "good"
    by_name = {one.engine.variant: one.seconds for one in found if one.width == 8}
    assert by_name["bad"] / by_name["good"] == pytest.approx(2, rel=0.5)
    assert machine.taken["bad", 8] < machine.taken["good", 8]  # it dropped out
    # the widths are tried with the one that was found
    assert {one.engine.variant for one in found if one.width < 8} == {"good"}


@pytest.mark.parametrize("total", [1, 100, 10_000, 10**6])
def test_measuring_costs_a_small_share_of_what_waits(
    total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond that the first way alone is measured, by the few steps that cannot be spared."""
    machine = Machine(monkeypatch, {"one": 0.004, "two": 0.005, "three": 0.006})
    found = machine.packed(task(total=total), 0.01)
    fewest = 2 * 8 * 0.004  # warmed up and looked at
    a_round = 8 * (0.004 + 0.005 + 0.006)
    assert machine.now <= max(fewest, 0.03 * 0.01 * total + 2 * a_round)
    assert len({one.engine.variant for one in found}) == (1 if total <= 100 else 3)


def test_a_formulation_that_fails_does_not_take_the_others_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {"one": 0.004, "two": 0.005})

    def entrant(one: Calibration, data: Any, spec: EngineSpec, width: int) -> Any:
        if spec.variant == "two":
            raise RuntimeError("not enough memory")
        return machine.entrant(one, data, spec, width)

    monkeypatch.setattr(module, "Candidate", entrant)
    found = machine.packed(task(total=10**6), 0.01)
    assert {one.engine.variant for one in found} == {"one"}
    assert {one.width for one in found} == {8, 4, 2}


@pytest.mark.parametrize("seed", range(10))
def test_a_plain_loop_that_seemed_fast_is_measured_beside_the_best_group(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, {"": 0.007, "channels-last": 0.006, "one": 0.004})
    machine.slow, machine.slowest = random.Random(seed), 3.0
    one = task()
    best = machine.entrant(one, None, packed("one"), 8)
    seemed = [("plain", "", 1, 0.003), ("packed", "one", 8, 0.005), ("packed", "one", 4, 0.004)]
    seemed += [("plain", "channels-last", 1, 0.004), ("plain", "compiled", 1, 0.001)]
    measured = [Measured(EngineSpec(e, v, 1), w, seconds) for e, v, w, seconds in seemed]
    found = module._with_rivals(one, prepare(one.run.cell), list(measured), best, 60.0)
    assert [found[i] for i in (1, 2, 4)] == [measured[i] for i in (1, 2, 4)]
    assert found[0].seconds == pytest.approx(0.005 * 7 / 4, rel=0.2)
    assert found[3].seconds == pytest.approx(0.005 * 6 / 4, rel=0.2)


def test_plain_loops_are_not_measured_again_where_that_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, {"": 0.007, "one": 0.004})
    one = task()
    best = machine.entrant(one, None, packed("one"), 8)
    measured = [Measured(EngineSpec("plain", "", 1), 1, 0.003), one_wide := best.measured(0.004)]
    # three turns seem to take 3·(8·.004 + .003) s
    before = dict(machine.taken)
    assert module._with_rivals(one, prepare(one.run.cell), list(measured), best, 0.1) == measured
    assert machine.taken == before
    found = module._with_rivals(one, prepare(one.run.cell), list(measured), best, 0.11)
    assert found[1] == one_wide
    assert found[0].seconds == pytest.approx(0.007)


@pytest.mark.parametrize(("cells", "narrower"), [(1, [4, 2]), (3, [4, 2]), (4, [])])
def test_narrower_groups_are_tried_where_workers_would_have_none(
    cells: int, narrower: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers have two groups each where four cells wait."""
    machine = Machine(monkeypatch, {"one": 0.004})
    one = replace(task(total=10**6), workers=2, cells=cells)
    found = machine.packed(one, 0.01)
    assert [m.width for m in found if m.width < 8] == narrower


def test_the_threads_of_the_worker_are_set() -> None:
    before = torch.get_num_threads()
    try:
        calibrate(Calibration("key", run_of(norm="layer"), 2, 2, "cpu", 2, "plain"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_formulations_of_the_plain_loop_are_tried_where_that_is_a_small_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []
    real = module._plain

    def watch(one: Calibration, data: Any, variant: str) -> Any:
        tried.append(variant)
        return real(one, data, "")

    monkeypatch.setattr(module, "_plain", watch)
    monkeypatch.setattr(module, "_HOPELESS", math.inf)
    small = {"norm": "layer", "model": {"name": "small-cnn"}, "epochs": 1}
    calibrate(task(**small))
    assert tried == [""]
    tried.clear()
    calibrate(task(total=10**5, **small))  # about half an hour of work
    assert tried[:2] == ["", "channels-last"]
    assert len(tried) <= 3
    tried.clear()
    calibrate(task(total=10**9, **small))
    assert tried == ["", "channels-last", "compiled"]
    tried.clear()
    calibrate(task(total=10**9, norm="layer", epochs=1))  # no images
    assert tried == ["", "compiled"]
    tried.clear()
    monkeypatch.setattr(module, "_HOPELESS", 0.0)
    calibrate(task(total=10**9, **small))  # the packed form is far ahead
    assert tried == [""]


@pytest.mark.parametrize(
    ("runs", "plain", "at", "wider"),
    [
        (96, 1e-3, 24, [48, 96]),  # wider groups than usual come later
        (20, 1e-3, 20, []),
        (96, 0.005, 12, [24]),  # a step of 24 runs takes longer than a tenth of a second
        (20, 0.1, 2, [3]),
    ],
)
def test_formulations_are_compared_where_that_is_cheap(
    runs: int, plain: float, at: int, wider: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a group of twice the width, and of the most where that is faster."""
    seconds = {"one": plain, "two": 1.5 * plain, "three": 3 * plain}
    machine = Machine(monkeypatch, seconds)
    machine.by_width = {48: 0.9, 96: 0.5}
    monkeypatch.setattr(module, "_MOST", 1e6)
    machine.packed(task(runs=runs, total=10**9), plain)
    tried = list(machine.taken)
    assert {width for variant, width in tried if variant != "one"} == {at}
    assert tried[:3] == [("one", at), ("two", at), ("three", at)]
    assert [width for _, width in tried if width > at] == wider
