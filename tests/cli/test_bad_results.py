"""Results that are another's, withheld, partial or damaged: told, and left as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from normbench.results import files
from normbench.results.schema import SCHEMA_VERSION
from tests.cli.refusals import CLAIMED, READERS, everything, refused, steady
from tests.support import TINY, edit, made_up

# -- results of another kind -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_folder_of_another_protocol_is_refused_untouched(cli, results, tmp_path, command):
    other = TINY.replace('"tiny"', '"other"')
    (tmp_path / "other.toml").write_text(other, encoding="utf-8")
    before = everything(tmp_path)
    said = cli(command, "other.toml", "--results", "results/tiny")
    refused(said, "holds the results of the protocol 'tiny', not of 'other'", "--results")
    assert everything(tmp_path) == before


def _newer_protocol(folder: Path) -> None:
    edit(folder / "protocol.json", schema_version=SCHEMA_VERSION + 1)


def _newer_table(folder: Path) -> None:
    table = pq.read_table(folder / "runs.parquet")
    metadata = {"normbench_schema": str(SCHEMA_VERSION + 1)}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "runs.parquet")


def _newer_decisions(folder: Path) -> None:
    (folder / "decisions.json").write_text('{"version": 3}', encoding="utf-8")


def _newer_looks(folder: Path) -> None:
    (folder / "looks.json").write_text('{"version": 2}', encoding="utf-8")


def _newer_registration(folder: Path) -> None:
    (folder / "registration.json").write_text('{"version": 3}', encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "commands"),
    [
        (_newer_protocol, ("run", "plan", *READERS)),
        (_newer_table, ("plan", *READERS)),
        (_newer_decisions, ("run", "plan", "analyse", "check", "report")),
        (_newer_looks, ("run", "plan", "analyse", "check", "report")),
        (_newer_registration, ("run", "plan", "analyse", "check", "report")),
    ],
)
def test_results_of_a_newer_version_are_refused_untouched(cli, claimed, make, commands):
    make(claimed)
    before = everything(claimed)
    for command in commands:
        said = cli(command, "tiny.toml" if command in ("run", "plan") else "results/tiny")
        refused(said, "was written by a newer normbench", "upgrade normbench")
        assert everything(claimed) == before


# -- what the system withholds -----------------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "analyse", "report"])
def test_a_file_in_place_of_a_folder_to_write_to_is_told(cli, tiny, results, tmp_path, command):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    option = ("run", tiny, "--results", "file/deeper") if command == "run" else (command, "-o")
    before = everything(tmp_path)
    said = cli(*option) if command == "run" else cli(*option, "file/deeper/page")
    refused(said, "cannot", "file", status=2 if command == "run" else 1)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("error", [(13, "Permission denied"), (30, "Read-only file system")])
def test_a_results_folder_that_may_not_be_written_keeps_its_results(
    cli, tiny, results, monkeypatch, error
):
    before = everything(results)
    (results / "runs.parquet.1.tmp").write_bytes(b"of a killed process")

    def refuse(self, *_, **__):
        raise OSError(*error, str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        patch.setattr(Path, "replace", refuse)
        said = cli("run", tiny, "--workers", "0")
    refused(said, error[1], "What was finished before is kept", status=1)
    (results / "runs.parquet.1.tmp").unlink()
    assert everything(results) == before


#: Files that every command needs.
EVERYWHERE = ("protocol.json", "runs.parquet")
GUARDS = ("data.json", "execution.json", "provenance.json", "decisions.json", "registration.json")


@pytest.mark.parametrize("name", [*EVERYWHERE, *GUARDS])
def test_a_stored_file_that_is_withheld_is_neither_replaced_nor_set_aside(
    cli, claimed, monkeypatch, name
):
    if not (claimed / name).exists():
        (claimed / name).write_text('{"version": 1, "rates": {}, "thresholds": {}, "claims": {}}')
    before = everything(claimed)
    real = os.open
    needed = (*READERS, "plan", "run") if name in EVERYWHERE else ("run",)

    def refuse(path, *arguments, **keywords):
        if isinstance(path, Path) and path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "open", refuse)
        for command in needed:
            said = cli(command, "tiny.toml" if command in ("run", "plan") else "results/tiny")
            refused(said, f"{name} cannot be read (Permission denied)", "it is left as it is")
    tables = {"epochs.parquet", "predictions.parquet", "runs.parquet", "protocol.json", name}
    after = everything(claimed)
    assert {n: after[n] for n in tables} == {n: before[n] for n in tables}
    assert not list(claimed.glob("*.damaged*"))


# -- empty, partial and truncated results ------------------------------------------------------


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("place", ["results", "results/tiny", "nowhere"])
def test_no_results_are_told_by_every_reader(cli, tmp_path, command, place):
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    refused(cli(command, place), place, "normbench run")
    assert not list(tmp_path.rglob("*.html"))
    assert everything(tmp_path / "results") == {}


def test_results_that_were_stopped_before_their_plan_was_stored(cli, claimed):
    for path in claimed.glob("*.parquet"):
        path.unlink()
    said = cli("status", "--json")
    assert said.status == 0
    assert [(r["status"], r["runs"]) for r in json.loads(said.out)] == [("missing", 24)]
    for command in ("analyse", "report"):
        refused(cli(command), "no computed run yet", "normbench run")
    said = cli("check")
    assert said.status == 1
    assert said.out.count("NOT AS EXPECTED") == 2
    assert "not run yet" in said.out


def test_partial_results_are_read_by_every_command(cli, tmp_path):
    def half(run):
        return steady(run) if run.seed < 3 and run.cell.batch_size == 8 else None

    made_up(tmp_path / "results" / "tiny", CLAIMED, half)
    assert "18" in cli("status").out
    said = cli("analyse")
    assert said.status == 0
    assert "c@8: inconclusive" in said.out
    assert "3 of 6 seeds lack a run" in said.out
    assert "c@16: void" in said.out
    said = cli("check")
    assert (said.status, "0 of 2 as expected" in said.out) == (1, True)
    said = cli("report")
    assert (said.status, "6 finished and 18 missing" in said.out) == (0, True)


#: For each file, the commands that need it and say so; the others work without it.
NEEDED = {
    "protocol.json": READERS,
    "runs.parquet": READERS,
    "epochs.parquet": ("analyse", "check", "report"),
    "predictions.parquet": ("analyse", "report"),
    "decisions.json": ("analyse", "check", "report"),
    "registration.json": ("analyse", "check", "report"),
    "provenance.json": ("report",),
    "execution.json": ("analyse", "check", "report"),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "cut") for name in NEEDED]
    + [(name, "another content") for name in NEEDED if name.endswith("json")],
)
def test_a_damaged_file_is_named_by_who_needs_it_and_stays(cli, claimed, tmp_path, name, kind):
    path = claimed / name
    content = path.read_bytes() if path.exists() else b'{"version": 1, "rates": {'
    other = b'{"version": 1, "schema_version": 1, "a": 3, "invocations": 3}'
    path.write_bytes(content[: len(content) // 2] if kind == "cut" else other)
    before = everything(claimed)
    works = [command for command in READERS if command not in NEEDED[name]]
    for command in READERS:
        if command == "report" and works == list(READERS) and kind == "cut":
            continue  # drawing takes long, and the other content shows as much
        said = cli(command, "results/tiny")
        if command in works:
            assert said.status == 0, said.err
        else:
            refused(said, f"{name} is damaged")
            assert "normbench run" in said.err or "restore it from a copy" in said.err
        assert {k: v for k, v in everything(claimed).items() if k != "looks.json"} == before
    if "report" not in works:
        assert not (tmp_path / "reports" / "tiny.html").exists()


def test_a_damaged_file_of_decisions_stops_a_sweep_before_it_writes(cli, tiny, results):
    (results / "decisions.json").write_text('{"version": 1, "rates": []}', encoding="utf-8")
    before = everything(results)
    refused(cli("run", tiny, "--workers", "0"), "decisions.json is damaged", "restore it")
    assert everything(results) == before


def test_a_damaged_report_is_written_anew(cli, results, tmp_path):
    assert cli("report").status == 0
    first = everything(tmp_path / "reports")
    for path in (tmp_path / "reports").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:10])
    assert cli("report").status == 0
    assert everything(tmp_path / "reports") == first
