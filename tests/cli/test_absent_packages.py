"""What other packages break: named and left out, failed where it ran, read when it is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.packages import PROTOCOL, SCALED, command, lay, python

RUN = ("run", "foreign.toml", "--workers", "0", "--engine", "plain", "--no-time", "--quiet")
KINDS = ("norms", "datasets", "models", "optimizers", "schedules", "probes")
BROKEN = {
    "norms": ("broken.missing:ENTRY", "ModuleNotFoundError"),
    "datasets": ("broken:NOTHING", "AttributeError"),
    "models": ("broken.leaving:ENTRY", "SystemExit: 3 (broken/leaving.py, line 2)"),
    "optimizers": ("broken.wrong:ENTRY", "must be a normbench.catalog.Entry; received int"),
    "schedules": ("broken.raising:ENTRY", "RuntimeError: not today (broken/raising.py, line 2)"),
    "probes": ("broken.syntax:ENTRY", "(broken/syntax.py, line 2)"),
}
FILES = {
    "broken/__init__.py": "",
    "broken/leaving.py": "print('noise')\nraise SystemExit(3)\n",
    "broken/wrong.py": "ENTRY = 3\n",
    "broken/raising.py": "import os\nraise RuntimeError('not today')\n",
    "broken/syntax.py": "x = 1\nENTRY = = 2\n",
}
POINTS = "".join(f"[normbench.{kind}]\nodd = {target}\n" for kind, (target, _) in BROKEN.items())


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results made with a norm of another package."""
    folder = tmp_path_factory.mktemp("once") / "place"
    lay(folder / "packages", SCALED)
    text = PROTOCOL.replace('"scaled"]', '"scaled", { name = "scaled", floor = 0.5 }]')
    (folder / "foreign.toml").write_text(text, encoding="utf-8")
    done = command(folder, *RUN, packages=[folder / "packages"])
    assert done.returncode == 0, done.stderr
    return folder


def test_broken_entry_points_of_every_kind_are_named_once_and_end_nothing(tmp_path: Path) -> None:
    lay(tmp_path / "packages", FILES, POINTS, "broken-package", "2.1")
    packages = [tmp_path / "packages"]
    done = command(tmp_path, "schema", packages=packages)
    assert done.returncode == 0
    assert json.loads(done.stdout)["title"] == "normbench protocol"
    lines = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(lines) == len(BROKEN)
    for kind, (_, reason) in BROKEN.items():
        (line,) = (line for line in lines if reason in line)
        assert "'odd' of the package broken-package 2.1" in line
        assert kind.removesuffix("s") in line.replace(" ", "")
    done = command(tmp_path, "plan", "quick", "--no-estimate", packages=packages)
    assert (done.returncode, done.stderr.count("warning: ")) == (0, len(BROKEN))
    done = command(tmp_path, "--help", packages=packages)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "kind"),
    [('norm = "odd"', "norms"), ('lr_schedule = "odd"', "schedules"), ('probes = "odd"', "probes")],
)
def test_a_protocol_that_names_a_broken_one_is_refused_with_the_reason(
    tmp_path: Path, line: str, kind: str
) -> None:
    lay(tmp_path / "packages", FILES, POINTS, "broken-package", "2.1")
    text = PROTOCOL.replace("[[experiment]]", f"{line}\n\n[[experiment]]")
    if kind == "norms":
        text = text.replace('[experiment.product]\nnorm = ["none", "scaled"]', "")
    (tmp_path / "foreign.toml").write_text(text.replace(', "scaled"', ""), encoding="utf-8")
    done = command(tmp_path, *RUN, packages=[tmp_path / "packages"])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    fault = done.stderr.partition("error: ")[2]
    assert BROKEN[kind][1] in fault
    assert "broken-package 2.1" in fault
    assert not (tmp_path / "results").exists()


FAULTS = {
    "forward": ("over = ", "raise RuntimeError('a bug')\n                over = "),
    "builder": ("return Scaled(floor)", "return Scaled(flor)"),
    "import": ("from torch import nn", "from torch import no_such_thing"),
    "usage": (
        "return Scaled(floor)",
        "from normbench.errors import UsageError; raise UsageError('mine')",
    ),
    "exit": ("return Scaled(floor)", "raise SystemExit(3)"),
    "no module": ("return Scaled(floor)", "return 3"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_norm_raises_is_failed_with_its_place_and_the_others_go_on(
    tmp_path: Path, fault: str
) -> None:
    old, new = FAULTS[fault]
    assert old in SCALED["scaled/layer.py"]
    files = SCALED | {"scaled/layer.py": SCALED["scaled/layer.py"].replace(old, new)}
    lay(tmp_path / "packages", files)
    (tmp_path / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    done = command(tmp_path, *RUN, packages=[tmp_path / "packages"])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    runs = pd.read_parquet(tmp_path / "results" / "foreign" / "runs.parquet").set_index("norm")
    assert set(runs.loc["none", "status"]) == {"finished"}
    assert set(runs.loc["scaled", "status"]) == {"failed"}
    (error,) = set(runs.loc["scaled", "error"])
    place = "" if fault == "no module" else "(scaled/layer.py, line "
    assert place in error
    assert str(tmp_path) not in error
    if fault == "builder":
        done = command(tmp_path, "plan", "foreign.toml", packages=[tmp_path / "packages"])
        assert done.returncode == 0
        assert "fails: norms, scaled, batch size 16: NameError" in done.stdout


@pytest.mark.parametrize("place", ["over = ", "return Scaled(floor)"])
def test_a_norm_that_ends_its_process_fails_alone(tmp_path: Path, place: str) -> None:
    died = f"import os; os.abort(); {place}"
    layer = SCALED["scaled/layer.py"].replace(place, died)
    lay(tmp_path / "packages", SCALED | {"scaled/layer.py": layer})
    (tmp_path / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    arguments = ("run", "foreign.toml", "--no-time", "--workers", "1")
    done = command(tmp_path, *arguments, packages=[tmp_path / "packages"])
    assert done.returncode == 1, done.stderr
    runs = pd.read_parquet(tmp_path / "results" / "foreign" / "runs.parquet").set_index("norm")
    assert set(runs.loc["none", "status"]) == {"finished"}
    assert set(runs.loc["scaled", "status"]) == {"failed"}
    assert runs.loc["scaled", "error"].str.contains("the worker process died").all()


def test_undefined_is_for_undefined_error(tmp_path: Path) -> None:
    raising = "from normbench.errors import UndefinedError; raise UndefinedError('no sense')"
    layer = SCALED["scaled/layer.py"].replace("return Scaled(floor)", raising)
    lay(tmp_path / "packages", SCALED | {"scaled/layer.py": layer})
    (tmp_path / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    assert command(tmp_path, *RUN, packages=[tmp_path / "packages"]).returncode == 0
    runs = pd.read_parquet(tmp_path / "results" / "foreign" / "runs.parquet").set_index("norm")
    assert set(runs.loc["scaled", "status"]) == {"undefined"}


def test_a_norm_that_takes_numbers_only_is_trained(tmp_path: Path) -> None:
    layer = SCALED["scaled/layer.py"].replace("over = ", "float(x.sum())\n                over = ")
    lay(tmp_path / "packages", SCALED | {"scaled/layer.py": layer})
    (tmp_path / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    assert command(tmp_path, *RUN, packages=[tmp_path / "packages"]).returncode == 0


def test_results_of_a_package_that_is_gone_are_read_and_say_so(once: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(once, place)
    (place / "results" / "worse").mkdir()
    (place / "results" / "worse" / "protocol.json").write_text("{}", encoding="utf-8")
    done = command(place, "status", "results")
    assert done.returncode == 1
    assert "foreign" in done.stdout
    assert "worse cannot be read" in done.stderr
    gone = "the norm scaled of scaled-norms 1.0 is not installed here"
    assert gone in done.stderr
    code = (
        "import normbench, json; r = normbench.load('results/foreign');"
        "print(json.dumps(sorted({c.norm.label for e in r.study.experiments for c in e.cells})));"
        "print(len(normbench.analyse(r)['claims']))"
    )
    done = python(place, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0]) == ["none", "scaled", "scaled(floor=0.5)"]
    done = command(place, "report", "results/foreign", "--output", "page.md")
    assert done.returncode == 0, done.stderr
    page = (place / "page.md").read_text(encoding="utf-8")
    assert f"T{gone[1:]}" in page
    assert "scaled-norms==1.0" in page
    done = command(place, *RUN)
    assert done.returncode == 2
    assert "unknown norm 'scaled'" in done.stderr
