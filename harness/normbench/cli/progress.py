"""Live progress of a sweep: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text


class _Left(ProgressColumn):
    """The time left, told anew whenever the bar is drawn."""

    def __init__(self, progress: LiveProgress) -> None:
        super().__init__()
        self.progress = progress

    def render(self, task: Task) -> Text:  # noqa: ARG002
        return Text(self.progress.left())


class LiveProgress:
    """Shows runs done, failures as they happen, and the time left."""

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every
        self.total = 0
        self.counts: Counter[str] = Counter()
        self._start = self._training = self._last = self._noted = time.monotonic()
        self._share = 0.0
        self._bar = Progress(
            TextColumn("[bold]training[/]"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs  {task.fields[note]}"),
            TimeElapsedColumn(),
            _Left(self),
            console=console,
            disable=not console.is_terminal,
        )

    def started(self, total: int, done: int, workers: int) -> None:
        """Show what is to be done."""
        self.total = total
        self.counts.clear()
        self._start = self._training = self._last = self._noted = time.monotonic()
        self._share = 0.0
        note = f", {done} done before" if done else ""
        self.console.print(f"{total} runs to train on {workers or 1} worker(s){note}")
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._task = self._bar.add_task("training", total=total, note="")
        if total:
            self._bar.start()

    def progressed(self, share: float) -> None:
        """Take note of the share of the work that is done.

        The groups that take longest come first, so that the runs that are done say little about
        the time left; the work is weighed by what was measured before training.
        """
        now = time.monotonic()
        if share <= 0:
            self._training = now  # measuring how to train is over
        self._share, self._noted = share, now

    def left(self) -> str:
        """The time left in words; empty where nothing is known yet.

        The rest takes as long a share of the work as what is done took since training began. What
        takes longer than that may take longer still: by a tenth of the time since the last news.
        """
        if not 0 < self._share < 1:
            return ""
        spent, since = self._noted - self._training, time.monotonic() - self._noted
        seconds = max(spent * (1 - self._share) / self._share - since, since / 10)
        minutes = round(seconds / 60)
        return f"about {minutes} min left" if minutes > 1 else f"about {max(1, seconds):.0f} s left"

    def finished(self, rows: list[dict[str, Any]]) -> None:
        """Count finished runs and show failures at once."""
        for row in rows:
            self.counts[row["status"]] += 1
            if row["status"] == "failed" and self.counts["failed"] <= 5:
                self.console.print(
                    f"failed {row['experiment']}, {row['norm']}, batch size "
                    f"{row['batch_size']}, seed {row['seed']}: {row['error']}",
                    style="red",
                )
        note = ", ".join(f"{n} {s}" for s, n in self.counts.items() if s != "finished")
        self._bar.update(self._task, advance=len(rows), note=note)
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last >= self.every:
            self._last = now
            done = sum(self.counts.values())
            said = (f"{done}/{self.total} runs", f"{now - self._start:.0f} s", self.left())
            text = ", ".join(part for part in said if part)
            self.console.print(text + (f" ({note})" if note else ""))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()
