"""Whether runs may be stacked: good cells may, and what is wrong with others is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from normbench.calibration import trial
from normbench.calibration.trial import TOLERANCE, why_not_stacked
from normbench.training.data import prepare
from normbench.training.stacked import StackedEngine
from tests.builders import run_of
from tests.training.foreign import foreign_runs

CNN = {"name": "small-cnn", "width": 4}


def why(**axes: Any) -> str:
    run = run_of(**({"model": CNN, "batch_size": 4} | axes))
    return why_not_stacked(run, prepare(run.cell))


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "none"},
        {"norm": "batch"},
        {"norm": "batch", "batch_size": 8, "norm_batch_size": 2, "clip_norm": 0.1},
        {"norm": "weight", "optimizer": "adamw"},
        {"norm": "batch", "model": {"name": "resnet", "width": 4}},
        {"norm": "batch", "dataset": {"name": "digits-rows", "items": 100}, "model": "lstm"},
        {
            "norm": "none", "dataset": "houses", "model": "linear", "batch_size": 200,
            "lr_scaling": "curvature", "optimizer": {"name": "sgd", "momentum": 0.0},
        },
        {"norm": "batch", "batch_size": 60},  # the whole training split
    ],
    ids=str,
)  # fmt: skip
def test_nothing_speaks_against_a_cell_of_this_package(axes: dict[str, Any]) -> None:
    assert why(**axes) == ""


@pytest.mark.parametrize("norm", ["frn", "remembering"])
def test_nothing_speaks_against_a_norm_that_is_a_function_of_its_tensors(
    norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = foreign_runs(monkeypatch, norm)
    assert why_not_stacked(run, prepare(run.cell)) == ""


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        ("deciding", "stacking raises RuntimeError: "),
        ("noisy", "stacking raises RuntimeError: vmap: called random operation"),
        ("forgetful", "losses of step 2 of runs that are stacked differ by "),
        ("outside", "stacking raises RuntimeError: "),
        # mapped once more it gives the right numbers, and as a module by itself none
        ("keeping", "stacking raises RuntimeError: "),
        ("watching", "losses of step 1 of runs that are stacked differ by "),
    ],
)
def test_what_cannot_be_stacked_has_a_reason_in_a_line(
    norm: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = foreign_runs(monkeypatch, norm)
    found = why_not_stacked(run, prepare(run.cell))
    assert found.startswith(said)
    assert "\n" not in found
    assert len(found) <= 300


def test_the_trial_draws_from_no_stream_of_others_and_leaves_settings() -> None:
    generator, onednn = torch.get_rng_state(), torch.backends.mkldnn.enabled
    why(norm="batch")
    assert torch.equal(generator, torch.get_rng_state())
    assert torch.backends.mkldnn.enabled == onednn


@pytest.mark.parametrize("what", ["running_mean", "bias", "weight"])
def test_a_value_that_is_wrong_at_the_end_alone_is_found(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the evaluation, in one member and by a little."""
    real = StackedEngine.export

    def export(engine: StackedEngine, member: int) -> Any:
        module = real(engine, member)
        if member == 1:
            named = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            name = next(name for name in named if name.endswith(what))
            named[name].data.view(-1)[0] += 3 * TOLERANCE
        return module

    monkeypatch.setattr(StackedEngine, "export", export)
    found = why(norm="batch")
    assert found.startswith("values of ")
    assert f"{what} of runs that are stacked differ by " in found


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.5], [0.25], 0.25),
        ([101.0], [100.0], 0.01),  # relative where values are large
        ([math.nan], [math.nan], 0.0),
        ([math.nan], [1.0], math.inf),
        ([1.0], [math.nan], math.inf),
        ([math.inf], [math.inf], 0.0),
        ([math.inf], [-math.inf], math.inf),
        ([1.0], [1.0, 1.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_how_far_values_are_apart(
    found: list[float], expected: list[float], difference: float
) -> None:
    apart = trial._difference(torch.tensor(found), torch.tensor(expected))
    # no number of any size is as far as this
    assert apart == pytest.approx(difference, rel=1e-6) or (
        difference == math.inf and not apart <= 1e300
    )
