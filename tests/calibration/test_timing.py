"""Timing steps: turns, repetitions, parts, counted memory, and what is left as it was."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from normbench.calibration import timing
from normbench.calibration.cost import cost_key
from normbench.calibration.footprint import counted_bytes
from normbench.calibration.step_timing import Steps
from normbench.calibration.timing import LEAST, MOST, TimingTask, time_cells
from normbench.errors import UndefinedError
from normbench.training.data import prepare
from normbench.training.plain import PlainEngine
from tests.builders import cell, run_of


class Clock:
    """A clock that goes on by ``tick`` seconds at each look; ``looks`` counts them."""

    def __init__(self, tick: float = 1.0) -> None:
        self.tick, self.looks = tick, 0

    def __call__(self) -> float:
        self.looks += 1
        return self.tick * self.looks


def runs(*norms: str, **axes):
    return tuple(run_of(norm=norm, **axes) for norm in norms)


@pytest.fixture
def turns(monkeypatch) -> list[str]:
    """The norms whose cells were built, in order."""
    built = []

    class Told(Steps):
        def __init__(self, run, device):
            built.append(run.cell.norm.name)
            super().__init__(run, device)

    monkeypatch.setattr(timing, "Steps", Told)
    return built


# -- repetitions -------------------------------------------------------------------------------


def test_all_cells_take_one_turn_in_every_repetition_in_changing_order(turns):
    norms = ("none", "batch", "layer", "group")
    rows = time_cells(TimingTask(runs(*norms), "cpu", 1, 0.0), Clock())
    rounds = [turns[i : i + 4] for i in range(0, len(turns), 4)]
    assert rounds[0] == list(norms)  # the warm-up
    assert len(rounds) == 1 + LEAST
    assert all(sorted(one) == sorted(norms) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    assert Counter(row["repetition"] for row in rows) == dict.fromkeys(range(LEAST), 4)
    before = list(turns)
    turns.clear()
    time_cells(TimingTask(runs(*norms), "cpu", 1, 0.0), Clock())
    assert turns == before  # the orders are the same in every pass


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, LEAST), (1e9, MOST)])
def test_repetitions_stay_within_their_bounds(seconds, expected):
    rows = time_cells(TimingTask(runs("layer"), "cpu", 1, seconds), Clock())
    assert [row["repetition"] for row in rows] == list(range(expected))


def test_the_seconds_end_the_pass_before_the_repetition_that_would_exceed_them():
    # a second passes at each look: 4 in the warm-up, then 6 per repetition, which are one at its
    # start, 4 in its turn (a step of 3 seconds is timed once) and one at its end
    clock = Clock()
    rows = time_cells(TimingTask(runs("layer"), "cpu", 1, 40.0), clock)
    assert len(rows) == (40 - 4) // 6
    assert clock.looks - 1 == 4 + 6 * 6


def test_quick_steps_are_timed_several_times_a_turn_and_slow_ones_once():
    quick, slow = Clock(1e-3), Clock(1.0)
    time_cells(TimingTask(runs("layer"), "cpu", 1, 0.0), quick)
    time_cells(TimingTask(runs("layer"), "cpu", 1, 0.0), slow)
    steps = round(0.02 / 3e-3)
    assert slow.looks == 1 + 4 + LEAST * (2 + 4)
    assert quick.looks == 1 + 4 + LEAST * (2 + 4 * steps)


# -- numbers -----------------------------------------------------------------------------------


def test_seconds_are_medians_over_the_steps_of_a_turn():
    # a look per part: forward, backward and update of three steps, the second delayed
    spans = [[1, 2, 3], [1, 90, 3], [2, 4, 5]]
    times, now = [], 0.0
    for step in spans:
        times.append(now)
        for span in step:
            now += span
            times.append(now)
    looks = iter(times)
    turn = Steps(run_of(), "cpu").turn(3, 2, lambda: next(looks))
    assert (turn.forward, turn.backward, turn.update) == (1, 4, 3)
    assert turn.step == 11  # of 6, 94 and 11


def test_rows_hold_what_was_asked_for(turns):
    one = runs("layer", "batch")
    rows = time_cells(TimingTask(one, "cpu", 1, 0.0), Clock())
    assert {row["cell_hash"] for row in rows} == {run.cell_hash for run in one}
    for row in rows:
        assert (row["device"], row["threads"], row["memory_kind"]) == ("cpu", 1, "counted")
        assert row["forward_seconds"] == row["backward_seconds"] == row["update_seconds"] == 1
        assert row["step_seconds"] == 3
        assert row["memory"] > 0


def test_cells_that_cost_the_same_are_timed_once_and_get_the_same_rows(turns):
    same = [run_of(learning_rate=rate, epochs=epochs) for rate, epochs in ((0.1, 1), (0.2, 3))]
    other = run_of(batch_size=16)
    rows = time_cells(TimingTask((*same, other), "cpu", 1, 0.0))
    assert len(turns) == 2 * (1 + LEAST)
    by_cell = {
        run.cell_hash: [
            {k: v for k, v in row.items() if k != "cell_hash"}
            for row in rows
            if row["cell_hash"] == run.cell_hash
        ]
        for run in (*same, other)
    }
    first, second, third = by_cell.values()
    assert first == second != third
    assert len(first) == LEAST


def test_a_cell_with_free_axes_changed_costs_the_same_and_others_do_not():
    assert cost_key(cell()) == cost_key(cell(learning_rate=0.7, epochs=9, init="he"))
    for axes in ({"batch_size": 16}, {"norm": "layer"}, {"clip_norm": 1.0}, {"optimizer": "adam"}):
        assert cost_key(cell()) != cost_key(cell(**axes))


def test_the_timed_step_is_the_training_step():
    run = run_of(norm="batch", optimizer={"name": "adam"}, clip_norm=0.5)
    steps = Steps(run, "cpu")
    engine = PlainEngine(run, prepare(run.cell))
    for i in range(10):  # more than an epoch has, so that batches start again
        steps.parts(Clock())
        engine.step(steps.items[i % len(steps.items)][None], i % engine.schedule.steps)
    for timed, trained in zip(steps.engine.weights, engine.weights, strict=True):
        assert torch.equal(timed, trained)


# -- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "state"), [
    ({"name": "sgd", "momentum": 0.9}, 1), ({"name": "sgd", "momentum": 0.0}, 0), ("adam", 2),
])  # fmt: skip
def test_counted_memory_of_a_small_net_by_hand(optimizer, state):
    run = run_of(norm="none", optimizer=optimizer, model={"name": "mlp", "width": 16})
    steps = Steps(run, "cpu")
    index, _ = steps.next()
    steps.engine.step(index[None], 0)
    found = counted_bytes(steps.engine, lambda: steps.forward(index))
    shapes = [tuple(p.shape) for p in steps.engine.weights]
    numbers = sum(p.numel() for p in steps.engine.weights)
    counters = len(shapes) if optimizer == "adam" else 0  # Adam's step counters
    expected = 4 * (2 * numbers + state * numbers + counters)
    # kept for the backward pass: the flat input, each hidden layer after its ReLU, the
    # log-probabilities; labels are int64, and the loss keeps the sum of its weights
    hidden = [s[0] for s in shapes if len(s) == 2][:-1]
    expected += 4 * 8 * (64 + sum(hidden) + 10) + 8 * 8 + 4
    assert found == expected


def test_more_samples_keep_more_for_the_backward_pass():
    found = []
    for batch in (8, 32):
        rows = time_cells(TimingTask((run_of(batch_size=batch),), "cpu", 1, 0.0), Clock())
        found.append(rows[0]["memory"])
    assert found[1] > found[0]


# -- surroundings ------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_threads_and_convolutions_are_set_back(monkeypatch, fails):
    torch.backends.mkldnn.enabled = True
    seen = []

    class Told(Steps):
        def parts(self, clock):
            seen.append((torch.get_num_threads(), torch.backends.mkldnn.enabled))
            if fails:
                raise ZeroDivisionError
            return super().parts(clock)

    monkeypatch.setattr(timing, "Steps", Told)
    task = TimingTask((run_of(batch_size=4), run_of(batch_size=32)), "cpu", 2, 0.0)
    if fails:
        with pytest.raises(ZeroDivisionError):
            time_cells(task, Clock())
    else:
        time_cells(task, Clock())
        # a batch of 32 images of 8 by 8 is worth oneDNN's set-up, one of 4 is not
        assert set(seen) == {(2, False), (2, True)}
    assert (torch.get_num_threads(), torch.backends.mkldnn.enabled) == (1, True)


def test_a_cell_that_cannot_be_trained_is_left_out():
    able, not_able = run_of(norm="layer"), run_of(norm="batch", batch_size=1)
    rows = time_cells(TimingTask((not_able, able), "cpu", 1, 0.0), Clock())
    assert {row["cell_hash"] for row in rows} == {able.cell_hash}
    with pytest.raises(UndefinedError):
        time_cells(TimingTask((not_able,), "cpu", 1, 0.0), Clock())
