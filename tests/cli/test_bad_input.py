"""Bad input as a user meets it: an exit status, a message that helps, and nothing lost.

Every refusal here leaves the results that were there before unchanged, byte for byte.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from normbench.results.store import Store
from tests.cli.refusals import NORMS, SIZES, everything, refused, steady
from tests.support import TINY, made_up

# -- protocols ---------------------------------------------------------------------------------

BAD: dict[str, tuple[tuple[str, str], list[str]]] = {
    "malformed TOML": (("seeds = 2", "seeds = = 2"), ["not valid TOML", "line 4, column 9"]),
    "an unfinished text": (('"tiny"', '"tiny'), ["not valid TOML", "line 2"]),
    "an unknown key": (
        ("epochs = 1", "epocs = 1"),
        ["1 fault\n", "defaults.epocs: unknown key 'epocs'", "received: 1", "mean 'epochs'?"],
    ),
    "an unknown norm": (
        (NORMS, '["bacth", "layer"]'),
        ["experiment[0].product.norm[0]: unknown norm 'bacth'", "mean 'batch'?", "known: none, "],
    ),
    "an unknown model": (
        ('"mlp"', '"vgg"'), ["defaults.model: unknown model 'vgg'", "known: mlp, linear, "]
    ),
    "an unknown data set": (
        ('"digits"', '"mnist"'),
        ["defaults.dataset: unknown data set 'mnist'", "known: diabetes, digits, "],
    ),
    "a negative batch size": ((SIZES, "[-8, 16]"), ["batch_size[0]: must be at least 1", "-8"]),
    "a learning rate of zero": (
        ("rate = 0.1", "rate = 0"), ["learning_rate: must be greater than 0", "received: 0"]
    ),
    "a rate that is no number": (
        ("rate = 0.1", "rate = nan"), ["learning_rate: must be a finite number", "received: nan"]
    ),
    "a negative number of epochs": (
        ("epochs = 1", "epochs = -1"), ["epochs: must be at least 1", "received: -1"]
    ),
    "absurdly many seeds": (
        ("seeds = 2", "seeds = 1000000000000"),
        ["protocol.seeds", "between 1 and 10,000", "received: 1000000000000"],
    ),
    "an absurdly wide model": (
        ("width = 8", "width = 1000000000000"), ["model.width: must be at most 65,536"]
    ),
    "more items than there are": (
        ("items = 100", "items = 1000000000000"), ["dataset.items: must be at most 1,797"]
    ),
    "groups that do not divide": (
        (NORMS, '["layer", { name = "group", groups = 3 }]'),
        ["experiment 'one'", "group(groups=3)", "3 groups do not divide 8 channels",
         "use one of 1, 2, 4, 8"],
    ),
    "no groups at all": (
        (NORMS, '["layer", { name = "group", groups = 0 }]'),
        ["product.norm[1].groups: must be at least 1", "received: 0"],
    ),
    "a batch beyond the training split": (
        (SIZES, "[8, 61]"),
        ["experiment 'one'", "must not exceed the training split (60 items of digits)",
         "received 61"],
    ),
    "a threshold beyond every accuracy": (
        ("[0.3]", "[1.5]"), ["protocol.thresholds: a threshold of accuracy", "received: 1.5"]
    ),
    "a threshold of zero": (
        ("[0.3]", "[0.3, 0.0]"), ["protocol.thresholds: a threshold of accuracy", "received: 0.0"]
    ),
    "no seeds": (
        ("seeds = 2", "seeds = []"), ["protocol.seeds: must not be empty", "at least one value"]
    ),
    "a seed twice": (
        ("seeds = 2", "seeds = [3, 1, 3]"),
        ["protocol.seeds: the values must differ; 3 is listed more than once", "[3, 1, 3]"],
    ),
    "seeds not set": (("seeds = 2\n", ""), ["the seeds are not set", "seeds = 20"]),
}  # fmt: skip


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_protocol_is_refused_and_earlier_results_stay(cli, results, tmp_path, kind, command):
    (old, new), words = BAD[kind]
    assert TINY.count(old) == 1
    (tmp_path / "bad.toml").write_text(TINY.replace(old, new), encoding="utf-8")
    before = everything(tmp_path)
    refused(cli(command, "bad.toml"), *words)
    assert everything(tmp_path) == before


def test_a_misspelled_key_is_one_fault_and_what_is_really_missing_another(cli, tmp_path):
    text = TINY.replace("epochs = 1", "epocs = 1").replace("learning_rate = 0.1\n", "")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    said = cli("plan", "bad.toml")
    refused(said, "2 faults", "unknown key 'epocs'", "experiment[0].learning_rate: this axis has")
    assert "experiment[0].epochs" not in said.err


def test_a_protocol_that_cannot_be_read_is_told(cli, tiny, tmp_path, monkeypatch):
    before = everything(tmp_path)

    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as system:
        system.setattr(Path, "open", refuse)
        refused(cli("plan", tiny), "cannot read the protocol", "tiny.toml: Permission denied")
    assert everything(tmp_path) == before


def test_a_name_that_no_system_takes_is_told(cli, tmp_path):
    refused(cli("plan", "x" * 300 + ".toml"), "File name too long", status=1)
    assert everything(tmp_path) == {}


def test_batch_norm_at_batch_size_one_on_vectors_is_undefined_and_no_failure(cli, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY.replace(SIZES, "[1, 8]"), encoding="utf-8")
    said = cli("run", "tiny.toml", "--workers", "0")
    assert said.status == 0, said.err
    assert "6 finished, 2 undefined" in said.out
    rows = Store(Path("results/tiny")).read("runs").to_pylist()
    undefined = {(r["norm"], r["batch_size"]) for r in rows if r["status"] == "undefined"}
    assert undefined == {("batch", 1)}
    reasons = {r["error"] for r in rows if r["status"] == "undefined"}
    assert len(reasons) == 1
    assert "batch norm needs at least two values per channel" in reasons.pop()
    assert "0 runs to train" in cli("run", "tiny.toml", "--workers", "0").out
    assert cli("report").status == 0
    page = Path("reports/tiny.html").read_text(encoding="utf-8")
    assert "at site fc1: batch norm needs at least two values per channel" in page


def test_thresholds_that_no_run_reaches_are_censored_at_the_budget(cli, tmp_path):
    made_up(tmp_path / "results" / "tiny", TINY.replace("[0.3]", "[0.999, 1.0]"), steady)
    assert cli("report").status == 0
    times = pd.read_csv("reports/tiny_tables/times.csv")
    assert len(times) == 8
    assert set(times["threshold"]) == {0.999, 1.0}
    assert set(times["reached"]) == {0}
    assert set(times["restricted_mean"]) == set(times["budget"]) == {1.0}
    assert "nan" not in Path("reports/tiny.html").read_text(encoding="utf-8").lower().split()
