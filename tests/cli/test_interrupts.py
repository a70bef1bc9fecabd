"""Full disks and interrupts, wherever they strike: what was committed stays, a rerun completes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from normbench.results import files
from normbench.results.store import Store
from tests.processes import children, start, wait_until
from tests.support import TINY, differences, made_up, status_counts, sweep

#: The half that is there before anything goes wrong, and what is then asked for.
#: Run by run, so that the undisturbed sweep of the fixtures has the same bits.
FIRST, THEN = ["norm=batch"], ("run", "tiny.toml", "--workers", "0", "--engine", "plain")
PAGE = Path("reports/tiny.html")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed sweep."""
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    sweep(TINY, folder)
    return folder


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of which half is done."""
    folder = tmp_path_factory.mktemp("half") / "tiny"
    sweep(TINY, folder, only=FIRST)
    return folder


@pytest.fixture
def folder(half: Path, tmp_path: Path, tiny: Path) -> Path:
    """The half done sweep, where the command expects it."""
    return Path(shutil.copytree(half, tmp_path / "results" / "tiny"))


def rows(folder: Path, norm: str) -> list[dict[str, Any]]:
    """What is stored of a norm's finished runs, whoever computed it."""
    table = Store(folder).read("runs").to_pylist()
    return [r for r in table if r["norm"] == norm and r["status"] == "finished"]


def finish(cli: Callable[..., Any], whole: Path, folder: Path, computed: int) -> None:
    """Run again: what was committed is not computed again, and the end is the same as ever."""
    said = cli(*THEN)
    assert said.status == 0, said.err
    assert f"{8 - computed} runs to train on 1 worker(s), {computed} done before" in said.out
    assert differences(whole, folder) == []
    assert list(folder.rglob("*.tmp")) == []
    assert list((folder / "parts").iterdir()) == []


def strike(
    monkeypatch: pytest.MonkeyPatch, how: str, name: str, parent: str, act: Callable[[], None]
) -> list[str]:
    """Call ``act`` when a file of that name, in a folder of that name, is written.

    ``how`` is the step: its content is written, synced, or takes its name. The second write of
    a merged table is meant, for the first only adds planned rows to it.
    """
    met: list[str] = []
    later = 1 if parent == "tiny" else 0

    def meet(path: Path) -> None:
        if path.name.startswith(name) and path.parent.name == parent:
            met.append(path.name)
            if len(met) > later:
                act()

    write, sync, replace = pq.ParquetWriter.write_table, os.fsync, Path.replace

    def write_table(self: pq.ParquetWriter, *arguments: Any, **keywords: Any) -> None:
        meet(Path(f"/proc/self/fd/{self.where.fileno()}").readlink())
        write(self, *arguments, **keywords)

    def fsync(descriptor: int) -> None:
        meet(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        meet(self)
        return replace(self, target)

    where, what, double = {
        "write": (pq.ParquetWriter, "write_table", write_table),
        "sync": (files.os, "fsync", fsync),
        "rename": (Path, "replace", rename),
    }[how]
    monkeypatch.setattr(where, what, double)
    return met


def no_room() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


# -- full disks --------------------------------------------------------------------------------

#: A table's file, its folder, and how many runs are committed when it cannot be written. (How
#: many runs the first group has is not said here: "some" lie between half and all of them.)
PLACES = [
    ("000000.epochs.parquet", "parts", 4),
    ("000000.predictions.parquet", "parts", 4),
    ("000000.runs.parquet", "parts", 4),
    ("000001.runs.parquet", "parts", "some"),
    ("epochs.parquet", "tiny", 8),
    ("predictions.parquet", "tiny", 8),
    ("runs.parquet", "tiny", 8),
]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc names what a descriptor is")
@pytest.mark.parametrize(
    ("how", "name", "parent", "committed"),
    [("write", *place) for place in PLACES]
    + [(how, *PLACES[i]) for how in ("sync", "rename") for i in (2, 6)],
)
def test_a_disk_that_fills_up_loses_no_committed_run(
    cli, whole, folder, monkeypatch, how, name, parent, committed
):
    before = rows(folder, "batch")
    with monkeypatch.context() as patch:
        met = strike(patch, how, name, parent, no_room)
        said = cli(*THEN)
    assert met
    assert said.status == 1
    assert f"error: cannot write results/tiny/{'parts/' if parent == 'parts' else ''}" in said.err
    for words in (name, "No space left on device", "make room", "run the same command again"):
        assert words in said.err
    assert "Traceback" not in said.err
    assert rows(folder, "batch") == before
    found = status_counts(folder)["finished"]
    assert 4 < found < 8 if committed == "some" else found == committed
    assert list(folder.rglob("*.tmp")) == []
    finish(cli, whole, folder, found)


@pytest.mark.parametrize("name", ["tiny.html", "claims.csv"])
def test_a_disk_that_fills_up_leaves_the_earlier_report(cli, tmp_path, monkeypatch, name):
    made_up(tmp_path / "results" / "tiny", TINY, lambda run: ("finished", [0.1, 0.5]))
    PAGE.parent.mkdir()
    PAGE.write_text("the earlier page", encoding="utf-8")
    real = Path.replace

    def rename(self, target):
        if target.name == name:
            no_room()
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", rename)
        said = cli("report")
    assert said.status == 1
    assert name in said.err
    assert "No space left on device" in said.err
    assert "Traceback" not in said.err
    assert PAGE.read_text(encoding="utf-8") == "the earlier page"
    assert list(tmp_path.rglob("*.tmp")) == []


# -- Ctrl-C and SIGTERM ------------------------------------------------------------------------

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_interrupt_in_planning_changes_nothing(cli, whole, folder, monkeypatch, number, command):
    from normbench.workflow import plan

    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(plan, "check_runs", lambda runs, executor: signal.raise_signal(number))
        said = cli(command, "tiny.toml")
    assert said.status == 130
    assert said.err == "interrupted; what was finished before is kept\n"
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupt_in_training_keeps_the_groups_before_it(
    cli, whole, folder, monkeypatch, number
):
    from normbench.training import group

    real, trained = group.train, []

    def train(*arguments):
        trained.append(1)
        if len(trained) == 4:
            signal.raise_signal(number)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(group, "train", train)
        said = cli(*THEN)
    assert said.status == 130
    assert "interrupted: what was committed is kept; run the same command again" in said.err
    found = status_counts(folder)["finished"]
    assert 4 < found < 8
    assert f"{found} finished, {8 - found} missing" in said.out
    finish(cli, whole, folder, found)


@pytest.mark.parametrize(("name", "parent", "committed"), PLACES[1:5] + PLACES[6:])
def test_an_interrupt_in_committing_or_merging_keeps_what_is_committed(
    cli, whole, folder, monkeypatch, name, parent, committed
):
    before = rows(folder, "batch")
    with monkeypatch.context() as patch:
        met = strike(patch, "rename", name, parent, lambda: signal.raise_signal(signal.SIGINT))
        said = cli(*THEN)
    assert met
    assert said.status == 130
    assert "interrupted" in said.err
    assert "Traceback" not in said.err
    assert rows(folder, "batch") == before
    found = status_counts(folder)["finished"]
    assert 4 < found < 8 if committed == "some" else found == committed
    finish(cli, whole, folder, found)


@pytest.mark.parametrize(
    ("name", "number"), [("claims.csv", SIGNALS[0]), ("tiny.html", SIGNALS[1])]
)
def test_an_interrupt_in_writing_a_report_leaves_the_earlier_one(
    cli, tmp_path, monkeypatch, number, name
):
    made_up(tmp_path / "results" / "tiny", TINY, lambda run: ("finished", [0.1, 0.5]))
    PAGE.parent.mkdir()
    PAGE.write_text("the earlier page", encoding="utf-8")
    real = Path.replace

    def rename(self, target):
        if target.name == name:
            signal.raise_signal(number)
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", rename)
        said = cli("report")
    assert said.status == 130
    assert said.err == "interrupted; what was finished before is kept\n"
    assert PAGE.read_text(encoding="utf-8") == "the earlier page"
    assert list(tmp_path.rglob("*.tmp")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="signals to process groups, /proc")
def test_an_interrupt_while_modules_are_imported_is_no_traceback(tiny):
    process = start(["plan", str(tiny)], tiny.parent)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_until(lambda: "pydantic_core" in maps.read_text(encoding="utf-8"), "importing")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted; what was finished before is kept\n"


@pytest.mark.skipif(sys.platform != "linux", reason="signals to process groups, /proc")
def test_an_interrupt_while_the_server_of_workers_loads_is_no_traceback(tiny):
    process = start(["run", str(tiny), "--workers", "1"], tiny.parent)

    def loading() -> bool:
        texts = []
        for pid in children(process.pid):
            with contextlib.suppress(OSError):
                texts.append(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8"))
        return any("libtorch_cpu" in text for text in texts)

    wait_until(loading, "the server's loading")
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in out + err


IN_A_STRING = """
import normbench.cli, normbench.cli.app
normbench.cli.app.app = lambda: exec("raise KeyboardInterrupt")
normbench.cli.main()
"""


def test_an_interrupt_that_ends_code_run_from_a_string_is_not_taken_for_unhandled(tmp_path):
    """As in the making of a data class: Python would end by the signal, with status -2."""
    (tmp_path / "in_a_string.py").write_text(IN_A_STRING, encoding="utf-8")
    process = subprocess.run(
        [sys.executable, "-m", "in_a_string"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 130
    assert process.stderr == "interrupted; what was finished before is kept\n"


# -- kill -9 -----------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
name, when, *arguments = sys.argv[1:]
real = Path.replace

def rename(self, target):
    mine = target.name == name
    if mine and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    real(self, target)
    if mine and when == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return target

Path.replace = rename
sys.argv = ["normbench", *arguments]
"""
MERGE = """
from normbench.results.store import Store
from tests.support import TINY, plan_of
Store(Path(arguments[0])).consolidate(plan_of(TINY).rows)
"""
REPORT = "from normbench.cli import main\nmain()\n"


def killed(code: str, name: str, when: str, *arguments: object) -> None:
    """Run the code in a process that is killed around the moment a file takes its name."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED + code, name, when, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("name", "when"), [("predictions.parquet", "before"), ("runs.parquet", "after")]
)
def test_kill_9_in_merging_loses_and_doubles_nothing(cli, whole, folder, monkeypatch, name, when):
    with monkeypatch.context() as patch:  # everything trained, nothing merged
        patch.setattr(Store, "consolidate", lambda *_: None)
        assert cli(*THEN).status == 0
    killed(MERGE, name, when, folder)
    assert status_counts(folder) == {"finished": 8}
    assert Store(folder).read("epochs").num_rows == 16
    finish(cli, whole, folder, 8)


def test_kill_9_in_writing_a_report_leaves_the_earlier_one(cli, tmp_path):
    made_up(tmp_path / "results" / "tiny", TINY, lambda run: ("finished", [0.1, 0.5]))
    (tmp_path / "reports").mkdir()
    (tmp_path / PAGE).write_text("the earlier page", encoding="utf-8")
    killed(REPORT, "tiny.html", "before", "report", tmp_path / "results", "-o", tmp_path / PAGE)
    assert (tmp_path / PAGE).read_text(encoding="utf-8") == "the earlier page"
    assert cli("report").status == 0
    assert "the earlier page" not in (tmp_path / PAGE).read_text(encoding="utf-8")
