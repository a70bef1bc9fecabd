"""Runs of another trainer, taken over from a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import normbench
from normbench.errors import UsageError
from normbench.workflow.imported_table import Written
from normbench.workflow.importing import RunsFile, import_runs
from tests.packages import command


def frame(**more: Any) -> pd.DataFrame:
    """Three norms, two batch sizes, 8 seeds, 6 epochs; batch norm is worse at 2."""
    rng = np.random.default_rng(0)
    rows = []
    for norm in ("batch", "layer", "<i>mine</i>"):
        for size in (2, 32):
            for seed in range(8):
                top = 0.9 - (0.2 if (norm, size) == ("batch", 2) else 0) + rng.normal(0, 0.01)
                rows += [
                    {"norm": norm, "batch_size": size, "seed": seed, "epoch": e,
                     "val_accuracy": top * (1 - 0.5**e), "train_loss": 2 * 0.5**e, **more}
                    for e in range(1, 7)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def take(folder: Path, rows: pd.DataFrame, **wanted: Any) -> normbench.Results:
    rows.to_csv(folder / "runs.csv", index=False)
    given = Written(**{k: wanted.pop(k) for k in ("columns", "norms", "percent") if k in wanted})
    import_runs(RunsFile(folder / "runs.csv", 10, given, **wanted), folder / "results" / "mine")
    return normbench.load(folder / "results" / "mine")


def test_imported_runs_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = frame()
    results = take(tmp_path, rows)
    keys = ["norm", "batch_size", "seed", "epoch"]
    read = results.curves()[[*keys, "val_accuracy", "train_loss"]]
    wanted = rows[[*keys, "val_accuracy", "train_loss"]]
    pd.testing.assert_frame_equal(
        read.sort_values(keys).reset_index(drop=True),
        wanted.sort_values(keys).reset_index(drop=True), check_dtype=False,
    )  # fmt: skip
    assert results.runs["status"].eq("finished").all()
    # nothing that is not known is said
    for column in ("learning_rate", "steps", "samples", "parameters", "seconds", "device"):
        assert results.runs[column].isna().all(), column
    assert results.epochs["step"].isna().all()
    assert "did not train these runs" in results.imported[0]


def test_a_report_of_imported_runs_says_so_and_finds_what_is_in_them(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "runs.csv", index=False)
    done = command(tmp_path, "import", "runs.csv", "--classes", "10")
    assert done.returncode == 0, done.stderr
    done = command(tmp_path, "report", "results/runs")
    assert done.returncode == 0, done.stderr
    assert "At batch size 2 <i>mine</i> or layer norm may be best" in done.stdout
    page = (tmp_path / "reports" / "runs.html").read_text()
    assert "did not train these runs" in page
    assert "&lt;i&gt;mine" in page
    assert "<i>mine" not in page
    for unknown in ("normbench time", "How to reproduce", "split seed"):
        assert unknown not in page


def test_claims_on_imported_runs_have_verdicts_and_are_exploratory(tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(
        '[[family]]\nid = "f"\n[[claim]]\nid = "c"\nfamily = "f"\nexperiment = "imported"\n'
        'kind = "superiority"\na = { norm = "layer", batch_size = 2 }\n'
        'b = { norm = "batch", batch_size = 2 }\n'
        'endpoint = { kind = "final", metric = "val_error", window = 2, failure_score = 0.9 }\n'
    )
    results = take(tmp_path, frame(), claims=tmp_path / "claims.toml")
    claims = normbench.analyse(results)["claims"]
    assert claims["verdict"].tolist() == ["supported"]
    assert claims["exploratory"].all()
    assert claims["estimate"].iloc[0] == pytest.approx(0.2, abs=0.03)


def test_what_is_missing_or_diverged_is_told_apart(tmp_path: Path) -> None:
    rows = frame()
    one = (rows["norm"] == "layer") & (rows["batch_size"] == 2)
    rows.loc[one & (rows["seed"] == 3) & (rows["epoch"] > 3), "val_accuracy"] = np.nan
    rows = rows[~(one & (rows["seed"] == 5))]
    runs = take(tmp_path, rows).runs
    found = runs[(runs["norm"] == "layer") & (runs["batch_size"] == 2)].set_index("seed")["status"]
    assert found[3] == "diverged"
    assert found[5] == "missing"
    assert runs["status"].eq("finished").sum() == 46


def test_columns_norms_and_percent_are_translated(tmp_path: Path) -> None:
    rows = frame()
    rows["val_accuracy"] *= 100
    rows = rows.rename(columns={"val_accuracy": "acc"}).replace({"norm": {"batch": "BN"}})
    results = take(
        tmp_path, rows, columns={"val_accuracy": "acc"}, norms={"batch": "BN"}, percent=True
    )
    assert set(results.runs["norm"]) == {"batch", "layer", "<i>mine</i>"}
    assert results.epochs["val_accuracy"].max() < 1


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found(tmp_path: Path, separator: str) -> None:
    file = tmp_path / "runs.csv"
    frame().to_csv(file, index=False, sep=separator, lineterminator="\r\n")
    assert import_runs(RunsFile(file, 10), tmp_path / "results" / "other").runs == 48


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_other_kinds_of_files_give_the_same(tmp_path: Path, kind: str) -> None:
    rows, file = frame(), tmp_path / f"runs.{kind}"
    if kind == "parquet":
        rows.to_parquet(file)
    else:
        rows.to_json(file, orient="records", lines=True, double_precision=15)
    import_runs(RunsFile(file, 10), tmp_path / "results" / "other")
    ours = normbench.load(tmp_path / "results" / "other").curves()
    theirs = take(tmp_path, rows).curves()
    np.testing.assert_allclose(ours["val_accuracy"], theirs["val_accuracy"], rtol=1e-12)


def faults(folder: Path, rows: pd.DataFrame, **wanted: Any) -> str:
    with pytest.raises(UsageError) as caught:
        take(folder, rows, **wanted)
    assert not (folder / "results").exists()
    return str(caught.value)


def test_all_faults_are_told_with_their_rows(tmp_path: Path) -> None:
    rows = frame().astype(object)
    rows.loc[0, "seed"] = "one"
    rows.loc[1, "val_accuracy"] = 93.1
    rows.loc[2, "batch_size"] = 0
    rows.loc[3, "norm"] = ""
    rows.loc[5, "epoch"] = 5
    said = faults(tmp_path, rows)
    for part in ("row 2: seed", "row 3: val_accuracy", "--percent", "row 4: batch_size",
                 "row 5: a norm", "row 7: batch at batch size 2, seed 0 has epoch 5"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.drop(columns="seed"), "lacks the columns seed"),
        (lambda r: r.drop(columns="val_accuracy"), "lacks a validation metric"),
        (lambda r: r[~((r["seed"] == 1) & (r["epoch"] > 4))], "ends at epoch 4, others at 6"),
        (lambda r: r[r["epoch"] != 3], "without a gap"),
        (lambda r: r.iloc[:0], "has no rows"),
        (lambda r: r.assign(status="odd"), "status is finished or diverged"),
    ],
)
def test_a_table_that_does_not_say_what_the_runs_are_is_refused(
    tmp_path: Path, change: Any, said: str
) -> None:
    assert said in faults(tmp_path, change(frame()))


def test_bad_files_and_options_are_clear_errors(tmp_path: Path) -> None:
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe\x00norm")
    (tmp_path / "odd.jsonl").write_text('{"norm": 1')
    frame().to_csv(tmp_path / "runs.csv", index=False)
    for arguments in (
        ("absent.csv",), ("odd.csv",), ("odd.jsonl",), ("runs.csv", "--column", "x"),
        ("runs.csv", "--thresholds", "a"), ("runs.csv", "--claims", "absent.toml"),
        ("runs.csv", "--column", "val_loss=nothing"), ("runs.csv", "--window", "99"),
    ):  # fmt: skip
        done = command(tmp_path, "import", *arguments, "--classes", "10")
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr


def test_results_that_are_there_are_not_written_over(tmp_path: Path) -> None:
    take(tmp_path, frame())
    before = (tmp_path / "results" / "mine" / "runs.parquet").read_bytes()
    with pytest.raises(UsageError, match="is there already"):
        take(tmp_path, frame())
    assert (tmp_path / "results" / "mine" / "runs.parquet").read_bytes() == before
    record = json.loads((tmp_path / "results" / "mine" / "provenance.json").read_text())
    assert record["invocations"][0]["imported"]["rows"] == 3 * 2 * 8 * 6
