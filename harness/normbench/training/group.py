"""Training a group of runs in a worker: specifications in, rows out; touches no file."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from normbench.errors import ComponentError, UndefinedError
from normbench.place import told
from normbench.plan.code import packages_in
from normbench.plan.edited import check_code, check_imported
from normbench.plan.spec import RunSpec
from normbench.training.data import prepare
from normbench.training.engines import make_engine, units
from normbench.training.loop import Outcome, train
from normbench.training.tasks import Group, GroupRows


class PeakMemory:
    """The most memory held since it was made, in MiB: the device's, or this process's.

    Where a process cannot forget its earlier maximum (not on Linux, or a container that forbids
    it), the most that it ever held.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(device)
            return
        with contextlib.suppress(OSError):  # Linux: forget the process's earlier maximum
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def read(self) -> float:
        """The maximum up to now."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        try:
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        except OSError:
            pass
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _trained(group: Group, runs: Sequence[RunSpec]) -> list[Outcome]:
    """The outcomes of runs that the group's engine trains as one computation.

    A configuration that has no meaning has none for any of them. A run by itself that raises is a
    row that says so. Several fail together, since what was raised is about all of them: the error
    passes through.
    """
    started, run = time.perf_counter(), runs[0]
    reset_numerics()
    try:
        check_code(run)
        data = prepare(run.cell, group.device)
        outcomes = train(make_engine(group.engine, runs, data, group.device))
        check_imported(run)
        return outcomes
    except UndefinedError as error:
        seconds = (time.perf_counter() - started) / len(runs)
        return [Outcome(status="undefined", error=str(error), seconds=seconds) for _ in runs]
    except (Exception, SystemExit) as error:
        if len(runs) == 1:
            seconds = time.perf_counter() - started
            return [Outcome(status="failed", error=failure(run, error), seconds=seconds)]
        if not packages_in(run.cell):
            raise
        raise ComponentError(failure(run, error)) from error


def reset_numerics() -> None:
    """Set what torch's numbers depend on in a process, whatever an earlier run's component set."""
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_float32_matmul_precision("highest")
    torch.autograd.set_detect_anomaly(False)
    torch.use_deterministic_algorithms(False)
    torch.backends.mkldnn.enabled = True  # type: ignore[assignment]
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True


def failure(run: RunSpec, error: BaseException) -> str:
    """What went wrong in a run, with its place where that is in another package."""
    if isinstance(error, ComponentError):
        return str(error)
    return told(error, packages_in(run.cell))


def train_group(group: Group) -> GroupRows:
    """Train the runs of a group: one after the other, or as one computation, as its engine does."""
    torch.set_num_threads(group.engine.threads)
    outcomes, peaks = list[Outcome](), list[float]()
    for runs in units(group.engine, group.runs):
        memory = PeakMemory(group.device)
        own = _trained(group, runs)
        outcomes += own
        peaks += [memory.read()] * len(own)
    return rows_of(group, outcomes, peaks)


def rows_of(group: Group, outcomes: Sequence[Outcome], peaks: Sequence[float]) -> GroupRows:
    """The tables' rows of a group; ``peaks`` are in MiB."""
    rows = GroupRows()
    for run, outcome, peak in zip(group.runs, outcomes, peaks, strict=True):
        key = {"run_hash": run.run_hash}
        ran = outcome.status in ("finished", "diverged")
        rows.runs.append(
            {
                **key,
                "status": outcome.status,
                "error": outcome.error,
                "execution_hash": group.execution_hash,
                "engine": group.engine.name,
                "group_size": len(group.runs),
                "steps": outcome.steps,
                "skipped_updates": outcome.skipped_updates,
                "samples": outcome.samples,
                "seconds": outcome.seconds,
                "train_seconds": outcome.train_seconds,
                "eval_seconds": outcome.eval_seconds,
                "probe_seconds": outcome.probe_seconds,
                "probe_values": len(outcome.probes) if ran and run.cell.probes else None,
                "peak_memory": peak,
                "device": group.device,
                "classes": outcome.classes if ran else None,
                "label_variance": outcome.label_variance if ran else None,
                "parameters": outcome.parameters if ran else None,
                "buffers": outcome.buffers if ran else None,
            }
        )
        if ran:
            rows.epochs += [{**key, **row} for row in outcome.epochs]
            rows.probes += [{**key, **row} for row in outcome.probes]
            rows.predictions += [
                {**key, "evaluation": kind, "correct": correct.tolist()}
                for kind, correct in outcome.predictions.items()
            ]
    return rows
