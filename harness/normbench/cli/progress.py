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
    TextColumn,
    TimeElapsedColumn,
)


class LiveProgress:
    """Shows runs done, failures as they happen, and the time left."""

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every
        self.total = 0
        self.counts: Counter[str] = Counter()
        self._start = self._training = self._last = time.monotonic()
        self._share, self._spent, self._workers = 0.0, 0.0, 1
        self._bar = Progress(
            TextColumn("[bold]training[/]"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("runs  {task.fields[note]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def started(self, total: int, done: int, workers: int) -> None:
        """Show what is to be done."""
        self.total = total
        self.counts.clear()
        self._start = self._training = self._last = time.monotonic()
        self._share, self._spent, self._workers = 0.0, 0.0, max(1, workers)
        note = f", {done} done before" if done else ""
        self.console.print(f"{total} runs to train on {workers or 1} worker(s){note}")
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._task = self._bar.add_task("training", total=total, note="", left="")
        if total:
            self._bar.start()

    def progressed(self, share: float) -> None:
        """Take note of the share of the work that is done.

        The groups that take longest come first, so that the runs that are done say little about
        the time left; the work is weighed by what was measured before training.
        """
        self._share = share
        if share <= 0:
            self._training = time.monotonic()  # measuring how to train is over

    def left(self) -> str:
        """The time left in words; empty where nothing is known yet.

        What is done tells how long everything takes; that is shared by the workers, and counts
        from when training began, since all of them have been at work since then.
        """
        if self._share <= 0:
            return ""
        whole = self._spent / self._share / self._workers
        seconds = max(0.0, whole - (time.monotonic() - self._training))
        minutes = round(seconds / 60)
        return f"about {minutes} min left" if minutes > 1 else f"about {seconds:.0f} s left"

    def finished(self, rows: list[dict[str, Any]]) -> None:
        """Count finished runs and show failures at once."""
        for row in rows:
            self.counts[row["status"]] += 1
            self._spent += row.get("seconds") or 0.0
            if row["status"] == "failed" and self.counts["failed"] <= 5:
                self.console.print(
                    f"failed {row['experiment']}, {row['norm']}, batch size "
                    f"{row['batch_size']}, seed {row['seed']}: {row['error']}",
                    style="red",
                    markup=False,  # an error may hold brackets
                    highlight=False,
                )
        note = ", ".join(f"{n} {s}" for s, n in self.counts.items() if s != "finished")
        self._bar.update(self._task, advance=len(rows), note=note, left=self.left())
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last >= self.every:
            self._last = now
            done = sum(self.counts.values())
            text = f"{done}/{self.total} runs, {now - self._start:.0f} s, {self.left()}"
            self.console.print(text + (f" ({note})" if note else ""), highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()
