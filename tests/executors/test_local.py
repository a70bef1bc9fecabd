"""Executors: every task comes back once, whatever happens to it or to its worker."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.context
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from normbench.errors import WorkError
from normbench.executors.inline import InlineExecutor
from normbench.executors.local import LocalExecutor
from normbench.training.work import set_up_worker
from tests.processes import wait_until

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


def square(x: int) -> int:
    return x * x


def refuse_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd:\n  {x}")
    return x


def die_of(number: int, x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), number)
        time.sleep(60)
    return x


def leave_with(status: int, x: int) -> int:
    if x == 3:
        os._exit(status)
    return x


def hang_until_killed(folder: Path, x: int) -> int:
    if x == 1:
        (folder / "pid").write_text(str(os.getpid()), encoding="ascii")
        time.sleep(300)
    return x


def unpicklable(x: int) -> object:
    return (lambda: x) if x == 1 else x


def settings(x: int) -> tuple[str | None, str | None, int]:
    return os.environ.get("OMP_NUM_THREADS"), os.environ.get("MARK"), os.getpid()


def variable(name: str) -> str | None:
    return os.environ.get(name)


def leave_mark() -> None:
    os.environ["MARK"] = "set up"


@pytest.fixture(params=["inline", "local"])
def executor(request):
    with InlineExecutor() if request.param == "inline" else LocalExecutor(1) as made:
        yield made


@pytest.fixture(params=["fresh", "forked"])
def local(request):
    """Makes executors, and ends their workers when the test is over."""
    forked = request.param == "forked"
    if forked and "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork server")
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(LocalExecutor(*args, prepared=forked))


def test_every_task_comes_back_once_with_its_value(executor):
    tasks = list(range(7))
    found = list(executor.map(square, tasks))
    assert sorted(d.task for d in found) == tasks
    assert all(d.value == d.task**2 and d.error is None for d in found)


def test_no_tasks_give_nothing(executor):
    assert list(executor.map(square, [])) == []


def test_an_error_is_told_in_one_line_and_the_others_go_on(executor):
    found = {d.task: d for d in executor.map(refuse_odd, [0, 1, 2, 3])}
    assert {t: d.value for t, d in found.items()} == {0: 0, 1: None, 2: 2, 3: None}
    assert found[1].error == "ValueError: odd: 1"
    assert found[2].error is None


def test_inline_runs_tasks_here_and_in_order():
    tasks = [3, 1, 2]
    assert [d.task for d in InlineExecutor().map(square, tasks)] == tasks


def test_an_interrupt_passes_through_inline():
    def press(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(InlineExecutor().map(press, [1]))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "signal 9, SIGKILL, perhaps out of memory"),
        (signal.SIGTERM, "signal 15, SIGTERM"),
    ],
)
def test_a_worker_that_dies_fails_its_own_task_alone(local, number, words):
    found = {d.task: d for d in local(1).map(partial(die_of, int(number)), range(6))}
    assert len(found) == 6
    assert found.pop(3).error == f"the worker process died ({words})"
    assert all(d.value == t and d.error is None for t, d in found.items())


def test_a_worker_that_exits_fails_its_own_task_alone(local):
    found = {d.task: d for d in local(1).map(partial(leave_with, 7), range(6))}
    assert found.pop(3).error == "the worker process died (exit status 7)"
    assert all(d.value == t and d.error is None for t, d in found.items())


@linux
def test_a_worker_killed_from_outside_is_replaced(local, tmp_path):
    results = local(1).map(partial(hang_until_killed, tmp_path), range(4))
    assert next(results).task == 0
    pid = int(wait_until((tmp_path / "pid").exists, "the task") and wait_until(
        (tmp_path / "pid").read_text, "the task's process"))  # fmt: skip
    os.kill(pid, signal.SIGKILL)
    rest = {d.task: d for d in results}
    assert "signal 9" in rest[1].error
    assert {t: d.value for t, d in rest.items()} == {1: None, 2: 2, 3: 3}


def test_a_value_that_cannot_be_sent_back_is_that_tasks_error(local):
    found = {d.task: d for d in local(1).map(unpicklable, [0, 1, 2])}
    assert {t: d.value for t, d in found.items()} == {0: 0, 1: None, 2: 2}
    assert found[1].error


@linux
def test_closing_early_stops_the_workers(local, tmp_path):
    results = local(1).map(partial(hang_until_killed, tmp_path), range(4))
    next(results)
    pid = int(wait_until((tmp_path / "pid").exists, "the task") and wait_until(
        (tmp_path / "pid").read_text, "the task's process"))  # fmt: skip
    assert Path(f"/proc/{pid}").exists()
    results.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker's end", 20)
    assert not Path(f"/proc/{pid}").exists()


@linux
@pytest.mark.parametrize("prepared", [False, True])
def test_a_busy_worker_ends_when_its_parent_is_killed(tmp_path, prepared):
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from normbench.executors.local import LocalExecutor\n"
        "import tests.executors.test_local as here\n"
        "if __name__ == '__main__':\n"
        f"    executor = LocalExecutor(1, prepared={prepared})\n"
        "    list(executor.map(partial(here.hang_until_killed, Path(sys.argv[1])), [1]))\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        pid = int(wait_until((tmp_path / "pid").exists, "the task") and wait_until(
            (tmp_path / "pid").read_text, "the task's process"))  # fmt: skip
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker's end", 20)
    assert not Path(f"/proc/{pid}").exists()


def printed(code, temporary):
    """What a fresh interpreter prints that runs ``code`` beside the names it is about."""
    names = (
        "from normbench.executors.local import LocalExecutor\n"
        "from normbench.executors.server import prepare_workers\n"
        "import tests.executors.test_local as here\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", names + code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(temporary)},
    )  # fmt: skip
    return done.stdout.strip()


@linux
def test_workers_of_a_server_have_its_modules_already(tmp_path):
    code = (
        "if __name__ == '__main__':\n"
        "    assert prepare_workers(['tests.executors.loaded'], 3)\n"
        "    with LocalExecutor(2, 1, None, prepared=True) as executor:\n"
        "        print(sorted(d.value for d in executor.map(here.loaded, [0, 1, 2])))\n"
    )
    assert printed(code, tmp_path) == "[True, True, True]"


@linux
def test_a_server_that_runs_already_is_not_waited_for(tmp_path):
    code = (
        "import time\n"
        "if __name__ == '__main__':\n"
        "    for i in range(3):\n"
        "        start = time.monotonic()\n"
        "        assert prepare_workers(['tests.executors.loaded'], 1)\n"
        "        with LocalExecutor(1, 1, None, prepared=True) as executor:\n"
        "            assert [d.value for d in executor.map(here.loaded, [0])] == [True]\n"
        "        assert time.monotonic() - start < 60\n"
        "    print('done')\n"
    )
    assert printed(code, tmp_path) == "done"
    assert list(tmp_path.glob("normbench-loading-*")) == []


def loaded(x: int) -> bool:
    """Whether the module was there before anything of this task was."""
    return "tests.executors.loaded" in sys.modules


def test_workers_are_set_up_and_told_their_threads(local):
    found = [d.value for d in local(1, 3, leave_mark).map(settings, [0, 1])]
    assert [v[:2] for v in found] == [("3", "set up")] * 2
    assert len({v[2] for v in found} | {os.getpid()}) == 2


def test_no_more_workers_start_than_there_are_tasks(local):
    found = [d.value for d in local(50).map(settings, [0, 1])]
    assert len({v[2] for v in found}) <= 2


def test_executors_need_neither_torch_nor_training():
    code = (
        "import sys, normbench.executors.local, normbench.executors.inline;"
        "print([m for m in sys.modules if m.split('.')[0] == 'torch' or 'training' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def occupy(x: int) -> tuple[str, float, float]:
    started = time.monotonic()
    time.sleep(0.05)
    return os.environ["CUDA_VISIBLE_DEVICES"], started, time.monotonic()


def test_pretended_devices_are_each_used_and_none_twice_at_once():
    devices = [{"CUDA_VISIBLE_DEVICES": name} for name in ("0", "2", "GPU-77")]
    with LocalExecutor(3, 1, None, devices) as executor:
        list(executor.map(square, range(3)))  # all three have started
        found = [done.value for done in executor.map(occupy, range(24))]
    by_device: dict[str, list[tuple[float, float]]] = {}
    for device, started, ended in found:
        by_device.setdefault(device, []).append((started, ended))
    assert set(by_device) == {"0", "2", "GPU-77"}
    for times in by_device.values():
        times.sort()
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


def test_a_device_whose_worker_died_keeps_its_device():
    with LocalExecutor(1, 1, None, [{"CUDA_VISIBLE_DEVICES": "5"}]) as executor:
        list(executor.map(partial(leave_with, 7), [3]))
        assert [done.value[0] for done in executor.map(occupy, [0])] == ["5"]


def test_workers_are_kept_from_one_map_to_the_next():
    with LocalExecutor(1, 1, leave_mark) as executor:
        (first,) = executor.map(settings, [0])
        (second,) = executor.map(settings, [0])
    assert first.value == second.value


def test_there_is_one_set_of_variables_for_each_worker():
    with pytest.raises(ValueError, match="1 sets of variables for 2 workers"):
        LocalExecutor(2, 1, None, [{}])


def _smallest(value: float) -> float:
    import torch

    return float(torch.tensor(value) * 1.0)


@pytest.mark.parametrize("prepared", [False, True])
def test_a_worker_counts_denormal_numbers_as_zero(prepared: bool) -> None:
    with LocalExecutor(1, 1, set_up_worker, prepared=prepared) as executor:
        found = {done.task: done.value for done in executor.map(_smallest, [1e-40, 2e-38])}
    assert found[1e-40] == 0
    assert found[2e-38] == pytest.approx(2e-38)


_ALLOCATION = """
import os
from normbench.executors.local import LocalExecutor
from normbench.executors.server import prepare_workers
from tests.executors.test_local import variable

if __name__ == "__main__":
    before = dict(os.environ)
    prepare_workers([])
    assert dict(os.environ) == before
    with LocalExecutor(1, 1, None, prepared=True) as executor:
        names = ["MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"]
        print(*(done.value for done in executor.map(variable, names)))
"""


@pytest.mark.parametrize("given", [None, "131072"])
def test_workers_keep_freed_memory_unless_the_user_says_otherwise(given: str | None) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system has no fork server")
    names = ("MALLOC_", "GLIBC_TUNABLES")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(names)}
    if given is not None:
        environment["MALLOC_TRIM_THRESHOLD_"] = given
    code = [sys.executable, "-c", _ALLOCATION]
    said = subprocess.run(code, capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 0, said.stderr
    huge = "glibc.malloc.hugetlb=1"
    assert said.stdout.split() == [given or str(1 << 28), str(1 << 24), huge]


def test_a_system_that_starts_no_processes_is_told(monkeypatch):
    def refuse(*_, **__):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocessing.context.SpawnProcess, "start", refuse)
    with LocalExecutor(1) as executor, pytest.raises(WorkError, match="--workers 0"):
        list(executor.map(abs, [1]))
