"""Real processes, really killed: what was committed stays, and a further run completes the rest."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from normbench.results.execution import read_execution
from normbench.results.store import Store
from tests.processes import children, kill_group, start, wait_until
from tests.support import differences, status_counts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process groups and /proc")

#: Three cells of three seeds: three groups, each long enough to be killed in.
STUDY = """\
[protocol]
name = "killed"
seeds = [0, 1, 2]

[defaults]
dataset = { name = "digits", items = 200 }
model = { name = "mlp", width = 8 }
learning_rate = 0.05
epochs = 6
evaluations_per_epoch = 2
probes = ["weights", "drift"]

[[experiment]]
name = "one"
norm = "layer"
batch_size = 4
[experiment.product]
split_seed = [0, 1, 2]
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed run, in this process: the seeds of each cell as one computation.

    The others follow its execution plan, so that they must have its bits.
    """
    from tests.support import sweep

    folder = tmp_path_factory.mktemp("whole") / "killed"
    sweep(STUDY, folder, engine="packed")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "killed.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path


@pytest.fixture
def running(place: Path, whole: Path) -> Iterator[Callable[..., tuple[object, Path]]]:
    """Starts ``normbench run`` and makes sure that it ends."""
    started = []

    def run(*arguments: str, environment: dict[str, str] | None = None) -> tuple[object, Path]:
        follow = ["--execution", str(whole / "execution.json")]
        process = start(["run", "killed.toml", *follow, *arguments], place, environment)
        started.append(process)
        return process, place / "results" / "killed"

    yield run
    for process in started:
        kill_group(process)


def parts(folder: Path, table: str = "runs") -> int:
    return len(list((folder / "parts").glob(f"*.{table}.parquet")))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the protocol is stored": lambda folder: (folder / "protocol.json").exists(),
    "the plan is stored": lambda folder: (folder / "runs.parquet").exists(),
    "a group is half committed": lambda folder: parts(folder, "epochs") > 0,
    "its probes are written": lambda folder: parts(folder, "probes") > 0,
    "a group is committed": lambda folder: parts(folder) > 0,
    "two groups are committed": lambda folder: parts(folder) > 1,
    "the last group is committed": lambda folder: parts(folder) > 2,
}


@pytest.mark.parametrize(
    ("moment", "workers"),
    [
        ("a group is committed", "0"),
        *(
            pytest.param(moment, workers, marks=pytest.mark.slow)
            for moment in MOMENTS
            for workers in ("0", "2")
            if (moment, workers) != ("a group is committed", "0")
        ),
    ],
)
def test_kill_9_and_resume_gives_what_an_undisturbed_run_gives(
    whole, running, cli, moment, workers
):
    process, folder = running("--workers", workers)
    wait_until(lambda: MOMENTS[moment](folder) or process.poll() is not None, moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    committed = parts(folder)
    before = status_counts(folder).get("finished", 0)
    if (folder / "parts").exists() and committed:
        assert before >= 3 * committed
    said = cli("run", "killed.toml", "--workers", "0")
    assert said.status == 0, said.err
    assert f"{9 - before} runs to train" in said.out
    assert differences(whole, folder) == []
    assert not list(folder.rglob("*.tmp"))
    assert list((folder / "parts").iterdir()) == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_keeps_committed_work_and_ends_with_130(whole, running, cli, number):
    process, folder = running("--workers", "1")
    wait_until(lambda: parts(folder) > 0, "the first group")
    refused = cli("run", "killed.toml", "--workers", "0")
    if number == signal.SIGINT:  # the terminal sends it to the whole group
        os.killpg(process.pid, number)
    else:
        os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: what was committed is kept" in err
    assert "Traceback" not in out + err
    assert refused.status == 2
    assert "another normbench is writing to results/killed" in refused.err
    counts = status_counts(folder)
    assert counts["finished"] >= 3
    assert counts["finished"] + counts["missing"] == 9
    assert list((folder / "parts").iterdir()) == []
    record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert record["invocations"][-1]["interrupted"] is True
    said = cli("run", "killed.toml", "--workers", "0")
    assert said.status == 0
    assert f"{counts['missing']} runs to train" in said.out
    assert differences(whole, folder) == []


def kill_a_worker(process: Any, folder: Path) -> tuple[str, str]:
    """Kill the worker once a group is committed; what the command then printed."""

    def worker() -> int | None:
        servers = [p for p in children(process.pid) if "forkserver" in command(p)]
        busy = [p for server in servers for p in children(server)]
        return busy[0] if busy else None

    wait_until(lambda: parts(folder) > 0, "the first group")
    os.kill(wait_until(worker, "a worker"), signal.SIGKILL)
    return process.communicate(timeout=120)


def test_what_a_killed_worker_was_doing_is_done_again(place, cli):
    process = start(["run", "killed.toml", "--engine", "plain", "--workers", "1"], place)
    folder = place / "results" / "killed"
    try:
        out, err = kill_a_worker(process, folder)
    finally:
        kill_group(process)
    assert process.returncode == 0, out + err
    assert status_counts(folder) == {"finished": 9}
    said = cli("run", "killed.toml", "--workers", "0")
    assert said.status == 0
    assert "0 runs to train" in said.out or "nothing" in said.out


@pytest.mark.slow
def test_seeds_whose_common_worker_was_killed_are_computed_in_halves(running):
    process, folder = running("--workers", "1")
    out, err = kill_a_worker(process, folder)
    assert process.returncode == 0, out + err
    assert status_counts(folder) == {"finished": 9}
    plan = read_execution(folder)
    assert len(plan.replaced) == 1
    sizes = Store(folder).read("runs").column("group_size").to_pylist()
    assert sorted(sizes) == [1, 2, 2, 3, 3, 3, 3, 3, 3]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
    except OSError:
        return ""


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(running):
    process, folder = running("--workers", "2")
    wait_until(lambda: parts(folder) > 0, "the first group")
    workers = children(process.pid)
    assert workers
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    wait_until(lambda: not any(command(pid) for pid in workers), "the workers' end", 30)
