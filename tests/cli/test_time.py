"""``normbench time``: every cell of a tiny study is timed, stored and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from normbench.calibration import timing
from normbench.cli.time import warn_if_busy
from normbench.errors import WorkError
from normbench.executors.inline import InlineExecutor
from normbench.plan.spec import digest
from normbench.results.execution import read_execution
from normbench.results.load import load
from normbench.results.timings import NAME
from normbench.workflow.grouping import environment_record
from normbench.workflow.timing import cells_to_time, measure
from tests.support import FATES, TINY, made_up, sweep


@pytest.fixture(scope="module")
def swept(tmp_path_factory) -> Path:
    """The tiny study, trained."""
    folder = tmp_path_factory.mktemp("swept") / "tiny"
    sweep(TINY, folder)
    return folder


@pytest.fixture
def folder(swept, tmp_path) -> Path:
    import shutil

    return Path(shutil.copytree(swept, tmp_path / "results" / "tiny"))


@pytest.fixture(autouse=True)
def _few(monkeypatch) -> None:
    """As few repetitions as there may be, here and not in worker processes."""
    monkeypatch.setattr(timing, "MOST", timing.LEAST)


def test_the_command_times_all_cells_and_shows_them(cli, folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    said = cli("time", "--seconds", 0)
    assert said.status == 0, said.err
    assert "4 cells timed" in said.out
    for word in ("batch", "layer", "step ms", "forward", "backward", "MiB", "counted"):
        assert word in said.out
    found = load(folder)
    assert len(found.timings) == 4 * timing.LEAST
    assert set(found.timings["cell_hash"]) == set(found.runs["cell_hash"])
    assert (found.timings["step_seconds"] > 0).all()
    environment = digest(environment_record("cpu"))
    assert set(found.timings["environment"]) == {environment}
    assert environment in read_execution(folder).environments
    after = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    assert set(after) - set(before) == {NAME}
    assert {n for n in before if before[n] != after[n]} <= {"execution.json"}
    said = cli("analyse", folder, "--output", folder.parent / "tables")
    assert said.status == 0
    assert len((folder.parent / "tables" / "costs.csv").read_text().splitlines()) == 5


def test_without_results_it_says_so(cli, tmp_path):
    said = cli("time", tmp_path)
    assert said.status == 2
    assert "normbench run" in said.err


@pytest.mark.parametrize("arguments", [("--threads", 0), ("--seconds", -1)])
def test_wrong_numbers_are_refused(cli, arguments):
    assert cli("time", *arguments).status == 2


@pytest.mark.parametrize(("load", "warned"), [(0.9, False), (1.1, True)])
def test_a_busy_machine_is_told_in_one_line(monkeypatch, capsys, load, warned):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    warn_if_busy()
    said = capsys.readouterr().err
    assert ("busy" in said) is warned
    assert said.count("\n") == int(warned)


def test_undefined_and_untuned_cells_are_not_timed(tmp_path):
    folder = tmp_path / "fates"
    sweep(FATES, folder)
    timed = measure(folder, InlineExecutor(), "cpu", seconds=0)
    assert (timed.cells, timed.left_out, timed.measured) == (2, (), True)
    experiments = {run.experiment for run in cells_to_time(folder)}
    assert experiments == {"finishes", "diverges"}
    tuned = TINY.replace("learning_rate = 0.1\n", "") + (
        "[experiment.tune]\nlearning_rate = [0.1, 0.2]\nseeds = [90]\n"
    )
    untuned = made_up(tmp_path / "untuned", tuned, lambda run: None).folder
    assert cells_to_time(untuned) == []
    assert measure(untuned, InlineExecutor(), "cpu").cells == 0
    with pytest.raises(WorkError, match="untuned"):
        measure(untuned, InlineExecutor(), "cpu", again=True)


def test_cells_that_were_timed_here_are_not_timed_again_unless_asked(folder):
    assert measure(folder, InlineExecutor(), "cpu", seconds=0).measured
    stored = (folder / NAME).read_bytes()
    assert not measure(folder, InlineExecutor(), "cpu", seconds=0).measured
    assert (folder / NAME).read_bytes() == stored
    assert measure(folder, InlineExecutor(), "cpu", seconds=0, again=True).measured
    assert measure(folder, InlineExecutor(), "cpu", threads=2, seconds=0).measured
    assert set(load(folder).timings["threads"]) == {2}


def test_a_failed_pass_is_told_and_keeps_the_old_times(folder, monkeypatch):
    measure(folder, InlineExecutor(), "cpu", seconds=0)
    stored = (folder / NAME).read_bytes()

    def broken(task):
        raise MemoryError("no room")

    monkeypatch.setattr(timing, "time_cells", broken)
    with pytest.raises(WorkError, match="could not be timed: MemoryError: no room"):
        measure(folder, InlineExecutor(), "cpu", again=True)
    assert (folder / NAME).read_bytes() == stored
