"""A protocol that no longer asks for stored runs: counted beforehand, and refused if for none."""

from __future__ import annotations

import json

import pytest

from normbench.plan.execution import EngineSpec, GroupPlan
from normbench.results.execution import add_groups
from tests.cli.refusals import everything, refused
from tests.support import TINY, status_counts

SLOWER = ("--set", "learning_rate=0.05")


def test_names_without_ascii_letters_are_studies_of_their_own(cli, tmp_path):
    for name, rate in (("实验一", 0.1), ("实验二", 0.2), ("My Study", 0.3), ("my-study", 0.4)):
        text = TINY.replace('name = "tiny"\n', "").replace("rate = 0.1", f"rate = {rate}")
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        assert cli("run", f"{name}.toml", "--workers", "0", "--only", "norm=batch").status == 0
    folders = sorted((tmp_path / "results").iterdir())
    assert len(folders) == 4
    assert {"实验一", "实验二", "my-study"} < {folder.name for folder in folders}
    assert all(status_counts(f) == {"finished": 4, "missing": 4} for f in folders)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_runs_that_are_left_out_are_counted_before_anything_is_trained(cli, tiny, results, command):
    said = cli(command, tiny, "--seeds", "1", "--set", "epochs=1", *_least(command))
    assert said.status == 0, said.err
    told = "the protocol leaves 4 of 8 stored runs unplanned"
    assert told in (said.err if command == "run" else said.out)
    assert status_counts(results, planned=False) == ({"finished": 4} if command == "run" else {})


def _least(command):
    return ("--no-estimate",) if command == "plan" else ("--workers", "0")


def test_a_protocol_that_asks_for_none_of_what_is_stored_is_refused(cli, tiny, results):
    before = everything(results)
    said = cli("run", tiny, "--workers", "0", *SLOWER)
    refused(said, "none of the 8 runs stored in results/tiny", "--results", "name =", "--replace")
    assert everything(results) == before
    planned = cli("plan", tiny, "--no-estimate", *SLOWER)
    assert planned.status == 0
    assert "leaves 8 of 8 stored runs unplanned" in planned.out
    assert "refuses that without --replace" in planned.out
    found = json.loads(cli("plan", tiny, "--no-estimate", "--json", *SLOWER).out)
    assert (found["stored"], found["unplanned"]) == (8, 8)


def test_another_file_of_the_same_name_in_another_directory_is_refused(cli, tmp_path, results):
    (tmp_path / "deeper").mkdir()
    text = TINY.replace('"digits", items = 100', '"digits", items = 200')
    (tmp_path / "deeper" / "other.toml").write_text(text, encoding="utf-8")
    before = everything(results)
    refused(cli("run", "deeper/other.toml", "--workers", "0"), "--replace")
    assert everything(results) == before


def test_with_replace_the_old_runs_stay_unplanned_and_it_is_asked_once(cli, tiny, results):
    some = ("--only", "norm=batch", "--only", "batch_size=8")
    said = cli("run", tiny, "--workers", "0", "--replace", *SLOWER, *some)
    assert said.status == 0, said.err
    assert status_counts(results, planned=False) == {"finished": 8}
    assert status_counts(results, planned=True) == {"finished": 2, "missing": 6}
    assert cli("run", tiny, "--workers", "0", *SLOWER, "--only", "norm=layer").status == 0
    back = cli("run", tiny, "--workers", "0")  # all eight are still there
    assert "leaves 6 of 14 stored runs unplanned" in back.err
    assert "0 runs to train" in back.out


def test_a_replacement_that_was_stopped_before_its_first_run_goes_on(cli, tiny, results):
    from normbench.protocol.load import load_protocol
    from normbench.results.store import Store

    replaced = load_protocol(tiny, ["learning_rate=0.05"])
    Store(results).write_study(replaced, tiny.read_text(encoding="utf-8"))
    assert cli("run", tiny, "--workers", "0", *SLOWER).status == 0


def test_stored_runs_that_cannot_be_counted_are_not_replaced(cli, tiny, results):
    (results / "runs.parquet").write_bytes(b"PAR1 cut short")
    before = everything(results)
    refused(cli("run", tiny, "--workers", "0", *SLOWER), "cannot be read", "--replace")
    assert everything(results) == before
    assert cli("run", tiny, "--workers", "0").status == 0  # the same protocol computes them anew


def test_a_damaged_protocol_does_not_let_another_study_in(cli, tiny, results):
    (results / "protocol.json").write_text("{", encoding="utf-8")
    refused(cli("run", tiny, "--workers", "0"), "protocol.json is damaged", "move it away")
    (results / "protocol.json").unlink()
    refused(cli("run", tiny, "--workers", "0", *SLOWER), "none of the 8 runs", "--replace")
    assert cli("run", tiny, "--workers", "0").status == 0


def test_a_sweep_that_cannot_follow_a_plan_leaves_everything_as_it_was(
    cli, tiny, results, tmp_path
):
    """The stored protocol would else say what the stored runs are not."""
    (tmp_path / "other").mkdir()
    add_groups(tmp_path / "other", {"machine": "x"}, [GroupPlan(EngineSpec("plain"), ("r",), "x")])
    before = everything(results)
    said = cli("run", tiny, *SLOWER, "--replace", "--workers", "0",
               "--execution", "other/execution.json")  # fmt: skip
    assert said.status == 2
    assert "error: the execution plan to follow was made on another machine" in said.err
    assert everything(results) == before
