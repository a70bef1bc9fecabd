"""Only what normbench wrote is deleted, nothing beyond a link, and nothing in another folder."""

from __future__ import annotations

import shutil

import pytest

from normbench.errors import ResultsError, WorkError
from normbench.executors.inline import InlineExecutor
from tests.results.stored import curve, unmerged
from tests.support import TINY, Watcher, made_up_rows, status_counts, sweep

THEIRS = (
    "thesis.tmp", "runs.parquet.tmp", "notes.1.tmp", "runs.parquet.1.tmp.txt", "data.json.x.tmp",
    "parts/notes.parquet", "parts/notes.runs.parquet", "parts/1.runs.parquet", "parts/a.1.tmp",
    "parts/000000.runs.parquet.bak", "parts/000000.notes.parquet", "parts/protocol.json.1.tmp",
)  # fmt: skip
OURS = (
    "runs.parquet.12.tmp", "timings.parquet.1.tmp", "data.json.7.tmp", "protocol.toml.1.tmp",
    "parts/000007.epochs.parquet.12.tmp",
)  # fmt: skip


def test_files_of_others_stay_and_ours_go(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    for name in (*THEIRS, *OURS):
        (store.folder / name).write_text(name, encoding="utf-8")
    store.hold()
    store.clean()
    store.consolidate(planned.rows)
    assert status_counts(store.folder) == {"finished": 8}
    left = {str(p.relative_to(store.folder)) for p in store.folder.rglob("*") if p.is_file()}
    assert left >= set(THEIRS)
    assert left.isdisjoint(OURS)
    assert [p for p in left if p.startswith("parts/") and p not in THEIRS] == []


def test_a_link_of_such_a_name_is_left_alone(tmp_path):
    store, _ = unmerged(tmp_path / "r")
    precious = tmp_path / "precious"
    precious.write_text("x", encoding="utf-8")
    link = store.folder / "runs.parquet.1.tmp"
    link.symlink_to(precious)
    store.clean()
    assert link.is_symlink()
    assert precious.exists()


def test_parts_that_lie_elsewhere_are_refused(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000000.runs.parquet").write_bytes(b"of another study")
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "parts").symlink_to(elsewhere)
    with pytest.raises(ResultsError, match="is a link out of the results folder"):
        sweep(TINY, folder)
    assert (elsewhere / "000000.runs.parquet").read_bytes() == b"of another study"
    assert not (folder / "protocol.json").exists()


def test_a_results_folder_may_itself_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "tiny").symlink_to(tmp_path / "disk")
    assert sweep(TINY, tmp_path / "tiny").unfinished == {}
    assert status_counts(tmp_path / "disk") == {"finished": 8}


@pytest.mark.parametrize("how", ["moved", "removed", "another in its place"])
@pytest.mark.parametrize("after", [1, 4])
def test_a_folder_that_goes_in_the_middle_ends_the_sweep(tmp_path, how, after):
    folder, elsewhere = tmp_path / "tiny", tmp_path / "moved"

    class Take(Watcher):
        def finished(self, rows):
            super().finished(rows)
            if len(self.rows) != 2 * after:  # the groups of the plain engine have two runs
                return
            if how == "removed":
                shutil.rmtree(folder)
            else:
                folder.rename(elsewhere)
            if how == "another in its place":
                shutil.copytree(elsewhere, folder)

    with pytest.raises(WorkError, match="was removed or moved while runs were computed"):
        sweep(TINY, folder, observer=Take())
    assert folder.exists() == (how == "another in its place")
    if how == "moved":
        elsewhere.rename(folder)
        seen = Watcher()
        assert sweep(TINY, folder, observer=seen).by_status == {"finished": 8}
        assert seen.total == 8 - 2 * after


def test_a_group_is_not_written_into_a_new_folder(tmp_path):
    store, planned = unmerged(tmp_path / "r", groups=0)
    store.hold()
    store.folder.rename(tmp_path / "moved")
    for act in (
        lambda: store.write_group("000000", made_up_rows(planned.runs[0], *curve(planned.runs[0]))),
        lambda: store.consolidate(planned.rows),
    ):
        with pytest.raises(WorkError, match="removed or moved"):
            act()
    assert not store.folder.exists()


# -- success is counted -------------------------------------------------------------------------


def test_runs_whose_parts_vanish_are_missed(tmp_path):
    class Take(Watcher):
        def finished(self, rows):
            super().finished(rows)
            if len(self.rows) == 4:
                shutil.rmtree(tmp_path / "parts")

    summary = sweep(TINY, tmp_path, observer=Take())
    assert summary.by_status == {"finished": 4, "missing": 4}
    assert summary.unfinished == {"missing": 4}


def test_an_executor_that_loses_groups_is_no_success(tmp_path):
    from normbench.training.work import train_group

    class Forgetful(InlineExecutor):
        def map(self, function, tasks, limit=None):
            lost = 1 if function is train_group else 0
            return super().map(function, tasks[lost:], limit)

    summary = sweep(TINY, tmp_path, executor=Forgetful())
    assert summary.unfinished == {"missing": 2}
    assert sweep(TINY, tmp_path).unfinished == {}


def test_what_was_not_chosen_is_not_missed(tmp_path):
    summary = sweep(TINY, tmp_path, only=["norm=batch"])
    assert summary.by_status == {"finished": 4, "missing": 4}
    assert summary.unfinished == {}


def test_a_learning_rate_that_cannot_be_chosen_is_no_success(cli, tmp_path, monkeypatch):
    import normbench.training.group as group

    text = TINY.replace("learning_rate = 0.1", "") + (
        "[experiment.tune]\nlearning_rate = [0.1, 0.2]\nseeds = 1\n"
    )
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")

    def fail(*_, **__):
        raise RuntimeError("no luck")

    monkeypatch.setattr(group, "train", fail)
    said = cli("run", "tiny.toml", "--workers", "0", "--engine", "plain")
    assert said.status == 1, said.out + said.err
    assert "waiting for a learning rate" in said.err
