"""Large reports: rendered in time, and small enough for a mail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from normbench.protocol.load import load_text, read_protocol
from tests import big_results

MEASURE = """
import sys, time
from pathlib import Path
import normbench
from normbench.report.html import write_report
results = normbench.load(sys.argv[1])
write_report(results, normbench.analyse(results), Path(sys.argv[2]))
# of computing: what else the machine does is no fault of ours
print(time.process_time())
"""


def measured(folder: Path, page: Path) -> tuple[float, float]:
    """Seconds of computing from the start of Python, and the page's size in MB."""
    command = [sys.executable, "-c", MEASURE, str(folder), str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout), page.stat().st_size / 1e6


@pytest.mark.slow
def test_every_experiment_so_far_within_twenty_seconds(tmp_path: Path) -> None:
    path, text = read_protocol("full")
    whole = load_text(text, path, (), None)
    # neither probes nor budgets beyond ten epochs are made up: the few experiments with them are
    # left out
    kept = [
        e
        for e in whole.experiments
        if all(not c.probes and c.epochs is not None and c.epochs <= 10 for c in e.cells)
    ]
    names = {e.name for e in kept}
    study = whole.model_copy(
        update={
            "experiments": tuple(kept),
            "claims": tuple(c for c in whole.claims if c.experiment in names),
            "families": tuple(
                f for f in whole.families
                if any(c.family == f.id and c.experiment in names for c in whole.claims)
            ),
        }
    )  # fmt: skip
    big_results.fill(tmp_path / "r", study, epochs=10)
    seconds, megabytes = measured(tmp_path / "r", tmp_path / "page.html")
    assert seconds < 20
    assert megabytes < 5


@pytest.mark.slow
def test_a_million_epoch_rows_within_forty_seconds(tmp_path: Path) -> None:
    assert big_results.write(tmp_path / "r", cells=100, seeds=20, epochs=500) > 1_000_000
    seconds, megabytes = measured(tmp_path / "r", tmp_path / "page.html")
    assert seconds < 40
    assert megabytes < 5
