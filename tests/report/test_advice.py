"""Which norm may be best at a size: whoever is not decidedly worse than any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from normbench.analysis.tables import analyse
from normbench.report.page import build_page
from tests.analysis.made import noise, write
from tests.report.made_study import doc, spoken

NORMS = ["batch", "layer", "group"]


def lead(folder: Path, accuracy: Any, norms: list[str] = NORMS, **header: Any) -> str:
    experiment = [{"name": "one", "product": {"norm": norms, "batch_size": [8, 32]}}]
    made = doc(experiment=experiment, **({"seeds": 12} | header))
    results = write(folder, made, lambda run: [0.1, accuracy(run)])
    page = build_page(results, analyse(results))
    assert not any("would decide" in text for text in spoken(page))
    return page.sections[0].blocks[0].paragraphs[0]


def test_a_noisy_best_norm_hides_no_decided_pair(tmp_path: Path) -> None:
    """The lowest mean is the noisiest; group and batch norm are told apart all the same."""
    level, spread = {"layer": 0.950, "group": 0.948, "batch": 0.944}, {"layer": 0.02}

    def accuracy(run: Any) -> float:
        name = run.cell.norm.name
        return level[name] + noise(run, spread.get(name, 0.0005))

    said = lead(tmp_path, accuracy)
    assert "no norm is told apart" not in said
    assert "use layer norm or group norm, not told apart" in said or (
        "use group norm or layer norm, not told apart" in said
    )
    assert "; batch norm is worse." in said


def test_no_norm_is_told_apart_only_where_no_pair_is_decided(tmp_path: Path) -> None:
    said = lead(tmp_path, lambda run: 0.9 + noise(run))
    assert "At batch sizes 8 and 32 no norm is told apart from another" in said
    assert "worse" not in said.replace("no worse than", "")


def test_the_best_norm_that_beats_all_is_named_alone(tmp_path: Path) -> None:
    level = {"layer": 0.95, "group": 0.90, "batch": 0.85}
    said = lead(tmp_path, lambda run: level[run.cell.norm.name] + noise(run))
    assert "use layer norm (mean error" in said
    assert "it is better than both others." in said
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
