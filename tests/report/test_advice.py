"""Which norm may be best at a size: whoever is not decidedly worse than any other."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import pandas as pd
import pytest

from normbench.analysis.tables import analyse
from normbench.report.blocks import Overview, Page, Text, Value
from normbench.report.page import build_page
from normbench.report.sections.overview import _still_improving
from tests.analysis.made import noise, write
from tests.report.made_study import END, doc, spoken

NORMS = ["batch", "layer", "group"]


def lead(
    folder: Path, accuracy: Any, norms: list[str] = NORMS, claims: Any = (),
    family: Any = (), **header: Any,
) -> str:  # fmt: skip
    experiment = [{"name": "one", "product": {"norm": norms, "batch_size": [8, 32]}}]
    made = doc(claims, experiment=experiment, **({"seeds": 12} | header))
    if family:
        made["family"] = family
    results = write(folder, made, lambda run: [0.1, accuracy(run)])
    page = build_page(results, analyse(results))
    assert not any("would decide" in text for text in spoken(page))
    return " ".join(answers(page))


def answers(page: Page) -> list[str]:
    """What the first screen says: under each experiment, and about the main one."""
    found: list[str] = []
    for block in page.sections[0].blocks:
        found += [block.sentence] if isinstance(block, Overview) else []
        found += block.paragraphs if isinstance(block, Text) else []
    return found


def test_a_noisy_best_norm_hides_no_decided_pair(tmp_path: Path) -> None:
    """The lowest mean is the noisiest; group and batch norm are told apart all the same."""
    level, spread = {"layer": 0.950, "group": 0.948, "batch": 0.944}, {"layer": 0.02}

    def accuracy(run: Any) -> float:
        name = run.cell.norm.name
        return level[name] + noise(run, spread.get(name, 0.0005))

    said = lead(tmp_path, accuracy)
    assert "no norm is told apart" not in said
    assert "group norm or layer norm may be best" in said


def test_no_norm_is_told_apart_only_where_no_pair_is_decided(tmp_path: Path) -> None:
    said = lead(tmp_path, lambda run: 0.9 + noise(run))
    assert "At batch sizes 8 and 32 no norm is told apart from another" in said
    assert "worse" not in said.replace("no worse than", "")


def test_the_best_norm_that_beats_all_is_named_alone(tmp_path: Path) -> None:
    level = {"layer": 0.95, "group": 0.90, "batch": 0.85}
    said = lead(tmp_path, lambda run: level[run.cell.norm.name] + noise(run))
    assert "At batch sizes 8 and 32 layer norm is best." in said
    assert "Batch norm is worse than layer norm at every batch size tested, up to 32" in said


@pytest.mark.parametrize("seeds", [6, 7])
def test_below_eight_seeds_the_answer_decides_nothing_and_says_so(
    tmp_path: Path, seeds: int
) -> None:
    level = {"layer": 0.95, "group": 0.90, "batch": 0.85}
    said = lead(tmp_path, lambda run: level[run.cell.norm.name] + noise(run), seeds=seeds)
    assert f"Nothing is decided by itself: {seeds} seeds, at least 8 are needed" in said
    assert said.count("at least 8 are needed") == 1
    assert "worse than" not in said
    assert "better than" not in said


def claim(name: str, a: str, b: str, size: int = 8, **more: Any) -> dict[str, Any]:
    sides = {"a": {"norm": a, "batch_size": size}, "b": {"norm": b, "batch_size": size}}
    return {"id": name, "kind": "superiority", "endpoint": END} | sides | more


def apart(deviations: float) -> Any:
    """Layer norm better than both others, which are equal, by so many deviations of a seed."""
    spread = [NormalDist().inv_cdf((i + 0.5) / 12) for i in range(12)]

    def accuracy(run: Any) -> float:
        gain = 0.01 * (deviations + spread[run.seed]) if run.cell.norm.name == "layer" else 0.0
        return 0.8 + 0.001 * run.seed + gain

    return accuracy


def test_a_claim_has_the_word_on_its_pair(tmp_path: Path) -> None:
    close = apart(0.67)  # enough at α, and too little for half of it
    without = lead(tmp_path / "a", close)
    assert "At batch sizes 8 and 32 no norm is told apart" in without
    said = lead(tmp_path / "b", close, claims=[claim("c", "layer", "group")])
    assert "at batch size 32 no norm is told apart from another" in said
    assert "batch norm or layer norm may be best (with the word of the claim c);" in said
    turned = lead(tmp_path / "c", close, claims=[claim("c", "group", "layer")])
    assert "batch norm or layer norm may be best (with the word of the claim c);" in turned


def test_an_undecided_claim_has_the_word_too(tmp_path: Path) -> None:
    """In a large family of claims a pair may be open that all pairs together decide."""
    clear = apart(1.0)
    assert "layer norm is best" in lead(tmp_path / "a", clear)
    many = [claim(f"x{i}", "group", "batch") for i in range(60)]
    both = [claim("c", "layer", "group", size) | {"id": f"c{size}"} for size in (8, 32)]
    claims = [one | {"family": "wide"} for one in [*both, *many]]
    said = lead(tmp_path / "b", clear, claims=claims, family=[{"id": "wide", "method": "holm"}])
    assert "group norm or layer norm may be best (with the word of the claims x0 and c8)" in said


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "noninferiority", "margin": 0.01},
        {"margin": 0.0001},
        {"endpoint": END | {"kind": "best"}},
        {"endpoint": END | {"metric": "test_error"}},
        {"a": {"norm": "layer", "batch_size": 32}},
    ],
)
def test_claims_about_something_else_have_no_word(tmp_path: Path, more: dict[str, Any]) -> None:
    said = lead(tmp_path, apart(0.67), claims=[claim("c", "layer", "group") | more])
    assert "with the word" not in said


# -- the overview of an experiment -------------------------------------------------------------


def overview(folder: Path, accuracy: Any, status: Any = None, **header: Any) -> Overview:
    experiment = [{"name": "one", "product": {"norm": NORMS, "batch_size": [8, 32]}}]
    made = doc((), experiment=experiment, **({"seeds": 12} | header))
    results = write(folder, made, lambda run: [0.1, accuracy(run)],
                    **({} if status is None else {"status": status}))  # fmt: skip
    first = build_page(results, analyse(results)).sections[0].blocks
    return next(block for block in first if isinstance(block, Overview))


def cell(found: Overview, norm: str, size: str) -> Value:
    place = [column.label for column in found.columns].index(size)
    return next(row[place] for row in found.rows if row[0].text == norm)


def test_the_grid_shows_means_and_what_is_decided_by_sign_and_in_words(tmp_path: Path) -> None:
    def accuracy(run: Any) -> float:
        lost = 0.2 if run.cell.norm.name == "batch" and run.cell.batch_size == 8 else 0.0
        return 0.9 - lost + noise(run)

    found = overview(tmp_path, accuracy)
    assert cell(found, "batch", "8").text.startswith("30.")
    assert cell(found, "batch", "8").mark == "refuted"
    assert cell(found, "batch", "8").spoken == "worse than another"
    assert cell(found, "layer", "8").spoken == "may be best"
    assert {cell(found, norm, "32").spoken for norm in NORMS} == {"not told apart"}
    assert found.sentence.startswith("At batch size 8 group norm or layer norm may be best; at ")
    assert found.svg
    assert "error in %" in found.svg


def test_diverged_and_missing_runs_are_on_the_first_screen(tmp_path: Path) -> None:
    def status(run: Any) -> str:
        if run.cell.norm.name == "group" and run.seed == 3:
            return "missing"
        return "diverged" if run.cell.norm.name == "batch" and run.seed < 2 else "finished"

    found = overview(tmp_path, lambda run: 0.9 + noise(run), status)
    assert "(2 diverged)" in cell(found, "batch", "8").text
    assert "unfinished" in [chip.text for chip in found.chips]


def chips(found: Overview) -> dict[str, str]:
    return {chip.text: chip.hint for chip in found.chips}


def test_chips_say_what_limits_an_experiment(tmp_path: Path) -> None:
    told = chips(overview(tmp_path, lambda run: 0.9 + noise(run)))
    assert {"12 seeds", "same learning rate for all", "not declared before"} <= set(told)


def test_curves_that_still_rise_are_told_and_flat_ones_are_not() -> None:
    def curves(last: float) -> pd.DataFrame:
        values = [0.1, 0.5, 0.8, last]
        return pd.DataFrame({"setting": "", "norm": "layer", "batch_size": 8,
                             "metric": "accuracy", "epoch": [0.0, 1.0, 2.0, 3.0],
                             "median": values, "low": [v - 0.02 for v in values],
                             "high": [v + 0.02 for v in values], "runs": 12})  # fmt: skip

    assert _still_improving(curves(0.9)) == "1 of 1 cells"
    assert _still_improving(curves(0.803)) == ""
    assert _still_improving(curves(0.7)) == ""


def test_runs_that_guess_are_told(tmp_path: Path) -> None:
    def accuracy(run: Any) -> float:
        guesses = run.cell.norm.name == "group" and run.seed < 4
        return 0.1 if guesses else 0.9 + noise(run)

    told = chips(overview(tmp_path / "some", accuracy))
    assert told["at chance"] == "8 of 72 runs are no better than guessing"
    assert "at chance" not in chips(overview(tmp_path / "none", lambda run: 0.9 + noise(run)))
