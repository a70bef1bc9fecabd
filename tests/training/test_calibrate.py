"""Calibration: what is measured, and what bounds it."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch

from normbench.models.packed.net import UnsupportedError
from normbench.plan.execution import Engine
from normbench.training import calibrate as module
from normbench.training.calibrate import calibrate, widths
from normbench.training.data import prepare
from normbench.training.work import Calibration, Measured
from tests.builders import run_of


def task(runs: int = 8, total: int = 8, mode: str = "auto", **axes: Any) -> Calibration:
    axes = {"norm": "layer", "epochs": 50} | axes
    return Calibration("key", run_of(**axes), runs, total, "cpu", 1, mode)


def test_all_runs_at_once_are_tried_and_halves_of_them() -> None:
    assert widths(20) == [20, 10, 5, 3, 2]
    assert widths(2) == [2]
    assert widths(1) == []
    assert len(widths(10_000)) <= 5


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


def test_a_cell_that_has_no_packed_form_keeps_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> list[str]:
        raise UnsupportedError("the norm mine is from another package")

    monkeypatch.setattr("normbench.training.ensemble.variants", refuse)
    assert [one.engine.name for one in calibrate(task()).measured] == ["plain"]


def test_groups_that_would_not_fit_into_memory_are_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from normbench.training.ensemble import memory_of

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
from normbench.models.packed.net import UnsupportedError
from normbench.models.packed.variants import memory, variants
from tests.builders import cell

for model, shape in (("small-cnn", (1, 8, 8)), ("alexnet", (3, 64, 64)), ("mlp", (1, 8, 8))):
    for norm in NORMS:
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


def test_measuring_costs_a_small_share_of_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    real = module._seconds_per_step

    def watch(step: Any, device: str, budget: float) -> float:
        seen.append(budget)
        return real(step, device, budget)

    monkeypatch.setattr(module, "_seconds_per_step", watch)
    found = calibrate(task(epochs=1))
    work = found.measured[0].seconds * found.steps * 8
    assert sum(seen[1:]) <= 0.03 * work


@pytest.mark.parametrize("slow_looks", [0, 1, 2, 3, 9])
def test_a_slow_moment_does_not_decide(slow_looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster formulation is found though the machine was slow when it was looked at first."""
    seconds = {"good": 1.0, "fair": 1.1, "bad": 2.0}
    looks: dict[tuple[str, int], int] = {}

    def measure(one: Calibration, _: Any, variant: str, width: int, budget: float) -> Measured:
        del budget
        looks[variant, width] = seen = looks.get((variant, width), 0) + 1
        slow = variant == "good" and seen <= slow_looks
        return Measured(
            Engine("packed", variant, 1), width, seconds[variant] * (1.2 if slow else 1)
        )

    monkeypatch.setattr(module, "_packed", measure)
    monkeypatch.setattr("normbench.training.ensemble.variants", lambda *_: list(seconds))
    monkeypatch.setattr(module, "_SHARE", 1.0)
    found = [one for one in calibrate(task(total=1000)).measured if one.engine.name == "packed"]
    best = min((one for one in found if one.width == 8), key=lambda one: one.seconds)
    assert best.engine.variant == ("good" if slow_looks <= 3 else "fair")
    assert looks["bad", 8] == 1  # nothing is left open there
    assert looks["good", 8] == looks["fair", 8] == 4
    # the widths are tried with the one that was found
    assert {one.engine.variant for one in found if one.width < 8} == {best.engine.variant}


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
    found = calibrate(task(total=10**9, **small))
    assert tried == ["", "channels-last", "compiled"]
    assert {one.engine.variant for one in found.measured} >= {""}
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
        (192, 1e-3, 24, [48, 96]),  # wider groups than usual come later
        (20, 1e-3, 20, []),
        (192, 0.005, 12, [24]),  # a step of 24 runs takes longer than a tenth of a second
        (20, 0.1, 2, [3]),
    ],
)
def test_formulations_are_compared_where_that_is_cheap(
    runs: int, plain: float, at: int, wider: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And wider groups are tried from there on, as long as a run of theirs takes less."""
    seconds = {"one": 1.0, "two": 1.5, "three": 3.0}
    tried: list[tuple[str, int]] = []

    def measure(one: Calibration, _: Any, variant: str, width: int, budget: float) -> Measured:
        del budget
        tried.append((variant, width))
        wide = {48: 0.9, 96: 0.89, 192: 0.5}.get(width, 1.0)
        return Measured(Engine("packed", variant, 1), width, plain * seconds[variant] * wide)

    monkeypatch.setattr(module, "_packed", measure)
    monkeypatch.setattr("normbench.training.ensemble.variants", lambda *_: list(seconds))
    monkeypatch.setattr(module, "_MOST", 24.0)
    one = task(runs=runs, total=10**6)
    module._all_packed(one, prepare(one.run.cell), plain, 1)
    assert {width for variant, width in tried if variant != "one"} == {at}
    assert tried[:3] == [("one", at), ("two", at), ("three", at)]
    assert [width for _, width in tried if width > at] == wider
