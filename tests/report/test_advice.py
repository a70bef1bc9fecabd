"""Which norm may be best at a size: whoever is not decidedly worse than any other."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest

from normbench.analysis.tables import analyse
from normbench.report.page import build_page
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
    assert "At batch size 32 no norm is told apart from another" in said
    assert "group norm is worse (with the word of the claim c)." in said
    turned = lead(tmp_path / "c", close, claims=[claim("c", "group", "layer")])
    assert "group norm is worse (with the word of the claim c)." in turned


def test_an_undecided_claim_has_the_word_too(tmp_path: Path) -> None:
    """In a large family of claims a pair may be open that all pairs together decide."""
    clear = apart(1.0)
    assert "use layer norm (mean error" in lead(tmp_path / "a", clear)
    many = [claim(f"x{i}", "group", "batch") for i in range(60)]
    both = [claim("c", "layer", "group", size) | {"id": f"c{size}"} for size in (8, 32)]
    claims = [one | {"family": "wide"} for one in [*both, *many]]
    said = lead(tmp_path / "b", clear, claims=claims, family=[{"id": "wide", "method": "holm"}])
    assert "use layer norm or group norm, not told apart" in said
    assert "(with the word of the claims x0 and c8)." in said


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
