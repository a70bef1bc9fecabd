"""Results of a version of the engines that computed other last bits: kept, and not continued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normbench.errors import UsageError
from normbench.plan.execution import ENGINES_VERSION
from normbench.plan.spec import digest
from normbench.results.execution import read_execution, read_plan_file
from normbench.results.load import load
from tests.support import edit, sweep, tables

STUDY = """\
[protocol]
name = "tiny"
seeds = {seeds}

[defaults]
dataset = {{ name = "digits", items = 100 }}
model = {{ name = "small-cnn", width = 8 }}
epochs = 1
learning_rate = 0.1

[[experiment]]
name = "one"
norm = "layer"
batch_size = 8
"""


def made_earlier(folder: Path, pending: str) -> None:
    """Let the plan be of engines without a version, by a formulation that is gone.

    Its group has one more run, ``pending``, which was not computed.
    """
    path = folder / "execution.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    (environment,) = content["environments"].values()
    assert environment["versions"].pop("engines") == str(ENGINES_VERSION)
    old = digest(environment)
    for group in content["groups"].values():
        group["environment"] = old
        group["engine"]["variant"] = "conv1=mk,wg4"
        group["runs"].append(pending)
    edit(path, environments={old: environment}, groups=content["groups"])


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    folder = tmp_path / "earlier"
    sweep(STUDY.format(seeds=2), folder, engine="packed")
    whole = tmp_path / "whole"
    sweep(STUDY.format(seeds=3), whole, only=["seed=2"], engine="packed")
    ((pending,),) = (group.runs for group in read_execution(whole).groups.values())
    made_earlier(folder, pending)
    return folder


def test_what_is_there_stays_and_the_rest_is_measured_anew(earlier: Path) -> None:
    before = tables(earlier)["runs"].to_pylist()
    summary = sweep(STUDY.format(seeds=3), earlier, engine="packed")
    assert (summary.computed, summary.failures) == (1, [])
    after = {row["seed"]: row for row in tables(earlier)["runs"].to_pylist()}
    assert [after[row["seed"]] for row in before] == before
    results = load(earlier)
    assert set(results.runs["status"]) == {"finished"}
    where = [results.environments[after[seed]["execution_hash"]] for seed in (0, 1, 2)]
    assert where[0] == where[1] != where[2]  # such runs are not paired


def test_recomputing_brings_all_into_one_environment(earlier: Path) -> None:
    sweep(STUDY.format(seeds=3), earlier, engine="packed", recompute=True)
    results = load(earlier)
    assert set(results.runs["status"]) == {"finished"}
    assert len({results.environments[key] for key in results.runs["execution_hash"]}) == 1


def test_the_plan_is_not_followed_elsewhere(earlier: Path, tmp_path: Path) -> None:
    plan = read_plan_file(earlier / "execution.json")
    with pytest.raises(UsageError, match=r"or its engines.*leave the option --execution out"):
        sweep(STUDY.format(seeds=3), tmp_path / "new", engine="packed", follow=plan)


def test_a_formulation_that_there_is_not_fails_with_a_reason(tmp_path: Path) -> None:
    """As in a plan that somebody wrote; what was computed stays."""
    sweep(STUDY.format(seeds=2), tmp_path, engine="packed")
    content = json.loads((tmp_path / "execution.json").read_text(encoding="utf-8"))
    for group in content["groups"].values():
        assert group["engine"]["name"] == "packed"
        group["engine"]["variant"] = "wg4"
    edit(tmp_path / "execution.json", groups=content["groups"])
    summary = sweep(STUDY.format(seeds=2), tmp_path, engine="packed", recompute=True)
    (reason,) = summary.failures
    assert "formulation is im2col or grouped; received 'wg4'" in reason
    assert "An execution plan of an earlier version may name others" in reason
    assert set(load(tmp_path).runs["status"]) == {"finished"}
