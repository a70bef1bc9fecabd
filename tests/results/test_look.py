"""What results show of themselves: some ten lines, whatever the study, the truth, and no error."""

from __future__ import annotations

import normbench
from normbench.results.load import Results
from normbench.results.look import wrapped
from tests.support import TINY, made_up


def fate(run):
    return ("diverged" if run.seed and run.cell.norm.name == "batch" else "finished"), [0.1, 0.4]


def test_results_and_their_analysis_are_told_in_ten_lines(tmp_path):
    found = normbench.load(made_up(tmp_path / "tiny", TINY, fate).folder)
    said = repr(found)
    assert said == str(found)
    assert len(said.splitlines()) <= 10
    assert max(map(len, said.splitlines()[1:])) <= 100
    for words in (
        repr(str(tmp_path / "tiny")), "'tiny', 'Tiny study'", "one (4 cells, 2 seeds)",
        "runs: 6 finished, 2 diverged", ".runs 8×", ".epochs 16×", "normbench.analyse(results)",
    ):  # fmt: skip
        assert words in said
    told = repr(normbench.analyse(found))
    assert len(told.splitlines()) <= 10
    for words in (
        " tables, each a pandas frame",
        "6 finished, 2 diverged",
        "claims 0×",
        "comparisons 4×",
        "next: ",
    ):
        assert words in told


def test_a_study_of_many_experiments_is_no_longer(tmp_path):
    title = "t" * 400
    text = TINY.replace("Tiny study", title)
    text += "".join(
        f'[[experiment]]\nname = "experiment-{i}"\nnorm = "layer"\nbatch_size = {i + 1}\n'
        for i in range(40)
    )
    found = normbench.load(made_up(tmp_path, text, fate).folder)
    assert len(repr(found).splitlines()) <= 10
    assert "one (4 cells, 2 seeds), experiment-0 (1 cells" in repr(found)
    assert " more" in repr(found)
    assert title not in repr(found)
    assert len(repr(normbench.analyse(found)).splitlines()) <= 10


def test_what_cannot_be_read_is_said_and_not_raised(tmp_path):
    assert "cannot be read" in repr(Results(tmp_path / "nowhere"))
    folder = made_up(tmp_path / "tiny", TINY, fate).folder
    (folder / "runs.parquet").write_bytes(b"PAR1 cut")
    said = repr(normbench.load(folder))
    assert "Tiny study" in said
    assert "cannot be read" in said
    assert "runs.parquet" in said


def test_items_that_do_not_fit_are_counted():
    lines = wrapped("  all: ", [f"item-{i}" for i in range(500)], 2)
    assert len(lines) <= 2
    shown = sum(line.count("item-") for line in lines)
    assert f"{500 - shown} more" in lines[-1]
    assert wrapped("  all: ", ["x" * 300], 1) == ["  all:", "    " + "x" * 300]
