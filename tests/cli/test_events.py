"""What `normbench run --json` prints: an object a line, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.packages import command

STUDY = """
[protocol]
seeds = 2
[defaults]
dataset = { name = "digits", items = 60 }
model = { name = "mlp", width = 4 }
epochs = 1
learning_rate = 0.1
batch_size = 8
[[experiment]]
name = "one"
product.norm = ["none", "layer"]
"""


def events(folder: Path, *options: str) -> list[dict[str, Any]]:
    done = command(
        folder, "run", "p.toml", "--json", "--workers", "0", "--engine", "plain", *options
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_line_is_an_event_and_every_run_has_one(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(STUDY)
    found = events(tmp_path)
    kinds = [one["event"] for one in found]
    assert kinds[0] == "started"
    assert kinds[-1] == "ended"
    assert found[0]["total"] == 4
    runs = {(one["norm"], one["seed"], one["status"]) for one in found if one["event"] == "run"}
    assert runs == {(norm, seed, "finished") for norm in ("none", "layer") for seed in (0, 1)}
    shares = [one["share"] for one in found if one["event"] == "progressed"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert found[-1]["by_status"] == {"finished": 4}
    assert found[-1]["results"].endswith("p")
    again = events(tmp_path)
    assert [one["event"] for one in again if one["event"] == "run"] == []
    assert again[0]["done"] == 4
