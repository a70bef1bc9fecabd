"""One bad item never ends the whole: it is said in its place, and the rest is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from normbench.analysis import comparisons
from normbench.analysis.boundary import Boundary
from normbench.analysis.claims import claim_table
from normbench.analysis.tables import analyse
from normbench.cli.app import app
from normbench.errors import ResultsError, StatisticsError
from normbench.report import versus
from normbench.report.html import write_report
from normbench.report.page import build_page
from normbench.report.sections import convergence, cost, small_batches
from normbench.report.write import compared
from tests.analysis.made import document, noise, write

FINAL = {"failure_score": 0.9, "window": 1}


def claim(name: str, end: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"id": name, "kind": "superiority", "a": "layer", "b": "batch", "endpoint": end}
    return base | {"over": {"batch_size": [8]}} | more


def ratio(threshold: float) -> dict[str, Any]:
    return {"kind": "time", "metric": "val_accuracy", "threshold": threshold, "window": 1,
            "estimand": "geometric-ratio"}  # fmt: skip


def study(folder: Path, *claims: dict[str, Any], **changes: Any) -> Any:
    doc = document(claim=list(claims), **changes)
    doc["protocol"]["thresholds"] = [0.5]
    product = {"norm": ["none", "layer"], "batch_size": [4, 8]}
    second = {"name": "two", "epochs": 3, "product": product}
    doc["experiment"].append(second)
    for one in claims:
        one.setdefault("experiment", "one")

    def level(run: Any) -> float:
        return (0.8 if run.cell.norm.name == "layer" else 0.7) + noise(run)

    return write(folder, doc, level)


@pytest.mark.parametrize("kind", ["superiority", "interaction", "equivalence"])
def test_a_time_of_0_voids_its_claim_alone(tmp_path: Path, kind: str) -> None:
    odd = claim("odd", ratio(0.05), kind=kind)
    if kind == "interaction":
        odd["over"] = {"batch_size": [2, 8]}
    if kind == "equivalence":
        odd["margin"] = 0.1
    results = study(tmp_path, odd, claim("good", FINAL), claim("ratio", ratio(0.5)))
    table = claim_table(results).set_index("claim")
    assert table.loc["odd", "verdict"] == "void"
    assert "before they are trained" in table.loc["odd", "reason"]
    assert table.loc["good", "verdict"] == "supported"
    assert table.loc["ratio", "verdict"] == "supported"
    page = write_report(results, analyse(results), tmp_path / "page.html")
    assert any("1 void" in line for line in page)


def test_a_claim_that_the_statistics_refuse_leaves_its_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normbench.analysis import claim_families

    results = study(tmp_path, claim("odd", FINAL), claim("good", FINAL), claim("too", FINAL))
    judge = claim_families.judge_family

    def refusing(claims: Any, **options: Any) -> Any:
        if any(one.name == "odd" for one in claims):
            raise StatisticsError("no such statistic\n    received: odd\n    likely fix: none")
        return judge(claims, **options)

    monkeypatch.setattr(claim_families, "judge_family", refusing)
    boundary = Boundary()
    table = claim_table(results, boundary=boundary).set_index("claim")
    assert list(table["verdict"]) == ["void", "supported", "supported"]
    assert table.loc["odd", "reason"] == "no such statistic; received: odd"
    assert boundary.bugs == []


def test_a_bug_in_one_claim_is_told_and_the_others_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from normbench.analysis.claim_values import Reader

    results = study(tmp_path, claim("odd", FINAL | {"window": 2}), claim("good", FINAL))
    read = Reader.cell

    def broken(self: Reader, claim: Any, *args: Any) -> Any:
        if claim.id == "odd":
            raise KeyError("lost")
        return read(self, claim, *args)

    monkeypatch.setattr(Reader, "cell", broken)
    boundary = Boundary()
    table = claim_table(results, boundary=boundary).set_index("claim")
    assert list(table["verdict"]) == ["void", "supported"]
    assert "KeyError: 'lost'" in table.loc["odd", "reason"]
    assert "claim odd could not be made: KeyError: 'lost' (test_boundary.py" in boundary.bugs[0]


def test_a_refused_comparison_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StatisticsError("no difference today")

    monkeypatch.setattr(comparisons, "paired", refuse)
    found = analyse(study(tmp_path))
    table = found["comparisons"]
    final = table["endpoint"] == "final"
    assert (table.loc[final, "refusal"] == "no difference today").all()
    assert (table.loc[~final, "refusal"] == "").all()
    assert found.bugs == []


def test_a_bug_in_one_experiment_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = comparisons._final

    def broken(cell: Any, *args: Any) -> Any:
        if cell.experiment == "two":
            raise ZeroDivisionError("by nought")
        return make(cell, *args)

    whole = analyse(study(tmp_path))
    monkeypatch.setattr(comparisons, "_final", broken)
    found = analyse(study(tmp_path))
    assert set(found["comparisons"]["experiment"]) == {"one"}
    first = whole["comparisons"]
    kept = first[first["experiment"] == "one"].reset_index(drop=True)
    assert found["comparisons"].astype(str).equals(kept.astype(str))
    assert found["pairs"].equals(whole["pairs"])
    assert len(found.bugs) == 1
    assert "comparisons of experiment two could not be made: ZeroDivisionError" in found.bugs[0]


@pytest.mark.parametrize(
    ("module", "name", "kept"),
    [
        (cost, "section", "convergence-one-curves"),
        (convergence, "learning_curves", "convergence-one-times"),
        (convergence, "profile", "convergence-one-curves"),
        (small_batches, "error_by_batch_size", "convergence-one-curves"),
        (convergence, "time_table", "small-batches-one"),
    ],
)
def test_a_bug_in_one_figure_or_section_is_said_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, kept: str
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no ink")

    results = study(tmp_path)
    analysis = analyse(results)
    monkeypatch.setattr(module, name, broken)
    path = tmp_path / "page.html"
    lines = write_report(results, analysis, path)
    text = path.read_text(encoding="utf-8")
    assert "could not be made: RuntimeError: no ink" in text
    assert kept in text
    assert analysis.bugs
    assert all("RuntimeError: no ink (test_boundary.py, line " in bug for bug in analysis.bugs)
    assert "layer norm" in lines[0]


def test_a_figure_that_the_data_do_not_allow_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise StatisticsError("nothing to draw")

    results = study(tmp_path)
    analysis = analyse(results)
    monkeypatch.setattr(convergence, "learning_curves", refuse)
    page = build_page(results, analysis)
    assert "could not be made: nothing to draw" in str(page)
    assert analysis.bugs == []


def test_damaged_results_pass_through() -> None:
    def damaged() -> None:
        raise ResultsError("damaged")

    with pytest.raises(ResultsError):
        Boundary().attempt("x", damaged, lambda why: None)
    with pytest.raises(OSError, match="full"):
        Boundary().attempt("x", lambda: (_ for _ in ()).throw(OSError("full")), lambda why: None)


def test_a_comparison_page_stands_without_one_of_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slower = document()["defaults"] | {"learning_rate": 0.05}
    a, b = study(tmp_path / "a"), study(tmp_path / "b", defaults=slower)

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("no forest")

    monkeypatch.setattr(versus, "change_forest", broken)
    found = compared(a, b)
    found.write_page(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The figure of differences could not be made: ValueError: no forest" in text
    assert "Differences between A and B, seed by seed" in text
    assert len(found.bugs) == 1


def test_all_undefined_is_told_with_its_reasons(tmp_path: Path) -> None:
    results = write(tmp_path, document(), lambda run: 0.5, status=lambda run: "undefined")
    analysis = analyse(results)
    path = tmp_path / "page.html"
    lines = write_report(results, analysis, path)
    text = path.read_text(encoding="utf-8")
    assert "no meaning" in lines[0]
    assert all(lines)
    assert "undefined: no meaning" in text
    assert "with the same protocol computes them" not in text
    assert analysis.bugs == []
    some = write(
        tmp_path / "some", document(), lambda run: 0.5,
        status=lambda run: "undefined" if run.cell.norm.name == "batch" else "missing",
    )  # fmt: skip
    with pytest.raises(ResultsError, match="no computed run yet"):
        analyse(some)


def test_the_commands_end_with_status_1_and_say_the_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no ink")

    study(tmp_path / "made", claim("good", FINAL, expect="supported"))
    monkeypatch.chdir(tmp_path)
    whole = CliRunner().invoke(app, ["report", "made", "-o", "whole.html"])
    assert (whole.exit_code, whole.stderr) == (0, "")
    monkeypatch.setattr(convergence, "learning_curves", broken)
    found = CliRunner().invoke(app, ["report", "made", "-o", "page.html"])
    assert found.exit_code == 1
    assert found.stderr.count("bug: the figure of learning curves of ") == 2
    assert "RuntimeError: no ink (test_boundary.py, line" in found.stderr
    assert "report: " in found.stdout
    assert "answer-claims" in (tmp_path / "page.html").read_text(encoding="utf-8")
    monkeypatch.setattr(comparisons, "_final", broken)
    tables = CliRunner().invoke(app, ["analyse", "made", "-o", "tables"])
    assert tables.exit_code == 1
    assert "good: supported" in tables.stdout
    assert "comparisons of experiment one could not be made" in tables.stderr
    assert (tmp_path / "tables" / "pairs.csv").exists()
