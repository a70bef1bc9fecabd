"""Which devices are used, with pretended accelerators."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from normbench.errors import UsageError
from normbench.training import devices


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: found)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)


@pytest.mark.usefixtures("three_gpus")
def test_every_accelerator_gets_a_worker_that_sees_it_alone() -> None:
    device = devices.choose_device("auto")
    names = devices.choose_devices(device, None)
    workers = devices.default_workers(device, names)
    assert (device, workers) == ("cuda", 3)
    assert devices.worker_variables(device, names, workers) == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1"},
        {"CUDA_VISIBLE_DEVICES": "2"},
    ]


@pytest.mark.usefixtures("three_gpus")
def test_some_accelerators_may_be_chosen() -> None:
    assert devices.choose_devices("cuda", "0,2") == ["0", "2"]
    assert devices.choose_devices("cuda", " 1 ") == ["1"]


@pytest.mark.usefixtures("three_gpus")
def test_a_process_that_is_restricted_restricts_its_workers_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-7b,3")
    assert devices.choose_devices("cuda", "1,2") == ["GPU-7b", "3"]


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize("wanted", ["3", "0,0", "-1", "a", ""])
def test_accelerators_that_are_not_there_are_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match="different numbers from 0 to 2, such as 0,1"):
        devices.choose_devices("cuda", wanted)


@pytest.mark.usefixtures("three_gpus")
def test_more_workers_than_accelerators_share_them_in_turn() -> None:
    found = devices.worker_variables("cuda", ["0", "1"], 3)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["0", "1", "0"]


@pytest.mark.usefixtures("three_gpus")
def test_the_cpu_may_be_chosen_where_there_are_accelerators() -> None:
    assert devices.choose_device("cpu") == "cpu"
    assert devices.choose_devices("cpu", None) == []
    with pytest.raises(UsageError, match="chooses among accelerators"):
        devices.choose_devices("cpu", "0")


@pytest.mark.usefixtures("three_gpus")
def test_without_workers_no_device_can_be_given_to_one() -> None:
    assert devices.choose_devices("cuda", None, 0) == ["0", "1", "2"]
    assert devices.choose_devices("cuda", "2", 1) == ["2"]
    with pytest.raises(UsageError, match="with --workers 0 there is none"):
        devices.choose_devices("cuda", "2", 0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux's affinity")
def test_a_process_that_may_use_one_core_gets_one_worker() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from normbench.training.devices import default_workers; print(default_workers('cpu', []))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "1"


@pytest.mark.usefixtures("no_gpu")
def test_without_an_accelerator_the_cores_are_shared_by_workers_and_threads() -> None:
    assert devices.choose_device("auto") == "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert devices.default_workers("cpu", []) == cores
    for threads in (1, 2, 3, 1000):
        assert devices.default_workers("cpu", [], threads) >= 1
        assert devices.default_workers("cpu", [], threads) * threads <= max(cores or 1, threads)
    assert devices.worker_variables("cpu", [], 2) == [{}, {}]
    with pytest.raises(UsageError, match="--device cuda is not on this machine; it has cpu alone"):
        devices.choose_device("cuda")
