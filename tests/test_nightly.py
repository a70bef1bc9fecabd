"""The record of the slow checks: every part is run, and its result written, whatever it is."""

from __future__ import annotations

import datetime

import pytest

from tests import nightly

WHEN = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "nightly.md"
    monkeypatch.setattr(nightly, "PAGE", path)
    return path


def lines(page):
    return [one for one in page.read_text(encoding="utf-8").splitlines() if one.startswith("| 2")]


def test_a_failed_part_is_written_and_the_next_one_runs(page, monkeypatch, capfd):
    parts = {
        "bad": ["-c", "print('1 failed'); raise SystemExit(3)"],
        "good": ["-c", "print('== 5 | passed ==')"],
    }
    monkeypatch.setattr(nightly, "PARTS", parts)
    assert nightly.main([]) == 1
    newest, older = lines(page)
    assert "| good | passed | 0.0 | 5 passed |" in newest
    assert "| bad | **failed** (exit 3) | 0.0 | 1 failed |" in older
    assert "1 failed" in capfd.readouterr().out  # and shown as it went on
    assert nightly.main(["good"]) == 0
    assert len(lines(page)) == 3


def test_the_table_keeps_the_newest(page, monkeypatch):
    monkeypatch.setattr(nightly, "MOST", 3)
    for i in range(5):
        nightly.record(f"| 2026-01-0{i + 1} | x |")
    assert [one[2:12] for one in lines(page)] == ["2026-01-05", "2026-01-04", "2026-01-03"]
    assert page.read_text(encoding="utf-8").startswith("# Slow checks")


def test_an_unknown_part_is_refused_before_anything_runs(page):
    assert nightly.main(["calibrations"]) == 2
    assert not page.exists()


def test_a_line_names_commit_result_and_date():
    cells = nightly.row("calibration", 0, 90.0, "64 figures in 1.5 minutes", WHEN).split(" | ")
    assert cells[0] == "| 2026-01-02 03:04"
    assert cells[1].rstrip("+") != ""
    assert cells[2:] == ["calibration", "passed", "1.5", "64 figures in 1.5 minutes |"]
