"""Simulated studies through tables and page: what the sentences say by themselves, and is false."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from normbench.analysis.cells import Grid, panels
from normbench.analysis.curves import computed_curves
from normbench.analysis.findings import declared_margins
from normbench.analysis.pairs import pair_table
from normbench.analysis.small_batch import small_batch_tables
from normbench.analysis.tables import Analysis, analyse, final_table
from normbench.report.blocks import Overview, Section, Text
from normbench.report.phrases import norm_name
from normbench.report.sections import answer, pairwise, small_batches
from normbench.report.source import Source
from normbench.results.load import Results
from tests.analysis.made import write
from tests.report.made_study import doc
from tests.stats import automatic

NORMS = ["layer", "batch", "group", "none"]  # the reference first, as in the simulations
#: A run's deviation; δ is one of them there, and a claim's margin here.
SCALE = 0.01
MARGIN = {"id": "flat", "kind": "equivalence", "a": "group", "reference": {"batch_size": 128},
          "margin": SCALE * automatic.DELTA,
          "endpoint": {"kind": "final", "metric": "val_error", "window": 1,
                       "failure_score": 0.9}}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Grid, Analysis]:
    experiment = [{"name": "one", "product": {"norm": NORMS, "batch_size": list(automatic.SIZES)}}]
    made = doc([MARGIN], experiment, seeds=automatic.SEEDS, thresholds=[])
    results = write(tmp_path_factory.mktemp("made"), made, lambda run: 0.5)
    (grid,) = panels(results, computed_curves(results))
    return results, grid, analyse(results)


def page_of(base: tuple[Results, Grid, Analysis], errors: np.ndarray) -> list[str]:
    """The sentences of a study with these final errors, shape (norms, sizes, seeds)."""
    results, grid, analysis = base
    cells = {}
    for i, norm in enumerate(NORMS):
        for k, size in enumerate(automatic.SIZES):
            cell = grid.cells[(norm, size)]
            level = 0.6 - SCALE * errors[i, k]
            curves = np.repeat(level[:, None], cell.curves.shape[1], axis=1)
            cells[(norm, size)] = replace(cell, curves=curves)
    own = [replace(grid, cells=cells)]
    pairs = pair_table(own, 0.05).assign(claim="")
    made = {"pairs": pairs, "final": final_table(own)}
    made |= small_batch_tables(own, 0.05, pairs, declared_margins(results.study))
    source = Source(results, Analysis(analysis.tables | made))
    sections = [answer.section(source), pairwise.section(source), small_batches.section(source)]
    found = [text for section in sections for text in texts(section)]
    assert not source.boundary.bugs
    return [one for text in found for one in re.split(r"(?<=[.;]) ", text)]


def texts(section: Section) -> list[str]:
    own = [p for b in section.blocks if isinstance(b, Text) for p in b.paragraphs]
    own += [b.sentence for b in section.blocks if isinstance(b, Overview)]
    return own + [text for part in section.parts for text in texts(part)]


NAMES = {norm_name(norm): i for i, norm in enumerate(NORMS)}
NAME = "|".join(NAMES)


def named(text: str) -> list[int]:
    return [NAMES[name.lower()] for name in re.findall(NAME, text, re.IGNORECASE)]


def false(sentence: str, sizes: list[int], means: np.ndarray) -> bool:
    """Whether a sentence says something that is not so; ``sizes`` are those spoken of before."""
    at = [automatic.SIZES.index(size) for size in sizes]
    low = sentence[:1].lower() + sentence[1:]
    if low.startswith("whether") or "not located" in low:
        return False
    if match := re.search(rf"({NAME}) loses .* (more|less) than ({NAME})", low):
        norm, other = NAMES[match[1]], NAMES[match[3]]
        gap = means[norm] - means[other]
        more = gap[0] - gap[-1]
        return more <= 1e-9 if match[2] == "more" else more >= -1e-9
    if match := re.search(rf"^({NAME}) is (worse than|within the declared).*?({NAME})", low):
        norm, other = NAMES[match[1]], NAMES[match[3]]
        gap, wrong = means[norm] - means[other], False
        if up := re.search(r"worse than .*? (?:up to(?: batch size)?|at batch size) (\d+)", low):
            wrong |= bool((gap[np.array(automatic.SIZES) <= int(up[1])] <= 1e-9).any())
        if "within the declared" in low:
            start = re.search(r"(?:from|at) batch size (\d+)(?: on)?(?= \(| on)", low)
            from_size = int(start[1]) if start else 0
            reached = gap[np.array(automatic.SIZES) >= from_size]
            wrong |= bool((reached >= automatic.DELTA - 1e-9).any())
        return wrong
    if match := re.search(r"at batch sizes? [\d, and]+ (.*?) (?:alone may be|may be|is) best", low):
        # whoever is not named is worse than some norm; who is best is better than every other
        left = [i for i in range(len(NORMS)) if i not in named(match[1])]
        return any((means[i, k] <= means[:, k].min() + 1e-9) for i in left for k in at)
    if low.rstrip(".").endswith("worse"):  # "batch norm and group norm are worse"
        return any((means[i, k] <= means[:, k].min() + 1e-9) for i in named(low) for k in at)
    if "every other norm is worse" in low:
        others = np.delete(means, named(low)[0], axis=0)
        return any((others[:, k] <= means[:, k].min() + 1e-9).any() for k in at)
    if "it is better than" in low:
        best = named(low)[0]
        return any((np.delete(means[:, k], best) <= means[best, k] + 1e-9).any() for k in at)
    return False


def is_false(sentences: list[str], means: np.ndarray) -> bool:
    sizes: list[int] = []
    for sentence in sentences:
        if match := re.match(r"At batch sizes? ([\d, and]+)", sentence, re.IGNORECASE):
            sizes = [int(size) for size in re.findall(r"\d+", match[1])]
        if false(sentence, sizes, means):
            return True
    return False


def share(
    base: Any, means: np.ndarray, noise: Callable[[Any], np.ndarray], studies: int, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(studies):
        wrong += is_false(page_of(base, means[:, :, None] + noise(rng)), means)
    return wrong / studies


def test_the_reading_finds_what_is_false(base: tuple[Results, Grid, Analysis]) -> None:
    rng = np.random.default_rng(0)
    quiet = 0.01 * automatic.normal(rng)
    for means in automatic.TRUTHS.values():
        told = page_of(base, means[:, :, None] + quiet)
        assert not is_false(told, means)
    worse = automatic.truth(1)
    told = page_of(base, worse[:, :, None] + quiet)
    assert any("Batch norm is worse than layer norm" in one for one in told)
    assert any("Batch norm loses" in one for one in told)
    assert any("within the declared 1.0 points" in one for one in told)
    assert is_false(told, automatic.truth())  # were all equal
    assert is_false(told, automatic.truth(2))  # were it another
    assert is_false(page_of(base, automatic.truth(2, 3)[:, :, None] + quiet), automatic.truth(2))


@pytest.mark.parametrize("truth", list(automatic.TRUTHS))
def test_few_pages_say_anything_false(base: tuple[Results, Grid, Analysis], truth: str) -> None:
    studies = 30
    found = share(base, automatic.TRUTHS[truth], automatic.normal, studies, 11)
    assert found <= binom.isf(1e-6, studies, 0.05) / studies


@pytest.mark.slow
@pytest.mark.parametrize("noise", list(automatic.CONTROLLED))
@pytest.mark.parametrize("truth", list(automatic.TRUTHS))
def test_few_of_many_pages_say_anything_false(
    base: tuple[Results, Grid, Analysis], truth: str, noise: str
) -> None:
    studies = 300
    found = share(base, automatic.TRUTHS[truth], automatic.CONTROLLED[noise], studies, 12)
    assert found <= binom.isf(1e-4, studies, 0.05) / studies
