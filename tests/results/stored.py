"""Made-up results folders, what a reader sees of them, and crashes at every step of writing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from normbench.plan.spec import RunSpec
from normbench.results.schema import arrow_schema
from normbench.results.store import Store
from tests.support import TINY, bits, made_up_rows, plan_of

TABLES = ("runs", "epochs", "predictions")
PROBED = TINY.replace("epochs = 1", 'epochs = 1\nprobes = ["weights"]')


def curve(run: RunSpec) -> tuple[str, list[float]]:
    return "finished", [0.1, 0.2 + 0.01 * run.seed + 0.001 * run.cell.batch_size]


def unmerged(folder: Path, groups: int | None = None, text: str = TINY) -> tuple[Store, Any]:
    """A folder with one part per run (of the first ``groups`` runs), nothing merged."""
    planned = plan_of(text)
    store = Store(folder)
    store.write_study(planned.study, text)
    store.consolidate(planned.rows)
    for number, run in enumerate(planned.runs[:groups]):
        store.write_group(f"{number:06d}", made_up_rows(run, *curve(run)))
    return store, planned


def contents(store: Store) -> dict[str, Any]:
    """All tables as a reader sees them, by value."""
    found = {}
    for name in (*TABLES, "probes"):
        table = store.read(name).sort_by(
            [(c, "ascending") for c in ("run_hash", "epoch", "evaluation", "probe", "layer")
             if c in arrow_schema(name).names]
        )  # fmt: skip
        found[name] = {c: bits(table[c]) for c in table.column_names}
    return found


class CrashError(BaseException):
    """Stands for the process's death: nothing catches it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, k: int) -> list[str]:
    """Let the ``k``-th step that changes the folder raise instead of happening."""
    steps: list[str] = []

    def counted(real: Any) -> Any:
        def step(self: Path, *arguments: Any, **keywords: Any) -> Any:
            if self.suffix == ".tmp" and real is real_unlink:
                return real(self, *arguments, **keywords)
            steps.append(self.name)
            if len(steps) == k:
                raise CrashError(f"step {k}: {self.name}")
            return real(self, *arguments, **keywords)

        return step

    real_unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", counted(real_unlink))
    monkeypatch.setattr(Path, "replace", counted(Path.replace))
    return steps
