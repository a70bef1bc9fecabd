"""Bad input as a user meets it: an exit status, a message that helps, and nothing lost.

Every refusal here leaves the results that were there before unchanged, byte for byte.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from normbench.results.schema import SCHEMA_VERSION
from normbench.results.store import Store
from tests.datasets.conftest import LAYOUTS, picture, save
from tests.support import TINY, made_up, status_counts

#: A study of six seeds with one claim per batch size.
CLAIMED = (
    TINY.replace("seeds = 2", "seeds = 6")
    + """
[[claim]]
id = "c"
kind = "superiority"
a = "layer"
b = "batch"
expect = "supported"
endpoint = { failure_score = 0.9 }
"""
)
READERS = ("status", "analyse", "check", "report")


def steady(run):
    better = 0.3 if run.cell.norm.name == "layer" else 0.0
    return "finished", [0.1, 0.2 + 0.01 * run.seed + better]


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def refused(said: Any, *words: str, status: int = 2) -> None:
    """The command ended with this status and a message that holds these words."""
    assert said.status == status, said.err
    assert said.err.startswith("error: ")
    assert [word for word in words if word not in said.err] == [], said.err
    assert "Traceback" not in said.err + said.out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny study, made up."""
    return made_up(tmp_path_factory.mktemp("made") / "tiny", TINY, steady).folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """Those results where the commands expect them."""
    return Path(shutil.copytree(made, tmp_path / "results" / "tiny"))


@pytest.fixture(scope="module")
def made_claimed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study with claims, made up."""
    return made_up(tmp_path_factory.mktemp("claimed") / "tiny", CLAIMED, steady).folder


@pytest.fixture
def claimed(made_claimed: Path, tmp_path: Path) -> Path:
    """Those results where the commands expect them, with their protocol."""
    (tmp_path / "tiny.toml").write_text(CLAIMED, encoding="utf-8")
    return Path(shutil.copytree(made_claimed, tmp_path / "results" / "tiny"))


# -- protocols ---------------------------------------------------------------------------------

NORMS, SIZES, DATA = '["batch", "layer"]', "[8, 16]", '{ name = "digits", items = 100 }'
BAD: dict[str, tuple[tuple[str, str], list[str]]] = {
    "malformed TOML": (("seeds = 2", "seeds = = 2"), ["not valid TOML", "line 4, column 9"]),
    "an unfinished text": (('"tiny"', '"tiny'), ["not valid TOML", "line 2"]),
    "an unknown key": (
        ("epochs = 1", "epocs = 1"),
        ["1 fault\n", "defaults.epocs: unknown key 'epocs'", "received: 1", "mean 'epochs'?"],
    ),
    "an unknown norm": (
        (NORMS, '["bacth", "layer"]'),
        ["experiment[0].product.norm[0]: unknown norm 'bacth'", "mean 'batch'?", "known: none, "],
    ),
    "an unknown model": (
        ('"mlp"', '"resnet"'), ["defaults.model: unknown model 'resnet'", "known: mlp, "]
    ),
    "an unknown data set": (
        ('"digits"', '"mnist"'), ["defaults.dataset: unknown data set 'mnist'", "known: digits, "]
    ),
    "a negative batch size": ((SIZES, "[-8, 16]"), ["batch_size[0]: must be at least 1", "-8"]),
    "a learning rate of zero": (
        ("rate = 0.1", "rate = 0"), ["learning_rate: must be greater than 0", "received: 0"]
    ),
    "a rate that is no number": (
        ("rate = 0.1", "rate = nan"), ["learning_rate: must be a finite number", "received: nan"]
    ),
    "a negative number of epochs": (
        ("epochs = 1", "epochs = -1"), ["epochs: must be at least 1", "received: -1"]
    ),
    "absurdly many seeds": (
        ("seeds = 2", "seeds = 1000000000000"),
        ["protocol.seeds", "between 1 and 10,000", "received: 1000000000000"],
    ),
    "an absurdly wide model": (
        ("width = 8", "width = 1000000000000"), ["model.width: must be at most 65,536"]
    ),
    "more items than there are": (
        ("items = 100", "items = 1000000000000"), ["dataset.items: must be at most 1,797"]
    ),
    "groups that do not divide": (
        (NORMS, '["layer", { name = "group", groups = 3 }]'),
        ["experiment 'one'", "group(groups=3)", "3 groups do not divide 8 channels",
         "use one of 1, 2, 4, 8"],
    ),
    "no groups at all": (
        (NORMS, '["layer", { name = "group", groups = 0 }]'),
        ["product.norm[1].groups: must be at least 1", "received: 0"],
    ),
    "a batch beyond the training split": (
        (SIZES, "[8, 61]"),
        ["experiment 'one'", "must not exceed the training split (60 items of digits)",
         "received 61"],
    ),
    "a threshold beyond every accuracy": (
        ("[0.3]", "[1.5]"), ["protocol.thresholds: a threshold of accuracy", "received: 1.5"]
    ),
    "a threshold of zero": (
        ("[0.3]", "[0.3, 0.0]"), ["protocol.thresholds: a threshold of accuracy", "received: 0.0"]
    ),
    "no seeds": (
        ("seeds = 2", "seeds = []"), ["protocol.seeds: must not be empty", "at least one value"]
    ),
    "a seed twice": (
        ("seeds = 2", "seeds = [3, 1, 3]"),
        ["protocol.seeds: the values must differ; 3 is listed more than once", "[3, 1, 3]"],
    ),
    "seeds not set": (("seeds = 2\n", ""), ["the seeds are not set", "seeds = 20"]),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_protocol_is_refused_and_earlier_results_stay(cli, results, tmp_path, kind, command):
    (old, new), words = BAD[kind]
    assert TINY.count(old) == 1
    (tmp_path / "bad.toml").write_text(TINY.replace(old, new), encoding="utf-8")
    before = everything(tmp_path)
    refused(cli(command, "bad.toml"), *words)
    assert everything(tmp_path) == before


def test_a_misspelled_key_is_one_fault_and_what_is_really_missing_another(cli, tmp_path):
    text = TINY.replace("epochs = 1", "epocs = 1").replace("learning_rate = 0.1\n", "")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    said = cli("plan", "bad.toml")
    refused(said, "2 faults", "unknown key 'epocs'", "experiment[0].learning_rate: this axis has")
    assert "experiment[0].epochs" not in said.err


def test_a_protocol_that_cannot_be_read_is_told(cli, tiny, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    refused(cli("plan", tiny), "cannot read the protocol", "tiny.toml: Permission denied")


def test_a_name_that_no_system_takes_is_told(cli):
    refused(cli("plan", "x" * 300 + ".toml"), "File name too long", status=1)


def test_batch_norm_at_batch_size_one_on_vectors_is_undefined_and_no_failure(cli, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.replace(SIZES, "[1, 8]"), encoding="utf-8")
    said = cli("run", "tiny.toml", "--workers", "0")
    assert said.status == 0, said.err
    assert "6 finished, 2 undefined" in said.out
    rows = Store(Path("results/tiny")).read("runs").to_pylist()
    undefined = {(r["norm"], r["batch_size"]) for r in rows if r["status"] == "undefined"}
    assert undefined == {("batch", 1)}
    reasons = {r["error"] for r in rows if r["status"] == "undefined"}
    assert len(reasons) == 1
    assert "batch norm needs at least two values per channel" in reasons.pop()
    assert "0 runs to train" in cli("run", "tiny.toml", "--workers", "0").out
    assert cli("report").status == 0
    page = Path("reports/tiny.html").read_text(encoding="utf-8")
    assert "at site fc1: batch norm needs at least two values per channel" in page


def test_thresholds_that_no_run_reaches_are_censored_at_the_budget(cli, tmp_path):
    made_up(tmp_path / "results" / "tiny", TINY.replace("[0.3]", "[0.999, 1.0]"), steady)
    assert cli("report").status == 0
    times = pd.read_csv("reports/tiny_tables/times.csv")
    assert len(times) == 8
    assert set(times["threshold"]) == {0.999, 1.0}
    assert set(times["reached"]) == {0}
    assert set(times["restricted_mean"]) == set(times["budget"]) == {1.0}
    assert "nan" not in Path("reports/tiny.html").read_text(encoding="utf-8").lower().split()


# -- photos ------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for photos, and ``photos.toml`` that trains on what is in it."""
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    data = f'{{ name = "image-folder", path = "{folder}", resolution = 32 }}'
    text = TINY.replace(DATA, data).replace(SIZES, "[2]").replace('"tiny"', '"photos"')
    (tmp_path / "photos.toml").write_text(text, encoding="utf-8")
    return folder


def _one_class(folder: Path) -> None:
    for i in range(4):
        save(folder / f"cat.{i}.jpg", i)


def _one_class_readable(folder: Path) -> None:
    LAYOUTS["classes"](folder, 3)
    for path in (folder / "cats").iterdir():
        path.write_bytes(b"no image")


def _none_readable(folder: Path) -> None:
    LAYOUTS["flat"](folder, 3)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:40])


def _a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"PK")


def _too_deep(folder: Path) -> None:
    LAYOUTS["classes"](folder / "data" / "all", 2)


def _unlabelled(folder: Path) -> None:
    for i in range(5):
        save(folder / f"{i}.jpg", i)


def _mixed(folder: Path) -> None:
    LAYOUTS["flat"](folder, 2)
    LAYOUTS["classes"](folder, 2)


FOLDERS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "absent": (Path.rmdir, ["image-folder is not on this machine", "there is no folder", "path"]),
    "empty": (lambda folder: None, ["there is no image in", "found nothing", "one folder per class",
                                    "likely fix: unpack the photos there"]),
    "a file": (_a_file, ["must be a folder; received the file", "likely fix: unpack it"]),
    "one class": (_one_class, ["at least two classes", "(cat: 4)", "likely fix: add the other"]),
    "one class readable": (_one_class_readable, ["readable images of one class only",
                                                 "cats: 0, dogs: 3", "likely fix"]),
    "none readable": (_none_readable, ["none of the 6 image files", "likely fix: get them again"]),
    "too deep": (_too_deep, ["wrong layout", "likely fix: give the folder that holds the classes",
                             "data"]),
    "no class in the names": (_unlabelled, ["5 of 5 image files have no class in their names",
                                            "likely fix"]),
    "two layouts": (_mixed, ["mixed layouts", "likely fix: keep one"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_photos_that_cannot_be_a_data_set_are_refused(cli, photos, tmp_path, kind):
    make, words = FOLDERS[kind]
    make(photos)
    refused(cli("run", "photos.toml", "--workers", "0"), *words)
    assert not (tmp_path / "results").exists()
    assert list((tmp_path / "cache").glob("*.images")) == []


def test_a_folder_of_photos_that_cannot_be_read_is_refused(cli, photos, tmp_path, monkeypatch):
    LAYOUTS["flat"](photos, 2)
    real = os.scandir

    def guarded(path):
        if Path(path) == photos:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    said = cli("run", "photos.toml", "--workers", "0")
    refused(said, f"the folder {photos} cannot be read (Permission denied)", "likely fix: allow")
    assert not (tmp_path / "results").exists()


def test_more_photos_than_there_are_is_refused(cli, photos):
    LAYOUTS["flat"](photos, 3)
    override = f'dataset={{ name = "image-folder", path = "{photos}", items = 7 }}'
    said = cli("plan", "photos.toml", "--set", override)
    refused(said, "must not exceed the 6 items of image-folder; received items = 7", "likely fix")


def test_bad_photos_are_skipped_with_a_word_and_the_others_used(cli, photos, caplog):
    LAYOUTS["classes"](photos, 4)
    whole = (photos / "cats" / "0.png").read_bytes()
    (photos / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "dogs" / "page.jpg").write_text("<html>not found</html>", encoding="utf-8")
    (photos / "dogs" / "nothing.jpg").write_bytes(b"")
    before = everything(photos)
    said = cli("run", "photos.toml", "--workers", "0", "--seeds", "1")
    assert said.status == 0, said.err
    assert "3 of 11 files are no usable images and are skipped" in caplog.text
    for name in ("cats/cut.png", "dogs/page.jpg", "dogs/nothing.jpg"):
        assert name in caplog.text
    assert status_counts(Path("results/photos")) == {"finished": 2}
    assert everything(photos) == before


def test_odd_photos_are_photos(cli, photos, caplog):
    for i, name in enumerate(("cats", "dogs")):
        folder = photos / name
        folder.mkdir()
        image = picture(i)
        Image.new("RGB", (1, 1), (9, 8, 7)).save(folder / "one-pixel.png")
        image.convert("L").save(folder / "grey.jpg")
        image.convert("CMYK").save(folder / "cmyk.jpg")
        palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(folder / "palette.png")
        palette.save(folder / "transparent.png", transparency=b"\x00\x80")
        image.convert("RGBA").save(folder / "alpha.png")
        turned = Image.Exif()
        turned[0x0112] = 6
        image.save(folder / "turned.jpg", exif=turned)
    said = cli("run", "photos.toml", "--workers", "0", "--seeds", "1")
    assert said.status == 0, said.err
    assert caplog.text == ""
    assert status_counts(Path("results/photos")) == {"finished": 2}


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
    path = folder / "protocol.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"schema_version": SCHEMA_VERSION + 1}), encoding="utf-8")


def _newer_table(folder: Path) -> None:
    table = pq.read_table(folder / "runs.parquet")
    metadata = {"normbench_schema": str(SCHEMA_VERSION + 1)}
    pq.write_table(table.replace_schema_metadata(metadata), folder / "runs.parquet")


def _newer_decisions(folder: Path) -> None:
    (folder / "decisions.json").write_text('{"version": 2}', encoding="utf-8")


def _newer_registration(folder: Path) -> None:
    (folder / "registration.json").write_text('{"version": 2}', encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "commands"),
    [
        (_newer_protocol, ("run", "plan", *READERS)),
        (_newer_table, ("plan", *READERS)),
        (_newer_decisions, ("run", "plan", "analyse", "check", "report")),
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


@pytest.mark.parametrize("name", ["protocol.json", "runs.parquet"])
def test_a_stored_file_that_is_withheld_is_neither_replaced_nor_set_aside(
    cli, claimed, monkeypatch, name
):
    before = everything(claimed)
    real_table, real_text = pq.read_table, Path.read_text

    def refuse(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))

    def read_table(path, *arguments, **keywords):
        refuse(path)
        return real_table(path, *arguments, **keywords)

    def read_text(self, *arguments, **keywords):
        refuse(self)
        return real_text(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "read_table", read_table)
        patch.setattr(Path, "read_text", read_text)
        for command in ("plan", *READERS, "run"):
            said = cli(command, "tiny.toml" if command in ("run", "plan") else "results/tiny")
            refused(said, f"{name} cannot be read (Permission denied)", "it is left as it is")
    tables = {"epochs.parquet", "predictions.parquet", "runs.parquet", "protocol.json"}
    after = everything(claimed)
    assert {n: after[n] for n in tables} == {n: before[n] for n in tables}
    assert not list(claimed.glob("*.damaged*"))


# -- empty, partial and truncated results ------------------------------------------------------


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("place", ["results", "results/tiny", "nowhere"])
def test_no_results_are_told_by_every_reader(cli, tmp_path, command, place):
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    refused(cli(command, place), place, "normbench run")


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
    "provenance.json": (),
    "execution.json": (),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "cut") for name in NEEDED]
    + [(name, "another content") for name in NEEDED if name.endswith("json")],
)
def test_a_damaged_file_is_named_by_who_needs_it_and_stays(cli, claimed, tmp_path, name, kind):
    path = claimed / name
    content = path.read_bytes() if path.exists() else b'{"version": 1, "rates": {'
    other = b'{"version": 1, "schema_version": 1, "a": 3, "invocations": [{"started": "x"}]}'
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
        assert everything(claimed) == before
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
