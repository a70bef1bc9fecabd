"""What a norm of another package is decides its runs: edited or upgraded code is trained anew."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.packages import PROTOCOL, SCALED, command, lay

RUN = ("run", "foreign.toml", "--workers", "0", "--engine", "plain", "--no-time", "--quiet")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a protocol, a package, and what a run gave."""
    folder = tmp_path_factory.mktemp("once") / "place"
    lay(folder / "packages", SCALED)
    (folder / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    done = command(folder, *RUN, packages=[folder / "packages"])
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def place(once: Path, tmp_path: Path) -> Path:
    """The same, for one test alone."""
    shutil.copytree(once, tmp_path / "place")
    return tmp_path / "place"


def runs(place: Path) -> pd.DataFrame:
    return pd.read_parquet(place / "results" / "foreign" / "runs.parquet")


def edit(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(packages: Path) -> None:
        path = packages / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def upgrade(packages: Path) -> None:
    lay(packages, {}, version="1.1")


def test_what_ran_is_recorded_and_the_same_code_is_the_same_runs(place: Path) -> None:
    first = runs(place)
    code = first.set_index("norm")["code"]
    assert code.loc["none"].isna().all()
    (record,) = json.loads(code.loc["scaled"].iloc[0])
    assert (record["component"], record["distribution"], record["version"]) == (
        "norm scaled", "scaled-norms", "1.0",
    )  # fmt: skip
    folder = place / "results" / "foreign"
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert provenance["invocations"][-1]["code"] == [record]
    assert json.loads((folder / "protocol.json").read_text(encoding="utf-8"))["code"] == [record]
    # another place, a compiled cache and files that are no modules change nothing
    moved = place / "elsewhere"
    (place / "packages").rename(moved)
    (moved / "scaled" / "notes.txt").write_text("x", encoding="utf-8")
    (moved / "scaled" / "__pycache__").mkdir()
    (moved / "scaled" / "__pycache__" / "x.py").write_text("x", encoding="utf-8")
    assert command(place, *RUN, packages=[moved]).returncode == 0
    again = runs(place)
    assert set(again["run_hash"]) == set(first["run_hash"])
    assert again["planned"].all()


@pytest.mark.parametrize(
    "change",
    [
        edit("scaled/layer.py", "factor() *", "2 * factor() *"),
        edit("scaled/helper.py", "1.0", "3.0"),
        edit("scaled/__init__.py", "", "# a note"),
        upgrade,
    ],
    ids=["the layer", "a helper", "another module", "a version"],
)
def test_other_code_is_trained_anew_and_never_paired_with_the_old(
    place: Path, change: Callable[[Path], None]
) -> None:
    before = runs(place).set_index("norm")
    change(place / "packages")
    packages = [place / "packages"]
    seen = json.loads(
        command(place, "plan", "foreign.toml", "--json", "--no-estimate", packages=packages).stdout
    )
    assert seen["to_run"] == 2
    assert command(place, *RUN, "--seeds", "3", packages=packages).returncode == 0
    after = runs(place)
    planned, kept = after[after["planned"]], after[~after["planned"]]
    assert set(kept["run_hash"]) == set(before.loc["scaled", "run_hash"])
    assert set(kept["status"]) == {"finished"}
    assert (planned["status"] == "finished").all()
    assert planned.groupby("norm")["code"].nunique().to_dict() == {"none": 0, "scaled": 1}
    code = planned.set_index("norm")["code"]
    assert set(code.loc["scaled"]) != set(before.loc["scaled", "code"])
    # those without any code of another package are as they were
    assert set(before.loc["none", "run_hash"]) <= set(planned["run_hash"])


def test_code_that_is_edited_while_a_sweep_runs_fails_its_runs(place: Path) -> None:
    # the package edits itself when it is imported: after the plan was made
    change = "import pathlib as p\np.Path(__file__).with_name('helper.py').open('a').write('#')\n"
    edit("scaled/layer.py", "from torch", change + "from torch")(place / "packages")
    done = command(place, *RUN, packages=[place / "packages"])
    assert done.returncode == 1
    assert "changed while this was running" in done.stderr
    assert "Traceback" not in done.stderr


TUNED = """
[[experiment]]
name = "tuned"
norm = "scaled"
[experiment.tune]
learning_rate = [0.05, 0.1]
seeds = 1
"""


def test_a_rate_that_was_tuned_for_one_code_is_not_another_codes(place: Path) -> None:
    text = PROTOCOL.replace("learning_rate = 0.05", "") + "learning_rate = [0.05]\n" + TUNED
    (place / "foreign.toml").write_text(text, encoding="utf-8")
    decisions = place / "results" / "foreign" / "decisions.json"
    assert command(place, *RUN, packages=[place / "packages"]).returncode == 0
    (first,) = json.loads(decisions.read_text(encoding="utf-8"))["rates"]
    edit("scaled/helper.py", "1.0", "3.0")(place / "packages")
    assert command(place, *RUN, packages=[place / "packages"]).returncode == 0
    one, other = json.loads(decisions.read_text(encoding="utf-8"))["rates"]
    assert first in (one, other)
    assert one != other
    found = runs(place)
    assert (found.loc[found["planned"], "status"] == "finished").all()
